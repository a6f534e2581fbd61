"""Another attempt, listeners and defaults, around an executor that does as it is told."""

import asyncio
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from runwright.core.errors import Failure, NoExecutorFound, TaskFailed
from runwright.core.retry import RetryPolicy
from runwright.core.states import TaskState
from runwright.core.task import Result, SessionId, Task, TaskId
from runwright.executors.configured import Configured
from runwright.executors.observe import Observe, TaskEvent
from runwright.executors.retry import Retry
from runwright.ports.executor import Session
from runwright.testing import LocalSession

TASK = Task(id=TaskId("t"), args={"a": 1})


class Inner:
    """Runs what it is given and remembers the calls."""

    def __init__(self, work: Callable[[], Any] = lambda: None) -> None:
        self.work = work
        self.calls: list[str] = []
        self.tasks: list[Task] = []
        self.close_error: Exception | None = None

    async def open_session(self, session: Session) -> None:
        self.calls.append("open")

    async def execute(self, session: Session, task: Task) -> Result:
        self.tasks.append(task)
        return Result(value=self.work())

    async def close_session(self, session_id: SessionId) -> None:
        self.calls.append("close")
        if self.close_error is not None:
            raise self.close_error


class Sleeps:
    """A clock that only notes how long it was to wait."""

    def __init__(self) -> None:
        self.seconds: list[float] = []

    async def sleep(self, seconds: float) -> None:
        self.seconds.append(seconds)


@pytest.fixture
def session(tmp_path: Path) -> LocalSession:
    return LocalSession(tmp_path)


def failing(times: int, code: str = "E_EXIT") -> Callable[[], str]:
    left = [times]

    def work() -> str:
        left[0] -= 1
        if left[0] >= 0:
            raise TaskFailed(Failure(code=code, message=f"{left[0]} to go", exit_code=3))
        return "done"

    return work


POLICY = RetryPolicy(retries=2, delay=1.0, backoff=2.0, jitter=0.5)


def retrying(inner: Inner, clock: Sleeps, policy: RetryPolicy = POLICY) -> Retry:
    return Retry(inner, policy, clock, lambda: 0.5)  # type: ignore[arg-type]


def test_a_failed_task_is_tried_again_after_a_while(session: LocalSession) -> None:
    inner, clock = Inner(failing(2)), Sleeps()
    assert asyncio.run(retrying(inner, clock).execute(session, TASK)).value == "done"
    assert (len(inner.tasks), clock.seconds) == (3, [0.75, 1.5])


def test_the_last_failure_comes_out(session: LocalSession) -> None:
    inner = Inner(failing(9))
    with pytest.raises(TaskFailed, match="6 to go"):
        asyncio.run(retrying(inner, Sleeps()).execute(session, TASK))
    assert len(inner.tasks) == 3


def test_what_can_only_fail_again_is_not_tried_again(session: LocalSession) -> None:
    inner = Inner(failing(9, "E_ARGS"))
    with pytest.raises(TaskFailed, match="8 to go"):
        asyncio.run(retrying(inner, Sleeps()).execute(session, TASK))

    def nobody() -> None:
        raise NoExecutorFound("nobody")

    with pytest.raises(NoExecutorFound):
        asyncio.run(retrying(Inner(nobody), Sleeps()).execute(session, TASK))


def test_wrappers_open_and_close_what_they_wrap(session: LocalSession) -> None:
    async def run(inner: Inner) -> None:
        stack = Observe(Configured(retrying(inner, Sleeps()), {}))
        await stack.open_session(session)
        await stack.close_session(session.id)

    inner = Inner()
    asyncio.run(run(inner))
    assert inner.calls == ["open", "close"]


@pytest.mark.parametrize(
    ("defaults", "args", "merged"),
    [
        ({}, {"a": 1}, {"a": 1}),
        ({"a": 1, "b": 2}, {"b": 3}, {"a": 1, "b": 3}),
        ({"env": {"A": "1", "B": "1"}}, {"env": {"B": "2"}}, {"env": {"A": "1", "B": "2"}}),
        ({"env": {"A": "1"}}, {"env": None}, {"env": None}),
        ({"x": None}, {"x": {"A": "1"}}, {"x": {"A": "1"}}),
    ],
)
def test_defaults(
    session: LocalSession, defaults: dict[str, Any], args: dict[str, Any], merged: dict[str, Any]
) -> None:
    inner = Inner()
    task = Task(id=TaskId("t"), args=args)
    asyncio.run(Configured(inner, defaults).execute(session, task))
    assert inner.tasks == [Task(id=TaskId("t"), args=merged)]
    assert task.args == args


def told(session: LocalSession, inner: Inner, *listeners: Callable[[TaskEvent], Any], tasks: int = 1) -> None:
    async def run() -> None:
        observed = Observe(inner)
        for listener in listeners:
            observed.listen(listener)
        await observed.open_session(session)
        try:
            for _ in range(tasks):
                await observed.execute(session, TASK)
        finally:
            await observed.close_session(session.id)

    asyncio.run(run())


def test_listeners_hear_what_becomes_of_a_task(session: LocalSession) -> None:
    heard: list[TaskEvent] = []
    told(session, Inner(), heard.append)
    assert [event.state for event in heard] == [TaskState.RUNNING, TaskState.SUCCEEDED]
    assert {(event.session_id, event.task_id) for event in heard} == {(session.id, "t")}


def test_listeners_hear_of_failure_and_cancellation(session: LocalSession) -> None:
    def cancel() -> None:
        raise asyncio.CancelledError

    heard: list[TaskEvent] = []
    with pytest.raises(TaskFailed):
        told(session, Inner(failing(1)), heard.append)
    with pytest.raises(asyncio.CancelledError):
        told(session, Inner(cancel), heard.append)
    assert [event.state for event in heard[1::2]] == [TaskState.FAILED, TaskState.CANCELLED]
    assert isinstance(heard[1].error, TaskFailed)
    assert isinstance(heard[3].error, asyncio.CancelledError)


def test_a_slow_listener_delays_nobody_and_loses_nothing(session: LocalSession) -> None:
    quick: list[TaskEvent] = []
    slow: list[TaskEvent] = []
    gate = asyncio.Event()

    async def listen(event: TaskEvent) -> None:
        await gate.wait()
        slow.append(event)

    async def run() -> None:
        observed = Observe(Inner())
        observed.listen(quick.append)
        observed.listen(listen)
        await observed.open_session(session)
        for _ in range(100):
            await observed.execute(session, TASK)
        assert not slow
        gate.set()
        await observed.close_session(session.id)

    asyncio.run(run())
    assert slow == quick
    assert len(slow) == 200


def test_errors_of_listeners_come_out_at_the_end(session: LocalSession) -> None:
    heard: list[TaskEvent] = []

    def broken(event: TaskEvent) -> None:
        raise ValueError(event.state)

    inner = Inner()
    with pytest.raises(ExceptionGroup) as caught:
        told(session, inner, broken, heard.append)
    assert [str(error) for error in caught.value.exceptions] == ["running", "succeeded"]
    assert len(heard) == 2
    inner.close_error = OSError("can't close")
    with pytest.raises(ExceptionGroup) as caught:
        told(session, inner, broken)
    assert [str(error) for error in caught.value.exceptions] == ["can't close", "running", "succeeded"]
    with pytest.raises(OSError, match="can't close"):
        told(session, inner, heard.append)


def test_a_listener_that_comes_later_hears_later_sessions(session: LocalSession) -> None:
    heard: list[TaskEvent] = []

    async def run() -> None:
        observed = Observe(Inner())
        await observed.open_session(session)
        observed.listen(heard.append)
        await observed.execute(session, TASK)
        await observed.close_session(session.id)
        await observed.close_session(session.id)

    asyncio.run(run())
    assert heard == []


def test_an_opening_that_fails_leaves_no_listener(session: LocalSession) -> None:
    class Refuses(Inner):
        async def open_session(self, session: Session) -> None:
            raise OSError("can't open")

    async def run() -> set[Any]:
        observed = Observe(Refuses())
        observed.listen(lambda _: None)
        with pytest.raises(OSError, match="can't open"):
            await observed.open_session(session)
        return asyncio.all_tasks()

    assert len(asyncio.run(run())) == 1


def test_a_cancelled_closing_leaves_no_listener(session: LocalSession) -> None:
    async def run() -> set[Any]:
        observed = Observe(Inner())
        for _ in range(2):
            observed.listen(lambda _: asyncio.Event().wait())  # type: ignore[arg-type, return-value]
        await observed.open_session(session)
        await observed.execute(session, TASK)
        closing = asyncio.create_task(observed.close_session(session.id))
        await asyncio.sleep(0)
        await asyncio.sleep(0)
        closing.cancel()
        with pytest.raises(asyncio.CancelledError):
            await closing
        return asyncio.all_tasks()

    assert len(asyncio.run(run())) == 1
