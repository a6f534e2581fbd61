"""Records as parameters of queries, and back."""

from collections.abc import Sequence
from datetime import datetime
from typing import Any

from msgspec import Struct
from msgspec.json import Decoder, Encoder

from runwright.adapters.sql import queries
from runwright.core.chain import instant
from runwright.core.project import INTERRUPTED, Changes
from runwright.core.run import Owner, Run
from runwright.core.states import FINAL_RUN_STATES, RunState

SQL = queries("runs.sql")

_ENCODER = Encoder()
_OWNER: Decoder[Owner] = Decoder(Owner)
_INTERRUPTED = _ENCODER.encode(INTERRUPTED).decode()


class Head(Struct, frozen=True):
    """The end of a run's log, as its next batch must find it.

    Attributes:
        key: Number of the run in this file.
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
        "created_at": instant(run.created_at),
        "started_at": stamp(run.started_at),
        "ended_at": stamp(run.ended_at),
        "resume_count": run.resume_count,
    }


def batch_parameters(
    head: Head, bodies: Sequence[bytes], hashes: Sequence[bytes], changes: Changes
) -> dict[str, Any]:
    """Return the one row that writes a batch of events of a run."""
    run = changes.run
    return {
        "run": head.key,
        "token": head.token,
        "head_seq": head.seq,
        "head_hash": head.hash,
        "bodies": text([body.decode() for body in bodies]),
        "hashes": b"".join(hashes),
        "tasks": text(list(changes.tasks.values())),
        "attempts": text(list(changes.attempts.values())),
        "variables": text(list(changes.variables.values())),
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
