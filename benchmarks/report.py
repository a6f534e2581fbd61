"""Results as Markdown, and the README's sections between markers."""

import datetime
import os
import platform
import shutil
import subprocess
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from benchmarks.harness import ROOT, Measured

README = ROOT / "benchmarks" / "README.md"


@dataclass(frozen=True)
class Target:
    """A promise about two rows: `what` divided by `floor` is at most `at_most`, or at least `at_least`.

    With `speed`, the ratio is of tasks a second, so floor's time over its own.
    """

    what: str
    floor: str
    at_most: float | None = None
    at_least: float | None = None
    speed: bool = False
    text: str = ""


@dataclass
class Table:
    """One table of a workload.

    Attributes:
        floor: The row that the others are divided by.
        tasks: If not None, the median is also shown for one task.
        rate: What a task is, if its number a second is to be shown instead.
        unit: ``ms`` or ``s``.
        memory: Show the peak resident memory.
        limits: Absolute promises: row, seconds or None, bytes or None.
    """

    title: str
    rows: list[Measured]
    floor: str
    unit: str = "s"
    tasks: int | None = None
    rate: str = ""
    memory: bool = False
    targets: Sequence[Target] = ()
    limits: Sequence[tuple[str, float | None, int | None]] = ()
    notes: Sequence[str] = ()


@dataclass
class Section:
    """All tables of a workload."""

    name: str
    title: str
    text: str
    tables: list[Table] = field(default_factory=list)


def _row(table: Table, name: str) -> Measured | None:
    return next((row for row in table.rows if row.entry.name == name), None)


def _time(seconds: float, unit: str) -> str:
    return f"{seconds * 1000:,.1f}" if unit == "ms" else f"{seconds:,.3f}"


def _each(row: Measured, tasks: int) -> str:
    assert row.median is not None
    return f"{row.median / (row.entry.tasks or tasks) * 1e6:,.1f}"


def _rate(row: Measured, tasks: int) -> str:
    assert row.median is not None
    each_second = (row.entry.tasks or tasks) / row.median
    return f"{each_second:,.0f}" if each_second >= 100 else f"{each_second:,.1f}"


def cost(row: Measured | None, tasks: int | None) -> float | None:
    """Return the median, for one task where rows differ in their number of tasks."""
    if row is None or row.median is None:
        return None
    return row.median / (row.entry.tasks or tasks or 1)


def ratio(table: Table, what: str, floor: str) -> float | None:
    """Return the ratio of two rows' medians, None if one is missing."""
    top, bottom = cost(_row(table, what), table.tasks), cost(_row(table, floor), table.tasks)
    return top / bottom if top and bottom else None


def render_table(table: Table) -> str:
    """Return the table in Markdown, its promises below it."""
    head = ["", f"median ({table.unit})", f"min ({table.unit})", f"ratio to {table.floor}"]
    if table.tasks:
        head.append(f"{table.rate} a second" if table.rate else "us a task")
    head.append("processor (s)")
    if table.memory:
        head.append("peak (MiB)")
    lines = [
        f"**{table.title}**",
        "",
        "| " + " | ".join(head) + " |",
        "|---" + "|---:" * (len(head) - 1) + "|",
    ]
    lines += [_line(table, row, len(head)) for row in table.rows]
    promises = [
        *(_promise(table, one) for one in table.targets),
        *(_limit(table, *one) for one in table.limits),
    ]
    lines += ["", *(f"- {one}" for one in promises)] if promises else []
    lines += ["", *table.notes] if table.notes else []
    return "\n".join(lines)


def _line(table: Table, row: Measured, width: int) -> str:
    problem = row.entry.missing or row.problem
    if problem or row.median is None or row.best is None:
        return f"| {row.entry.name} | {problem or 'not run'} |" + " |" * (width - 2)
    share = ratio(table, row.entry.name, table.floor)
    fewer = f" ({row.entry.tasks:,} {table.rate or 'tasks'})" if row.entry.tasks is not None else ""
    name = row.entry.name + fewer
    cells = [
        name,
        _time(row.median, table.unit),
        _time(row.best, table.unit),
        f"{share:.2f}" if share else "",
    ]
    if table.tasks:
        cells.append((_rate if table.rate else _each)(row, table.tasks))
    cells.append(f"{sorted(row.cpu)[len(row.cpu) // 2]:.2f}" if row.cpu else "")
    if table.memory:
        cells.append(f"{max(row.peak_bytes) / 2**20:,.0f}" if row.peak_bytes else "")
    return "| " + " | ".join(cells) + " |"


def _promise(table: Table, target: Target) -> str:
    found = ratio(table, target.what, target.floor)
    if found is not None and target.speed:
        found = 1 / found
    bound = f"<= {target.at_most}" if target.at_most is not None else f">= {target.at_least}"
    text = f"Target: {target.text or f'{target.what} / {target.floor}'} {bound}"
    if found is None:
        return f"{text}: not run"
    met = found <= target.at_most if target.at_most is not None else found >= (target.at_least or 0)
    return f"{text}: {found:.2f}, {'met' if met else '**missed**'}"


def _limit(table: Table, name: str, seconds: float | None, peak: int | None) -> str:
    row = _row(table, name)
    said = [f"< {seconds:g} s"] if seconds is not None else []
    said += [f"< {peak / 2**20:.0f} MiB"] if peak is not None else []
    text = f"Target: {name} {' and '.join(said)}"
    if row is None or row.median is None:
        return f"{text}: not run"
    met = (seconds is None or row.median < seconds) and (peak is None or max(row.peak_bytes) < peak)
    found = f"{row.median:.2f} s, {max(row.peak_bytes) / 2**20:.0f} MiB"
    return f"{text}: {found}, {'met' if met else '**missed**'}"


def facts(work: Path, command: str) -> str:
    """Return what must be known of the machine to read the numbers; no names, no paths."""
    today = datetime.datetime.now(datetime.UTC).date().isoformat()
    load = os.getloadavg()[0]
    return (
        f"{os.cpu_count()} CPUs, {platform.python_implementation()} {platform.python_version()}, "
        f"{platform.system()} {platform.release().split('-')[0]}, {_filesystem(work)}, load {load:.1f} at the end, {today}. "
        f"Repeat with `{command}`."
    )


def _filesystem(path: Path) -> str:
    if not shutil.which("df"):
        return "unknown file system"
    found = subprocess.run(["df", "-PT", str(path)], capture_output=True, text=True, check=False)
    cells = found.stdout.strip().split("\n")[-1].split()
    return cells[1] if len(cells) > 1 else "unknown file system"


def render(section: Section, fact: str) -> str:
    """Return a workload's whole section."""
    parts = [f"## {section.title}", section.text, *(render_table(table) for table in section.tables), fact]
    return "\n\n".join(parts)


def update_readme(name: str, text: str, path: Path = README) -> None:
    """Put a section between its markers; add the markers at the end if they are not there.

    Raises:
        ValueError: Only one of the two markers is there.
    """
    begin, end = f"<!-- {name}: begin -->", f"<!-- {name}: end -->"
    whole = path.read_text() if path.exists() else "# Benchmarks\n"
    if (begin in whole) != (end in whole):
        raise ValueError(f"{path.name} has one marker of {name!r} without the other")
    if begin not in whole:
        whole = whole.rstrip("\n") + f"\n\n{begin}\n{end}\n"
    before, rest = whole.split(begin, 1)
    after = rest.split(end, 1)[1]
    path.write_text(f"{before}{begin}\n{text}\n{end}{after}")


def as_json(section: Section) -> dict[str, object]:
    """Return the raw samples."""
    tables = []
    for table in section.tables:
        rows = [_raw(row) for row in table.rows]
        tables.append({"title": table.title, "floor": table.floor, "tasks": table.tasks, "rows": rows})
    return {"name": section.name, "tables": tables}


def _raw(row: Measured) -> dict[str, object]:
    return {
        "name": row.entry.name,
        "kind": row.entry.kind,
        "elapsed_seconds": [row.entry.seconds] if row.entry.seconds is not None else row.elapsed,
        "processor_seconds": row.cpu,
        "peak_bytes": row.peak_bytes,
        "tasks": row.entry.tasks,
        "problem": row.entry.missing or row.problem,
    }
