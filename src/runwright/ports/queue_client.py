"""The job queue as those see it who submit jobs and steer them."""

from collections.abc import AsyncIterator, Mapping, Sequence
from typing import Any, Protocol

from runwright.core.job_rows import JobFilter
from runwright.core.job_wire import SubmitRequest


class JobQueueClient(Protocol):
    """A queue as those see it who submit jobs and steer them. Answers are the plain data of the server's JSON.

    Errors are those of `JobSource`; `JobNotFound` and `JobHasEnded` are told apart, and `DefinitionError` is a job that
    the server found wrong.
    """

    async def submit(self, ask: SubmitRequest) -> int:
        """Queue a job; returns its id."""
        ...

    async def job(self, job_id: int) -> Mapping[str, Any]:
        """Return a job with its state and its attempts."""
        ...

    async def jobs(self, which: JobFilter) -> Sequence[Mapping[str, Any]]:
        """Return jobs, newest first."""
        ...

    async def log(
        self, job_id: int, attempt: int | None = None, tail: int | None = None
    ) -> Sequence[Mapping[str, Any]]:
        """Return the entries of an attempt's log: of the newest if it is None, of all if it is 0."""
        ...

    def follow(self, job_id: int) -> AsyncIterator[Mapping[str, Any]]:
        """Yield what the log gains until the job has ended; a connection that breaks is made again."""
        ...

    async def cancel(self, job_id: int, reason: str = "") -> Mapping[str, Any]:
        """Ask for a job to be stopped; returns it."""
        ...

    async def retry(self, job_id: int) -> Mapping[str, Any]:
        """Queue a job again; returns it."""
        ...

    async def queues(self) -> Sequence[Mapping[str, Any]]:
        """Return every queue with its counts."""
        ...

    async def set_queue(self, name: str, changes: Mapping[str, Any]) -> Mapping[str, Any]:
        """Change how a queue is served, and return how that is now; what `changes` does not name stays as it is."""
        ...

    async def workers(self) -> Sequence[Mapping[str, Any]]:
        """Return every worker that the server has heard of."""
        ...

    async def close(self) -> None:
        """Free the connections; safe to call twice."""
        ...
