"""What a run does next."""

from collections.abc import Mapping
from typing import Any

import pytest

from runwright.core.graph import build
from runwright.core.options import FailurePolicy, Strategy
from runwright.core.planner import Planner, Settle, Start, count, unfinished
from runwright.core.run import TaskCounts
from runwright.core.runvars import RunVariables
from runwright.core.states import RunState, TaskState
from runwright.core.workflow import TaskDefinition, Workflow

S, F, C = TaskState.SUCCEEDED, TaskState.FAILED, TaskState.CANCELLED
FINISH, FAST, ON = FailurePolicy.FINISH, FailurePolicy.FAIL_FAST, FailurePolicy.KEEP_GOING


def planner(
    policy: FailurePolicy = FINISH,
    states: Mapping[int, TaskState] | None = None,
    variables: Mapping[str, str] | None = None,
    **tasks: Mapping[str, Any],
) -> Planner:
    made = {key: TaskDefinition(**{"key": key, "name": key, **fields}) for key, fields in tasks.items()}
    graph = build(Workflow(name="w", tasks=made))
    given = RunVariables(variables or {}, {})
    return Planner(graph, Strategy.WORK_STEALING, policy, given, states or {})


def needs(*names: str, condition: str = "") -> dict[str, Any]:
    return {"depends_on": names, "condition": condition}


def start(plan: Planner, name: str) -> int:
    """Take the next decision, which must be to start this node."""
    node = plan.graph.ids.index(name)
    assert plan.next() == Start(node)
    plan.started(node)
    assert plan.states[node] is TaskState.RUNNING
    return node


def run(plan: Planner, name: str, state: TaskState = S, *, ignored: bool = False) -> None:
    plan.ended(start(plan, name), state, ignored=ignored)


def settled(plan: Planner) -> Settle:
    decision = plan.next()
    assert isinstance(decision, Settle)
    plan.ended(decision.node, decision.state)
    return decision


def test_nothing_fails() -> None:
    plan = planner(a={}, b=needs("a"))
    run(plan, "a")
    run(plan, "b")
    assert plan.next() is None
    assert (plan.left, plan.outcome()) == (0, (RunState.SUCCEEDED, ""))
    assert not plan.fails_fast


def test_after_a_failure_nothing_new_starts() -> None:
    plan = planner(a={}, b=needs("a"), c={})
    run(plan, "a", F)
    assert settled(plan).reason == 'the run stopped after task "a" failed'
    assert settled(plan).reason == 'needs task "a", which failed'
    assert plan.outcome() == (RunState.FAILED, 'task "a" failed')
    assert not plan.fails_fast


def test_fail_fast_says_so() -> None:
    plan = planner(FAST, a={})
    assert not plan.fails_fast
    run(plan, "a", F)
    assert plan.fails_fast


def test_keep_going_runs_what_needs_no_failure() -> None:
    plan = planner(ON, a={}, b=needs("a"), c={}, d=needs("b"))
    run(plan, "a", F)
    assert settled(plan) == Settle(2, C, 'needs task "a", which failed')
    run(plan, "c")
    assert settled(plan) == Settle(3, C, 'needs task "b", which was cancelled')
    assert plan.outcome()[0] is RunState.FAILED


def test_several_failures_are_counted() -> None:
    plan = planner(ON, a={}, b={}, c={})
    for name in "abc":
        run(plan, name, F)
    assert plan.outcome() == (RunState.FAILED, 'task "a" failed, and 2 more')


def test_an_ignored_failure_stops_nobody() -> None:
    plan = planner(a={}, b=needs("a", condition="succeeded()"))
    run(plan, "a", F, ignored=True)
    run(plan, "b")
    assert plan.outcome() == (RunState.SUCCEEDED, "")


def test_a_skip_does_not_cascade() -> None:
    plan = planner(variables={"env": "dev"}, a={"condition": "env == prod"}, b=needs("a"))
    assert settled(plan) == Settle(0, TaskState.SKIPPED, "its condition is false: env == prod (dev == prod)")
    run(plan, "b")
    assert plan.outcome()[0] is RunState.SUCCEEDED


def test_a_condition_sees_the_matrix() -> None:
    plan = planner(a={"matrix": {"os": ("linux", "mac")}, "condition": "os == mac"})
    assert settled(plan).node == 0
    run(plan, "a[os=mac]")


def test_an_undefined_variable_fails_the_task() -> None:
    plan = planner(ON, a={"condition": "nobody == 1"})
    decision = settled(plan)
    assert decision.state is F
    assert decision.failure is not None
    assert decision.failure.code == "E_CONDITION"
    assert 'condition `nobody == 1`: undefined variable "nobody"' in decision.failure.message
    assert plan.outcome()[0] is RunState.FAILED


@pytest.mark.parametrize(
    ("condition", "after_failure", "after_success"),
    [("failed()", "start", "skip"), ("always()", "start", "start"), ("succeeded()", "skip", "start")],
)
@pytest.mark.parametrize("policy", FailurePolicy)
def test_status_functions_look_at_dependencies_under_every_policy(
    policy: FailurePolicy, condition: str, after_failure: str, after_success: str
) -> None:
    for state, expected in ((F, after_failure), (S, after_success)):
        plan = planner(policy, a={}, b=needs("a", condition=condition))
        run(plan, "a", state)
        decision = plan.next()
        assert ("start" if isinstance(decision, Start) else "skip") == expected


def test_a_cancelled_run_starts_nothing_whatever_the_condition() -> None:
    plan = planner(a={}, b=needs("a", condition="always()"), c={"condition": "always()"})
    node = start(plan, "a")
    plan.cancel("Ctrl-C")
    assert plan.drop(plan.graph.ids.index("c")) == Settle(1, C, "Ctrl-C")
    assert settled(plan) == Settle(1, C, "Ctrl-C")
    plan.ended(node, C)
    assert settled(plan) == Settle(2, C, 'needs task "a", which was cancelled')
    assert plan.outcome() == (RunState.CANCELLED, "Ctrl-C")


def test_what_was_about_to_start_is_dropped_once_the_run_stops() -> None:
    plan = planner(a={}, b={}, c={"condition": "always()"})
    node = start(plan, "a")
    assert plan.drop(1) is None
    plan.ended(node, F)
    assert plan.drop(1) == Settle(1, C, 'the run stopped after task "a" failed')
    assert plan.drop(2) is None


def test_a_second_failure_keeps_the_first_reason() -> None:
    plan = planner(a={}, b={}, c={})
    first, second = start(plan, "a"), start(plan, "b")
    plan.ended(first, F)
    plan.ended(second, F)
    assert 'task "a"' in settled(plan).reason


def test_another_attempt_comes_before_the_end() -> None:
    plan = planner(a={}, b=needs("a"))
    plan.retry(start(plan, "a"))
    assert plan.states[0] is TaskState.PENDING
    run(plan, "a")
    run(plan, "b")
    assert plan.left == 0


def test_another_attempt_does_not_ask_the_condition_again() -> None:
    variables = RunVariables({}, {"go": "1"})
    definition = TaskDefinition(key="a", name="a", condition="go == 1")
    graph = build(Workflow(name="w", tasks={"a": definition}))
    plan = Planner(graph, Strategy.SEQUENTIAL, FINISH, variables, {})
    node = start(plan, "a")
    changed = RunVariables({}, {"go": "2"})
    plan._variables = changed
    plan.retry(node)
    assert plan.next() == Start(node)


def test_another_attempt_is_cancelled_when_the_run_stops() -> None:
    plan = planner(a={}, b={})
    node, other = start(plan, "a"), start(plan, "b")
    plan.ended(other, F)
    plan.retry(node)
    assert settled(plan).state is C


def test_one_node_of_a_matrix_blocks_who_names_it_alone() -> None:
    plan = planner(ON, a={"matrix": {"m": ("1", "2")}}, b=needs("a[m=1]"), c=needs("a[m=2]"), d=needs("a"))
    run(plan, "a[m=1]", F)
    run(plan, "a[m=2]")
    assert settled(plan).node == plan.graph.ids.index("b")
    run(plan, "c")
    assert settled(plan) == Settle(plan.graph.ids.index("d"), C, 'needs task "a[m=1]", which failed')


def test_nodes_with_a_state_beforehand_are_as_good_as_done() -> None:
    plan = planner(states={0: S, 2: C}, a={}, b=needs("a"), c=needs("b"), d=needs("c"))
    assert plan.left == 2
    run(plan, "b")
    run(plan, "d")
    assert plan.states == [S, S, C, S]


def test_counting() -> None:
    states = [S, S, F, TaskState.PENDING, TaskState.RUNNING, TaskState.SKIPPED, C]
    assert count(states) == TaskCounts(
        total=7, pending=1, running=1, succeeded=2, failed=1, skipped=1, cancelled=1
    )
    assert unfinished(states) == [3, 4]
