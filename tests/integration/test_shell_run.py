"""The shell executor on real processes."""

import asyncio
from pathlib import Path

import pytest

from runwright.adapters.process import WardenProcesses
from runwright.core.errors import TaskFailed
from runwright.core.task import Result, SessionId, Task, TaskId
from runwright.executors.shell import Shell
from runwright.ports.executor import LogWriter
from runwright.testing.processes import MemoryLogs


class OneSession:
    """A session over memory and one directory."""

    def __init__(self, folder: Path) -> None:
        self.id = SessionId("session")
        self.source = folder
        self.logs = MemoryLogs()

    def output_dir(self, task_id: TaskId) -> Path:
        path = self.source / "out put"
        path.mkdir(exist_ok=True)
        return path

    def log(self, task_id: TaskId) -> LogWriter:
        return self.logs.open(self.id, task_id, 1, 0)

    def redact(self, text: str) -> str:
        return text


def execute(folder: Path, **args: object) -> Result:
    async def scope() -> Result:
        processes = WardenProcesses()
        try:
            task = Task(id=TaskId("t"), executor="shell", args=args)
            return await Shell(processes).execute(OneSession(folder), task)
        finally:
            await processes.close()

    return asyncio.run(scope())


def test_value_and_variables(tmp_path: Path) -> None:
    cmd = 'echo A=1 >> "$RUNWRIGHT_OUTPUT"; printf "B=%s\\n" "$X" >> "$RUNWRIGHT_OUTPUT"; echo last; echo'
    result = execute(tmp_path, cmd=cmd, env={"X": "a b"}, clean_env=True)
    assert (result.value, result.variables) == ("last", {"A": "1", "B": "a b"})
    assert list((tmp_path / "out put").iterdir()) == []


def test_argv_takes_no_shell(tmp_path: Path) -> None:
    assert execute(tmp_path, argv=["printf", "%s", "$HOME; `x`"]).value == "$HOME; `x`"


def test_working_dir_is_below_the_source(tmp_path: Path) -> None:
    (tmp_path / "sub").mkdir()
    assert execute(tmp_path, cmd="pwd", working_dir="sub").value == str(tmp_path / "sub")
    assert execute(tmp_path, cmd="pwd").value == str(tmp_path)


@pytest.mark.parametrize(
    ("args", "code", "message"),
    [
        ({"cmd": "exit 3"}, "E_EXIT", "exit status 3"),
        ({"cmd": "kill -SEGV $$"}, "E_SIGNAL", "killed by SIGSEGV"),
        (
            {"cmd": "no-such-program-here"},
            "E_EXIT",
            "exit status 127 (command not found: no-such-program-here)",
        ),
        ({"cmd": "./plain"}, "E_EXIT", "exit status 126 (permission denied: ./plain)"),
        ({"argv": ["no-such-program-here"]}, "E_SPAWN", "command not found: no-such-program-here"),
        ({"cmd": "true", "working_dir": "none"}, "E_SPAWN", "can't enter the working directory"),
        ({"cmd": 'echo nonsense > "$RUNWRIGHT_OUTPUT"'}, "E_OUTPUT", "$RUNWRIGHT_OUTPUT, line 1"),
        ({"cmd": 'echo A=1 > "$RUNWRIGHT_OUTPUT"; exit 1'}, "E_EXIT", "exit status 1"),
    ],
)
def test_failures(tmp_path: Path, args: dict[str, object], code: str, message: str) -> None:
    (tmp_path / "plain").write_text("text")
    with pytest.raises(TaskFailed) as caught:
        execute(tmp_path, **args)
    assert caught.value.failure.code == code
    assert caught.value.failure.message.startswith(message)
    assert list((tmp_path / "out put").iterdir()) == []
