"""A workflow of one `true`, from nothing to the end of the process."""

from benchmarks import graphs
from benchmarks.harness import Entry, child_env
from benchmarks.report import Section, Table, Target
from benchmarks.runners import PYTHON, RUNNERS, entry
from benchmarks.workloads import Plan

FLOOR = "bare Python"
TOOLS = ("make", "ninja", "doit", "luigi", "snakemake", "prefect", "runwright")
SLOWEST = {"snakemake": 3, "prefect": 2}


def measure(plan: Plan) -> Section:
    """Time one-task runs."""
    base = plan.work / "cold_start"
    env = child_env(base)
    entries = [
        Entry(FLOOR, [PYTHON, "-c", "pass"], "floor", base, env),
        Entry("sh -c true", ["/bin/sh", "-c", "true"], "floor", base, env),
    ]
    for name in TOOLS:
        if name == "prefect" and plan.size != "full":
            entries.append(Entry(name, missing="left out of short series"))
        elif plan.wants(RUNNERS[name].kind):
            rounds = SLOWEST.get(name) if plan.size == "full" else SLOWEST.get(name) and 1
            entries.append(entry(name, graphs.independent(1), base, 1, rounds))
    rows = plan.measure(entries, plan.pick(15, 5, 2))
    targets = [Target("runwright", FLOOR, at_most=8)]
    targets += [
        Target("runwright", peer, at_most=1, text=f"runwright faster than {peer}: ratio")
        for peer in ("doit", "luigi", "snakemake", "prefect")
    ]
    table = Table("One `true`, whole process", rows, FLOOR, "ms", targets=targets)
    return Section("cold_start", "Cold start", TEXT, [table])


TEXT = """\
One task that runs `true`, from starting the tool to its end, caches warm, state of the tool empty (Prefect keeps its migrated database). Runwright
records the run durably (SQLite, synchronous FULL) in a store that it has to create."""
