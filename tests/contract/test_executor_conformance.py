"""Every executor, alone and in stacks, passes the published checks; broken ones don't."""

# ruff: noqa: ASYNC110, ASYNC220, ASYNC240 - the files tell what lives, and no event can

import asyncio
import subprocess
import sys
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
from executor_functions import HOLD, hold, hold_loop

from runwright.adapters.clock import SystemClock
from runwright.adapters.process import WardenProcesses
from runwright.core.errors import ExecutionError, Failure, TaskFailed
from runwright.core.retry import RetryPolicy
from runwright.core.task import CacheUse, Result, SessionId, Task, TaskId, replace
from runwright.executors.cache import Cache
from runwright.executors.calls import Calls
from runwright.executors.configured import Configured
from runwright.executors.followups import Followups
from runwright.executors.observe import Observe
from runwright.executors.python import Python
from runwright.executors.retry import Retry
from runwright.executors.router import Router
from runwright.executors.shell import Shell
from runwright.ports.executor import Executor, NoSessions, Session
from runwright.ports.system import Command, Exit
from runwright.testing import (
    CHECKS,
    FakeProcesses,
    LocalSession,
    MemoryCache,
    NotConforming,
    Script,
    Strict,
    Subject,
    check_executor,
    run_check,
)
from runwright.testing.processes import command_text

FUNCTIONS = {"PYTHONPATH": str(Path(__file__).parent)}
VALUE = {"a": [1, "two", None]}
SAY_AND_FAIL = 'printf "%s\\n" "$1" >&2; exit 3'
BACKGROUND = '( "$@" >/dev/null 2>&1 & ) ; while [ ! -s "$5" ]; do sleep 0.01; done'


def shell_task(*argv: str) -> Task:
    return Task(id=TaskId("task"), args={"argv": list(argv), "kill_grace": 1.0})


def shell_subject(open_: Callable[[], AbstractAsyncContextManager[Executor]]) -> Subject:
    held = (sys.executable, "-S", "-c", HOLD)
    return Subject(
        open=open_,
        succeeds=Task(id=TaskId("task"), args={"cmd": "echo one; echo two; echo"}),
        value="two",
        fails=lambda text: shell_task("sh", "-c", SAY_AND_FAIL, "sh", text),
        holds=lambda file: shell_task(*held, str(file)),
        names=Task(id=TaskId("task"), args={"cmd": 'echo A=1 > "$RUNWRIGHT_OUTPUT"'}),
        variables={"A": "1"},
        prints=Task(id=TaskId("task"), args={"cmd": "echo out; echo err >&2"}),
        output=b"out\nerr\n",
        failure=Failure(code="E_EXIT", message="", exit_code=3),
        abandons=lambda file: shell_task("sh", "-c", BACKGROUND, "sh", *held, str(file)),
    )


def python_task(mode: str, function: str, **kwargs: str) -> Task:
    args = {"function": f"executor_functions:{function}", "kwargs": kwargs, "mode": mode, "env": FUNCTIONS}
    return Task(id=TaskId("task"), args={**args, "kill_grace": 1.0})


def python_subject(open_: Callable[[], AbstractAsyncContextManager[Executor]], mode: str) -> Subject:
    is_async = mode == "async"
    is_process = mode in ("process", "auto")
    return Subject(
        open=open_,
        succeeds=python_task(mode, "answer_soon" if is_async else "answer"),
        value=VALUE,
        fails=lambda text: python_task(mode, "fail_soon" if is_async else "fail", text=text),
        holds=lambda file: python_task(mode, "hold_loop" if is_async else "hold", path=str(file)),
        prints=python_task(mode, "answer") if is_process else None,
        output=b"a word\n",
        abandons=(lambda file: python_task(mode, "abandon", path=str(file))) if is_process else None,
        stops=mode != "thread",
        failure=Failure(code="E_EXCEPTION", message="", exit_code=1 if is_process else None),
    )


def routed(subject: Subject, route: str) -> Subject:
    """The same subject, its tasks sent by a route."""

    def by_route(task: Task | None) -> Task | None:
        return task if task is None else replace(task, executor=route)

    def made(make: Callable[..., Task] | None) -> Any:
        return None if make is None else lambda value: by_route(make(value))

    return Subject(
        **{
            **{name: getattr(subject, name) for name in subject.__struct_fields__},
            **{name: by_route(getattr(subject, name)) for name in ("succeeds", "names", "prints")},
            **{name: made(getattr(subject, name)) for name in ("fails", "holds", "abandons", "follows")},
        }
    )


def following(subject: Subject, leaf: str = "") -> Subject:
    """The same subject with a task from which others follow; `Chains` runs them under its route."""

    def follows(count: int, depth: int) -> Task:
        route = f"{leaf}.chains" if leaf else "chains"
        return Task(id=TaskId("root"), executor=route, args={"wide": count // depth, "left": depth})

    return Subject(
        **{**{name: getattr(subject, name) for name in subject.__struct_fields__}, "follows": follows}
    )


class Chains(NoSessions):
    """From its tasks others follow: so many at first, and one from each of those until the depth is reached."""

    def __init__(self, route: str = "chains") -> None:
        self.route = route

    async def execute(self, session: Session, task: Task) -> Result:
        wide, left = task.args["wide"], task.args["left"]
        args = {"wide": 1, "left": left - 1}
        names = [str(number) for number in range(wide if left else 0)]
        return Result(followups=tuple(Task(id=TaskId(n), executor=self.route, args=args) for n in names))


def opened(
    make: Callable[[WardenProcesses], Executor],
) -> Callable[[], AbstractAsyncContextManager[Executor]]:
    @asynccontextmanager
    async def open_() -> AsyncIterator[Executor]:
        processes = WardenProcesses()
        try:
            yield make(processes)
        finally:
            await processes.close()

    return open_


def retry(inner: Executor) -> Retry:
    return Retry(inner, RetryPolicy(retries=1), SystemClock(), lambda: 0.5)


def observe(inner: Executor) -> Observe:
    observed = Observe(inner)
    observed.listen(lambda _: None)
    return observed


def deep(processes: WardenProcesses) -> Executor:
    both = {"shell": Strict(Shell(processes)), "here.python": Configured(Strict(Python(processes)), {})}
    return Strict(observe(Strict(retry(Strict(Router(both))))))


def cached(inner: Executor) -> Cache:
    store = MemoryCache()
    return Cache(inner, lambda _: store)


def heard(subject: Subject) -> Subject:
    """The same subject, whose output is printed in every session: a cache replays values, not what was printed."""
    assert subject.prints is not None
    return replace(subject, prints=replace(subject.prints, cache=CacheUse.OFF))


def observed_cache(processes: WardenProcesses) -> Executor:
    """A router in a cache in an observer."""
    return Strict(observe(Strict(cached(Strict(Router({"a.shell": Shell(processes)}))))))


def late(processes: WardenProcesses) -> Executor:
    """A router that learns of its executor after the session was opened."""

    class Late(Router):
        async def open_session(self, session: Session) -> None:
            await super().open_session(session)
            if "*" not in self.names():
                self.register("*", Strict(Python(processes)))

    return Late()


def defaulted(processes: WardenProcesses) -> Executor:
    return Configured(Strict(Python(processes)), {"mode": "async", "env": FUNCTIONS})


def tree(processes: WardenProcesses, limit: int | None = None) -> Executor:
    """Everything: a router in an observer in a retry, below follow-ups."""
    router = Router(
        {"chains": Strict(Chains()), "sh": Strict(Shell(processes)), "py.*": Strict(Python(processes))}
    )
    return Strict(Followups(Strict(retry(Strict(observe(Strict(router))))), limit))


def nested(processes: WardenProcesses) -> Executor:
    """Follow-ups below a router, and others above it."""
    inner = Followups(Router({"chains": Chains(), "py": Python(processes)}), 4)
    return Followups(Router({"in": inner}), 5)


def fake_shell(_: WardenProcesses) -> Executor:
    """The shell on the fake of its processes, which do what those of `shell_subject` would."""
    return Strict(Shell(FakeProcesses(fake_script)))


def fake_script(command: Command) -> Script:
    argv = command.argv
    if argv[-3:-1] == ("-c", HOLD):
        return Script(work=lambda: hold_loop(argv[-1]), seconds=0.001)
    if SAY_AND_FAIL in argv:
        return Script(output=(("stderr", f"{argv[-1]}\n".encode()),), exit=Exit(code=3))
    text = command_text(command)
    if "RUNWRIGHT_OUTPUT" in text:
        return Script(work=lambda: write_output(command))
    printed = {"echo one; echo two; echo": b"one\ntwo\n\n", "echo out; echo err >&2": b"out\n"}[text]
    errors = b"err\n" if "err" in text else b""
    return Script(output=(("stdout", printed), ("stderr", errors)))


async def write_output(command: Command) -> None:
    Path(command.env["RUNWRIGHT_OUTPUT"]).write_text("A=1\n")


def fake_subject() -> Subject:
    subject = shell_subject(opened(fake_shell))
    fields = {name: getattr(subject, name) for name in subject.__struct_fields__}
    return Subject(**{**fields, "abandons": None})


SUBJECTS = {
    "shell": shell_subject(opened(lambda p: Strict(Shell(p)))),
    "python-async": python_subject(opened(lambda p: Strict(Python(p))), "async"),
    "python-thread": python_subject(opened(lambda p: Strict(Python(p))), "thread"),
    "python-process": python_subject(opened(lambda p: Strict(Python(p))), "process"),
    "python-auto": python_subject(opened(lambda p: Strict(Python(p))), "auto"),
    "router": routed(
        python_subject(opened(lambda p: Router({"a.b": Strict(Python(p)), "s": Shell(p)})), "async"), "a.b"
    ),
    "router-default": python_subject(opened(lambda p: Router({"": Strict(Python(p))})), "async"),
    "router-any": routed(python_subject(opened(late), "async"), "what.ever"),
    "router-shell": routed(shell_subject(opened(lambda p: Router({"sh": Strict(Shell(p))}))), "sh"),
    "retry": python_subject(opened(lambda p: retry(Strict(Python(p)))), "async"),
    "observe": python_subject(opened(lambda p: observe(Strict(Python(p)))), "thread"),
    "configured": python_subject(opened(defaulted), "async"),
    "cache-shell": heard(shell_subject(opened(lambda p: cached(Strict(Shell(p)))))),
    "cache-python": python_subject(opened(lambda p: cached(Strict(Python(p)))), "async"),
    "cache-thread": python_subject(opened(lambda p: cached(Strict(Python(p)))), "thread"),
    "cache-observed": heard(routed(shell_subject(opened(observed_cache)), "a.shell")),
    "deep-shell": routed(shell_subject(opened(deep)), "shell"),
    "deep-python": routed(python_subject(opened(deep), "async"), "here.python"),
    "deep-process": routed(python_subject(opened(deep), "process"), "here.python"),
    "fake-shell": fake_subject(),
    "followups": python_subject(opened(lambda p: Followups(Strict(Python(p)))), "async"),
    "followups-one": python_subject(opened(lambda p: Followups(Strict(Python(p)), 7)), "process"),
    "tree-shell": following(routed(shell_subject(opened(tree)), "sh")),
    "tree-python": following(routed(python_subject(opened(lambda p: tree(p, 5)), "async"), "py.x")),
    "tree-nested": following(routed(python_subject(opened(nested), "async"), "in.py"), "in"),
}


@pytest.mark.parametrize("name", CHECKS)
@pytest.mark.parametrize("subject", SUBJECTS)
def test_keeps_the_contract(subject: str, name: str, tmp_path: Path) -> None:
    asyncio.run(run_check(name, SUBJECTS[subject], tmp_path))


def test_all_checks_in_one_call(tmp_path: Path) -> None:
    check_executor(SUBJECTS["python-async"], tmp_path)


# -- controls: each check catches an executor that breaks what it is about -------------------------------------


class Plain(NoSessions):
    """A conforming executor in a few lines; the broken ones change one thing of it."""

    def __init__(self) -> None:
        self.calls = Calls()

    async def execute(self, session: Session, task: Task) -> Result:
        with self.calls.of(session.id):
            return await self.perform(session, task)

    async def close_session(self, session_id: SessionId) -> None:
        await self.calls.end(session_id)

    async def perform(self, session: Session, task: Task) -> Result:
        what, text = task.args["what"], task.args.get("text", "")
        if set(task.args) - {"what", "text"}:
            raise TaskFailed(Failure(code="E_ARGS", message=f"unknown: {sorted(task.args)}"))
        if what == "fail":
            await self.fail(session, text)
        if what == "hold":
            await self.hold(text)
        if what == "abandon":
            await self.abandon(text)
        if what == "print":
            session.log(task.id).write("stdout", b"out")
        await asyncio.sleep(0)
        return Result(value=1, variables={"A": "1"})

    async def fail(self, session: Session, text: str) -> None:
        raise TaskFailed(Failure(code="E_X", message=session.redact(text), exit_code=3))

    async def hold(self, text: str) -> None:
        await self.run(text)

    async def run(self, text: str) -> None:
        process = await asyncio.create_subprocess_exec(sys.executable, "-S", "-c", HOLD, text)
        try:
            await process.wait()
        finally:
            if process.returncode is None:
                process.kill()
                while process.returncode is None:
                    try:
                        await asyncio.shield(process.wait())
                    except asyncio.CancelledError:
                        continue

    async def abandon(self, text: str) -> None:
        work = asyncio.create_task(self.run(text))
        while not Path(text).exists() or not Path(text).stat().st_size:
            await asyncio.sleep(0.005)
        work.cancel()
        await asyncio.wait([work])


def plain_subject(executor: type[Executor]) -> Subject:
    @asynccontextmanager
    async def open_() -> AsyncIterator[Executor]:
        yield executor()

    def task(what: str, text: str = "") -> Task:
        return Task(id=TaskId("t"), args={"what": what, "text": text})

    return Subject(
        open=open_,
        succeeds=task("succeed"),
        value=1,
        fails=lambda text: task("fail", text),
        holds=lambda file: task("hold", str(file)),
        names=task("succeed"),
        variables={"A": "1"},
        prints=task("print"),
        output=b"out",
        abandons=lambda file: task("abandon", str(file)),
        failure=Failure(code="E_X", message="", exit_code=3),
        follows=follow if issubclass(executor, Recurses) else None,
    )


def follow(count: int, depth: int) -> Task:
    return Task(id=TaskId("root"), args={"wide": count // depth, "left": depth})


class WrongValue(Plain):
    async def execute(self, session: Session, task: Task) -> Result:
        return Result(value=2)


class NotAResult(Plain):
    async def execute(self, session: Session, task: Task) -> Result:
        return {"value": 1}  # type: ignore[return-value]


class ChangesTheTask(Plain):
    async def execute(self, session: Session, task: Task) -> Result:
        task.args["more"] = 1  # type: ignore[index]
        return Result(value=1)


class BareError(Plain):
    async def fail(self, session: Session, text: str) -> None:
        raise ValueError(text)


class NoCode(Plain):
    async def fail(self, session: Session, text: str) -> None:
        raise TaskFailed(Failure(code="oops", message=text))


class NoFailure(Plain):
    async def fail(self, session: Session, text: str) -> None:
        return


class Silent(Plain):
    async def fail(self, session: Session, text: str) -> None:
        raise TaskFailed(Failure(code="E_X", message="something went wrong"))


class TellsSecrets(Plain):
    async def fail(self, session: Session, text: str) -> None:
        raise TaskFailed(Failure(code="E_X", message="no", stderr_tail=text))


class TakesAnything(Plain):
    async def execute(self, session: Session, task: Task) -> Result:
        return Result(value=1)


class SwallowsCancellation(Plain):
    async def hold(self, text: str) -> None:
        try:
            await super().hold(text)
        except asyncio.CancelledError:
            return


class FailsWhenCancelled(Plain):
    async def hold(self, text: str) -> None:
        try:
            await super().hold(text)
        except asyncio.CancelledError:
            raise TaskFailed(Failure(code="E_X", message="cancelled")) from None


class LeavesProcesses(Plain):
    async def run(self, text: str) -> None:
        process = subprocess.Popen([sys.executable, "-S", "-c", HOLD, text])
        LEFT.append((process, Path(text)))
        while process.poll() is None:
            await asyncio.sleep(0.005)


class LeavesThreads(Plain):
    async def hold(self, text: str) -> None:
        LEFT.append((None, Path(text)))
        await asyncio.to_thread(hold, text)


class LeavesLoopTasks(Plain):
    async def open_session(self, session: Session) -> None:
        self.task = asyncio.create_task(asyncio.sleep(3600))


class OneAtATime(Plain):
    def __init__(self) -> None:
        super().__init__()
        self.lock = asyncio.Lock()

    async def hold(self, text: str) -> None:
        if self.lock.locked():
            raise TaskFailed(Failure(code="E_X", message="busy"))
        async with self.lock:
            await super().hold(text)


class OneSession(Plain):
    def __init__(self) -> None:
        super().__init__()
        self.running: set[asyncio.Task[Any]] = set()

    async def hold(self, text: str) -> None:
        work = asyncio.create_task(super().hold(text))
        self.running.add(work)
        await asyncio.wait([work])

    async def close_session(self, session_id: SessionId) -> None:
        for work in self.running:
            work.cancel()
        await asyncio.wait(self.running)


class OnceOnly(Plain):
    def __init__(self) -> None:
        super().__init__()
        self.used = False

    async def execute(self, session: Session, task: Task) -> Result:
        if self.used:
            return Result(value=None)
        return await super().execute(session, task)

    async def close_session(self, session_id: SessionId) -> None:
        self.used = True


class SwallowsWhileOpening(Plain):
    async def open_session(self, session: Session) -> None:
        try:
            await asyncio.sleep(0)
        except asyncio.CancelledError:
            return


class OpensForEver(Plain):
    async def open_session(self, session: Session) -> None:
        for _ in range(1000):
            await asyncio.sleep(0)


class SwallowsWhileClosing(Plain):
    async def close_session(self, session_id: SessionId) -> None:
        try:
            await asyncio.sleep(0)
        except asyncio.CancelledError:
            return


class ClosesForEver(Plain):
    async def close_session(self, session_id: SessionId) -> None:
        for _ in range(1000):
            await asyncio.sleep(0)


class ClosesInTheBackground(Plain):
    async def close_session(self, session_id: SessionId) -> None:
        self.closing = asyncio.create_task(asyncio.sleep(3600))
        await asyncio.sleep(0)


class SuspendsForEver(Plain):
    async def hold(self, text: str) -> None:
        for _ in range(1000):
            await asyncio.sleep(0)


class NoOutput(Plain):
    async def execute(self, session: Session, task: Task) -> Result:
        return Result(value=1)


class LosesData(Plain):
    async def fail(self, session: Session, text: str) -> None:
        raise TaskFailed(Failure(code="E_X", message=session.redact(text)))


class LosesTheFailure(Plain):
    async def fail(self, session: Session, text: str) -> None:
        raise ExecutionError(session.redact(text))


class LastSession(Plain):
    """Takes the session that was opened last for that of every task."""

    async def open_session(self, session: Session) -> None:
        self.session = session

    async def execute(self, session: Session, task: Task) -> Result:
        return await super().execute(self.session, task)


class OneOpening(Plain):
    def __init__(self) -> None:
        self.opening = 0

    async def open_session(self, session: Session) -> None:
        self.opening += 1
        await asyncio.sleep(0)
        await asyncio.sleep(0)
        if self.opening > 1:
            raise TaskFailed(Failure(code="E_X", message="busy opening"))
        self.opening -= 1


class LeavesWatchers(Plain):
    async def run(self, text: str) -> None:
        self.task = asyncio.create_task(asyncio.sleep(3600))
        await super().run(text)


class Recurses(Plain):
    """Runs follow-ups in the obvious way."""

    async def execute(self, session: Session, task: Task) -> Result:
        if "wide" not in task.args:
            return await super().execute(session, task)
        result = await Chains().execute(session, task)
        children = {}
        for child in result.followups:
            own = replace(child, id=TaskId(f"{task.id}.{child.id}"))
            found = await self.execute(session, own)
            children |= {own.id: found, **found.children}
        return self.combined(children)

    def combined(self, children: dict[TaskId, Result]) -> Result:
        return Result(children=children)


class LosesFollowups(Recurses):
    def combined(self, children: dict[TaskId, Result]) -> Result:
        return Result(children=dict(list(children.items())[:5]))


class Flattens(Recurses):
    def combined(self, children: dict[TaskId, Result]) -> Result:
        return Result(children={TaskId(key.replace(".", "/")): one for key, one in children.items()})


class LeavesFollowups(Recurses):
    def combined(self, children: dict[TaskId, Result]) -> Result:
        return Result(children=children, followups=(Task(id=TaskId("x")),))


class LetsTasksRunOn(Plain):
    async def close_session(self, session_id: SessionId) -> None:
        return


class CancelsWhoWaits(Plain):
    def __init__(self) -> None:
        super().__init__()
        self.callers: set[asyncio.Task[Any]] = set()

    async def execute(self, session: Session, task: Task) -> Result:
        caller = asyncio.current_task()
        assert caller is not None
        self.callers.add(caller)
        return await self.perform(session, task)

    async def close_session(self, session_id: SessionId) -> None:
        for caller in self.callers:
            caller.cancel()
        await asyncio.wait(self.callers)


BROKEN: list[tuple[str, type[Executor], str]] = [
    ("closed_while_running", LetsTasksRunOn, "what runs when its session is closed lives on"),
    ("closed_while_running", CancelsWhoWaits, "fails; it is not cancelled"),
    ("value", WrongValue, "the value is 2"),
    ("value", NotAResult, "a result is a Result"),
    ("value", ChangesTheTask, "the task was changed"),
    ("variables", NoOutput, "the variables are"),
    ("output", NoOutput, "the log holds"),
    ("failure", BareError, "is an ExecutionError"),
    ("failure", NoCode, "no code of a failure"),
    ("failure", NoFailure, "must fail"),
    ("failure", Silent, "does not say why"),
    ("unknown_args", TakesAnything, "must fail"),
    ("secrets", TellsSecrets, "a secret is in"),
    ("secrets", Silent, "does not name the text"),
    ("cancelled_while_running", SwallowsCancellation, "comes out as one"),
    ("cancelled_while_running", FailsWhenCancelled, "comes out as one"),
    ("cancelled_while_running", LeavesProcesses, "lives on"),
    ("cancelled_while_running", LeavesThreads, "lives on"),
    ("cancelled_while_running", TakesAnything, "must wait"),
    ("cancelled_at_every_await", SwallowsCancellation, "comes out as"),
    ("cancelled_at_every_await", SuspendsForEver, "waits more than"),
    ("cancelled_opening", SwallowsWhileOpening, "comes out as"),
    ("cancelled_opening", OpensForEver, "waits more than"),
    ("cancelled_closing", SwallowsWhileClosing, "comes out as"),
    ("cancelled_closing", ClosesForEver, "waits more than"),
    ("cancelled_closing", ClosesInTheBackground, "there live on"),
    ("several_tasks", OneAtATime, "busy"),
    ("several_sessions", OneSession, "ended a task of another"),
    ("nothing_left", LeavesProcesses, "lives on"),
    ("nothing_left", NoOutput, "nothing was left"),
    ("sessions_in_turn", OnceOnly, "a later session"),
    ("value", LeavesLoopTasks, "tasks of the loop live on"),
    ("data_of_failure", LosesData, "exit_code of the failure is None"),
    ("data_of_failure", LosesTheFailure, "the failure is lost"),
    ("sessions_at_once", LastSession, "has the log b''"),
    ("sessions_at_once", OneOpening, "busy opening"),
    ("after_the_end", LeavesProcesses, "lives on"),
    ("after_the_end", LeavesWatchers, "tasks of the loop live on"),
    ("followups", Recurses, "recursion"),
    ("followups", LosesFollowups, "5 tasks followed, not 6"),
    ("followups", Flattens, "to a depth of 0, not 3"),
    ("followups", LeavesFollowups, "that have not run"),
]
LEFT: list[tuple[subprocess.Popen[bytes] | None, Path]] = []


def release_what_was_left() -> None:
    for process, file in LEFT:
        file.with_name(f"{file.name}.release").touch()
        if process is not None:
            process.wait()
    LEFT.clear()


@pytest.mark.parametrize("name", CHECKS)
def test_the_plain_one_conforms(name: str, tmp_path: Path) -> None:
    asyncio.run(run_check(name, plain_subject(Plain), tmp_path))


@pytest.mark.parametrize(
    ("name", "executor", "message"), BROKEN, ids=lambda value: getattr(value, "__name__", value)
)
def test_a_broken_one_is_caught(name: str, executor: type[Executor], message: str, tmp_path: Path) -> None:
    async def check() -> None:
        try:
            await run_check(name, plain_subject(executor), tmp_path)
        finally:
            release_what_was_left()

    with pytest.raises((NotConforming, TaskFailed, RecursionError), match=message):
        asyncio.run(check())


def test_every_check_has_a_control() -> None:
    assert {name for name, _, _ in BROKEN} == set(CHECKS)


def test_all_that_does_not_hold_is_told_together(tmp_path: Path) -> None:
    with pytest.raises(ExceptionGroup) as caught:
        check_executor(plain_subject(NoOutput), tmp_path)
    assert {error.__notes__[0] for error in caught.value.exceptions} >= {
        "in check output",
        "in check variables",
    }


def test_what_an_executor_does_not_offer_is_not_asked(tmp_path: Path) -> None:
    subject = plain_subject(TakesAnything)
    lean = Subject(
        open=subject.open,
        succeeds=subject.succeeds,
        value=1,
        fails=subject.fails,
        holds=subject.holds,
        takes_args=False,
    )
    for name in ("variables", "output", "nothing_left", "unknown_args", "data_of_failure", "followups"):
        asyncio.run(run_check(name, lean, tmp_path))


async def misuse(case: str) -> None:
    strict, session = Strict(Plain()), LocalSession(Path(), source=Path())
    if case != "execute":
        await strict.open_session(session)
    if case == "open":
        await strict.open_session(session)
    if case == "close":
        await strict.close_session(session.id)
        await strict.close_session(session.id)
    await strict.execute(session, Task(id=TaskId("t"), args={"what": "succeed"}))


@pytest.mark.parametrize("case", ["open", "execute", "close"])
def test_strict_refuses_misuse(case: str) -> None:
    with pytest.raises(NotConforming):
        asyncio.run(misuse(case))


@pytest.mark.parametrize(
    ("mode", "function"), [("async", "ask_soon"), ("thread", "ask"), ("process", "ask"), ("auto", "ask_soon")]
)
def test_a_function_may_return_a_whole_result(mode: str, function: str, tmp_path: Path) -> None:
    async def main() -> Result:
        session = LocalSession(tmp_path)
        async with opened(Python)() as executor:
            await executor.open_session(session)
            result = await executor.execute(session, python_task(mode, function))
            await executor.close_session(session.id)
            return result

    (asked,) = (result := asyncio.run(main())).followups
    assert result.value == {"n": 1}
    assert (asked.id, asked.executor, asked.args) == ("x", "python", {"function": "f"})
