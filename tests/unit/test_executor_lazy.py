"""An executor that is made when its first task comes."""

import asyncio
from pathlib import Path

import pytest

from runwright.core.errors import Failure, TaskFailed, UnopenedSession
from runwright.core.task import Result, SessionId, Task, TaskId
from runwright.executors.lazy import Lazy
from runwright.ports.executor import Session
from runwright.testing import LocalSession, Strict

TASK = Task(id=TaskId("t"))


class Noted:
    """Notes what is asked of it."""

    def __init__(self) -> None:
        self.seen: list[str] = []

    async def open_session(self, session: Session) -> None:
        await asyncio.sleep(0)
        self.seen.append("open")

    async def execute(self, session: Session, task: Task) -> Result:
        self.seen.append("execute")
        return Result(value=1)

    async def close_session(self, session_id: SessionId) -> None:
        self.seen.append("close")


def test_nothing_is_made_for_sessions_without_tasks(tmp_path: Path) -> None:
    async def work() -> None:
        lazy, session = Lazy(lambda: pytest.fail("it is made")), LocalSession(tmp_path)
        await lazy.open_session(session)
        await lazy.close_session(session.id)

    asyncio.run(work())


def test_the_first_task_opens_the_session_for_all(tmp_path: Path) -> None:
    async def work() -> None:
        made = [Noted()]
        lazy, session = Lazy(lambda: Strict(made.pop())), LocalSession(tmp_path)
        noted = made[0]
        await lazy.open_session(session)
        results = await asyncio.gather(*(lazy.execute(session, TASK) for _ in range(3)))
        assert [result.value for result in results] == [1, 1, 1]
        await lazy.close_session(session.id)
        await lazy.close_session(session.id)
        assert noted.seen == ["open", "execute", "execute", "execute", "close"]
        assert not made, "it was made once"

    asyncio.run(work())


def test_a_session_that_is_not_open(tmp_path: Path) -> None:
    async def work() -> None:
        lazy = Lazy(Noted)
        with pytest.raises(UnopenedSession):
            await lazy.execute(LocalSession(tmp_path), TASK)

    asyncio.run(work())


def test_a_session_that_can_not_be_opened_is_tried_again_with_the_next_task(tmp_path: Path) -> None:
    class Twice(Noted):
        async def open_session(self, session: Session) -> None:
            self.seen.append("try")
            if self.seen.count("try") == 1:
                raise TaskFailed(Failure(code="E_X", message="not yet"))

    async def work() -> None:
        noted = Twice()
        lazy, session = Lazy(lambda: noted), LocalSession(tmp_path)
        await lazy.open_session(session)
        with pytest.raises(TaskFailed, match="not yet"):
            await lazy.execute(session, TASK)
        await lazy.execute(session, TASK)
        await lazy.close_session(session.id)
        assert noted.seen == ["try", "try", "execute", "close"]

    asyncio.run(work())
