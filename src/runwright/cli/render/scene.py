"""Everything that is known of what is drawn, before anything is left out."""

from collections.abc import Mapping, Sequence

from msgspec import Struct

from runwright.cli.render.picture import Limits, Measure, Wishes, add_tallies
from runwright.cli.render.record import Record, durations, measures
from runwright.cli.render.subject import Subject
from runwright.core.graph import Graph, critical_path
from runwright.core.states import TaskState

URGENT = (TaskState.FAILED, TaskState.RUNNING)


class Scene(Struct, frozen=True, kw_only=True):
    """Everything that is known before anything is left out.

    Attributes:
        measured: By task id; empty without a run.
        critical: Nodes of the critical path, first to last.
        critical_nodes: The same as a set.
        critical_groups: Their groups.
        tallies: Nodes by state for each group; empty without a run.
        room: How many pictures inside this one there may still be, and how many there are not.
    """

    subject: Subject
    wishes: Wishes
    limits: Limits
    room: "Room"
    measured: Mapping[str, Measure]
    critical: Sequence[int]
    critical_seconds: float | None
    critical_nodes: frozenset[int]
    critical_groups: frozenset[int]
    tallies: Sequence[Mapping[TaskState, int]]

    @property
    def graph(self) -> Graph:
        """Return the graph that is drawn."""
        return self.subject.graph

    @property
    def record(self) -> Record | None:
        """Return the record of the run, if it is a run that is drawn."""
        return self.subject.record


class Room:
    """What is left of the pictures that a drawing may hold inside itself."""

    def __init__(self, left: int) -> None:
        self.left = left
        self.refused = 0

    def take(self, *, deep: bool) -> bool:
        """Tell whether there is room for one more."""
        if deep or not self.left:
            self.refused += 1
            return False
        self.left -= 1
        return True


def scene_of(subject: Subject, wishes: Wishes, limits: Limits, room: Room) -> Scene:
    """Return what is known of a subject."""
    graph, record = subject.graph, subject.record
    measured = measures(record) if record else {}
    spent = durations(graph, measured) if record else dict.fromkeys(range(len(graph)), 1.0)
    path = critical_path(graph, spent) if wishes.critical and spent else []
    return Scene(
        subject=subject,
        wishes=wishes,
        limits=limits,
        room=room,
        measured=measured,
        critical=path,
        critical_seconds=sum(spent.get(node, 0.0) for node in path) if path and record else None,
        critical_nodes=frozenset(path),
        critical_groups=frozenset(graph.group_of[node] for node in path),
        tallies=[_tally(graph, group, measured) for group in range(len(graph.groups))] if record else (),
    )


def _tally(graph: Graph, group: int, measured: Mapping[str, Measure]) -> dict[TaskState, int]:
    counts: dict[TaskState, int] = {}
    for node in graph.nodes(group):
        one = measured.get(graph.ids[node])
        if one is not None:
            counts[one.state] = counts.get(one.state, 0) + 1
    return counts if len(counts) < 2 else add_tallies((counts,))


def urgency(scene: Scene, group: int) -> int:
    """Return 0 for a group that failed or runs, 1 for one of the critical path, else 2."""
    if scene.tallies and any(scene.tallies[group].get(state) for state in URGENT):
        return 0
    return 1 if group in scene.critical_groups else 2
