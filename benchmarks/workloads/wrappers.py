"""Routers and wrappers around a task that does nothing: what each of them costs for a task."""

import shutil
from pathlib import Path

from benchmarks.harness import ROOT, Entry, child_env
from benchmarks.report import Section, Table, Target
from benchmarks.runners import OFFLINE, PROGRAMS, PYTHON, runwright_missing
from benchmarks.workloads import Plan

BARE = "the executor alone"
GROUP = "asyncio.TaskGroup"
STACKS = {
    BARE: "nothing",
    "router": "router",
    "router, three parts": "router-deep",
    "router, by *": "router-any",
    "retry": "retry",
    "observer without a listener": "observe",
    "observer with a listener": "listener",
    "follow-ups, none there": "followups",
    "follow-ups with a limit, none there": "followups-limit",
    "all of them": "everything",
}
CHILDREN = {"follow-ups": "children", "follow-ups with a limit of 4": "children-limit"}


def measure(plan: Plan) -> Section:
    """Time the stacks, and follow-ups beside plain tasks of the loop."""
    return Section("wrappers", "Routers and wrappers", TEXT, [_stacks(plan), _children(plan)])


def _stacks(plan: Plan) -> Table:
    count = plan.pick(100_000, 20_000, 50)
    entries = [_entry(plan, name, "wrappers_loop.py", [stack, str(count)]) for name, stack in STACKS.items()]
    rows = plan.measure(entries, plan.pick(7, 3, 1))
    return Table(f"{count:,} tasks one after another, through", rows, BARE, tasks=count)


def _children(plan: Plan) -> Table:
    count = plan.pick(10_000, 2_000, 20)
    entries = [_entry(plan, GROUP, "noop_taskgroup.py", [str(count)])]
    entries += [
        _entry(plan, name, "wrappers_loop.py", [stack, str(count)]) for name, stack in CHILDREN.items()
    ]
    rows = plan.measure(entries, plan.pick(7, 3, 1))
    targets = [Target("follow-ups", GROUP, at_most=5, text="follow-ups / asyncio.TaskGroup")]
    return Table(f"{count:,} follow-ups of one task", rows, GROUP, tasks=count, targets=targets)


def _entry(plan: Plan, name: str, program: str, args: list[str]) -> Entry:
    kind = "floor" if name == GROUP else "runwright"
    if kind == "runwright" and (missing := runwright_missing()):
        return Entry(name, kind=kind, missing=missing)
    place: Path = plan.work / "wrappers" / "-".join([Path(program).stem, *args])
    env = child_env(place, OFFLINE | {"PYTHONPATH": f"{ROOT}:{ROOT / 'src'}"})

    def reset() -> None:
        shutil.rmtree(place, ignore_errors=True)
        place.mkdir(parents=True)

    return Entry(name, [PYTHON, str(PROGRAMS / program), *args], kind, place, env, inner=True, reset=reset)


TEXT = """\
A task that returns at once, run through one executor or a stack of them, one call after another in one process; and one task from which many
follow. Timed inside the process; the end of the session is part of it, so a listener has heard everything. The ratio is of the whole, the call
itself included."""
