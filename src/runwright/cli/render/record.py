"""What a run left in its store, measured: per task its time, attempts and reason."""

from collections import defaultdict
from collections.abc import Mapping, Sequence
from datetime import datetime

from msgspec import Struct

from runwright.cli.render.picture import Measure
from runwright.cli.render.times import elapsed
from runwright.core.graph import Graph
from runwright.core.run import Attempt, Run, TaskRow


class Record(Struct, frozen=True, kw_only=True):
    """Rows of one run.

    Attributes:
        now: Instant up to which what has not ended is measured; the run's end if it has one.
    """

    run: Run
    tasks: Sequence[TaskRow]
    attempts: Sequence[Attempt]
    now: datetime


def measures(record: Record) -> dict[str, Measure]:
    """Return how each task went, by task id; handlers and cleanups too."""
    tries: dict[str, list[Attempt]] = defaultdict(list)
    for attempt in record.attempts:
        tries[attempt.task_id].append(attempt)
    return {row.id: _measure(row, tries.get(row.id, ()), record.now) for row in record.tasks}


def _measure(row: TaskRow, tries: Sequence[Attempt], now: datetime) -> Measure:
    spent = [elapsed(one.started_at, one.ended_at, now) or 0.0 for one in tries]
    running = any(one.ended_at is None for one in tries)
    return Measure(
        state=row.state,
        seconds=sum(spent) if tries else None,
        attempts=max(row.attempts, len(tries)),
        started_at=min((one.started_at for one in tries), default=None),
        ended_at=None if running else max((one.ended_at for one in tries if one.ended_at), default=None),
        reason=row.reason or (row.failure.message if row.failure else ""),
    )


def durations(graph: Graph, measured: Mapping[str, Measure]) -> dict[int, float]:
    """Return the seconds of each node that ran, by node number."""
    if not measured:
        return {}
    found = ((node, measured.get(name)) for node, name in enumerate(graph.ids))
    return {node: one.seconds for node, one in found if one is not None and one.seconds is not None}
