"""What the command line of a worker means, and what `doctor --worker` says."""

import asyncio
from pathlib import Path

import pytest
from cli_state import pipe

from runwright.cli import worker, worker_checks
from runwright.cli.arguments import Arguments
from runwright.cli.dispatch import find, parser_of
from runwright.cli.doctor import FAILURE, OK, WARNING, Check
from runwright.cli.parser import parse
from runwright.core.errors import Failure, TaskFailed, UsageError
from runwright.core.job import Job
from runwright.ports.jobs import GivenJob, JobLimits
from runwright.ports.system import Exit
from runwright.testing import FakeProcesses, Script
from runwright.wiring import worker_trial
from runwright.wiring.worker import Working, checked_token, chosen_runtime, default_name


def arguments(*words: str, command: str = "worker") -> Arguments:
    return parse(parser_of(command, find(command)), words, {"store": ""})


@pytest.fixture
def token_file(tmp_path: Path) -> Path:
    path = tmp_path / "token"
    path.write_text("rw_token\n")
    path.chmod(0o600)
    return path


def test_what_is_given_is_how_it_works(token_file: Path, tmp_path: Path) -> None:
    args = arguments(
        *(
            "--server",
            "http://x:1",
            "--token-file",
            str(token_file),
            "--queue",
            "a",
            "--queue",
            "b",
            "--queue",
            "a",
        ),
        *("--runtime", "shell", "--runtime", "container", "--work-dir", str(tmp_path), "--slots", "3"),
        *("--name", "me", "--label", "gpu", "--heartbeat", "2s", "--lease-margin", "4s", "--drain", "5m"),
        *("--cpus", "1.5", "--memory", "1GiB", "--pids", "100", "--disk", "2GiB", "--network"),
        *("--vm-kernel", "/k", "--image", "busybox", "--max-jobs", "7", "--ca-file", "ca.pem"),
    )
    how = worker.working(args)
    assert how.server == "http://x:1"
    assert how.queues == ("a", "b")
    assert how.runtimes == ("shell", "container")
    assert how.work_dir == tmp_path
    assert how.ca_file == Path("ca.pem").absolute()
    assert (how.name, how.labels) == ("me", ("gpu",))
    assert how.settings["slots"] == 3
    assert how.settings["heartbeat"] == 2
    assert how.settings["margin"] == 4
    assert how.settings["drain"] == 300
    assert how.settings["max_jobs"] == 7
    assert how.limits == JobLimits(cpus=1.5, memory_bytes=1 << 30, pids=100, disk_bytes=2 << 30, network=True)
    assert how.runtime_options["vm"] == {"kernel": "/k"}
    assert how.runtime_options["image"] == "busybox"


def test_server_and_token_may_come_from_the_environment(
    token_file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("RUNWRIGHT_SERVER", "http://env:1")
    monkeypatch.setenv("RUNWRIGHT_TOKEN_FILE", str(token_file))
    how = worker.working(arguments("--queue", "q"))
    assert (how.server, how.token_file, how.runtimes) == ("http://env:1", token_file, ("sandbox",))
    assert how.work_dir.name == "worker"


def test_everything_that_is_missing_is_told_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("RUNWRIGHT_SERVER", raising=False)
    monkeypatch.delenv("RUNWRIGHT_TOKEN_FILE", raising=False)
    with pytest.raises(UsageError) as caught:
        worker.working(arguments("--heartbeat", "1ms"))
    told = " ".join(problem.message for problem in caught.value.problems)
    assert all(word in told for word in ("server", "token", "queue", "heartbeat"))


@pytest.mark.parametrize(
    "words", [["--cpus", "-1"], ["--cpus", "two"], ["--runtime", "none"], ["--slots", "0"]]
)
def test_what_makes_no_sense_is_refused(words: list[str]) -> None:
    with pytest.raises(UsageError):
        arguments(*words)


def test_a_token_that_others_can_read_is_told(token_file: Path) -> None:
    said: list[str] = []
    assert checked_token(token_file, said.append) == "rw_token"
    assert said == []
    token_file.chmod(0o644)
    assert checked_token(token_file, said.append) == "rw_token"
    assert "chmod 600" in said[0]
    assert "rw_token" not in said[0]


def test_a_label_chooses_the_runtime() -> None:
    def asking(*labels: str) -> GivenJob:
        return GivenJob(job=Job(), queue="q", labels=labels)

    offered = ("shell", "container")
    assert chosen_runtime(asking(), offered) == "shell"
    assert chosen_runtime(asking("gpu", "runtime=container"), offered) == "container"
    assert chosen_runtime(asking("runtime=microvm"), offered) == "shell"


def test_names_that_are_made_differ() -> None:
    assert default_name() != default_name()


def test_a_log_that_can_not_be_written_is_no_obstacle() -> None:
    class Gone:
        def clean_lines(self, text: str) -> str:
            return text

        def line(self, text: str) -> None:
            raise BrokenPipeError

    args = Arguments(err=Gone())
    worker.say(args, "hello")
    args = Arguments(err=pipe())
    worker.say(args, "a\x1b[2J")
    assert "\x1b" not in args.err.stream.getvalue()


# -- doctor ------------------------------------------------------------------------------------------------------


def git(text: str, code: int = 0) -> Check:
    script = Script(output=(("stdout", text.encode()),), exit=Exit(code=code))
    processes = FakeProcesses({"git --version": script})
    return asyncio.run(worker_checks.git_check(processes))


def test_git_is_checked() -> None:
    assert git("git version 2.39.5\n") == Check("git", OK, "2.39.5")
    assert git("git version 2.45.1 (Apple Git-1)").result == OK
    old = git("git version 2.20.1")
    assert (old.result, old.advice) == (FAILURE, "use git 2.26 or newer")
    assert git("", 1).result == FAILURE
    failure = TaskFailed(Failure(code="E_SPAWN", message="there is no git"))
    missing = FakeProcesses({"git --version": Script(error=failure)})
    assert "install git" in asyncio.run(worker_checks.git_check(missing)).advice


def test_the_directory_is_checked(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert worker_checks.place_check(tmp_path / "not" / "yet").result == OK
    (tmp_path / "file").touch()
    assert worker_checks.place_check(tmp_path / "file").result == FAILURE
    monkeypatch.setattr(worker_checks, "LEAST_ROOM_BYTES", 1 << 70)
    assert worker_checks.place_check(tmp_path).result == WARNING


def test_the_token_is_checked(token_file: Path, tmp_path: Path) -> None:
    assert worker_checks.token_check(token_file)[0].result == OK
    token_file.chmod(0o644)
    check, token = worker_checks.token_check(token_file)
    assert (check.result, token) == (WARNING, "rw_token")
    assert worker_checks.token_check(tmp_path / "none")[0].result == FAILURE


def test_a_server_that_is_not_there_is_told() -> None:
    how = Working(server="http://127.0.0.1:1", token_file=Path("x"), queues=(), work_dir=Path("y"))
    check = asyncio.run(worker_checks.server_check(how, "t"))
    assert check.result == FAILURE
    assert "nobody listens" in check.detail
    wrong = Working(server="nonsense", token_file=Path("x"), queues=(), work_dir=Path("y"))
    assert "no address" in asyncio.run(worker_checks.server_check(wrong, "")).detail


def test_all_of_it(monkeypatch: pytest.MonkeyPatch, token_file: Path, tmp_path: Path) -> None:
    async def faults(how: Working, *_: object) -> dict[str, list[str]]:
        return {"shell": [], "sandbox": ["bwrap is missing", "install bubblewrap"]}

    async def greet(how: Working, token: str) -> None:
        assert token == "rw_token"

    monkeypatch.setattr(worker_checks, "runtime_faults", faults)
    monkeypatch.setattr(worker_checks, "greet_server", greet)
    monkeypatch.delenv("RUNWRIGHT_SERVER", raising=False)
    monkeypatch.delenv("RUNWRIGHT_TOKEN_FILE", raising=False)

    async def checked(*words: str) -> dict[str, Check]:
        args = arguments("--worker", *words, command="doctor")
        return {check.name: check async for check in worker_checks.worker_checks(args)}

    place = ("--work-dir", str(tmp_path))
    found = asyncio.run(checked("--server", "http://x", "--token-file", str(token_file), *place))
    assert found["shell"].result == OK
    assert found["sandbox"] == Check("sandbox", FAILURE, "bwrap is missing", "install bubblewrap")
    assert found["server"] == Check("server", OK, "http://x takes the token")
    bare = asyncio.run(checked(*place))
    assert (bare["token"].result, bare["server"].result) == (WARNING, WARNING)


def test_runtimes_are_tried_for_real(tmp_path: Path) -> None:
    how = Working(server="", token_file=Path("x"), queues=(), work_dir=tmp_path, runtimes=("shell",))

    async def tried() -> dict[str, list[str]]:
        async with worker_trial.trial_processes() as processes:
            assert await worker_trial.git_version(processes)
            return await worker_trial.runtime_faults(how, processes, tmp_path)

    assert asyncio.run(tried()) == {"shell": []}
