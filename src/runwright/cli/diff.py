"""Compare two runs: states, durations, tasks, variables and definition.

Tasks of inner runs are compared too, as OUTER/INNER; of several runs of one task the last.
"""

import argparse
from collections.abc import Iterator, Mapping
from difflib import unified_diff
from typing import Any

import msgspec

from runwright.cli.arguments import Arguments, add_json, add_run
from runwright.cli.common import Reading, with_reading
from runwright.cli.inspect import Everything, gather
from runwright.cli.nested import last_rows
from runwright.cli.records import Record, plural, run_record
from runwright.cli.render.tables import Cell, Column, table
from runwright.cli.render.terminal import STATE_STYLES, Out
from runwright.cli.render.times import duration, elapsed
from runwright.core.run import Definition, TaskRow

TASKS = (
    Column("task", least=12),
    Column("a"),
    Column("b"),
    Column("attempts", right=True),
    Column("duration", right=True),
    Column("error", least=16),
)
VARIABLES = (Column("variable", least=10), Column("a", least=12), Column("b", least=12))
STYLES = {"same": "dim", "changed": "warn", "only_a": "bad", "only_b": "good"}


def configure(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of `diff`."""
    add_run(parser, "a", "the first run")
    add_run(parser, "b", "the second run")
    parser.add_argument("--all", action="store_true", help="show also what is the same in both")
    add_json(parser)


def execute(args: Arguments) -> int:
    """Compare two runs."""

    async def work(state: Reading) -> tuple[Everything, Everything]:
        first, second = await state.store.find_run(args.a), await state.store.find_run(args.b)
        return await gather(state.store, first), await gather(state.store, second)

    first, second = with_reading(args, work)
    found = compare(first, second)
    if args.json:
        args.out.json(found)
    else:
        args.out.lines(lines(found, args.out, everything=args.all))
    return 0


def compare(a: Everything, b: Everything) -> Record:
    """Return what differs; `kind` is ``same``, ``changed``, ``only_a`` or ``only_b``.

    A task counts as changed if its final state, its error or its number of attempts differs; durations are given,
    but differ always.
    """
    tasks = _pairs(
        {path: _task(row) for path, row in last_rows(a)},
        {path: _task(row) for path, row in last_rows(b)},
        "duration",
    )
    variables = _pairs(
        {v.name: {"value": v.value} for v in a.variables}, {v.name: {"value": v.value} for v in b.variables}
    )
    definition_changed = a.run.definition != b.run.definition
    moved = [pair for pair in (*tasks, *variables) if pair["kind"] != "same"]
    return {
        "run_a": run_record(a.run),
        "run_b": run_record(b.run),
        "changed": a.run.state != b.run.state or definition_changed or bool(moved),
        "tasks": tasks,
        "variables": variables,
        "definition": {"changed": definition_changed, "diff": _definition_diff(a, b)},
    }


def _task(row: TaskRow) -> Record:
    return {
        "state": row.state.value,
        "error": row.failure.message if row.failure else None,
        "attempts": row.attempts,
        "duration": elapsed(row.started_at, row.ended_at),
    }


def _pairs(a: Mapping[str, Record], b: Mapping[str, Record], free: str = "") -> list[Record]:
    names = [*a, *(name for name in b if name not in a)]
    return [
        {"id": name, "kind": _kind(a.get(name), b.get(name), free), "a": a.get(name), "b": b.get(name)}
        for name in names
    ]


def _kind(a: Record | None, b: Record | None, free: str) -> str:
    if a is None:
        return "only_b"
    if b is None:
        return "only_a"
    return "same" if all(a[key] == b[key] for key in a if key != free) else "changed"


def _definition_diff(a: Everything, b: Everything) -> list[str]:
    """Compare the texts of the files, or the definitions as JSON where one was not made from a file."""
    if a.definition is None or b.definition is None or a.run.definition == b.run.definition:
        return []
    has_files = bool(a.definition.source and b.definition.source)
    before, after = (_text(side, has_files).splitlines() for side in (a.definition, b.definition))
    return list(unified_diff(before, after, "a", "b", lineterm="", n=1))


def _text(definition: Definition, has_files: bool) -> str:
    return definition.source if has_files else msgspec.json.format(definition.content, indent=2).decode()


def lines(found: Record, out: Out, *, everything: bool) -> Iterator[str]:
    """Yield what differs as text."""
    for side in ("a", "b"):
        run = found[f"run_{side}"]
        spent = duration(run["duration"])
        yield f"{side}  {run['id']}  {out.clean(run['name'])}  {out.state(run['state'])}  {spent}"
    tasks = [pair for pair in found["tasks"] if everything or pair["kind"] != "same"]
    variables = [pair for pair in found["variables"] if everything or pair["kind"] != "same"]
    if tasks:
        yield ""
        yield from table(TASKS, [_task_row(pair) for pair in tasks], out)
    if variables:
        yield ""
        yield from table(VARIABLES, [_variable_row(pair) for pair in variables], out)
    if found["definition"]["changed"]:
        yield ""
        yield "the definition changed"
        yield from (_diff_line(text, out) for text in found["definition"]["diff"][2:])
    same = len(found["tasks"]) - sum(pair["kind"] != "same" for pair in found["tasks"])
    yield ""
    yield f"{plural(same, 'task')} with the same outcome" if found["changed"] else "no difference in outcome"


def _diff_line(text: str, out: Out) -> str:
    style = {"+": "good", "-": "bad", "@": "dim"}.get(text[:1], "")
    return out.paint(out.clean(text), style)


def _task_row(pair: Record) -> tuple[Cell | str, ...]:
    a, b = pair["a"], pair["b"]
    error = (b or {}).get("error") or (a or {}).get("error") or ""
    return (
        Cell(pair["id"], STYLES[pair["kind"]]),
        _state(a),
        _state(b),
        _both(a, b, "attempts", str),
        _both(a, b, "duration", duration),
        error,
    )


def _state(side: Record | None) -> Cell:
    return Cell(side["state"], STATE_STYLES[side["state"]]) if side else Cell("-", "dim")


def _both(a: Record | None, b: Record | None, key: str, show: Any) -> str:
    left = show(a[key]) if a and a[key] is not None else "-"
    right = show(b[key]) if b and b[key] is not None else "-"
    return left if left == right else f"{left} / {right}"


def _variable_row(pair: Record) -> tuple[Cell | str, ...]:
    a, b = pair["a"], pair["b"]
    return (
        Cell(pair["id"], STYLES[pair["kind"]]),
        a["value"] if a else Cell("-", "dim"),
        b["value"] if b else Cell("-", "dim"),
    )
