"""An executor that is made when its first task comes."""

import asyncio
from collections.abc import Callable

from runwright.core.errors import UnopenedSession
from runwright.core.task import Result, SessionId, Task
from runwright.ports.executor import Executor, Session


class Lazy:
    """Stands for an executor that may never be needed, such as one that only a follow-up names.

    Args:
        make: Makes it; called once.
    """

    def __init__(self, make: Callable[[], Executor]) -> None:
        self._make = make
        self._inner: Executor | None = None
        self._sessions: dict[SessionId, asyncio.Lock] = {}
        self._opened: set[SessionId] = set()

    async def open_session(self, session: Session) -> None:
        """Take the session; the executor opens it with its first task."""
        self._sessions[session.id] = asyncio.Lock()

    async def execute(self, session: Session, task: Task) -> Result:
        """Run the task on the executor.

        Raises:
            UnopenedSession: If the session is not open.
        """
        lock = self._sessions.get(session.id)
        if lock is None:
            raise UnopenedSession(session.id)
        if self._inner is None:
            self._inner = self._make()
        async with lock:
            if session.id not in self._opened:
                await self._inner.open_session(session)
                self._opened.add(session.id)
        return await self._inner.execute(session, task)

    async def close_session(self, session_id: SessionId) -> None:
        """Close the session on the executor, if it was opened there."""
        self._sessions.pop(session_id, None)
        if self._inner is not None and session_id in self._opened:
            self._opened.discard(session_id)
            await self._inner.close_session(session_id)
