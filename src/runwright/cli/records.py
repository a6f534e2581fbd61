"""What ``--json`` prints: plain data with keys that stay. Instants are UTC, durations seconds, absent values null."""

from collections.abc import Mapping
from datetime import datetime
from typing import Any

import msgspec

from runwright.cli.render.times import elapsed
from runwright.core.errors import Failure, Problem
from runwright.core.run import Attempt, Run, TaskRow, Variable
from runwright.ports.stores import Integrity, StoredEvent

Record = dict[str, Any]

UNITS = {"workflow": ("task", "tasks"), "plan": ("step", "steps"), "goal": ("round", "rounds and actions")}
"""What one and what several tasks of a run are called, by its kind; a goal's first task is the planning of a round."""


def run_record(run: Run, now: datetime | None = None) -> Record:
    """Return a run without its tasks."""
    owner = run.owner
    return {
        "id": run.id,
        "name": run.name,
        "kind": run.kind,
        "state": run.state.value,
        "reason": run.reason,
        "strategy": run.strategy,
        "workers": run.workers,
        "tags": list(run.tags),
        "path": run.path,
        "definition": run.definition,
        "created_at": run.created_at,
        "started_at": run.started_at,
        "ended_at": run.ended_at,
        "duration": elapsed(run.started_at, run.ended_at, now),
        "resume_count": run.resume_count,
        "counts": msgspec.to_builtins(run.counts),
        "parent_id": run.parent_id or None,
        "parent_task": run.parent_task or None,
        "cancel_requested_at": run.cancel_requested_at,
        "owner": None if owner is None else {"host": owner.host, "pid": owner.pid},
    }


def task_record(row: TaskRow) -> Record:
    """Return a task of a run."""
    return {
        "id": row.id,
        "key": row.key,
        "name": row.name,
        "role": row.role.value,
        "level": row.level,
        "state": row.state.value,
        "reason": row.reason,
        "attempts": row.attempts,
        "started_at": row.started_at,
        "ended_at": row.ended_at,
        "duration": elapsed(row.started_at, row.ended_at),
        "ignored": row.ignored,
        "value": row.value,
        "failure": failure_record(row.failure),
    }


def failure_record(failure: Failure | None) -> Record | None:
    """Return a failure, or None for none."""
    if failure is None:
        return None
    return {
        "code": failure.code,
        "message": failure.message,
        "exit_code": failure.exit_code,
        "signal": failure.signal,
        "stderr_tail": failure.stderr_tail,
    }


def attempt_record(attempt: Attempt) -> Record:
    """Return one attempt."""
    return {
        "task_id": attempt.task_id,
        "number": attempt.number,
        "state": attempt.state.value,
        "started_at": attempt.started_at,
        "ended_at": attempt.ended_at,
        "duration": elapsed(attempt.started_at, attempt.ended_at),
        "failure": failure_record(attempt.failure),
    }


def variable_record(variable: Variable) -> Record:
    """Return one variable."""
    return {
        "name": variable.name,
        "value": variable.value,
        "set_by": variable.set_by,
        "set_at": variable.set_at,
    }


def event_record(stored: StoredEvent) -> Record:
    """Return one event of the log; `data` holds the fields of its kind."""
    data: Record = msgspec.to_builtins(stored.event, builtin_types=(datetime,))
    return {
        "seq": stored.seq,
        "at": data.pop("at"),
        "kind": data.pop("kind"),
        "task_id": data.pop("task_id", None),
        "attempt": data.pop("attempt", None),
        "data": data,
        "hash": stored.hash,
    }


def integrity_record(run_id: str, found: Integrity) -> Record:
    """Return the result of checking a chain."""
    return {
        "run_id": run_id,
        "ok": found.ok,
        "events": found.events,
        "head": found.head,
        "problem": found.problem or None,
    }


def problem_record(problem: Problem) -> Record:
    """Return one fault of a definition."""
    return {
        "message": problem.message,
        "file": problem.file,
        "line": problem.line,
        "column": problem.column,
        "path": list(problem.path),
        "suggestion": problem.suggestion,
        "source_line": problem.source_line,
    }


def counts_text(counts: Mapping[str, int]) -> str:
    """Return counts of states as a phrase, those that are 0 left out: ``7 succeeded, 1 failed``."""
    return ", ".join(f"{number} {state}" for state, number in counts.items() if number) or "none"


def state_counts(run: Run) -> dict[str, int]:
    """Return how many ordinary tasks of a run are in which state, the total not included."""
    counts: dict[str, int] = msgspec.to_builtins(run.counts)
    counts.pop("total", None)
    order = ("succeeded", "failed", "skipped", "cancelled", "running", "pending")
    return {name: counts[name] for name in order}


def counted(run: Run) -> str:
    """Return how many ordinary tasks, steps or actions a run has, and how many are in which state."""
    total = run.counts.total
    return f"{total} {UNITS[run.kind][total != 1]}: {counts_text(state_counts(run))}"


def plural(number: int, word: str, words: str = "") -> str:
    """Return ``1 task`` or ``2 tasks``; `words` is the plural if an ``s`` does not make it."""
    return f"{number} {word}" if number == 1 else f"{number} {words or f'{word}s'}"
