"""Records as parameters of queries, and back."""

from collections.abc import Callable, Sequence
from datetime import datetime
from typing import Any

from msgspec import Struct, structs
from msgspec.json import Decoder, Encoder

from runwright.core.chain import instant
from runwright.core.project import INTERRUPTED, Changes
from runwright.core.run import Owner, Run, TaskRow
from runwright.core.states import FINAL_RUN_STATES, RunState, TaskRole, TaskState

_ENCODER = Encoder()
_OWNER: Decoder[Owner] = Decoder(Owner)
_INTERRUPTED = _ENCODER.encode(INTERRUPTED).decode()

MadeUp = Callable[[Any], str]

_NOTHING_YET = ("", 0, False, None, None, None, None)


class Head(Struct, frozen=True):
    """The end of a run's log, as its next batch must find it.

    Attributes:
        key: Number of the run in this store.
        token: Of the lease.
        hash: Link of the last event.
    """

    key: int
    token: int
    seq: int
    hash: bytes


def text(data: Any) -> str:
    """Return plain data or records as JSON text."""
    return _ENCODER.encode(data).decode()


def owner_of(stored: str | None) -> Owner | None:
    """Return the owner of a lease from its column."""
    return None if stored is None else _OWNER.decode(stored)


def stamp(at: datetime | None) -> str | None:
    """Return an instant as it is stored."""
    return None if at is None else instant(at)


def run_parameters(run: Run) -> dict[str, Any]:
    """Return the columns of a run that it is created with."""
    state = RunState.PENDING if run.state is RunState.INTERRUPTED else run.state
    return {
        "id": run.id,
        "name": run.name,
        "kind": run.kind,
        "state": state.value,
        "reason": run.reason,
        "definition": run.definition,
        "path": run.path,
        "tags": text(run.tags),
        "strategy": run.strategy,
        "workers": run.workers,
        "options": text(run.options),
        "parent_id": run.parent_id,
        "parent_task": run.parent_task,
        "created_at": instant(run.created_at),
        "started_at": stamp(run.started_at),
        "ended_at": stamp(run.ended_at),
        "resume_count": run.resume_count,
    }


def task_columns(
    tasks: Sequence[TaskRow], made_up: MadeUp | None
) -> tuple[list[tuple[Any, ...]], list[tuple[Any, ...]]]:
    """Return the columns of tasks that nothing has happened to yet, which most are, and of the others."""
    fresh: list[tuple[Any, ...]] = []
    others: list[tuple[Any, ...]] = []
    for position, row in enumerate(tasks):
        columns = (row.id, position, row.key, row.name, row.role, row.level)
        came_about = (
            row.reason,
            row.attempts,
            row.ignored,
            row.started_at,
            row.ended_at,
            row.failure,
            row.value,
        )
        if row.state is TaskState.PENDING and came_about == _NOTHING_YET:
            fresh.append(columns)
        else:
            reason, *middle, failure, value = came_about
            told = (_made(made_up, each) for each in (failure, value))
            others.append((*columns, row.state, _made(made_up, reason), *middle, *told))
    return fresh, others


def _made(made_up: MadeUp | None, data: Any) -> Any:
    return data if made_up is None or data is None else made_up(data)


def batch_parameters(
    head: Head,
    bodies: Sequence[bytes],
    hashes: Sequence[bytes],
    changes: Changes,
    made_up: MadeUp | None,
) -> dict[str, Any]:
    """Return the one row that writes a batch of events of a run."""
    run = changes.run
    gone = [{"name": name} for name in changes.removed]
    return {
        "run": head.key,
        "token": head.token,
        "head_seq": head.seq,
        "head_hash": head.hash,
        "bodies": text([body.decode() for body in bodies]),
        "hashes": b"".join(hashes),
        **_task_parameters(changes, made_up),
        "attempts": text(_told(list(changes.attempts.values()), ("failure",), made_up)),
        "variables": text([*_told(list(changes.variables.values()), ("value",), made_up), *gone]),
        "state": run.state and run.state.value,
        "reason": run.reason,
        "started_at": stamp(run.started_at),
        "ended_at": stamp(run.at) if run.state in FINAL_RUN_STATES else None,
        "resumed_at": stamp(run.resumed_at),
        "interrupted": _INTERRUPTED,
        "cancel_at": stamp(run.cancel_at),
        "cancel_reason": run.cancel_reason,
        "resume_count": run.resume_count,
        "definition": run.definition,
        "strategy": run.strategy,
        "workers": run.workers,
        "new_head_seq": head.seq + len(bodies),
        "new_head_hash": hashes[-1] if hashes else head.hash,
    }


def _told(records: list[Any], fields: Sequence[str], made_up: MadeUp | None) -> list[Any]:
    """Return records whose named fields, which hold what was made up, are as their columns take them."""
    if made_up is None:
        return records
    return [
        structs.replace(record, **{name: _made(made_up, getattr(record, name)) for name in fields})
        for record in records
    ]


def _task_parameters(changes: Changes, made_up: MadeUp | None) -> dict[str, Any]:
    """Split the changes of tasks by what they need, since most need the least."""
    moves = [change for change in changes.tasks.values() if change.state is not None]
    ordinary = [change for change in moves if change.role is TaskRole.TASK]
    states = [change.state for change in ordinary]
    return {
        "tasks": text(_told(moves, ("reason", "failure", "value"), made_up)),
        "moved": text([change.id for change in ordinary]),
        "counts": text([states.count(state) for state in TaskState]),
        "reserved": text([change for change in changes.tasks.values() if change.state is None]),
        "withdrawn": text([change.id for change in moves if change.withdrawn]),
    }
