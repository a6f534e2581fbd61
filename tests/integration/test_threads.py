"""The one thread for plain functions, for real; and plans whose hooks are plain functions."""

import asyncio
import sqlite3
import threading
from collections.abc import Iterator
from contextvars import ContextVar

import pytest

from runwright import Plan, PlanCancelled, PlanFailed, PlanTimeout, RunState, State, Step
from runwright.adapters.threads import OneThread

PATIENCE = 30.0
NUMBER: ContextVar[int] = ContextVar("NUMBER", default=0)


@pytest.fixture
def gate() -> Iterator[threading.Event]:
    """What functions wait at; it opens at the end, so that no thread outlives its test."""
    event = threading.Event()
    yield event
    event.set()


async def until(event: threading.Event) -> None:
    """Wait in a thread of the loop's own for an event that another thread sets."""
    assert await asyncio.to_thread(event.wait, PATIENCE)


def test_all_calls_are_made_in_one_thread_that_is_not_the_loops() -> None:
    async def scenario() -> set[int]:
        threads = OneThread()
        found = {await threads.call(threading.get_ident) for _ in range(5)}
        found |= set(await asyncio.gather(*(threads.call(threading.get_ident) for _ in range(5))))
        threads.close()
        return found

    found = asyncio.run(scenario())
    assert len(found) == 1
    assert found != {threading.get_ident()}


def test_the_loop_turns_while_a_function_runs(gate: threading.Event) -> None:
    async def scenario() -> bool:
        threads = OneThread()
        call = asyncio.ensure_future(threads.call(lambda: gate.wait(PATIENCE)))
        await asyncio.sleep(0)
        assert not call.done()
        gate.set()
        return await call

    assert asyncio.run(scenario())


def test_errors_come_out_as_they_are() -> None:
    def fails(error: BaseException) -> None:
        raise error

    async def scenario() -> None:
        threads = OneThread()
        for error in (ValueError("x"), SystemExit(3)):
            with pytest.raises(type(error)) as caught:
                await threads.call(lambda error=error: fails(error))
            assert caught.value is error
        with pytest.raises(RuntimeError, match=r"it raised StopIteration\(7\)"):
            await threads.call(lambda: fails(StopIteration(7)))
        with pytest.raises(asyncio.CancelledError):
            await threads.call(lambda: fails(asyncio.CancelledError()))
        assert await threads.call(lambda: "still there") == "still there"

    asyncio.run(scenario())


def test_a_function_sees_the_context_of_its_caller() -> None:
    async def scenario() -> tuple[int, int]:
        threads = OneThread()
        NUMBER.set(7)
        seen = await threads.call(NUMBER.get)
        await threads.call(lambda: NUMBER.set(8))
        return seen, NUMBER.get()

    assert asyncio.run(scenario()) == (7, 7)


@pytest.mark.parametrize("raises", [False, True])
def test_a_cancelled_call_waits_for_its_function_and_ends_as_it_does(
    gate: threading.Event, raises: bool
) -> None:
    async def scenario() -> None:
        threads, begun, ended = OneThread(), threading.Event(), threading.Event()

        def function() -> str:
            begun.set()
            gate.wait(PATIENCE)
            ended.set()
            if raises:
                raise ValueError("it failed")
            return "done"

        call = asyncio.ensure_future(threads.call(function))
        await until(begun)
        call.cancel()
        for _ in range(5):
            await asyncio.sleep(0)
        assert not call.done()
        gate.set()
        if raises:
            with pytest.raises(ValueError, match="it failed"):
                await call
        else:
            assert await call == "done"
        assert ended.is_set()

    asyncio.run(scenario())


def test_a_function_that_never_ends_is_left_behind_and_others_get_a_new_thread(gate: threading.Event) -> None:
    async def scenario() -> None:
        threads, begun, ids = OneThread(grace=0.01), threading.Event(), []

        def hangs() -> None:
            ids.append(threading.get_ident())
            begun.set()
            gate.wait(PATIENCE)

        call = asyncio.ensure_future(threads.call(hangs))
        await until(begun)
        call.cancel()
        with pytest.raises(asyncio.CancelledError):
            await call
        assert await threads.call(threading.get_ident) not in ids
        gate.set()

    asyncio.run(scenario())


def test_a_function_that_is_left_behind_before_it_began_never_begins(gate: threading.Event) -> None:
    async def scenario() -> None:
        threads, begun, calls = OneThread(grace=0.01), threading.Event(), []

        def hangs() -> threading.Thread:
            begun.set()
            gate.wait(PATIENCE)
            return threading.current_thread()

        first = asyncio.ensure_future(threads.call(hangs))
        await until(begun)
        second = asyncio.ensure_future(threads.call(lambda: calls.append("second")))
        await asyncio.sleep(0)
        second.cancel()
        with pytest.raises(asyncio.CancelledError):
            await second
        gate.set()
        thread = await first
        await asyncio.to_thread(thread.join, PATIENCE)
        assert not thread.is_alive()
        assert calls == []

    asyncio.run(scenario())


def test_who_cancels_twice_does_not_wait(gate: threading.Event) -> None:
    async def scenario() -> None:
        threads, begun = OneThread(grace=PATIENCE), threading.Event()

        def hangs() -> None:
            begun.set()
            gate.wait(PATIENCE)

        call = asyncio.ensure_future(threads.call(hangs))
        await until(begun)
        call.cancel()
        await asyncio.sleep(0)
        call.cancel()
        with pytest.raises(asyncio.CancelledError):
            await call
        assert await threads.call(gate.is_set) is False, "in a new thread"

    asyncio.run(scenario())


def test_a_thread_ends_when_it_is_closed() -> None:
    async def scenario() -> threading.Thread:
        threads = OneThread()
        thread = await threads.call(threading.current_thread)
        assert thread.daemon
        threads.close()
        threads.close()
        return thread

    thread = asyncio.run(scenario())
    thread.join(PATIENCE)
    assert not thread.is_alive()


def test_a_thread_whose_loop_is_gone_ends(gate: threading.Event) -> None:
    found: list[threading.Thread] = []

    async def scenario() -> None:
        threads, begun = OneThread(grace=0.01), threading.Event()

        def hangs() -> None:
            found.append(threading.current_thread())
            begun.set()
            gate.wait(PATIENCE)

        call = asyncio.ensure_future(threads.call(hangs))
        await until(begun)
        call.cancel()

    asyncio.run(scenario())
    gate.set()
    found[0].join(PATIENCE)
    assert not found[0].is_alive()


# -- plans -----------------------------------------------------------------------------------------------------


def test_what_one_plain_hook_opens_another_may_close() -> None:
    rows: list[object] = []

    def open_database(state: State) -> None:
        state["db"] = sqlite3.connect(":memory:")
        state["db"].execute("CREATE TABLE t (n)")

    def use(state: State) -> None:
        state["db"].execute("INSERT INTO t VALUES (7)")

    def close_database(state: State) -> None:
        rows.extend(state["db"].execute("SELECT n FROM t"))
        state["db"].close()

    plan = (
        Plan()
        .add_step(Step("database", exec=open_database, cleanup=close_database))
        .add_step(Step("use", exec=use))
    )
    assert plan.run().cleanup_errors == {}
    assert rows == [(7,)]


def test_a_plan_of_plain_and_coroutine_functions() -> None:
    order: list[str] = []

    def plain(_state: State) -> None:
        order.append("plain")
        assert threading.current_thread() is not threading.main_thread()

    async def coroutine(_state: State) -> None:
        order.append("coroutine")
        assert threading.current_thread() is threading.main_thread()

    plan = Plan().add_step(Step("a", pre_exec=plain, exec=coroutine, post_exec=plain, cleanup=coroutine))
    assert plan.run().state is RunState.SUCCEEDED
    assert order == ["plain", "coroutine", "plain", "coroutine"]


def test_a_plain_hook_that_fails_is_the_cause() -> None:
    def fails(_state: State) -> None:
        raise ValueError("x")

    with pytest.raises(PlanFailed) as caught:
        Plan().add_step(Step("a", exec=fails)).run()
    assert isinstance(caught.value.__cause__, ValueError)


def test_a_plain_hook_may_cancel_its_plan() -> None:
    plan, calls = Plan(), []

    def cancels(_state: State) -> None:
        plan.cancel("from a thread")
        calls.append("a")

    plan.add_step(Step("z", exec=print, cleanup=lambda _: calls.append("clean")))
    plan.add_step(Step("a", exec=cancels)).add_step(Step("b", exec=lambda _: calls.append("b")))
    with pytest.raises(PlanCancelled, match="from a thread"):
        plan.run()
    assert calls == ["a", "clean"]


def test_a_plan_may_be_cancelled_from_another_thread(gate: threading.Event) -> None:
    plan, calls = Plan(), []

    async def waits(_state: State) -> None:
        gate.set()
        await asyncio.sleep(PATIENCE)

    plan.add_step(Step("a", exec=print, cleanup=lambda _: calls.append("clean"))).add_step(
        Step("b", exec=waits)
    )

    def cancel() -> None:
        assert gate.wait(PATIENCE)
        plan.cancel("from afar")

    thread = threading.Thread(target=cancel)
    thread.start()
    with pytest.raises(PlanCancelled, match="from afar"):
        plan.run()
    thread.join()
    assert calls == ["clean"]


def test_a_plain_hook_past_the_limit_is_waited_for_before_the_cleanups(gate: threading.Event) -> None:
    order: list[str] = []

    def slow(_state: State) -> None:
        gate.wait(0.3)
        order.append("slow")

    plan = Plan(limit_duration=0.05).add_step(Step("a", exec=print, cleanup=lambda _: order.append("clean")))
    with pytest.raises(PlanTimeout):
        plan.add_step(Step("b", exec=slow)).run()
    assert order == ["slow", "clean"]
