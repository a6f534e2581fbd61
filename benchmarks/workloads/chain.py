"""Three hundred `true`, each after the one before: nothing hides what a tool does between two tasks."""

from benchmarks import graphs
from benchmarks.report import Section, Table
from benchmarks.runners import RUNNERS, entry
from benchmarks.workloads import Plan

FLOOR = "bare spawn loop"
TOOLS = (FLOOR, "make", "ninja", "doit", "luigi", "snakemake", "runwright")
SLOWEST = {"luigi": 2, "snakemake": 1}


def measure(plan: Plan) -> Section:
    """Time the chain."""
    count = plan.pick(300, 100, 4)
    base = plan.work / "chain"
    entries = [
        entry(name, graphs.chain(count), base, 2, SLOWEST.get(name))
        for name in TOOLS
        if plan.wants(RUNNERS[name].kind)
    ]
    rows = plan.measure(entries, plan.pick(9, 3, 1))
    table = Table(f"Chain of {count:,} x `true`", rows, FLOOR, tasks=count)
    return Section("chain", "Chain", TEXT, [table])


TEXT = """\
Every task waits for the one before. Runwright starts a dependent only once the success it needs is durable, so each step has one fsync
in its way that the others have not."""
