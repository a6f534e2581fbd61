"""Tasks that need not run, because nothing that they depend on has changed."""

import os
import time
from collections.abc import AsyncIterator, Callable, Generator, Iterator, Mapping
from contextlib import asynccontextmanager, contextmanager
from contextvars import ContextVar
from math import inf
from typing import Any

import msgspec
from msgspec import structs

from runwright.core.cacheentry import Entry, details
from runwright.core.cachekey import (
    PARTS,
    Account,
    Difference,
    Material,
    account_of,
    changed_parts,
    differences,
    key_of,
)
from runwright.core.errors import Failure, StoreError, TaskFailed, UnopenedSession
from runwright.core.task import CacheUse, Result, SessionId, Task, TaskId
from runwright.core.values import stored_value
from runwright.executors.cache_files import Budget, TooMuch
from runwright.executors.cache_threads import IN_PASSING_BYTES, in_passing, in_thread
from runwright.executors.cache_tree import Tree
from runwright.ports.executor import Decision, Executor, Session
from runwright.ports.stores import CacheStore

ENGINE_PREFIX = "RUNWRIGHT_"
"""How the variables begin that an engine sets for its tasks: they differ from run to run and mean nothing."""

UP_TO_DATE = Decision("up to date", spared=True)
RESTORED = "restored from the cache"

_held: ContextVar[frozenset[str]] = ContextVar("held", default=frozenset())
"""Keys whose outcome is being made around us: a cache inside a cache must not wait for itself."""


class Mismatches(tuple[str, ...]):
    """Names of parts; what is asked for with ``await`` is the same names."""

    __slots__ = ()

    def __await__(self) -> Generator[Any, Any, "Mismatches"]:
        yield from ()
        return self


class State(msgspec.Struct, frozen=True):
    """What a task depends on as it stands now."""

    key: str
    material: Material


class Cache:
    """Skips a task whose key is unchanged, and restores what it had made if that is missing or altered.

    The key is made of the task's executor, its arguments, the files that its `inputs` match with their content, the
    environment that it declares, and its declared `outputs`. Whether a task is up to date depends on its outputs too:
    they must be what was recorded. A success is kept, with its value, variables and follow-ups; a failure never is.
    One task at a time makes the outcome of a key, whoever else asks for it: the others wait, and find it.

    What the declared outputs match is removed before the task runs, in a tree where the cache has run it before, so that
    what is recorded is what it made.

    Args:
        inner: Runs the tasks.
        open_store: Returns the store for a session.
        scope: Tells apart caches in one source tree that use the same ids of tasks for different things.
        configured: What is configured under the names of executors; a change of it changes the key.
        environ: Where the variables are that tasks declare.
    """

    def __init__(
        self,
        inner: Executor,
        open_store: Callable[[Session], CacheStore],
        *,
        scope: str = "",
        configured: Mapping[str, Any] | None = None,
        environ: Mapping[str, str] = os.environ,
    ) -> None:
        self._inner = inner
        self._open_store = open_store
        self._scope = scope
        self._configured = dict(configured or {})
        self._environ = environ
        self._trees: dict[SessionId, Tree] = {}
        self._decisions: dict[tuple[SessionId, TaskId], Decision] = {}

    async def open_session(self, session: Session) -> None:
        """Open the session on the inner executor, and recall what is known of its source tree."""
        await self._inner.open_session(session)
        try:
            self._trees[session.id] = Tree(session, self._open_store(session), self._scope)
        except BaseException:
            await self._inner.close_session(session.id)
            raise

    async def execute(self, session: Session, task: Task) -> Result:
        """Return the result of a task, which runs only if it must.

        Raises:
            UnopenedSession: If the session is not open.
            TaskFailed: As the inner executor; with code ``E_OUTPUT`` if the task did not make an output that it declares,
                ``E_CACHE`` if a file can't be read, or if an output is also an input; ``E_VALUE`` if the task returned
                what is stored by digest, pickles among it.
        """
        tree = self._tree(session)
        if task.cache is CacheUse.OFF:
            return await self._inner.execute(session, task)
        try:
            state = await self._state(tree, task)
        except TypeError as error:
            self._decide(session, task, Decision(f"not cached: {error}"))
            return await self._inner.execute(session, task)
        if state.key in _held.get():
            return await self._inner.execute(session, task)
        if (found := await self._reused(tree, task, state)) is not None:
            return found
        async with self._alone(tree, state):
            if (found := await self._reused(tree, task, state)) is not None:
                return found
            return await self._run(tree, task, state)

    async def close_session(self, session_id: SessionId) -> None:
        """Close the session on the inner executor, and save what has been learnt of its source tree."""
        try:
            await self._inner.close_session(session_id)
        finally:
            tree = self._trees.pop(session_id, None)
            if tree is not None:
                tree.close()
            for key in [key for key in self._decisions if key[0] == session_id]:
                del self._decisions[key]

    def mismatches(self, session: Session, task: Task) -> Mismatches:
        """Return the parts of a task that are not as they were when it was last up to date in this tree.

        The parts are ``executor``, ``args``, ``inputs`` (which files there are), ``input content``, ``env`` and
        ``outputs``, in this order; none if the task is up to date, all if it never was. Nothing is run or written.
        The answer can be used as it is, or awaited.

        Raises:
            TaskFailed: With code ``E_CACHE`` if a file can't be read.
        """
        tree = self._tree(session)
        last = tree.memory.last(task.id)
        if last is None:
            return Mismatches(PARTS)
        with _told():
            state = self._state_within(tree, task, Budget(inf))
            found = differences(last.account, account_of(state.material, session.redact))
            found += tree.output_differences(task, last.outputs, Budget(inf))
        parts = changed_parts(found)
        if not parts and state.key != last.key:
            parts = ("outputs",)  # its last attempt did not come to a good end, so nothing of it counts
        return Mismatches(parts)

    # As the engine sees it

    def at_once(self, session: Session, task: Task) -> Result | None:
        """Return the result of a task that is up to date; see `Reuse`."""
        tree = self._trees.get(session.id)
        last = None if tree is None or task.cache is not CacheUse.USE else tree.memory.last(task.id)
        if tree is None or last is None or last.own:
            return None
        budget = Budget(IN_PASSING_BYTES)
        try:
            if self._state_within(tree, task, budget).key != last.key:
                return None
            if not tree.is_as_recorded(last.outputs, budget):
                return None
        except (TooMuch, OSError, TypeError):
            return None
        tree.use(last)
        self._decide(session, task, UP_TO_DATE)
        return _result(last)

    @contextmanager
    def sweep(self) -> Iterator[None]:
        """Take files not to change; see `Reuse`."""
        for tree in self._trees.values():
            tree.files.freeze(True)
        try:
            yield
        finally:
            for tree in self._trees.values():
                tree.files.freeze(False)

    def decision(self, session_id: SessionId, task_id: TaskId) -> Decision | None:
        """Return why a task ran or did not have to; see `Reuse`."""
        return self._decisions.pop((session_id, task_id), None)

    # The key

    def _tree(self, session: Session) -> Tree:
        tree = self._trees.get(session.id)
        if tree is None:
            raise UnopenedSession(session.id)
        return tree

    async def _state(self, tree: Tree, task: Task) -> State:
        with _told():
            return await in_passing(lambda budget: self._state_within(tree, task, budget))

    def _state_within(self, tree: Tree, task: Task, budget: Budget) -> State:
        args = dict(task.args)
        env = self._declared(task, args)
        head = task.executor.partition(".")[0]
        route: Any = task.executor
        if head in self._configured:
            route = [route, self._configured[head]]
        material = Material(
            executor=route,
            args=args,
            inputs=tree.files.matches(task.inputs, budget),
            env=env,
            outputs=task.outputs,
        )
        return State(key_of(material), material)

    def _declared(self, task: Task, args: dict[str, Any]) -> dict[str, str | None]:
        """Take the environment out of the arguments, and return what counts of it."""
        given = args.get("env")
        if not isinstance(given, Mapping):
            given = {}
        else:
            del args["env"]
        env = {name: value for name, value in given.items() if not name.startswith(ENGINE_PREFIX)}
        for name in task.env:
            env[name] = given[name] if name in given else self._environ.get(name)
        return env

    # What is found

    async def _reused(self, tree: Tree, task: Task, state: State) -> Result | None:
        """Return the result of a task that is up to date or can be restored."""
        if task.cache is not CacheUse.USE:
            return None
        last = tree.memory.last(task.id)
        is_last = last is not None and last.key == state.key
        entry = last if is_last else tree.store.entry(state.key)
        if entry is None:
            return None
        tree.check_outputs(task, state.material.inputs)
        with _told():
            altered = await in_passing(lambda budget: tree.output_differences(task, entry.outputs, budget))
            if altered or not is_last:
                if not await in_thread(lambda: tree.restore(task, entry, last), large=tree.is_large(entry)):
                    return None
                tree.memory.note(task.id, entry)
        tree.use(entry)
        changes = _changes(last, state, tree) or altered
        reason = RESTORED if altered else UP_TO_DATE.reason
        self._decide(tree.session, task, Decision(reason, details(changes), spared=True))
        return _result(entry)

    # What runs

    @asynccontextmanager
    async def _alone(self, tree: Tree, state: State) -> AsyncIterator[None]:
        """Hold the key: nobody else makes its outcome meanwhile."""
        async with tree.store.flight(state.key):
            token = _held.set(_held.get() | {state.key})
            try:
                yield
            finally:
                _held.reset(token)

    async def _run(self, tree: Tree, task: Task, state: State) -> Result:
        last = tree.memory.last(task.id)
        why = _why(task, last, state, tree)
        account = account_of(state.material, tree.session.redact)
        tree.check_outputs(task, state.material.inputs)
        with _told():
            tree.clear(task, last)
        tree.memory.note(task.id, _unfinished(task, last, account))
        begun = time.monotonic()
        result = await self._inner.execute(tree.session, task)
        seconds = time.monotonic() - begun
        _refuse_stored(result)
        fault = await self._keep(tree, task, state, account, result, seconds)
        if fault:
            why = Decision(f"{why.reason}; not kept: {fault}", why.details)
        self._decide(tree.session, task, why)
        return result

    async def _keep(
        self, tree: Tree, task: Task, state: State, account: Account, result: Result, seconds: float
    ) -> str:
        """Keep what came of a task; returns why that was not possible, or an empty text."""
        with _told():
            now = await self._state(tree, task)
            if now.key != state.key:
                changed = differences(account, account_of(now.material, tree.session.redact))
                tree.check_outputs(task, now.material.inputs)
                return f"{changed[0].text if changed else 'something changed'} while it ran"
            try:
                if _holds_secret(tree.session, result):
                    return "its result holds a secret"
                outputs = await in_thread(lambda: tree.record(task, result), large=tree.is_much(task, result))
                entry = Entry(
                    key=state.key,
                    task_id=task.id,
                    account=account,
                    outputs=outputs,
                    value=result.value,
                    variables=dict(result.variables),
                    followups=result.followups,
                    own=result.outputs,
                    seconds=seconds,
                    made_at=time.time(),
                )
                tree.store.keep(entry)
            except (StoreError, TypeError) as error:
                return str(error)
        tree.memory.note(task.id, entry)
        return ""

    def _decide(self, session: Session, task: Task, decision: Decision) -> None:
        self._decisions[session.id, task.id] = decision


def _unfinished(task: Task, last: Entry | None, account: Account) -> Entry:
    """Return what to remember while a task runs: until it has succeeded nothing of it counts.

    Its outputs are those that it may leave, whatever becomes of this process.
    """
    if last is None:
        return Entry(key="", task_id=task.id, account=account)
    declared = tuple(dict.fromkeys((*last.account.outputs, *task.outputs)))
    return structs.replace(last, key="", account=structs.replace(last.account, outputs=declared))


def _result(entry: Entry) -> Result:
    return Result(outputs=entry.own, value=entry.value, variables=entry.variables, followups=entry.followups)


def _changes(last: Entry | None, state: State, tree: Tree) -> list[Difference]:
    if last is None:
        return []
    return differences(last.account, account_of(state.material, tree.session.redact))


def _why(task: Task, last: Entry | None, state: State, tree: Tree) -> Decision:
    """Return why a task must run."""
    if task.cache is CacheUse.KEEP:
        return Decision("asked to run, whatever the cache holds")
    if last is None:
        return Decision("not in the cache")
    changes = _changes(last, state, tree)
    if not changes and last.key == "":
        return Decision("its last attempt did not succeed")
    if not changes:
        changes = tree.output_differences(task, last.outputs, Budget(inf))
        lost = Difference("outputs", "the cache has lost what it was")
        changes.append(lost)
    first = changes[0].text
    more = f", and {len(changes) - 1} more" if len(changes) > 1 else ""
    return Decision(f"{first}{more}", details(changes))


def _refuse_stored(result: Result) -> None:
    """Refuse a value that is kept elsewhere: where the cache is shared, others do not have it."""
    stored = stored_value(result.value)
    if stored is not None:
        message = f"its value has {stored.size_bytes} bytes ({stored.form.value}) and is stored by digest, which a cache can't replay"
        advice = "write it to a file among its outputs, or remove cache"
        raise TaskFailed(Failure(code="E_VALUE", message=f"{message}; {advice}"))


def _holds_secret(session: Session, result: Result) -> bool:
    if not session.redactor:
        return False
    text = msgspec.json.encode((result.value, result.variables, result.followups)).decode()
    return bool(session.redactor.finds(text))


@contextmanager
def _told() -> Iterator[None]:
    """Turn what goes wrong with files of a task into its failure."""
    try:
        yield
    except OSError as error:
        where = f"{error.filename}: " if error.filename else ""
        message = f"the cache can't do its work: {where}{error.strerror or error}"
        raise TaskFailed(Failure(code="E_CACHE", message=message)) from error
