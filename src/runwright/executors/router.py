"""A tree of executors: each task goes to the one its dotted route names."""

import asyncio
from collections.abc import Iterator, Mapping
from contextlib import suppress

from runwright.core.errors import DuplicateExecutor, NoExecutorFound, UnopenedSession
from runwright.core.task import Result, SessionId, Task, replace
from runwright.ports.executor import Executor, Session

ANY = "*"
"""Name of the executor that takes every route no other name matches."""


class _Branch(dict[str, "Executor | _Branch"]):
    """What is below one part of dotted names, by the next part."""


class Router:
    """Passes tasks on by the first parts of their route, with the rest of the route as theirs.

    An executor named ``build.linux`` takes the route ``build.linux`` and all that begins with ``build.linux.``. One
    with the empty name takes the empty route. ``*`` as the last part of a name takes every route that nothing else
    matches there, as it is from that part on: ``*`` alone gets whole routes, ``build.*`` gets what is behind
    ``build.``. As another part of a name, as in ``*.fast``, it stands for any one part. A name written out wins over
    ``*``, and a ``*`` further on in the route over an earlier one.

    A router may be an executor of another one: names that lead into it are its own names.

    Executors may come and go at any time, from the thread of the loop.

    Args:
        executors: By name.
    """

    def __init__(self, executors: Mapping[str, Executor] | None = None) -> None:
        self._root = _Branch()
        self._sessions: dict[SessionId, _Opened] = {}
        for name, executor in (executors or {}).items():
            self.register(name, executor)

    def register(self, name: str, executor: Executor) -> None:
        """Add an executor; it is opened for a session when that session's first task comes for it.

        Raises:
            DuplicateExecutor: If the name, or a part of the way to it, is taken.
        """
        branch, last = self._way(name)
        if isinstance(branch, Router):
            branch.register(last, executor)
        elif last in branch:
            raise DuplicateExecutor(f'there is an executor "{name}" already; {self._known()}')
        else:
            branch[last] = executor

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
            DuplicateExecutor: If a part of the way to the name is taken, or if there are names that begin with it.
        """
        branch, last = self._way(name)
        if isinstance(branch, Router):
            branch.replace(last, executor)
        elif isinstance(branch.get(last), _Branch):
            raise DuplicateExecutor(f'there are executors below "{name}"; {self._known()}')
        else:
            branch[last] = executor

    def executor(self, name: str) -> Executor:
        """Return the executor of a name.

        Raises:
            NoExecutorFound: If there is none.
        """
        found: Executor | _Branch | None = self._root
        rest, dot = name, "."
        while dot and isinstance(found, _Branch):
            first, dot, rest = rest.partition(".")
            found = found.get(first)
        if dot and isinstance(found, Router):
            with suppress(NoExecutorFound):
                return found.executor(rest)
        if dot or found is None or isinstance(found, _Branch):
            raise self._unknown(name)
        return found

    def names(self) -> tuple[str, ...]:
        """Return the names there are, sorted, whole; those of routers below are among them."""
        return tuple(sorted(self._names()))

    async def open_session(self, session: Session) -> None:
        """Open the session on every executor; if one can't, those that could are closed again.

        Raises:
            ExceptionGroup: With the errors of several executors; a single one comes out as it is.
        """
        opened = _Opened(session)
        await opened.open(tuple(executor for _, executor in _leaves(self._root)))
        self._sessions[session.id] = opened

    async def execute(self, session: Session, task: Task) -> Result:
        """Pass a task on.

        Raises:
            NoExecutorFound: If no name matches its route.
            UnopenedSession: If the session is not open.
        """
        executor, rest = self._find(task.executor)
        opened = self._sessions.get(session.id)
        if opened is None:
            raise UnopenedSession(session.id)
        if not opened.has(executor):
            await opened.ensure(executor)
        return await executor.execute(session, replace(task, executor=rest))

    async def close_session(self, session_id: SessionId) -> None:
        """Close the session on every executor it was opened on; does nothing if it is not open.

        Raises:
            ExceptionGroup: With the errors of several executors; a single one comes out as it is.
        """
        opened = self._sessions.pop(session_id, None)
        if opened is not None:
            await opened.close()

    def _find(self, route: str) -> tuple[Executor, str]:
        """Return who takes a route, and what is left of it; what is best comes off the stack first."""
        stack: list[tuple[Executor | _Branch, str]] = [(self._root, route)]
        while stack:
            found, rest = stack.pop()
            if not isinstance(found, _Branch):
                return found, rest
            first, _, after = rest.partition(".")
            if (any_ := found.get(ANY)) is not None:
                stack.append((any_, after if isinstance(any_, _Branch) else rest))
            if (named := found.get(first)) is not None:
                stack.append((named, after))
        raise self._unknown(route)

    def _way(self, name: str) -> "tuple[_Branch | Router, str]":
        """Return what has, or is to have, the last part of a name, and that part; makes what is missing between."""
        branch, rest = self._root, name
        while "." in rest:
            first, _, rest = rest.partition(".")
            below = branch.setdefault(first, _Branch())
            if isinstance(below, Router):
                return below, rest
            if not isinstance(below, _Branch):
                taken = name.removesuffix(f".{rest}")
                raise DuplicateExecutor(
                    f'there is an executor "{taken}", so none can be "{name}"; {self._known()}'
                )
            branch = below
        return branch, rest

    def _remove(self, name: str) -> None:
        """Remove an executor that is there, and the branches that are empty then."""
        way: list[tuple[_Branch, str]] = []
        branch, rest = self._root, name
        while True:
            first, _, rest = rest.partition(".")
            way.append((branch, first))
            below = branch[first]
            if not isinstance(below, _Branch):
                break
            branch = below
        if rest and isinstance(below, Router):
            below.unregister(rest)
            return
        for branch, last in reversed(way):
            del branch[last]
            if branch:
                return

    def _names(self) -> Iterator[str]:
        for name, executor in _leaves(self._root):
            inner = executor.names() if isinstance(executor, Router) else ()
            yield from (f"{name}.{rest}" if rest else name for rest in inner)
            if not inner:
                yield name

    def _known(self) -> str:
        return f"known: {', '.join(name or '(nameless)' for name in self.names()) or 'none'}"

    def _unknown(self, route: str) -> NoExecutorFound:
        return NoExecutorFound(f'no executor "{route}"; {self._known()}')


def _leaves(root: _Branch) -> Iterator[tuple[str, Executor]]:
    """Yield all executors of a tree with their whole names, in the order in which they were added."""
    stack: list[tuple[str, Executor | _Branch]] = [("", root)]
    while stack:
        name, found = stack.pop()
        if not isinstance(found, _Branch):
            yield name, found
            continue
        before = f"{name}." if found is not root else ""
        stack += [(f"{before}{part}", below) for part, below in reversed(found.items())]


class _Opened:
    """The executors that one session is open on."""

    def __init__(self, session: Session) -> None:
        self._session = session
        self._lock = asyncio.Lock()
        self._executors: dict[int, Executor] = {}

    def has(self, executor: Executor) -> bool:
        """Tell whether the session is open on an executor."""
        return id(executor) in self._executors

    async def open(self, executors: tuple[Executor, ...]) -> None:
        """Open all of them, whatever becomes of each; if one can't, close the others and report all errors."""
        errors: list[Exception] = []
        try:
            for executor in executors:
                try:
                    await self.ensure(executor)
                except Exception as error:
                    errors.append(error)
        except BaseException:
            with suppress(Exception):
                await self.close()
            raise
        if errors:
            raise _together("several executors can't open", [*errors, *await self._close_each()])

    async def ensure(self, executor: Executor) -> None:
        """Open the session on an executor, once, whoever else asks at the same time."""
        async with self._lock:
            if self.has(executor):
                return
            await executor.open_session(self._session)
            self._executors[id(executor)] = executor

    async def close(self) -> None:
        """Close all of them, last to first, whatever becomes of each, and report all errors together."""
        if errors := await self._close_each():
            raise _together("several executors can't close", errors)

    async def _close_each(self) -> list[Exception]:
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
        return errors


def _together(message: str, errors: list[Exception]) -> Exception:
    return errors[0] if len(errors) == 1 else ExceptionGroup(message, errors)
