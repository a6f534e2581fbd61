"""What is done to single jobs, their logs, queues and tokens, as functions of the connection that writes.

What a call may refuse it refuses before it writes: others share its transaction.
"""

from collections.abc import Sequence
from datetime import datetime, timedelta
from itertools import islice
from typing import Any

import apsw
from msgspec import json

from runwright.adapters.sqlite.job_exchange import Woken, wait_again
from runwright.adapters.sqlite.job_records import SQL, each, job_row, micros, rows, token_row, value
from runwright.core.errors import (
    ConflictError,
    JobHasEnded,
    JobNotFound,
    LeaseLost,
    StoreError,
    TooMuchOutput,
)
from runwright.core.job_rows import NO_REASON, Beat, BeatAnswer, JobLease, JobRow, TokenRole, TokenRow
from runwright.core.job_texts import (
    ended_text,
    gap_text,
    lost_text,
    no_entry_text,
    no_job_text,
    no_token_text,
    token_is_there_text,
    too_much_output_text,
)
from runwright.core.job_wire import ExecutionLogEntry
from runwright.core.states import FINAL_JOB_STATES, JobState

_MOST_IDS = (1 << 63) - 1


def job(connection: apsw.Connection, job_id: int) -> JobRow:
    """Return a job.

    Raises:
        JobNotFound: If there is none.
    """
    for row in rows(connection, "job", (job_id,)):
        return job_row(row)
    raise JobNotFound(no_job_text(job_id))


def heartbeat(connection: apsw.Connection, beat: Beat, now: datetime) -> BeatAnswer:
    """Keep the leases that a worker holds."""
    until = micros(now + timedelta(seconds=beat.lease_seconds))
    facts = (micros(now), until, beat.worker, beat.boot_id, beat.queue)
    numbers = sorted(number for number in set(beat.job_ids) if 0 < number <= _MOST_IDS)
    held = each(connection, "heartbeat", [(number, *facts) for number in numbers])
    return BeatAnswer(
        known=tuple(number for number, _ in held),
        cancel=tuple(number for number, is_canceled in held if is_canceled),
    )


def cancel(connection: apsw.Connection, job_id: int, reason: str, now: datetime) -> JobRow:
    """Ask for a job to be stopped."""
    state = job(connection, job_id).state
    if state in (JobState.COMPLETED, JobState.FAILED):
        raise JobHasEnded(ended_text(job_id, state, "be canceled"))
    connection.execute(SQL["ask_to_stop"], (job_id, reason or NO_REASON))
    connection.execute(SQL["cancel"], (job_id, reason or NO_REASON, micros(now)))
    return job(connection, job_id)


def retry(connection: apsw.Connection, woken: Woken, job_id: int, now: datetime) -> JobRow:
    """Queue a job again."""
    state = job(connection, job_id).state
    if state not in (JobState.ERRORED, JobState.FAILED, JobState.CANCELED):
        raise JobHasEnded(ended_text(job_id, state, "be queued again"))
    connection.execute(SQL["retry"], (job_id,))
    wait_again(connection, woken, job_id, now)
    return job(connection, job_id)


def add_entry(connection: apsw.Connection, lease: JobLease, entry: ExecutionLogEntry, most: int) -> int:
    """Begin an entry of a log of at most that many bytes; returns its number."""
    _check_held(connection, lease)
    started_at = None if entry.start_time is None else micros(entry.start_time)
    known = value(connection, "find_entry", (lease.job_id, lease.attempt, entry.key, started_at))
    if known is not None:
        return int(known)
    out = entry.out.encode()
    _check_room(connection, lease, len(out), most)
    number: int = value(connection, "last_entry", (lease.job_id, lease.attempt)) + 1
    _put_entry(connection, lease, number, entry, len(out))
    _add_output(connection, lease, number, 0, out)
    return number


def update_entry(
    connection: apsw.Connection,
    lease: JobLease,
    number: int,
    entry: ExecutionLogEntry,
    out_offset: int | None,
    most: int,
) -> None:
    """Replace an entry of a log of at most that many bytes."""
    _check_held(connection, lease)
    size = value(connection, "entry_size", (lease.job_id, lease.attempt, number))
    if size is None:
        raise JobNotFound(no_entry_text(lease, number))
    if out_offset is not None and out_offset > size:
        raise ConflictError(gap_text(number, size, out_offset))
    kept = 0 if out_offset is None else size
    out = entry.out.encode()[kept - (out_offset or 0) :]
    _check_room(connection, lease, kept + len(out) - size, most)
    if out_offset is None:
        connection.execute(SQL["clear_output"], (lease.job_id, lease.attempt, number))
    _put_entry(connection, lease, number, entry, kept + len(out))
    _add_output(connection, lease, number, kept, out)


def _check_held(connection: apsw.Connection, lease: JobLease) -> None:
    if value(connection, "is_held", (lease.job_id, lease.attempt)) is None:
        raise LeaseLost(lost_text(lease))


def _check_room(connection: apsw.Connection, lease: JobLease, more: int, most: int) -> None:
    if more > 0 and value(connection, "job_size", (lease.job_id,)) + more > most:
        raise TooMuchOutput(too_much_output_text(lease.job_id))


def _put_entry(
    connection: apsw.Connection, lease: JobLease, number: int, entry: ExecutionLogEntry, size: int
) -> None:
    place = (lease.job_id, lease.attempt, number)
    command = json.encode(entry.command).decode()
    started_at = None if entry.start_time is None else micros(entry.start_time)
    said = (entry.key, command, started_at, entry.exit_code, entry.duration_ms, size)
    connection.execute(SQL["put_entry"], (*place, *said))


def _add_output(connection: apsw.Connection, lease: JobLease, number: int, place: int, out: bytes) -> None:
    if out:
        connection.execute(SQL["add_output"], (lease.job_id, lease.attempt, number, place, out))


def output(connection: apsw.Connection, place: Sequence[int], offset: int, limit: int) -> bytes:
    """Return some of the output of the entry with this job, attempt and number."""
    pieces = rows(connection, "output", (*place, offset, offset + limit))
    if not pieces:
        return b""
    first: int = pieces[0][0]
    return b"".join(piece for _, piece in pieces)[offset - first : offset - first + limit]


def add_token(
    connection: apsw.Connection, name: str, role: TokenRole, digest: bytes, now: datetime
) -> TokenRow:
    """Keep a token."""
    for row in rows(connection, "add_token", (name, role.value, digest, micros(now))):
        return token_row(row)
    raise ConflictError(token_is_there_text(name))


def revoke_token(connection: apsw.Connection, name: str, now: datetime) -> TokenRow:
    """End a token."""
    for row in rows(connection, "revoke_token", (name, micros(now))):
        return token_row(row)
    raise StoreError(no_token_text(name))


def prune(connection: apsw.Connection, before: datetime, limit: int) -> int:
    """Remove jobs that ended before an instant, those that did first; returns how many."""
    found: list[Any] = []
    for (queue,) in rows(connection, "ended_queues"):
        for state in FINAL_JOB_STATES:
            found += rows(connection, "ended_before", (queue, state, micros(before), limit))
    old = [(job_id,) for _, job_id in islice(sorted(found), limit)]
    for name in ("prune_output", "prune_entries", "prune_attempts", "prune_payload", "prune_job"):
        each(connection, name, old)
    return len(old)
