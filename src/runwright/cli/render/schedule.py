"""A run laid out in time: a lane a task, a bar an attempt, the waits between, and a scale that skips idle hours."""

from bisect import bisect_right
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime

from msgspec import Struct, structs

from runwright.cli.render.names import said
from runwright.cli.render.record import Record, durations, measures
from runwright.cli.render.subject import Subject
from runwright.core.graph import Graph, critical_path
from runwright.core.states import TaskRole, TaskState

STEPS = (
    *(0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1, 2, 5, 10, 15, 30),
    *(60, 120, 300, 600, 900, 1800, 3600, 7200, 10800, 21600, 43200, 86400),
)
LEAST_IDLE = 10.0
IDLE_SHARE = 0.15


NOTHING: Mapping[str, Sequence[Subject]] = {}


class Bar(Struct, frozen=True, kw_only=True, gc=False):
    """One attempt; seconds from the run's start. `live` is true while it has no end."""

    number: int
    start: float
    end: float
    state: TaskState
    live: bool = False


class Lane(Struct, frozen=True, kw_only=True):
    """One task.

    Attributes:
        ready: When everything it depends on had ended, in seconds from the run's start; never after its first bar.
        depth: 0 for a task of the run itself, 1 for one of a run within it, and so on.
    """

    id: str
    label: str
    role: TaskRole
    state: TaskState
    ready: float
    bars: tuple[Bar, ...]
    critical: bool
    reason: str = ""
    depth: int = 0

    @property
    def spent(self) -> float:
        """Return the seconds spent in attempts."""
        return sum(bar.end - bar.start for bar in self.bars)


class Schedule(Struct, frozen=True, kw_only=True):
    """All lanes, sorted by start, then id; those of inner runs follow the task that they are a part of.

    Attributes:
        length: Seconds from the run's start to its end or to now.
        idle: Spans without any attempt that a drawing should skip, as start and end in seconds.
        left_out: Lanes that did not fit, the shortest ones.
        never: Tasks that made no attempt.
        critical_seconds: Length of the critical path.
    """

    lanes: Sequence[Lane]
    length: float
    idle: Sequence[tuple[float, float]]
    attempts: int
    left_out: int
    never: int
    busy: float
    critical_seconds: float

    @property
    def worked(self) -> float:
        """Return the seconds of the run that are not idle."""
        return self.length - sum(end - start for start, end in self.idle)


def schedule(
    graph: Graph, record: Record, most_lanes: int, inner: Mapping[str, Sequence[Subject]] = NOTHING
) -> Schedule:
    """Return a run in time, with at most `most_lanes` lanes: the critical path and failures first, then the longest.

    Args:
        graph: What ran.
        record: How.
        most_lanes: Most lanes to keep.
        inner: The runs that are the work of its tasks; their attempts get lanes of their own.
    """
    measured = measures(record)
    spent = durations(graph, measured)
    path = critical_path(graph, spent) if spent else []
    start = _start(record)
    critical = {graph.ids[node] for node in path}
    ready = _ready(graph, record, start)
    own = _lanes(record, start, critical, ready)
    lanes = list(_with_inner(own, inner, start, 1))
    kept = _keep(lanes, most_lanes)
    bars = [bar for lane in own for bar in lane.bars]
    length = max([(record.now - start).total_seconds(), *(bar.end for bar in bars)])
    return Schedule(
        lanes=kept,
        length=length,
        idle=_idle(bars, length),
        attempts=len(bars),
        left_out=len(lanes) - len(kept),
        never=len(record.tasks) - len(own),
        busy=sum(lane.spent for lane in own),
        critical_seconds=sum(spent.get(node, 0.0) for node in path),
    )


def _start(record: Record) -> datetime:
    first = [attempt.started_at for attempt in record.attempts]
    return min([record.run.started_at or record.run.created_at, *first])


def _lanes(record: Record, start: datetime, critical: set[str], ready: Mapping[str, float]) -> list[Lane]:
    bars: dict[str, list[Bar]] = defaultdict(list)
    for one in record.attempts:
        begin = (one.started_at - start).total_seconds()
        end = ((one.ended_at or record.now) - start).total_seconds()
        bar = Bar(
            number=one.number,
            start=begin,
            end=max(begin, end),
            state=one.state,
            live=one.ended_at is None,
        )
        bars[one.task_id].append(bar)
    lanes = [
        Lane(
            id=row.id,
            label=said(row.id, row.role)
            if "[" in row.id or row.role is not TaskRole.TASK
            else row.name or row.id,
            role=row.role,
            state=row.state,
            ready=min(ready.get(row.id, bars[row.id][0].start), bars[row.id][0].start),
            bars=tuple(bars[row.id]),
            critical=row.id in critical,
            reason=row.reason,
        )
        for row in record.tasks
        if row.id in bars
    ]
    return sorted(lanes, key=lambda lane: (lane.bars[0].start, lane.id))


def _with_inner(
    lanes: Sequence[Lane], inner: Mapping[str, Sequence[Subject]], start: datetime, depth: int
) -> Iterator[Lane]:
    """Yield lanes, and behind each those of the runs that are its work."""
    for lane in lanes:
        yield lane
        for one in inner.get(lane.id, ()):
            if one.record is not None:
                found = _lanes(one.record, start, set(), _ready(one.graph, one.record, start))
                begun = (_start(one.record) - start).total_seconds()
                below = [structs.replace(each, depth=depth, ready=max(each.ready, begun)) for each in found]
                yield from _with_inner(below, one.inner, start, depth + 1)


def _ready(graph: Graph, record: Record, start: datetime) -> dict[str, float]:
    """Return when each ordinary task could have started; whole groups are looked at once."""
    ends: dict[str, float] = {}
    for one in record.attempts:
        if one.ended_at is not None:
            ends[one.task_id] = (one.ended_at - start).total_seconds()
    last = [
        max((ends.get(graph.ids[n], 0.0) for n in graph.nodes(g)), default=0.0)
        for g in range(len(graph.groups))
    ]
    ready: dict[str, float] = {}
    for group, sources in enumerate(graph.sources):
        at = max((last[s] if s >= 0 else ends.get(graph.ids[-1 - s], 0.0) for s in sources), default=0.0)
        ready.update((graph.ids[node], at) for node in graph.nodes(group))
    return ready


def _keep(lanes: list[Lane], most: int) -> list[Lane]:
    if len(lanes) <= most:
        return lanes

    def rank(place: int) -> tuple[bool, bool, float, int]:
        lane = lanes[place]
        return (lane.state is not TaskState.FAILED, not lane.critical, -lane.spent, place)

    return [lanes[place] for place in sorted(sorted(range(len(lanes)), key=rank)[:most])]


def _idle(bars: Sequence[Bar], length: float) -> list[tuple[float, float]]:
    """Return spans in which nothing ran that are long against all work: the night between failure and resume."""
    gaps, until = [], 0.0
    for bar in sorted(bars, key=lambda bar: bar.start):
        gaps.append((until, bar.start))
        until = max(until, bar.end)
    gaps.append((until, length))
    worked = length - sum(max(0.0, end - start) for start, end in gaps)
    least = max(LEAST_IDLE, IDLE_SHARE * worked)
    return [(start, end) for start, end in gaps if end - start > least]


class Scale:
    """Seconds to pixels, with idle spans drawn at a fixed short length.

    Args:
        length: Seconds in all.
        idle: Spans to shorten.
        width: Pixels in all.
        short: Pixels of a shortened span.
    """

    def __init__(
        self, length: float, idle: Sequence[tuple[float, float]], width: float, short: float
    ) -> None:
        self.idle = idle
        self._short = short
        worked = max(length - sum(end - start for start, end in idle), 1e-9)
        self.per_second = max(width - short * len(idle), 1.0) / worked
        self._starts = [start for start, _ in idle]
        self._skipped = [0.0]
        for start, end in idle:
            self._skipped.append(self._skipped[-1] + end - start)

    def __call__(self, seconds: float) -> float:
        """Return the pixels at a moment."""
        place = bisect_right(self._starts, seconds)
        if place and seconds < self.idle[place - 1][1]:
            start, end = self.idle[place - 1]
            inside = (seconds - start) / (end - start) * self._short
            return (start - self._skipped[place - 1]) * self.per_second + self._short * (place - 1) + inside
        return (seconds - self._skipped[place]) * self.per_second + self._short * place

    def ticks(self, length: float, apart: float) -> tuple[float, list[float]]:
        """Return a step in seconds and the round moments at it, `apart` pixels or more, none in an idle span."""
        step = next((step for step in STEPS if step * self.per_second >= apart), None)
        if step is None:
            days = 1
            while days * 86400 * self.per_second < apart:
                days *= 2
            step = days * 86400
        found: list[float] = []
        for start, end in self._worked(length):
            first = int(start / step) + (1 if found or start % step else 0)
            found += [n * step for n in range(first, int(end / step + 1e-9) + 1)]
        return step, found

    def _worked(self, length: float) -> list[tuple[float, float]]:
        edges = [0.0, *(edge for span in self.idle for edge in span), length]
        return list(zip(edges[::2], edges[1::2], strict=True))
