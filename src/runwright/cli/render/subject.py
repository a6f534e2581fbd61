"""What is drawn: a graph with the record of a run if there is one, and the runs that are the work of its tasks."""

from collections.abc import Mapping, Sequence

from msgspec import Struct, field

from runwright.cli.render.record import Record
from runwright.core.graph import Graph


class Subject(Struct, frozen=True, kw_only=True):
    """A workflow, a plan or a goal, or a run of one.

    Attributes:
        kind: ``workflow``, ``plan`` or ``goal``.
        rounds: Number of rounds of a goal, whose beginnings are nodes of the graph too.
        inner: The runs that are the work of a node, oldest first, by the node's id.
    """

    graph: Graph
    record: Record | None = None
    kind: str = "workflow"
    rounds: int = 0
    inner: Mapping[str, Sequence["Subject"]] = field(default_factory=dict)
