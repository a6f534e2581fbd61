"""Stopping: one, two, three signals; `cancel`; and an engine that is killed."""

import signal
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from cli_project import PATIENCE, Project, stop, wait_until

WORKFLOW = """
name = "long"
kill_grace = "{grace}"
[tasks.nap]
depends_on = ["done"]
cmd = "{trap} echo $$ > pid; echo started; while :; do sleep 0.05; done"
cleanup = ["echo cleaned > cleaned"]
[tasks.done]
cmd = "echo made"
cleanup = ["echo undone > undone"]
"""


class Running:
    """A run that goes on until it is stopped."""

    def __init__(self, project: Project, *, stubborn: bool, grace: str = "60s") -> None:
        self.project = project
        trap = "trap '' TERM;" if stubborn else ""
        project.write("long.toml", WORKFLOW.format(grace=grace, trap=trap))
        self.process = project.start("run", "long", "-j", "2")
        wait_until(self.begun, "the task")

    def begun(self) -> bool:
        pid = self.project.root / "pid"
        return pid.exists() and bool(pid.read_text().strip())

    def task_lives(self) -> bool:
        return Path("/proc", (self.project.root / "pid").read_text().strip()).exists()

    def ended(self) -> tuple[int, str]:
        """Wait for the end; returns the exit status and what was printed since."""
        out, _ = self.process.communicate(timeout=PATIENCE)
        return self.process.returncode, out


@pytest.fixture
def project(tmp_path: Path) -> Project:
    return Project(tmp_path)


@pytest.fixture
def running(project: Project, request: pytest.FixtureRequest) -> Iterator[Running]:
    options: dict[str, Any] = getattr(request, "param", {"stubborn": False})
    found = Running(project, **options)
    yield found
    stop(found.process)


def stubborn(**options: str) -> pytest.MarkDecorator:
    return pytest.mark.parametrize("running", [{"stubborn": True, **options}], indirect=True)


@pytest.mark.parametrize(
    ("number", "status"), [(signal.SIGINT, 130), (signal.SIGTERM, 143), (signal.SIGHUP, 129)]
)
def test_one_signal_stops_the_run_and_cleans_up(running: Running, number: int, status: int) -> None:
    running.process.send_signal(number)
    assert running.ended()[0] == status
    assert not running.task_lives()
    run = running.project.latest()
    assert run["state"] == "cancelled"
    assert (running.project.root / "undone").exists(), "the cleanup of the finished task has run"


@stubborn(grace="300ms")
def test_after_the_grace_a_stubborn_task_is_killed(running: Running) -> None:
    begun = time.monotonic()
    running.process.send_signal(signal.SIGINT)
    assert running.ended()[0] == 130
    assert time.monotonic() - begun >= 0.3
    assert not running.task_lives()


@stubborn()
def test_two_signals_skip_the_grace(running: Running) -> None:
    running.process.send_signal(signal.SIGINT)
    assert running.process.stdout is not None
    for line in running.process.stdout:
        if "stopping" in line:
            break
    assert running.process.poll() is None, "the control: within its grace the task goes on"
    assert running.task_lives()
    running.process.send_signal(signal.SIGINT)
    assert running.ended()[0] == 130
    assert not running.task_lives()
    assert running.project.latest()["state"] == "cancelled"


@stubborn()
def test_three_signals_leave_at_once_and_the_task_dies_too(running: Running) -> None:
    number = 0
    deadline = time.monotonic() + PATIENCE
    while running.process.poll() is None:
        assert time.monotonic() < deadline
        running.process.send_signal(signal.SIGTERM)
        number += 1
        time.sleep(0.01)
    # The last of them may come when everything is closed and the process only has to leave.
    assert running.process.returncode in (143, -signal.SIGTERM)
    assert number >= 2
    wait_until(lambda: not running.task_lives(), "the end of the task")


def test_cancel_from_elsewhere_waits_for_the_end(running: Running) -> None:
    done = running.project("cancel", "latest", "--reason", "lunch")
    assert done.returncode == 0
    assert "cancelled" in done.stdout
    assert not running.task_lives()
    status, out = running.ended()
    assert status == 1
    assert "lunch" in out
    assert running.project.latest()["reason"] == "lunch"
    assert "has ended already" in running.project("cancel", "latest").stdout


def test_status_waits_for_the_end(running: Running) -> None:
    waiting = running.project.start("status", "latest", "--wait")
    following = running.project.start("status", "latest", "--follow", "--interval", "0.1s")
    assert following.stdout is not None
    assert "running" in following.stdout.readline()
    assert waiting.poll() is None, "the control: it waits"
    running.process.send_signal(signal.SIGTERM)
    out, _ = waiting.communicate(timeout=PATIENCE)
    assert (waiting.returncode, "cancelled" in out) == (1, True)
    assert following.wait(timeout=PATIENCE) == 1
    following.stdout.close()


def test_logs_follow_a_task_while_it_runs_and_end_with_the_run(running: Running) -> None:
    following = running.project.start("logs", "latest", "nap", "--follow")
    assert following.stdout is not None
    assert following.stdout.readline().endswith("started\n")
    assert following.poll() is None
    running.process.send_signal(signal.SIGTERM)
    assert following.wait(timeout=PATIENCE) == 0
    following.stdout.close()


def test_another_engine_is_refused_while_it_runs(running: Running) -> None:
    before = running.project.latest()
    done = running.project("resume", "latest")
    assert done.returncode in {1, 2}
    assert "Traceback" not in done.stderr
    assert running.project.latest()["resume_count"] == before["resume_count"]


def test_a_killed_engine_leaves_a_run_that_can_be_resumed(running: Running) -> None:
    running.process.send_signal(signal.SIGKILL)
    running.process.wait()
    project = running.project
    wait_until(lambda: not running.task_lives(), "the end of the task")
    wait_until(lambda: project.latest()["state"] == "interrupted", "the lease to lapse")
    run_id = project.latest()["id"]
    assert f"runwright resume {run_id[:8]}" in project("cancel", "latest").stderr
    assert f"runwright resume {run_id[:8]}" in project("doctor").stdout
    assert "its engine died" in project("explain", "latest").stdout
    project.write("long.toml", '[tasks.nap]\ncmd = "true"\n[tasks.done]\ncmd = "echo made"\n')
    done = project("resume", "latest")
    assert done.returncode == 0, done.stderr
    assert project("audit", "--verify").returncode == 0


def test_a_run_under_nohup_outlives_its_terminal(project: Project) -> None:
    project.write("short.toml", '[tasks.a]\ncmd = "touch begun; while [ ! -e go ]; do sleep 0.02; done"\n')
    process = project.start(
        "run",
        "short",
        stdout=subprocess.DEVNULL,
        preexec_fn=lambda: signal.signal(signal.SIGHUP, signal.SIG_IGN),
    )
    try:
        wait_until((project.root / "begun").exists, "the task")
        process.send_signal(signal.SIGHUP)
        project.write("go", "")
        assert process.wait(timeout=PATIENCE) == 0
    finally:
        stop(process)
