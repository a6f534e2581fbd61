"""Rows of the queue's tables, from and to the records of `core.job_rows`."""

from collections.abc import Iterable, Sequence
from datetime import UTC, datetime, timedelta
from functools import lru_cache
from typing import Any

import apsw
from msgspec import json, structs

from runwright.adapters.sql import queries
from runwright.core.job_rows import (
    AttemptOutcome,
    JobAttempt,
    JobLease,
    JobRow,
    LogRow,
    QueueRow,
    QueueSettings,
    TokenHolder,
    TokenRole,
    TokenRow,
    WorkerRow,
)
from runwright.core.states import JobState

SQL = queries("sqlite", "jobs.sql")

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MICROSECOND = timedelta(microseconds=1)


def rows(connection: apsw.Connection, name: str, parameters: Any = None) -> list[tuple[Any, ...]]:
    """Execute a query and return its rows."""
    return connection.execute(SQL[name], parameters).fetchall()


def each(
    connection: apsw.Connection, name: str, parameters: Sequence[Sequence[Any]]
) -> list[tuple[Any, ...]]:
    """Execute a query with each of several parameters and return all its rows."""
    if not parameters:
        return []
    return connection.executemany(SQL[name], parameters).fetchall()


def value(connection: apsw.Connection, name: str, parameters: Any = None) -> Any:
    """Return the first column of the first row, or None if there is no row."""
    for row in connection.execute(SQL[name], parameters):
        return row[0]
    return None


def micros(at: datetime) -> int:
    """Return an instant as microseconds since 1970."""
    return (at - _EPOCH) // _MICROSECOND


def instant(at: int) -> datetime:
    """Return the instant of a number of microseconds."""
    return _EPOCH + timedelta(microseconds=at)


def maybe_instant(at: int | None) -> datetime | None:
    """Do the same with what may be missing."""
    return None if at is None else instant(at)


def label_text(labels: Sequence[str]) -> str:
    """Return labels as they are kept."""
    return json.encode(labels).decode() if labels else "[]"


@lru_cache(1_024)
def label_set(text: str) -> tuple[str, ...]:
    """Return the labels of their text."""
    return json.decode(text, type=tuple[str, ...])


def job_row(row: Sequence[Any]) -> JobRow:
    """Return a job."""
    found = dict(zip(JobRow.__struct_fields__, row, strict=True))
    for name in ("queued_at", "available_at", "started_at", "heartbeat_at", "finished_at", "lease_until"):
        found[name] = maybe_instant(found[name])
    found["state"] = JobState(found["state"])
    return JobRow(**(found | {"labels": label_set(found["labels"]), "sealed": bool(found["sealed"])}))


def holder_of(row: Sequence[Any]) -> TokenHolder:
    """Return whom a lease was given to; it holds if there is no outcome."""
    job_id, attempt, queue, worker, outcome = row
    return TokenHolder(
        lease=JobLease(job_id, attempt),
        queue=queue,
        worker=worker,
        is_current=outcome is None,
        outcome=outcome and AttemptOutcome(outcome),
    )


def attempt_row(row: Sequence[Any]) -> JobAttempt:
    """Return an attempt."""
    job_id, number, worker, started_at, ended_at, outcome, message = row
    return JobAttempt(
        job_id=job_id,
        number=number,
        worker=worker,
        started_at=instant(started_at),
        ended_at=maybe_instant(ended_at),
        outcome=outcome and AttemptOutcome(outcome),
        message=message,
    )


def log_row(row: Sequence[Any]) -> LogRow:
    """Return an entry of a log."""
    found = dict(zip(LogRow.__struct_fields__, row, strict=True))
    command = json.decode(found["command"], type=tuple[str, ...])
    return LogRow(**(found | {"command": command, "started_at": maybe_instant(found["started_at"])}))


def settings_of(row: Sequence[Any]) -> QueueSettings:
    """Return the settings of a queue."""
    name, paused, limit, key_limit, max_resets = row
    return QueueSettings(
        name=name, paused=bool(paused), limit=limit, key_limit=key_limit, max_resets=max_resets
    )


def queue_rows(settings: Iterable[Sequence[Any]], counts: Iterable[Sequence[Any]]) -> list[QueueRow]:
    """Return every queue that has settings or jobs, by name."""
    known = {row[0]: settings_of(row) for row in settings}
    states: dict[str, dict[JobState, int]] = {name: {} for name in known}
    oldest: dict[str, int] = {}
    for queue, state, count, since in counts:
        states.setdefault(queue, {})[JobState(state)] = count
        if since is not None:
            oldest[queue] = min(since, oldest.get(queue, since))
    return [
        QueueRow(
            settings=known.get(name, QueueSettings(name=name)),
            counts=dict(sorted(states[name].items())),
            oldest_at=maybe_instant(oldest.get(name)),
        )
        for name in sorted(states, key=str.encode)
    ]


def worker_text(worker: WorkerRow) -> str:
    """Return what a worker says of itself as it is kept."""
    said = structs.replace(worker, leases=0, first_seen_at=None, last_seen_at=None)
    return json.encode(said).decode()


def worker_row(row: Sequence[Any]) -> WorkerRow:
    """Return what a worker says of itself."""
    said, first_seen_at, last_seen_at, leases = row
    return structs.replace(
        json.decode(said, type=WorkerRow),
        first_seen_at=instant(first_seen_at),
        last_seen_at=instant(last_seen_at),
        leases=leases,
    )


def token_row(row: Sequence[Any]) -> TokenRow:
    """Return a token."""
    number, name, role, created_at, digest, revoked_at = row
    return TokenRow(
        id=number,
        name=name,
        role=TokenRole(role),
        created_at=instant(created_at),
        digest=digest,
        revoked_at=maybe_instant(revoked_at),
    )
