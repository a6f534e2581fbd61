"""`JobStore` on a database of PostgreSQL."""

import asyncio
from collections.abc import Callable, Sequence
from datetime import datetime, timedelta
from typing import Any, TypeVar

from msgspec import structs

from runwright.adapters.postgres import job_actions
from runwright.adapters.postgres.address import parse
from runwright.adapters.postgres.connection import Connection, Link
from runwright.adapters.postgres.job_bell import Bell
from runwright.adapters.postgres.job_records import (
    SQL,
    attempt_row,
    holder,
    job_row,
    json_text,
    log_row,
    queue_row,
    token_row,
    worker_row,
)
from runwright.adapters.postgres.job_writer import (
    LANES,
    PATIENCE_SECONDS,
    Action,
    JobWriter,
    Rows,
    Statement,
    Submission,
)
from runwright.adapters.postgres.pool import Pool
from runwright.core.errors import ConflictError, JobNotFound, LeaseLost, TooMuchOutput
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
from runwright.core.job_texts import gap_text, lost_text, no_entry_text, no_job_text, too_much_output_text
from runwright.core.job_wire import ExecutionLogEntry

LOOK_SECONDS = 5.0
"""How often one who waits looks by itself, should a notification have been lost."""

_READERS = 2
_MOST_IDS = (1 << 63) - 1

T = TypeVar("T")


class PostgresJobStore:
    """Queues and jobs in a database that several servers share. Make one with `open`."""

    def __init__(self, writer: JobWriter, reader: Pool, bell: Bell) -> None:
        self._writer = writer
        self._reader = reader
        self._bell = bell

    @classmethod
    def open(cls, url: str, lanes: int = LANES, patience: float = PATIENCE_SECONDS) -> "PostgresJobStore":
        """Connect, and bring the tables up to date.

        Args:
            url: Of the database.
            lanes: Connections that write.
            patience: Seconds to wait for a server that was lost; calls that it was lost under are made again.

        Raises:
            StoreError: If the server can't be reached, or its tables can't be used.
            UsageError: If the URL is wrong.
        """
        address = parse(url)
        Link.open(address).close()
        reader = Pool(address, _READERS, read_only=True, patience=patience)
        return cls(JobWriter(address, lanes, patience), reader, Bell(address))

    # -- jobs --------------------------------------------------------------------------------------------------

    async def submit(self, jobs: Sequence[NewJob], now: datetime) -> list[int]:
        """Queue jobs, all or none; see `JobStore`."""
        ids: list[int] = await self._writer.put(Submission(jobs, now)) if jobs else []
        return ids

    async def exchange(
        self, endings: Sequence[Ending], claim: Claim | None, now: datetime
    ) -> tuple[list[Ended], list[Claimed]]:
        """End attempts and take further jobs; see `JobStore`."""
        said = (
            [ending.lease.job_id for ending in endings],
            [ending.lease.attempt for ending in endings],
            [ending.verdict.value for ending in endings],
            [json_text(ending.message) for ending in endings],
        )
        asked = _claim_parameters(claim, now)

        def parameters(is_repeated: bool) -> tuple[Any, ...]:
            return (is_repeated, *said, *asked, now)

        queues = () if claim is None else claim.queues
        found: tuple[list[Ended], list[Claimed]] = await self._writer.put(
            Statement(SQL["exchange"], parameters, _exchanged, queues)
        )
        return found

    async def heartbeat(self, beat: Beat, now: datetime) -> BeatAnswer:
        """Keep the leases that the worker holds; see `JobStore`."""
        until = now + timedelta(seconds=beat.lease_seconds)
        ids = [number for number in set(beat.job_ids) if 0 < number <= _MOST_IDS]
        rows = await self._state("heartbeat", now, until, ids, beat.worker, beat.boot_id, beat.queue or None)
        return BeatAnswer(
            known=tuple(sorted(number for number, _ in rows)),
            cancel=tuple(sorted(number for number, is_canceled in rows if is_canceled)),
        )

    async def promote(self, now: datetime) -> int:
        """Make jobs ready whose time has come; see `JobStore`."""
        return int((await self._state("promote", now))[0][0])

    async def expire(self, now: datetime) -> list[JobLease]:
        """End leases that have lapsed; see `JobStore`."""
        return [JobLease(job_id, attempt) for job_id, attempt in await self._state("expire", now)]

    async def wait(self, queues: Sequence[str], seconds: float) -> bool:
        """Wait until a job may have become ready; see `JobStore`."""
        rung = self._bell.expect(queues)
        left = seconds
        try:
            while True:
                await asyncio.wait([rung], timeout=min(left, LOOK_SECONDS))
                left -= LOOK_SECONDS
                if rung.done() or left <= 0:
                    return rung.done()
                if await self._read("ready_queues", (list(queues),)):
                    return True
        finally:
            self._bell.forget(rung)

    async def cancel(self, job_id: int, reason: str, now: datetime) -> JobRow:
        """Ask for a job to be stopped; see `JobStore`."""
        row: JobRow = await self._act(
            lambda connection, again: job_actions.cancel(connection, job_id, reason, now)
        )
        return row

    async def retry(self, job_id: int, now: datetime) -> JobRow:
        """Queue a job again; see `JobStore`."""
        row: JobRow = await self._act(
            lambda connection, again: job_actions.retry(connection, job_id, now, again)
        )
        return row

    async def job(self, job_id: int) -> JobRow:
        """Return a job; see `JobStore`."""
        rows = await self._read("job", (job_id,))
        if not rows:
            raise JobNotFound(no_job_text(job_id))
        return job_row(rows[0])

    async def payload(self, job_id: int) -> bytes:
        """Return the document of a job; see `JobStore`."""
        rows = await self._read("payload", (job_id,))
        if not rows:
            raise JobNotFound(no_job_text(job_id))
        return bytes(rows[0][0])

    async def jobs(self, which: JobFilter) -> list[JobRow]:
        """Return jobs, newest first; see `JobStore`."""
        if which.idempotency_key:
            return list(map(job_row, await self._read("job_by_key", (which.idempotency_key,))))
        return list(map(job_row, await self._read("jobs", structs.asdict(which))))

    async def attempts(self, job_id: int) -> list[JobAttempt]:
        """Return every attempt at a job; see `JobStore`."""
        return list(map(attempt_row, await self._read("attempts", {"id": job_id})))

    async def prune(self, before: datetime, limit: int) -> int:
        """Remove jobs that ended long ago; see `JobStore`."""
        return int((await self._state("prune", before, limit))[0][0])

    # -- leases and logs ---------------------------------------------------------------------------------------

    async def holder(self, digest: bytes) -> TokenHolder | None:
        """Return whom the token of a lease was given to; see `JobStore`."""
        rows = await self._read("holder", {"digest": digest})
        return holder(rows[0]) if rows else None

    async def lease_of(self, job_id: int, worker: str, token_id: int) -> JobLease | None:
        """Return the lease on a job that a worker holds; see `JobStore`."""
        rows = await self._read("lease_of", (job_id, worker, token_id))
        return JobLease(*rows[0]) if rows else None

    async def add_entry(self, lease: JobLease, entry: ExecutionLogEntry, now: datetime) -> int:
        """Begin an entry of the log; see `JobStore`."""
        asked = (*_entry_parameters(lease, entry), entry.out.encode(), MAX_JOB_OUTPUT_BYTES)
        fault, number = (await self._state("add_entry", *asked))[0]
        if fault:
            raise _refusal(fault, lease)
        return int(number)

    async def update_entry(
        self, lease: JobLease, number: int, entry: ExecutionLogEntry, out_offset: int | None, now: datetime
    ) -> None:
        """Replace an entry of the log; see `JobStore`."""
        job_id, attempt, *rest = _entry_parameters(lease, entry)
        output = (entry.out.encode(), out_offset, MAX_JOB_OUTPUT_BYTES)
        rows = await self._state("update_entry", job_id, attempt, number, *rest, *output)
        fault, size = rows[0]
        if fault == "entry":
            raise JobNotFound(no_entry_text(lease, number))
        if fault == "gap":
            raise ConflictError(gap_text(number, size, out_offset or 0))
        if fault:
            raise _refusal(fault, lease)

    async def entries(self, job_id: int) -> list[LogRow]:
        """Return every entry of a job's log; see `JobStore`."""
        return list(map(log_row, await self._read("entries", (job_id,))))

    async def output(self, job_id: int, attempt: int, number: int, offset: int, limit: int) -> bytes:
        """Return a part of an entry's output; see `JobStore`."""
        end = offset + limit
        asked = {"job": job_id, "attempt": attempt, "number": number, "offset": offset, "end": end}
        rows = await self._read("output", asked)
        if not rows:
            return b""
        first = rows[0][0]
        return b"".join(bytes(piece) for _, piece in rows)[offset - first : end - first]

    # -- queues, workers, tokens -------------------------------------------------------------------------------

    async def queues(self) -> list[QueueRow]:
        """Return every queue; see `JobStore`."""
        return list(map(queue_row, await self._read("queues")))

    async def set_queue(self, settings: QueueSettings) -> None:
        """Say how a queue is served from now on; see `JobStore`."""
        await self._act(lambda connection, again: job_actions.set_queue(connection, settings))

    async def note_worker(self, worker: WorkerRow, now: datetime) -> None:
        """Keep what a worker says of itself; see `JobStore`."""
        said = structs.replace(worker, leases=0, first_seen_at=None, last_seen_at=None)
        asked = {"name": worker.name, "said": json_text(said), "now": now}
        await self._act(lambda connection, again: connection.execute(SQL["note_worker"], asked))

    async def workers(self) -> list[WorkerRow]:
        """Return every worker that was heard of; see `JobStore`."""
        return list(map(worker_row, await self._read("workers")))

    async def add_token(self, name: str, role: TokenRole, digest: bytes, now: datetime) -> TokenRow:
        """Keep a token; see `JobStore`."""
        row: TokenRow = await self._act(
            lambda connection, again: job_actions.add_token(connection, name, role, digest, now, again)
        )
        return row

    async def token(self, digest: bytes) -> TokenRow | None:
        """Return the token with this SHA-256; see `JobStore`."""
        rows = await self._read("token", (digest,))
        return token_row(rows[0]) if rows else None

    async def tokens(self) -> list[TokenRow]:
        """Return every token; see `JobStore`."""
        return list(map(token_row, await self._read("tokens")))

    async def revoke_token(self, name: str, now: datetime) -> TokenRow:
        """End a token; see `JobStore`."""
        row: TokenRow = await self._act(
            lambda connection, again: job_actions.revoke_token(connection, name, now)
        )
        return row

    async def close(self) -> None:
        """Wait until everything is durable, then free the store; see `JobStore`."""
        await self._bell.close()
        await self._writer.close()
        await self._reader.close()

    # ----------------------------------------------------------------------------------------------------------

    async def _read(self, name: str, parameters: Any = None) -> Rows:
        def work(connection: Connection) -> Rows:
            return connection.execute(SQL[name], parameters).fetchall()

        return await self._reader.run(work)

    async def _state(self, name: str, *parameters: Any) -> Rows:
        """Execute a statement that may be executed twice; return its rows."""
        rows: Rows = await self._writer.put(Statement(SQL[name], lambda was_sent: parameters, list))
        return rows

    async def _act(self, work: Callable[[Connection, bool], Any]) -> Any:
        return await self._writer.put(Action(work))


def _claim_parameters(claim: Claim | None, now: datetime) -> tuple[Any, ...]:
    if claim is None:
        return ([], [], [], "", "", 0, now)
    until = now + timedelta(seconds=claim.first_seconds)
    return (
        list(claim.queues),
        list(claim.labels),
        list(claim.digests),
        claim.worker,
        claim.boot_id,
        claim.token_id,
        until,
    )


def _exchanged(rows: Rows) -> tuple[list[Ended], list[Claimed]]:
    ended, *given = rows
    claimed = [
        Claimed(
            job_id=job,
            queue=queue,
            attempt=attempt,
            payload=payload,
            sealed=sealed,
            digest=digest,
            labels=tuple(labels),
        )
        for _, job, queue, attempt, payload, sealed, digest, labels in given
    ]
    return [Ended(became) for became in ended[0] or ()], claimed


def _entry_parameters(lease: JobLease, entry: ExecutionLogEntry) -> tuple[Any, ...]:
    return (
        lease.job_id,
        lease.attempt,
        json_text(entry.key),
        json_text(entry.command),
        entry.start_time,
        entry.exit_code,
        entry.duration_ms,
    )


def _refusal(fault: str, lease: JobLease) -> ConflictError:
    """Return why nothing was added to a log."""
    if fault == "lease":
        return LeaseLost(lost_text(lease))
    return TooMuchOutput(too_much_output_text(lease.job_id))
