"""Async functions that do nothing: what an engine itself costs for each task."""

import shutil
from pathlib import Path

from benchmarks.harness import ROOT, Entry, child_env
from benchmarks.report import Section, Table, Target
from benchmarks.runners import OFFLINE, PEERS, PROGRAMS, PYTHON, in_peers, runwright_missing
from benchmarks.workloads import Plan

FLOOR = "asyncio.TaskGroup"
DASK = "dask threaded (stores nothing)"
DURABLE = "runwright durable"


def measure(plan: Plan) -> Section:
    """Time the functions."""
    count = plan.pick(10_000, 2_000, 20)
    base = plan.work / "noop"
    entries = [
        program(FLOOR, "floor", base, PYTHON, "noop_taskgroup.py", [str(count)]),
        peer(DASK, base, "dask", "noop_dask.py", [str(count), "8"]),
        _runwright("runwright in memory", base, count, "memory"),
        _runwright(DURABLE, base, count, "sqlite:///"),
        fewer("dbos, SQLite", base, "dbos", "noop_dbos.py", plan.pick(1000, 200, 5)),
        fewer("prefect, own server", base, "prefect", "noop_prefect.py", plan.pick(500, 100, 5)),
    ]
    if plan.size != "full":
        entries[-1] = Entry(entries[-1].name, missing="left out of short series")
    rows = plan.measure(entries, plan.pick(7, 2, 1))
    targets = [
        Target(DURABLE, DASK, at_most=2, text="runwright durable / dask threaded, for one task,"),
        Target(DURABLE, "dbos, SQLite", at_most=0.05, text="runwright durable / dbos, for one task,"),
        Target(
            DURABLE, "prefect, own server", at_most=0.05, text="runwright durable / prefect, for one task,"
        ),
    ]
    table = Table(f"{count:,} no-op async functions", rows, FLOOR, tasks=count, targets=targets)
    return Section("noop", "No-op functions", TEXT, [table])


def program(name: str, kind: str, base: Path, python: str, script: str, args: list[str]) -> Entry:
    """Return an entry that runs one of the programs, in a directory of its own that is emptied each time."""
    place = base / name.replace(" ", "-")
    env = child_env(place, OFFLINE | {"PYTHONPATH": str(ROOT)})

    def reset() -> None:
        shutil.rmtree(place, ignore_errors=True)
        place.mkdir(parents=True)
        (place / "runwright.toml").touch()

    return Entry(name, [python, str(PROGRAMS / script), *args], kind, place, env, inner=True, reset=reset)


def peer(name: str, base: Path, package: str, script: str, args: list[str]) -> Entry:
    """Return the entry of a peer, if its package is there."""
    if missing := in_peers(package):
        return Entry(name, kind="peer", missing=missing)
    return program(name, "peer", base, str(PEERS / "python"), script, args)


def fewer(name: str, base: Path, package: str, script: str, count: int) -> Entry:
    """Return the entry of a peer that is so slow that it runs fewer tasks."""
    entry = peer(name, base, package, script, [str(count)])
    entry.tasks, entry.slow, entry.rounds = count, True, 3
    return entry


def _runwright(name: str, base: Path, count: int, store: str) -> Entry:
    if missing := runwright_missing():
        return Entry(name, kind="runwright", missing=missing)
    url = f"{store}{base / name.replace(' ', '-')}/store.db" if store != "memory" else store
    return program(name, "runwright", base, PYTHON, "noop_runwright.py", [str(count), "8", url])


TEXT = """\
Independent async functions that return at once. Timed inside the process, around the execution alone: imports, building the graph and opening
the store are left out for all. Durable means SQLite with synchronous FULL, every start and every outcome recorded. Peers that keep state run
fewer tasks; compare the cost of one task. The ratio is of that cost."""
