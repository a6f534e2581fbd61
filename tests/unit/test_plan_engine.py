"""Plans in memory: what is decided beyond what the seed documents."""

import asyncio
from functools import partial
from typing import Any

import pytest
from plan_bench import ALL, ALWAYS, Boom, Story, executed, tidy, work

from runwright import (
    Plan,
    PlanCancelled,
    PlanFailed,
    PlanOutcome,
    PlanTimeout,
    RunState,
    State,
    Step,
    UsageError,
)
from runwright.adapters.clock import SystemClock
from runwright.engines.course import Course, Courses
from runwright.engines.limits import limit_of, within
from runwright.engines.plan import execute_unrecorded
from runwright.testing import FakeClock

# -- retries ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("goes_on", [False, True])
def test_retries_are_honoured_whatever_continue_on_error_says(goes_on: bool) -> None:
    story = Story()
    plan = Plan(continue_on_error=goes_on)
    plan.add_step(story.step("a", fails={"exec": {1}, "post_exec": {1}}, retries=2)).add_step(story.step("b"))
    assert executed(plan).state is RunState.SUCCEEDED
    assert story.of("pre_exec") == ["a", "a", "a", "b"]
    assert story.of("post_exec") == ["a", "a", "b"]


@pytest.mark.parametrize("goes_on", [False, True])
def test_a_step_fails_once_its_retries_are_spent(goes_on: bool) -> None:
    story = Story()
    plan = Plan(continue_on_error=goes_on)
    plan.add_step(story.step("a", fails={"exec": ALWAYS}, retries=2)).add_step(story.step("b"))
    outcome = executed(plan) if goes_on else failed(plan)
    assert story.of("exec") == ["a", "a", "a", *("b" * goes_on)]
    assert list(outcome.errors) == ["a"]
    assert story.of("cleanup") == ["b"] * goes_on


def test_the_delay_between_attempts_passes() -> None:
    clock, story = FakeClock(), Story()
    executed(Plan().add_step(story.step("a", fails={"exec": {1, 2}}, retries=2, retry_delay=3.0)), clock)
    assert clock.monotonic() == 6


def test_a_stop_in_the_delay_between_attempts_leaves_the_failure() -> None:
    clock, story = FakeClock(), Story()
    plan = Plan(limit_duration=1).add_step(story.step("a", fails={"exec": {1}}, retries=2, retry_delay=3.0))
    with pytest.raises(PlanTimeout) as caught:
        executed(plan, clock)
    assert clock.monotonic() == 1
    assert list(caught.value.outcome.errors) == ["a"]


def failed(plan: Plan, kind: type[PlanFailed] = PlanFailed, clock: FakeClock | None = None) -> PlanOutcome:
    with pytest.raises(kind) as caught:
        executed(plan, clock)
    outcome = caught.value.outcome
    assert isinstance(outcome, PlanOutcome)
    return outcome


# -- cleanup ---------------------------------------------------------------------------------------------------


def two_and(story: Story, plan: Plan, *last: object) -> Plan:
    for step in (story.step("a"), story.step("b"), *last):
        plan.add_step(step)
    return plan


def test_cleanups_run_after_a_failure() -> None:
    story = Story()
    failed(two_and(story, Plan(), story.step("c", fails={"exec": ALWAYS})))
    assert story.of("cleanup") == ["b", "a"]


def test_cleanups_run_after_a_timeout() -> None:
    story = Story()
    failed(two_and(story, Plan(limit_duration=3), story.step("c", takes={"exec": 9})), PlanTimeout)
    assert story.of("cleanup") == ["b", "a"]


def test_cleanups_run_after_a_cancellation_of_the_plan() -> None:
    story, plan = Story(), Plan()

    async def scenario() -> None:
        running = asyncio.ensure_future(two_and(story, plan, story.step("c", takes={"exec": 9})).execute())
        await asyncio.sleep(5)
        plan.cancel()
        with pytest.raises(PlanCancelled, match="cancelled") as caught:
            await running
        assert not isinstance(caught.value, asyncio.CancelledError)
        assert not running.cancelled()

    FakeClock().run(scenario())
    assert story.of("cleanup") == ["b", "a"]
    assert story.cut == ["c.exec"]


def test_cleanups_run_after_an_error_in_another_cleanup() -> None:
    story = Story()
    plan = two_and(story, Plan(), story.step("c", fails={"cleanup": ALWAYS}), story.step("d"))
    outcome = executed(plan)
    assert story.of("cleanup") == ["d", "c", "b", "a"]
    assert outcome.state is RunState.SUCCEEDED
    assert outcome.reason == "cleanup of c failed: cleanup raised Boom: c.cleanup"
    assert [(name, str(error)) for name, error in outcome.cleanup_errors.items()] == [("c", "c.cleanup")]


def test_a_cleanup_that_hangs_is_cut_and_the_others_run() -> None:
    story, clock = Story(), FakeClock()
    plan = two_and(story, Plan(cleanup_timeout=4), story.step("c", takes={"cleanup": 1e4}), story.step("d"))
    outcome = executed(plan, clock)
    assert story.of("cleanup") == ["d", "c", "b", "a"]
    assert story.cut == ["c.cleanup"]
    assert clock.monotonic() == 4
    assert str(outcome.cleanup_errors["c"]) == "took longer than its limit of 4 s"


def test_the_limit_of_a_plan_does_not_cut_cleanups() -> None:
    story, clock = Story(), FakeClock()
    plan = Plan(limit_duration=2, cleanup_timeout=9)
    assert executed(plan.add_step(story.step("a", takes={"cleanup": 8})), clock).state is RunState.SUCCEEDED
    assert (story.cut, clock.monotonic()) == ([], 8)


def test_a_stop_during_cleanup_changes_nothing() -> None:
    story, plan = Story(), Plan()

    async def scenario() -> None:
        running = asyncio.ensure_future(two_and(story, plan, story.step("c", takes={"cleanup": 9})).execute())
        await asyncio.sleep(5)
        plan.cancel()
        assert (await running).state is RunState.SUCCEEDED

    FakeClock().run(scenario())
    assert story.of("cleanup") == ["c", "b", "a"]
    assert story.cut == []


def test_cleanup_errors_never_hide_the_first_error() -> None:
    story = Story()
    plan = two_and(story, Plan(), story.step("c", fails={"cleanup": ALWAYS}))
    plan.add_step(story.step("d", fails={"post_exec": ALWAYS}))
    with pytest.raises(PlanFailed) as caught:
        executed(plan)
    assert str(caught.value.__cause__) == "d.post_exec"
    assert list(caught.value.outcome.errors) == ["d"]
    assert list(caught.value.outcome.cleanup_errors) == ["c"]
    assert caught.value.outcome.reason == (
        "d failed: post_exec raised Boom: d.post_exec; cleanup of c failed: cleanup raised Boom: c.cleanup"
    )


def test_a_step_without_cleanup_has_nothing_to_clean_up() -> None:
    story = Story()
    executed(Plan().add_step(story.step("a", ALL[:3])).add_step(story.step("b")))
    assert story.calls == [*work("a", "b"), "b.cleanup"]


# -- time limits -----------------------------------------------------------------------------------------------


def test_a_pause_is_interrupted_by_the_limit_at_once() -> None:
    story, clock = Story(), FakeClock()
    plan = Plan(limit_duration=2.5).add_step(story.step("a")).add_pause(1000).add_step(story.step("b"))
    outcome = failed(plan, PlanTimeout, clock)
    assert clock.monotonic() == 2.5
    assert story.calls == [*work("a"), "a.cleanup"]
    assert (outcome.state, outcome.errors) == (RunState.CANCELLED, {})


def test_the_time_limit_of_a_step_holds_for_its_hooks_together() -> None:
    story, clock = Story(), FakeClock()
    step = story.step("a", takes=dict.fromkeys(ALL, 2), timeout=5.0)
    outcome = failed(Plan().add_step(step), PlanFailed, clock)
    assert clock.monotonic() == 5
    assert story.cut == ["a.post_exec"]
    assert str(outcome.errors["a"]) == "took longer than its limit of 5 s"
    assert isinstance(outcome.errors["a"], TimeoutError)


def test_each_attempt_has_the_time_limit_of_its_step() -> None:
    story, clock = Story(), FakeClock()
    failed(Plan().add_step(story.step("a", takes={"exec": 9}, timeout=5.0, retries=1)), PlanFailed, clock)
    assert clock.monotonic() == 10
    assert story.cut == ["a.exec", "a.exec"]


def test_a_timeout_that_a_hook_raises_itself_is_its_own() -> None:
    async def impatient(_state: State) -> None:
        async with asyncio.timeout(1):
            await asyncio.sleep(9)

    outcome = failed(Plan().add_step(Step("a", exec=impatient, timeout=5.0)))
    assert outcome.reason == "a failed: exec raised TimeoutError"


def test_a_timeout_of_hooks_that_are_no_functions_is_their_own_too() -> None:
    async def impatient() -> None:
        raise TimeoutError("mine")

    async def scenario() -> None:
        with pytest.raises(TimeoutError, match="mine"):
            await within(impatient(), limit_of(5.0))

    FakeClock().run(scenario())


class Exiting:
    """Hooks that leave the process, or try to."""

    async def call(self, *_: Any) -> None:
        raise SystemExit(4)

    def close_log(self, *_: Any) -> None:
        """Do nothing."""


def test_hooks_that_are_no_functions_can_not_exit_either() -> None:
    definition = Plan().add_step(Duck()).definition
    outcome = FakeClock().run(execute_unrecorded(definition, Exiting(), SystemClock(), Course("")))
    assert outcome.reason == "Duck failed: it left by SystemExit: 4"


@pytest.mark.parametrize("seconds", [0, -1, True, "1", float("inf"), float("nan")])
@pytest.mark.parametrize("name", ["limit_duration", "cleanup_timeout"])
def test_limits_are_positive_numbers(name: str, seconds: object) -> None:
    with pytest.raises(UsageError, match=name):
        Plan(**{name: seconds})  # type: ignore[arg-type]


# -- cancellation ----------------------------------------------------------------------------------------------


def test_a_cancelled_task_counts_as_cancelled_and_its_plan_too() -> None:
    story = Story()

    async def scenario() -> None:
        plan = two_and(story, Plan(), story.step("c", takes={"exec": 9}))
        running = asyncio.ensure_future(plan.execute())
        await asyncio.sleep(5)
        running.cancel()
        with pytest.raises(asyncio.CancelledError) as caught:
            await running
        assert running.cancelled()
        assert isinstance(caught.value, PlanCancelled)
        assert caught.value.outcome.state is RunState.CANCELLED

    FakeClock().run(scenario())
    assert story.of("cleanup") == ["b", "a"]


def test_a_plan_that_is_cancelled_before_it_begins_does_nothing() -> None:
    story = Story()

    async def scenario() -> None:
        running = asyncio.ensure_future(Plan().add_step(story.step("a")).execute())
        await asyncio.sleep(0)
        running.cancel()
        with pytest.raises(PlanCancelled) as caught:
            await running
        assert caught.value.outcome.state is RunState.CANCELLED

    FakeClock().run(scenario())
    assert story.calls == []


def test_cancelling_again_does_not_break_off_cleanups() -> None:
    story = Story()

    async def scenario() -> None:
        running = asyncio.ensure_future(
            Plan().add_step(story.step("a", takes={"cleanup": 5})).add_pause(99).execute()
        )
        for seconds in (2, 1, 1):
            await asyncio.sleep(seconds)
            running.cancel()
        with pytest.raises(PlanCancelled):
            await running

    FakeClock().run(scenario())
    assert story.cut == []
    assert story.of("cleanup") == ["a"]


def test_a_plan_in_a_task_group_and_under_a_timeout_ends_with_them() -> None:
    story = Story()

    async def scenario() -> None:
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(Plan().add_step(story.step("a")).add_pause(99).execute(), 5)
        with pytest.raises(ExceptionGroup):
            await in_a_failing_group(Plan().add_step(story.step("b")).add_pause(99))

    FakeClock().run(scenario())
    assert story.of("cleanup") == ["a", "b"]


async def in_a_failing_group(plan: Plan) -> None:
    async with asyncio.TaskGroup() as group:
        group.create_task(plan.execute())
        await asyncio.sleep(1)
        raise Boom


def test_a_hook_that_swallows_its_cancellation_has_ended_as_it_did() -> None:
    async def stubborn(_state: State) -> None:
        try:
            await asyncio.sleep(99)
        except asyncio.CancelledError:
            await asyncio.sleep(1)

    story, clock = Story(), FakeClock()
    cleanup = story.hook("a.cleanup")
    plan = (
        Plan(limit_duration=3).add_step(Step("a", exec=stubborn, cleanup=cleanup)).add_step(story.step("b"))
    )
    failed(plan, PlanTimeout, clock)
    assert story.calls == ["a.cleanup"], "it succeeded, so it is cleaned up, and nothing else starts"
    assert clock.monotonic() == 4


def test_a_hook_that_swallows_its_cancellation_is_followed_by_no_other() -> None:
    async def stubborn(_state: State) -> None:
        try:
            await asyncio.sleep(99)
        except asyncio.CancelledError:
            return

    story = Story()
    step = Step("a", pre_exec=stubborn, exec=story.hook("a.exec"), cleanup=story.hook("a.cleanup"))
    failed(Plan(limit_duration=3).add_step(step), PlanTimeout)
    assert story.calls == []


def test_a_hook_that_cancels_the_plan_comes_to_its_end() -> None:
    plan, story = Plan(), Story()

    async def cancels(_state: State) -> None:
        plan.cancel("I have seen enough")
        await story.hook("a.exec", takes=5)(plan.state)

    plan.add_step(Step("a", exec=cancels, cleanup=story.hook("a.cleanup"))).add_step(story.step("b"))
    outcome = failed(plan, PlanCancelled)
    assert story.calls == ["a.exec", "a.cleanup"]
    assert story.cut == []
    assert outcome.reason == "I have seen enough"


def test_a_hook_that_cancels_itself_has_failed() -> None:
    async def cancels(_state: State) -> None:
        raise asyncio.CancelledError

    outcome = failed(Plan().add_step(Step("a", exec=cancels)))
    assert outcome.state is RunState.FAILED
    assert outcome.reason == "a failed: it cancelled itself without being asked to"


def test_a_hook_that_exits_has_failed() -> None:
    async def exits(_state: State) -> None:
        raise SystemExit(3)

    story = Story()
    outcome = failed(Plan().add_step(story.step("a")).add_step(Step("b", exec=exits)))
    assert outcome.reason == "b failed: exec raised SystemExit: 3"
    assert story.of("cleanup") == ["a"]


def test_cancelling_a_plan_that_does_not_run_does_nothing() -> None:
    story = Story()
    plan = Plan().add_step(story.step("a"))
    plan.cancel()
    assert executed(plan).state is RunState.SUCCEEDED
    plan.cancel()


# -- functions, sync and async ---------------------------------------------------------------------------------


class Callable:
    def __init__(self, hook: Any) -> None:
        self.hook = hook

    async def __call__(self, state: State) -> None:
        await self.hook(state)


def test_functions_that_return_something_to_await_are_awaited() -> None:
    story = Story()
    hook = story.hook("x")
    plan = Plan().add_step(Step("a", exec=Callable(hook), pre_exec=partial(hook), post_exec=hook))
    outcome = asyncio.run(plan.execute())
    assert outcome.state is RunState.SUCCEEDED
    assert story.calls == ["x", "x", "x"]


def test_a_plan_may_be_executed_again_with_the_state_as_it_is() -> None:
    async def add(state: State) -> None:
        state["n"] += 1

    plan = Plan(state={"n": 0}).add_step(Step("a", exec=add))
    executed(plan)
    executed(plan)
    assert plan.state == {"n": 2}


def test_plans_without_steps_succeed() -> None:
    assert executed(Plan()).state is RunState.SUCCEEDED


# -- steps -----------------------------------------------------------------------------------------------------


def names(plan: Plan) -> list[str]:
    return [element.name for element in plan.definition.elements]


def test_names_are_made_unique() -> None:
    class Twin:
        def exec(self, _state: State) -> None: ...

    plan = (
        Plan()
        .add_step(Twin())
        .add_step(Twin())
        .add_pause(1)
        .add_pause(1)
        .add_step(Step("Twin-2", exec=print))
    )
    plan.add_step(Step("pause-2", exec=print)).add_step(Twin())
    assert names(plan) == ["Twin", "Twin-2", "pause-1", "pause-2", "Twin-2-2", "pause-2-2", "Twin-3"]


def test_hooks_of_steps_of_one_name_are_kept_apart() -> None:
    story = Story()
    executed(Plan().add_step(Step("a", exec=story.hook("1"))).add_step(Step("a", exec=story.hook("2"))))
    assert story.calls == ["1", "2"]


class Duck:
    """A step of any class."""

    def __init__(self, **fields: object) -> None:
        self.__dict__.update(fields)

    def exec(self, _state: State) -> None: ...


@pytest.mark.parametrize("retries", [3, lambda: 3])
def test_any_object_is_a_step_and_retries_may_be_a_method(retries: object) -> None:
    (element,) = (
        Plan().add_step(Duck(retries=retries, timeout=2, retry_delay=lambda: 1.5)).definition.elements
    )
    assert (element.name, element.retries, element.timeout, element.retry_delay) == ("Duck", 3, 2.0, 1.5)  # type: ignore[union-attr]


@pytest.mark.parametrize(
    ("step", "message"),
    [
        (object(), "has nothing to do"),
        (Step("a"), "step 'a' has nothing to do; give it exec, pre_exec, post_exec or cleanup"),
        (Duck(cleanup=3), "cleanup of step 'Duck' is 3, which can't be called"),
        (Duck(name=""), "can't be the name of a step"),
        (Duck(name=" "), "can't be the name of a step"),
        (Duck(name=3), "can't be the name of a step"),
        (Duck(name="a\n"), "can't be the name of a step"),
        (Duck(name="x" * 201), "use up to 200 printable characters"),
        (Duck(name="a.b"), "'.' has a meaning in names of tasks"),
        (Duck(name="a/b"), "'/' has a meaning"),
        (Duck(retries=-1), "retries of step 'Duck' is -1; it must be a number from 0"),
        (Duck(retries=True), "it must be a number from 0"),
        (Duck(retries=1.5), "it must be a number from 0"),
        (Duck(retries="2"), "it must be a number from 0"),
        (Duck(timeout=float("inf")), "timeout of step"),
        (Duck(retry_delay=float("nan")), "retry_delay of step"),
    ],
)
def test_wrong_steps_are_refused(step: object, message: str) -> None:
    with pytest.raises(UsageError) as caught:
        Plan().add_step(step)
    assert message in str(caught.value)


@pytest.mark.parametrize("seconds", [-1, True, "1", None, float("inf"), float("nan")])
def test_wrong_pauses_are_refused(seconds: object) -> None:
    with pytest.raises(UsageError, match="a pause takes a number of seconds"):
        Plan().add_pause(seconds)  # type: ignore[arg-type]


def test_a_plan_without_a_store_can_not_be_resumed() -> None:
    with pytest.raises(UsageError, match="give it one"):
        asyncio.run(Plan().add_step(Duck()).resume())


# -- what a cancelled hook may still do ------------------------------------------------------------------------


def test_a_cancelled_hook_may_tidy_up_before_the_plan_goes_on_to_its_cleanups() -> None:
    story, clock = Story(), FakeClock()
    plan = Plan(limit_duration=3, cleanup_timeout=5).add_step(
        Step("a", exec=story.hook("a.exec"), cleanup=tidy(story, "a.cleanup", 99))
    )
    plan.add_step(Step("b", exec=tidy(story, "b.exec", 99), cleanup=story.hook("b.cleanup")))
    outcome = failed(plan, PlanTimeout, clock)
    assert story.calls == ["a.exec", "b.exec", "a.cleanup"]
    assert story.cut == ["b.exec", "a.cleanup"]
    assert clock.monotonic() == 3 + 1 + 5 + 1
    assert list(outcome.cleanup_errors) == ["a"]


class SlowlyWaking(SystemClock):
    """A clock whose sleepers need a second to wake."""

    async def sleep(self, seconds: float) -> None:
        try:
            await asyncio.sleep(seconds)
        finally:
            await asyncio.sleep(1)


@pytest.mark.parametrize("retries", [0, 1])
def test_a_wait_that_is_broken_off_is_waited_for(retries: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("runwright.wiring.plans.SystemClock", SlowlyWaking)
    story, clock = Story(), FakeClock()
    fails = {"exec": ALWAYS} if retries else {}
    step = story.step("a", ["exec"], fails=fails, retries=retries, retry_delay=99.0)
    outcome = failed(Plan(limit_duration=3).add_step(step).add_pause(99), PlanTimeout, clock)
    assert clock.monotonic() == 4
    assert list(outcome.errors) == ["a"] * retries


def test_a_hook_that_cancels_its_own_task_stops_the_plan() -> None:
    story = Story()

    async def cancels(_state: State) -> None:
        task = asyncio.current_task()
        assert task is not None
        task.cancel()
        await asyncio.sleep(1)

    outcome = failed(Plan().add_step(story.step("a")).add_step(Step("b", exec=cancels)), PlanCancelled)
    assert outcome.reason == "its task was cancelled"
    assert story.of("cleanup") == ["a"]


# -- courses ---------------------------------------------------------------------------------------------------


def test_a_course_that_is_stopped_before_it_has_a_driver_stops_it_at_once() -> None:
    class Driver:
        stopped: list[str] = []  # noqa: RUF012 - one is made

        def stop(self, reason: str) -> None:
            self.stopped.append(reason)

    course, driver = Course(""), Driver()
    course.stop("early")
    course.steer(driver)
    course.stop("again")
    assert driver.stopped == ["early", "again"]


def test_a_run_that_is_torn_down_with_its_loop_is_waited_for() -> None:
    async def scenario() -> None:
        async def drive(_course: Course) -> None:
            task = asyncio.current_task()
            assert task is not None
            asyncio.get_running_loop().call_soon(task.cancel)
            await asyncio.sleep(9)

        running = asyncio.ensure_future(Courses(lambda: None).to_the_end(drive))
        await asyncio.sleep(0)
        running.cancel()
        with pytest.raises(asyncio.CancelledError):
            await running

    FakeClock().run(scenario())
