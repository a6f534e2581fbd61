"""The shell executor on scripted processes: what it asks for, what it makes of the end."""

import asyncio
import os
from pathlib import Path

import msgspec
import pytest

from runwright.core.errors import Failure, TaskFailed
from runwright.core.task import Result, SessionId, Task, TaskId
from runwright.executors.output_file import take_variables
from runwright.executors.shell import Shell, ShellArgs
from runwright.ports.executor import Executor, LogWriter, Stream
from runwright.ports.system import Command, Exit
from runwright.testing.processes import FakeProcesses, MemoryLogs, Script, command_text


class OneSession:
    """A session over memory and one directory."""

    def __init__(self, folder: Path, secret: str = "hunter2") -> None:
        self.id = SessionId("session")
        self.source = folder
        self.secret = secret
        self.logs = MemoryLogs()
        self.asked: list[str] = []

    def output_dir(self, task_id: TaskId) -> Path:
        self.asked.append(task_id)
        path = self.source / "out"
        path.mkdir(exist_ok=True)
        return path

    def log(self, task_id: TaskId) -> LogWriter:
        return self.logs.open(self.id, task_id, 1, 0)

    def redact(self, text: str) -> str:
        return text.replace(self.secret, "***")


@pytest.fixture
def session(tmp_path: Path) -> OneSession:
    return OneSession(tmp_path)


def to_task(**args: object) -> Task:
    return Task(id=TaskId("t"), executor="shell", args=args)


def execute(session: OneSession, script: Script, **args: object) -> Result:
    processes = FakeProcesses(lambda _command: script)
    return asyncio.run(Shell(processes).execute(session, to_task(**({"cmd": "x"} | args))))


def failure(session: OneSession, script: Script, **args: object) -> Failure:
    with pytest.raises(TaskFailed) as caught:
        execute(session, script, **args)
    return caught.value.failure


def written(*pieces: bytes, stream: Stream = "stdout", code: int = 0) -> Script:
    return Script(output=tuple((stream, piece) for piece in pieces), exit=Exit(code=code))


def asked_for(session: OneSession, **args: object) -> Command:
    processes = FakeProcesses()
    asyncio.run(Shell(processes).execute(session, to_task(**args)))
    return processes.ran[0]


def test_it_is_an_executor() -> None:
    assert isinstance(Shell(FakeProcesses()), Executor)
    assert Shell.Args is ShellArgs


def test_what_it_asks_for(session: OneSession) -> None:
    command = asked_for(session, cmd="echo $X", env={"X": "1"}, unset=["Y"], clean_env=True, kill_grace=2.5)
    assert command.argv == ("/bin/sh", "-c", "echo $X")
    assert command_text(command) == "echo $X"
    assert (command.cwd, command.env["X"], command.unset) == (str(session.source), "1", ("Y",))
    assert (command.clean_env, command.kill_grace) == (True, 2.5)
    command = asked_for(session, argv=["ls", "-l"], working_dir="sub/dir")
    assert (command.argv, command.cwd) == (("ls", "-l"), str(session.source / "sub/dir"))
    assert command_text(command) == "ls -l"
    assert asked_for(session, cmd="x", working_dir="/elsewhere").cwd == "/elsewhere"


@pytest.mark.parametrize(
    "args",
    [{}, {"cmd": ""}, {"cmd": "x", "argv": ["y"]}, {"cmd": "x", "colour": 1}, {"cmd": 3}, {"argv": []}],
)
def test_wrong_arguments(session: OneSession, args: dict[str, object]) -> None:
    processes = FakeProcesses()
    with pytest.raises(TaskFailed) as caught:
        asyncio.run(Shell(processes).execute(session, to_task(**args)))
    assert caught.value.failure.code == "E_ARGS"
    assert processes.ran == []


@pytest.mark.parametrize(
    ("pieces", "value"),
    [
        ((), ""),
        ((b"one",), "one"),
        ((b"one\ntwo\n",), "two"),
        ((b"one\n tw", b"o \n\n  \n"), "two"),
        ((b"one\r\n",), "one"),
        ((b"one\ntw", b"o\nth", b"ree"), "three"),
        ((b"one\n", b" \t"), "one"),
        ((b"bad \xff\n",), "bad \ufffd"),
        ((b"a" * 40_000, b"b" * 40_000, b"\n"), "a" * 40_000 + "b" * 25_536),
        ((b"x" * 100_000 + b"\nlast",), "last"),
    ],
)
def test_the_value_is_the_last_line_that_is_not_empty(
    session: OneSession, pieces: tuple[bytes, ...], value: str
) -> None:
    assert execute(session, written(*pieces)).value == value
    assert session.logs.text("session", "t") == b"".join(pieces)


def test_stderr_is_no_value(session: OneSession) -> None:
    assert execute(session, written(b"oops\n", stream="stderr")).value == ""


@pytest.mark.parametrize(
    ("exit_", "errors", "code", "message"),
    [
        (Exit(code=3), b"", "E_EXIT", "exit status 3"),
        (Exit(code=127), b"sh: 1: foo: not found\n", "E_EXIT", "exit status 127 (command not found: foo)"),
        (
            Exit(code=127),
            b"sh: line 1: foo: command not found\n",
            "E_EXIT",
            "exit status 127 (command not found: foo)",
        ),
        (Exit(code=127), b"", "E_EXIT", "exit status 127 (command not found)"),
        (
            Exit(code=126),
            b"sh: 1: ./x: Permission denied\n",
            "E_EXIT",
            "exit status 126 (permission denied: ./x)",
        ),
        (Exit(code=139, signal=11), b"", "E_SIGNAL", "killed by SIGSEGV"),
        (Exit(code=128 + 40, signal=40), b"", "E_SIGNAL", "killed by signal 40"),
    ],
)
def test_failures(session: OneSession, exit_: Exit, errors: bytes, code: str, message: str) -> None:
    found = failure(session, Script(output=(("stderr", errors),), exit=exit_))
    assert (found.code, found.message, found.exit_code, found.signal) == (
        code,
        message,
        exit_.code,
        exit_.signal,
    )
    assert found.stderr_tail == errors.decode()


def test_the_end_of_stderr_is_short_and_redacted(session: OneSession) -> None:
    found = failure(session, written(b"x" * 9_000, b"\nmy hunter2\n", stream="stderr", code=1))
    assert len(found.stderr_tail) == 4096
    assert found.stderr_tail.endswith("x\nmy ***\n")
    assert (
        len(failure(session, written("é".encode() * 9_000, stream="stderr", code=1)).stderr_tail.encode())
        <= 4096
    )


@pytest.mark.parametrize("size", range(4080, 4110))
def test_a_secret_at_the_edge_of_the_tail_does_not_show(session: OneSession, size: int) -> None:
    for junk in (b"y\n" * 4_000, b""):
        text = junk + b"hunter2\n" + b"z" * size
        shown = failure(session, written(text, stream="stderr", code=1)).stderr_tail
        assert not any(part in shown for part in ("hunt", "nter", "ter2"))


def test_failures_of_the_door_pass_through(session: OneSession) -> None:
    error = TaskFailed(Failure(code="E_SPAWN", message="command not found: x"))
    assert failure(session, Script(error=error)) == error.failure


def leave_values(command: Command) -> None:
    Path(command.env["RUNWRIGHT_OUTPUT"]).write_text("A=1\n")


def test_cancellation_comes_out_and_leaves_no_file(session: OneSession) -> None:
    async def scenario() -> None:
        processes = FakeProcesses(lambda _command: Script(gate=asyncio.Event()))
        running = asyncio.create_task(Shell(processes).execute(session, to_task(cmd="x")))
        await processes.wait_running("x")
        leave_values(processes.ran[0])
        running.cancel()
        with pytest.raises(asyncio.CancelledError):
            await running
        assert processes.cancelled == processes.ran
        assert processes.running == []

    asyncio.run(scenario())
    assert list((session.source / "out").iterdir()) == []


def test_values_named_by_the_command(session: OneSession) -> None:
    def write(command: Command) -> Script:
        Path(command.env["RUNWRIGHT_OUTPUT"]).write_text("A=1\nB=x=y \n")
        return Script()

    async def scenario() -> Result:
        shell = Shell(FakeProcesses(write))
        await shell.execute(session, to_task(cmd="x"))
        result = await shell.execute(session, to_task(cmd="x"))
        await shell.close_session(session.id)
        return result

    assert asyncio.run(scenario()).variables == {"A": "1", "B": "x=y "}
    assert len(session.asked) == 1, "one directory serves all commands of a session"
    assert list((session.source / "out").iterdir()) == []


@pytest.mark.parametrize(
    ("content", "values"),
    [
        (b"", {}),
        (b"\n  \n", {}),
        (b"A=\n", {"A": ""}),
        (b"A=1\nA=2", {"A": "2"}),
        (b"A= spaces and = kept \t\n", {"A": " spaces and = kept \t"}),
        (
            b' {"A": "x", "b_1": 3, "C": [1, {"d": null}], "E": true, "F": 1.5, "G": null}\n',
            {"A": "x", "b_1": "3", "C": '[1,{"d":null}]', "E": "true", "F": "1.5", "G": "null"},
        ),
        (b"{}", {}),
        ("Ü=1".encode().replace("Ü".encode(), b"U") + "ü".encode(), {"U": "1ü"}),
    ],
)
def test_output_file(tmp_path: Path, content: bytes, values: dict[str, str]) -> None:
    path = tmp_path / "file"
    path.write_bytes(content)
    assert take_variables(path) == values
    assert not path.exists()
    assert take_variables(path) == {}


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"A=1\nsecret\n", "line 2: NAME=value was expected"),
        (b"A=1\n\n1A=2\n", "line 3: a name must be"),
        (b" A=1", "line 1: a name must be"),
        ("Ä=1".encode(), "line 1: a name must be"),
        (b"A=1\nB=\xff\n", "line 2: it is not UTF-8"),
        (b'{"A": 1,\n oops}', "line 2: one JSON object was expected"),
        (b'{"a b": 1}', "a name must be"),
        (b'{"A": 1} {"B": 2}', "one JSON object was expected"),
        (b"A=" + b"x" * (1 << 20), "more than 1048576 bytes"),
    ],
)
def test_output_file_in_error(tmp_path: Path, content: bytes, message: str) -> None:
    path = tmp_path / "file"
    path.write_bytes(content)
    with pytest.raises(TaskFailed, match="RUNWRIGHT_OUTPUT") as caught:
        take_variables(path)
    assert caught.value.failure.code == "E_OUTPUT"
    assert message in str(caught.value)
    assert "secret" not in str(caught.value)
    assert not path.exists()


def test_output_file_that_is_no_plain_file(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(TaskFailed, match="not a plain file"):
        take_variables(tmp_path / "pipe")
    (tmp_path / "link").symlink_to("/etc/passwd")
    with pytest.raises(TaskFailed, match="symbolic link"):
        take_variables(tmp_path / "link")
    (tmp_path / "folder").mkdir()
    with pytest.raises(TaskFailed, match="not a plain file"):
        take_variables(tmp_path / "folder")


def test_args_have_a_schema() -> None:
    assert set(msgspec.json.schema(ShellArgs)["$defs"]["ShellArgs"]["properties"]) == set(
        ShellArgs.__struct_fields__
    )
