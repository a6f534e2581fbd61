"""`JobStore` on a file of SQLite, which may be that of the runs."""

import os
from collections.abc import Callable, Collection, Iterable, Sequence
from datetime import datetime
from typing import Any, TypeVar

import apsw

from runwright.adapters.sqlite import job_actions, job_exchange
from runwright.adapters.sqlite.connection import Durability, open_for_writing
from runwright.adapters.sqlite.errors import explain
from runwright.adapters.sqlite.job_bell import Bell
from runwright.adapters.sqlite.job_exchange import Woken
from runwright.adapters.sqlite.job_records import (
    SQL,
    attempt_row,
    holder_of,
    job_row,
    log_row,
    micros,
    queue_rows,
    rows,
    token_row,
    value,
    worker_row,
    worker_text,
)
from runwright.adapters.sqlite.job_writer import JobWriter
from runwright.adapters.sqlite.reader import Reader
from runwright.core.errors import JobNotFound
from runwright.core.job_rows import (
    MAX_JOB_OUTPUT_BYTES,
    Beat,
    BeatAnswer,
    Claim,
    Claimed,
    Ended,
    Ending,
    JobAttempt,
    JobFilter,
    JobLease,
    JobRow,
    LogRow,
    NewJob,
    QueueRow,
    QueueSettings,
    TokenHolder,
    TokenRole,
    TokenRow,
    WorkerRow,
)
from runwright.core.job_texts import no_job_text
from runwright.core.job_wire import ExecutionLogEntry

T = TypeVar("T")


class SqliteJobStore:
    """Queues and jobs in one file, written by one thread and shared safely between processes. Make one with `open`."""

    def __init__(self, path: str, connection: apsw.Connection) -> None:
        self._reader = Reader(path, shared=True)
        self._writer = JobWriter(path, connection, self._ring)
        self._bell = Bell(self._look)
        self._woken: Woken = set()
        self._version = -1

    @classmethod
    def open(cls, path: str | os.PathLike[str], durability: Durability = "full") -> "SqliteJobStore":
        """Open the queue in a file; it and its directory are created (modes 0600 and 0700) if they are missing.

        Args:
            path: The file.
            durability: ``full`` survives power loss. ``off`` does not: it exists so that tests of durability can show
                that they would notice its absence.

        Raises:
            StoreError: If the file can't be used, or was written by a newer Runwright.
            StoreCorrupt: If it is damaged, or the file of another program.
        """
        name = os.fspath(path)
        try:
            return cls(name, open_for_writing(name, durability))
        except (apsw.Error, OSError) as error:
            raise explain(name, error) from error

    # -- jobs --------------------------------------------------------------------------------------------------

    async def submit(self, jobs: Sequence[NewJob], now: datetime) -> list[int]:
        """Queue jobs, all or none; see `JobStore`."""
        ids: list[int] = await self._writer.call(
            lambda connection: job_exchange.submit(connection, self._woken, jobs, now)
        )
        return ids

    async def exchange(
        self, endings: Sequence[Ending], claim: Claim | None, now: datetime
    ) -> tuple[list[Ended], list[Claimed]]:
        """End attempts and take further jobs; see `JobStore`."""
        found: tuple[list[Ended], list[Claimed]] = await self._writer.call(
            lambda connection: job_exchange.exchange(connection, self._woken, endings, claim, now)
        )
        return found

    async def heartbeat(self, beat: Beat, now: datetime) -> BeatAnswer:
        """Keep the leases that the worker holds; see `JobStore`."""
        answer: BeatAnswer = await self._writer.call(
            lambda connection: job_actions.heartbeat(connection, beat, now)
        )
        return answer

    async def promote(self, now: datetime) -> int:
        """Make jobs ready whose time has come; see `JobStore`."""
        count: int = await self._writer.call(
            lambda connection: job_exchange.promote(connection, self._woken, now)
        )
        return count

    async def expire(self, now: datetime) -> list[JobLease]:
        """End leases that have lapsed; see `JobStore`."""
        lapsed: list[JobLease] = await self._writer.call(
            lambda connection: job_exchange.expire(connection, self._woken, now)
        )
        return lapsed

    async def wait(self, queues: Sequence[str], seconds: float) -> bool:
        """Wait until a job may have become ready; see `JobStore`."""
        return await self._bell.wait(queues, seconds)

    async def cancel(self, job_id: int, reason: str, now: datetime) -> JobRow:
        """Ask for a job to be stopped; see `JobStore`."""
        row: JobRow = await self._writer.call(
            lambda connection: job_actions.cancel(connection, job_id, reason, now)
        )
        return row

    async def retry(self, job_id: int, now: datetime) -> JobRow:
        """Queue a job again; see `JobStore`."""
        row: JobRow = await self._writer.call(
            lambda connection: job_actions.retry(connection, self._woken, job_id, now)
        )
        return row

    async def job(self, job_id: int) -> JobRow:
        """Return a job; see `JobStore`."""
        return await self._read(lambda connection: job_actions.job(connection, job_id))

    async def payload(self, job_id: int) -> bytes:
        """Return the document of a job; see `JobStore`."""
        found: bytes | None = await self._read(lambda connection: value(connection, "payload", (job_id,)))
        if found is None:
            raise JobNotFound(no_job_text(job_id))
        return found

    async def jobs(self, which: JobFilter) -> list[JobRow]:
        """Return jobs, newest first; see `JobStore`."""
        if which.idempotency_key:
            return await self._list(job_row, "job_of_key", (which.idempotency_key,))
        narrow = {
            "queue": which.queue,
            "state": which.state.value if which.state else "",
            "key": which.key,
            "worker": which.worker,
            "below": which.below,
            "limit": which.limit,
        }
        return await self._list(job_row, "jobs", narrow)

    async def attempts(self, job_id: int) -> list[JobAttempt]:
        """Return every attempt at a job; see `JobStore`."""
        return await self._list(attempt_row, "attempts", (job_id,))

    async def prune(self, before: datetime, limit: int) -> int:
        """Remove jobs that ended long ago; see `JobStore`."""
        count: int = await self._writer.call(lambda connection: job_actions.prune(connection, before, limit))
        return count

    # -- leases and logs ---------------------------------------------------------------------------------------

    async def holder(self, digest: bytes) -> TokenHolder | None:
        """Return whom the token of a lease was given to; see `JobStore`."""

        def query(connection: apsw.Connection) -> TokenHolder | None:
            found = rows(connection, "holder", (digest,)) or rows(connection, "former_holder", (digest,))
            return holder_of(found[0]) if found else None

        return await self._read(query)

    async def lease_of(self, job_id: int, worker: str, token_id: int) -> JobLease | None:
        """Return the lease on a job that a worker holds; see `JobStore`."""
        place = (job_id, worker, token_id)
        attempt: int | None = await self._read(lambda connection: value(connection, "lease_of", place))
        return None if attempt is None else JobLease(job_id, attempt)

    async def add_entry(self, lease: JobLease, entry: ExecutionLogEntry, now: datetime) -> int:
        """Begin an entry of the log; see `JobStore`."""
        number: int = await self._writer.call(
            lambda connection: job_actions.add_entry(connection, lease, entry, MAX_JOB_OUTPUT_BYTES)
        )
        return number

    async def update_entry(
        self, lease: JobLease, number: int, entry: ExecutionLogEntry, out_offset: int | None, now: datetime
    ) -> None:
        """Replace an entry of the log; see `JobStore`."""
        most = MAX_JOB_OUTPUT_BYTES
        await self._writer.call(
            lambda connection: job_actions.update_entry(connection, lease, number, entry, out_offset, most)
        )

    async def entries(self, job_id: int) -> list[LogRow]:
        """Return every entry of a job's log; see `JobStore`."""
        return await self._list(log_row, "entries", (job_id,))

    async def output(self, job_id: int, attempt: int, number: int, offset: int, limit: int) -> bytes:
        """Return a part of an entry's output; see `JobStore`."""
        place = (job_id, attempt, number)
        return await self._read(lambda connection: job_actions.output(connection, place, offset, limit))

    # -- queues, workers, tokens -------------------------------------------------------------------------------

    async def queues(self) -> list[QueueRow]:
        """Return every queue; see `JobStore`."""
        return await self._read(
            lambda connection: queue_rows(rows(connection, "queue_settings"), rows(connection, "counts"))
        )

    async def set_queue(self, settings: QueueSettings) -> None:
        """Say how a queue is served from now on; see `JobStore`."""
        columns = (
            settings.name,
            settings.paused,
            settings.limit,
            settings.key_limit,
            settings.max_resets,
        )

        def action(connection: apsw.Connection) -> None:
            connection.execute(SQL["set_queue"], columns)
            self._woken.add(settings.name)

        await self._writer.call(action)

    async def note_worker(self, worker: WorkerRow, now: datetime) -> None:
        """Keep what a worker says of itself; see `JobStore`."""
        columns = (worker.name, worker_text(worker), micros(now))
        await self._writer.call(lambda connection: rows(connection, "note_worker", columns))

    async def workers(self) -> list[WorkerRow]:
        """Return every worker that was heard of; see `JobStore`."""
        return await self._list(worker_row, "workers")

    async def add_token(self, name: str, role: TokenRole, digest: bytes, now: datetime) -> TokenRow:
        """Keep a token; see `JobStore`."""
        row: TokenRow = await self._writer.call(
            lambda connection: job_actions.add_token(connection, name, role, digest, now)
        )
        return row

    async def token(self, digest: bytes) -> TokenRow | None:
        """Return the token with this SHA-256; see `JobStore`."""
        found = await self._list(token_row, "token", (digest,))
        return found[0] if found else None

    async def tokens(self) -> list[TokenRow]:
        """Return every token; see `JobStore`."""
        return await self._list(token_row, "tokens")

    async def revoke_token(self, name: str, now: datetime) -> TokenRow:
        """End a token; see `JobStore`."""
        row: TokenRow = await self._writer.call(
            lambda connection: job_actions.revoke_token(connection, name, now)
        )
        return row

    async def close(self) -> None:
        """Wait until everything is durable, then free the store; see `JobStore`."""
        await self._bell.close()
        await self._writer.close()
        await self._reader.close()

    # ----------------------------------------------------------------------------------------------------------

    async def _read(self, query: Callable[[apsw.Connection], T]) -> T:
        return await self._reader.run(query, None)  # type: ignore[arg-type]  # the file is there: it has been opened

    async def _list(self, make: Callable[[Sequence[Any]], T], name: str, parameters: Any = None) -> list[T]:
        return await self._read(lambda connection: list(map(make, rows(connection, name, parameters))))

    def _ring(self) -> None:
        """Wake those who wait for what has just been written; called in the thread that writes."""
        if self._woken:
            self._bell.ring(self._woken)
            self._woken.clear()

    async def _look(self, queues: Collection[str]) -> Iterable[str]:
        """Return the queues with a job that is ready, if another process has written since the last look."""
        version = await self._writer.call(lambda connection: value(connection, "changes_of_others"))
        was_known, self._version = self._version in (-1, version), version
        if was_known:
            return ()
        return await self._read(
            lambda connection: [queue for queue in queues if value(connection, "is_ready", (queue,))]
        )
