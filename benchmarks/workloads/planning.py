"""Big graphs: load, check and plan; nothing runs."""

import shutil
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path

from benchmarks.harness import Entry, Measured, child_env
from benchmarks.report import Section, Table
from benchmarks.runners import PEERS, in_peers, on_path, runwright_command, runwright_missing
from benchmarks.workloads import Plan

WIDTH = 100
MIB = 2**20


def measure(plan: Plan) -> Section:
    """Time and weigh planning."""
    small, big = plan.pick(10_000, 1_000, 50), plan.pick(100_000, 10_000, 100)
    section = Section("planning", "Planning big graphs", TEXT)
    section.tables += [_tables(plan, small), _tables(plan, big), _matrices(plan)]
    shutil.rmtree(plan.work / "planning", ignore_errors=True)
    return section


def rows_of(count: int) -> Iterator[tuple[int, list[int]]]:
    """Yield tasks in layers of `WIDTH`, each with up to two dependencies in the layer before."""
    for index in range(count):
        layer, column = divmod(index, WIDTH)
        before = (layer - 1) * WIDTH
        yield index, [before + column, before + (column * 7 + 1) % WIDTH] if layer else []


def write_toml(path: Path, count: int) -> None:
    """Write one table a task."""
    with path.open("w") as file:
        file.write('name = "big"\n')
        for index, needs in rows_of(count):
            listed = ", ".join(f'"t{need}"' for need in dict.fromkeys(needs))
            file.write(f'[tasks.t{index}]\ncmd = "true"\ndepends_on = [{listed}]\n')


def write_make(path: Path, count: int) -> None:
    """Write one rule a task."""
    with path.open("w") as file:
        file.write(f"all: {' '.join(f't{index}' for index in range(max(0, count - WIDTH), count))}\n")
        for index, needs in rows_of(count):
            file.write(f"t{index}: {' '.join(f't{need}' for need in dict.fromkeys(needs))}\n\ttrue\n")


def write_ninja(path: Path, count: int) -> None:
    """Write one edge a task."""
    with path.open("w") as file:
        file.write("rule r\n  command = true\n")
        for index, needs in rows_of(count):
            file.write(f"build t{index}: r {' '.join(f't{need}' for need in dict.fromkeys(needs))}\n")


def write_dodo(path: Path, count: int) -> None:
    """Write a dodo file that yields the tasks."""
    path.write_text(
        "def task_t():\n"
        f"    for index in range({count}):\n"
        f"        layer, column = divmod(index, {WIDTH})\n"
        f"        before = (layer - 1) * {WIDTH}\n"
        f"        needs = {{before + column, before + (column * 7 + 1) % {WIDTH}}} if layer else ()\n"
        '        yield {"name": str(index), "actions": ["true"], "task_dep": [f"t:{need}" for need in needs]}\n'
    )


def write_matrix(path: Path, count: int, stage: int = 10_000) -> None:
    """Write stages of up to `stage` nodes made by a matrix, a gate after each, `count` nodes and the gates in all."""
    stages, each = (count // stage, stage) if count > stage else (1, count)
    across = 100 if each % 100 == 0 else 1
    with path.open("w") as file:
        file.write('name = "matrix"\n')
        for number in range(stages):
            first, second = range(across), range(each // across)
            before = f'depends_on = ["gate{number - 1}"]\n' if number else ""
            file.write(f'[tasks.stage{number}]\ncmd = "true"\n{before}')
            file.write(f"matrix = {{ a = {[str(i) for i in first]}, b = {[str(i) for i in second]} }}\n")
            file.write(f'[tasks.gate{number}]\ncmd = "true"\ndepends_on = ["stage{number}"]\n')


def _tables(plan: Plan, count: int) -> Table:
    name = f"runwright validate, {count:,} tables"
    entries = [
        _entry(
            plan, "make -n", "peer", count, write_make, "Makefile", ["make", "-n"], partial(on_path, "make")
        ),
        _entry(
            plan,
            "ninja -n",
            "peer",
            count,
            write_ninja,
            "build.ninja",
            ["ninja", "-n"],
            partial(on_path, "ninja"),
        ),
        _entry(
            plan,
            "doit list --all",
            "peer",
            count,
            write_dodo,
            "dodo.py",
            [str(PEERS / "doit"), "list", "--all"],
            partial(in_peers, "doit"),
        ),
        _entry(
            plan,
            name,
            "runwright",
            count,
            write_toml,
            "big.toml",
            [*runwright_command(), "validate", "big.toml"],
            runwright_missing,
        ),
    ]
    limits = [(name, 3.0, 300 * MIB)] if plan.wants("runwright") else []
    rows = plan.measure(entries, plan.pick(5, 3, 1))
    floor = "ninja -n"
    return Table(f"{count:,} tasks, one rule each", rows, floor, memory=True, tasks=count, limits=limits)


def _matrices(plan: Plan) -> Table:
    counts = (
        plan.pick(10_000, 1_000, 50),
        plan.pick(100_000, 10_000, 100),
        plan.pick(1_000_000, 100_000, 200),
    )
    names = [f"{count:,} nodes" for count in counts]
    argv = [*runwright_command(), "validate", "big.toml"]
    entries = [
        _entry(plan, name, "runwright", count, write_matrix, "big.toml", argv, runwright_missing)
        for name, count in zip(names, counts, strict=True)
    ]
    entries[-1].rounds, entries[-1].slow = 2, True
    rows = plan.measure(entries, plan.pick(5, 3, 1))
    for row, count in zip(rows, counts, strict=False):
        row.entry.tasks = count
    limits = [(names[1], 3.0, 300 * MIB)] if plan.wants("runwright") else []
    return Table(
        "`runwright validate` of matrix-made graphs",
        rows,
        names[1],
        memory=True,
        tasks=counts[1],
        limits=limits,
        notes=_growth(rows),
    )


def _growth(rows: list[Measured]) -> list[str]:
    done = [row for row in rows if row.median and row.entry.tasks]
    if len(done) < 2:
        return []
    last, before = done[-1], done[-2]
    times = (last.median or 0) / (before.median or 1)
    more = (last.entry.tasks or 0) / (before.entry.tasks or 1)
    memory = max(last.peak_bytes) / max(before.peak_bytes)
    return [
        f"From {before.entry.name} to {last.entry.name} ({more:.0f}x): {times:.1f}x the time, {memory:.1f}x the memory."
    ]


def _entry(
    plan: Plan,
    name: str,
    kind: str,
    count: int,
    write: Callable[[Path, int], None],
    file: str,
    argv: list[str],
    missing: Callable[[], str],
) -> Entry:
    if not plan.wants(kind):
        return Entry(name, kind=kind)
    if said := missing():
        return Entry(name, kind=kind, missing=said)
    place = plan.work / "planning" / f"{name.replace(' ', '-').replace(',', '')}-{count}"
    shutil.rmtree(place, ignore_errors=True)
    place.mkdir(parents=True)
    write(place / file, count)
    return Entry(name, argv, kind, place, child_env(place), timeout=180.0)


TEXT = f"""\
Nothing runs: the file is read, checked and planned (make and ninja print what they would do, doit lists). Layers of {WIDTH} tasks with two dependencies each;
the matrix-made graphs have stages of 10,000 nodes with a gate after each. Memory is the peak of the resident set of the whole process."""
