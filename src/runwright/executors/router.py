"""A tree of executors: each task goes to the one its dotted route names."""

from collections.abc import Mapping

from runwright.core.errors import DuplicateExecutor, NoExecutorFound
from runwright.core.task import Result, SessionId, Task, replace
from runwright.ports.executor import Executor, Session

ANY = "*"
"""Name of the executor that takes every route no other name matches."""


class Router:
    """Passes tasks on by the first part of their route, with the rest of the route as theirs.

    A task whose route is empty goes to the executor with the empty name; one whose first part no name matches goes
    to the one named ``*``, with its whole route.

    Args:
        executors: By name, without dots.
    """

    def __init__(self, executors: Mapping[str, Executor] | None = None) -> None:
        self._executors: dict[str, Executor] = {}
        self._sessions: dict[SessionId, tuple[Session, list[Executor]]] = {}
        for name, executor in (executors or {}).items():
            self.register(name, executor)

    def register(self, name: str, executor: Executor) -> None:
        """Add an executor; it is opened for a session when that session's first task comes for it.

        Raises:
            DuplicateExecutor: If the name is taken.
        """
        if name in self._executors:
            raise DuplicateExecutor(f'there is an executor "{name}" already')
        self._executors[name] = executor

    def unregister(self, *names: str) -> None:
        """Take executors out; tasks they run go on, and their sessions are closed with the router's.

        Raises:
            NoExecutorFound: If there is none of a name.
        """
        for name in names:
            if self._executors.pop(name, None) is None:
                raise self._unknown(name)

    def replace(self, name: str, executor: Executor) -> None:
        """Put an executor in the place of the one of that name, if there is one."""
        self._executors[name] = executor

    def executor(self, name: str) -> Executor:
        """Return the executor of a name.

        Raises:
            NoExecutorFound: If there is none.
        """
        if name not in self._executors:
            raise self._unknown(name)
        return self._executors[name]

    def names(self) -> tuple[str, ...]:
        """Return the names there are, sorted."""
        return tuple(sorted(self._executors))

    async def open_session(self, session: Session) -> None:
        """Open the session on every executor."""
        opened: list[Executor] = []
        self._sessions[session.id] = (session, opened)
        for executor in self._executors.values():
            await self._open(executor, session, opened)

    async def execute(self, session: Session, task: Task) -> Result:
        """Pass a task on.

        Raises:
            NoExecutorFound: If no name matches its route.
        """
        name, _, rest = task.executor.partition(".")
        executor = self._executors.get(name)
        if executor is None:
            executor, rest = self._executors.get(ANY), task.executor
        if executor is None:
            raise self._unknown(task.executor)
        held = self._sessions.get(session.id)
        if held is not None and not any(executor is other for other in held[1]):
            await self._open(executor, session, held[1])
        return await executor.execute(session, replace(task, executor=rest))

    async def close_session(self, session_id: SessionId) -> None:
        """Close the session on every executor it was opened on, and report all their errors together."""
        _, opened = self._sessions.pop(session_id, (None, []))
        errors: list[Exception] = []
        for executor in reversed(opened):
            try:
                await executor.close_session(session_id)
            except Exception as error:
                errors.append(error)
        if errors:
            raise (
                errors[0] if len(errors) == 1 else ExceptionGroup("several executors failed to close", errors)
            )

    async def _open(self, executor: Executor, session: Session, opened: list[Executor]) -> None:
        opened.append(executor)
        await executor.open_session(session)

    def _unknown(self, route: str) -> NoExecutorFound:
        known = ", ".join(name or "(nameless)" for name in self.names()) or "none"
        return NoExecutorFound(f'no executor "{route}"; known: {known}')
