"""What a picture of a workflow or of a run shows, before any format draws it.

A picture is made of *blocks*, one a task key, and of edges between them, as in the graph: a matrix of 1,000 after a
matrix of 1,000 stays one edge. A matrix block is folded (one box with counts) or unfolded (its nodes are *cells*
inside it). What does not fit a limit stands in blocks of kind `more`, and `Picture.notes` says so.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from datetime import datetime
from enum import StrEnum

from msgspec import Struct, field

from runwright.core.states import RunState, TaskState


class Kind(StrEnum):
    """What a block stands for."""

    TASK = "task"
    MATRIX = "matrix"
    HANDLER = "handler"
    MORE = "more"


class Limits(Struct, frozen=True, kw_only=True):
    """How much a format can show.

    Attributes:
        fold: A matrix with more nodes than this is folded, unless all are to be unfolded.
        cells: Most cells of one unfolded matrix.
        width: Most blocks of one level.
        levels: Most levels.
        blocks: Most blocks in all, about; a graph of many levels shows fewer of each.
        edges: Most edges.
        depth: Most pictures one inside the other, below the outermost.
        inner: Most pictures inside others.
    """

    fold: int
    cells: int
    width: int
    levels: int
    blocks: int
    edges: int
    depth: int = 4
    inner: int = 60


class Wishes(Struct, frozen=True, kw_only=True):
    """What the reader asked for.

    Attributes:
        detail: Show descriptions, commands and settings.
        critical: Mark the chain that took longest, or in a workflow without a run the longest chain.
        unfold: Unfold every matrix.
        handlers: Show handlers and whom they serve.
    """

    detail: bool = False
    critical: bool = False
    unfold: bool = False
    handlers: bool = False


class Measure(Struct, frozen=True, kw_only=True, gc=False):
    """How one task of a run went.

    Attributes:
        seconds: Time spent in attempts, all of them together; None if there was none.
        started_at: Start of the first attempt.
        ended_at: End of the last attempt; None while it runs.
        reason: Why it has its state, in one line.
    """

    state: TaskState
    seconds: float | None = None
    attempts: int = 0
    started_at: datetime | None = None
    ended_at: datetime | None = None
    reason: str = ""


class Cell(Struct, frozen=True, kw_only=True):
    """One node of an unfolded matrix, or the rest of them (`count` above 1).

    Attributes:
        label: Its values, ``os=linux, py=3.12``.
        measure: None without a run.
    """

    id: str
    label: str
    count: int = 1
    measure: Measure | None = None
    critical: bool = False


class Block(Struct, frozen=True, kw_only=True):
    """One box: a task, a matrix, a handler, or everything that was left out at one place.

    Attributes:
        id: Key of the task; for `more` a number behind ``…``.
        label: What people are shown.
        level: Column of the picture, from 0 without gaps; -1 for handlers.
        count: Nodes it stands for.
        state: The worst state of its nodes; None without a run.
        tally: Nodes by state, in the order of `TaskState`; empty without a run.
        measure: Of a single task.
        seconds: Of a single task its time, of a matrix that of its longest node.
        critical: True if the critical path passes through it.
        facts: Names and values for those who want detail.
        undo: What is known of its cleanup, of a step of a plan that has one.
        inner: The runs that are its work, of each node the last.
    """

    id: str
    label: str
    kind: Kind
    level: int
    count: int = 1
    cells: tuple[Cell, ...] = ()
    state: TaskState | None = None
    tally: Mapping[TaskState, int] = field(default_factory=dict)
    measure: Measure | None = None
    seconds: float | None = None
    critical: bool = False
    facts: tuple[tuple[str, str], ...] = ()
    undo: str = ""
    inner: tuple["Picture", ...] = ()


class Edge(Struct, frozen=True, kw_only=True):
    """`target` waits for `source`; both are indices of blocks.

    Attributes:
        cell: Index of the one cell of `source` that is waited for; -1 means all of it.
        node: Id of the one node that is waited for, whether it has a cell or not; empty means all.
        failure: True if `target` is a handler that runs when `source` fails.
    """

    source: int
    target: int
    cell: int = -1
    node: str = ""
    critical: bool = False
    failure: bool = False


class Picture(Struct, frozen=True, kw_only=True):
    """Everything that is drawn.

    Attributes:
        title: Name of the workflow.
        subtitle: Its description, or which run it is.
        tasks: Ordinary tasks, matrix nodes counted; the steps of a plan, the actions of a goal.
        levels: Levels of the whole graph; the rounds of a goal.
        kind: ``workflow``, ``plan`` or ``goal``.
        place: For a picture inside another, what it is the work of, beyond the name of the block.
        state: Of the run; None without one.
        seconds: How long the run took so far.
        critical_seconds: Length of the critical path.
        blocks: Sorted by level, then as in the graph; handlers last.
        notes: What is not shown, in sentences.
    """

    title: str
    subtitle: str = ""
    tasks: int = 0
    levels: int = 0
    kind: str = "workflow"
    place: str = ""
    run_id: str = ""
    state: RunState | None = None
    seconds: float | None = None
    critical_seconds: float | None = None
    tally: Mapping[TaskState, int] = field(default_factory=dict)
    blocks: Sequence[Block] = ()
    edges: Sequence[Edge] = ()
    notes: Sequence[str] = ()
    wishes: Wishes = Wishes()


SEVERITY = (
    TaskState.FAILED,
    TaskState.RUNNING,
    TaskState.CANCELLED,
    TaskState.PENDING,
    TaskState.SUCCEEDED,
    TaskState.SKIPPED,
)
"""The state of a whole is the first of these that one of its parts has."""


def worst(tally: Mapping[TaskState, int]) -> TaskState | None:
    """Return the state of a whole; None if it has no parts."""
    return next((state for state in SEVERITY if tally.get(state)), None)


def add_tallies(tallies: Iterable[Mapping[TaskState, int]]) -> dict[TaskState, int]:
    """Return counts by state over several parts, in the order of `TaskState`, without zeros."""
    sums = dict.fromkeys(TaskState, 0)
    for tally in tallies:
        for state, count in tally.items():
            sums[state] += count
    return {state: count for state, count in sums.items() if count}


def is_cluster(block: Block) -> bool:
    """Tell whether a block holds others: cells, or runs that have something to draw."""
    return bool(block.cells) or any(inner.blocks for inner in block.inner)


def everything_in(picture: Picture) -> Iterator[Picture]:
    """Yield a picture and all pictures inside it."""
    yield picture
    for block in picture.blocks:
        for inner in block.inner:
            yield from everything_in(inner)


def whole_tally(picture: Picture) -> dict[TaskState, int]:
    """Return how many tasks of a picture and of those inside it are in which state."""
    return add_tallies(one.tally for one in everything_in(picture))
