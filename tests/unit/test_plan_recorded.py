"""Plans as runs: what is recorded, what is told, and what a resume does after each kind of end."""

import asyncio
from typing import Any

import pytest
from engine_bench import CANCELLED, FAILED, OTHER, SUCCEEDED, turns
from msgspec import structs
from plan_bench import ALWAYS, Boom, PlanBench, Story, tidy

from runwright import Plan, PlanFailed, RunState, State, Step, UsageError
from runwright.core.errors import DefinitionError, Failure, LeaseLost, RunIsActive, StoreError, TaskFailed
from runwright.core.events import (
    ProgressEvent,
    ProgressKind,
    RunEnded,
    RunResumed,
    StateSaved,
    TaskEnded,
    TaskStarted,
)
from runwright.core.options import RunOptions
from runwright.core.plan import Hook
from runwright.core.run import Lease
from runwright.engines.plan_functions import FunctionHooks
from runwright.engines.session import RunSession
from runwright.engines.takeup import require_resumable
from runwright.testing import FakeClock, MemoryStore

INTERRUPTED = "E_INTERRUPTED"


def rows(seen: Any) -> dict[str, Any]:
    return {name: row.state for name, row in seen.rows.items()}


# -- what is recorded ------------------------------------------------------------------------------------------


def test_a_plan_is_a_run_with_rows_for_elements_and_cleanups() -> None:
    story = Story()
    bench = PlanBench(story.step("a", retries=1, fails={"exec": {1}}), 2, story.step("b", ["exec"]))
    outcome, seen = bench.perform(tags=("t",))
    assert (outcome.state, outcome.run_id) == (RunState.SUCCEEDED, seen.id)
    assert (seen.run.name, seen.run.kind, seen.state, seen.run.tags) == (
        "p",
        "plan",
        RunState.SUCCEEDED,
        ("t",),
    )
    assert rows(seen) == {"a": SUCCEEDED, "pause-1": SUCCEEDED, "b": SUCCEEDED, "a.cleanup": SUCCEEDED}
    assert seen.numbers("a") == [(1, FAILED), (2, SUCCEEDED)]
    assert b"Boom: a.exec" in bench.logs.text(seen.id, "a", 1)
    assert bench.logs.text(seen.id, "a", 2) == b""
    assert bench.workspaces.discarded == [seen.id]
    assert seen.run.owner is None


def test_a_hook_starts_only_once_its_beginning_is_durable() -> None:
    story = Story()
    bench = PlanBench(story.step("a"), story.step("b"))
    bench.store.holding = True

    async def scenario() -> None:
        running = asyncio.ensure_future(bench.performed())
        for calls in (0, 3, 6, 7, 8):
            await turns()
            assert len(story.calls) == calls
            assert bench.store.held
            assert not running.done()
            bench.store.let_go()
        await running

    bench.run(scenario())


def test_what_fails_is_recorded_with_its_traceback() -> None:
    story = Story()
    bench = PlanBench(story.step("a"), story.step("b", fails={"exec": ALWAYS}), story.step("c"))
    outcome, seen = bench.perform()
    assert (outcome.state, seen.state, seen.reason) == (
        RunState.FAILED,
        RunState.FAILED,
        "b failed: exec raised Boom: b.exec",
    )
    assert isinstance(outcome.errors["b"], Boom)
    assert rows(seen) == {"a": SUCCEEDED, "b": FAILED, "c": CANCELLED, "a.cleanup": SUCCEEDED}
    assert seen.failure("b").code == "E_EXCEPTION"
    assert seen.failure("b").stderr_tail.endswith("Boom: b.exec\n")
    assert seen.rows["c"].reason == "b failed"


def test_an_error_of_runwright_keeps_its_code() -> None:
    async def fails(_state: State) -> None:
        raise TaskFailed(Failure(code="E_MINE", message="mine"))

    outcome, seen = PlanBench(Step("a", exec=fails)).perform()
    assert seen.failure("a") == Failure(code="E_MINE", message="mine")
    assert isinstance(outcome.errors["a"], TaskFailed)


def test_what_is_told_while_it_runs() -> None:
    story = Story()
    bench = PlanBench(story.step("a", ["exec", "cleanup"], retries=1, fails={"exec": {1}, "cleanup": {1}}), 1)
    _, seen = bench.perform()
    told = [(event.kind, event.task_id) for event in bench.events]
    assert told == [
        (ProgressKind.RUN_STARTED, ""),
        (ProgressKind.TASK_STARTED, "a"),
        (ProgressKind.TASK_RETRYING, "a"),
        (ProgressKind.TASK_STARTED, "a"),
        (ProgressKind.TASK_DONE, "a"),
        (ProgressKind.TASK_STARTED, "pause-1"),
        (ProgressKind.TASK_DONE, "pause-1"),
        (ProgressKind.TASK_STARTED, "a.cleanup"),
        (ProgressKind.TASK_FAILED, "a.cleanup"),
        (ProgressKind.RUN_DONE, ""),
    ]
    assert bench.events[-1].error == seen.reason == "cleanup of a failed: cleanup raised Boom: a.cleanup"


def test_output_is_told_if_it_is_asked_for() -> None:
    story = Story()
    bench = PlanBench(story.step("a", fails={"exec": {1}, "cleanup": {1}}, retries=1))
    bench.perform(print_output=True)
    found = [(e.task_id, e.attempt) for e in bench.events if e.kind is ProgressKind.TASK_OUTPUT]
    assert found == [("a", 1), ("a.cleanup", 1)]


def test_an_error_of_the_listener_comes_out_at_the_end() -> None:
    story = Story()
    bench = PlanBench(story.step("a"))

    def listen(_event: ProgressEvent) -> None:
        raise ValueError("deaf")

    with pytest.raises(ValueError, match="deaf"):
        bench.perform(progress=listen)
    assert bench.run(bench.store.find_run("latest")).state is RunState.SUCCEEDED
    assert story.of("cleanup") == ["a"]


def test_the_options_give_time_limit_and_state() -> None:
    story = Story()
    bench = PlanBench(story.step("a", takes={"exec": 9}), state={"x": "plan", "y": 1})
    outcome, seen = bench.perform(timeout=2.0, variables={"x": "option"})
    assert (outcome.state, bench.clock.monotonic()) == (RunState.CANCELLED, 2)
    assert bench.state == {"x": "option", "y": 1}
    assert seen.variables == {"x": '"option"', "y": "1"}


def test_what_hooks_change_in_the_state_is_stored_at_once() -> None:
    async def change(state: State) -> None:
        state["n"] = state.get("n", 0) + 1
        state["kept"] = [1]
        state["lost"] = object()
        state.pop("old", None)

    bench = PlanBench(Step("a", exec=change, cleanup=change), state={"old": 1})
    _, seen = bench.perform()
    assert seen.variables == {"n": "2", "kept": "[1]"}
    saved = [event for event in seen.events if isinstance(event, StateSaved)]
    assert [(event.task_id, event.removed, event.lost) for event in saved] == [
        ("state", (), {}),
        ("a", ("old",), {"lost": "a object is not plain data"}),
        ("a", (), {}),
    ]


def test_a_secret_in_the_options_is_refused_before_anything_is_stored() -> None:
    bench = PlanBench(Story().step("a"), environ={"TOKEN": "hunter2hunter2"}, secrets=("TOKEN",))
    with pytest.raises(DefinitionError):
        bench.perform(variables={"x": "hunter2hunter2"})
    bench.run(bench.performed(variables={"x": "harmless"}))


def test_secrets_are_masked_in_errors() -> None:
    async def tells(_state: State) -> None:
        raise Boom("hunter2hunter2")

    bench = PlanBench(Step("a", exec=tells), environ={"TOKEN": "hunter2hunter2"}, secrets=("TOKEN",))
    _, seen = bench.perform()
    assert "hunter2" not in repr(seen.events)
    assert b"hunter2" not in bench.logs.text(seen.id, "a")
    assert "Boom: " in seen.failure("a").message


# -- stops and faults ------------------------------------------------------------------------------------------


def test_an_engine_that_is_stopped_stops_its_plan_and_a_second_stop_skips_the_grace() -> None:
    story = Story()
    bench = PlanBench(story.step("a"), story.step("b", takes={"exec": 99}))

    async def scenario() -> None:
        engine = bench.plan_engine()
        running = asyncio.ensure_future(bench.performed(engine))
        await asyncio.sleep(5)
        engine.stop("lunch")
        assert not bench.processes.grace_skipped
        engine.stop("now")
        assert bench.processes.grace_skipped
        outcome, seen = await running
        assert (outcome.state, seen.reason) == (RunState.CANCELLED, "lunch")
        assert rows(seen) == {"a": SUCCEEDED, "b": CANCELLED, "a.cleanup": SUCCEEDED}
        stopped = await bench.performed(engine)
        assert set(rows(stopped[1]).values()) == {CANCELLED}

    bench.run(scenario())


def test_a_request_in_the_store_stops_a_plan() -> None:
    story = Story()
    bench = PlanBench(story.step("a"), story.step("b", takes={"exec": 99}))

    async def scenario() -> None:
        running = asyncio.ensure_future(bench.performed())
        await asyncio.sleep(20)
        assert bench.store.renewed
        run = await bench.store.find_run("latest")
        await bench.store.request_cancel(run.id, bench.clock.now(), "by hand")
        _, seen = await running
        assert (seen.state, seen.reason) == (RunState.CANCELLED, "by hand")

    bench.run(scenario())
    assert story.of("cleanup") == ["a"]


def test_a_stop_between_two_hooks_is_heard() -> None:
    story = Story()
    bench = PlanBench(story.step("a"))

    async def changes(state: State) -> None:
        state["x"] = 1

    bench.functions_of["a", Hook.PRE_EXEC] = changes

    async def scenario() -> None:
        engine = bench.plan_engine()
        running = asyncio.ensure_future(bench.performed(engine))
        bench.store.holding = True
        await turns()
        bench.store.let_go()
        await turns()
        engine.stop("while the state is stored")
        bench.store.holding = False
        bench.store.let_go()
        _, seen = await running
        assert rows(seen) == {"a": CANCELLED}

    bench.run(scenario())
    assert story.calls == []


@pytest.mark.parametrize("held", ["a.exec", "a.cleanup", "b.exec"])
def test_a_store_that_refuses_ends_the_plan_at_once(held: str) -> None:
    story = Story()
    takes = {held.partition(".")[2]: 9.0}
    bench = PlanBench(*(story.step(name, takes=takes if held[0] == name else None) for name in "ab"))

    async def scenario() -> None:
        running = asyncio.ensure_future(bench.performed())
        await asyncio.sleep(5)
        assert story.calls[-1] == held
        run = await bench.store.find_run("latest")
        await bench.store.release_lease(Lease(run_id=run.id, token=1, expires_at=bench.clock.now()))
        with pytest.raises(LeaseLost):
            await running

    bench.run(scenario())
    assert story.cut == [held], "nothing runs on that can't be recorded"


def test_a_store_that_fails_to_take_an_end() -> None:
    story = Story()
    bench = PlanBench(story.step("a", ["exec"]))

    async def scenario() -> None:
        running = asyncio.ensure_future(bench.performed())
        await turns(3)
        bench.store.holding = True
        await turns()
        bench.store.refuse(StoreError("the disk is full"))
        with pytest.raises(StoreError, match="disk"):
            await running

    bench.run(scenario())
    assert story.calls == ["a.exec"]


class NoRoom(FunctionHooks):
    """Hooks whose logs can't be kept."""

    def __init__(self, *args: Any, hook: Hook) -> None:
        super().__init__(*args)
        self.hook = hook

    def close_log(self, step: Any, hook: Hook) -> None:
        if hook is self.hook:
            raise StoreError("no room for the log")


@pytest.mark.parametrize(
    ("hook", "fails", "state", "error"),
    [
        (Hook.POST_EXEC, (), RunState.FAILED, "a failed: no room for the log"),
        (Hook.EXEC, ALWAYS, RunState.FAILED, "a failed: exec raised Boom: a.exec"),
        (Hook.CLEANUP, (), RunState.SUCCEEDED, "cleanup of a failed: no room for the log"),
    ],
)
def test_output_that_can_not_be_kept(hook: Hook, fails: Any, state: RunState, error: str) -> None:
    story = Story()
    bench = PlanBench(story.step("a", fails={"exec": fails}))

    def hooks(session: RunSession, shared: State) -> FunctionHooks:
        inner = PlanBench.hooks(bench, session, shared)
        return NoRoom(bench.functions_of, shared, inner._threads, session, hook=hook)

    bench.hooks = hooks  # type: ignore[method-assign]
    outcome, seen = bench.perform()
    assert (outcome.state, seen.reason) == (state, error)


# -- resume ----------------------------------------------------------------------------------------------------


def three(story: Story, **of_c: Any) -> PlanBench:
    return PlanBench(story.step("a"), story.step("b"), story.step("c", **of_c))


def test_after_a_death_a_resume_cleans_up_what_stands_and_what_is_in_doubt() -> None:
    story = Story()
    bench = three(story)
    bench.die_at("c.exec")
    assert bench.run(bench.store.find_run("latest")).state is RunState.INTERRUPTED
    story.calls.clear()
    found = bench.decide(go_on=False)
    assert found.decided.undo == (0, 1, 2)
    outcome, seen = bench.take_up()
    assert story.calls == ["c.cleanup", "b.cleanup", "a.cleanup"]
    assert (outcome.state, outcome.run_id, seen.run.resume_count) == (RunState.CANCELLED, seen.id, 1)
    assert seen.reason == "its engine died; what it had done is cleaned up"
    assert seen.states("a", "b", "c") == {"a": SUCCEEDED, "b": SUCCEEDED, "c": CANCELLED}
    assert seen.failure("c").code == INTERRUPTED
    assert seen.numbers("c") == [(1, CANCELLED)]


def test_after_a_death_a_resume_may_go_on() -> None:
    story = Story()
    bench = three(story)
    bench.die_at("b.post_exec")
    story.calls.clear()
    outcome, seen = bench.take_up(go_on=True)
    assert outcome.state is RunState.SUCCEEDED
    assert story.calls[0] == "b.cleanup", "what is in doubt is undone first"
    assert story.of("exec") == ["b", "c"], "what stands is not done again"
    assert story.of("cleanup") == ["b", "c", "b", "a"]
    assert seen.numbers("b") == [(1, CANCELLED), (2, SUCCEEDED)]


def test_after_a_death_before_the_start_of_others_they_are_cancelled() -> None:
    story = Story()
    bench = three(story)
    bench.die_at("a.exec")
    _, seen = bench.take_up()
    assert set(seen.states("a", "b", "c").values()) == {CANCELLED}
    assert seen.rows["b"].reason == "the plan was cleaned up instead of continued"
    assert bench.refusal() == (
        f"the plan of run {seen.id} has left nothing to clean up; run its steps again with --continue"
    )


def test_after_a_death_between_two_attempts_the_outcome_of_the_first_stays() -> None:
    story = Story()
    bench = PlanBench(story.step("a", fails={"exec": {1}}, retries=1, retry_delay=5.0))
    bench.die_before(TaskStarted, number=2)
    outcome, seen = bench.take_up()
    assert (outcome.state, rows(seen)) == (RunState.CANCELLED, {"a": CANCELLED})
    assert seen.numbers("a") == [(1, FAILED)]


def test_a_death_in_a_cleanup_leaves_that_one_and_those_before_it() -> None:
    story = Story()
    bench = three(story)
    bench.die_at("b.cleanup")
    story.calls.clear()
    outcome, seen = bench.take_up()
    assert story.calls == ["b.cleanup", "a.cleanup"]
    assert (outcome.state, seen.state) == (RunState.SUCCEEDED, RunState.SUCCEEDED), (
        "all its steps had succeeded"
    )
    assert seen.numbers("b.cleanup") == [(1, CANCELLED), (2, SUCCEEDED)]
    assert "has succeeded" in bench.refusal()


def test_a_run_that_has_nothing_left_but_its_end_gets_its_end() -> None:
    story = Story()
    bench = PlanBench(story.step("a", ["exec"]), story.step("b", ["exec"]))
    bench.die_before(RunEnded)
    story.calls.clear()
    outcome, seen = bench.take_up()
    assert story.calls == []
    assert (outcome.state, rows(seen)) == (RunState.SUCCEEDED, {"a": SUCCEEDED, "b": SUCCEEDED})


def test_a_failed_step_makes_a_dead_run_a_failed_one() -> None:
    story = Story()
    bench = PlanBench(story.step("a"), story.step("b", fails={"exec": {1}}))
    bench.die_at("a.cleanup")
    outcome, seen = bench.take_up()
    assert (outcome.state, seen.reason) == (RunState.FAILED, "a step failed")


def test_after_a_failure_nothing_is_left_unless_it_goes_on() -> None:
    story = Story()
    bench = three(story, fails={"exec": {1}})
    bench.perform()
    assert "has left nothing to clean up" in bench.refusal()
    story.calls.clear()
    outcome, seen = bench.take_up(go_on=True)
    assert outcome.state is RunState.SUCCEEDED
    assert story.of("exec") == ["a", "b", "c"], "all of it had been cleaned up"
    assert story.of("cleanup") == ["c", "b", "a"]
    assert seen.numbers("c") == [(1, FAILED), (2, SUCCEEDED)]
    assert "has succeeded" in bench.refusal(go_on=True)


def test_after_a_failure_what_leaves_nothing_to_clean_up_is_not_done_again() -> None:
    story = Story()
    bench = PlanBench(story.step("a", ["exec"]), 3, story.step("b", fails={"exec": {1}}))
    bench.perform()
    bench.take_up(go_on=True)
    assert story.of("exec") == ["a", "b", "b"]
    assert bench.clock.monotonic() == 3, "nor is the pause behind it"


@pytest.mark.parametrize("go_on", [False, True])
def test_a_cleanup_that_failed_is_tried_again_first(go_on: bool) -> None:
    story = Story()
    bench = PlanBench(story.step("a", fails={"cleanup": {1}}), story.step("b", fails={"exec": {1}}))
    bench.perform()
    story.calls.clear()
    outcome, seen = bench.take_up(go_on=go_on)
    assert story.calls[0] == "a.cleanup"
    assert len(story.of("cleanup")) == (3 if go_on else 1)
    assert outcome.state is (RunState.SUCCEEDED if go_on else RunState.FAILED)
    assert seen.numbers("a.cleanup")[:2] == [(1, FAILED), (2, SUCCEEDED)]


def test_after_a_cancellation_a_resume_may_go_on_and_keeps_the_state_of_a_run_that_it_only_cleans() -> None:
    story = Story()
    bench = three(story, takes={"exec": 9.0})
    bench.functions_of["a", Hook.CLEANUP] = story.hook("a.cleanup", fails={1})
    bench.perform(timeout=2.0)
    outcome, seen = bench.take_up()
    assert outcome.state is RunState.CANCELLED
    assert rows(seen)["c"] is CANCELLED
    outcome, _ = bench.take_up(go_on=True, timeout=100.0)
    assert outcome.state is RunState.SUCCEEDED


def test_a_stop_while_a_resume_undoes_lets_it_undo_and_starts_nothing() -> None:
    story = Story()
    bench = three(story)
    bench.die_at("b.exec")
    bench.functions_of["b", Hook.CLEANUP] = story.hook("b.cleanup", takes=9.0)
    story.calls.clear()

    async def scenario() -> None:
        engine = bench.plan_engine()
        resuming = engine.resume("latest", None, bench.hooks, State(), RunOptions(), go_on=True)
        running = asyncio.ensure_future(resuming)
        await asyncio.sleep(5)
        engine.stop("lunch")
        assert (await running).reason == "lunch"

    bench.run(scenario())
    assert story.calls == ["b.cleanup", "a.cleanup"]
    assert story.cut == []


def test_the_state_of_a_resume_is_what_was_stored() -> None:
    async def put(state: State) -> None:
        state["kept"], state["lost"] = {"n": 1}, object()

    story = Story()
    bench = PlanBench(Step("a", exec=put, cleanup=story.hook("a.cleanup")), story.step("b"))
    bench.die_at("b.exec")
    assert bench.decide(go_on=False).log.lost == {"lost": "a object is not plain data"}
    bench.state = State({"of the caller": 1})
    _, seen = bench.take_up(variables={"given": "now"})
    assert bench.state == {"kept": {"n": 1}, "given": "now"}
    assert seen.variables == {"kept": '{"n":1}', "given": '"now"'}


def test_steps_that_changed_run_as_they_are_now_and_those_that_stand_are_kept() -> None:
    story = Story()
    bench = three(story)
    bench.die_at("b.exec")
    story.calls.clear()
    bench.change(story.step("a"), story.step("b", ["exec"]), story.step("d"))
    outcome, seen = bench.take_up(go_on=True)
    assert outcome.state is RunState.SUCCEEDED
    assert story.of("exec") == ["b", "d"]
    assert set(seen.states("a", "b", "d").values()) == {SUCCEEDED}
    assert "c" not in seen.rows
    (event,) = (event for event in seen.events if isinstance(event, RunResumed))
    assert (event.added, event.removed) == (("d",), ("c",))


def test_a_step_that_stands_and_has_vanished() -> None:
    story = Story()
    bench = three(story)
    bench.die_at("b.exec")
    kept = bench.functions_of
    bench.change(story.step("z"))
    assert "no longer what this run would have to clean up: a, b" in bench.refusal(go_on=True)
    bench.functions_of = kept
    story.calls.clear()
    bench.take_up()
    assert story.calls == ["b.cleanup", "a.cleanup"], "cleaning up goes by what is recorded"


def test_pinned_keeps_the_plan_as_it_was() -> None:
    story = Story()
    bench = three(story)
    bench.die_at("b.exec")
    kept = bench.functions_of
    bench.change(story.step("z"))
    bench.functions_of = kept
    outcome, seen = bench.take_up(go_on=True, pinned=True)
    assert outcome.state is RunState.SUCCEEDED
    assert set(seen.states("a", "b", "c").values()) == {SUCCEEDED}


def test_a_run_that_another_engine_drives_is_left_alone() -> None:
    story = Story()
    bench = three(story)
    bench.die_at("b.exec")

    async def scenario() -> None:
        run = await bench.store.find_run("latest")
        await bench.store.take_lease(run.id, OTHER, 30.0, bench.clock.now())
        with pytest.raises(RunIsActive):
            await bench.plan_engine().resume(run.id, None, bench.hooks, State(), RunOptions(), go_on=False)

    bench.run(scenario())
    assert "b.cleanup" not in story.calls


# -- the public plan on a store --------------------------------------------------------------------------------


@pytest.fixture
def store(tmp_path: Any, monkeypatch: pytest.MonkeyPatch) -> MemoryStore:
    monkeypatch.chdir(tmp_path)
    return MemoryStore()


def test_a_plan_with_a_store_is_recorded_and_can_be_resumed(store: MemoryStore) -> None:
    story, clock = Story(), FakeClock()
    step = story.step("b", fails={"exec": {1}})
    plan = Plan(store=store, name="mine").add_step(story.step("a", fails={"cleanup": {1}})).add_step(step)
    with pytest.raises(PlanFailed) as caught:
        clock.run(plan.execute())
    run_id = caught.value.outcome.run_id
    assert clock.run(store.find_run(run_id)).name == "mine"
    assert clock.run(plan.plan_resume()).decided.undo == (0,)
    assert clock.run(plan.resume(run_id)).state is RunState.FAILED, "only the cleanup was asked for"
    assert clock.run(plan.resume(go_on=True)).state is RunState.SUCCEEDED
    assert clock.run(store.verify(run_id)).ok


def test_a_resume_needs_the_functions_of_what_it_runs(store: MemoryStore) -> None:
    story, clock = Story(), FakeClock()
    with pytest.raises(PlanFailed):
        clock.run(
            Plan(store=store)
            .add_step(story.step("a", fails={"cleanup": {1}}))
            .add_step(story.step("b", fails={"exec": {1}}))
            .execute()
        )
    with pytest.raises(UsageError, match=r"this plan has no a.cleanup, which run .* needs"):
        clock.run(Plan(store=store).add_step(story.step("b")).resume())
    only_cleanup = Plan(store=store).add_step(story.step("a", ["cleanup"]))
    clock.run(only_cleanup.resume())
    assert story.of("cleanup") == ["a", "a"]


def test_a_recorded_plan_can_be_cancelled(store: MemoryStore) -> None:
    story, plan = Story(), Plan(store=store)
    plan.add_step(story.step("a")).add_pause(99)

    async def scenario() -> None:
        running = asyncio.ensure_future(plan.execute())
        await asyncio.sleep(5)
        running.cancel()
        with pytest.raises(asyncio.CancelledError):
            await running
        assert (await store.find_run("latest")).state is RunState.CANCELLED

    FakeClock().run(scenario())
    assert story.of("cleanup") == ["a"]


def test_every_end_is_written_once() -> None:
    story = Story()
    bench = three(story, fails={"exec": {1}})
    _, seen = bench.perform()
    ends = [event.task_id for event in seen.events if isinstance(event, TaskEnded)]
    assert sorted(ends) == sorted({*ends})


def test_plain_functions_are_called_too() -> None:
    def plain(state: State) -> int:
        state["n"] = 1
        return 1

    outcome, seen = PlanBench(Step("a", exec=plain)).perform()
    assert (outcome.state, seen.variables) == (RunState.SUCCEEDED, {"n": "1"})


@pytest.mark.parametrize("held", ["a.exec", "a.cleanup"])
def test_a_lost_lease_lets_a_hook_tidy_up_and_no_more(held: str) -> None:
    story = Story()
    bench = PlanBench(story.step("a"))
    bench.functions_of["a", Hook(held[2:])] = tidy(story, held, 99.0)

    async def scenario() -> None:
        running = asyncio.ensure_future(bench.performed())
        await asyncio.sleep(5)
        run = await bench.store.find_run("latest")
        await bench.store.release_lease(Lease(run_id=run.id, token=1, expires_at=bench.clock.now()))
        with pytest.raises(LeaseLost):
            await running

    bench.run(scenario())
    assert (story.calls[-1], story.cut) == (held, [held])


def test_a_run_that_has_not_begun_can_not_be_resumed() -> None:
    story = Story()
    bench = PlanBench(story.step("a"))
    bench.perform()
    run = bench.run(bench.store.find_run("latest"))
    with pytest.raises(UsageError, match="is pending and can't be resumed"):
        require_resumable(structs.replace(run, state=RunState.PENDING))
