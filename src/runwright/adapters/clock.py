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


class AwakeClock(SystemClock):
    """The same, but its monotonic time also passes while the machine sleeps, where the system can tell that.

    A lease runs out whether its holder is awake or not.
    """

    def monotonic(self) -> float:
        """Return seconds on a clock that never goes back, and does not stand still while the machine sleeps."""
        return time.clock_gettime(_SLEEPLESS) if _SLEEPLESS is not None else time.monotonic()


_SLEEPLESS: int | None = getattr(time, "CLOCK_BOOTTIME", None)
