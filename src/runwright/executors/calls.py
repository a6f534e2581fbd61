"""Calls that end with their session, whoever still waits for them."""

import asyncio
from types import TracebackType
from typing import Any

from runwright.core.errors import Failure, TaskFailed
from runwright.core.task import SessionId
from runwright.engines.groups import cancel_once


class Calls:
    """The calls of `execute` that are under way, so that closing their session can end them.

    A call is cancelled then, as its caller might have done, and fails with code ``E_SESSION`` once that has worked; to
    its caller it is no cancellation.
    """

    def __init__(self) -> None:
        self._running: dict[SessionId, dict[asyncio.Task[Any], Call]] = {}

    def of(self, session_id: SessionId) -> "Call":
        """Return the scope of one call: ``with calls.of(session.id): ...``."""
        return Call(self._running, session_id)

    async def end(self, session_id: SessionId) -> None:
        """End the calls of a session, and wait for their ends."""
        while calls := self._running.get(session_id):
            for task, call in calls.items():
                call.is_ended = True
                cancel_once(task)
            await asyncio.wait([call.left() for call in calls.values()])


class Call:
    """One call.

    Attributes:
        is_ended: True once its session is being closed.
    """

    __slots__ = ("_ending", "_key", "_running", "_task", "is_ended")

    def __init__(self, running: dict[SessionId, dict[asyncio.Task[Any], "Call"]], key: SessionId) -> None:
        self._running = running
        self._key = key
        self._ending: asyncio.Future[None] | None = None
        self.is_ended = False

    def left(self) -> "asyncio.Future[None]":
        """Return what is done when the call has ended."""
        if self._ending is None:
            self._ending = asyncio.get_running_loop().create_future()
        return self._ending

    def __enter__(self) -> None:
        task = asyncio.current_task()
        assert task is not None, "execute is awaited in a task of the loop"
        self._task = task
        self._running.setdefault(self._key, {})[task] = self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        calls = self._running[self._key]
        del calls[self._task]
        if not calls:
            del self._running[self._key]
        if self._ending is not None:
            self._ending.set_result(None)
        if self.is_ended and isinstance(error, asyncio.CancelledError) and not self._task.uncancel():
            failure = Failure(code="E_SESSION", message="its session was closed while it ran")
            raise TaskFailed(failure) from None
