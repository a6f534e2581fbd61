"""Holds the lease of a run while it is driven, and listens for requests to stop it."""

import asyncio
from collections.abc import Callable

from runwright.core.errors import ConflictError, StoreError
from runwright.core.run import Lease
from runwright.ports.stores import RunStore
from runwright.ports.system import Clock

LEASE_SECONDS = 30.0
"""How long a dead engine on another machine keeps its runs; one on this machine is found at once."""

RENEW_SECONDS = 8.0
"""Often enough that an engine held up for a while still has its lease."""

LISTEN_SECONDS = 0.5
"""How soon a request to stop is noticed."""


class LeaseKeeper:
    """Renews one lease from a task of its own.

    Args:
        store: Where the lease is.
        lease: What to renew.
        clock: Time.
        on_cancel: Called with the reason when somebody asks the run to stop; may be called again.
        on_lost: Called once if the lease can't be held any longer.
    """

    def __init__(
        self,
        store: RunStore,
        lease: Lease,
        clock: Clock,
        on_cancel: Callable[[str], None],
        on_lost: Callable[[Exception], None],
    ) -> None:
        self._store = store
        self._lease = lease
        self._clock = clock
        self._on_cancel = on_cancel
        self._on_lost = on_lost
        self._task: asyncio.Task[None] | None = None

    async def __aenter__(self) -> None:
        self._task = asyncio.create_task(self._keep())

    async def __aexit__(self, *_: object) -> None:
        assert self._task is not None
        self._task.cancel()
        await asyncio.wait([self._task])

    async def _keep(self) -> None:
        renewed = self._clock.monotonic()
        try:
            while True:
                await self._clock.sleep(LISTEN_SECONDS)
                if reason := await self._store.cancel_reason(self._lease.run_id):
                    self._on_cancel(reason)
                if self._clock.monotonic() - renewed >= RENEW_SECONDS:
                    self._lease = await self._store.renew_lease(self._lease, LEASE_SECONDS, self._clock.now())
                    renewed = self._clock.monotonic()
        except (ConflictError, StoreError) as error:
            self._on_lost(error)
