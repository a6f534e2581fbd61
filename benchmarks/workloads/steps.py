"""Steps of a plan and actions of a goal that do nothing: what the two engines cost, in memory and durable."""

import shutil
from pathlib import Path

from benchmarks.harness import ROOT, Entry, child_env
from benchmarks.report import Section, Table
from benchmarks.runners import OFFLINE, PROGRAMS, PYTHON, runwright_missing
from benchmarks.workloads import Plan

PLAIN = "plain loop of await"
SQL = "plain loop, one commit each"


def measure(plan: Plan) -> Section:
    """Time plans and goals."""
    return Section("steps", "Plans and goals", TEXT, [_table(plan, "plan"), _table(plan, "goal")])


def _table(plan: Plan, what: str) -> Table:
    base = plan.work / "steps" / what
    many, few = plan.pick(10_000, 2_000, 20), plan.pick(1_000, 200, 10)
    rows = plan.measure(
        [
            _entry(PLAIN, "floor", base, "steps_loop.py", many, "plain", what),
            _runwright("runwright in memory", base, what, many, "memory"),
            _entry(SQL, "floor", base, "steps_loop.py", few, "sql", what),
            _runwright("runwright durable", base, what, few, "runs.db"),
        ],
        plan.pick(7, 2, 1),
    )
    unit = "steps, each with a cleanup" if what == "plan" else "actions"
    return Table(f"A {what} of no-op {unit}", rows, PLAIN, tasks=many)


def _entry(name: str, kind: str, base: Path, program: str, count: int, *rest: str) -> Entry:
    place = base / name.replace(" ", "-").replace(",", "")

    def reset() -> None:
        shutil.rmtree(place, ignore_errors=True)
        place.mkdir(parents=True)
        (place / "runwright.toml").touch()

    args = [str(count), *rest] if program == "steps_loop.py" else [rest[0], str(count), *rest[1:]]
    env = child_env(place, OFFLINE | {"PYTHONPATH": str(ROOT)})
    argv = [PYTHON, str(PROGRAMS / program), *args]
    return Entry(name, argv, kind, place, env, tasks=count, inner=True, reset=reset)


def _runwright(name: str, base: Path, what: str, count: int, store: str) -> Entry:
    if missing := runwright_missing():
        return Entry(name, kind="runwright", missing=missing)
    return _entry(name, "runwright", base, "steps_runwright.py", count, what, store)


TEXT = """\
Async functions that return at once, as steps of a plan (one to do and one to undo each) and as actions of a goal. Timed inside the process, around
the execution alone. Durable means that nothing begins before its beginning is on the disk: one commit for each step, one for each cleanup, one for
each action; the loop beside it commits just as often. The rows with a disk run fewer; compare the cost of one. Each row's `per task` is per step
or action."""
