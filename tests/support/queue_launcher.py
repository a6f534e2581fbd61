"""The `runwright` command, without one of its protections if that is asked for: the controls of tests of faults.

The variables that ask for it mean nothing to Runwright itself. With the one, a queue takes the word of workers whose
lease has passed on; with the other, a worker goes on with its jobs whether it has heard from the server or not.
"""

import os
import sys
from collections.abc import Sequence
from datetime import datetime
from math import inf
from typing import Any

from msgspec import structs

from runwright.cli.main import command
from runwright.core.job_rows import Claim, Claimed, Ended, Ending, JobLease
from runwright.core.job_wire import ExecutionLogEntry
from runwright.engines.lease_clock import HeldJob
from runwright.ports.jobs import JobStore
from runwright.wiring import server

UNFENCED = "QUEUE_TEST_UNFENCED"
HEEDLESS = "QUEUE_TEST_HEEDLESS"


class UnfencedStore:
    """A store that knows jobs by their ids alone: whatever attempt a write names, it counts for the newest one.

    Args:
        store: Does the rest.
    """

    def __init__(self, store: JobStore) -> None:
        self._store = store

    def __getattr__(self, name: str) -> Any:
        return getattr(self._store, name)

    async def exchange(
        self, endings: Sequence[Ending], claim: Claim | None, now: datetime
    ) -> tuple[list[Ended], list[Claimed]]:
        """Believe every last word."""
        said = [structs.replace(ending, lease=await self._newest(ending.lease)) for ending in endings]
        became, given = await self._store.exchange(said, claim, now)
        return [Ended.ACCEPTED for _ in became], given

    async def add_entry(self, lease: JobLease, entry: ExecutionLogEntry, now: datetime) -> int:
        """Take an entry of the log from anybody."""
        return await self._store.add_entry(await self._newest(lease), entry, now)

    async def _newest(self, lease: JobLease) -> JobLease:
        return JobLease(lease.job_id, (await self._store.job(lease.job_id)).attempt)


if __name__ == "__main__":
    if os.environ.get(UNFENCED):
        opened = server.open_job_store
        server.open_job_store = lambda store=None: UnfencedStore(opened(store))
    if os.environ.get(HEEDLESS):
        for name in ("stop_at", "kill_at", "end_at"):
            setattr(HeldJob, name, property(lambda _: inf))
    sys.exit(command())
