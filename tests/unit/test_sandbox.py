"""The sandbox executor on scripted processes: what it asks for, what it makes of the end."""

import asyncio
import os
from collections.abc import Callable
from pathlib import Path

import msgspec
import pytest
from isolation_fakes import FakeGroups

from runwright.core.errors import Failure, TaskFailed
from runwright.core.task import Result, Task, TaskId
from runwright.executors import sandbox_argv
from runwright.executors.sandbox import Sandbox, SandboxArgs
from runwright.ports.executor import Executor, Stream
from runwright.ports.system import Command, Exit
from runwright.testing.processes import FakeProcesses, Script
from runwright.testing.sessions import LocalSession

BWRAP = "/usr/bin/bwrap"


@pytest.fixture
def session(tmp_path: Path) -> LocalSession:
    made = LocalSession(tmp_path, secrets=["hunter2"])
    (made.source / "in").write_text("input")
    return made


def work_of(command: Command) -> Path:
    """Return the directory in which the task may write."""
    return Path(command.argv[command.argv.index("/task") - 1])


def execute(
    session: LocalSession,
    play: Callable[[Command], Script] = lambda _: Script(),
    groups: FakeGroups | None = None,
    inputs: tuple[str, ...] = (),
    own_outputs: tuple[str, ...] = (),
    **args: object,
) -> Result:
    sandbox = Sandbox(FakeProcesses(play), groups or FakeGroups(), BWRAP, is_root=False)
    task = Task(id=TaskId("t"), args={"cmd": "x"} | args, inputs=inputs, outputs=own_outputs)
    return asyncio.run(sandbox.execute(session, task))


def failure(session: LocalSession, play: Script, groups: FakeGroups | None = None, **args: object) -> Failure:
    with pytest.raises(TaskFailed) as caught:
        execute(session, lambda _: play, groups, **args)
    assert_nothing_left(session)
    return caught.value.failure


def assert_nothing_left(session: LocalSession) -> None:
    assert not list(session.output_dir(TaskId("t")).glob(".sandbox-*"))


def written(text: bytes, stream: Stream = "stderr", code: int = 1) -> Script:
    return Script(output=((stream, text),), exit=Exit(code=code))


def test_it_is_an_executor() -> None:
    assert isinstance(Sandbox(FakeProcesses(), FakeGroups(), BWRAP), Executor)
    assert Sandbox.Args is SandboxArgs


def test_what_it_asks_for(session: LocalSession, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TOKEN", "t")
    asked: list[Command] = []

    def play(command: Command) -> Script:
        asked.append(command)
        assert (work_of(command).parent / "inputs/in").read_text() == "input"
        return Script(output=(("stdout", b"one\ntwo\n"),))

    result = execute(
        session,
        play,
        inputs=("in",),
        argv=["make", "all"],
        cmd="",
        env={"A": "1", "HOME": "/task"},
        inherit=["TOKEN", "MISSING"],
        kill_grace=2.5,
        mounts=[{"source": "in", "target": "/opt/in"}],
        working_dir="sub/dir",
    )
    (command,) = asked
    assert result == Result(value="two")
    assert command.argv[-2:] == ("make", "all")
    assert command.argv[command.argv.index("--chdir") + 1] == "/task/sub/dir"
    at = command.argv.index("/opt/in")
    assert command.argv[at - 2 : at] == ("--ro-bind", str((session.source / "in").resolve()))
    assert command.env == {
        "PATH": "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
        "HOME": "/task",
        "TMPDIR": "/tmp",
        "RUNWRIGHT_OUTPUT": "/run/runwright/output",
        "TOKEN": "t",
        "A": "1",
    }
    assert (command.clean_env, command.kill_grace, command.unset) == (True, 2.5, ())
    assert_nothing_left(session)


def test_no_value_of_the_environment_is_an_argument(session: LocalSession) -> None:
    asked: list[Command] = []
    execute(session, lambda command: asked.append(command) or Script(), env={"A": "hidden-value"})
    assert not [part for part in asked[0].argv if "hidden-value" in part]


def test_outputs_and_values(session: LocalSession) -> None:
    def play(command: Command) -> Script:
        work = work_of(command)
        (work / "out").write_text("made")
        (work / "scratch").write_text("not kept")
        (work.parent / "values/output").write_text("A=1\n")
        return Script()

    for own, more in (((), ["out"]), (("out",), [])):
        result = execute(session, play, own_outputs=own, outputs=more)
        assert (result.outputs, result.variables, result.value) == (("out",), {"A": "1"}, "")
    assert (session.source / "out").read_text() == "made"
    assert (session.output_dir(TaskId("t")) / "out").read_text() == "made"
    assert not (session.source / "scratch").exists()
    assert_nothing_left(session)


@pytest.mark.parametrize(
    "args",
    [
        {"cmd": ""},
        {"argv": ["y"]},
        {"colour": 1},
        {"inputs": ["/etc/passwd"]},
        {"inputs": ["../x"]},
        {"outputs": ["/x"]},
        {"outputs": ["a/../../x"]},
        {"working_dir": "/"},
        {"working_dir": ".."},
        {"memory": "much"},
        {"file_size": "much"},
        {"pids": -1},
        {"cpu_time": -1},
        {"env": {"LD_PRELOAD": "x"}},
        {"inherit": ["A=B"]},
        {"mounts": [{"source": "../x", "target": "/x"}]},
        {"mounts": [{"source": "x", "target": "/x", "owner": "me"}]},
    ],
)
def test_wrong_arguments(session: LocalSession, args: dict[str, object]) -> None:
    found = failure(session, Script(), **args)
    assert found.code == "E_ARGS"
    assert found.message.startswith("executor sandbox: ")


def test_wrong_files_of_the_task(session: LocalSession) -> None:
    with pytest.raises(TaskFailed, match="an element of `inputs` must be relative"):
        execute(session, inputs=("/etc/passwd",))
    with pytest.raises(TaskFailed, match="an element of `outputs` must be relative"):
        execute(session, own_outputs=("../x",))


def test_placeholders_are_fine_until_they_are_filled_in() -> None:
    msgspec.convert(
        {
            "cmd": "x",
            "inputs": ["{{.a}}"],
            "outputs": ["{{.a}}"],
            "memory": "{{.m}}",
            "working_dir": "{{.d}}",
        },
        SandboxArgs,
    )


# -- limits


def limits_of(
    session: LocalSession, groups: FakeGroups, is_root: bool = False, **args: object
) -> tuple[str, ...]:
    processes = FakeProcesses()
    sandbox = Sandbox(processes, groups, BWRAP, is_root=is_root)
    asyncio.run(sandbox.execute(session, Task(id=TaskId("t"), args={"cmd": "x"} | args)))
    argv = processes.ran[0].argv
    if "/usr/bin/prlimit" not in argv:
        return ()
    start = argv.index("/usr/bin/prlimit")
    return argv[start + 1 : argv.index("--", start)]


def test_control_groups_bound_memory_and_processes(session: LocalSession) -> None:
    groups = FakeGroups()
    assert limits_of(session, groups, memory="64MiB", pids=5) == ()
    assert limits_of(session, groups, cpu_time=3, file_size="1KiB") == ("--cpu=3", "--fsize=1024")
    assert groups.asked == [(64 << 20, 7), (0, 0)]
    assert groups.removed == 2


def test_the_number_of_processes_is_bounded_without_a_control_group(session: LocalSession) -> None:
    assert limits_of(session, FakeGroups(pids=False), pids=5) == ("--nproc=6",)


@pytest.mark.skipif(os.geteuid() != 0, reason="only root becomes nobody")
def test_limits_of_root(session: LocalSession) -> None:
    groups = FakeGroups(pids=False)
    assert limits_of(session, groups, is_root=True, pids=5) == ("--nproc=5",)
    assert groups.asked == [(0, 8)]


def test_memory_that_can_t_be_bounded_is_an_error(session: LocalSession) -> None:
    groups = FakeGroups(memory=False)
    found = failure(session, Script(), groups, memory="64MiB")
    assert found.code == "E_LIMIT"
    assert "needs a writable control group" in found.message
    assert groups.removed == 1


def test_the_end_says_that_memory_ran_out(session: LocalSession) -> None:
    found = failure(session, Script(exit=Exit(code=137)), FakeGroups(killed=True), memory="64MiB")
    assert found.message == "exit status 137 (out of memory: its limit is 64MiB)"


# -- ends


def test_failures_of_the_task_and_of_the_sandbox(session: LocalSession) -> None:
    assert failure(session, written(b"oops\n", code=3)).code == "E_EXIT"
    found = failure(session, written(b"warning\nbwrap: Creating new namespace failed\n"))
    assert (found.code, found.message) == (
        "E_SANDBOX",
        "the sandbox can't be made: Creating new namespace failed",
    )
    assert failure(session, written(b"bwrap: x\n", code=2)).code == "E_EXIT"
    assert failure(session, written(b"my hunter2\n")).stderr_tail == "my ***\n"


def test_failures_of_the_door_pass_through(session: LocalSession) -> None:
    error = TaskFailed(Failure(code="E_SUPERVISOR", message="dead"))
    assert failure(session, Script(error=error)) == error.failure


def test_without_bubblewrap(session: LocalSession, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sandbox_argv, "which", lambda _name: None)
    with pytest.raises(TaskFailed, match="bubblewrap is not installed") as caught:
        asyncio.run(
            Sandbox(FakeProcesses(), FakeGroups()).execute(session, Task(id=TaskId("t"), args={"cmd": "x"}))
        )
    assert caught.value.failure.code == "E_SANDBOX"
    assert_nothing_left(session)


def test_cancellation_comes_out_and_leaves_nothing(session: LocalSession) -> None:
    groups = FakeGroups()

    async def scenario() -> None:
        processes = FakeProcesses(lambda _: Script(gate=asyncio.Event()))
        sandbox = Sandbox(processes, groups, BWRAP, is_root=False)
        work = asyncio.create_task(sandbox.execute(session, Task(id=TaskId("t"), args={"cmd": "x"})))
        while not processes.running:  # noqa: ASYNC110 - what runs is known by its long text alone
            await asyncio.sleep(0.001)
        work.cancel()
        await asyncio.wait([work])
        assert work.cancelled()
        assert processes.cancelled == processes.ran

    asyncio.run(scenario())
    assert groups.removed == 1
    assert_nothing_left(session)
