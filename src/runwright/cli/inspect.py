"""Show everything known of a run: itself, its tasks, attempts, variables, events and definition."""

import argparse
from collections.abc import Iterator, Sequence
from typing import Any

import msgspec
from msgspec import Struct

from runwright.cli.arguments import Arguments, add_json, add_run
from runwright.cli.common import Reading, with_reading
from runwright.cli.records import (
    Record,
    attempt_record,
    event_record,
    run_record,
    state_counts,
    task_record,
    variable_record,
)
from runwright.cli.records import counts_text as counted
from runwright.cli.render.names import said
from runwright.cli.render.tables import Cell, Column, table
from runwright.cli.render.terminal import STATE_STYLES, Out
from runwright.cli.render.times import duration, elapsed, instant
from runwright.core.run import Attempt, Definition, Run, TaskRow, Variable
from runwright.ports.stores import RunStore, StoredEvent

TASKS = (
    Column("task", least=12),
    Column("state"),
    Column("attempts", right=True),
    Column("started", optional=True),
    Column("duration", right=True),
    Column("reason", least=16),
)
VARIABLES = (Column("variable", least=12), Column("value", least=16), Column("set by", least=8))


class Everything(Struct, frozen=True):
    """All records of a run."""

    run: Run
    tasks: Sequence[TaskRow]
    attempts: Sequence[Attempt]
    variables: Sequence[Variable]
    events: Sequence[StoredEvent]
    definition: Definition | None


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
    """Read all records of a run."""
    return Everything(
        run,
        await store.tasks(run.id),
        await store.attempts(run.id),
        await store.variables(run.id),
        await store.events(run.id),
        await store.definition(run.definition) if run.definition else None,
    )


def everything_record(found: Everything) -> Record:
    """Return all records of a run as data."""
    return {
        "run": {**run_record(found.run), "options": dict(found.run.options), **_chain(found.run)},
        "tasks": [task_record(row) for row in found.tasks],
        "attempts": [attempt_record(attempt) for attempt in found.attempts],
        "variables": [variable_record(variable) for variable in found.variables],
        "events": [event_record(event) for event in found.events],
        "definition": definition_record(found.definition),
    }


def _chain(run: Run) -> Record:
    return {"head_seq": run.head_seq, "head_hash": run.head_hash}


def definition_record(definition: Definition | None) -> Record | None:
    """Return a pinned definition; `workflow` is its content as data."""
    if definition is None:
        return None
    content: Any = msgspec.json.decode(definition.content)
    return {"digest": definition.digest, "workflow": content, "source": definition.source}


def lines(found: Everything, out: Out) -> Iterator[str]:
    """Yield everything as text, in sections."""
    yield from _run_lines(found, out)
    yield ""
    yield from table(TASKS, [_task_row(row) for row in found.tasks], out)
    if found.variables:
        yield ""
        yield from table(VARIABLES, [(v.name, v.value, v.set_by) for v in found.variables], out)


def _run_lines(found: Everything, out: Out) -> Iterator[str]:
    run = found.run
    facts = [
        ("run", run.id),
        ("workflow", out.clean(run.name)),
        ("state", out.state(run.state.value)),
        ("reason", out.clean(run.reason)),
        ("file", out.clean(run.path)),
        ("tags", out.clean(", ".join(run.tags))),
        ("strategy", f"{run.strategy}, {run.workers} at a time"),
        ("created", instant(run.created_at)),
        ("started", instant(run.started_at)),
        ("ended", instant(run.ended_at)),
        ("duration", duration(elapsed(run.started_at, run.ended_at))),
        ("resumed", f"{run.resume_count} times" if run.resume_count else ""),
        ("engine", f"pid {run.owner.pid} on {out.clean(run.owner.host)}" if run.owner else ""),
        ("tasks", f"{run.counts.total}: {counted(state_counts(run))}"),
        ("attempts", str(len(found.attempts))),
        ("events", f"{len(found.events)}, chained to {run.head_hash or 'nothing'}"),
        ("definition", run.definition),
    ]
    for name, text in facts:
        if text:
            yield f"{out.paint(f'{name:<11}', 'dim')} {text}"


def _task_row(row: TaskRow) -> tuple[Cell | str, ...]:
    why = row.failure.message if row.failure else row.reason
    return (
        said(row.id, row.role),
        Cell(row.state.value, STATE_STYLES[row.state.value]),
        str(row.attempts),
        instant(row.started_at),
        duration(elapsed(row.started_at, row.ended_at)),
        f"{why} (ignored)" if row.ignored else why,
    )
