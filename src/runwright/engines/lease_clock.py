"""When the leases of a worker's jobs end, told by nothing but this machine's own clock.

A lease that the server renewed while it answered a heartbeat holds at least as long after the heartbeat was *sent*. So
an answer that comes late can only make the worker careful, never bold.

Two loops share what is here, that of the jobs and that of the heartbeats. Each field has one writer, and is one
reference that is put in its place at once.
"""

import asyncio
from collections.abc import Callable, Mapping
from math import inf

from runwright.ports.jobs import GivenJob

MARGIN_SHARE = 1 / 3
"""Of a lease, the most that a job's end may take: with a short lease the grace is shorter."""

KILL_SHARE = 3 / 8
"""Of that margin, what is left of the lease when a job that still runs is killed."""


class HeldJob:
    """A job that this worker has.

    Args:
        given: The job.
        margin: Seconds before the end of its lease at which it is stopped, if the lease could not be renewed.
        now: When it came.

    Attributes:
        given: The job.
        changed: Set when something is to be looked at; belongs to the loop of the jobs.
        cancel_reason: Why it is to be stopped, if the server says so.
        is_lost: The server gives it to somebody else, or has done so.
        is_settled: The end of its lease needs nothing more to be done: nothing of it runs, or it is being killed.
    """

    def __init__(self, given: GivenJob, margin: float, now: float) -> None:
        self.given = given
        self.changed = asyncio.Event()
        self.cancel_reason = ""
        self.is_lost = False
        self.is_settled = False
        self._margin = min(margin, given.lease_seconds * MARGIN_SHARE)
        self._end_at = now + given.lease_seconds
        self._renewed_at: float | None = None

    @property
    def is_confirmed(self) -> bool:
        """True once a heartbeat has been answered with the job known: before, nothing of it may start."""
        return self._renewed_at is not None

    @property
    def stop_at(self) -> float:
        """When the job must be told to stop."""
        return self._end_at - self._margin

    @property
    def kill_at(self) -> float:
        """When what is left of it must be killed."""
        return self._end_at - self._margin * KILL_SHARE

    @property
    def end_at(self) -> float:
        """When the lease ends."""
        return self._end_at

    def renew(self, sent_at: float) -> None:
        """Take note that a heartbeat which was sent at that time was answered with the job known."""
        if not self.is_lost:
            self._end_at = sent_at + self.given.lease_seconds
            self._renewed_at = sent_at

    def lose(self) -> None:
        """Take note that the lease has passed on."""
        self.is_lost = True
        self.changed.set()

    def ask_to_stop(self, reason: str) -> None:
        """Take note that the job is to be stopped."""
        if not self.cancel_reason:
            self.cancel_reason = reason
            self.changed.set()

    def may_write(self, now: float) -> bool:
        """Tell whether the server may still accept what the worker says of the job."""
        return not self.is_lost and now < self._end_at


class HeldJobs:
    """The jobs that a worker has; only the loop of the jobs adds and removes them.

    Args:
        margin: As of `HeldJob`.
        monotonic: The time.
    """

    def __init__(self, margin: float, monotonic: Callable[[], float]) -> None:
        self._margin = margin
        self._monotonic = monotonic
        self._jobs: Mapping[str, HeldJob] = {}

    def __len__(self) -> int:
        return len(self._jobs)

    def now(self) -> Mapping[str, HeldJob]:
        """Return the jobs by uid; what is returned does not change any more."""
        return self._jobs

    def hold(self, given: GivenJob) -> HeldJob:
        """Add a job; an earlier attempt at the same one has lost its lease by that."""
        if given.uid in self._jobs:
            self._jobs[given.uid].lose()
        held = HeldJob(given, self._margin, self._monotonic())
        self._jobs = {**self._jobs, given.uid: held}
        return held

    def drop(self, held: HeldJob) -> None:
        """Remove a job, unless another attempt at it has taken its place."""
        if self._jobs.get(held.given.uid) is held:
            self._jobs = {uid: other for uid, other in self._jobs.items() if other is not held}

    def shortest_lease(self) -> float:
        """Return the seconds of the shortest lease; infinite without jobs."""
        return min((held.given.lease_seconds for held in self._jobs.values()), default=inf)
