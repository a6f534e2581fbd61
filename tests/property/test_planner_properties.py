"""Random workflows under every strategy and policy, against a model."""

import os
import time
from collections.abc import Callable

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from run_simulator import STATUS, Simulator, Spec, any_of, levels, model, specs, workflow_of

from runwright.core.graph import build
from runwright.core.options import FailurePolicy, Strategy
from runwright.core.planner import Planner, Settle, Start
from runwright.core.runvars import RunVariables
from runwright.core.states import FINAL_TASK_STATES, TaskState
from runwright.core.workflow import TaskDefinition, Workflow

EXAMPLES = int(os.environ.get("RUNWRIGHT_EXAMPLES", "300"))
KEEP_GOING = FailurePolicy.KEEP_GOING


@settings(max_examples=EXAMPLES, deadline=None)
@given(specs(), any_of(Strategy), any_of(FailurePolicy), st.integers(1, 5))
def test_every_node_ends_once_after_all_it_needs(
    made: list[Spec], strategy: Strategy, policy: FailurePolicy, workers: int
) -> None:
    trace = Simulator(made, strategy, policy, workers).run()
    assert sorted(trace.ended) == list(range(len(trace.graph)))
    assert set(trace.states) <= FINAL_TASK_STATES


@settings(max_examples=EXAMPLES, deadline=None)
@given(specs(), st.integers(1, 5))
def test_keep_going_gives_the_outcomes_of_the_model_in_every_strategy(made: list[Spec], workers: int) -> None:
    expected = model(made, {})
    for strategy in Strategy:
        assert Simulator(made, strategy, KEEP_GOING, workers).run().by_id() == expected


@settings(max_examples=EXAMPLES, deadline=None)
@given(specs(failures=False, conditions=False), any_of(FailurePolicy), st.integers(1, 5))
def test_without_failures_all_policies_and_strategies_agree(
    made: list[Spec], policy: FailurePolicy, workers: int
) -> None:
    for strategy in Strategy:
        trace = Simulator(made, strategy, policy, workers).run()
        assert set(trace.states) == {TaskState.SUCCEEDED}


@settings(max_examples=EXAMPLES, deadline=None)
@given(specs(), any_of(Strategy), st.integers(1, 5), st.data())
def test_what_is_left_out_counts_as_good(
    made: list[Spec], strategy: Strategy, workers: int, data: st.DataObject
) -> None:
    graph = build(workflow_of(made))
    states = st.sampled_from((TaskState.SUCCEEDED, TaskState.CANCELLED))
    kept = data.draw(st.dictionaries(st.sampled_from(range(len(graph))), states))
    trace = Simulator(made, strategy, KEEP_GOING, workers, kept).run()
    assert not kept.keys() & set(trace.ended)
    assert trace.by_id() == model(made, {graph.ids[node]: state for node, state in kept.items()})


@settings(max_examples=EXAMPLES, deadline=None)
@given(specs(), any_of(FailurePolicy))
def test_sequential_is_one_at_a_time_in_order(made: list[Spec], policy: FailurePolicy) -> None:
    trace = Simulator(made, Strategy.SEQUENTIAL, policy, workers=9).run()
    assert trace.most <= 1
    assert trace.ended == sorted(trace.ended)
    assert [levels(trace)[node] for node in trace.ended] == sorted(levels(trace))


@settings(max_examples=EXAMPLES, deadline=None)
@given(specs(), any_of(FailurePolicy), st.integers(1, 5))
def test_levels_keep_their_barrier(made: list[Spec], policy: FailurePolicy, workers: int) -> None:
    simulator = Simulator(made, Strategy.LEVELS, policy, workers)
    level = levels(simulator.trace)
    plain = simulator.start

    def start(node: int) -> None:
        lower = [n for n in range(len(level)) if level[n] < level[node]]
        assert all(simulator.planner.states[n] in FINAL_TASK_STATES for n in lower)
        plain(node)

    simulator.start = start  # type: ignore[method-assign]
    simulator.run()


@settings(max_examples=EXAMPLES, deadline=None)
@given(specs(), any_of(FailurePolicy), st.integers(1, 5))
def test_work_stealing_leaves_no_worker_idle(made: list[Spec], policy: FailurePolicy, workers: int) -> None:
    simulator = Simulator(made, Strategy.WORK_STEALING, policy, workers)
    trace = simulator.run()
    assert trace.most <= workers
    assert not [ready for _, ready in simulator.idle if ready]


@settings(max_examples=EXAMPLES, deadline=None)
@given(
    specs(),
    any_of(Strategy),
    st.sampled_from((FailurePolicy.FINISH, FailurePolicy.FAIL_FAST)),
    st.integers(1, 5),
)
def test_after_a_failure_only_what_asks_for_it_starts(
    made: list[Spec], strategy: Strategy, policy: FailurePolicy, workers: int
) -> None:
    simulator = Simulator(made, strategy, policy, workers)
    trace = simulator.run()
    late = {trace.graph.definition(node).condition for node in trace.start_after_failure}
    assert late <= set(STATUS)


@settings(max_examples=EXAMPLES, deadline=None)
@given(specs(), any_of(Strategy), st.integers(1, 5), st.integers(0, 12))
def test_a_cancelled_run_starts_nothing_more(
    made: list[Spec], strategy: Strategy, workers: int, after: int
) -> None:
    simulator = Simulator(made, strategy, KEEP_GOING, workers)
    plain = simulator.end

    def end(node: int, state: TaskState, attempt: int) -> None:
        plain(node, state, attempt)
        if len(simulator.trace.ended) > after and not simulator.planner.cancelled:
            simulator.planner.cancel("stop")
            simulator.trace.started.clear()

    simulator.end = end  # type: ignore[method-assign]
    trace = simulator.run()
    assert not simulator.planner.cancelled or not trace.started
    assert set(trace.states) <= FINAL_TASK_STATES


def test_the_model_is_a_control() -> None:
    """A planner that forgets to block what needs a failure must not agree with the model."""
    made = [
        Spec("a", (), (), "", ignored=False, bad=[9], seconds=[1], tries=1),
        Spec("b", ("a",), (), "", ignored=False, bad=[0], seconds=[1], tries=1),
    ]
    simulator = Simulator(made, Strategy.LEVELS, KEEP_GOING, 1)
    simulator.planner._mark_bad = lambda node: None  # type: ignore[method-assign]
    assert simulator.run().by_id() != model(made, {})
    assert Simulator(made, Strategy.LEVELS, KEEP_GOING, 1).run().by_id() == model(made, {})


def chain(size: int) -> Workflow:
    keys = [f"t{n:06}" for n in range(size)]
    tasks = {
        key: TaskDefinition(key=key, name=key, cmd="true", depends_on=(before,) if before else ())
        for before, key in zip(["", *keys], keys, strict=False)
    }
    return Workflow(name="chain", tasks=tasks)


def fan(size: int) -> Workflow:
    """One before and one after `size` independent tasks."""
    keys = [f"t{n:06}" for n in range(size)]
    tasks = {key: TaskDefinition(key=key, name=key, cmd="true", depends_on=("first",)) for key in keys}
    tasks["first"] = TaskDefinition(key="first", name="first", cmd="true")
    tasks["last"] = TaskDefinition(key="last", name="last", cmd="true", depends_on=tuple(keys))
    return Workflow(name="fan", tasks=tasks)


def seconds_to_plan(workflow: Workflow, strategy: Strategy) -> float:
    graph = build(workflow)
    began = time.process_time()
    plan = Planner(graph, strategy, FailurePolicy.FINISH, RunVariables({}, {}), {})
    while plan.left:
        started = []
        while (decision := plan.next()) is not None:
            assert isinstance(decision, Start)
            plan.started(decision.node)
            started.append(decision.node)
        assert started
        for node in started:
            plan.ended(node, TaskState.SUCCEEDED)
    return time.process_time() - began


@pytest.mark.parametrize("shape", [chain, fan])
@pytest.mark.parametrize("strategy", Strategy)
def test_a_hundred_thousand_tasks_are_planned_in_linear_time(
    shape: Callable[[int], Workflow], strategy: Strategy
) -> None:
    small = min(seconds_to_plan(shape(12_500), strategy) for _ in range(2))
    large = seconds_to_plan(shape(100_000), strategy)
    assert large < 8 * small * 4 + 0.5, "eight times the tasks, with room for noise"
    assert large < 10.0


def test_a_failure_at_the_top_of_a_hundred_thousand_settles_them_all_in_linear_time() -> None:
    graph = build(chain(100_000))
    began = time.process_time()
    plan = Planner(graph, Strategy.WORK_STEALING, KEEP_GOING, RunVariables({}, {}), {})
    assert plan.next() == Start(0)
    plan.ended(0, TaskState.FAILED)
    while (decision := plan.next()) is not None:
        assert isinstance(decision, Settle)
        plan.ended(decision.node, decision.state)
    assert plan.left == 0
    assert time.process_time() - began < 10.0
