"""The queue as a client sees it, without a server between."""

from collections.abc import AsyncIterator, Mapping, Sequence
from typing import Any

import msgspec
from msgspec import structs

from runwright.core.job_rows import JobFilter
from runwright.core.job_wire import SubmitRequest
from runwright.engines.job_logs import TAIL_BYTES
from runwright.engines.queue import Queue


class LocalQueue:
    """A `JobQueueClient` for those who have the queue's store themselves.

    Args:
        queue: The queue; it stays open.
    """

    def __init__(self, queue: Queue) -> None:
        self._queue = queue

    async def submit(self, ask: SubmitRequest) -> int:
        """Queue a job; returns its id."""
        (job_id,) = await self._queue.submit([ask])
        return job_id

    async def job(self, job_id: int) -> Mapping[str, Any]:
        """Return a job with its state, its attempts and its document."""
        found = await self._queue.show(job_id)
        return {
            **_plain(found.row),
            "attempts": list(map(_plain, found.attempts)),
            "job": found.document,
        }

    async def jobs(self, which: JobFilter) -> Sequence[Mapping[str, Any]]:
        """Return jobs, newest first."""
        return list(map(_plain, await self._queue.jobs(which)))

    async def log(
        self, job_id: int, attempt: int | None = None, tail: int | None = None
    ) -> Sequence[Mapping[str, Any]]:
        """Return the entries of an attempt's log: of the newest if it is None, of all if it is 0."""
        size = TAIL_BYTES if tail is None else tail
        return list(map(_plain, await self._queue.log(job_id, attempt, size)))

    async def follow(self, job_id: int) -> AsyncIterator[Mapping[str, Any]]:
        """Yield what the log gains until the job has ended."""
        async for news in self._queue.follow(job_id):
            yield _plain(news)

    async def cancel(self, job_id: int, reason: str = "") -> Mapping[str, Any]:
        """Ask for a job to be stopped; returns it."""
        return _plain(await self._queue.cancel(job_id, reason))

    async def retry(self, job_id: int) -> Mapping[str, Any]:
        """Queue a job again; returns it."""
        return _plain(await self._queue.retry(job_id))

    async def queues(self) -> Sequence[Mapping[str, Any]]:
        """Return every queue with its counts."""
        return [
            {
                **structs.asdict(row.settings),
                "counts": _plain(row)["counts"],
                "oldest_at": _plain(row)["oldest_at"],
            }
            for row in await self._queue.queues()
        ]

    async def set_queue(self, name: str, changes: Mapping[str, Any]) -> Mapping[str, Any]:
        """Change how a queue is served, and return how that is now."""
        return _plain(await self._queue.set_queue(name, changes))

    async def workers(self) -> Sequence[Mapping[str, Any]]:
        """Return every worker that was heard of."""
        return list(map(_plain, await self._queue.workers()))

    async def close(self) -> None:
        """Do nothing: whoever opened the queue closes it."""


def _plain(record: Any) -> dict[str, Any]:
    """Return a record as the JSON of the server would have it."""
    data: dict[str, Any] = msgspec.to_builtins(record)
    return data
