"""What the fake of a `JobStore` knows of each job."""

from datetime import datetime, timedelta
from typing import Any

from msgspec import structs

from runwright.core.errors import ConflictError, JobNotFound, LeaseLost, TooMuchOutput
from runwright.core.job_rows import (
    MAX_JOB_OUTPUT_BYTES,
    AttemptOutcome,
    JobAttempt,
    JobFilter,
    JobLease,
    JobRow,
    LogRow,
    NewJob,
    Verdict,
)
from runwright.core.job_texts import gap_text, lost_text, no_entry_text, too_much_output_text
from runwright.core.job_wire import ExecutionLogEntry
from runwright.core.states import JobState


class StoredAttempt:
    """One attempt at a job.

    Attributes:
        shown: What others see of it.
        digest: SHA-256 of the token of its lease.
        verdict: What its worker said, if it did.
    """

    def __init__(self, lease: JobLease, worker: str, now: datetime, digest: bytes) -> None:
        self.lease = lease
        self.shown = JobAttempt(job_id=lease.job_id, number=lease.attempt, worker=worker, started_at=now)
        self.digest = digest
        self.verdict: Verdict | None = None

    def end(self, now: datetime, outcome: AttemptOutcome, message: str, verdict: Verdict | None) -> None:
        """Note how it ended."""
        self.shown = structs.replace(self.shown, ended_at=now, outcome=outcome, message=message)
        self.verdict = verdict


class StoredEntry:
    """An entry of a job's log."""

    def __init__(self, entry: ExecutionLogEntry, out: bytes) -> None:
        self.said = entry
        self.out = out


class StoredJob:
    """A job.

    Attributes:
        row: What others see of it.
        ready: True if it may be given out, False if it waits for its time, None if it does not wait at all.
        turn: Its place among those that wait, after priority and before age.
        entries: Of the log, by attempt.
    """

    def __init__(self, row: JobRow, payload: bytes, idempotency_key: str) -> None:
        self.row = row
        self.payload = payload
        self.idempotency_key = idempotency_key
        self.ready: bool | None = None
        self.turn = 0
        self.boot_id = ""
        self.token_id = 0
        self.attempts: list[StoredAttempt] = []
        self.entries: dict[int, list[StoredEntry]] = {}

    @property
    def lease(self) -> JobLease | None:
        """The lease that holds, if one does."""
        held = self.row.state is JobState.PROCESSING
        return JobLease(self.row.id, self.row.attempt) if held else None

    def set(self, **changes: Any) -> None:
        """Change what others see of it."""
        self.row = structs.replace(self.row, **changes)

    def end(self, state: JobState, message: str, now: datetime, **changes: Any) -> None:
        """Let nobody have it; it may come to wait after that."""
        self.ready = None
        finished_at = None if state is JobState.QUEUED else now
        self.set(state=state, message=message, finished_at=finished_at, lease_until=None, **changes)

    def add_entry(self, entry: ExecutionLogEntry) -> int:
        """Begin an entry of the log; returns its number."""
        entries = self.entries.setdefault(self.row.attempt, [])
        for number, known in enumerate(entries, 1):
            if (known.said.key, known.said.start_time) == (entry.key, entry.start_time):
                return number
        out = entry.out.encode()
        self._check_room(len(out))
        entries.append(StoredEntry(entry, out))
        return len(entries)

    def update_entry(self, number: int, entry: ExecutionLogEntry, out_offset: int | None) -> None:
        """Replace an entry of the log."""
        entries = self.entries.get(self.row.attempt, [])
        if not 1 <= number <= len(entries):
            raise JobNotFound(no_entry_text(JobLease(self.row.id, self.row.attempt), number))
        known, out = entries[number - 1], entry.out.encode()
        if out_offset is not None:
            if out_offset > len(known.out):
                raise ConflictError(gap_text(number, len(known.out), out_offset))
            out = known.out + out[len(known.out) - out_offset :]
        self._check_room(len(out) - len(known.out))
        known.said, known.out = entry, out

    def _check_room(self, more: int) -> None:
        size = sum(len(entry.out) for entries in self.entries.values() for entry in entries)
        if size + more > MAX_JOB_OUTPUT_BYTES:
            raise TooMuchOutput(too_much_output_text(self.row.id))

    def listed_entries(self) -> list[LogRow]:
        """Return every entry, by attempt and number."""
        return [
            _log_row(JobLease(self.row.id, attempt), number, entry)
            for attempt, entries in sorted(self.entries.items())
            for number, entry in enumerate(entries, 1)
        ]


def leased(job: StoredJob | None, lease: JobLease) -> StoredJob:
    """Return a job if a lease on it holds.

    Raises:
        LeaseLost: If it does not.
    """
    if job is None or job.lease != lease:
        raise LeaseLost(lost_text(lease))
    return job


def fresh_row(job_id: int, job: NewJob, now: datetime) -> JobRow:
    """Return the row of a job that is submitted."""
    return JobRow(
        id=job_id,
        queue=job.queue,
        state=JobState.QUEUED,
        priority=job.priority,
        labels=job.labels,
        key=job.key,
        attempt=0,
        failures=0,
        resets=0,
        max_attempts=job.max_attempts,
        retry_delay=job.retry_delay,
        queued_at=now,
        available_at=now + timedelta(seconds=job.delay),
        started_at=None,
        heartbeat_at=None,
        finished_at=None,
        lease_until=None,
        worker="",
        cancel_reason="",
        message="",
        sealed=job.sealed,
    )


def _log_row(lease: JobLease, number: int, entry: StoredEntry) -> LogRow:
    return LogRow(
        job_id=lease.job_id,
        attempt=lease.attempt,
        entry=number,
        key=entry.said.key,
        command=entry.said.command,
        started_at=entry.said.start_time,
        exit_code=entry.said.exit_code,
        duration_ms=entry.said.duration_ms,
        size_bytes=len(entry.out),
    )


def is_wanted(job: StoredJob, which: JobFilter) -> bool:
    """Tell whether a job is one of those to list."""
    if which.idempotency_key:
        return job.idempotency_key == which.idempotency_key
    row = job.row
    return (
        which.queue in ("", row.queue)
        and which.state in (None, row.state)
        and which.key in ("", row.key)
        and which.worker in ("", row.worker)
        and (not which.below or row.id < which.below)
    )
