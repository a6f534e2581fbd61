"""What is done to the queue in several statements of one transaction, as functions of a connection.

Each may be called again after the connection was lost, and does no harm then; `is_repeated` says so.
"""

from datetime import datetime
from typing import Any

from msgspec import structs

from runwright.adapters.postgres.connection import Connection
from runwright.adapters.postgres.job_records import SQL, job_row, json_text, token_row
from runwright.core.errors import ConflictError, JobHasEnded, JobNotFound, StoreError
from runwright.core.job_rows import NO_REASON, JobRow, QueueSettings, TokenRole, TokenRow
from runwright.core.job_texts import ended_text, no_job_text, no_token_text, token_is_there_text
from runwright.core.states import JobState


def cancel(connection: Connection, job_id: int, reason: str, now: datetime) -> JobRow:
    """Ask for a job to be stopped; see `JobStore`."""
    row = _held(connection, job_id)
    if row.state in (JobState.COMPLETED, JobState.FAILED):
        raise JobHasEnded(ended_text(job_id, row.state, "be canceled"))
    if row.state is not JobState.CANCELED:
        name = "ask_to_stop" if row.state is JobState.PROCESSING else "cancel"
        _execute(connection, name, {"id": job_id, "reason": json_text(reason or NO_REASON), "now": now})
    return _held(connection, job_id)


def retry(connection: Connection, job_id: int, now: datetime, is_repeated: bool) -> JobRow:
    """Queue a job again; see `JobStore`. What was done before under a lost connection is not done again."""
    row = _held(connection, job_id)
    if row.state not in (JobState.FAILED, JobState.CANCELED, JobState.ERRORED):
        if is_repeated and row.available_at == now:
            return row
        raise JobHasEnded(ended_text(job_id, row.state, "be queued again"))
    _execute(connection, "retry", {"id": job_id, "now": now})
    _execute(connection, "announce", ([row.queue],))
    return _held(connection, job_id)


def set_queue(connection: Connection, settings: QueueSettings) -> None:
    """Say how a queue is served from now on; see `JobStore`."""
    _execute(connection, "set_queue", structs.asdict(settings))
    _execute(connection, "announce", ([settings.name],))


def add_token(
    connection: Connection, name: str, role: TokenRole, digest: bytes, now: datetime, is_repeated: bool
) -> TokenRow:
    """Keep a token; see `JobStore`."""
    made = _execute(connection, "add_token", (name, role.value, digest, now))
    if not made and is_repeated:
        made = _execute(connection, "token", (digest,))
    if not made:
        raise ConflictError(token_is_there_text(name))
    return token_row(made[0])


def revoke_token(connection: Connection, name: str, now: datetime) -> TokenRow:
    """End a token; see `JobStore`."""
    ended = _execute(connection, "revoke_token", {"name": name, "now": now})
    if not ended:
        raise StoreError(no_token_text(name))
    return token_row(ended[0])


def _held(connection: Connection, job_id: int) -> JobRow:
    rows = _execute(connection, "held_job", (job_id,))
    if not rows:
        raise JobNotFound(no_job_text(job_id))
    return job_row(rows[0])


def _execute(connection: Connection, name: str, parameters: Any) -> list[tuple[Any, ...]]:
    cursor = connection.execute(SQL[name], parameters)
    return cursor.fetchall() if cursor.description else []
