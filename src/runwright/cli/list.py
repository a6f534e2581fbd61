"""List the workflows of this project, with what they are for and how they last ended."""

import argparse
from collections.abc import Iterator, Sequence
from datetime import datetime
from pathlib import Path

from msgspec import Struct

from runwright import wiring
from runwright.cli.arguments import Arguments, add_json
from runwright.cli.common import Reading, now, relative, with_reading
from runwright.cli.records import Record, plural, run_record
from runwright.cli.render.tables import Cell, Column, table
from runwright.cli.render.terminal import STATE_STYLES, Out
from runwright.cli.render.times import ago
from runwright.core.errors import DefinitionError
from runwright.core.graph import build
from runwright.core.run import Run
from runwright.core.workflow import Workflow
from runwright.ports.stores import RunFilter

COLUMNS = (
    Column("workflow"),
    Column("tasks", right=True),
    Column("last run"),
    Column("tags", least=6, optional=True),
    Column("file", least=12, optional=True),
    Column("description", least=12, optional=True),
)


class Entry(Struct, frozen=True):
    """A workflow file; `problems` counts the errors that keep it from being a workflow."""

    path: Path
    workflow: Workflow | None
    tasks: int
    problems: int
    last: Run | None


def configure(parser: argparse.ArgumentParser) -> None:
    """Add the options of `list`."""
    parser.add_argument("--tag", metavar="TAG", default="", help="only workflows with this tag")
    add_json(parser)


def execute(args: Arguments) -> int:
    """List workflows."""

    async def work(state: Reading) -> list[Entry]:
        return [await _entry(path, state) for path in wiring.list_workflows()]

    entries = [entry for entry in with_reading(args, work) if _wanted(entry, args.tag)]
    if args.json:
        args.out.json([entry_record(entry) for entry in entries])
    elif entries:
        args.out.lines(_table(entries, args.out))
        if any(entry.problems for entry in entries):
            args.err.line("some files have errors: `runwright validate` shows them")
    else:
        args.out.line("no workflows here; `runwright init` starts a project")
    return 0


async def _entry(path: Path, state: Reading) -> Entry:
    try:
        workflow = wiring.load(Path(relative(path))).workflow
        tasks = len(build(workflow))
    except DefinitionError as error:
        return Entry(path, None, 0, len(error.problems), None)
    runs = await state.store.list_runs(RunFilter(name=workflow.name, limit=1))
    return Entry(path, workflow, tasks, 0, runs[0] if runs else None)


def _wanted(entry: Entry, tag: str) -> bool:
    return not tag or (entry.workflow is not None and tag in entry.workflow.tags)


def entry_record(entry: Entry) -> Record:
    """Return a workflow of the project; `valid` is false for a file with errors."""
    workflow = entry.workflow
    return {
        "name": workflow.name if workflow else entry.path.stem,
        "path": str(entry.path),
        "valid": workflow is not None,
        "description": workflow.description if workflow else "",
        "tags": list(workflow.tags) if workflow else [],
        "tasks": entry.tasks,
        "problems": entry.problems,
        "last_run": run_record(entry.last) if entry.last else None,
    }


def _table(entries: Sequence[Entry], out: Out) -> Iterator[str]:
    at = now()
    return table(COLUMNS, [_row(entry, at) for entry in entries], out)


def _row(entry: Entry, at: datetime) -> tuple[Cell | str, ...]:
    path = relative(entry.path)
    if entry.workflow is None:
        errors = Cell(plural(entry.problems, "error"), "bad")
        return (Cell(entry.path.stem, "strong"), "", errors, "", path, "")
    flow, last = entry.workflow, entry.last
    ended = Cell("never")
    if last is not None:
        when = ago(last.ended_at or last.started_at or last.created_at, at)
        ended = Cell(f"{last.state.value} {when}", STATE_STYLES[last.state.value])
    return (
        Cell(flow.name, "strong"),
        str(entry.tasks),
        ended,
        ", ".join(flow.tags),
        path,
        flow.description.partition("\n")[0],
    )
