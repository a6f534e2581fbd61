"""Tasks of a plugin that does nothing: what the way to another process and back costs."""

from benchmarks.harness import ROOT, Entry, child_env
from benchmarks.report import Section, Table, Target
from benchmarks.runners import OFFLINE, PROGRAMS, PYTHON, runwright_missing
from benchmarks.workloads import Plan

SLOTS = 16


def measure(plan: Plan) -> Section:
    """Time one task after another, then sixteen at a time."""
    count = plan.pick(2_000, 500, 10)
    tables = [
        _table(plan, count, 1, "one at a time"),
        _table(plan, count, SLOTS, f"{SLOTS} at a time"),
    ]
    return Section("plugin", "Plugins", TEXT, tables)


def _table(plan: Plan, count: int, slots: int, how: str) -> Table:
    floor, remote = f"bare gRPC, {how}", f"runwright plugin, {how}"
    entries = [
        _entry(plan, floor, "floor", "plugin_echo.py", count, slots),
        _entry(plan, remote, "runwright", "plugin_runwright.py", count, slots, "plugin"),
        _entry(plan, f"the same in process, {how}", "runwright", "plugin_runwright.py", count, slots, "here"),
    ]
    target = Target(remote, floor, at_most=3, text=f"runwright plugin / bare gRPC, {how},")
    rows = plan.measure(entries, plan.pick(7, 3, 1))
    return Table(f"{count:,} tasks, {how}", rows, floor, tasks=count, targets=[target])


def _entry(plan: Plan, name: str, kind: str, program: str, count: int, slots: int, *more: str) -> Entry:
    if kind == "runwright" and (missing := runwright_missing()):
        return Entry(name, kind=kind, missing=missing)
    env = child_env(plan.work, OFFLINE | {"PYTHONPATH": str(ROOT)})
    argv = [PYTHON, str(PROGRAMS / program), str(count), str(slots), *more]
    return Entry(name, argv, kind, plan.work, env, inner=True)


TEXT = """\
Tasks of an executor that does nothing, in a process of its own. Timed inside the engine's process, around the executions alone: the start of
the plugin, about half a second, is left out. The floor is a call of bare gRPC with a message each way, over the same kind of socket. Both
sides are Python, so both are in the time."""
