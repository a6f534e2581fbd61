"""The executors that isolate pass the published checks, with the real bubblewrap, Docker and Podman."""

import asyncio
import sys
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from runwright.adapters.cgroups import LinuxControlGroups
from runwright.adapters.process import WardenProcesses
from runwright.core.task import Result, Task, TaskId, replace
from runwright.executors.sandbox import Sandbox
from runwright.ports.executor import Executor, Session
from runwright.testing import CHECKS, Strict, Subject, run_check
from runwright.testing.sessions import LocalSession

sys.path.insert(0, str(Path(__file__).parents[1] / "integration"))
import isolation

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

    async def close_session(self, session_id: str) -> None:
        await self._inner.close_session(session_id)  # type: ignore[arg-type]


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


def subject(make: Callable[[WardenProcesses], Executor], hold: tuple[str, ...], **common: object) -> Subject:
    """Return tasks in which `hold` and a file's path are the command that holds the file."""

    def task(*argv: str, **more: object) -> Task:
        return Task(id=TaskId("task"), args={**common, "argv": list(argv), "kill_grace": 1.0, **more})

    def holding(file: Path, *before: str) -> Task:
        file.parent.chmod(0o777)  # the task is nobody
        mount = {"source": ".", "target": str(file.parent), "writable": True}
        return task(*before, *hold, str(file), mounts=[mount])

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
        abandons=lambda file: holding(file, "sh", "-c", HOLD_IN_BACKGROUND, "sh"),
    )


@pytest.mark.parametrize("name", CHECKS)
@isolation.needs_bubblewrap
def test_the_sandbox_keeps_the_contract(name: str, tmp_path: Path) -> None:
    checked = subject(lambda p: Sandbox(p, LinuxControlGroups()), HOLD)
    asyncio.run(run_check(name, checked, tmp_path))
