"""A wrapper that refuses what no caller of an executor may do."""

from runwright.core.task import Result, SessionId, Task
from runwright.ports.executor import Executor, Session
from runwright.testing.subject import require


class Strict:
    """Passes everything on, and refuses what no caller of an executor may do.

    Args:
        inner: Does the work.
    """

    def __init__(self, inner: Executor) -> None:
        self.opened: list[SessionId] = []
        self.closed: list[SessionId] = []
        self._inner = inner
        self._ready: set[SessionId] = set()

    async def open_session(self, session: Session) -> None:
        """Open the session on the inner executor, once."""
        require(session.id not in self.opened, f"session {session.id} is opened twice")
        self.opened.append(session.id)
        await self._inner.open_session(session)
        self._ready.add(session.id)

    async def execute(self, session: Session, task: Task) -> Result:
        """Run a task of an open session."""
        require(session.id in self._ready, f"task {task.id} comes while session {session.id} is not open")
        return await self._inner.execute(session, task)

    async def close_session(self, session_id: SessionId) -> None:
        """Close an open session."""
        require(session_id in self._ready, f"session {session_id} is closed while it is not open")
        self._ready.discard(session_id)
        self.closed.append(session_id)
        await self._inner.close_session(session_id)
