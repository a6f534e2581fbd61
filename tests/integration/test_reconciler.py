"""Goals made in code as users pursue them: real threads, a real clock, SQLite."""

import asyncio
import logging
import threading
from pathlib import Path
from typing import Any

import pytest

from runwright import (
    Action,
    FatalError,
    Goal,
    GoalCancelled,
    GoalFailed,
    GoalOutcome,
    GoalTimeout,
    Oscillation,
    Reconciler,
    ReconcilerOptions,
    RunState,
    UsageError,
    open_store,
)

QUICK = ReconcilerOptions(sleep_between_runs=0.0, longest_sleep=0.0, errors_to_tolerate=0)


@pytest.fixture(params=["in memory", "recorded"])
def kept(request: pytest.FixtureRequest, tmp_path: Path) -> dict[str, Any]:
    return {"store": tmp_path / "runs.db"} if request.param == "recorded" else {}


class Once(Goal):
    """A goal with one action, which is needed until it has been performed."""

    def __init__(self, *given: Any, **functions: Any) -> None:
        super().__init__()
        self.done = False
        self._action = Action("a", *given, **functions)

    def plan(self) -> list[Action]:
        needed = [] if self.done else [self._action]
        self.done = True
        return needed


def test_a_goal_is_pursued_from_a_script_without_a_loop(kept: dict[str, Any]) -> None:
    seen: list[str] = []
    outcome = Reconciler(QUICK, **kept).run_sync(Once(lambda: seen.append(threading.current_thread().name)))
    assert (outcome.state, outcome.performed, bool(outcome.run_id)) == (RunState.SUCCEEDED, 1, bool(kept))
    assert seen == ["runwright-functions"]


def test_a_spent_budget_is_a_goal_failed_caused_by_the_last_error(kept: dict[str, Any]) -> None:
    error = ValueError("boom")

    def perform() -> None:
        raise error

    with pytest.raises(GoalFailed, match="1 error, and 0 are tolerated") as caught:
        Reconciler(QUICK, **kept).run_sync(Once(perform))
    assert caught.value.__cause__ is error
    assert isinstance(caught.value.outcome, GoalOutcome)
    assert caught.value.outcome.errors == (("a", error),)
    assert type(caught.value) is GoalFailed


def test_a_fatal_error_is_the_cause(kept: dict[str, Any]) -> None:
    def perform() -> None:
        raise FatalError("no use")

    with pytest.raises(GoalFailed, match="no use") as caught:
        Reconciler(QUICK.with_errors_to_tolerate(100), **kept).run_sync(Once(perform))
    assert isinstance(caught.value.__cause__, FatalError)


def test_an_oscillation_names_rounds_and_actions(kept: dict[str, Any]) -> None:
    goal = Goal(lambda: [Action("flip", lambda: None)])
    with pytest.raises(Oscillation, match=r"the same round came 3 times .*\(round 3: flip\)") as caught:
        Reconciler(QUICK.with_oscillation_limit(3), **kept).run_sync(goal)
    assert caught.value.__cause__ is None


def test_a_time_limit_is_a_goal_timeout_and_a_plain_function_is_waited_for(kept: dict[str, Any]) -> None:
    ended = threading.Event()
    held = threading.Event()

    def perform() -> None:
        held.wait(0.5)
        ended.set()

    with pytest.raises(GoalTimeout, match=r"run timeout: 0\.1 s"):
        Reconciler(QUICK.with_execution_timeout(0.1), **kept).run_sync(Once(perform))
    assert ended.is_set()


def test_a_cancelled_caller_gets_an_error_that_is_both(kept: dict[str, Any]) -> None:
    left: list[str] = []

    async def scenario() -> None:
        began = asyncio.Event()

        async def perform() -> None:
            began.set()
            try:
                await asyncio.sleep(1000)
            finally:
                await asyncio.sleep(0.01)
                left.append("left")

        running = asyncio.ensure_future(Reconciler(QUICK, **kept).run(Once(perform)))
        await asyncio.wait_for(began.wait(), 30)
        running.cancel()
        with pytest.raises(GoalCancelled) as caught:
            await running
        assert isinstance(caught.value, asyncio.CancelledError)
        assert caught.value.outcome.state is RunState.CANCELLED
        assert left == ["left"]

    asyncio.run(scenario())


def test_cancel_stops_what_is_pursued(kept: dict[str, Any]) -> None:
    reconciler = Reconciler(QUICK, **kept)

    async def perform() -> None:
        asyncio.get_running_loop().call_soon(reconciler.cancel, "enough")
        await asyncio.sleep(1000)

    with pytest.raises(GoalCancelled, match="enough") as caught:
        reconciler.run_sync(Once(perform))
    assert not isinstance(caught.value, asyncio.CancelledError)


def test_cancel_may_come_from_a_plain_function_and_its_thread(kept: dict[str, Any]) -> None:
    reconciler = Reconciler(QUICK, **kept)
    with pytest.raises(GoalCancelled, match="from a thread"):
        reconciler.run_sync(Goal(lambda: [Action("a", lambda: reconciler.cancel("from a thread"))]))


def test_cancel_may_come_from_elsewhere(kept: dict[str, Any]) -> None:
    reconciler = Reconciler(QUICK, **kept)
    reconciler.cancel("nothing is under way, so this is not heard")
    began = threading.Event()

    async def perform() -> None:
        began.set()
        await asyncio.sleep(1000)

    def elsewhere() -> None:
        began.wait(30)
        reconciler.cancel("from elsewhere")

    thread = threading.Thread(target=elsewhere)
    thread.start()
    with pytest.raises(GoalCancelled, match="from elsewhere"):
        reconciler.run_sync(Once(perform))
    thread.join()


def test_each_worker_has_a_thread_of_its_own(kept: dict[str, Any]) -> None:
    together = threading.Barrier(3, timeout=30)
    met: list[int] = []
    goal = Goal(lambda: [] if met else [Action(name, meet) for name in "abc"])

    def meet() -> None:
        together.wait()
        met.append(threading.get_ident())

    outcome = Reconciler(QUICK.with_workers(3), **kept).run_sync(goal)
    assert (outcome.performed, len(set(met))) == (3, 3)


def test_the_logger_is_told(caplog: pytest.LogCaptureFixture) -> None:
    logger = logging.getLogger("runwright.test")
    with caplog.at_level(logging.INFO, "runwright.test"):
        Reconciler(QUICK.with_logger(logger)).run_sync(Once(lambda: None))
    assert [record.getMessage() for record in caplog.records][-1] == "the goal is reached"


def test_a_recorded_goal_is_resumed_and_a_store_that_is_given_stays_open(tmp_path: Path) -> None:
    async def scenario() -> None:
        store = open_store(tmp_path / "runs.db")
        events: list[Any] = []
        reconciler = Reconciler(QUICK, store=store, name="tidy", listener=events.append)

        async def broken() -> None:
            raise ValueError("boom")

        with pytest.raises(GoalFailed) as caught:
            await reconciler.run(Goal(broken))
        first = caught.value.outcome
        outcome = await reconciler.resume(Once(lambda: None))
        assert (outcome.run_id, outcome.state) == (first.run_id, RunState.SUCCEEDED)
        run = await store.find_run("latest")
        assert (run.kind, run.name, run.resume_count) == ("goal", "tidy", 1)
        assert (await store.verify(run.id)).ok
        assert [row.id for row in await store.tasks(run.id)] == ["1", "2", "2.a", "3"]
        assert len(events) > 6
        with pytest.raises(UsageError, match="has succeeded"):
            await reconciler.resume(Once(lambda: None))
        await store.close()

    asyncio.run(scenario())


def test_what_is_not_recorded_can_not_be_resumed() -> None:
    with pytest.raises(UsageError, match="a reconciler without a store records nothing"):
        asyncio.run(Reconciler(QUICK).resume(Once(lambda: None)))


def test_what_is_no_goal_is_refused_before_anything_is_recorded(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="is no goal"):
        Reconciler(QUICK, store=tmp_path / "runs.db").run_sync(object())
    assert list(tmp_path.iterdir()) == []


def test_a_caller_that_is_cancelled_before_anything_began_is_told_so(tmp_path: Path) -> None:
    async def scenario() -> None:
        running = asyncio.ensure_future(
            Reconciler(QUICK, store=tmp_path / "x" / "runs.db").run(Once(lambda: None))
        )
        await asyncio.sleep(0)
        running.cancel()
        with pytest.raises(asyncio.CancelledError):
            await running

    asyncio.run(scenario())
