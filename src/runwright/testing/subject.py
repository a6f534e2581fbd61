"""An executor under check: what describes it, and what the checks of `conformance` do with it."""

import asyncio
import fcntl
from collections.abc import Callable, Coroutine, Mapping
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from pathlib import Path
from typing import Any

from msgspec import Struct, field

from runwright.core.errors import ExecutionError, Failure, TaskFailed
from runwright.core.task import Task
from runwright.ports.executor import Executor, Session
from runwright.testing.cancelling import cancelled_at
from runwright.testing.sessions import LocalSession

DEADLINE = 30.0
"""Seconds after which what a check waits for counts as missing."""


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
        failure: What comes with the failures that `fails` makes: their code, exit status and signal are compared; None
            if they carry no data.
        follows: Makes a task from which, in chains of that depth, so many tasks follow as children; None if the
            executor runs no follow-ups. Called with the number and the depth.
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
    failure: Failure | None = None
    follows: Callable[[int, int], Task] | None = None


def require(holds: bool, message: str) -> None:
    """Raise `NotConforming` with a message unless something holds."""
    if not holds:
        raise NotConforming(message)


@asynccontextmanager
async def opened(subject: Subject, folder: Path, secrets: tuple[str, ...] = ()) -> Any:
    """Give a fresh executor with an open session, and close both afterwards."""
    async with subject.open() as executor:
        session = LocalSession(folder, secrets=secrets)
        await executor.open_session(session)
        try:
            yield executor, session
        finally:
            await executor.close_session(session.id)


async def error_of(executor: Executor, session: Session, task: Task) -> ExecutionError:
    """Return the error of a task that must fail."""
    try:
        result = await executor.execute(session, task)
    except ExecutionError as error:
        return error
    except Exception as error:
        raise NotConforming(f"a failure is an ExecutionError, not {error!r}") from error
    raise NotConforming(f"a task that must fail gave {result!r}")


def texts(error: ExecutionError) -> str:
    """Return all that a failure says."""
    failure = error.failure if isinstance(error, TaskFailed) else None
    return f"{error}\n{failure.message}\n{failure.stderr_tail}" if failure else str(error)


def release(file: Path) -> None:
    """Let a task that holds a file end."""
    file.with_name(f"{file.name}.release").touch()


def is_locked(file: Path) -> bool:
    """Tell whether anybody holds the lock, in this process or in another."""
    with file.open("ab") as own:
        try:
            fcntl.flock(own, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return True
    return False


def has_bytes(file: Path) -> bool:
    """Tell whether a task has got hold of its file."""
    return file.exists() and file.stat().st_size > 0


async def begun(file: Path, work: "asyncio.Task[Any]") -> None:
    """Wait until a task holds its file."""
    async with asyncio.timeout(DEADLINE):
        while not has_bytes(file):
            if work.done():
                require(False, f"a task that must wait ended: {work}")
            await asyncio.sleep(0.005)
    require(is_locked(file), "a task that must hold its file does not")


async def cancel(subject: Subject, work: "asyncio.Task[Any]", file: Path) -> None:
    """Cancel a task that holds a file, and wait for its end."""
    work.cancel()
    if not subject.stops:
        await asyncio.sleep(0)
        release(file)
    await asyncio.wait([work], timeout=DEADLINE)
    require(work.done(), "a cancelled task does not end")
    require(work.cancelled(), f"a cancellation comes out as one, not as {work}")


async def call_cancelled_at(number: int, call: Coroutine[Any, Any, Any]) -> bool:
    """Cancel a call at one of its awaits, counted from 0; False if it ended before it came there."""
    reached, work = cancelled_at(number, call)
    await asyncio.wait([work], timeout=DEADLINE)
    require(work.done(), f"a call cancelled at await {number} does not end")
    if not reached():
        work.result()
        return False
    require(work.cancelled(), f"a cancellation at await {number} comes out as {work}")
    return True
