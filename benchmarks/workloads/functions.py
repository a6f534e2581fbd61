"""Functions as tasks, built in code, with values that flow from one to the next."""

from pathlib import Path

from benchmarks.harness import Entry
from benchmarks.report import Section, Table, Target
from benchmarks.runners import PYTHON, runwright_missing
from benchmarks.workloads import Plan
from benchmarks.workloads.noop import fewer, peer, program

FLOOR = "a pool of threads"
DASK = "dask threaded (stores nothing)"
DURABLE = "runwright durable, async"
PREFECT = "prefect, own server"
WORKERS = "8"


def measure(plan: Plan) -> Section:
    """Time the functions."""
    count = plan.pick(10_000, 2_000, 25)
    base = plan.work / "functions"
    few = plan.pick(200, 50, 12)
    entries = [
        program(FLOOR, "floor", base, PYTHON, "functions_threads.py", [str(count), WORKERS]),
        peer(DASK, base, "dask", "functions_dask.py", [str(count), WORKERS]),
        _runwright("runwright in memory, async", base, count, "async", "memory"),
        _runwright(DURABLE, base, count, "async"),
        _runwright("runwright durable, threads", base, count, "thread"),
        _slow(_runwright("runwright durable, a process each", base, few, "process"), few),
        fewer(PREFECT, base, "prefect", "functions_prefect.py", plan.pick(500, 100, 12)),
    ]
    if plan.size != "full":
        entries[-1] = Entry(PREFECT, missing="left out of short series")
    rows = plan.measure(entries, plan.pick(5, 2, 1))
    targets = [
        Target(DURABLE, DASK, at_most=3, text="runwright durable / dask threaded, for one task,"),
        Target(DURABLE, PREFECT, at_most=0.05, text="runwright durable / prefect, for one task,"),
    ]
    title = f"{count:,} functions: squares, their sums by tens, and the sum of those"
    table = Table(title, rows, FLOOR, tasks=count, targets=targets)
    return Section("functions", "Functions with values", TEXT, [table])


def _runwright(name: str, base: Path, count: int, mode: str, store: str = "sqlite:///") -> Entry:
    if missing := runwright_missing():
        return Entry(name, kind="runwright", missing=missing)
    place = base / name.replace(" ", "-")
    url = store if store == "memory" else f"{store}{place}/store.db"
    return program(
        name, "runwright", base, PYTHON, "functions_runwright.py", [str(count), WORKERS, url, mode]
    )


def _slow(entry: Entry, count: int) -> Entry:
    entry.tasks, entry.slow, entry.rounds = count, True, 3
    return entry


TEXT = """\
Functions whose values are arguments of others. Timed inside the process, around the execution alone: imports, building and checking the graph and
opening the store are left out for all. Durable means SQLite with synchronous FULL, with every start, outcome and value recorded. Who is slow runs
fewer tasks; compare the cost of one task. The ratio is of that cost."""
