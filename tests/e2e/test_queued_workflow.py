"""Workflows whose tasks are jobs of a queue, with a real server, a real worker and the installed command line."""

import json
import os
import signal
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from cli_project import Project, stop, wait_until
from queue_server import Server, serving
from worker_process import WorkerProcess, working

SECRET = "correct-horse-battery-staple"
HEAD = """
name = "mixed"

[executors.farm]
executor = "queued"
queue = "q"
server = "{url}"
token_file = "token"
"""


@pytest.fixture(scope="module")
def farm(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Server, WorkerProcess]]:
    """A server, and a worker for the queue `q`."""
    folder = tmp_path_factory.mktemp("farm")
    with (
        serving(Project(folder), f"sqlite:///{folder}/jobs.db", "--lease", "10s") as server,
        working(server, "q") as worker,
    ):
        yield server, worker


class Bench:
    """A project with a workflow, beside the farm.

    Attributes:
        project: Where the engine runs.
        server: The queue.
        worker: Who works on it.
        folder: Where steps leave marks.
    """

    def __init__(self, folder: Path, farm: tuple[Server, WorkerProcess]) -> None:
        self.server, self.worker = farm
        (folder / "project").mkdir()
        self.folder = folder
        self.project = Project(folder / "project")
        self.project.write("token", self.server.admin)
        self.before = {row["id"] for row in self.jobs()}

    def workflow(self, text: str) -> None:
        self.project.write("mixed.toml", HEAD.format(url=self.server.url) + text)

    def jobs(self) -> list[dict[str, Any]]:
        """Return all jobs there are, newest first."""
        found: list[dict[str, Any]] = self.server.api("GET", "/jobs?limit=1000").json["jobs"]
        return found

    def new_jobs(self) -> list[dict[str, Any]]:
        """Return the jobs of this test, newest first."""
        return [row for row in self.jobs() if row["id"] not in self.before]

    def nothing_is_left(self) -> None:
        """Wait until no process and no workspace of a job is left."""
        wait_until(
            lambda: not self.worker.processes() and not self.worker.left(), "nothing is left of the job"
        )

    def start(self, *words: str) -> "subprocess.Popen[str]":
        return self.project.start(*words)

    def wait_mark(self, name: str) -> None:
        wait_until((self.folder / name).exists, f"{name} is there")


@pytest.fixture
def bench(tmp_path: Path, farm: tuple[Server, WorkerProcess]) -> Iterator[Bench]:
    made = Bench(tmp_path, farm)
    yield made
    for row in made.new_jobs():
        made.server.api("POST", f"/jobs/{row['id']}/cancel")
    made.nothing_is_left()


def test_local_and_remote_tasks_hand_on_values_and_files(bench: Bench) -> None:
    bench.project.write("in/words.txt", "one two three\n")
    bench.workflow(
        """
[tasks.begin]
cmd = "echo {{.RUNWRIGHT_NOTHING}}here"
register = "place"

[tasks.count]
depends_on = ["begin"]
executor = "farm"
inputs = ["in"]
args.cmd = "test ! -e token; wc -w < in/words.txt"
register = "words"

[tasks.tell]
depends_on = ["count"]
cmd = "echo {{.words}} words"
""".replace("{{.RUNWRIGHT_NOTHING}}", "")
    )
    done = bench.project("run", "mixed.toml", "--print-output")
    assert done.returncode == 0, done.stdout + done.stderr
    assert "3 words" in done.stdout
    (job,) = bench.new_jobs()
    assert (job["state"], job["queue"], job["key"]) == ("completed", "q", bench.project.latest()["id"])


def test_the_log_comes_back_while_the_job_runs(bench: Bench) -> None:
    gate = bench.folder / "gate"
    bench.workflow(
        f"""
[tasks.far]
executor = "farm"
args.cmd = "echo before; echo oh >&2; until test -e {gate}; do sleep 0.05; done; echo after"
"""
    )
    engine = bench.start("run", "mixed.toml")
    wait_until(bench.new_jobs, "the job is there")
    following = bench.start("logs", "latest", "-f")
    try:
        assert following.stdout is not None
        seen = {following.stdout.readline(), following.stdout.readline()}
        assert seen == {"far | before\n", "far | oh\n"}
        assert bench.new_jobs()[0]["state"] == "processing"
        gate.touch()
        rest, _ = following.communicate(timeout=60)
        assert rest == "far | after\n"
        assert engine.wait(60) == 0
    finally:
        gate.touch()
        stop(following)
        stop(engine)


def test_a_job_that_fails_fails_its_task_and_its_retry_is_a_new_job(bench: Bench) -> None:
    bench.workflow(
        """
[tasks.far]
executor = "farm"
args.cmd = "echo this is attempt $RUNWRIGHT_ATTEMPT; echo sorry >&2; test $RUNWRIGHT_ATTEMPT = 3 || exit 7"
retries = 1
retry_delay = "10ms"
"""
    )
    done = bench.project("run", "mixed.toml")
    assert done.returncode == 1
    assert "failed with exit code 7" in done.stdout
    task = bench.project.json("inspect", "latest")
    assert json.dumps(task).count('"exit_code": 7') >= 1
    assert [row["state"] for row in bench.new_jobs()] == ["failed", "failed"]
    resumed = bench.project("resume", "latest")
    assert resumed.returncode == 0, resumed.stdout
    assert [row["state"] for row in bench.new_jobs()] == ["completed", "failed", "failed"]
    assert "far#3 | this is attempt 3" in bench.project("logs", "latest").stdout


@pytest.mark.parametrize("how", ["signal", "cancel", "timeout"])
def test_a_task_that_is_stopped_stops_its_job(bench: Bench, how: str) -> None:
    mark = bench.folder / "began"
    bench.workflow(
        f"""
[tasks.far]
executor = "farm"
args.cmd = "setsid sleep 600 & touch {mark}; sleep 600"
{'timeout = "4s"' if how == "timeout" else ""}
"""
    )
    engine = bench.start("run", "mixed.toml")
    try:
        bench.wait_mark("began")
        assert bench.worker.processes()
        if how == "signal":
            os.killpg(engine.pid, signal.SIGINT)
        elif how == "cancel":
            assert bench.project("cancel", "latest").returncode == 0
        assert engine.wait(60) == {"signal": 130, "cancel": 1, "timeout": 1}[how]
    finally:
        stop(engine)
    (job,) = bench.new_jobs()
    assert (job["state"], job["message"]) == ("canceled", "its task was stopped")
    bench.nothing_is_left()


def test_a_job_that_somebody_else_cancels_fails_its_task(bench: Bench) -> None:
    bench.workflow(f"[tasks.far]\nexecutor = 'farm'\nargs.cmd = 'touch {bench.folder}/began; sleep 600'\n")
    engine = bench.start("run", "mixed.toml")
    try:
        bench.wait_mark("began")
        job_id = bench.new_jobs()[0]["id"]
        bench.server.api("POST", f"/jobs/{job_id}/cancel", {"reason": "we need the machine"})
        assert engine.wait(60) == 1
        assert engine.stdout is not None
        assert f"job {job_id} of queue q canceled: we need the machine" in engine.stdout.read()
    finally:
        stop(engine)


@pytest.mark.parametrize("kills", [1, 2])
def test_a_resume_takes_over_the_job_of_an_engine_that_was_killed(bench: Bench, kills: int) -> None:
    gate, effects = bench.folder / "gate", bench.folder / "effects"
    bench.workflow(
        f"""
[tasks.far]
executor = "farm"
args.cmd = "echo x >> {effects}; echo begun; until test -e {gate}; do sleep 0.05; done; echo the end"
register = "said"

[tasks.near]
depends_on = ["far"]
cmd = "echo it said {{{{.said}}}}"
"""
    )
    words = ["run", "mixed.toml"]
    for attempt in range(1, kills + 1):
        engine = bench.start(*words)
        wait_until(lambda n=attempt: _is_followed(bench, n), "the engine follows the job")
        os.killpg(engine.pid, signal.SIGKILL)
        stop(engine)
        words = ["resume", "latest"]
    assert [row["state"] for row in bench.new_jobs()] == ["processing"], "the job lives on"
    engine = bench.start(*words)
    try:
        wait_until(lambda: _is_followed(bench, kills + 1), "the engine follows the job")
        gate.touch()
        assert engine.wait(60) == 0
    finally:
        gate.touch()
        stop(engine)
    assert len(bench.new_jobs()) == 1, "there was no second job"
    assert effects.read_text() == "x\n", "its effect came once"
    assert "near | it said the end" in bench.project("logs", "latest").stdout


def _is_followed(bench: Bench, attempt: int) -> bool:
    """Tell whether the log of an attempt has what the job has printed, from its beginning."""
    done = bench.project("logs", "latest", "far", "--attempt", str(attempt))
    return done.returncode == 0 and "begun" in done.stdout


def test_a_job_that_nobody_can_take_over_is_run_again(bench: Bench) -> None:
    """The control: a job that has ended meanwhile is not taken over, so the same test sees a second one."""
    effects = bench.folder / "effects"
    bench.workflow(
        f"""
[tasks.far]
executor = "farm"
args.cmd = "echo x >> {effects}; echo begun; test -e {bench.folder}/gate || sleep 600"
"""
    )
    engine = bench.start("run", "mixed.toml")
    wait_until(lambda: _is_followed(bench, 1), "the engine follows the job")
    os.killpg(engine.pid, signal.SIGKILL)
    stop(engine)
    job_id = bench.new_jobs()[0]["id"]
    bench.server.api("POST", f"/jobs/{job_id}/cancel")
    wait_until(lambda: bench.server.state(job_id) == "canceled", "the job has ended")
    (bench.folder / "gate").touch()
    assert bench.project("resume", "latest").returncode == 0
    assert [row["state"] for row in bench.new_jobs()] == ["completed", "canceled"]
    assert effects.read_text() == "x\nx\n"


def test_secrets_are_masked_everywhere(bench: Bench) -> None:
    bench.workflow(
        """
secrets = ["PASSWORD"]

[tasks.far]
executor = "farm"
args.secrets = ["PASSWORD"]
args.cmd = "echo pass $PASSWORD; echo $PASSWORD | base64; echo err $PASSWORD >&2; exit 3"
"""
    )
    done = bench.project("run", "mixed.toml", "--print-output", PASSWORD=SECRET)
    assert done.returncode == 1
    (job,) = bench.new_jobs()
    shown = (
        bench.server.api("GET", f"/jobs/{job['id']}").body
        + bench.server.api("GET", f"/jobs/{job['id']}/logs").body
    )
    logs = bench.project("logs", "latest").stdout
    assert "pass ${PASSWORD}" in logs or "pass ***" in logs
    assert len(shown) > 200
    for text in (done.stdout, done.stderr, logs, bench.worker.log(), shown.decode()):
        assert SECRET not in text
    for root in (bench.project.root, bench.server.project.root):
        files = [path for path in root.rglob("*") if path.is_file()]
        assert any(path.suffix == ".db" for path in files)
        for path in files:
            assert SECRET.encode() not in path.read_bytes(), path
