"""The control loop on fakes: every behaviour of the seed and of its design, in memory and recorded."""

import asyncio
from typing import Any

import pytest
from engine_bench import OTHER
from goal_rig import Deed, Rig, Rounds, maker

from runwright.core.errors import (
    Failure,
    FatalError,
    LeaseLost,
    RunIsActive,
    StoreError,
    TaskFailed,
    UsageError,
)
from runwright.core.events import ProgressKind, RoundPlanned, RunResumed, TaskEnded, TaskStarted
from runwright.core.goal import GoalDefinition, GoalOptions, GoalOutcome
from runwright.core.options import RunOptions
from runwright.core.run import TIMEOUT_REASON
from runwright.core.states import RunState, TaskState
from runwright.engines.actions import Action, Goal
from runwright.engines.goal_recorder import GoalRecorder

SUCCEEDED, FAILED, CANCELLED = TaskState.SUCCEEDED, TaskState.FAILED, TaskState.CANCELLED


@pytest.fixture(params=["in memory", "recorded"])
def rig(request: pytest.FixtureRequest) -> Rig:
    return Rig(recorded=request.param == "recorded")


@pytest.fixture
def recorded() -> Rig:
    return Rig(recorded=True)


def states(rig: Rig) -> dict[str, TaskState]:
    assert rig.seen is not None
    return {row.id: row.state for row in rig.seen.rows.values()}


def events(rig: Rig, kind: type) -> list[Any]:
    assert rig.seen is not None
    return [event for event in rig.seen.events if type(event) is kind]


def names_of_errors(outcome: GoalOutcome) -> list[tuple[str, str]]:
    return [(name, str(error)) for name, error in outcome.errors]


# -- the seed: plans, actions, children


def test_an_empty_plan_means_that_the_goal_is_reached(rig: Rig) -> None:
    goal = Rounds([])
    outcome = rig.pursue(goal)
    assert (outcome.state, outcome.rounds, outcome.performed, outcome.errors) == (
        RunState.SUCCEEDED,
        1,
        0,
        (),
    )
    assert (goal.asked, outcome.reason, outcome.cause, bool(outcome.run_id)) == (1, "", None, rig.recorded)


def test_only_an_empty_plan_ends_the_loop(rig: Rig) -> None:
    log: list[str] = []
    goal = Rounds([Deed(log, "a")], [Deed(log, "b")], [Deed(log, "c")], [])
    outcome = rig.pursue(goal)
    assert (outcome.rounds, outcome.performed, goal.asked) == (4, 3, 4)


def test_the_hooks_of_an_action_run_in_order(rig: Rig) -> None:
    log: list[str] = []
    rig.pursue(Rounds([Deed(log, "a"), Deed(log, "b")], []))
    assert log == ["a pre", "a perform", "a post", "b pre", "b perform", "b post"]


def test_children_run_after_post_depth_first_in_order(rig: Rig) -> None:
    log: list[str] = []
    leaf = [Deed(log, "a1x"), Deed(log, "a1y")]
    children = [Deed(log, "a1", children=leaf), Deed(log, "a2")]
    outcome = rig.pursue(Rounds([Deed(log, "a", children=children), Deed(log, "b")], []))
    assert [line for line in log if not line.endswith("perform")] == [
        f"{name} {hook}" for name in ("a", "a1", "a1x", "a1y", "a2", "b") for hook in ("pre", "post")
    ]
    assert outcome.performed == 6


def test_a_failed_pre_skips_perform_and_post(rig: Rig) -> None:
    log: list[str] = []
    outcome = rig.pursue(Rounds([Deed(log, "a", fails="pre"), Deed(log, "b")], []))
    assert log == ["a pre", "b pre", "b perform", "b post"]
    assert names_of_errors(outcome) == [("a", "a pre")]


def test_a_failed_perform_skips_post_and_children(rig: Rig) -> None:
    log: list[str] = []
    a = Deed(log, "a", fails="perform", children=[Deed(log, "child")])
    rig.pursue(Rounds([a, Deed(log, "b")], []))
    assert log == ["a pre", "a perform", "b pre", "b perform", "b post"]


def test_a_failed_post_skips_children(rig: Rig) -> None:
    log: list[str] = []
    a = Deed(log, "a", fails="post", children=[Deed(log, "child")])
    outcome = rig.pursue(Rounds([a, Deed(log, "b")], []))
    assert log == ["a pre", "a perform", "a post", "b pre", "b perform", "b post"]
    assert (outcome.state, outcome.performed) == (RunState.SUCCEEDED, 1)


def test_a_failed_child_leaves_its_siblings_alone(rig: Rig) -> None:
    log: list[str] = []
    children = [Deed(log, "one", fails="pre"), Deed(log, "two")]
    outcome = rig.pursue(Rounds([Deed(log, "a", children=children)], []))
    assert "two post" in log
    assert (outcome.performed, names_of_errors(outcome)) == (2, [("one", "one pre")])


def test_plain_functions_do_as_well_as_coroutines(rig: Rig) -> None:
    log: list[str] = []

    async def later() -> None:
        await asyncio.sleep(0)
        log.append("later")

    def perform() -> list[Action]:
        log.append("perform")
        return [Action("child", perform=later)]

    whole = Action("a", perform, pre=lambda: log.append("pre"), post=later)
    plans = [[whole], []]
    outcome = rig.pursue(Goal(lambda: plans.pop(0)))
    assert (log, outcome.performed) == (["pre", "perform", "later", "later"], 2)


def test_subclasses_of_goal_and_action_need_define_only_what_they_have(rig: Rig) -> None:
    log: list[str] = []

    class Make(Action):
        def perform(self) -> None:
            log.append(self.name)

    class Named:
        def name(self) -> str:
            return "named by a method"

        def perform(self) -> None:
            log.append("named")

    class Making(Goal):
        def plan(self) -> list[Any]:
            return [] if log else [Make("x"), Named()]

    outcome = rig.pursue(Making())
    assert (log, outcome.performed) == (["x", "named"], 2)
    if rig.recorded:
        assert "1.named by a method" in states(rig)


def test_what_is_no_goal_is_refused() -> None:
    with pytest.raises(UsageError, match=r"is no goal: it needs a method plan\(\)"):
        Rig(recorded=True).pursue(object())


@pytest.mark.parametrize(
    ("plan", "message"),
    [
        (None, "plan() returned None, which is no sequence of actions; [] means none"),
        ("abc", "plan() returned 'abc'"),
        ({"a": 1}, "plan() returned {'a': 1}"),
        ([3], "3 has no name"),
        ([Action(" ")], "has no name"),
        ([type("X", (), {"name": "x"})()], "'x' has no perform()"),
        ([type("X", (), {"name": "x", "perform": 1})()], "perform of 'x' is 1, which can't be called"),
    ],
)
def test_a_plan_that_is_none_counts_as_an_error(rig: Rig, plan: Any, message: str) -> None:
    outcome = rig.pursue(Rounds(plan, []))
    assert (outcome.state, len(outcome.errors)) == (RunState.SUCCEEDED, 1)
    name, error = outcome.errors[0]
    assert (name, type(error)) == ("plan", UsageError)
    assert message in str(error)


def test_children_that_are_none_are_an_error_of_perform(rig: Rig) -> None:
    log: list[str] = []
    outcome = rig.pursue(Rounds([Deed(log, "a", children="no")], []))
    assert log == ["a pre", "a perform"]
    assert "perform() of 'a' returned 'no'" in str(outcome.errors[0][1])


def test_an_action_or_a_goal_without_its_function_says_so(rig: Rig) -> None:
    outcome = rig.pursue(Rounds([Action("a")], []))
    assert "action 'a' has no perform" in str(outcome.errors[0][1])
    outcome = rig.pursue(Goal(), errors_to_tolerate=0)
    assert "Goal has no plan" in str(outcome.cause)


# -- errors


@pytest.mark.parametrize("hook", ["pre", "perform", "post"])
def test_an_error_of_each_hook_counts_exactly_once(rig: Rig, hook: str) -> None:
    log: list[str] = []
    goal = Rounds([Deed(log, "a", fails=hook)])
    outcome = rig.pursue(goal, errors_to_tolerate=3)
    assert (outcome.state, len(outcome.errors), goal.asked) == (RunState.FAILED, 4, 4)
    assert outcome.cause is outcome.errors[-1][1]
    assert outcome.reason.startswith(
        f"4 errors, and 3 are tolerated; the last one is of a: {hook} raised ValueError: a {hook}"
    )


def test_an_error_of_plan_counts_exactly_once(rig: Rig) -> None:
    goal = Rounds(OSError("no answer"))
    outcome = rig.pursue(goal, errors_to_tolerate=2)
    assert (outcome.state, outcome.rounds, goal.asked) == (RunState.FAILED, 3, 3)
    assert names_of_errors(outcome) == [("plan", "no answer")] * 3
    if rig.recorded:
        assert states(rig) == {"1": FAILED, "2": FAILED, "3": FAILED}
        assert [event.failure.code for event in events(rig, RoundPlanned)] == ["E_EXCEPTION"] * 3


def test_as_many_errors_as_are_tolerated_do_not_end_the_loop(rig: Rig) -> None:
    log: list[str] = []
    goal = Rounds([Deed(log, f"a{number}", fails="pre") for number in range(5)], [])
    outcome = rig.pursue(goal, errors_to_tolerate=5)
    assert (outcome.state, len(outcome.errors)) == (RunState.SUCCEEDED, 5)


def test_one_error_more_ends_the_loop_at_once(rig: Rig) -> None:
    log: list[str] = []
    goal = Rounds([Deed(log, "a", fails="pre"), Deed(log, "b", fails="post"), Deed(log, "c")])
    outcome = rig.pursue(goal, errors_to_tolerate=1)
    assert (outcome.state, goal.asked) == (RunState.FAILED, 1)
    assert not [line for line in log if line.startswith("c")]
    assert str(outcome.cause) == "b post"
    if rig.recorded:
        assert states(rig) == {"1": SUCCEEDED, "1.a": FAILED, "1.b": FAILED}


def test_no_error_is_tolerated_if_none_may_be(rig: Rig) -> None:
    outcome = rig.pursue(Rounds(OSError("x")), errors_to_tolerate=0)
    assert (outcome.state, len(outcome.errors)) == (RunState.FAILED, 1)


@pytest.mark.parametrize("where", ["plan", "pre", "perform", "post", "child", "group"])
def test_a_fatal_error_ends_the_loop_at_once_whatever_is_tolerated(rig: Rig, where: str) -> None:
    log: list[str] = []
    fatal = FatalError("the disk is gone")
    raised: BaseException = ExceptionGroup("several", [ValueError("x"), ExceptionGroup("in", [fatal])])
    plan: Any = [Deed(log, "a", fails={where: fatal}), Deed(log, "b")]
    if where == "plan":
        plan = fatal
    elif where == "child":
        plan = [Deed(log, "a", children=[Deed(log, "child", fails={"post": fatal})]), Deed(log, "b")]
    elif where == "group":
        plan = [Deed(log, "a", fails={"perform": raised}), Deed(log, "b")]
    goal = Rounds(plan)
    outcome = rig.pursue(goal, errors_to_tolerate=1000)
    assert (outcome.state, goal.asked, len(outcome.errors)) == (RunState.FAILED, 1, 1)
    assert outcome.cause is fatal
    assert not [line for line in log if line.startswith("b")]
    if rig.recorded and where not in ("group", "plan"):
        assert rig.seen is not None
        assert rig.seen.failure("1.a.child" if where == "child" else "1.a").code == "E_FATAL"


def test_a_failure_that_is_raised_as_one_is_recorded_as_it_is(rig: Rig) -> None:
    failure = Failure(code="E_BUSY", message="the printer is busy", exit_code=7)
    outcome = rig.pursue(Rounds([Deed([], "a", fails={"pre": TaskFailed(failure)})], []))
    assert names_of_errors(outcome) == [("a", "the printer is busy")]
    if rig.recorded:
        assert rig.seen is not None
        assert rig.seen.failure("1.a") == failure


def test_an_exit_is_an_error_like_any_other(rig: Rig) -> None:
    outcome = rig.pursue(Rounds([Deed([], "a", fails={"pre": SystemExit(3)})], []))
    assert [name for name, _ in outcome.errors] == ["a"]
    assert "SystemExit: 3" in str(outcome.errors[0][1])


def test_an_exit_while_actions_are_listed_is_an_error_too(rig: Rig) -> None:
    class Leaving:
        def plan(self) -> Any:
            yield from ()
            raise SystemExit(4)

    outcome = rig.pursue(Leaving(), errors_to_tolerate=0)
    assert "it left by SystemExit: 4" in str(outcome.cause)


def test_a_name_that_can_not_be_told_is_an_error_of_plan(rig: Rig) -> None:
    class Nameless:
        def name(self) -> str:
            raise ValueError("no name")

    outcome = rig.pursue(Rounds([Nameless()], []))
    assert names_of_errors(outcome) == [("plan", "no name")]


def test_actions_may_be_given_one_by_one(rig: Rig) -> None:
    log: list[str] = []

    class Giving:
        def plan(self) -> Any:
            if not log:
                yield Deed(log, "a")

    assert rig.pursue(Giving()).performed == 1


def test_a_hook_that_cancels_itself_has_failed(rig: Rig) -> None:
    outcome = rig.pursue(Rounds([Deed([], "a", fails={"pre": asyncio.CancelledError()})], []))
    assert outcome.state is RunState.SUCCEEDED
    assert "cancelled itself" in str(outcome.errors[0][1])


# -- waits, back-off, oscillation


def test_the_loop_waits_between_rounds(rig: Rig) -> None:
    log: list[str] = []
    rig.pursue(Rounds([Deed(log, "a")], [Deed(log, "b")], []), sleep_between_runs=2.5)
    assert rig.bench.clock.monotonic() == 5.0


def test_nothing_is_waited_for_after_the_last_round(rig: Rig) -> None:
    rig.pursue(Rounds([]), sleep_between_runs=50)
    assert rig.bench.clock.monotonic() == 0.0


def test_the_wait_grows_between_fruitless_rounds(rig: Rig) -> None:
    goal = Rounds([Deed([], "a", fails="pre")])
    rig.pursue(goal, errors_to_tolerate=5, sleep_between_runs=1, longest_sleep=6)
    assert rig.bench.clock.monotonic() == 1 + 2 + 4 + 6 + 6


def test_rounds_that_repeat_without_an_error_are_an_oscillation(rig: Rig) -> None:
    log: list[str] = []
    plans = [[Deed(log, "open")], [Deed(log, "close")]] * 20
    goal = Rounds(*plans)
    outcome = rig.pursue(goal, oscillation_limit=4)
    assert (outcome.state, outcome.cause, outcome.rounds) == (RunState.FAILED, None, 8)
    assert outcome.reason.startswith("the same 2 rounds came 4 times in a row without an error")
    assert "round 7: open; round 8: close" in outcome.reason


def test_ten_repetitions_are_an_oscillation_by_default(rig: Rig) -> None:
    goal = Rounds([Deed([], "a")])
    outcome = rig.pursue(goal)
    assert (outcome.rounds, outcome.errors) == (10, ())


def test_a_loop_over_hooks_that_never_wait_lets_others_have_their_turn(rig: Rig) -> None:
    class Endless:
        async def plan(self) -> list[Any]:
            return [Action("a", perform=lambda: None)]

    async def during(stop: Any) -> None:
        for _ in range(200):
            await asyncio.sleep(0)
        stop("enough")

    outcome = rig.pursue(Endless(), during, sleep_between_runs=0, oscillation_limit=0)
    assert (outcome.state, outcome.reason) == (RunState.CANCELLED, "enough")


# -- the time limit and stops


def test_the_time_limit_breaks_off_an_action_at_once(rig: Rig) -> None:
    log: list[str] = []
    outcome = rig.pursue(Rounds([Deed(log, "slow", seconds=1000), Deed(log, "next")]), execution_timeout=3)
    assert (outcome.state, outcome.reason) == (RunState.CANCELLED, f"{TIMEOUT_REASON}: 3 s")
    assert rig.bench.clock.monotonic() == 3.0
    assert log == ["slow pre", "slow perform", "slow broken off"]
    if rig.recorded:
        assert states(rig) == {"1": SUCCEEDED, "1.slow": CANCELLED}
        assert rig.seen is not None
        assert rig.seen.failure("1.slow").message == f"{TIMEOUT_REASON}: 3 s"


def test_the_time_limit_interrupts_the_wait_between_rounds_at_once(rig: Rig) -> None:
    outcome = rig.pursue(
        Rounds([Deed([], "a")]), execution_timeout=3, sleep_between_runs=1000, longest_sleep=1000
    )
    assert (outcome.reason, rig.bench.clock.monotonic()) == (f"{TIMEOUT_REASON}: 3 s", 3.0)


def test_the_time_limit_breaks_off_a_plan_at_once(rig: Rig) -> None:
    async def plan() -> None:
        await asyncio.sleep(1000)

    outcome = rig.pursue(Goal(plan), execution_timeout=3)
    assert (outcome.state, outcome.errors, rig.bench.clock.monotonic()) == (RunState.CANCELLED, (), 3.0)
    if rig.recorded:
        assert states(rig) == {"1": CANCELLED}
        assert events(rig, RoundPlanned) == []


def test_no_time_limit_means_no_limit(rig: Rig) -> None:
    outcome = rig.pursue(Rounds([Deed([], "a", seconds=50_000)], []), execution_timeout=0)
    assert outcome.state is RunState.SUCCEEDED


def test_a_stop_breaks_off_what_runs_and_starts_nothing_more(rig: Rig) -> None:
    log: list[str] = []

    async def during(stop: Any) -> None:
        await asyncio.sleep(2)
        stop("enough")
        stop("too late to be the reason")

    outcome = rig.pursue(Rounds([Deed(log, "a", seconds=10), Deed(log, "b")]), during)
    assert (outcome.state, outcome.reason, outcome.errors) == (RunState.CANCELLED, "enough", ())
    assert log == ["a pre", "a perform", "a broken off"]


def test_a_stop_before_the_loop_begins_starts_nothing(rig: Rig) -> None:
    goal = Rounds([Deed([], "a")])

    async def during(stop: Any) -> None:
        stop("at once")

    outcome = rig.pursue(goal, during)
    assert (outcome.state, outcome.rounds, goal.asked) == (RunState.CANCELLED, 0, 0)


def test_an_action_that_stops_its_own_loop_comes_to_its_end_but_nothing_follows(rig: Rig) -> None:
    log: list[str] = []
    stops: list[Any] = []

    async def perform() -> None:
        stops[0]("from within")
        await asyncio.sleep(1)
        log.append("done")

    async def during(stop: Any) -> None:
        stops.append(stop)

    first = Action("first", perform, post=lambda: log.append("post"))
    outcome = rig.pursue(Rounds([first, Deed(log, "b")]), during)
    assert (outcome.state, log, outcome.performed) == (RunState.CANCELLED, ["done"], 0)


def test_a_plan_that_stops_its_own_loop_is_asked_for_nothing_more(rig: Rig) -> None:
    log: list[str] = []
    stops: list[Any] = []

    async def plan() -> list[Any]:
        stops[0]("from within")
        return [Deed(log, "a")]

    async def during(stop: Any) -> None:
        stops.append(stop)

    outcome = rig.pursue(Goal(plan), during)
    assert (outcome.state, log, outcome.rounds) == (RunState.CANCELLED, [], 1)


def test_a_hook_that_takes_no_notice_of_a_stop_is_the_last_one(rig: Rig) -> None:
    log: list[str] = []

    async def stubborn() -> None:
        try:
            await asyncio.sleep(100)
        except asyncio.CancelledError:
            log.append("took no notice")

    async def during(stop: Any) -> None:
        await asyncio.sleep(1)
        stop("enough")

    outcome = rig.pursue(Rounds([Action("a", stubborn, post=lambda: log.append("post"))]), during)
    assert (outcome.state, log) == (RunState.CANCELLED, ["took no notice"])


def test_an_error_of_what_is_broken_off_does_not_count(rig: Rig) -> None:
    async def messy() -> None:
        try:
            await asyncio.sleep(100)
        finally:
            raise ValueError("while leaving")

    async def during(stop: Any) -> None:
        await asyncio.sleep(1)
        stop("enough")

    outcome = rig.pursue(Rounds([Action("a", messy)]), during, errors_to_tolerate=0)
    assert (outcome.state, outcome.errors, outcome.cause) == (RunState.CANCELLED, (), None)
    if rig.recorded:
        assert states(rig)["1.a"] is FAILED


def test_a_loop_whose_task_is_cancelled_is_stopped(rig: Rig) -> None:
    tasks: list[asyncio.Task[Any]] = []

    async def perform() -> None:
        task = asyncio.current_task()
        assert task is not None
        tasks.append(task)
        await asyncio.sleep(100)

    async def during(_: Any) -> None:
        await asyncio.sleep(1)
        tasks[0].cancel()

    outcome = rig.pursue(Rounds([Action("a", perform)]), during)
    assert (outcome.state, outcome.reason) == (RunState.CANCELLED, "its task was cancelled")


# -- workers


def test_so_many_actions_at_a_time_as_there_are_workers(rig: Rig) -> None:
    goal = Rounds([Deed([], f"a{number}", seconds=10) for number in range(6)], [])
    outcome = rig.pursue(goal, workers=3, sleep_between_runs=1)
    assert (outcome.performed, rig.bench.clock.monotonic()) == (6, 21.0)


def test_more_workers_than_actions_harm_nobody(rig: Rig) -> None:
    goal = Rounds([Deed([], f"a{number}", seconds=10) for number in range(2)], [])
    rig.pursue(goal, workers=50, sleep_between_runs=1)
    assert rig.bench.clock.monotonic() == 11.0


def test_children_are_worked_on_by_who_works_on_their_parent(rig: Rig) -> None:
    log: list[str] = []
    children = [Deed(log, "one", seconds=5), Deed(log, "two")]
    a = Deed(log, "a", children=children)
    rig.pursue(Rounds([a, Deed(log, "b", seconds=2), Deed(log, "c")], []), workers=2)
    assert log.index("c pre") < log.index("two pre")
    assert log.index("one post") < log.index("two pre")


def test_the_end_of_the_budget_breaks_off_the_siblings(rig: Rig) -> None:
    log: list[str] = []
    plan = [Deed(log, "slow", seconds=100), Deed(log, "bad", fails="pre"), Deed(log, "never")]
    outcome = rig.pursue(Rounds(plan), workers=2, errors_to_tolerate=0)
    assert (outcome.state, str(outcome.cause)) == (RunState.FAILED, "bad pre")
    assert "slow broken off" in log
    assert "never pre" not in log
    assert rig.bench.clock.monotonic() == 0.0
    if rig.recorded:
        assert states(rig) == {"1": SUCCEEDED, "1.slow": CANCELLED, "1.bad": FAILED}


def test_a_stop_breaks_off_all_workers(rig: Rig) -> None:
    log: list[str] = []

    async def during(stop: Any) -> None:
        await asyncio.sleep(1)
        stop("enough")

    plan = [Deed(log, f"a{number}", seconds=100) for number in range(4)]
    outcome = rig.pursue(Rounds(plan), during, workers=3)
    assert outcome.state is RunState.CANCELLED
    assert sorted(line for line in log if "broken" in line) == [
        f"a{number} broken off" for number in range(3)
    ]


def test_a_loop_with_workers_whose_task_is_cancelled_is_stopped(recorded: Rig) -> None:
    async def scenario() -> GoalOutcome:
        driving = asyncio.ensure_future(drive())
        await asyncio.sleep(1)
        (task,) = (
            task for task in asyncio.all_tasks() if "drive" in repr(task.get_coro()) and task is not driving
        )
        task.cancel()
        return await driving

    async def drive() -> GoalOutcome:
        goal = Rounds([Deed([], "a", seconds=100), Deed([], "b", seconds=100)])
        definition = GoalDefinition(name="g", options=GoalOptions(workers=2))
        return await recorded.engine().execute(definition, maker(goal), RunOptions())

    outcome = recorded.bench.run(scenario())
    assert (outcome.state, outcome.reason) == (RunState.CANCELLED, "its task was cancelled")


# -- what is told


def test_the_logger_is_told_of_rounds_actions_and_errors(rig: Rig) -> None:
    plan = [Deed([], "good"), Deed([], "bad\n", fails="perform")]
    rig.pursue(Rounds(plan, []), sleep_between_runs=1)
    assert rig.lines == [
        ("info", "round 1: 2 still needed: good, bad�"),
        ("info", "round 1: good begins"),
        ("info", "round 1: good succeeded"),
        ("info", "round 1: bad� begins"),
        ("warning", "bad� failed, error 1 of 5 tolerated: perform raised ValueError: bad\n perform"),
        ("debug", "the next round follows after 1 s"),
        ("info", "round 2: nothing is needed any more"),
        ("info", "the goal is reached"),
    ]


def test_the_logger_is_told_of_a_bad_end(rig: Rig) -> None:
    rig.pursue(Rounds(OSError("gone")), errors_to_tolerate=0)
    level, text = rig.lines[-1]
    assert level == "error"
    assert text == (
        "the goal is not reached: 1 error, and 0 are tolerated; "
        "the last one is of plan: plan raised OSError: gone"
    )


def test_a_listener_is_told_of_rounds_and_actions(recorded: Rig) -> None:
    recorded.pursue(Rounds([Deed([], "a", fails="pre")], []))
    told = [(event.kind, event.task_id, event.task_name) for event in recorded.bench.events]
    assert told == [
        (ProgressKind.RUN_STARTED, "", "g"),
        (ProgressKind.TASK_STARTED, "1", "round 1"),
        (ProgressKind.TASK_DONE, "1", "round 1"),
        (ProgressKind.TASK_STARTED, "1.a", "a"),
        (ProgressKind.TASK_FAILED, "1.a", "a"),
        (ProgressKind.TASK_STARTED, "2", "round 2"),
        (ProgressKind.TASK_DONE, "2", "round 2"),
        (ProgressKind.RUN_DONE, "", ""),
    ]


def test_what_a_listener_raises_comes_out_once_the_run_has_ended(recorded: Rig) -> None:
    def listener(_: object) -> None:
        raise KeyError("listener")

    async def scenario() -> None:
        await recorded.engine().execute(
            GoalDefinition(name="g"), maker(Rounds([])), RunOptions(progress=listener)
        )

    with pytest.raises(KeyError, match="listener"):
        recorded.bench.run(scenario())
    assert recorded.bench.run(recorded.bench.store.find_run("latest")).state is RunState.SUCCEEDED


# -- the record


def test_every_round_and_action_is_recorded(recorded: Rig) -> None:
    log: list[str] = []
    a = Deed(log, "a", children=[Deed(log, "x"), Deed(log, "x")])
    outcome = recorded.pursue(Rounds([a, Deed(log, "b", fails="post")], []), workers=1)
    seen = recorded.seen
    assert seen is not None
    assert (seen.run.kind, seen.run.name, seen.run.strategy, seen.run.workers) == (
        "goal",
        "g",
        "sequential",
        1,
    )
    assert states(recorded) == {
        "1": SUCCEEDED,
        "1.a": SUCCEEDED,
        "1.a.x": SUCCEEDED,
        "1.a.x#2": SUCCEEDED,
        "1.b": FAILED,
        "2": SUCCEEDED,
    }
    assert (seen.run.counts.total, seen.run.counts.succeeded, seen.run.counts.failed) == (6, 5, 1)
    assert [(event.round, event.actions) for event in events(recorded, RoundPlanned)] == [
        (1, ("a", "b")),
        (2, ()),
    ]
    assert {(one.number, one.state) for one in seen.attempts} == {(1, SUCCEEDED), (1, FAILED)}
    assert outcome.run_id == seen.id


def what_ran_before_it_was_durable(rig: Rig) -> list[str]:
    """Hold back all commits from the first round on, and return what an action had done by then."""
    log: list[str] = []
    early: list[str] = []
    store = rig.bench.store

    async def during(_: Any) -> None:
        await asyncio.sleep(0)
        store.holding = True
        for _ in range(10):
            await asyncio.sleep(1)
            held = [event for batch, _, _ in store.held for event in batch]
            if any(isinstance(event, TaskStarted) and event.task_id == "1.a" for event in held):
                early.extend(log)
                break
            store.let_go()
        else:
            raise AssertionError("the action never began")
        store.holding = False
        store.let_go()

    rig.pursue(Rounds([Deed(log, "a")], []), during)
    assert log == ["a pre", "a perform", "a post"]
    return early


def test_an_action_begins_only_once_that_is_durable(recorded: Rig) -> None:
    assert what_ran_before_it_was_durable(recorded) == []


def test_an_action_that_did_not_wait_would_be_seen(recorded: Rig, monkeypatch: pytest.MonkeyPatch) -> None:
    async def hasty(self: Any, place: Any) -> None:
        self._journal.append([TaskStarted(at=self._clock.now(), task_id=place.id, attempt=1)])

    monkeypatch.setattr(GoalRecorder, "begin", hasty)
    assert what_ran_before_it_was_durable(recorded) == ["a pre", "a perform", "a post"]


def test_the_traceback_of_an_error_is_in_the_log_of_the_action(recorded: Rig) -> None:
    outcome = recorded.pursue(Rounds([Deed([], "a", fails="post")], OSError("gone"), []))
    logs, seen = recorded.bench.logs, recorded.seen
    assert seen is not None
    assert b"ValueError: a post" in logs.text(outcome.run_id, "1.a")
    assert b"OSError: gone" in logs.text(outcome.run_id, "2")
    assert seen.failure("1.a").stderr_tail.endswith("ValueError: a post\n")
    assert (outcome.run_id, "1.a", 1) in logs.closed


def test_what_is_logged_is_told_if_it_is_to_be_printed(recorded: Rig) -> None:
    recorded.pursue(
        Rounds([Deed([], "a", fails="pre"), Deed([], "b")], []), run_options=RunOptions(print_output=True)
    )
    (output,) = [event for event in recorded.bench.events if event.kind is ProgressKind.TASK_OUTPUT]
    assert output.task_id == "1.a"
    assert "ValueError: a pre" in output.output


def test_a_secret_appears_nowhere() -> None:
    rig = Rig(recorded=True, environ={"TOKEN": "hunter2-secret"})
    definition = GoalDefinition(name="g", secrets=("TOKEN",), options=GoalOptions(errors_to_tolerate=0))
    error = ValueError("hunter2-secret was refused")
    outcome = rig.pursue(
        Rounds([Deed([], "use hunter2-secret", fails={"pre": error})]), definition=definition
    )
    assert outcome.cause is error
    assert rig.seen is not None
    texts = [
        repr(rig.seen.events),
        repr(rig.seen.rows),
        repr(rig.lines),
        repr(rig.bench.events),
        outcome.reason,
    ]
    texts.append(repr([chunk.data for chunks in rig.bench.logs.chunks.values() for chunk in chunks]))
    assert not [text for text in texts if "hunter2" in text]
    assert any("use ***" in row for row in rig.seen.rows), rig.seen.rows


def test_a_log_that_can_not_be_kept_is_an_error_of_what_succeeded_otherwise(recorded: Rig) -> None:
    class FullLogs:
        def open(self, *_: object) -> "FullLogs":
            return self

        def write(self, *_: object) -> None:
            """Take it."""

        def close(self) -> None:
            raise StoreError("no room for the log")

    async def scenario(fails: str) -> GoalOutcome:
        def make(session: Any, definition: Any, options: Any) -> Any:
            performer = maker(goal)(session, definition, options)
            call = performer.call

            async def noisy(place: Any, hook: Any) -> Any:
                session.begin(place.id, 1, 0)
                session.log(place.id).write("stdout", b"x")
                return await call(place, hook)

            performer.call = noisy
            return performer

        goal = Rounds([Deed([], "a", fails=fails)], [])
        return await recorded.engine(logs=FullLogs()).execute(GoalDefinition(name="g"), make, RunOptions())

    outcome = recorded.bench.run(scenario(""))
    assert names_of_errors(outcome) == [("a", "no room for the log")]
    outcome = recorded.bench.run(scenario("pre"))
    assert names_of_errors(outcome) == [("a", "a pre")]


def test_a_request_to_cancel_is_heard(recorded: Rig) -> None:
    store = recorded.bench.store

    async def during(_: Any) -> None:
        await asyncio.sleep(2)
        run = await store.find_run("latest")
        await store.request_cancel(run.id, recorded.bench.clock.now(), "somebody")

    outcome = recorded.pursue(Rounds([Deed([], "a", seconds=1000)]), during)
    assert (outcome.state, outcome.reason) == (RunState.CANCELLED, "somebody")
    assert recorded.bench.clock.monotonic() < 3.0


def test_a_lost_lease_ends_the_loop_and_nothing_more_is_written(recorded: Rig) -> None:
    log: list[str] = []
    store = recorded.bench.store

    async def during(_: Any) -> None:
        await asyncio.sleep(2)
        recorded.bench.alive["here"] = False
        await store.take_lease((await store.find_run("latest")).id, OTHER, 60, recorded.bench.clock.now())

    with pytest.raises(LeaseLost):
        recorded.pursue(Rounds([Deed(log, "a", seconds=1000), Deed(log, "b")]), during)
    assert log == ["a pre", "a perform", "a broken off"]


def test_a_hook_that_takes_no_notice_of_a_lost_lease_is_the_last_one(recorded: Rig) -> None:
    log: list[str] = []
    store = recorded.bench.store

    async def stubborn() -> None:
        try:
            await asyncio.sleep(1000)
        except asyncio.CancelledError:
            await asyncio.sleep(1)
            log.append("took no notice")

    async def during(_: Any) -> None:
        await asyncio.sleep(2)
        recorded.bench.alive["here"] = False
        await store.take_lease((await store.find_run("latest")).id, OTHER, 60, recorded.bench.clock.now())

    with pytest.raises(LeaseLost):
        recorded.pursue(Rounds([Action("a", stubborn), Deed(log, "b")]), during)
    assert log == ["took no notice"]


@pytest.mark.parametrize("workers", [1, 2])
def test_a_store_that_fails_ends_the_loop(recorded: Rig, workers: int) -> None:
    log: list[str] = []
    store = recorded.bench.store

    async def during(_: Any) -> None:
        await asyncio.sleep(1)
        store.holding = True
        await asyncio.sleep(5)
        store.refuse(StoreError("no room"))

    plan = [Deed(log, "a", seconds=2), Deed(log, "b", seconds=100), Deed(log, "c"), Deed(log, "d")]
    with pytest.raises(StoreError, match="no room"):
        recorded.pursue(Rounds(plan), during, workers=workers)
    assert "c pre" not in log
    assert ("b broken off" in log) is (workers == 2)


def test_a_store_that_fails_while_the_goal_is_asked_ends_the_loop(recorded: Rig) -> None:
    store = recorded.bench.store

    async def plan() -> list[Any]:
        await asyncio.sleep(100)
        return []

    async def during(_: Any) -> None:
        await asyncio.sleep(1)
        recorded.bench.alive["here"] = False
        await store.take_lease((await store.find_run("latest")).id, OTHER, 60, recorded.bench.clock.now())

    with pytest.raises(LeaseLost):
        recorded.pursue(Goal(plan), during)
    assert recorded.bench.clock.monotonic() < 20.0


@pytest.mark.parametrize(("task_id", "ran"), [("1", 0), ("1.a", 1)])
def test_a_stop_while_a_beginning_becomes_durable_is_heard(recorded: Rig, task_id: str, ran: int) -> None:
    log: list[str] = []
    goal = Rounds([Deed(log, "a")])
    store = recorded.bench.store

    async def during(stop: Any) -> None:
        store.holding = True
        while True:
            await asyncio.sleep(1)
            held = [event for batch, _, _ in store.held for event in batch]
            if any(isinstance(event, TaskStarted) and event.task_id == task_id for event in held):
                break
            store.let_go()
        stop("enough")
        store.holding = False
        store.let_go()

    outcome = recorded.pursue(goal, during)
    assert (outcome.state, log, goal.asked) == (RunState.CANCELLED, [], ran)
    assert states(recorded)[task_id] is CANCELLED


def test_nobody_need_be_told(recorded: Rig) -> None:
    async def scenario() -> None:
        from runwright.engines.reconcile import GoalEngine

        engine = GoalEngine(recorded.bench.doors())
        goal = Rounds([Deed([], "a"), Deed([], "b", fails="pre")], [])
        outcome = await engine.execute(GoalDefinition(name="g"), maker(goal), RunOptions())
        assert (outcome.performed, len(outcome.errors)) == (1, 1)

    recorded.bench.run(scenario())
    assert recorded.bench.events == []


def test_a_parent_is_told_and_named(recorded: Rig) -> None:
    from runwright.engines.parent import Parent

    told: list[Any] = []
    parent = Parent(run_id="outer", task_id="task", tell=told.append)

    async def scenario() -> GoalOutcome:
        goal = maker(Rounds([]))
        return await recorded.engine().execute(GoalDefinition(name="g"), goal, RunOptions(), parent=parent)

    outcome = recorded.bench.run(scenario())
    run = recorded.bench.run(recorded.bench.store.find_run(outcome.run_id))
    assert (run.parent_id, run.parent_task) == ("outer", "task")
    assert {event.within for event in told} == {("task",)}


# -- resume


def resumed(rig: Rig, goal: object, run_id: str, **fields: Any) -> GoalOutcome:
    return rig.pursue(goal, resume=run_id, **fields)


def test_a_failed_goal_is_asked_again_and_its_rounds_are_numbered_on(recorded: Rig) -> None:
    log: list[str] = []
    first = recorded.pursue(Rounds([Deed(log, "a", fails="pre")]), errors_to_tolerate=1)
    goal = Rounds([Deed(log, "a", fails="pre")], [Deed(log, "a")], [])
    outcome = resumed(recorded, goal, first.run_id, errors_to_tolerate=1)
    assert (outcome.run_id, outcome.state, outcome.rounds) == (first.run_id, RunState.SUCCEEDED, 3)
    assert [event.round for event in events(recorded, RoundPlanned)] == [1, 2, 3, 4, 5]
    (event,) = events(recorded, RunResumed)
    assert (event.from_state, event.resume_count, event.keeps, event.total) == (RunState.FAILED, 1, True, 4)
    assert recorded.seen is not None
    assert recorded.seen.run.resume_count == 1


def test_the_error_budget_of_a_resume_starts_anew(recorded: Rig) -> None:
    goal = Rounds(OSError("gone"))
    first = recorded.pursue(goal, errors_to_tolerate=2)
    outcome = resumed(recorded, goal, first.run_id, errors_to_tolerate=2)
    assert (outcome.state, outcome.rounds, len(outcome.errors)) == (RunState.FAILED, 3, 3)


def test_a_cancelled_goal_can_be_resumed(recorded: Rig) -> None:
    async def during(stop: Any) -> None:
        await asyncio.sleep(1)
        stop("enough")

    first = recorded.pursue(Rounds([Deed([], "a", seconds=10)]), during)
    outcome = resumed(recorded, Rounds([]), first.run_id)
    assert (outcome.state, states(recorded)) == (
        RunState.SUCCEEDED,
        {"1": SUCCEEDED, "1.a": CANCELLED, "2": SUCCEEDED},
    )


def interrupted(rig: Rig, goal: object) -> str:
    """Let an engine die in the middle of a goal, and return the id of the run."""

    async def scenario() -> str:
        engine = rig.engine()
        definition = GoalDefinition(name="g")
        driving = asyncio.ensure_future(engine.execute(definition, maker(goal), RunOptions()))
        await asyncio.sleep(1)
        run = await rig.bench.store.find_run("latest")
        rig.bench.store.append = _dead  # type: ignore[method-assign,assignment]
        rig.bench.store.release_lease = _keep  # type: ignore[method-assign]
        engine.stop("killed")
        with pytest.raises(StoreError):
            await driving
        del rig.bench.store.append, rig.bench.store.release_lease
        rig.bench.alive["here"] = False
        return run.id

    return rig.bench.run(scenario())


def _dead(*_: object, **__: object) -> "asyncio.Future[None]":
    future: asyncio.Future[None] = asyncio.get_running_loop().create_future()
    future.set_exception(StoreError("dead"))
    return future


async def _keep(*_: object) -> None:
    """Leave the lease to lapse."""


def test_what_a_dead_engine_left_open_is_closed(recorded: Rig) -> None:
    run_id = interrupted(recorded, Rounds([Deed([], "a", seconds=10)]))
    outcome = resumed(recorded, Rounds([]), run_id)
    assert outcome.state is RunState.SUCCEEDED
    assert states(recorded) == {"1": SUCCEEDED, "1.a": CANCELLED, "2": SUCCEEDED}
    assert recorded.seen is not None
    assert recorded.seen.failure("1.a").code == "E_INTERRUPTED"


def test_a_round_that_was_not_planned_to_the_end_keeps_its_number(recorded: Rig) -> None:
    async def plan() -> None:
        await asyncio.sleep(10)

    run_id = interrupted(recorded, Goal(plan))
    resumed(recorded, Rounds([]), run_id)
    assert states(recorded) == {"1": CANCELLED, "2": SUCCEEDED}


def test_a_run_that_never_came_to_a_round_begins_with_the_first(recorded: Rig) -> None:
    async def during(stop: Any) -> None:
        stop("at once")

    first = recorded.pursue(Rounds([]), during)
    resumed(recorded, Rounds([]), first.run_id)
    assert states(recorded) == {"1": SUCCEEDED}


def test_a_goal_that_was_reached_can_not_be_resumed(recorded: Rig) -> None:
    first = recorded.pursue(Rounds([]))
    with pytest.raises(UsageError, match="has succeeded"):
        resumed(recorded, Rounds([]), first.run_id)


def test_a_goal_that_is_driven_can_not_be_resumed(recorded: Rig) -> None:
    async def scenario() -> None:
        engine = recorded.engine()
        driving = asyncio.ensure_future(
            engine.execute(
                GoalDefinition(name="g"), maker(Rounds([Deed([], "a", seconds=9)], [])), RunOptions()
            )
        )
        await asyncio.sleep(1)
        with pytest.raises((RunIsActive, UsageError)):
            await engine.resume("latest", None, maker(Rounds([])), RunOptions())
        await driving

    recorded.bench.run(scenario())


def test_what_is_no_goal_is_not_resumed_as_one(recorded: Rig) -> None:
    from engine_bench import fails, flow

    recorded.bench.scripts["a"] = fails()
    run = recorded.bench.execute(flow("a"))
    with pytest.raises(UsageError, match="is one of a workflow, not of a goal"):
        resumed(recorded, Rounds([]), run.id)


def test_a_resume_keeps_what_is_pinned_or_takes_what_the_goal_is_now(recorded: Rig) -> None:
    first = recorded.pursue(Rounds(OSError("x")), errors_to_tolerate=0)

    async def scenario(current: GoalDefinition | None, options: RunOptions) -> int:
        goal = maker(Rounds(OSError("x")))
        outcome = await recorded.engine().resume(first.run_id, current, goal, options)
        return len(outcome.errors)

    now = GoalDefinition(name="g", options=GoalOptions(errors_to_tolerate=2, workers=4))
    run = recorded.bench.run
    assert run(scenario(None, RunOptions())) == 1
    assert run(scenario(now, RunOptions(pinned=True))) == 1
    assert run(scenario(now, RunOptions())) == 3
    found = run(recorded.bench.store.find_run(first.run_id))
    assert (found.workers, found.strategy, found.resume_count) == (4, "work-stealing", 3)
    assert run(recorded.bench.store.verify(first.run_id)).ok


def test_a_goal_of_commands_is_not_resumed_by_functions(recorded: Rig) -> None:
    definition = GoalDefinition(name="g", plan=("needed",), options=GoalOptions(errors_to_tolerate=0))
    first = recorded.pursue(Rounds(OSError("x")), definition=definition)
    with pytest.raises(UsageError, match="is made of commands"):
        resumed(recorded, Rounds([]), first.run_id)


def test_the_options_of_a_run_may_set_its_time_limit(recorded: Rig) -> None:
    goal = Rounds([Deed([], "a", seconds=100)])
    outcome = recorded.pursue(goal, run_options=RunOptions(timeout=2, variables={"v": "1"}))
    assert outcome.reason == f"{TIMEOUT_REASON}: 2 s"
    outcome = resumed(recorded, goal, outcome.run_id)
    assert outcome.reason == f"{TIMEOUT_REASON}: 2 s"
    assert recorded.seen is not None
    assert recorded.seen.variables == {"v": "1"}
    assert [event.attempt for event in events(recorded, TaskEnded)] == [1] * 4
