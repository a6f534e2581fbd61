"""Rooms on scripted processes: what they ask for, what they make of the end."""

import asyncio
import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from isolation_fakes import FakeGroups, FakeLedger

from runwright.core.errors import Failure, TaskFailed, UsageError
from runwright.core.job import DockerAuthConfig, RegistryAuth
from runwright.core.rooms import WORKSPACE, out_of_memory, shown_command, step_environment
from runwright.executors import sandbox_argv
from runwright.executors.container_engine import NO_ENGINE
from runwright.executors.runtimes import container as container_module
from runwright.executors.runtimes.container import ContainerOptions, ContainerRuntime, list_argv, place_of
from runwright.executors.runtimes.sandbox import SandboxRuntime
from runwright.executors.runtimes.shell import ShellRuntime
from runwright.executors.runtimes.steps import check_step
from runwright.executors.sandbox_argv import ENTER, JOIN, PATH
from runwright.ports.jobs import JobLimits, JobPlace, Room, RoomStep, Runtime
from runwright.ports.system import Command, Exit
from runwright.testing.processes import FakeProcesses, Script
from runwright.wiring.job_runtimes import RuntimeOptions, home_of, make_runtimes

STEP = RoomStep(key="step.docker.0", script="make\n", env={"A": "it's"})
BOUNDS = JobLimits(cpus=1.5, memory_bytes=4096, pids=10)
GONE = TaskFailed(Failure(code="E_SPAWN", message="command not found: docker"))
Play = Callable[[Command], Script]


@pytest.fixture
def place(tmp_path: Path) -> JobPlace:
    made = JobPlace(name="p", workspace=tmp_path / "work", scratch=tmp_path / "scratch", kill_grace=3.0)
    made.workspace.mkdir()
    made.scratch.mkdir()
    return made


def limited(place: JobPlace, limits: JobLimits = BOUNDS, **more: Any) -> JobPlace:
    return JobPlace(name=place.name, workspace=place.workspace, scratch=place.scratch, limits=limits, **more)


async def no_log(*_: object) -> Exit:
    raise AssertionError("nothing here takes time")


async def one(runtime: Runtime, place: JobPlace, step: RoomStep = STEP) -> tuple[Exit, str]:
    """Run a step; return its end and its standard error."""
    room: Room = await runtime.open(place, no_log)
    said: list[bytes] = []
    try:
        exit_ = await room.run(step, lambda stream, data: said.append(data if stream == "stderr" else b""))
    finally:
        await room.close()
        assert list(place.scratch.iterdir()) == []
    return exit_, b"".join(said).decode()


def ends(runtime: Runtime, place: JobPlace, step: RoomStep = STEP) -> tuple[int, str]:
    exit_, said = asyncio.run(one(runtime, place, step))
    return exit_.code, said


def fails(runtime: Runtime, place: JobPlace, step: RoomStep = STEP) -> Failure:
    with pytest.raises(TaskFailed) as caught:
        asyncio.run(one(runtime, place, step))
    return caught.value.failure


# -- what all have in common


def test_a_step_in_the_log() -> None:
    assert shown_command("a\nb", ()) == ("/bin/sh", "-e", "-c", "a\nb")
    assert shown_command("", ("src", "x")) == ("src", "x")


def test_the_workspace_is_always_named_and_the_rest_can_be_chosen() -> None:
    env = step_environment({"HOME": "/h", "RUNWRIGHT_WORKSPACE": "/x"}, "/work", "/tmp")
    assert env == {"HOME": "/h", "TMPDIR": "/tmp", "RUNWRIGHT_WORKSPACE": "/work"}


def test_what_is_said_of_memory() -> None:
    assert (
        out_of_memory(5, is_certain=True) == "runwright: the step ran out of memory: its limit is 5 bytes\n"
    )
    assert "may have run out" in out_of_memory(5, is_certain=False)


@pytest.mark.parametrize(
    ("step", "told"),
    [
        (RoomStep(key="k", script="x", env={"LD_PRELOAD": "/x"}), "makes programs load foreign code"),
        (RoomStep(key="k", script="x", env={"A B": "x"}), "can't be the name"),
        (RoomStep(key="k", script="x", env={"A": "\0"}), "holds a NUL"),
        (RoomStep(key="k", argv=("x", "\0")), "holds a NUL"),
    ],
)
def test_steps_that_can_t_be_started(step: RoomStep, told: str) -> None:
    with pytest.raises(TaskFailed, match=told) as caught:
        check_step(step)
    assert caught.value.failure.code == "E_ARGS"


def test_a_home_is_named_by_machine_and_directory(tmp_path: Path) -> None:
    (tmp_path / "link").symlink_to(tmp_path)
    assert home_of(tmp_path) == home_of(tmp_path / "link")
    assert home_of(tmp_path) != home_of(tmp_path / "other")


def test_runtimes_by_name(tmp_path: Path) -> None:
    names = ("shell", "sandbox", "container", "microvm")
    made = make_runtimes((*names, "shell"), FakeProcesses(), tmp_path, RuntimeOptions())
    assert {name: runtime.name for name, runtime in made.items()} == {name: name for name in names}
    made.close()
    made.close()
    make_runtimes(("shell",), FakeProcesses(), tmp_path).close()
    with pytest.raises(UsageError, match="there is no runtime 'jail'; there are shell, sandbox"):
        make_runtimes(("jail",), FakeProcesses(), tmp_path)


# -- shell


def test_a_step_of_the_shell(place: JobPlace) -> None:
    seen = {}

    def play(command: Command) -> Script:
        run = next(place.scratch.glob("step-*/run"))
        seen.update(text=(run / "script").read_text(), mode=(run / "script").stat().st_mode & 0o777, run=run)
        return Script(exit=Exit(code=137, signal=9))

    processes, groups = FakeProcesses(play), FakeGroups()
    runtime = ShellRuntime(processes, groups, "/bin")
    exit_, _ = asyncio.run(one(runtime, place))
    (command,) = processes.ran
    run = seen.pop("run")
    assert exit_ == Exit(code=137)
    assert seen == {"text": "make\n", "mode": 0o600}
    assert command.argv == ("/bin/sh", "-e", "-c", f". {run}/script", "step.docker.0")
    assert command.env == {
        "PATH": "/bin",
        "HOME": f"{run.parent}/home",
        "TMPDIR": f"{run.parent}/home",
        "A": "it's",
        "RUNWRIGHT_WORKSPACE": str(place.workspace),
    }
    assert (command.cwd, command.clean_env, command.kill_grace) == (
        f"{place.workspace}/.".rstrip("/."),
        True,
        3.0,
    )
    assert (groups.asked, groups.removed) == ([(0, 0)], 1)


def test_bounds_of_the_shell(place: JobPlace) -> None:
    processes, groups = FakeProcesses(), FakeGroups(killed=True)
    step = RoomStep(key="", argv=("src", "x"))
    code, said = ends(ShellRuntime(processes, groups, "/bin"), limited(place), step)
    assert (code, said) == (0, out_of_memory(4096, is_certain=True))
    assert groups.asked == [(4096, 10)]
    assert processes.ran[0].argv == (
        *("/bin/sh", "-c", JOIN, "join", "1", "/cg/cgroup.procs"),
        *("/bin/sh", "-c", 'exec "$@"', "step", "src", "x"),
    )


@pytest.mark.parametrize(
    ("groups", "told"),
    [
        (FakeGroups(memory=False), "a limit of memory can't"),
        (FakeGroups(pids=False), "a limit of processes can't"),
        (FakeGroups(cpus=False, memory=False), "a limit of memory and CPU can't"),
    ],
)
def test_bounds_that_can_t_be_held(place: JobPlace, groups: FakeGroups, told: str) -> None:
    found = fails(ShellRuntime(FakeProcesses(), groups, "/bin"), limited(place))
    assert found.code == "E_LIMIT"
    assert told in found.message
    assert groups.removed == 1


def test_the_shell_leaves_nothing_to_sweep() -> None:
    groups = FakeGroups()
    runtime = ShellRuntime(FakeProcesses(), groups, "/bin")
    assert asyncio.run(runtime.sweep(lambda _: False)) == []
    assert groups.swept == 1
    assert asyncio.run(runtime.faults()) == []


def test_a_machine_without_a_shell(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "access", lambda *_: False)
    (fault,) = asyncio.run(ShellRuntime(FakeProcesses(), FakeGroups(), "/bin").faults())
    assert "no /bin/sh" in fault


# -- sandbox


@pytest.fixture
def bubblewrap(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sandbox_argv, "which", lambda _name: "/usr/bin/bwrap")


def sandbox(processes: FakeProcesses, path: str = "", **groups: bool) -> SandboxRuntime:
    return SandboxRuntime(processes, FakeGroups(**groups), path, is_root=False)


@pytest.mark.usefixtures("bubblewrap")
def test_a_step_of_the_sandbox(place: JobPlace) -> None:
    seen = {}

    def play(_: Command) -> Script:
        run = next(place.scratch.glob("step-*/run"))
        seen.update(env=(run / "env").read_text(), mode=(run / "env").stat().st_mode & 0o777)
        seen["passwd"] = (place.scratch / "etc/passwd").read_text()
        return Script()

    processes = FakeProcesses(play)
    (place.workspace / "sub").mkdir()
    path = "/opt/x:/usr/local/go/bin:/usr:/binary"
    step = RoomStep(key="k", script="x", dir="sub", env={"A": "it's"})
    assert ends(sandbox(processes, path), place, step) == (0, "")
    argv = processes.ran[0].argv
    assert argv[:5] == ("/bin/sh", "-c", ENTER, "sandbox", "0")
    at = argv.index(str(place.workspace))
    assert argv[at - 1 : at + 3] == ("--bind", str(place.workspace), "/work", "--ro-bind")
    assert argv[at + 4] == "/run/runwright"
    assert argv[argv.index("--chdir") + 1] == f"{WORKSPACE}/sub"
    assert argv[-9:] == (
        *("/bin/sh", "-c", '. /run/runwright/env; exec "$@"', "enter"),
        *("/bin/sh", "-e", "-c", ". /run/runwright/script", "k"),
    )
    assert "prlimit" not in " ".join(argv)
    assert "--unshare-net" in argv
    assert processes.ran[0].env == {"PATH": PATH}
    assert seen["mode"] == 0o600
    assert seen["env"] == (
        "export PATH=/usr/local/go/bin:/usr\nexport HOME=/tmp\nexport TMPDIR=/tmp\n"
        "export A='it'\"'\"'s'\nexport RUNWRIGHT_WORKSPACE=/work\n"
    )
    assert f"x:{os.geteuid()}:" in seen["passwd"]


@pytest.mark.usefixtures("bubblewrap")
def test_processes_are_bounded_otherwise_where_there_are_no_groups(place: JobPlace) -> None:
    processes = FakeProcesses()
    ends(sandbox(processes, pids=False), limited(place, JobLimits(pids=10, network=True)))
    argv = processes.ran[0].argv
    assert argv[argv.index("/usr/bin/prlimit") + 1] == "--nproc=11"
    assert "--unshare-net" not in argv


@pytest.mark.usefixtures("bubblewrap")
def test_a_sandbox_that_can_t_be_made(place: JobPlace) -> None:
    said = Script(output=(("stderr", b"bwrap: No permission\n"),), exit=Exit(code=1))
    found = fails(sandbox(FakeProcesses(lambda _: said)), place)
    assert (found.code, found.message) == ("E_SANDBOX", "the sandbox can't be made: No permission")
    (fault,) = asyncio.run(sandbox(FakeProcesses(lambda _: said)).faults())
    assert fault.startswith(
        "no sandbox can be made: the sandbox can't be made: No permission; install the packages"
    )
    other = Script(output=(("stderr", b"setpriv: none\n"),), exit=Exit(code=127))
    (fault,) = asyncio.run(sandbox(FakeProcesses(lambda _: other)).faults())
    assert "no sandbox can be made: setpriv: none; install" in fault
    silent = Script(exit=Exit(code=3))
    (fault,) = asyncio.run(sandbox(FakeProcesses(lambda _: silent)).faults())
    assert "exit status 3" in fault
    assert asyncio.run(sandbox(FakeProcesses()).faults()) == []
    assert asyncio.run(sandbox(FakeProcesses()).sweep(lambda _: False)) == []


def test_without_bubblewrap(place: JobPlace, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sandbox_argv, "which", lambda _name: None)
    assert fails(sandbox(FakeProcesses()), place).code == "E_SANDBOX"


# -- container


class Bench:
    """A runtime of containers over fakes; `plays` gives the scripts by the engine's subcommand."""

    def __init__(self, options: ContainerOptions | None = None, **plays: Play | Script) -> None:
        self.ledger = FakeLedger()
        self.plays = plays
        self.processes = FakeProcesses(self.script_of)
        chosen = options or ContainerOptions(engine="docker", image="default:1")
        self.runtime = ContainerRuntime(self.processes, self.ledger, "home", chosen, False, (0.0,), 5.0)

    def script_of(self, command: Command) -> Script:
        play = self.plays.get(command.argv[1], Script())
        return play if isinstance(play, Script) else play(command)

    def done(self) -> list[str]:
        return [command.argv[1] for command in self.processes.ran]


def test_a_step_of_a_container(place: JobPlace, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(container_module, "has_init", lambda _: True)
    seen = {}

    def play(command: Command) -> Script:
        file = Path(command.argv[command.argv.index("--env-file") + 1])
        seen.update(text=file.read_text(), mode=file.stat().st_mode & 0o777)
        return Script()

    bench = Bench(run=play)
    step = RoomStep(key="k", script="x", dir="sub", env={"A": "a", "DOCKER_HOST": "d"}, image="own:1")
    assert ends(bench.runtime, limited(place), step) == (0, "")
    assert bench.done() == ["image", "run"]
    assert bench.processes.ran[0].argv[-1] == "own:1"
    command = bench.processes.ran[1]
    run = command.argv[command.argv.index("--env-file") + 1].removesuffix("env") + "run"
    assert command.argv == (
        *("docker", "run", "--rm", "--name", "runwright-p-1", "--pull", "never", "--cap-drop", "ALL"),
        *("--security-opt", "no-new-privileges", "--init", "--network", "none"),
        *("--user", f"{os.geteuid()}:{os.getegid()}"),
        *("--read-only", "--tmpfs", "/tmp:rw,exec,nosuid,nodev,mode=1777"),
        *("--memory", "4096b", "--memory-swap", "4096b", "--cpus", "1.500", "--pids-limit", "11"),
        *("--label", "runwright.owner=host:boot:1:2", "--label", "runwright.home=home"),
        *("--mount", f"type=bind,source={place.workspace},target=/work"),
        *("--mount", f"type=bind,source={run},target=/run/runwright,readonly"),
        *("--env", "A", "--env", "RUNWRIGHT_WORKSPACE", "--env-file", f"{run.removesuffix('run')}env"),
        *("--workdir", f"{WORKSPACE}/sub", "--entrypoint", "/bin/sh", "--", "own:1"),
        *("-e", "-c", ". /run/runwright/script", "k"),
    )
    assert command.env == {"A": "a", "RUNWRIGHT_WORKSPACE": "/work"}
    assert seen == {"text": "HOME=/tmp\nTMPDIR=/tmp\nDOCKER_HOST=d\n", "mode": 0o600}
    assert (bench.ledger.entered, bench.ledger.open) == ([("docker", "runwright-p-1")], [])


def test_an_engine_without_a_first_process(place: JobPlace, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(container_module, "has_init", lambda _: False)
    bench = Bench(ContainerOptions(engine="podman", image="i"))
    ends(bench.runtime, place, RoomStep(key="k", argv=("src",)))
    argv = bench.processes.ran[-1].argv
    assert "--init" not in argv
    assert "keep-id" in argv
    assert argv[argv.index("--entrypoint") + 1] == "/bin/sh"
    assert argv[-8:] == ("-c", container_module.FIRST, "first", "/bin/sh", "-c", 'exec "$@"', "k", "src")


def test_an_image_is_looked_for_once_and_pulled_if_missing(place: JobPlace) -> None:
    pulled = Script(output=(("stdout", b"Pulling\n"), ("stderr", b"slowly\n")))
    bench = Bench(image=Script(exit=Exit(code=1)), pull=pulled)

    async def scope() -> list[bytes]:
        room = await bench.runtime.open(place, no_log)
        said: list[bytes] = []
        for _ in range(2):
            await room.run(STEP, lambda stream, data: said.append(stream.encode() + data))
        return said

    assert asyncio.run(scope()) == [b"stderrPulling\n", b"stderrslowly\n"]
    assert bench.done() == ["image", "pull", "run", "run"]
    assert [name for _, name in bench.ledger.entered] == ["runwright-p-1", "runwright-p-2"]
    bench = Bench(ContainerOptions(engine="docker", image="i", pull="always"))
    ends(bench.runtime, place)
    assert bench.done() == ["pull", "run"]


def test_credentials_are_there_while_an_image_is_pulled(place: JobPlace) -> None:
    seen: dict[str, Any] = {}

    def pull(command: Command) -> Script:
        file = Path(command.env["REGISTRY_AUTH_FILE"])
        assert file.parent == Path(command.env["DOCKER_CONFIG"])
        seen.update(text=json.loads(file.read_text()), mode=file.stat().st_mode & 0o777, argv=command.argv)
        return Script()

    bench = Bench(image=Script(exit=Exit(code=1)), pull=pull)
    auth = DockerAuthConfig(auths={"r.example": RegistryAuth(auth="c2VjcmV0")})
    ends(bench.runtime, limited(place, docker_auth=auth))
    assert seen == {
        "text": {"auths": {"r.example": {"auth": "c2VjcmV0"}}},
        "mode": 0o600,
        "argv": ("docker", "pull", "default:1"),
    }
    assert "DOCKER_CONFIG" not in bench.processes.ran[-1].env
    bench = Bench(image=Script(exit=Exit(code=1)))
    ends(bench.runtime, limited(place, docker_auth=DockerAuthConfig()))
    assert bench.processes.ran[1].env == {}


def test_images_that_can_t_be_had(place: JobPlace) -> None:
    missing = Script(exit=Exit(code=1))
    refused = Script(output=(("stderr", b"x\nrefused\n"),), exit=Exit(code=1))
    found = fails(Bench(image=missing, pull=refused).runtime, place)
    assert found.code == "E_IMAGE"
    assert "the image default:1 is not here and can't be pulled: refused; load it" in found.message
    bench = Bench(ContainerOptions(engine="docker", image="", pull="never"), image=missing)
    assert "the step names no image" in fails(bench.runtime, place).message
    found = fails(bench.runtime, place, RoomStep(key="k", script="x", image="i"))
    assert "which does not pull images" in found.message
    assert bench.ledger.entered == []


def test_a_container_that_can_t_be_run(place: JobPlace) -> None:
    said = Script(output=(("stderr", b"docker: no space left\n"),), exit=Exit(code=125))
    found = fails(Bench(run=said).runtime, place)
    assert (found.code, found.message) == ("E_ENGINE", "the container can't be run: no space left")
    odd = limited(place)
    odd = JobPlace(name="p", workspace=Path("/a,b"), scratch=place.scratch)
    assert fails(Bench().runtime, odd).code == "E_MOUNT"


def test_a_container_that_may_have_run_out_of_memory(place: JobPlace) -> None:
    killed = Script(exit=Exit(code=137))
    assert ends(Bench(run=killed).runtime, limited(place)) == (137, out_of_memory(4096, is_certain=False))
    assert ends(Bench(run=killed).runtime, place) == (137, "")
    assert ends(Bench().runtime, limited(place)) == (0, "")


def test_what_dead_workers_left_is_removed() -> None:
    names = "runwright-dead-1\nrunwright-a-b-2\nrunwright-live-1\nunrelated\n"
    bench = Bench(ps=Script(output=(("stdout", names.encode()),)))
    bench.ledger.open = ["runwright-dead-1", "runwright-a-b-2", "runwright-gone-1"]
    bench.ledger.left = [("docker", "runwright-dead-1"), ("docker", "runwright-gone-1")]
    said = asyncio.run(bench.runtime.sweep(lambda name: name == "live"))
    assert said == [
        "removed the container runwright-dead-1, whose worker has died",
        "removed the container runwright-a-b-2, whose worker has died",
    ]
    assert bench.processes.ran[0].argv == list_argv("docker", "home")
    assert [command.argv[-1] for command in bench.processes.ran[1:]] == [
        "runwright-dead-1",
        "runwright-a-b-2",
    ]
    assert bench.ledger.open == []
    assert place_of("runwright-a-b-2") == "a-b"


def test_what_can_t_be_removed_stays_known() -> None:
    listed = Script(output=(("stdout", b"runwright-dead-1\n"),))
    bench = Bench(ps=listed, rm=Script(exit=Exit(code=1)))
    bench.ledger.open = ["runwright-dead-1"]
    bench.ledger.left = [("docker", "runwright-dead-1")]
    assert asyncio.run(bench.runtime.sweep(lambda _: False)) == []
    assert bench.ledger.open == ["runwright-dead-1"]
    bench = Bench(ps=Script(exit=Exit(code=1)))
    bench.ledger.open = ["runwright-dead-1"]
    bench.ledger.left = [("docker", "runwright-dead-1")]
    assert asyncio.run(bench.runtime.sweep(lambda _: False)) == []
    assert bench.ledger.open == ["runwright-dead-1"]


def test_the_engine_that_a_dead_worker_used_is_asked_too() -> None:
    bench = Bench(ContainerOptions(), version=Script(exit=Exit(code=1)))
    bench.ledger.open = ["runwright-dead-1"]
    bench.ledger.left = [("podman", "runwright-dead-1")]
    assert asyncio.run(bench.runtime.sweep(lambda _: False)) == []
    assert bench.ledger.open == []
    assert [command.argv[0] for command in bench.processes.ran] == ["docker", "podman", "podman"]


def test_faults_of_containers() -> None:
    def faults(bench: Bench) -> list[str]:
        return asyncio.run(bench.runtime.faults())

    assert faults(Bench()) == []
    assert faults(Bench(ContainerOptions(), version=Script(error=GONE))) == [NO_ENGINE]
    assert faults(Bench(version=Script(error=GONE))) == [
        "docker does not answer (there is no program docker); install it, or see that its daemon lets you in"
    ]
    silent = Script(output=(("stderr", b"x\nCannot connect\n"),), exit=Exit(code=1))
    assert "docker does not answer (Cannot connect)" in faults(Bench(version=silent))[0]
    never = ContainerOptions(engine="podman", image="i", pull="never")
    assert faults(Bench(never)) == []
    (fault,) = faults(Bench(never, image=Script(exit=Exit(code=1))))
    assert "the image i is not here" in fault
