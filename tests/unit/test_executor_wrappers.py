"""Another attempt and defaults, around an executor that does as it is told."""

import asyncio
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from runwright.core.errors import Failure, NoExecutorFound, TaskFailed
from runwright.core.retry import RetryPolicy
from runwright.core.task import Result, SessionId, Task, TaskId
from runwright.executors.configured import Configured
from runwright.executors.observe import Observe
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


def test_time_and_chance_are_the_loops_own_unless_told_otherwise(session: LocalSession) -> None:
    inner = Inner(failing(1))
    policy = RetryPolicy(retries=1, delay=0.001, jitter=1.0)
    assert asyncio.run(Retry(inner, policy).execute(session, TASK)).value == "done"
    assert len(inner.tasks) == 2
