"""The container executor on scripted processes: what it asks for, what it makes of the end."""

import asyncio
import os
from collections.abc import Callable
from pathlib import Path

import msgspec
import pytest
from isolation_fakes import FakeLedger

from runwright.core.errors import Failure, TaskFailed
from runwright.core.task import Result, Task, TaskId
from runwright.executors import container_engine as module
from runwright.executors.container import Container, ContainerArgs
from runwright.executors.container_argv import Box, run_argv
from runwright.executors.isolated_args import Bind
from runwright.ports.executor import Executor
from runwright.ports.system import Command, Exit
from runwright.testing.processes import FakeProcesses, Script
from runwright.testing.sessions import LocalSession

ID = TaskId("t")
UNKNOWN = Script(output=(("stderr", b"Error: No such container: x\n"),), exit=Exit(code=1))
Play = Callable[[Command], Script]


@pytest.fixture
def session(tmp_path: Path) -> LocalSession:
    return LocalSession(tmp_path)


class Bench:
    """An executor over fakes; `plays` gives the scripts by the engine's subcommand."""

    def __init__(
        self, session: LocalSession, is_root: bool = False, patience: float = 30.0, **plays: Play | Script
    ) -> None:
        self.session = session
        self.ledger = FakeLedger()
        self.plays = plays
        self.processes = FakeProcesses(self.script_of)
        self.container = Container(self.processes, self.ledger, is_root, (0.0, 0.0), patience)

    def script_of(self, command: Command) -> Script:
        play = self.plays.get(command.argv[1], Script())
        return play if isinstance(play, Script) else play(command)

    def execute(self, **args: object) -> Result:
        return asyncio.run(self.container.execute(self.session, self.task(**args)))

    def task(self, **args: object) -> Task:
        return Task(id=ID, args={"image": "alpine:3", "engine": "docker", **args})

    def failure(self, **args: object) -> Failure:
        with pytest.raises(TaskFailed) as caught:
            self.execute(**args)
        assert not list(self.session.output_dir(ID).iterdir())
        return caught.value.failure

    def done(self) -> list[str]:
        return [command.argv[1] for command in self.processes.ran]


def test_it_is_an_executor() -> None:
    assert isinstance(Container(FakeProcesses(), FakeLedger()), Executor)
    assert Container.Args is ContainerArgs


# -- command lines


def test_the_least() -> None:
    assert run_argv("docker", Box(name="n", image="i")) == (
        *("docker", "run", "--rm", "--name", "n", "--pull", "missing", "--cap-drop", "ALL"),
        *("--security-opt", "no-new-privileges", "--init", "--network", "none", "--", "i"),
    )


def test_the_most() -> None:
    box = Box(
        name="n",
        image="i",
        command=("make", "-j"),
        pull="never",
        user="1:2",
        keeps_id=True,
        labels={"a": "1", "b": "2"},
        binds=(Bind(source="/s", target="/t"), Bind(source="/w", target="/x", writable=True)),
        network=True,
        init=False,
        read_only=True,
        memory_bytes=4096,
        cpus=1.5,
        pids=7,
        names=("A", "B"),
        env_file="/f",
        working_dir="/d",
    )
    assert run_argv("podman", box) == (
        *("podman", "run", "--rm", "--name", "n", "--pull", "never", "--cap-drop", "ALL"),
        *("--security-opt", "no-new-privileges", "--user", "1:2", "--userns", "keep-id", "--read-only"),
        *("--tmpfs", "/tmp:rw,exec,nosuid,nodev,mode=1777", "--memory", "4096b", "--memory-swap", "4096b"),
        *("--cpus", "1.500", "--pids-limit", "7", "--label", "a=1", "--label", "b=2"),
        *("--mount", "type=bind,source=/s,target=/t,readonly", "--mount", "type=bind,source=/w,target=/x"),
        *("--env", "A", "--env", "B", "--env-file", "/f", "--workdir", "/d", "--", "i", "make", "-j"),
    )


def test_what_it_asks_for(session: LocalSession, monkeypatch: pytest.MonkeyPatch) -> None:
    (session.source / "data").mkdir()
    monkeypatch.setenv("TOKEN", "secret-token")
    seen = {}

    def play(command: Command) -> Script:
        argv = command.argv
        file = Path(argv[argv.index("--env-file") + 1])
        seen.update(text=file.read_text(), mode=file.stat().st_mode & 0o777)
        return Script(output=(("stdout", b"one\ntwo\n"),))

    bench = Bench(session, run=play)
    result = bench.execute(
        cmd="echo $A",
        mounts=[{"source": "data", "target": "/data"}],
        env={"A": "value of a", "PATH": "/bin", "docker_host": "tcp://x"},
        inherit=["TOKEN", "MISSING", "A"],
        memory="64MiB",
        cpus=2,
        pids=4,
        working_dir="/data",
        read_only=True,
        kill_grace=3.0,
        pull="always",
    )
    (command,) = bench.processes.ran
    ((engine, name),) = bench.ledger.entered
    assert (engine, bench.ledger.open, result) == ("docker", [], Result(value="two"))
    values = str(session.output_dir(ID) / f".{name}/values")
    assert command.argv == (
        *("docker", "run", "--rm", "--name", name, "--pull", "always", "--cap-drop", "ALL"),
        *("--security-opt", "no-new-privileges", "--init", "--network", "none"),
        *("--user", f"{os.geteuid()}:{os.getegid()}", "--read-only"),
        *("--tmpfs", "/tmp:rw,exec,nosuid,nodev,mode=1777"),
        *(
            "--memory",
            f"{64 << 20}b",
            "--memory-swap",
            f"{64 << 20}b",
            "--cpus",
            "2.000",
            "--pids-limit",
            "5",
        ),
        *("--label", f"runwright.run={session.id}", "--label", "runwright.task=t"),
        *("--label", "runwright.owner=host:boot:1:2"),
        *("--mount", f"type=bind,source={(session.source / 'data').resolve()},target=/data,readonly"),
        *("--mount", f"type=bind,source={values},target=/run/runwright"),
        *("--env", "A", "--env", "RUNWRIGHT_OUTPUT", "--env", "TOKEN"),
        *("--env-file", str(session.output_dir(ID) / f".{name}/env"), "--workdir", "/data"),
        *("--", "alpine:3", "/bin/sh", "-c", "echo $A"),
    )
    assert command.env == {"A": "value of a", "RUNWRIGHT_OUTPUT": "/run/runwright/output"}
    assert (command.clean_env, command.kill_grace) == (False, 3.0)
    assert seen == {"text": "PATH=/bin\ndocker_host=tcp://x\n", "mode": 0o600}
    assert not [part for part in command.argv if "secret-token" in part or "value of a" in part]
    assert not list(session.output_dir(ID).iterdir())


def test_the_image_s_own_command(session: LocalSession) -> None:
    bench = Bench(session)
    bench.execute()
    assert bench.processes.ran[0].argv[-2:] == ("--", "alpine:3")


def test_users(session: LocalSession, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "which", lambda _name: None)
    monkeypatch.setattr(module, "INIT_OF_PODMAN", ())

    def options(is_root: bool, **args: object) -> tuple[str, ...]:
        bench = Bench(session, is_root=is_root)
        bench.execute(**args)
        return bench.processes.ran[0].argv

    own = f"{os.geteuid()}:{os.getegid()}"
    for is_root, args, user, keeps in (
        (False, {}, own, False),
        (True, {}, "65534:65534", False),
        (True, {"user": "app"}, "app", False),
        (False, {"engine": "podman"}, own, True),
        (True, {"engine": "podman"}, "65534:65534", False),
        (False, {"engine": "podman", "user": "0:0"}, "0:0", False),
    ):
        argv = options(is_root, **args)
        assert (argv[argv.index("--user") + 1], "keep-id" in argv) == (user, keeps)
        assert ("--init" in argv) == ("engine" not in args)
    assert "--init" in options(True, engine="podman", init=True)
    assert "--init" not in options(True, init=False)


def test_variables(session: LocalSession) -> None:
    def play(command: Command) -> Script:
        fields = next(part for part in command.argv if part.endswith("target=/run/runwright"))
        values = Path(fields.split(",")[1].removeprefix("source="))
        assert values.stat().st_mode & 0o777 == 0o777
        assert values.parent.stat().st_mode & 0o777 == 0o700
        (values / "output").write_text("A=1\n")
        return Script()

    assert Bench(session, run=play).execute(argv=["x"]).variables == {"A": "1"}


# -- arguments


@pytest.mark.parametrize(
    "args",
    [
        {"image": ""},
        {"image": "-v"},
        {"image": "a b"},
        {"image": "a\n"},
        {"image": "--privileged"},
        {"cmd": "x", "argv": ["y"]},
        {"argv": [""]},
        {"user": "-1"},
        {"user": "a b"},
        {"user": "0:"},
        {"engine": "lxc"},
        {"pull": "sometimes"},
        {"working_dir": "x"},
        {"working_dir": "/x\n"},
        {"memory": "much"},
        {"cpus": -1},
        {"pids": -1},
        {"env": {"A B": "x"}},
        {"env": {"PATH": "a\nb"}},
        {"mounts": [{"source": "/", "target": "/host"}]},
        {"privileged": True},
    ],
)
def test_wrong_arguments(session: LocalSession, args: dict[str, object]) -> None:
    bench = Bench(session)
    found = bench.failure(**args)
    assert found.code == "E_ARGS"
    assert found.message.startswith("executor container: ")
    assert bench.processes.ran == []


def test_placeholders_are_fine_until_they_are_filled_in() -> None:
    names = ("image", "user", "working_dir", "memory")
    msgspec.convert(dict.fromkeys(names, "{{.value}}"), ContainerArgs)


def test_mounts_that_can_t_be(session: LocalSession) -> None:
    (session.source / "a,b").mkdir()
    bench = Bench(session)
    for source, message in (("a,b", "holds a comma"), ("none", "No such file")):
        found = bench.failure(mounts=[{"source": source, "target": "/x"}])
        assert found.code == "E_MOUNT"
        assert message in found.message
    assert bench.ledger.open == []


# -- which engine


def test_the_first_engine_that_answers_is_used_and_remembered(session: LocalSession) -> None:
    def version(command: Command) -> Script:
        return Script(exit=Exit(code=command.argv[0] == "docker"))

    bench = Bench(session, version=version)
    for _ in range(2):
        bench.execute(engine="auto", init=True)
    assert bench.done() == ["version", "version", "run", "run"]
    assert bench.processes.ran[-1].argv[0] == "podman"


def test_no_engine(session: LocalSession) -> None:
    missing = TaskFailed(Failure(code="E_SPAWN", message="command not found: docker"))
    bench = Bench(session, version=Script(error=missing))
    assert bench.failure(engine="auto").code == "E_ENGINE"
    bench = Bench(session, run=Script(error=missing))
    assert bench.failure() == missing.failure
    assert (bench.done(), bench.ledger.open) == (["run"], [])


# -- ends


def test_a_command_that_fails(session: LocalSession) -> None:
    bench = Bench(session, run=Script(exit=Exit(code=3)))
    assert bench.failure().message == "exit status 3"
    assert (bench.done(), bench.ledger.open) == (["run"], [])


@pytest.mark.parametrize(
    ("said", "message"),
    [
        (
            b"docker: Error response from daemon: No such image: x\n\nRun 'docker run --help'\n",
            "No such image: x",
        ),
        (b"Error: x: image not known\n", "x: image not known"),
    ],
)
def test_an_engine_that_fails(session: LocalSession, said: bytes, message: str) -> None:
    run = Script(output=(("stderr", said),), exit=Exit(code=125))
    bench = Bench(session, run=run, rm=UNKNOWN)
    found = bench.failure()
    assert found.code == "E_ENGINE"
    assert found.message.startswith("the container can't be run: ")
    assert found.message.endswith(message)
    assert (bench.done(), bench.ledger.open) == (["run", "rm"], [])


def test_a_command_that_ends_like_an_engine(session: LocalSession) -> None:
    assert Bench(session, run=Script(exit=Exit(code=125))).failure().code == "E_EXIT"


def test_a_limit_of_memory_is_named(session: LocalSession) -> None:
    bench = Bench(session, run=Script(exit=Exit(code=137)))
    assert bench.failure(memory="1GiB").message.endswith("it may have reached its memory limit of 1GiB)")
    assert bench.failure().message == "exit status 137"


def test_a_program_that_was_killed(session: LocalSession) -> None:
    rounds = iter([UNKNOWN, UNKNOWN, Script()])
    bench = Bench(session, run=Script(exit=Exit(code=137, signal=9)), rm=lambda _: next(rounds))
    assert bench.failure().code == "E_SIGNAL"
    assert (bench.done(), bench.ledger.open) == (["run", "rm", "rm", "rm"], [])


def test_a_container_that_never_came_to_be(session: LocalSession) -> None:
    bench = Bench(session, run=Script(exit=Exit(code=137, signal=9)), rm=UNKNOWN)
    bench.failure()
    assert (bench.done(), bench.ledger.open) == (["run", "rm", "rm", "rm"], [])


@pytest.mark.parametrize(
    ("rm", "is_left"),
    [
        (Script(exit=Exit(code=1)), True),
        (Script(error=TaskFailed(Failure(code="E_SPAWN", message="gone"))), True),
        (
            Script(output=(("stderr", b"removal of container x is already in progress"),), exit=Exit(code=1)),
            False,
        ),
    ],
)
def test_a_container_that_can_t_be_removed_stays_in_the_ledger(
    session: LocalSession, rm: Script, is_left: bool
) -> None:
    died = TaskFailed(Failure(code="E_SUPERVISOR", message="dead"))
    bench = Bench(session, run=Script(error=died), rm=rm)
    assert bench.failure() == died.failure
    assert bool(bench.ledger.open) == is_left


def test_an_engine_that_does_not_answer_is_not_waited_for(session: LocalSession) -> None:
    bench = Bench(session, run=Script(exit=Exit(code=125)), rm=Script(gate=asyncio.Event()), patience=0.01)
    assert bench.failure().code == "E_EXIT"
    assert bench.ledger.open


def test_a_cancelled_container_is_removed_before_the_cancellation_comes_out(session: LocalSession) -> None:
    async def scenario() -> None:
        gate = asyncio.Event()
        bench = Bench(session, run=Script(gate=asyncio.Event()), rm=Script(gate=gate))
        work = asyncio.create_task(bench.container.execute(session, bench.task(argv=["x"])))
        await _until(lambda: bench.processes.running != [])
        work.cancel()
        await _until(lambda: len(bench.processes.ran) == 2)
        work.cancel()
        await asyncio.sleep(0)
        assert not work.done()
        assert bench.ledger.open
        gate.set()
        await asyncio.wait([work])
        assert work.cancelled()
        assert bench.processes.ran[1].argv == (
            "docker",
            "rm",
            "--force",
            "--volumes",
            bench.ledger.entered[0][1],
        )
        assert bench.ledger.open == []

    asyncio.run(scenario())
    assert not list(session.output_dir(ID).iterdir())


async def _until(condition: Callable[[], bool]) -> None:
    async with asyncio.timeout(10):
        while not condition():  # noqa: ASYNC110 - the fake has no event for this
            await asyncio.sleep(0)
