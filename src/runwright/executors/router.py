"""A tree of executors: each task goes to the one its dotted route names."""

import asyncio
from collections.abc import Mapping

from runwright.core.errors import DuplicateExecutor, NoExecutorFound
from runwright.core.task import Result, SessionId, Task, replace
from runwright.ports.executor import Executor, Session

ANY = "*"
"""Name of the executor that takes every route no other name matches."""


class Router:
    """Passes tasks on by the first part of their route, with the rest of the route as theirs.

    A task whose route is empty goes to the executor with the empty name; one whose first part no name matches goes
    to the one named ``*``, with its whole route. An executor under a dotted name, such as ``build.linux``, is behind
    a router of its own named ``build``.

    Args:
        executors: By name.
    """

    def __init__(self, executors: Mapping[str, Executor] | None = None) -> None:
        self._path = ""
        self._executors: dict[str, Executor] = {}
        self._sessions: dict[SessionId, _Opened] = {}
        for name, executor in (executors or {}).items():
            self.register(name, executor)

    def register(self, name: str, executor: Executor) -> None:
        """Add an executor; it is opened for a session when that session's first task comes for it.

        Raises:
            DuplicateExecutor: If the name, or a part of the way to it, is taken.
        """
        first, dot, rest = name.partition(".")
        if dot:
            self._branch(first, name).register(rest, executor)
        elif name in self._executors:
            raise DuplicateExecutor(f'there is an executor "{self._path}{name}" already; {self._known()}')
        else:
            self._executors[name] = executor

    def unregister(self, *names: str) -> None:
        """Take executors out; tasks they run go on, and their sessions are closed with the router's.

        Raises:
            NoExecutorFound: If there is none of a name; then all of them stay.
        """
        for name in names:
            self.executor(name)
        for name in dict.fromkeys(names):
            self._remove(name)

    def replace(self, name: str, executor: Executor) -> None:
        """Put an executor in the place of the one of that name, if there is one.

        Raises:
            DuplicateExecutor: If a part of the way to the name is taken.
        """
        first, dot, rest = name.partition(".")
        if dot:
            self._branch(first, name).replace(rest, executor)
        else:
            self._executors[name] = executor

    def executor(self, name: str) -> Executor:
        """Return the executor of a name.

        Raises:
            NoExecutorFound: If there is none.
        """
        router, last = self._place(name)
        if last not in router._executors:
            raise self._unknown(name)
        return router._executors[last]

    def names(self) -> tuple[str, ...]:
        """Return the names there are, sorted; those behind a router below are dotted."""
        found = []
        for name, executor in self._executors.items():
            inner = executor.names() if isinstance(executor, Router) else ()
            found += [f"{name}.{rest}".rstrip(".") for rest in inner] or [name]
        return tuple(sorted(found))

    async def open_session(self, session: Session) -> None:
        """Open the session on every executor; if one can't, those that could are closed again."""
        opened = self._sessions[session.id] = _Opened(session)
        try:
            for executor in tuple(self._executors.values()):
                await opened.ensure(executor)
        except BaseException:
            del self._sessions[session.id]
            await opened.close()
            raise

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
        opened = self._sessions.get(session.id)
        if opened is not None and not opened.has(executor):
            await opened.ensure(executor)
        return await executor.execute(session, replace(task, executor=rest))

    async def close_session(self, session_id: SessionId) -> None:
        """Close the session on every executor it was opened on.

        Raises:
            ExceptionGroup: With the errors of several executors; a single one comes out as it is.
        """
        opened = self._sessions.pop(session_id, None)
        if opened is not None:
            await opened.close()

    def _branch(self, first: str, name: str) -> "Router":
        """Return the router below, made now if there is none."""
        branch = self._executors.get(first)
        if branch is None:
            branch = self._executors[first] = Router()
            branch._path = f"{self._path}{first}."
        if not isinstance(branch, Router):
            raise DuplicateExecutor(
                f'there is an executor "{self._path}{first}", so none can be "{self._path}{name}"; {self._known()}'
            )
        return branch

    def _remove(self, name: str) -> None:
        first, dot, rest = name.partition(".")
        if dot:
            branch = self._branch(first, name)
            branch._remove(rest)
            if branch._executors or not branch._path:
                return  # a router that somebody else made stays, even if empty
        del self._executors[first]

    def _place(self, name: str) -> "tuple[Router, str]":
        """Return the router that has, or would have, the last part of a name, and that part."""
        first, dot, rest = name.partition(".")
        branch = self._executors.get(first)
        return branch._place(rest) if dot and isinstance(branch, Router) else (self, name)

    def _known(self) -> str:
        shown = (f"{self._path}{name}" for name in self.names())
        return f"known: {', '.join(name or '(nameless)' for name in shown) or 'none'}"

    def _unknown(self, route: str) -> NoExecutorFound:
        return NoExecutorFound(f'no executor "{self._path}{route}"; {self._known()}')


class _Opened:
    """The executors that one session is open on."""

    def __init__(self, session: Session) -> None:
        self._session = session
        self._lock = asyncio.Lock()
        self._executors: dict[int, Executor] = {}

    def has(self, executor: Executor) -> bool:
        """Tell whether the session is open on an executor."""
        return id(executor) in self._executors

    async def ensure(self, executor: Executor) -> None:
        """Open the session on an executor, once, whoever else asks at the same time."""
        async with self._lock:
            if self.has(executor):
                return
            await executor.open_session(self._session)
            self._executors[id(executor)] = executor

    async def close(self) -> None:
        """Close all of them, last to first, whatever becomes of each, and report all errors together."""
        errors: list[Exception] = []
        cancelled: asyncio.CancelledError | None = None
        for executor in reversed(self._executors.values()):
            try:
                await executor.close_session(self._session.id)
            except asyncio.CancelledError as error:
                cancelled = error
            except Exception as error:
                errors.append(error)
        if cancelled is not None:
            raise cancelled
        if errors:
            raise errors[0] if len(errors) == 1 else ExceptionGroup("several executors can't close", errors)
