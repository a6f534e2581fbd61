"""Workflows and runs to draw, for the tests of pictures."""

from collections.abc import Iterable, Mapping
from datetime import UTC, datetime, timedelta
from typing import Any

from runwright.cli.render.drafting import draft
from runwright.cli.render.picture import Limits, Picture, Wishes
from runwright.cli.render.record import Record
from runwright.core.graph import Graph, build
from runwright.core.run import Attempt, Run, TaskRow
from runwright.core.states import RunState, TaskRole, TaskState
from runwright.core.workflow import TaskDefinition, TaskType, Workflow

START = datetime(2026, 1, 1, 3, 0, tzinfo=UTC)
RUN_ID = "019ab2c4-7d1e-7f00-8a51-3c2b9d0e4f11"
ROOMY = Limits(fold=6, cells=100, width=100, levels=100, blocks=10_000, edges=10_000)

HOSTILE = (
    "</script><script>alert(1)</script>",
    "\"quoted\" 'twice' `back`",
    "right\u202eto left\u2066",
    "line one\nline two\r\ttab",
    "<b>&amp; & ]]> -- %% ; | {x} [y] (z) #35; \\N \\",
    "\x00\x07\x1b[31mred\x9b",
    "zero\u200bwidth\ufeff",
    "ünï 漢字 🚀",
)


def task(key: str, *after: str, **fields: Any) -> TaskDefinition:
    fields = {"name": key, "cmd": f"make {key}", **fields}
    return TaskDefinition(key=key, depends_on=after, **fields)


def handler(key: str, **fields: Any) -> TaskDefinition:
    return task(key, type=TaskType.FORENSIC, **fields)


def graph_of(*tasks: TaskDefinition, **fields: Any) -> Graph:
    return build(Workflow(**{"name": "w", **fields}, tasks={one.key: one for one in tasks}))


def nightly() -> Graph:
    """Fetch, six builds, 24 unit tests, one single-node dependency, a publish that may alarm."""
    return graph_of(
        task("fetch", description="Get the sources", retries=2),
        task("build", "fetch", matrix={"os": ("linux", "mac"), "py": ("1", "2", "3")}),
        task("unit", "build", name="Unit tests", matrix={"n": tuple(f"{n:02}" for n in range(24))}),
        task("wheel", "build[os=linux,py=3]", name="Build the wheel"),
        task("publish", "unit", "wheel", "fetch", condition="x == 'y'", on_failure="alarm"),
        handler("alarm", name="Page the owner"),
        name="nightly",
        description="Every night",
        on_failure="alarm",
    )


def hostile(name: str) -> Graph:
    """The same text wherever a workflow can hold one."""
    return graph_of(
        task("a", name=name, description=name, cmd=name, condition=name, on_failure="h"),
        task("m", "a", name=name, matrix={"v": (name, "plain")}),
        task("z", "m", name=name, argv=(name,)),
        handler("h", name=name),
        name=name,
        description=name,
    )


def record_of(
    graph: Graph,
    bars: Mapping[str, Iterable[tuple[float, float | None]]] | None = None,
    states: Mapping[str, TaskState] | None = None,
    *,
    state: RunState = RunState.SUCCEEDED,
    handlers: Mapping[str, str] | None = None,
    reason: str = "",
    length: float = 100.0,
) -> Record:
    """Return the record of a run.

    Args:
        bars: Start and end of each attempt by task id, seconds; by default one attempt a node, a second a level.
        states: States of tasks that did not succeed; all attempts but the last failed.
        handlers: Key by id of handlers that ran.
    """
    states, handlers = states or {}, handlers or {}
    if bars is None:
        levels = {name: graph.level[graph.group_of[node]] for node, name in enumerate(graph.ids)}
        bars = {name: [(level, level + 1.0)] for name, level in levels.items()}
    attempts = [
        _attempt(name, number, span, list(spans), states.get(name, TaskState.SUCCEEDED))
        for name, spans in bars.items()
        for number, span in enumerate(spans, 1)
    ]
    rows = [
        _row(name, graph.definition(node).key, bars, states, reason) for node, name in enumerate(graph.ids)
    ]
    rows += [_row(name, key, bars, states, reason, TaskRole.HANDLER) for name, key in handlers.items()]
    end = START + timedelta(seconds=length)
    run = Run(id=RUN_ID, name="w", state=state, created_at=START, started_at=START, ended_at=end)
    return Record(run=run, tasks=rows, attempts=sorted(attempts, key=lambda one: one.started_at), now=end)


def _attempt(
    name: str, number: int, span: tuple[float, float | None], spans: list[Any], state: TaskState
) -> Attempt:
    start, end = span
    return Attempt(
        task_id=name,
        number=number,
        state=state if number == len(spans) else TaskState.FAILED,
        started_at=START + timedelta(seconds=start),
        ended_at=None if end is None else START + timedelta(seconds=end),
    )


def _row(
    name: str,
    key: str,
    bars: Mapping[str, Any],
    states: Mapping[str, TaskState],
    reason: str,
    role: TaskRole = TaskRole.TASK,
) -> TaskRow:
    state = states.get(name, TaskState.SUCCEEDED if name in bars else TaskState.PENDING)
    return TaskRow(
        id=name,
        key=key,
        name=key,
        role=role,
        state=state,
        attempts=len(list(bars.get(name, ()))),
        reason=reason if state is not TaskState.SUCCEEDED else "",
    )


def failed_night(graph: Graph) -> Record:
    """A night in which one unit test failed twice, publish was cancelled and the alarm ran."""
    bars: dict[str, list[tuple[float, float | None]]] = {
        name: [(graph.level[graph.group_of[node]] * 10.0, graph.level[graph.group_of[node]] * 10 + 5.0)]
        for node, name in enumerate(graph.ids)
        if name != "publish"
    }
    bars["build[os=mac,py=2]"] = [(10.0, 19.0)]
    bars["unit[n=07]"] = [(20.0, 24.0), (26.0, 31.0)]
    bars["alarm@unit[n=07]"] = [(32.0, 33.0)]
    return record_of(
        graph,
        bars,
        {"unit[n=07]": TaskState.FAILED, "publish": TaskState.CANCELLED},
        state=RunState.FAILED,
        handlers={"alarm@unit[n=07]": "alarm"},
        reason="needs unit[n=07]",
        length=35.0,
    )


def picture(graph: Graph, record: Record | None = None, limits: Limits = ROOMY, **wishes: bool) -> Picture:
    return draft(graph, Wishes(**{"critical": record is not None, **wishes}), limits, record)
