"""What every executor must do, as checks that need no test framework.

Describe an executor by a `Subject`, then call `check_executor`, or run the `CHECKS` one by one::

    @pytest.mark.parametrize("name", CHECKS)
    def test_mine(name, tmp_path):
        asyncio.run(run_check(name, subject, tmp_path))
"""

import asyncio
import fcntl
import re
from collections.abc import Awaitable, Callable, Coroutine, Mapping
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from pathlib import Path
from typing import Any

import msgspec
from msgspec import Struct, field

from runwright.core.errors import ExecutionError, TaskFailed
from runwright.core.task import Result, SessionId, Task, TaskId, replace
from runwright.ports.executor import Executor, Session
from runwright.testing.cancelling import cancelled_at
from runwright.testing.sessions import LocalSession

SECRET = "correct-horse/battery+staple"  # noqa: S105 - it opens nothing
DEADLINE = 30.0
"""Seconds after which what a check waits for counts as missing."""

MOST_AWAITS = 50
"""Cancellations tried in one call; no executor of ours suspends more often for a task that ends at once."""


class NotConforming(AssertionError):
    """An executor does not keep the contract; the message says which part of it."""


class Subject(Struct, frozen=True, kw_only=True):
    """An executor to check, and tasks in its own language.

    Attributes:
        open: Makes a fresh executor inside the running loop, and frees what it uses afterwards.
        succeeds: Ends well, with `value` as its value.
        fails: Makes a task whose failure names the text it is given.
        holds: Makes a task that opens the file it is given for appending, locks it by ``flock``, writes a byte into
            it, and goes on until it is stopped or a file of that name and ``.release`` exists; then it ends well.
        names: Sets the variables `variables`; None if the executor has none to offer.
        prints: Writes `output` to its log; None if the executor has no output.
        abandons: Like `holds`, but what goes on is a process of its own, which the task does not wait for; None if the
            executor starts no processes.
        takes_args: False for an executor that takes whatever arguments come.
        stops: False if what `holds` makes can't be stopped but by its release, as a thread.
    """

    open: Callable[[], AbstractAsyncContextManager[Executor]]
    succeeds: Task
    value: Any
    fails: Callable[[str], Task]
    holds: Callable[[Path], Task]
    names: Task | None = None
    variables: Mapping[str, str] = field(default_factory=dict)
    prints: Task | None = None
    output: bytes = b""
    abandons: Callable[[Path], Task] | None = None
    takes_args: bool = True
    stops: bool = True


Check = Callable[[Subject, Path], Awaitable[None]]


def check_executor(subject: Subject, folder: Path) -> None:
    """Run all checks, each in a loop and a directory of its own.

    Args:
        subject: What to check.
        folder: An empty directory.

    Raises:
        ExceptionGroup: With everything that does not hold, each named by a note.
    """
    errors: list[Exception] = []
    for name in CHECKS:
        own = folder / name
        own.mkdir()
        try:
            asyncio.run(run_check(name, subject, own))
        except Exception as error:
            error.add_note(f"in check {name}")
            errors.append(error)
    if errors:
        raise ExceptionGroup("the executor does not keep the contract", errors)


async def run_check(name: str, subject: Subject, folder: Path) -> None:
    """Run one of the `CHECKS`.

    Raises:
        NotConforming: If it does not hold.
    """
    before = asyncio.all_tasks()
    async with asyncio.timeout(4 * DEADLINE):
        await CHECKS[name](subject, folder)
    left = asyncio.all_tasks() - before
    _require(not left, f"tasks of the loop live on: {left}")


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
        _require(session.id not in self.opened, f"session {session.id} is opened twice")
        self.opened.append(session.id)
        await self._inner.open_session(session)
        self._ready.add(session.id)

    async def execute(self, session: Session, task: Task) -> Result:
        """Run a task of an open session."""
        _require(session.id in self._ready, f"task {task.id} comes while session {session.id} is not open")
        return await self._inner.execute(session, task)

    async def close_session(self, session_id: SessionId) -> None:
        """Close an open session."""
        _require(session_id in self._ready, f"session {session_id} is closed while it is not open")
        self._ready.discard(session_id)
        self.closed.append(session_id)
        await self._inner.close_session(session_id)


async def _value(subject: Subject, folder: Path) -> None:
    async with _opened(subject, folder) as (executor, session):
        before = msgspec.json.encode(subject.succeeds)
        result = await executor.execute(session, subject.succeeds)
        _require(isinstance(result, Result), f"a result is a Result, not {result!r}")
        _require(result.value == subject.value, f"the value is {result.value!r}, not {subject.value!r}")
        _require(msgspec.json.encode(subject.succeeds) == before, "the task was changed")


async def _variables(subject: Subject, folder: Path) -> None:
    if subject.names is None:
        return
    async with _opened(subject, folder) as (executor, session):
        found = dict((await executor.execute(session, subject.names)).variables)
        _require(found == dict(subject.variables), f"the variables are {found}, not {subject.variables}")


async def _output(subject: Subject, folder: Path) -> None:
    if subject.prints is None:
        return
    async with _opened(subject, folder) as (executor, session):
        await executor.execute(session, subject.prints)
        logged = session.log(subject.prints.id).read()
        _require(logged == subject.output, f"the log holds {logged!r}, not {subject.output!r}")


async def _failure(subject: Subject, folder: Path) -> None:
    async with _opened(subject, folder) as (executor, session):
        error = await _error_of(executor, session, subject.fails("too-bad"))
        code = error.failure.code if isinstance(error, TaskFailed) else error.code
        _require(re.fullmatch(r"E_[A-Z_]+", code) is not None, f"{code!r} is no code of a failure")
        _require(bool(str(error)), "a failure says what went wrong")
        _require("too-bad" in _texts(error), f"the failure does not say why: {_texts(error)!r}")
        again = await executor.execute(session, subject.succeeds)
        _require(again.value == subject.value, "a failure spoils the session for other tasks")


async def _unknown_args(subject: Subject, folder: Path) -> None:
    if not subject.takes_args:
        return
    wrong = replace(subject.succeeds, args={**subject.succeeds.args, "no_such_argument": 1})
    async with _opened(subject, folder) as (executor, session):
        error = await _error_of(executor, session, wrong)
        code = error.failure.code if isinstance(error, TaskFailed) else error.code
        _require(code == "E_ARGS", f"an unknown argument is E_ARGS, not {code}")
        _require("no_such_argument" in str(error), f"the failure does not name the argument: {error}")


async def _secrets(subject: Subject, folder: Path) -> None:
    task = subject.fails(SECRET)
    async with _opened(subject, folder) as (executor, session):
        told = _texts(await _error_of(executor, session, task))
        _require(SECRET in told, f"the failure does not name the text it is to name: {told!r}")
    async with _opened(subject, folder, secrets=(SECRET,)) as (executor, session):
        told = _texts(await _error_of(executor, session, task))
        _require(SECRET not in told, f"a secret is in the failure: {told!r}")


async def _cancelled_while_running(subject: Subject, folder: Path) -> None:
    async with _opened(subject, folder) as (executor, session):
        file = folder / "held"
        work = asyncio.create_task(executor.execute(session, subject.holds(file)))
        await _begun(file, work)
        await _cancel(subject, work, file)
        _require(not _is_locked(file), "what a cancelled task has started lives on")
        again = await executor.execute(session, subject.succeeds)
        _require(again.value == subject.value, "a cancellation spoils the session for other tasks")


async def _cancelled_at_every_await(subject: Subject, folder: Path) -> None:
    async with _opened(subject, folder) as (executor, session):
        for number in range(MOST_AWAITS):
            file = folder / f"held-{number}"
            _release(file)
            call = executor.execute(session, subject.holds(file))
            suspended = await _cancelled_at(number, call)
            _require(not _is_locked(file), f"after a cancellation at await {number} something lives on")
            if not suspended:
                return
    raise NotConforming(f"a short task waits more than {MOST_AWAITS} times")


async def _cancelled_opening(subject: Subject, folder: Path) -> None:
    for number in range(MOST_AWAITS):
        async with subject.open() as executor:
            session = LocalSession(folder)
            if not await _cancelled_at(number, executor.open_session(session)):
                await executor.close_session(session.id)
                return
            other = LocalSession(folder)
            await executor.open_session(other)
            await executor.execute(other, subject.succeeds)
            await executor.close_session(other.id)
    raise NotConforming(f"opening waits more than {MOST_AWAITS} times")


async def _several_tasks(subject: Subject, folder: Path) -> None:
    files = [folder / f"held-{number}" for number in range(4)]
    async with _opened(subject, folder) as (executor, session):
        tasks = [
            replace(subject.holds(file), id=TaskId(f"task-{number}")) for number, file in enumerate(files)
        ]
        work = [asyncio.create_task(executor.execute(session, task)) for task in tasks]
        for file, one in zip(files, work, strict=True):
            await _begun(file, one)
        for file in files:
            _require(_is_locked(file), "a task ended before it was released")
            _release(file)
        await asyncio.gather(*work)
        _require(not any(map(_is_locked, files)), "what a finished task has started lives on")


async def _several_sessions(subject: Subject, folder: Path) -> None:
    async with subject.open() as executor:
        one = LocalSession(folder)
        two = LocalSession(folder, source=one.source)
        await executor.open_session(one)
        await executor.open_session(two)
        file = folder / "held"
        work = asyncio.create_task(executor.execute(one, subject.holds(file)))
        await _begun(file, work)
        result = await executor.execute(two, subject.succeeds)
        _require(result.value == subject.value, "a second session gets another value")
        await executor.close_session(two.id)
        _require(_is_locked(file), "the end of one session ended a task of another")
        _release(file)
        await work
        await executor.close_session(one.id)


async def _nothing_left(subject: Subject, folder: Path) -> None:
    if subject.abandons is None:
        return
    file = folder / "held"
    async with _opened(subject, folder) as (executor, session):
        await executor.execute(session, subject.abandons(file))
        _require(_has_bytes(file), "nothing was left to live on")
        _require(not _is_locked(file), "what a finished task has started lives on")


async def _sessions_in_turn(subject: Subject, folder: Path) -> None:
    async with subject.open() as executor:
        for _ in range(2):
            session = LocalSession(folder)
            await executor.open_session(session)
            result = await executor.execute(session, subject.succeeds)
            _require(result.value == subject.value, "a later session gets another value")
            await executor.close_session(session.id)


CHECKS: Mapping[str, Check] = {
    "value": _value,
    "variables": _variables,
    "output": _output,
    "failure": _failure,
    "unknown_args": _unknown_args,
    "secrets": _secrets,
    "cancelled_while_running": _cancelled_while_running,
    "cancelled_at_every_await": _cancelled_at_every_await,
    "cancelled_opening": _cancelled_opening,
    "several_tasks": _several_tasks,
    "several_sessions": _several_sessions,
    "nothing_left": _nothing_left,
    "sessions_in_turn": _sessions_in_turn,
}
"""All checks, by name."""


def _require(holds: bool, message: str) -> None:
    if not holds:
        raise NotConforming(message)


@asynccontextmanager
async def _opened(subject: Subject, folder: Path, secrets: tuple[str, ...] = ()) -> Any:
    async with subject.open() as executor:
        session = LocalSession(folder, secrets=secrets)
        await executor.open_session(session)
        try:
            yield executor, session
        finally:
            await executor.close_session(session.id)


async def _error_of(executor: Executor, session: Session, task: Task) -> ExecutionError:
    try:
        result = await executor.execute(session, task)
    except ExecutionError as error:
        return error
    except Exception as error:
        raise NotConforming(f"a failure is an ExecutionError, not {error!r}") from error
    raise NotConforming(f"a task that must fail gave {result!r}")


def _texts(error: ExecutionError) -> str:
    failure = error.failure if isinstance(error, TaskFailed) else None
    return f"{error}\n{failure.message}\n{failure.stderr_tail}" if failure else str(error)


def _release(file: Path) -> None:
    file.with_name(f"{file.name}.release").touch()


def _is_locked(file: Path) -> bool:
    """Tell whether anybody holds the lock, in this process or in another."""
    with file.open("ab") as own:
        try:
            fcntl.flock(own, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return True
    return False


def _has_bytes(file: Path) -> bool:
    return file.exists() and file.stat().st_size > 0


async def _begun(file: Path, work: "asyncio.Task[Any]") -> None:
    """Wait until a task holds its file."""
    async with asyncio.timeout(DEADLINE):
        while not _has_bytes(file):
            if work.done():
                _require(False, f"a task that must wait ended: {work}")
            await asyncio.sleep(0.005)
    _require(_is_locked(file), "a task that must hold its file does not")


async def _cancel(subject: Subject, work: "asyncio.Task[Any]", file: Path) -> None:
    work.cancel()
    if not subject.stops:
        await asyncio.sleep(0)
        _release(file)
    await asyncio.wait([work], timeout=DEADLINE)
    _require(work.done(), "a cancelled task does not end")
    _require(work.cancelled(), f"a cancellation comes out as one, not as {work}")


async def _cancelled_at(number: int, call: Coroutine[Any, Any, Any]) -> bool:
    """Cancel a call at one of its awaits, counted from 0; False if it ended before it came there."""
    reached, work = cancelled_at(number, call)
    await asyncio.wait([work], timeout=DEADLINE)
    _require(work.done(), f"a call cancelled at await {number} does not end")
    if not reached():
        work.result()
        return False
    _require(work.cancelled(), f"a cancellation at await {number} comes out as {work}")
    return True
