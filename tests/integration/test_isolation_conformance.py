"""The executors that isolate pass the published checks, with the real bubblewrap, Docker and Podman."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
from isolation import IMAGE, containers, needs_bubblewrap

from runwright.adapters.cgroups import LinuxControlGroups
from runwright.adapters.container_ledger import FileLedger
from runwright.adapters.owner import current_owner
from runwright.adapters.process import WardenProcesses
from runwright.core.errors import Failure
from runwright.core.task import Result, SessionId, Task, TaskId, replace
from runwright.executors.container import Container
from runwright.executors.sandbox import Sandbox
from runwright.ports.executor import Executor, Session
from runwright.testing import CHECKS, Strict, Subject, run_check
from runwright.testing.sessions import LocalSession

SAY_AND_FAIL = 'printf "%s\\n" "$1" >&2; exit 3'
HOLD = (
    "sh",
    "-c",
    'exec 9>>"$1"; flock 9; printf x >&9; while [ ! -e "$1.release" ]; do sleep 0.01; done',
    "sh",
)
HOLD_IN_BACKGROUND = '( "$@" >/dev/null 2>&1 & ) ; while [ ! -s "$5" ]; do sleep 0.01; done'


class Below:
    """Gives its executor the directory above the source tree as the source tree: that is where the checks' files are."""

    def __init__(self, inner: Executor) -> None:
        self._inner = inner

    async def open_session(self, session: Session) -> None:
        await self._inner.open_session(_from_above(session))

    async def execute(self, session: Session, task: Task) -> Result:
        return await self._inner.execute(_from_above(session), task)

    async def close_session(self, session_id: SessionId) -> None:
        await self._inner.close_session(session_id)


class Above(LocalSession):
    def __init__(self, session: LocalSession) -> None:
        self.__dict__.update(session.__dict__)
        self.source = session.source.parent


def _from_above(session: Session) -> Session:
    assert isinstance(session, LocalSession)
    return Above(session)


def opened(make: Callable[[WardenProcesses], Executor]) -> Callable[[], object]:
    @asynccontextmanager
    async def open_() -> AsyncIterator[Executor]:
        processes = WardenProcesses()
        try:
            yield Below(Strict(make(processes)))
        finally:
            await processes.close()

    return open_


def subject(make: Callable[[WardenProcesses], Executor], **common: object) -> Subject:
    """Return tasks with these arguments in common."""

    def task(*argv: str, **more: object) -> Task:
        return Task(id=TaskId("task"), args={**common, "argv": list(argv), "kill_grace": 1.0, **more})

    def holding(file: Path, *before: str) -> Task:
        file.parent.chmod(0o777)  # the task is nobody
        mount = {"source": ".", "target": str(file.parent), "writable": True}
        return task(*before, *HOLD, str(file), mounts=[mount])

    def shell(cmd: str) -> Task:
        plain = task("x")
        return replace(plain, args={**{k: v for k, v in plain.args.items() if k != "argv"}, "cmd": cmd})

    return Subject(
        open=opened(make),  # type: ignore[arg-type]
        succeeds=shell("echo one; echo two; echo"),
        value="two",
        fails=lambda text: task("sh", "-c", SAY_AND_FAIL, "sh", text),
        holds=holding,
        names=shell('echo A=1 > "$RUNWRIGHT_OUTPUT"'),
        variables={"A": "1"},
        prints=shell("echo out; echo err >&2"),
        output=b"out\nerr\n",
        failure=Failure(code="E_EXIT", message="", exit_code=3),
        abandons=lambda file: holding(file, "sh", "-c", HOLD_IN_BACKGROUND, "sh"),
    )


@pytest.mark.parametrize("name", CHECKS)
@needs_bubblewrap
def test_the_sandbox_keeps_the_contract(name: str, tmp_path: Path) -> None:
    asyncio.run(run_check(name, subject(lambda p: Sandbox(p, LinuxControlGroups())), tmp_path))


@pytest.mark.parametrize("name", CHECKS)
def test_the_container_keeps_the_contract(engine: str, name: str, tmp_path: Path) -> None:
    ledger = FileLedger(tmp_path / "ledger", current_owner())
    try:
        checked = subject(lambda p: Container(p, ledger), image=IMAGE, engine=engine, pull="never")
        asyncio.run(run_check(name, checked, tmp_path))
    finally:
        ledger.close()
    assert containers(engine) == []
    assert not (tmp_path / "ledger").exists()
