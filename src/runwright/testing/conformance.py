"""What every executor must do, as checks that need no test framework.

Describe an executor by a `Subject`, then call `check_executor`, or run the `CHECKS` one by one::

    @pytest.mark.parametrize("name", CHECKS)
    def test_mine(name, tmp_path):
        asyncio.run(run_check(name, subject, tmp_path))
"""

import asyncio
import re
from collections.abc import Awaitable, Callable, Mapping
from pathlib import Path

import msgspec

from runwright.core.errors import ExecutionError, Failure, TaskFailed
from runwright.core.task import Result, TaskId, replace
from runwright.ports.executor import Executor
from runwright.testing.sessions import LocalSession
from runwright.testing.subject import (
    DEADLINE,
    NotConforming,
    Subject,
    begun,
    call_cancelled_at,
    cancel,
    error_of,
    has_bytes,
    is_locked,
    opened,
    release,
    require,
    texts,
)

SECRET = "correct-horse/battery+staple"  # noqa: S105 - it opens nothing
FOLLOWUPS, DEPTH = 10_000, 1_000
"""How many tasks follow from one in a check, and how deep."""

SESSIONS = 4
"""How many are open at once in a check."""

MOST_AWAITS = 50
"""Cancellations tried in one call; no executor of ours suspends more often for a task that ends at once."""


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
    require(not left, f"tasks of the loop live on: {left}")


async def _value(subject: Subject, folder: Path) -> None:
    async with opened(subject, folder) as (executor, session):
        before = msgspec.json.encode(subject.succeeds)
        result = await executor.execute(session, subject.succeeds)
        require(isinstance(result, Result), f"a result is a Result, not {result!r}")
        require(result.value == subject.value, f"the value is {result.value!r}, not {subject.value!r}")
        require(msgspec.json.encode(subject.succeeds) == before, "the task was changed")


async def _variables(subject: Subject, folder: Path) -> None:
    if subject.names is None:
        return
    async with opened(subject, folder) as (executor, session):
        found = dict((await executor.execute(session, subject.names)).variables)
        require(found == dict(subject.variables), f"the variables are {found}, not {subject.variables}")


async def _output(subject: Subject, folder: Path) -> None:
    if subject.prints is None:
        return
    async with opened(subject, folder) as (executor, session):
        await executor.execute(session, subject.prints)
        logged = session.log(subject.prints.id).read()
        require(logged == subject.output, f"the log holds {logged!r}, not {subject.output!r}")


async def _failure(subject: Subject, folder: Path) -> None:
    async with opened(subject, folder) as (executor, session):
        error = await error_of(executor, session, subject.fails("too-bad"))
        code = error.failure.code if isinstance(error, TaskFailed) else error.code
        require(re.fullmatch(r"E_[A-Z_]+", code) is not None, f"{code!r} is no code of a failure")
        require(bool(str(error)), "a failure says what went wrong")
        require("too-bad" in texts(error), f"the failure does not say why: {texts(error)!r}")
        again = await executor.execute(session, subject.succeeds)
        require(again.value == subject.value, "a failure spoils the session for other tasks")


async def _unknown_args(subject: Subject, folder: Path) -> None:
    if not subject.takes_args:
        return
    wrong = replace(subject.succeeds, args={**subject.succeeds.args, "no_such_argument": 1})
    async with opened(subject, folder) as (executor, session):
        error = await error_of(executor, session, wrong)
        code = error.failure.code if isinstance(error, TaskFailed) else error.code
        require(code == "E_ARGS", f"an unknown argument is E_ARGS, not {code}")
        require("no_such_argument" in str(error), f"the failure does not name the argument: {error}")


async def _secrets(subject: Subject, folder: Path) -> None:
    task = subject.fails(SECRET)
    async with opened(subject, folder) as (executor, session):
        told = texts(await error_of(executor, session, task))
        require(SECRET in told, f"the failure does not name the text it is to name: {told!r}")
    async with opened(subject, folder, secrets=(SECRET,)) as (executor, session):
        told = texts(await error_of(executor, session, task))
        require(SECRET not in told, f"a secret is in the failure: {told!r}")


async def _cancelled_while_running(subject: Subject, folder: Path) -> None:
    async with opened(subject, folder) as (executor, session):
        file = folder / "held"
        work = asyncio.create_task(executor.execute(session, subject.holds(file)))
        await begun(file, work)
        await cancel(subject, work, file)
        require(not is_locked(file), "what a cancelled task has started lives on")
        again = await executor.execute(session, subject.succeeds)
        require(again.value == subject.value, "a cancellation spoils the session for other tasks")


async def _cancelled_at_every_await(subject: Subject, folder: Path) -> None:
    async with opened(subject, folder) as (executor, session):
        for number in range(MOST_AWAITS):
            file = folder / f"held-{number}"
            release(file)
            call = executor.execute(session, subject.holds(file))
            suspended = await call_cancelled_at(number, call)
            require(not is_locked(file), f"after a cancellation at await {number} something lives on")
            if not suspended:
                return
    raise NotConforming(f"a short task waits more than {MOST_AWAITS} times")


async def _cancelled_opening(subject: Subject, folder: Path) -> None:
    for number in range(MOST_AWAITS):
        async with subject.open() as executor:
            session = LocalSession(folder)
            if not await call_cancelled_at(number, executor.open_session(session)):
                await executor.close_session(session.id)
                return
            other = LocalSession(folder)
            await executor.open_session(other)
            await executor.execute(other, subject.succeeds)
            await executor.close_session(other.id)
    raise NotConforming(f"opening waits more than {MOST_AWAITS} times")


async def _cancelled_closing(subject: Subject, folder: Path) -> None:
    for number in range(MOST_AWAITS):
        async with subject.open() as executor:
            session = LocalSession(folder)
            before = asyncio.all_tasks()
            await executor.open_session(session)
            await executor.execute(session, subject.succeeds)
            cancelled = await call_cancelled_at(number, executor.close_session(session.id))
            left = asyncio.all_tasks() - before
            require(not left, f"after a cancellation at await {number} of closing, there live on: {left}")
            if not cancelled:
                return
            other = LocalSession(folder)
            await executor.open_session(other)
            await executor.execute(other, subject.succeeds)
            await executor.close_session(other.id)
    raise NotConforming(f"closing waits more than {MOST_AWAITS} times")


async def _several_tasks(subject: Subject, folder: Path) -> None:
    files = [folder / f"held-{number}" for number in range(4)]
    async with opened(subject, folder) as (executor, session):
        tasks = [
            replace(subject.holds(file), id=TaskId(f"task-{number}")) for number, file in enumerate(files)
        ]
        work = [asyncio.create_task(executor.execute(session, task)) for task in tasks]
        for file, one in zip(files, work, strict=True):
            await begun(file, one)
        for file in files:
            require(is_locked(file), "a task ended before it was released")
            release(file)
        await asyncio.gather(*work)
        require(not any(map(is_locked, files)), "what a finished task has started lives on")


async def _several_sessions(subject: Subject, folder: Path) -> None:
    async with subject.open() as executor:
        one = LocalSession(folder)
        two = LocalSession(folder, source=one.source)
        await executor.open_session(one)
        await executor.open_session(two)
        file = folder / "held"
        work = asyncio.create_task(executor.execute(one, subject.holds(file)))
        await begun(file, work)
        result = await executor.execute(two, subject.succeeds)
        require(result.value == subject.value, "a second session gets another value")
        await executor.close_session(two.id)
        require(is_locked(file), "the end of one session ended a task of another")
        release(file)
        await work
        await executor.close_session(one.id)


async def _nothing_left(subject: Subject, folder: Path) -> None:
    if subject.abandons is None:
        return
    file = folder / "held"
    async with opened(subject, folder) as (executor, session):
        await executor.execute(session, subject.abandons(file))
        require(has_bytes(file), "nothing was left to live on")
        require(not is_locked(file), "what a finished task has started lives on")


async def _sessions_in_turn(subject: Subject, folder: Path) -> None:
    async with subject.open() as executor:
        for _ in range(2):
            session = LocalSession(folder)
            await executor.open_session(session)
            result = await executor.execute(session, subject.succeeds)
            require(result.value == subject.value, "a later session gets another value")
            await executor.close_session(session.id)


async def _data_of_failure(subject: Subject, folder: Path) -> None:
    if subject.failure is None:
        return
    async with opened(subject, folder) as (executor, session):
        error = await error_of(executor, session, subject.fails("too-bad"))
        require(isinstance(error, TaskFailed), f"the failure is lost: {error!r}")
        assert isinstance(error, TaskFailed)
        found, expected = error.failure, subject.failure
        for name in ("code", "exit_code", "signal"):
            value, wanted = getattr(found, name), getattr(expected, name)
            require(value == wanted, f"the {name} of the failure is {value!r}, not {wanted!r}")
        copied = msgspec.json.decode(msgspec.json.encode(found), type=Failure)
        require(copied == found, "the failure is no plain data")


async def _sessions_at_once(subject: Subject, folder: Path) -> None:
    async with subject.open() as executor:
        source = LocalSession(folder).source
        sessions = [LocalSession(folder, source=source) for _ in range(SESSIONS)]
        await asyncio.gather(*(executor.open_session(session) for session in sessions))
        await asyncio.gather(*(_use(subject, executor, session) for session in sessions))
        await asyncio.gather(*(executor.close_session(session.id) for session in sessions))


async def _use(subject: Subject, executor: Executor, session: LocalSession) -> None:
    """Run in one of several sessions what shows in its value, its variables, its log and its failure."""
    tasks = [replace(subject.succeeds, id=TaskId(f"succeeds-{number}")) for number in range(2)]
    for result in await asyncio.gather(*(executor.execute(session, task) for task in tasks)):
        require(result.value == subject.value, "of several sessions one gets another value")
    if subject.names is not None:
        named = dict((await executor.execute(session, subject.names)).variables)
        require(named == dict(subject.variables), "of several sessions one gets other variables")
    if subject.prints is not None:
        task = replace(subject.prints, id=TaskId("prints"))
        await executor.execute(session, task)
        logged = session.log(task.id).read()
        require(logged == subject.output, f"of several sessions one has the log {logged!r}")
    told = texts(await error_of(executor, session, subject.fails(session.id)))
    require(session.id in told, f"of several sessions one gets another's failure: {told!r}")


async def _after_the_end(subject: Subject, folder: Path) -> None:
    async with subject.open() as executor:
        session = LocalSession(folder)
        before = asyncio.all_tasks()
        await executor.open_session(session)
        files = [folder / f"held-{number}" for number in range(2)]
        tasks = [replace(subject.holds(file), id=TaskId(file.name)) for file in files]
        work = [asyncio.create_task(executor.execute(session, task)) for task in tasks]
        for file, one in zip(files, work, strict=True):
            await begun(file, one)
        await cancel(subject, work[0], files[0])
        release(files[1])
        await work[1]
        if subject.abandons is not None:
            files.append(folder / "abandoned")
            await executor.execute(session, subject.abandons(files[-1]))
        await executor.close_session(session.id)
        require(not any(map(is_locked, files)), "after the end of the session something of it lives on")
        left = asyncio.all_tasks() - before
        require(not left, f"after the end of the session tasks of the loop live on: {left}")


async def _closed_while_running(subject: Subject, folder: Path) -> None:
    async with subject.open() as executor:
        session = LocalSession(folder)
        await executor.open_session(session)
        file = folder / "held"
        work = asyncio.create_task(executor.execute(session, subject.holds(file)))
        await begun(file, work)
        closing = asyncio.create_task(executor.close_session(session.id))
        if not subject.stops:
            await asyncio.sleep(0)
            release(file)
        await asyncio.wait([closing], timeout=DEADLINE)
        require(closing.done(), "a session in which something runs can't be closed")
        closing.result()
        require(not is_locked(file), "what runs when its session is closed lives on")
        await asyncio.wait([work], timeout=DEADLINE)
        require(work.done(), "a task goes on when its session has been closed")
        require(not work.cancelled(), "a task whose session is closed fails; it is not cancelled")
        error = work.exception()
        is_told = isinstance(error, ExecutionError) or not (error or subject.stops)
        require(is_told, f"a task whose session is closed fails with an ExecutionError, not so: {work}")


async def _followups(subject: Subject, folder: Path) -> None:
    if subject.follows is None:
        return
    async with opened(subject, folder) as (executor, session):
        few = await executor.execute(session, subject.follows(6, 3))
        _check_children(few, 6, 3)
        many = await executor.execute(session, subject.follows(FOLLOWUPS, DEPTH))
        _check_children(many, FOLLOWUPS, DEPTH)


def _check_children(result: Result, count: int, depth: int) -> None:
    found = len(result.children)
    require(found == count, f"{found} tasks followed, not {count}")
    deepest = max(name.count(".") for name in result.children)
    require(deepest == depth, f"tasks followed to a depth of {deepest}, not {depth}")
    require(not result.followups, "there are follow-ups that have not run")


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
    "cancelled_closing": _cancelled_closing,
    "several_tasks": _several_tasks,
    "several_sessions": _several_sessions,
    "nothing_left": _nothing_left,
    "sessions_in_turn": _sessions_in_turn,
    "data_of_failure": _data_of_failure,
    "sessions_at_once": _sessions_at_once,
    "after_the_end": _after_the_end,
    "closed_while_running": _closed_while_running,
    "followups": _followups,
}
"""All checks, by name."""
