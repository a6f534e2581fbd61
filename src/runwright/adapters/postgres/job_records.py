"""Rows of the queue's tables, from and to the records of `core.job_rows`."""

from collections.abc import Iterable, Sequence
from datetime import UTC, datetime
from typing import Any

from msgspec import json, structs

from runwright.adapters.sql import queries
from runwright.core.job_rows import (
    AttemptOutcome,
    JobAttempt,
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
from runwright.core.states import JobState

SQL = queries("postgres", "jobs.sql")


def json_text(said: Any) -> str:
    """Return plain data as JSON, so that a text may have any character."""
    return json.encode(said).decode()


def submitted(calls: Iterable[tuple[Sequence[NewJob], datetime]]) -> tuple[str, list[bytes]]:
    """Return new jobs as one list in JSON, and their documents."""
    documents: list[dict[str, Any]] = []
    payloads: list[bytes] = []
    for jobs, now in calls:
        for job in jobs:
            document = structs.asdict(job)
            payloads.append(document.pop("payload"))
            document["queued_at"] = now
            documents.append(document)
    return json_text(documents), payloads


def utc(at: datetime | None) -> datetime | None:
    """Return an instant from a connection that counts time in UTC with Python's own zone."""
    return None if at is None else at.replace(tzinfo=UTC)


def job_row(row: Sequence[Any]) -> JobRow:
    """Return the job of a row of the queries that give all columns."""
    found = dict(zip(JobRow.__struct_fields__, row, strict=True))
    for name in ("queued_at", "available_at", "started_at", "heartbeat_at", "finished_at", "lease_until"):
        found[name] = utc(found[name])
    return JobRow(**(found | {"state": JobState(found["state"]), "labels": tuple(found["labels"])}))


def holder(row: Sequence[Any]) -> TokenHolder:
    """Return whom a lease was given to."""
    job, attempt, queue, worker, is_current, outcome = row
    return TokenHolder(
        lease=JobLease(job, attempt),
        queue=queue,
        worker=worker,
        is_current=is_current,
        outcome=AttemptOutcome(outcome) if outcome else None,
    )


def attempt_row(row: Sequence[Any]) -> JobAttempt:
    """Return an attempt."""
    job, number, worker, started_at, ended_at, outcome, message = row
    return JobAttempt(
        job_id=job,
        number=number,
        worker=worker,
        started_at=started_at.replace(tzinfo=UTC),
        ended_at=utc(ended_at),
        outcome=AttemptOutcome(outcome) if outcome else None,
        message=message,
    )


def log_row(row: Sequence[Any]) -> LogRow:
    """Return an entry of a log."""
    found = dict(zip(LogRow.__struct_fields__, row, strict=True))
    return LogRow(**(found | {"command": tuple(found["command"]), "started_at": utc(found["started_at"])}))


def queue_row(row: Sequence[Any]) -> QueueRow:
    """Return a queue with its counts."""
    *settings, counts, oldest_at = row
    return QueueRow(
        settings=QueueSettings(**dict(zip(QueueSettings.__struct_fields__, settings, strict=True))),
        counts={JobState(state): count for state, count in sorted(counts.items())},
        oldest_at=utc(oldest_at),
    )


def worker_row(row: Sequence[Any]) -> WorkerRow:
    """Return what a worker says of itself."""
    said, first_seen_at, last_seen_at, leases = row
    worker = json.decode(said, type=WorkerRow)
    return structs.replace(
        worker, first_seen_at=utc(first_seen_at), last_seen_at=utc(last_seen_at), leases=leases
    )


def token_row(row: Sequence[Any]) -> TokenRow:
    """Return a token."""
    number, name, role, created_at, digest, revoked_at = row
    return TokenRow(
        id=number,
        name=name,
        role=TokenRole(role),
        created_at=created_at.replace(tzinfo=UTC),
        digest=bytes(digest),
        revoked_at=utc(revoked_at),
    )
