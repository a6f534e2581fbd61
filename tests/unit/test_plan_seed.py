"""Every behaviour that the package documents from which our plans come (``3-plan-of-steps``), one test for each.

Its names are Go's: ``PreExec`` is `pre_exec`, ``WithRetries`` is `with_retries`, and so on.
"""

from concurrent.futures import ThreadPoolExecutor

import pytest
from plan_bench import ALWAYS, Boom, Story, executed, work

from runwright import Plan, PlanCancelled, PlanFailed, PlanTimeout, RunState, State, Step
from runwright.testing import FakeClock


def test_a_cancelled_plan_reports_that_it_was_cancelled() -> None:
    story, plan = Story(), Plan()
    plan.add_step(Step("a", exec=cancelling(plan))).add_step(story.step("b"))
    with pytest.raises(PlanCancelled, match="enough"):
        executed(plan)
    assert story.calls == []


def cancelling(plan: Plan) -> object:
    async def cancel(_state: State) -> None:
        plan.cancel("enough")

    return cancel


def test_a_plan_that_takes_too_long_reports_a_timeout() -> None:
    story, clock = Story(), FakeClock()
    plan = Plan(limit_duration=5).add_step(story.step("a", takes={"exec": 60}))
    with pytest.raises(PlanTimeout, match="5 s"):
        executed(plan, clock)
    assert clock.monotonic() == 5
    assert story.cut == ["a.exec"]


def test_a_plan_within_its_limit_is_not_timed_out() -> None:
    plan = Plan(limit_duration=5).add_step(Story().step("a", takes={"exec": 4.9}))
    assert executed(plan).state is RunState.SUCCEEDED


@pytest.mark.parametrize("hook", ["pre_exec", "exec", "post_exec", "cleanup"])
def test_generic_step_lets_users_provide_any_of_the_four_functions(hook: str) -> None:
    story = Story()
    executed(Plan().add_step(story.step("a", [hook])))
    assert story.calls == [f"a.{hook}"]


def test_with_retries_gives_a_step_with_so_many_retries() -> None:
    step = Story().step("a")
    assert (step.retries, step.with_retries(3).retries) == (0, 3)
    assert step.with_retries(3).exec is step.exec


def test_retries_tells_how_often_a_step_is_tried_again() -> None:
    story = Story()
    step = story.step("a", ["exec"], fails={"exec": {1, 2}})
    executed(Plan().add_step(step.with_retries(2)))
    assert story.calls == ["a.exec"] * 3


def test_steps_run_in_the_order_in_which_they_were_added() -> None:
    story, plan = Story(), Plan()
    for name in "cab":
        plan.add_step(story.step(name, ["exec"]))
    executed(plan)
    assert story.calls == ["c.exec", "a.exec", "b.exec"]


def test_add_pause_waits_after_the_latest_step_added() -> None:
    clock, at = FakeClock(), []

    async def note(_state: State) -> None:
        at.append(clock.monotonic())

    executed(Plan().add_step(Step("a", exec=note)).add_pause(7).add_step(Step("b", exec=note)), clock)
    assert at == [0, 7]


def test_pauses_are_ignored_during_the_cleanup_phase() -> None:
    story, clock = Story(), FakeClock()
    executed(Plan().add_step(story.step("a")).add_pause(7).add_step(story.step("b")), clock)
    assert story.of("cleanup") == ["b", "a"]
    assert clock.monotonic() == 7, "each pause has passed once"


def test_by_default_a_plan_stops_at_the_first_error() -> None:
    story = Story()
    plan = Plan().add_step(story.step("a", fails={"exec": ALWAYS})).add_step(story.step("b"))
    with pytest.raises(PlanFailed) as caught:
        executed(plan)
    assert isinstance(caught.value.__cause__, Boom)
    assert story.calls == ["a.pre_exec", "a.exec"]


def test_continue_on_error_goes_on_when_one_or_several_steps_fail() -> None:
    story, plan = Story(), Plan(continue_on_error=True)
    for name, fails in (("a", ALWAYS), ("b", ()), ("c", ALWAYS), ("d", ())):
        plan.add_step(story.step(name, ["exec"], fails={"exec": fails}))
    outcome = executed(plan)
    assert story.of("exec") == ["a", "b", "c", "d"]
    assert outcome.state is RunState.FAILED
    assert [str(error) for error in outcome.errors.values()] == ["a.exec", "c.exec"]


def test_the_state_is_a_mapping_by_which_steps_share_values() -> None:
    async def put(state: State) -> None:
        state["key"] = object_of_any_kind

    async def take(state: State) -> None:
        taken.append(state["key"])

    object_of_any_kind, taken = object(), []
    plan = Plan().add_step(Step("a", exec=put)).add_step(Step("b", pre_exec=take, exec=take, cleanup=take))
    executed(plan)
    assert taken == [object_of_any_kind] * 3
    assert plan.state["key"] is object_of_any_kind


def test_the_state_may_be_used_concurrently() -> None:
    state, size = State(), 500

    def fill(thread: int) -> object:
        for number in range(size):
            state[f"{thread}.{number}"] = number
            assert len(list(state.items())) > number // 2
            if number % 2:
                del state[f"{thread}.{number}"]
        return state.setdefault("first", object())

    with ThreadPoolExecutor(4) as pool:
        firsts = set(pool.map(fill, range(4)))
    assert len(firsts) == 1, "every caller got the same value"
    assert len(state) == 4 * size // 2 + 1


def test_pre_exec_comes_before_exec_and_post_exec_after() -> None:
    story = Story()
    executed(Plan().add_step(story.step("a")))
    assert story.calls == [*work("a"), "a.cleanup"]


def test_exec_is_not_performed_if_pre_exec_fails() -> None:
    assert calls_when_failing("pre_exec") == ["a.pre_exec"]


def test_post_exec_is_not_performed_if_exec_fails() -> None:
    assert calls_when_failing("exec") == ["a.pre_exec", "a.exec"]


def test_a_step_succeeds_only_if_each_of_its_three_hooks_does() -> None:
    assert calls_when_failing("post_exec") == work("a"), "and a failed step is not cleaned up"


def calls_when_failing(hook: str) -> list[str]:
    story = Story()
    with pytest.raises(PlanFailed):
        executed(Plan().add_step(story.step("a", fails={hook: ALWAYS})))
    return story.calls


def test_cleanup_runs_the_plan_backwards() -> None:
    story, plan = Story(), Plan()
    for name in "abc":
        plan.add_step(story.step(name))
    executed(plan)
    assert story.calls == [*work("a", "b", "c"), "c.cleanup", "b.cleanup", "a.cleanup"]


def test_a_step_is_cleaned_up_only_if_all_its_exec_functions_succeeded() -> None:
    story, plan = Story(), Plan(continue_on_error=True)
    for name, hook in (("a", "none"), ("b", "pre_exec"), ("c", "exec"), ("d", "post_exec"), ("e", "none")):
        plan.add_step(story.step(name, fails={hook: ALWAYS}))
    executed(plan)
    assert story.of("cleanup") == ["e", "a"]


def test_all_exec_functions_are_retried_at_each_attempt() -> None:
    story = Story()
    executed(Plan().add_step(story.step("a", fails={"post_exec": {1, 2}}, retries=2)))
    assert story.calls == [*work("a") * 3, "a.cleanup"]


def test_the_cleanup_hook_is_not_retried() -> None:
    story = Story()
    outcome = executed(Plan().add_step(story.step("a", fails={"cleanup": {1}}, retries=5)))
    assert story.of("cleanup") == ["a"]
    assert list(outcome.cleanup_errors) == ["a"]


def test_an_implementor_may_keep_track_of_former_attempts() -> None:
    class Once:
        retries = 2
        executed = posts = 0

        async def exec(self, _state: State) -> None:
            self.executed += not self.executed

        async def post_exec(self, _state: State) -> None:
            self.posts += 1
            if self.posts < 3:
                raise Boom

    step = Once()
    executed(Plan().add_step(step))
    assert (step.executed, step.posts) == (1, 3)
