"""A thousand `true` without an edge, 2 and 8 at a time."""

from benchmarks import graphs
from benchmarks.report import Section, Table, Target
from benchmarks.runners import RUNNERS, entry
from benchmarks.workloads import Plan

FLOOR = "bare spawn loop"
TOOLS = (FLOOR, "xargs -P", "make", "ninja", "doit", "luigi", "snakemake", "runwright")
SLOWEST = {"luigi": 2, "snakemake": 1}


def measure(plan: Plan) -> Section:
    """Time the fan at both widths."""
    section = Section("independent", "Independent shell tasks", TEXT)
    for slots in (2, 8):
        section.tables += [_fan(plan, slots), _inside(plan, slots)]
    return section


def _fan(plan: Plan, slots: int) -> Table:
    count = plan.pick(1000, 200, 5)
    base = plan.work / f"independent{slots}"
    entries = [
        entry(name, graphs.independent(count), base, slots, SLOWEST.get(name))
        for name in TOOLS
        if plan.wants(RUNNERS[name].kind) and not (plan.size != "full" and name == "snakemake")
    ]
    rows = plan.measure(entries, plan.pick(7, 3, 1))
    target = Target(
        "runwright", FLOOR, at_least=0.85, speed=True, text="runwright's tasks a second over the bare loop's"
    )
    title = f"{count:,} x `true`, {slots} at a time"
    return Table(title, rows, FLOOR, tasks=count, targets=[target])


def _inside(plan: Plan, slots: int) -> Table:
    count = plan.pick(1000, 200, 5)
    base = plan.work / f"independent{slots}-inside"
    entries = [
        entry(name, graphs.independent(count), base, slots, label=label, inside=True)
        for name, label in ((FLOOR, FLOOR), ("library work-stealing", "runwright"))
        if plan.wants(RUNNERS[name].kind)
    ]
    rows = plan.measure(entries, plan.pick(7, 3, 1))
    text = "the same without start-up,"
    target = Target("runwright", FLOOR, at_least=0.85, speed=True, text=text)
    title = f"The same {count:,}, {slots} at a time, timed inside the process, without its start"
    return Table(title, rows, FLOOR, tasks=count, targets=[target])


TEXT = """\
Shell tasks that do nothing, whole process. The bare loop is one Python thread with `posix_spawn`, pidfds and `poll`: no log, no store, no
checks, `/bin/sh -c true` each. xargs, ninja, snakemake and Runwright start a shell each; make and doit may start `true` without one.
Runwright is durable: each outcome is in SQLite (synchronous FULL) before the run ends."""
