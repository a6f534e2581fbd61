"""List the workflows, plans and goals of this project, with what they are for and how they last ended."""

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
from runwright.cli.validate import Check, check_file
from runwright.core.run import Run
from runwright.ports.stores import RunFilter

COLUMNS = (
    Column("name"),
    Column("kind"),
    Column("tasks", right=True),
    Column("last run"),
    Column("tags", least=6, optional=True),
    Column("file", least=12, optional=True),
    Column("description", least=12, optional=True),
)


class Entry(Struct, frozen=True):
    """A file of the project, what came of reading it, and the last run of what it defines."""

    path: Path
    check: Check
    last: Run | None


def configure(parser: argparse.ArgumentParser) -> None:
    """Add the options of `list`."""
    parser.add_argument("--tag", metavar="TAG", default="", help="only what has this tag")
    add_json(parser)


def execute(args: Arguments) -> int:
    """List what the project has."""

    async def work(state: Reading) -> list[Entry]:
        return [await _entry(path, state) for path in wiring.list_workflows()]

    entries = [entry for entry in with_reading(args, work) if _wanted(entry, args.tag)]
    if args.json:
        args.out.json([entry_record(entry) for entry in entries])
    elif entries:
        args.out.lines(_table(entries, args.out))
        if any(entry.check.errors for entry in entries):
            args.err.line("some files have errors: `runwright validate` shows them")
    else:
        args.out.line("nothing here yet; `runwright init` starts a project")
    return 0


async def _entry(path: Path, state: Reading) -> Entry:
    check = check_file(Path(relative(path)))
    if check.definition is None or check.kind is None:
        return Entry(path, check, None)
    wanted = RunFilter(name=check.definition.name, kind=check.kind.value, limit=1)
    runs = await state.store.list_runs(wanted)
    return Entry(path, check, runs[0] if runs else None)


def _wanted(entry: Entry, tag: str) -> bool:
    definition = entry.check.definition
    return not tag or (definition is not None and tag in definition.tags)


def entry_record(entry: Entry) -> Record:
    """Return a file of the project; `valid` is false for one with errors."""
    check, definition = entry.check, entry.check.definition
    return {
        "name": definition.name if definition else entry.path.stem,
        "kind": check.kind.value if check.kind else None,
        "path": str(entry.path),
        "valid": definition is not None,
        "description": definition.description if definition else "",
        "tags": list(definition.tags) if definition else [],
        "tasks": check.size,
        "problems": len(check.errors),
        "last_run": run_record(entry.last) if entry.last else None,
    }


def _table(entries: Sequence[Entry], out: Out) -> Iterator[str]:
    at = now()
    return table(COLUMNS, [_row(entry, at) for entry in entries], out)


def _row(entry: Entry, at: datetime) -> tuple[Cell | str, ...]:
    check, path = entry.check, relative(entry.path)
    kind = check.kind.value if check.kind else ""
    if check.definition is None:
        errors = Cell(plural(len(check.errors), "error"), "bad")
        return (Cell(entry.path.stem, "strong"), kind, "", errors, "", path, "")
    last = entry.last
    ended = Cell("never")
    if last is not None:
        when = ago(last.ended_at or last.started_at or last.created_at, at)
        ended = Cell(f"{last.state.value} {when}", STATE_STYLES[last.state.value])
    return (
        Cell(check.definition.name, "strong"),
        kind,
        "" if check.size is None else str(check.size),
        ended,
        ", ".join(check.definition.tags),
        path,
        check.definition.description.partition("\n")[0],
    )
