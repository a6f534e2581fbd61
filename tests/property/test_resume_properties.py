"""Random runs, cut anywhere, folded from their events and resumed with a changed definition."""

import os
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st
from msgspec import structs
from run_simulator import Simulator, Spec, any_of, model, specs, workflow_of

from runwright.core.errors import Failure
from runwright.core.events import (
    AnyEvent,
    AttemptsReserved,
    RunResumed,
    RunStarted,
    TaskEnded,
    TaskRetrying,
    TaskStarted,
)
from runwright.core.graph import Graph, build
from runwright.core.options import FailurePolicy, RunOptions, Strategy
from runwright.core.project import Changes
from runwright.core.resume import Resumption, plan_resume
from runwright.core.rows import Rows
from runwright.core.run import Run, TaskRow
from runwright.core.states import FINAL_TASK_STATES, RunState, TaskState
from runwright.core.workflow import Workflow

EXAMPLES = int(os.environ.get("RUNWRIGHT_EXAMPLES", "300"))
START = datetime(2026, 1, 1, tzinfo=UTC)
SUCCEEDED = TaskState.SUCCEEDED


class Recorder:
    """Turns what a simulator tells into the events that an engine would record."""

    def __init__(self, simulator: Simulator) -> None:
        self.events: list[AnyEvent] = []
        self.ids = simulator.graph.ids
        simulator.listen = self.listen

    def listen(self, what: str, node: int, attempt: int, state: TaskState | None) -> None:
        at = START + timedelta(seconds=len(self.events))
        task_id = self.ids[node]
        failure = Failure(code="E_X", message="no")
        if what == "start":
            self.events.append(AttemptsReserved(at=at, attempts={task_id: attempt}))
            self.events.append(TaskStarted(at=at, task_id=task_id, attempt=attempt))
        elif what == "retry":
            self.events.append(
                TaskRetrying(at=at, task_id=task_id, attempt=attempt, delay=0.0, failure=failure)
            )
        else:
            assert state is not None
            self.events.append(TaskEnded(at=at, task_id=task_id, attempt=attempt, state=state, reason="so"))


def recorded(simulator: Simulator) -> list[AnyEvent]:
    recorder = Recorder(simulator)
    simulator.run()
    return recorder.events


def fold(rows: Rows, events: list[AnyEvent]) -> None:
    changes = Changes(rows.run.head_seq)
    changes.extend(events)
    rows.apply(changes)


def fresh_rows(graph: Graph) -> Rows:
    rows = Rows(
        Run(id="run", name="w", created_at=START),
        [TaskRow(id=text, key=graph.definition(n).key, name=text) for n, text in enumerate(graph.ids)],
    )
    started = RunStarted(at=START, workflow="w", definition="d", strategy="s", workers=1, total=len(graph))
    fold(rows, [started])
    return rows


def resumed_rows(rows: Rows, graph: Graph, resumption: Resumption) -> None:
    """Write what a resume writes: pending rows, with their attempts so far, for all that runs again."""
    fold(
        rows,
        [
            RunResumed(
                at=START,
                from_state=RunState.INTERRUPTED,
                resume_count=1,
                definition="d",
                strategy="s",
                workers=1,
                total=len(graph),
                reused=len(resumption.plan.reuse),
            )
        ],
    )
    for node, text in enumerate(graph.ids):
        if node not in resumption.kept:
            attempts = rows.tasks[text].attempts if text in rows.tasks else 0
            key = graph.definition(node).key
            rows.tasks[text] = TaskRow(id=text, key=key, name=text, attempts=attempts)


def after_change(workflow: Workflow, keys: set[str]) -> Workflow:
    tasks = {
        key: structs.replace(task, cmd="changed") if key in keys else task
        for key, task in workflow.tasks.items()
    }
    return structs.replace(workflow, tasks=tasks)


def all_downstream(made: list[Spec], keys: set[str]) -> set[str]:
    """Return the ids of nodes that need one of these tasks, directly or not, and their own."""
    found = {node for spec in made for node in spec.nodes() if spec.key in keys}
    nodes = {spec.key: spec.nodes() for spec in made}
    for spec in made:
        needed = {node for name in spec.needs for node in nodes.get(name, [name])}
        if needed & found:
            found.update(spec.nodes())
    return found


cuts = st.floats(0, 1)


@settings(max_examples=EXAMPLES, deadline=None)
@given(specs(), any_of(Strategy), any_of(FailurePolicy), st.integers(1, 4), cuts, st.data())
def test_what_a_resume_keeps_and_redoes(
    made: list[Spec],
    strategy: Strategy,
    policy: FailurePolicy,
    workers: int,
    cut: float,
    data: st.DataObject,
) -> None:
    before = workflow_of(made)
    changed = data.draw(st.sets(st.sampled_from([spec.key for spec in made])))
    after = after_change(before, changed)
    graph = build(after)
    rows = fresh_rows(graph)
    events = recorded(Simulator(made, strategy, policy, workers))
    fold(rows, events[: round(cut * len(events))])

    found = list(rows.tasks.values())
    resumption = plan_resume("run", before, graph, found, RunOptions())
    plan = resumption.plan
    affected = all_downstream(made, changed)
    succeeded = {row.id for row in found if row.state is SUCCEEDED}
    assert set(plan.reuse) == succeeded - affected
    assert set(plan.redo) == set(graph.ids) - set(plan.reuse)
    assert all(plan.redo.values())
    assert all(plan.reuse.values())
    assert {graph.ids[node] for node in resumption.kept} == set(plan.reuse)
    assert set(plan.changed) == changed
    for key in changed:
        assert plan.changed[key] == ("cmd",)
    assert all(
        "cmd changed" in plan.redo[node] for spec in made if spec.key in changed for node in spec.nodes()
    )


@settings(max_examples=EXAMPLES, deadline=None)
@given(
    specs(),
    any_of(Strategy),
    any_of(FailurePolicy),
    st.integers(1, 4),
    st.lists(cuts, min_size=1, max_size=4),
)
def test_a_run_cut_again_and_again_ends_as_one_that_was_not(
    made: list[Spec], strategy: Strategy, policy: FailurePolicy, workers: int, where: list[float]
) -> None:
    workflow = workflow_of(made)
    graph = build(workflow)
    rows = fresh_rows(graph)
    kept: Mapping[int, TaskState] = {}
    attempts: dict[str, set[int]] = {}
    for cut in [*where, 1.0]:
        before = {n: rows.tasks[text].attempts for n, text in enumerate(graph.ids)}
        events = recorded(Simulator(made, strategy, policy, workers, kept, before=before))
        seen = events[: round(cut * len(events))]
        standing = {graph.ids[node] for node in kept}
        assert not standing & {getattr(event, "task_id", "") for event in seen}
        check_attempts(attempts, seen)
        fold(rows, seen)
        resumption = plan_resume("run", workflow, graph, list(rows.tasks.values()), RunOptions())
        assert standing <= set(resumption.plan.reuse), "what succeeded once stands for ever"
        kept = resumption.kept
        if cut != 1.0:
            resumed_rows(rows, graph, resumption)
    states = {row.id: row.state for row in rows.tasks.values()}
    assert set(states.values()) <= FINAL_TASK_STATES
    if policy is FailurePolicy.KEEP_GOING:
        assert states == model(made, {})


def check_attempts(attempts: dict[str, set[int]], events: list[Any]) -> None:
    """No attempt of a task ever begins twice."""
    for event in events:
        if isinstance(event, TaskStarted):
            numbers = attempts.setdefault(event.task_id, set())
            assert event.attempt not in numbers
            numbers.add(event.attempt)


@settings(max_examples=EXAMPLES, deadline=None)
@given(specs(), cuts, st.data())
def test_named_tasks_run_and_what_follows_them_or_nothing_else(
    made: list[Spec], cut: float, data: st.DataObject
) -> None:
    workflow = workflow_of(made)
    graph = build(workflow)
    rows = fresh_rows(graph)
    events = recorded(Simulator(made, Strategy.WORK_STEALING, FailurePolicy.KEEP_GOING, 3))
    fold(rows, events[: round(cut * len(events))])
    found = list(rows.tasks.values())
    name = data.draw(st.sampled_from([*graph.ids, *(spec.key for spec in made)]))
    chosen = {graph.ids[node] for node in graph.select([name])}

    begun = plan_resume("run", workflow, graph, found, RunOptions(start_from=(name,))).plan
    assert chosen <= set(begun.redo)
    assert all(begun.redo[node] == "named by --from" for node in chosen)

    alone = plan_resume("run", workflow, graph, found, RunOptions(only=(name,)))
    assert set(alone.plan.redo) == chosen
    assert len(alone.kept) == len(graph) - len(chosen)
    assert not chosen & set(alone.plan.reuse)


def test_a_resume_that_forgets_what_follows_is_caught() -> None:
    """The control: without the tasks downstream of a change the sets differ."""
    made = [
        Spec("a", (), (), "", ignored=False, bad=[0], seconds=[1], tries=1),
        Spec("b", ("a",), (), "", ignored=False, bad=[0], seconds=[1], tries=1),
    ]
    assert all_downstream(made, {"a"}) == {"a", "b"}
    assert all_downstream(made, {"b"}) == {"b"}
    graph = build(after_change(workflow_of(made), {"a"}))
    rows = fresh_rows(graph)
    fold(rows, recorded(Simulator(made, Strategy.SEQUENTIAL, FailurePolicy.FINISH, 1)))
    redo = plan_resume("run", workflow_of(made), graph, list(rows.tasks.values()), RunOptions()).plan.redo
    assert redo == {"a": "its cmd changed", "b": "depends on a task that runs again"}
