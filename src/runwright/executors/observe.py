"""Listeners to what happens below an executor."""

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime
from functools import partial
from inspect import iscoroutinefunction
from types import TracebackType
from typing import TYPE_CHECKING, Any

from msgspec import Struct

from runwright.core.errors import UnopenedSession, UsageError
from runwright.core.states import TaskState
from runwright.core.task import Result, SessionId, Task, TaskId
from runwright.ports.executor import Executor, Session

if TYPE_CHECKING:
    from concurrent.futures import ThreadPoolExecutor

BATCH = 256
"""Events that a listener's thread tells before it reports to the loop."""


class TaskEvent(Struct, frozen=True, kw_only=True):
    """A change of a task's state.

    Attributes:
        session_id: Of the session it runs in.
        task_id: Of the task.
        state: ``running``, ``succeeded``, ``failed`` or ``cancelled``.
        at: When, aware and in UTC.
        error: What it failed of, as it was raised; set for ``failed`` and ``cancelled``.
    """

    session_id: SessionId
    task_id: TaskId
    state: TaskState
    at: datetime
    error: BaseException | None = None


Callback = Callable[[TaskEvent], Awaitable[None] | None]
ErrorCallback = Callable[[Exception, TaskEvent], None]


class Observe:
    """Tells listeners of every task that runs below, in order.

    A listener is a function, which is called in a thread of its own and may block, or a coroutine function, which runs
    in the loop. It is called with one event of a session at a time, in their order; for several sessions it may be
    called at the same time. Each has a queue of its own for each session, so a slow one delays nobody and loses
    nothing: what it has not been told yet waits in memory, an event in less than 1 KiB, and closing the session waits
    until all is told. A listener that fails is told the next event all the same.

    Args:
        inner: What is observed. Whatever goes through here is told; to hear of follow-ups, too, observe below
            `Followups`.
        on_error: Called in the loop with each error of a listener and the event it failed on; by default the
            exception handler of the event loop, which logs it.
    """

    def __init__(self, inner: Executor, *, on_error: ErrorCallback | None = None) -> None:
        self._inner = inner
        self._on_error = on_error or _to_the_loop
        self._listeners: list[Listening] = []
        self._audiences: dict[SessionId, dict[Listening, _Audience]] = {}

    def listen(self, callback: Callback) -> "Listening":
        """Tell a listener everything that happens from now on, in open sessions, too.

        Returns:
            What ends it: ``with observe.listen(callback):`` listens for the block.
        """
        listening = Listening(self, callback)
        self._listeners.append(listening)
        return listening

    def unlisten(self, callback: Callback) -> None:
        """Tell a listener nothing that happens from now on; what happened before is still told.

        Raises:
            UsageError: If it does not listen.
        """
        for listening in self._listeners:
            if listening.callback == callback:
                self._listeners.remove(listening)
                return
        raise UsageError(f"{callback!r} does not listen here")

    def stop(self, listening: "Listening") -> None:
        """End what `listen` returned; does nothing if it has ended."""
        if listening in self._listeners:
            self._listeners.remove(listening)

    async def open_session(self, session: Session) -> None:
        """Open the session on the inner executor."""
        await self._inner.open_session(session)
        self._audiences[session.id] = {}

    async def execute(self, session: Session, task: Task) -> Result:
        """Run a task and tell what becomes of it.

        Raises:
            UnopenedSession: If the session is not open.
        """
        if session.id not in self._audiences:
            raise UnopenedSession(session.id)
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

        A cancellation ends the waiting, and what was not told yet is not told any more.
        """
        try:
            await self._inner.close_session(session_id)
        finally:
            audiences = self._audiences.pop(session_id, {}).values()
            try:
                telling = (audience.telling for audience in audiences if audience.telling is not None)
                await asyncio.gather(
                    *telling, return_exceptions=True
                )  # this way it waits for all even if cancelled
            finally:
                for audience in audiences:
                    audience.leave()

    def _tell(
        self, session: Session, task: Task, state: TaskState, error: BaseException | None = None
    ) -> None:
        if not self._listeners:
            return
        audiences = self._audiences.get(session.id)
        if audiences is None:
            return  # the session was closed over a task that ran
        event = TaskEvent(
            session_id=session.id, task_id=task.id, state=state, at=datetime.now(UTC), error=error
        )
        for listening in self._listeners:
            audience = audiences.get(listening)
            if audience is None:
                audience = audiences[listening] = _Audience(listening.callback, self._on_error)
            audience.tell(event)


class Listening:
    """A listener that is told everything until `stop`; leaving its ``with`` block stops it."""

    def __init__(self, observe: Observe, callback: Callback) -> None:
        self.callback = callback
        self._observe = observe

    def stop(self) -> None:
        """Tell nothing that happens from now on; safe to call twice."""
        self._observe.stop(self)

    def __enter__(self) -> "Listening":
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.stop()


class _Audience:
    """One listener of one session: a queue, and a task (`telling`) for as long as there is something in it."""

    def __init__(self, callback: Callback, on_error: ErrorCallback) -> None:
        self._callback = callback
        self._on_error = on_error
        self._is_async = iscoroutinefunction(callback) or iscoroutinefunction(type(callback).__call__)
        self._events: deque[TaskEvent] = deque()
        self.telling: asyncio.Task[None] | None = None
        self._pool: ThreadPoolExecutor | None = None

    def tell(self, event: TaskEvent) -> None:
        """Queue an event."""
        self._events.append(event)
        if self.telling is None:
            self.telling = asyncio.get_running_loop().create_task(self._deliver())

    def leave(self) -> None:
        """End the thread, if there was one; it has nothing to do any more."""
        if self._pool is not None:
            self._pool.shutdown()

    async def _deliver(self) -> None:
        deliver = self._tell_here if self._is_async else self._tell_from_thread
        while self._events:
            await deliver()
        self.telling = None

    async def _tell_here(self) -> None:
        event = self._events.popleft()
        await self._wait_for(self._callback(event), event)

    async def _wait_for(self, answer: Awaitable[None] | None, event: TaskEvent) -> None:
        try:
            if answer is not None:
                await answer
        except Exception as error:
            self._report(error, event)

    async def _tell_from_thread(self) -> None:
        loop = asyncio.get_running_loop()
        errors: list[tuple[Exception, TaskEvent]] = []
        call = loop.run_in_executor(self._threads(), partial(self._call, errors))
        try:
            waiting = await asyncio.shield(call)
        except asyncio.CancelledError:
            self._events.clear()
            await _ended(call)  # a thread can't be stopped, and must not outlive the session
            raise
        for error, event in errors:
            self._report(error, event)
        if waiting is not None:
            await self._wait_for(*waiting)

    def _report(self, error: Exception, event: TaskEvent) -> None:
        try:
            self._on_error(error, event)
        except Exception as another:
            _to_the_loop(another, event)

    def _threads(self) -> "ThreadPoolExecutor":
        if self._pool is None:
            from concurrent.futures import ThreadPoolExecutor  # noqa: PLC0415 - only for functions that listen

            self._pool = ThreadPoolExecutor(1, thread_name_prefix="runwright-listener")
        return self._pool

    def _call(self, errors: list[tuple[Exception, TaskEvent]]) -> tuple[Awaitable[None], TaskEvent] | None:
        """Tell some events in the thread; stop at one whose answer must be awaited, and return that."""
        for _ in range(BATCH):
            try:
                event = self._events.popleft()
            except IndexError:
                return None
            try:
                answer = self._callback(event)
            except Exception as error:
                errors.append((error, event))
                continue
            if answer is not None and hasattr(answer, "__await__"):
                return answer, event
        return None


async def _ended(call: "asyncio.Future[Any]") -> None:
    while not call.done():
        try:
            await asyncio.wait([call])
        except asyncio.CancelledError:
            continue


def _to_the_loop(error: Exception, event: TaskEvent) -> None:
    asyncio.get_running_loop().call_exception_handler(
        {
            "message": f'a listener failed on event "{event.state}" of task "{event.task_id}"',
            "exception": error,
        }
    )
