"""A queue for one job of a worker, to which nothing is said once its lease is over."""

from collections.abc import Callable

from runwright.core.errors import LeaseLost
from runwright.core.job_wire import DequeueRequest, ExecutionLogEntry, HeartbeatRequest, HeartbeatResponse
from runwright.engines.lease_clock import HeldJob
from runwright.ports.jobs import GivenJob, JobSource


class LeasedSource:
    """Passes on what is said of a job while its lease holds by this machine's clock.

    The server would refuse the rest anyway; but a worker that stood still can know it without asking.

    Args:
        source: The queue.
        held: The job.
        monotonic: The time.
    """

    def __init__(self, source: JobSource, held: HeldJob, monotonic: Callable[[], float]) -> None:
        self._source = source
        self._held = held
        self._monotonic = monotonic

    async def dequeue(self, ask: DequeueRequest) -> GivenJob | None:
        """Ask for a job."""
        return await self._source.dequeue(ask)

    async def heartbeat(self, beat: HeartbeatRequest) -> HeartbeatResponse:
        """Say what the worker is at."""
        return await self._source.heartbeat(beat)

    async def add_entry(self, given: GivenJob, entry: ExecutionLogEntry) -> int:
        """Begin an entry of the job's log."""
        return await self._leased().add_entry(given, entry)

    async def update_entry(
        self, given: GivenJob, entry_id: int, entry: ExecutionLogEntry, out_offset: int | None = None
    ) -> None:
        """Replace an entry, or add to its output."""
        await self._leased().update_entry(given, entry_id, entry, out_offset)

    async def complete(self, given: GivenJob) -> None:
        """Say that the job has succeeded."""
        await self._leased().complete(given)

    async def errored(self, given: GivenJob, message: str, *, is_final: bool) -> None:
        """Say that the job has failed."""
        await self._leased().errored(given, message, is_final=is_final)

    async def hand_back(self, given: GivenJob, reason: str) -> None:
        """Give the job back."""
        await self._leased().hand_back(given, reason)

    async def close(self) -> None:
        """Leave the queue to whom it belongs."""

    def _leased(self) -> JobSource:
        """Return the queue.

        Raises:
            LeaseLost: If the lease is over.
        """
        if not self._held.may_write(self._monotonic()):
            raise LeaseLost(f"the lease on job {self._held.given.uid} is over")
        return self._source
