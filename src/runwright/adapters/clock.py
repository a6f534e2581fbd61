"""Time as the machine tells it."""

import asyncio
import time
from datetime import UTC, datetime


class SystemClock:
    """The clock of this machine and the sleep of the running event loop."""

    def now(self) -> datetime:
        """Return the current instant, aware and in UTC."""
        return datetime.now(UTC)

    def monotonic(self) -> float:
        """Return seconds on a clock that never goes back."""
        return time.monotonic()

    async def sleep(self, seconds: float) -> None:
        """Wait that long."""
        await asyncio.sleep(seconds)
