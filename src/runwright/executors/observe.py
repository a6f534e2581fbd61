"""Listeners to what happens below an executor."""

import asyncio
from collections.abc import Awaitable, Callable

from msgspec import Struct

from runwright.core.states import TaskState
from runwright.core.task import Result, SessionId, Task, TaskId
from runwright.ports.executor import Executor, Session


class TaskEvent(Struct, frozen=True, kw_only=True):
    """A change of a task's state: `running`, `succeeded`, `failed` or `cancelled`."""

    session_id: SessionId
    task_id: TaskId
    state: TaskState
    error: BaseException | None = None


Callback = Callable[[TaskEvent], Awaitable[None] | None]


class Observe:
    """Tells listeners of every task that runs below, in order.

    Each listener has a queue of its own for each session, so a slow one delays nobody and loses nothing; closing the
    session waits until all have been told. An error of a listener never reaches the work: it is kept and reported
    when the session is closed.

    Args:
        inner: What is observed.
    """

    def __init__(self, inner: Executor) -> None:
        self._inner = inner
        self._callbacks: list[Callback] = []
        self._audiences: dict[SessionId, list[_Audience]] = {}

    def listen(self, callback: Callback) -> None:
        """Add a listener, a function or a coroutine function, for sessions that open from now on."""
        self._callbacks.append(callback)

    async def open_session(self, session: Session) -> None:
        """Open the session on the inner executor, and begin to listen."""
        await self._inner.open_session(session)
        self._audiences[session.id] = [_Audience(callback) for callback in self._callbacks]

    async def execute(self, session: Session, task: Task) -> Result:
        """Run a task and tell what becomes of it."""
        self._tell(session, task, TaskState.RUNNING)
        try:
            result = await self._inner.execute(session, task)
        except asyncio.CancelledError as error:
            self._tell(session, task, TaskState.CANCELLED, error)
            raise
        except Exception as error:
            self._tell(session, task, TaskState.FAILED, error)
            raise
        self._tell(session, task, TaskState.SUCCEEDED)
        return result

    async def close_session(self, session_id: SessionId) -> None:
        """Close the session on the inner executor, and wait until every listener has been told everything.

        Raises:
            ExceptionGroup: With the errors of listeners, if there were any, and that of the inner executor.
        """
        errors: list[Exception] = []
        try:
            await self._inner.close_session(session_id)
        except Exception as error:
            errors.append(error)
        finally:
            audiences = self._audiences.pop(session_id, [])
            told = await asyncio.gather(*(audience.leave() for audience in audiences))
        heard = [error for errors_of_one in told for error in errors_of_one]
        if heard:
            raise ExceptionGroup("listeners failed", [*errors, *heard])
        if errors:
            raise errors[0]

    def _tell(
        self, session: Session, task: Task, state: TaskState, error: BaseException | None = None
    ) -> None:
        event = TaskEvent(session_id=session.id, task_id=task.id, state=state, error=error)
        for audience in self._audiences.get(session.id, ()):
            audience.queue.put_nowait(event)


class _Audience:
    """One listener of one session."""

    def __init__(self, callback: Callback) -> None:
        self.queue: asyncio.Queue[TaskEvent | None] = asyncio.Queue()
        self._callback = callback
        self._errors: list[Exception] = []
        self._task = asyncio.create_task(self._listen())

    async def leave(self) -> list[Exception]:
        """Wait until everything has been told; returns the listener's errors."""
        self.queue.put_nowait(None)
        await self._task
        return self._errors

    async def _listen(self) -> None:
        while (event := await self.queue.get()) is not None:
            try:
                answer = self._callback(event)
                if answer is not None:
                    await answer
            except Exception as error:
                self._errors.append(error)
