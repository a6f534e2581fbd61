"""What is written besides events, as functions of statements; each gets a transaction of its own."""

from collections.abc import Callable, Sequence
from datetime import datetime, timedelta
from typing import Any

from runwright.adapters.sqlstore.batches import RunBatch, read_head
from runwright.adapters.sqlstore.queries import run_by_id
from runwright.adapters.sqlstore.records import Head, owner_of, run_parameters, task_columns, text
from runwright.adapters.sqlstore.statements import Statements, first
from runwright.core.chain import genesis, instant
from runwright.core.errors import LeaseLost, RunIsActive, RunNotFound, StoreError
from runwright.core.events import AnyEvent
from runwright.core.lease import busy_text, is_held, lost_text
from runwright.core.run import Definition, Lease, Owner, Run, TaskRow
from runwright.core.runids import not_found_text

Liveness = Callable[[Owner], bool | None]


def create_run(
    statements: Statements,
    run: Run,
    definition: Definition,
    tasks: Sequence[TaskRow],
    events: Sequence[AnyEvent],
    owner: Owner,
    expires_at: datetime,
) -> Head:
    """Write a new run with everything it begins with; return the end of its log."""
    if first(statements, "run_by_id", {"id": run.id}) is not None:
        raise StoreError(f"run {run.id} is already there; give the new run an id of its own")
    link = genesis(run.id, run.created_at)
    lease = {"owner": text(owner), "expires_at": instant(expires_at), "head_hash": link}
    _insert_definition(statements, definition)
    key = first(statements, "insert_run", run_parameters(run) | lease)
    _insert_tasks(statements, key, tasks)
    return _append(statements, run.id, Head(key, 1, 0, link), events)


def resume_run(
    statements: Statements,
    lease: Lease,
    run: Run,
    definition: Definition,
    tasks: Sequence[TaskRow],
    events: Sequence[AnyEvent],
) -> Head:
    """Replace what a run is made of and append events; return the end of its log."""
    head = read_head(statements, lease)
    _insert_definition(statements, definition)
    statements.rows("update_run", run_parameters(run) | {"key": head.key})
    statements.rows("delete_tasks", {"key": head.key})
    _insert_tasks(statements, head.key, tasks)
    return _append(statements, run.id, head, events)


def take_lease(
    statements: Statements,
    run_id: str,
    owner: Owner,
    lease_seconds: float,
    now: datetime,
    is_alive: Liveness,
) -> Lease:
    """Give the lease to a new owner, if nobody holds it."""
    row: Any
    for row in statements.rows("lease", {"id": run_id}):
        token, stored, expires_at = row
        holder = owner_of(stored)
        lapses_at = None if expires_at is None else datetime.fromisoformat(expires_at)
        if holder is not None and is_held(holder, lapses_at, now, is_alive(holder)):
            raise RunIsActive(busy_text(run_id, holder))
        taken = Lease(run_id=run_id, token=token + 1, expires_at=now + timedelta(seconds=lease_seconds))
        statements.rows("set_lease", _lease_parameters(taken) | {"owner": text(owner)})
        return taken
    raise RunNotFound(not_found_text(run_id))


def is_taken(statements: Statements, lease: Lease, owner: Owner) -> bool:
    """Tell whether an owner holds this very lease."""
    rows = statements.rows("lease", {"id": lease.run_id})
    return any(token == lease.token and owner_of(stored) == owner for token, stored, _ in rows)


def renew_lease(statements: Statements, lease: Lease, expires_at: datetime) -> Lease:
    """Move the end of a lease."""
    renewed = Lease(run_id=lease.run_id, token=lease.token, expires_at=expires_at)
    if first(statements, "renew_lease", _lease_parameters(renewed)) is None:
        raise LeaseLost(lost_text(lease.run_id, lease.token))
    return renewed


def release_lease(statements: Statements, lease: Lease) -> None:
    """End a lease, if it is still the one."""
    statements.rows("release_lease", {"id": lease.run_id, "token": lease.token})


def request_cancel(statements: Statements, run_id: str, at: datetime, reason: str) -> Run:
    """Note that somebody wants a run to stop, unless it has ended; return the run."""
    statements.rows("request_cancel", {"id": run_id, "at": instant(at), "reason": reason})
    return run_by_id(statements, run_id)


def _lease_parameters(lease: Lease) -> dict[str, Any]:
    return {"id": lease.run_id, "token": lease.token, "expires_at": instant(lease.expires_at)}


def _insert_definition(statements: Statements, definition: Definition) -> None:
    columns = {"digest": definition.digest, "content": definition.content, "source": definition.source}
    statements.rows("insert_definition", columns)


def _insert_tasks(statements: Statements, key: int, tasks: Sequence[TaskRow]) -> None:
    fresh, others = task_columns(tasks, statements.made_up)
    statements.rows("insert_fresh_tasks", {"key": key, "tasks": text(fresh)})
    if others:
        statements.rows("insert_tasks", {"key": key, "tasks": text(others)})
    statements.rows("recount", {"key": key})


def _append(statements: Statements, run_id: str, head: Head, events: Sequence[AnyEvent]) -> Head:
    batch = RunBatch(run_id, head)
    batch.add(events)
    end = batch.seal()
    batch.write(statements)
    return end
