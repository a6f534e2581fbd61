"""A clock for leases: it never goes back, whatever is done to the clock of the machine."""

from datetime import datetime, timedelta

from runwright.ports.system import Clock


class SteadyClock:
    """Tells the instant at which it was made and what has passed since then."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._start = clock.now()
        self._from = clock.monotonic()

    def now(self) -> datetime:
        """Return the current instant, aware and in UTC."""
        return self._start + timedelta(seconds=self._clock.monotonic() - self._from)

    def monotonic(self) -> float:
        """Return seconds on a clock that never goes back."""
        return self._clock.monotonic()

    async def sleep(self, seconds: float) -> None:
        """Wait that long."""
        await self._clock.sleep(seconds)
