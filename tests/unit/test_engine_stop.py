"""Stopping a run: by the engine, by its caller, by a request in the store; once, twice, and at any await."""

import asyncio
from datetime import UTC, datetime

import pytest
from engine_bench import CANCELLED, OTHER, SUCCEEDED, Bench, fails, flow, handler, takes, turns

from runwright.core.errors import LeaseLost, StoreError
from runwright.core.events import CancelRequested, ProgressEvent, ProgressKind
from runwright.core.options import RunOptions, Strategy
from runwright.core.states import FINAL_TASK_STATES, RunState
from runwright.testing import FakeClock

WORKFLOW = flow({"a": {"cleanup": ("undo",)}, "b": "a", "c": "b"})


def test_one_stop_lets_tasks_end_within_their_grace() -> None:
    bench = Bench({"b": takes(1000)})

    async def scenario() -> None:
        engine = bench.engine()
        running = asyncio.ensure_future(engine.execute(WORKFLOW, RunOptions()))
        await bench.processes.wait_running("b")
        engine.stop("lunch")
        seen = await bench.see(await running)
        assert (seen.state, seen.reason) == (RunState.CANCELLED, "lunch")
        assert seen.states() == {"a": SUCCEEDED, "b": CANCELLED, "c": CANCELLED}
        assert [event.reason for event in seen.events if type(event) is CancelRequested] == ["lunch"]

    bench.run(scenario())
    assert not bench.processes.grace_skipped
    assert bench.stopped() == ["b"]
    assert bench.commands()[-1] == "undo", "cleanups run"


def test_two_stops_skip_the_grace() -> None:
    bench = Bench({"a": takes(1000)})

    async def scenario() -> None:
        engine = bench.engine()
        running = asyncio.ensure_future(engine.execute(flow("a"), RunOptions()))
        await bench.processes.wait_running("a")
        engine.stop("once")
        assert not bench.processes.grace_skipped
        engine.stop("twice")
        assert bench.processes.grace_skipped
        assert (await running).reason == "once"

    bench.run(scenario())


def test_a_stopped_engine_starts_nothing() -> None:
    bench = Bench()

    async def scenario() -> None:
        engine = bench.engine()
        engine.stop("before it began")
        seen = await bench.see(await engine.execute(WORKFLOW, RunOptions()))
        assert seen.state is RunState.CANCELLED
        assert set(seen.states().values()) == {CANCELLED}
        assert all(row.attempts == 0 for row in seen.rows.values())

    bench.run(scenario())
    assert bench.commands() == []


@pytest.mark.parametrize("kind", list(ProgressKind))
def test_a_listener_may_stop_the_run_whatever_it_is_told(kind: ProgressKind) -> None:
    bench = Bench({"a": takes(1000), "b": fails(), "d": takes(5)})

    async def scenario() -> None:
        def listen(event: ProgressEvent) -> None:
            bench.events.append(event)
            if event.kind is kind:
                engine.stop("heard enough")

        engine = bench.engine(Strategy.WORK_STEALING, 3)
        workflow = flow(
            {
                "a": {"retries": 1, "timeout": 9.0, "retry_delay": 1.0},
                "b": {"ignore_failure": True},
                "c": "",
                "d": "c",
            }
        )
        options = RunOptions(progress=listen, print_output=True)
        bench.scripts["c"] = fails(stderr="x")
        seen = await bench.see(await engine.execute(workflow, options))
        assert all(state in FINAL_TASK_STATES for state in seen.states().values())
        assert all(attempt.ended_at for attempt in seen.attempts)

    bench.run(scenario())
    assert bench.processes.running == []


def test_what_was_reserved_is_dropped() -> None:
    bench = Bench({"t0": takes(1000)})
    keys = [f"t{n}" for n in range(10)]

    async def scenario() -> None:
        engine = bench.engine(Strategy.WORK_STEALING, 1)
        running = asyncio.ensure_future(engine.execute(flow(keys), RunOptions()))
        await bench.processes.wait_running("t0")
        engine.stop("enough")
        seen = await bench.see(await running)
        assert set(seen.states().values()) == {CANCELLED}
        assert [attempt.task_id for attempt in seen.attempts] == ["t0"]
        assert sum(row.attempts for row in seen.rows.values()) == 1

    bench.run(scenario())


def test_what_runs_always_may_start_after_a_failure_but_not_after_a_stop() -> None:
    workflow = flow({"bad": "", **{f"w{n}": {"condition": "always()"} for n in range(3)}, "zplain": ""})
    bench = Bench({"bad": fails(seconds=1), "w0": takes(10), "w1": takes(10)})
    seen = bench.execute(workflow, Strategy.WORK_STEALING, 2)
    assert seen.states("w0", "w1", "w2", "zplain") == {
        "w0": SUCCEEDED,
        "w1": SUCCEEDED,
        "w2": SUCCEEDED,
        "zplain": CANCELLED,
    }
    bench = Bench({"w0": takes(10)})

    async def scenario() -> None:
        engine = bench.engine()
        running = asyncio.ensure_future(engine.execute(workflow, RunOptions()))
        await bench.processes.wait_running("w0")
        engine.stop("enough")
        assert (await bench.see(await running)).states("w2") == {"w2": CANCELLED}

    bench.run(scenario())


# -- by the caller ---------------------------------------------------------------------------------------------


def test_a_cancelled_caller_gets_its_cancellation_and_the_run_is_recorded() -> None:
    bench = Bench({"b": takes(1000)})

    async def scenario() -> None:
        running = asyncio.ensure_future(bench.engine().execute(WORKFLOW, RunOptions()))
        await bench.processes.wait_running("b")
        running.cancel()
        with pytest.raises(asyncio.CancelledError):
            await running
        assert bench.processes.running == []
        seen = await bench.see(next(iter(bench.store._logs)))
        assert (seen.state, seen.reason) == (RunState.CANCELLED, "the caller cancelled it")
        assert seen.run.owner is None

    bench.run(scenario())
    assert not bench.processes.grace_skipped
    assert bench.commands() == ["a", "b", "undo"]


def test_a_caller_that_cancels_twice_skips_the_grace() -> None:
    bench = Bench({"b": takes(1000), "undo": takes(50)})

    async def scenario() -> None:
        running = asyncio.ensure_future(bench.engine().execute(WORKFLOW, RunOptions()))
        await bench.processes.wait_running("b")
        running.cancel()
        await bench.processes.wait_running("undo")
        running.cancel()
        await turns()
        assert bench.processes.grace_skipped
        assert not running.done(), "it still waits"
        with pytest.raises(asyncio.CancelledError):
            await running
        assert (await bench.see(next(iter(bench.store._logs)))).state is RunState.CANCELLED

    bench.run(scenario())


def test_a_cancelled_caller_stops_its_own_run_alone() -> None:
    bench = Bench({"b": takes(100)})

    async def scenario() -> None:
        engine = bench.engine()
        one = asyncio.ensure_future(engine.execute(WORKFLOW, RunOptions()))
        two = asyncio.ensure_future(engine.execute(WORKFLOW, RunOptions()))
        await asyncio.sleep(5)
        one.cancel()
        assert (await two).state is RunState.SUCCEEDED
        assert one.cancelled()
        assert (await engine.execute(WORKFLOW, RunOptions())).state is RunState.SUCCEEDED

    bench.run(scenario())


def test_a_caller_that_cancels_while_the_store_fails_is_told_of_its_cancellation() -> None:
    bench = Bench({"a": takes(1000)})

    async def scenario() -> None:
        running = asyncio.ensure_future(bench.engine().execute(flow({"a": "", "b": "a"}), RunOptions()))
        await bench.processes.wait_running("a")
        bench.store.holding = True
        running.cancel()
        await turns()
        bench.store.refuse(StoreError("disk full"))
        with pytest.raises(asyncio.CancelledError):
            await running

    bench.run(scenario())
    assert bench.stopped() == ["a"]


def test_cancelled_at_any_turn_a_run_is_whole_and_nobodys() -> None:
    workflow = flow(
        {"a": {"cleanup": ("undo",)}, "b": {"needs": "a", "on_failure": "h", "retries": 1}, "h": handler()}
    )

    async def cancelled_after(number: int) -> RunState | None:
        bench = Bench({"b": fails()})
        task = asyncio.ensure_future(bench.engine().execute(workflow, RunOptions()))
        await turns(number)
        if task.done():
            return None
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        assert bench.processes.running == []
        if not bench.store._logs:
            return RunState.PENDING
        seen = await bench.see(next(iter(bench.store._logs)))
        assert seen.run.owner is None
        assert all(state in FINAL_TASK_STATES for state in seen.states().values())
        assert all(attempt.ended_at for attempt in seen.attempts)
        return seen.state

    states = []
    while (state := FakeClock().run(cancelled_after(len(states)))) is not None:
        states.append(state)
    assert len(states) > 20
    assert set(states) == {RunState.PENDING, RunState.CANCELLED, RunState.FAILED}


def test_an_engine_that_is_torn_down_with_its_loop_leaves_nothing_running() -> None:
    bench = Bench({"a": takes(1000)})

    async def scenario() -> None:
        running = asyncio.ensure_future(bench.engine().execute(flow("a"), RunOptions()))
        await bench.processes.wait_running("a")
        for task in asyncio.all_tasks() - {asyncio.current_task()}:
            task.cancel()
        await asyncio.wait([running])

    bench.run(scenario())
    assert bench.processes.running == []


# -- from another process --------------------------------------------------------------------------------------


def test_a_request_in_the_store_is_noticed_within_a_second() -> None:
    bench = Bench({"a": takes(1000)})

    async def scenario() -> None:
        running = asyncio.ensure_future(bench.engine().execute(flow("a"), RunOptions()))
        await asyncio.sleep(20)
        asked = bench.clock.monotonic()
        (run_id,) = bench.store._logs
        await bench.store.request_cancel(run_id, datetime.now(UTC), "lunch")
        seen = await bench.see(await running)
        assert (seen.state, seen.reason) == (RunState.CANCELLED, "lunch")
        assert bench.clock.monotonic() - asked <= 1.0

    bench.run(scenario())
    assert bench.stopped() == ["a"]


def test_a_request_after_the_last_task_changes_nothing() -> None:
    bench = Bench({"undo": takes(20)})

    async def scenario() -> None:
        engine = bench.engine()
        running = asyncio.ensure_future(engine.execute(flow({"a": {"cleanup": ("undo",)}}), RunOptions()))
        await bench.processes.wait_running("undo")
        (run_id,) = bench.store._logs
        await bench.store.request_cancel(run_id, datetime.now(UTC), "too late")
        await asyncio.sleep(5)
        engine.stop("too late as well")
        seen = await bench.see(await running)
        assert seen.state is RunState.SUCCEEDED
        assert not any(type(event) is CancelRequested for event in seen.events)

    bench.run(scenario())
    assert bench.stopped() == []


@pytest.mark.parametrize("when", ["task", "cleanup"])
def test_a_lease_that_has_passed_on_ends_the_drive(when: str) -> None:
    bench = Bench({"a": takes(100), "undo": takes(100)})

    async def scenario() -> None:
        running = asyncio.ensure_future(
            bench.engine().execute(flow({"a": {"cleanup": ("undo",)}, "b": "a"}), RunOptions())
        )
        await bench.processes.wait_running("a" if when == "task" else "undo")
        (run_id,) = bench.store._logs
        await bench.store.take_lease(run_id, OTHER, 1000.0, bench.clock.now().replace(year=2050))
        with pytest.raises(LeaseLost):
            await running

    bench.run(scenario())
    assert bench.processes.running == []
    assert bench.stopped() == (["a"] if when == "task" else [])


def test_a_store_that_fails_while_tasks_are_being_stopped_comes_out() -> None:
    bench = Bench({"a": takes(1000)})

    async def scenario() -> None:
        engine = bench.engine()
        workflow = flow({"a": {"on_failure": "h"}, "h": handler()})
        running = asyncio.ensure_future(engine.execute(workflow, RunOptions()))
        await bench.processes.wait_running("a")
        bench.store.holding = True
        engine.stop("enough")
        for _ in range(5):
            bench.store.refuse(StoreError("disk full"))
            await turns(2)
        with pytest.raises(StoreError):
            await running

    bench.run(scenario())
    assert "h" not in bench.commands()


def test_a_store_that_fails_while_a_retry_waits_ends_the_wait() -> None:
    bench = Bench({"a": fails()})

    async def scenario() -> None:
        workflow = flow({"a": {"retries": 1, "retry_delay": 5000.0}})
        running = asyncio.ensure_future(bench.engine().execute(workflow, RunOptions()))
        await bench.processes.wait_running("a")
        bench.store.holding = True
        await asyncio.sleep(5)
        bench.store.refuse(StoreError("disk full"))
        with pytest.raises(StoreError):
            await running

    bench.run(scenario())
    assert bench.clock.monotonic() < 10
    assert bench.commands() == ["a"]


def test_a_listener_that_stops_the_run_at_the_first_start_sees_no_second() -> None:
    bench = Bench({"a": takes(1000), "b": takes(1000)})

    async def scenario() -> None:
        def listen(event: ProgressEvent) -> None:
            if event.kind is ProgressKind.TASK_STARTED:
                engine.stop("heard enough")

        engine = bench.engine(Strategy.WORK_STEALING, 3)
        seen = await bench.see(await engine.execute(flow("ab"), RunOptions(progress=listen)))
        assert seen.states() == {"a": CANCELLED, "b": CANCELLED}
        assert [attempt.task_id for attempt in seen.attempts] == ["a"]

    bench.run(scenario())
    assert bench.commands() == ["a"]
