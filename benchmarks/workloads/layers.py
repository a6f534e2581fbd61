"""An uneven layered graph, 8 at a time: who keeps the slots full?"""

from benchmarks import graphs
from benchmarks.harness import Entry
from benchmarks.report import Section, Table, Target
from benchmarks.runners import RUNNERS, entry
from benchmarks.workloads import Plan

SLOTS = 8
FLOOR = "bare spawn loop"
TOOLS = (
    FLOOR,
    "bare barrier loop",
    "make",
    "ninja",
    "doit",
    "runwright",
    "runwright levels",
    "runwright sequential",
)
LABELS = {"runwright": "runwright work-stealing"}
SLOWEST = {"runwright sequential": 1}
INSIDE = {
    FLOOR: FLOOR,
    "bare barrier loop": "bare barrier loop",
    "library work-stealing": "runwright work-stealing",
    "library levels": "runwright levels",
    "library sequential": "runwright sequential",
}


def measure(plan: Plan) -> Section:
    """Time the graph, beside what theory says of it."""
    graph = graphs.layered(plan.pick(50, 10, 3), plan.pick(20, 20, 4))
    section = Section("layers", "Uneven layered graph", TEXT)
    section.tables += [_whole(plan, graph), _inside(plan, graph)]
    return section


def _theory(graph: graphs.Graph) -> list[Entry]:
    return [
        Entry("lower bound", kind="theory", seconds=graphs.lower_bound(graph, SLOTS)),
        Entry("list scheduling at no cost", kind="theory", seconds=graphs.list_schedule(graph, SLOTS)),
        Entry("level barrier at no cost", kind="theory", seconds=graphs.barrier_schedule(graph, SLOTS)),
        Entry("one at a time at no cost", kind="theory", seconds=graphs.barrier_schedule(graph, 1)),
    ]


def _whole(plan: Plan, graph: graphs.Graph) -> Table:
    entries = _theory(graph)
    base = plan.work / "layers"
    for name in TOOLS:
        if plan.wants(RUNNERS[name].kind):
            rounds = SLOWEST.get(name) if plan.size == "full" else SLOWEST.get(name) and 1
            entries.append(entry(name, graph, base, SLOTS, rounds, LABELS.get(name, "")))
    rows = plan.measure(entries, plan.pick(7, 2, 1))
    targets = [
        Target("runwright work-stealing", FLOOR, at_most=1.05),
        Target(
            "runwright levels", "bare barrier loop", at_most=1.05, text="runwright levels / bare barrier loop"
        ),
    ]
    title = f"{len(graph):,} sleeping tasks, {SLOTS} at a time"
    return Table(title, rows, FLOOR, targets=targets)


def _inside(plan: Plan, graph: graphs.Graph) -> Table:
    base = plan.work / "layers-inside"
    entries = _theory(graph)
    for name, label in INSIDE.items():
        if plan.wants(RUNNERS[name].kind):
            rounds = 1 if label in SLOWEST else None
            entries.append(entry(name, graph, base, SLOTS, rounds, label, inside=True))
    rows = plan.measure(entries, plan.pick(7, 2, 1))
    targets = [
        Target(
            "runwright work-stealing", FLOOR, at_most=1.05, text="makespan, work-stealing / bare spawn loop"
        ),
        Target(
            "runwright levels", "bare barrier loop", at_most=1.05, text="makespan, levels / bare barrier loop"
        ),
    ]
    return Table("Makespan, timed inside the process, without its start", rows, FLOOR, targets=targets)


TEXT = """\
50 layers of 20 tasks; each task needs 3 random ones of the layer before and sleeps 0-20 ms (seeded, `sleep 0.0123`, started without a shell where
the tool can). The lower bound is max(longest path of sleeps, sum of sleeps / slots), below which no schedule can be. List scheduling at no cost
simulates the graph: whenever a slot is free it takes the task that has been ready longest, and starting costs nothing. Level barrier at no cost
is the sum over the levels of each level's own list schedule."""
