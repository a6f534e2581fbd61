"""What a queue needs from time to time: jobs become ready, leases lapse, old jobs are removed."""

from collections.abc import Awaitable, Callable
from datetime import timedelta

from runwright.core.errors import StoreError
from runwright.ports.jobs import JobStore
from runwright.ports.system import Clock

CARE_SECONDS = 1.0
PRUNE_SECONDS = 60.0
PRUNE_BATCH = 500
DAY = 86_400.0


class Care:
    """Looks after a queue; several may do so at a time, on one store.

    Args:
        store: The queue.
        clock: Time, of a kind that never goes back.
        keep_days: How long jobs that have ended are kept; 0 for ever.
        on_error: Told each new error of the store: all of this is tried again.
    """

    def __init__(
        self, store: JobStore, clock: Clock, keep_days: float, on_error: Callable[[StoreError], None]
    ) -> None:
        self._store = store
        self._clock = clock
        self._keep = timedelta(days=keep_days)
        self._on_error = on_error
        self._last_error = ""
        self._pruned_at = clock.monotonic() - PRUNE_SECONDS

    async def run(self) -> None:
        """Look after the queue until cancelled."""
        while True:
            await self._guarded(self.look)
            await self._clock.sleep(CARE_SECONDS)

    async def _guarded(self, work: Callable[[], Awaitable[None]]) -> None:
        try:
            await work()
        except StoreError as error:
            if str(error) != self._last_error:
                self._on_error(error)
            self._last_error = str(error)
        else:
            self._last_error = ""

    async def look(self) -> None:
        """Do once what there is to do.

        Raises:
            StoreError: If the store can't do it.
        """
        now = self._clock.now()
        await self._store.expire(now)
        await self._store.promote(now)
        if self._keep and self._clock.monotonic() - self._pruned_at >= PRUNE_SECONDS:
            await self._prune()

    async def _prune(self) -> None:
        """Remove old jobs in small bites, so that nobody waits long behind one."""
        before = self._clock.now() - self._keep
        while await self._store.prune(before, PRUNE_BATCH) == PRUNE_BATCH:
            await self._clock.sleep(0)
        self._pruned_at = self._clock.monotonic()
