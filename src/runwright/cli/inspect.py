"""Show everything known of a run: itself, its tasks, attempts, variables, events and definition.

Runs that are the work of its tasks follow, each indented below the one that it is a part of.
"""

import argparse
from collections.abc import Iterator, Sequence
from typing import Any

import msgspec
from msgspec import Struct

from runwright.cli.arguments import Arguments, add_json, add_run
from runwright.cli.common import Reading, with_reading
from runwright.cli.goal_view import ActionView, RoundView, rounds
from runwright.cli.nested import read_nested
from runwright.cli.plan_view import in_order, pauses, plan_of, state_rows
from runwright.cli.records import (
    UNITS,
    Record,
    attempt_record,
    counts_text,
    event_record,
    plural,
    run_record,
    state_counts,
    task_record,
    variable_record,
)
from runwright.cli.render.names import said
from runwright.cli.render.tables import Cell, Column, table
from runwright.cli.render.terminal import STATE_STYLES, Out
from runwright.cli.render.times import duration, elapsed, instant
from runwright.core.run import Attempt, Definition, Run, TaskRow, Variable
from runwright.core.states import TaskState
from runwright.ports.stores import RunStore, StoredEvent

TASKS = (
    Column("task", least=12),
    Column("state"),
    Column("attempts", right=True),
    Column("started", optional=True),
    Column("duration", right=True),
    Column("reason", least=16),
)
STEPS = (Column("step", least=12), *TASKS[1:])
ACTIONS = (Column("action", least=12), *TASKS[1:])
VARIABLES = (Column("variable", least=12), Column("value", least=16), Column("set by", least=8))
STATE = (Column("state", least=12), *VARIABLES[1:])


class Everything(Struct, frozen=True):
    """All records of a run.

    Attributes:
        inner: The same of the runs that are the work of its tasks, oldest first.
        left_out: Number of inner runs that were not read because they lie too deep.
    """

    run: Run
    tasks: Sequence[TaskRow]
    attempts: Sequence[Attempt]
    variables: Sequence[Variable]
    events: Sequence[StoredEvent]
    definition: Definition | None
    inner: Sequence["Everything"] = ()
    left_out: int = 0


def configure(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of `inspect`."""
    add_run(parser)
    add_json(parser)


def execute(args: Arguments) -> int:
    """Show a run in full."""

    async def work(state: Reading) -> Everything:
        return await gather(state.store, await state.store.find_run(args.run))

    found = with_reading(args, work)
    if args.json:
        args.out.json(everything_record(found))
    else:
        args.out.lines(lines(found, args.out))
    return 0


async def gather(store: RunStore, run: Run) -> Everything:
    """Read all records of a run, and of every run within it."""

    async def read(one: Run, inner: Sequence[Everything], left_out: int) -> Everything:
        return Everything(
            one,
            await store.tasks(one.id),
            await store.attempts(one.id),
            await store.variables(one.id),
            await store.events(one.id),
            await store.definition(one.definition) if one.definition else None,
            inner,
            left_out,
        )

    return await read_nested(store, run, read)


def everything_record(found: Everything) -> Record:
    """Return all records of a run as data, and as `children` those of the runs within it."""
    return {
        "run": {**run_record(found.run), "options": dict(found.run.options), **_chain(found.run)},
        "tasks": [task_record(row) for row in found.tasks],
        "attempts": [attempt_record(attempt) for attempt in found.attempts],
        "variables": [variable_record(variable) for variable in found.variables],
        "events": [event_record(event) for event in found.events],
        "definition": definition_record(found.definition, found.run.kind),
        "children": [everything_record(one) for one in found.inner],
    }


def _chain(run: Run) -> Record:
    return {"head_seq": run.head_seq, "head_hash": run.head_hash}


def definition_record(definition: Definition | None, kind: str) -> Record | None:
    """Return a pinned definition; its content is data under the name of its kind, ``workflow``, ``plan`` or ``goal``."""
    if definition is None:
        return None
    content: Any = msgspec.json.decode(definition.content)
    return {"digest": definition.digest, kind: content, "source": definition.source}


def lines(found: Everything, out: Out) -> Iterator[str]:
    """Yield everything as text, in sections; each inner run is one, indented."""
    yield from _run_lines(found, out)
    for section in (_tasks(found, out), _values(found, out)):
        shown = list(section)
        if shown:
            yield ""
            yield from shown
    for one in found.inner:
        yield ""
        arrow = out.paint(out.mark("within"), "dim")
        yield f"{out.paint(out.clean(one.run.parent_task), 'strong')} {arrow} {out.clean(one.run.name)}"
        yield from (f"  {line}".rstrip() for line in lines(one, out.narrowed(2)))
    if found.left_out:
        yield f"and {plural(found.left_out, 'run')} within: runwright inspect {found.run.id}"


def _run_lines(found: Everything, out: Out) -> Iterator[str]:
    run = found.run
    for name, text in _facts(found, out):
        if text:
            label = run.kind if name == "name" else name
            yield f"{out.paint(f'{label:<11}', 'dim')} {text}"


def _facts(found: Everything, out: Out) -> Iterator[tuple[str, str]]:
    run = found.run
    yield "run", run.id
    yield "name", out.clean(run.name)
    yield "part of", f"{out.clean(run.parent_task)} of run {run.parent_id}" if run.parent_id else ""
    yield "state", out.state(run.state.value)
    yield "reason", out.clean(run.reason)
    yield "file", out.clean(run.path)
    yield "tags", out.clean(", ".join(run.tags))
    yield "strategy", f"{run.strategy}, {run.workers} at a time" if run.strategy else ""
    yield "created", instant(run.created_at)
    yield "started", instant(run.started_at)
    yield "ended", instant(run.ended_at)
    yield "duration", duration(elapsed(run.started_at, run.ended_at))
    yield "resumed", f"{run.resume_count} times" if run.resume_count else ""
    yield "engine", f"pid {run.owner.pid} on {out.clean(run.owner.host)}" if run.owner else ""
    yield UNITS[run.kind][1].partition(" ")[0], f"{run.counts.total}: {counts_text(state_counts(run))}"
    yield "attempts", str(len(found.attempts))
    yield "events", f"{len(found.events)}, chained to {run.head_hash or 'nothing'}"
    yield "definition", run.definition


def _tasks(found: Everything, out: Out) -> Iterator[str]:
    if found.run.kind == "plan":
        names = pauses(plan_of(found.definition))
        rows = [_row(name, row, names.get(row.id, "")) for name, row in in_order(found)]
        return table(STEPS, rows, out)
    if found.run.kind == "goal":
        views = rounds(found.tasks, (stored.event for stored in found.events))
        return table(ACTIONS, [row for view in views for row in _round_rows(view)], out)
    return table(TASKS, [_row(said(row.id, row.role), row) for row in found.tasks], out)


def _round_rows(view: RoundView) -> Iterator[tuple[Cell | str, ...]]:
    head = Cell(f"round {view.number}", "strong")
    planning = _row("", view.planning)[1:5] if view.planning else ("", "", "", "")
    yield (head, *planning, round_text(view))
    yield from (_action_row(one) for one in view.actions)


def round_text(view: RoundView) -> str:
    """Return what a goal said at the beginning of a round."""
    if view.failure is None and view.planning is not None and view.planning.state is not TaskState.SUCCEEDED:
        return view.planning.reason or "is being planned"
    if view.failure is not None:
        return f"the goal could not say what it needs: {view.failure.message}"
    return (
        f"needs {plural(len(view.names), 'action')}" if view.names else "needs nothing: the goal is reached"
    )


def _action_row(one: ActionView) -> tuple[Cell | str, ...]:
    return _row("  " * (one.depth + 1) + one.name, one.row)


def _values(found: Everything, out: Out) -> Iterator[str]:
    if found.run.kind == "plan":
        rows = state_rows(found.variables, (stored.event for stored in found.events))
    else:
        rows = [(one.name, one.value, one.set_by) for one in found.variables]
    return table(STATE if found.run.kind == "plan" else VARIABLES, rows, out) if rows else iter(())


def _row(name: str, row: TaskRow, note: str = "") -> tuple[Cell | str, ...]:
    why = row.failure.message if row.failure else row.reason or note
    return (
        name,
        Cell(row.state.value, STATE_STYLES[row.state.value]),
        str(row.attempts),
        instant(row.started_at),
        duration(elapsed(row.started_at, row.ended_at)),
        f"{why} (ignored)" if row.ignored else why,
    )
