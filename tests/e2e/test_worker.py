"""Workers as users start them, with a real server: killed, stopped, cut off and drained."""

import json
import os
import shutil
import signal
import subprocess
import time
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from served_queue import PATIENCE, RUNWRIGHT, QueueServer, own_environment, wait_for

LEASE = 3.0
STUBBORN = "trap '' TERM INT HUP; touch \"$MARK\"; while :; do sleep 0.1; done"


class Fleet:
    """A server, its workers, and what users ask it."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.server = QueueServer(folder, "--lease", f"{LEASE:g}s").start()
        self.token_file = folder / "token"
        self.token_file.write_text(self.server.worker_token + "\n")
        self.token_file.chmod(0o600)
        self.workers: list[subprocess.Popen[bytes]] = []

    def worker(
        self, name: str, *options: str, ready: bool = True, env: dict[str, str] | None = None
    ) -> subprocess.Popen[bytes]:
        """Start a worker with its own directory and log."""
        command = [
            *(
                RUNWRIGHT,
                "worker",
                "--server",
                self.server.url,
                "--token-file",
                self.token_file,
                "--queue",
                "q",
            ),
            *("--runtime", "shell", "--work-dir", self.folder / name, "--name", name, *options),
        ]
        with self.log(name).open("ab") as out:
            begin = out.tell()
            started = subprocess.Popen(
                command,
                cwd=self.folder,
                env=env or own_environment(),
                stdin=subprocess.DEVNULL,
                stdout=out,
                stderr=out,
            )
        self.workers.append(started)
        if ready:
            wait_for(
                lambda: f"worker {name} is ready" in self.log(name).read_text()[begin:],
                f"worker {name} is ready",
            )
        return started

    def log(self, name: str) -> Path:
        return self.folder / f"{name}.log"

    def ask(self, path: str, body: Any = None) -> Any:
        """Ask the API."""
        request = urllib.request.Request(
            self.server.url + "/api" + path,
            data=None if body is None else json.dumps(body).encode(),
            headers={
                "Authorization": f"Bearer {self.server.admin_token}",
                "Content-Type": "application/json",
            },
        )
        with urllib.request.urlopen(request, timeout=PATIENCE) as answer:
            return json.load(answer)

    def submit(self, *commands: str, **about: Any) -> int:
        """Queue a job of one step."""
        step = {"commands": commands, "env": [f"MARK={self.folder}/mark"]}
        job = {"version": 2, "dockerSteps": [step]}
        number: int = self.ask("/jobs", {"queue": "q", "job": job, **about})["id"]
        return number

    def job(self, number: int) -> dict[str, Any]:
        found: dict[str, Any] = self.ask(f"/jobs/{number}")
        return found

    def wait(self, number: int, state: str, patience: float = PATIENCE) -> dict[str, Any]:
        """Wait until a job is in a state."""
        wait_for(lambda: self.job(number)["state"] == state, f"job {number} is {state}", patience)
        return self.job(number)

    def wait_mark(self) -> None:
        """Wait until a step has said that it runs."""
        wait_for((self.folder / "mark").exists, "the step runs")

    def output(self, number: int) -> str:
        return "".join(entry["out"] for entry in self.ask(f"/jobs/{number}/logs?attempt=all")["entries"])

    def close(self) -> None:
        for worker in self.workers:
            if worker.poll() is None:
                worker.send_signal(signal.SIGCONT)
                worker.kill()
            worker.wait()
        self.server.stop(signal.SIGKILL)


@pytest.fixture
def fleet(tmp_path: Path) -> Iterator[Fleet]:
    made = Fleet(tmp_path)
    yield made
    made.close()


def processes_in(folder: Path) -> list[int]:
    """Return the processes of steps whose workspace is in the directory of a worker."""
    mark, found = f"RUNWRIGHT_WORKSPACE={folder / 'jobs'}/".encode(), []
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            try:
                environment = (entry / "environ").read_bytes()
            except OSError:
                continue
            found += [int(entry.name)] if mark in environment else []
    return found


def workspaces(folder: Path) -> list[str]:
    return sorted(path.name for path in (folder / "jobs").iterdir()) if (folder / "jobs").exists() else []


def test_a_job_is_worked_on_from_end_to_end(fleet: Fleet) -> None:
    fleet.worker("w")
    number = fleet.submit("echo hello", "echo oops >&2", 'test "$PWD" = "$RUNWRIGHT_WORKSPACE"')
    job = fleet.wait(number, "completed")
    assert job["worker"] == "w"
    assert "stdout: hello\n" in fleet.output(number)
    assert "stderr: oops\n" in fleet.output(number)
    failing = fleet.submit("echo before", "false", "echo after")
    failed = fleet.wait(failing, "failed")
    assert failed["message"]
    assert "before" in fleet.output(failing)
    assert "after" not in fleet.output(failing)
    assert workspaces(fleet.folder / "w") == []


def test_the_token_stands_in_no_argument_and_no_log(fleet: Fleet) -> None:
    worker = fleet.worker("w")
    number = fleet.submit("env; cat /proc/$PPID/environ || true")
    fleet.wait(number, "completed")
    token = fleet.server.worker_token
    assert token not in Path(f"/proc/{worker.pid}/cmdline").read_text()
    assert token not in Path(f"/proc/{worker.pid}/environ").read_text()
    assert token not in fleet.log("w").read_text()
    assert token not in fleet.output(number)


def test_a_killed_worker_leaves_nothing_and_its_job_is_done_by_another(fleet: Fleet) -> None:
    dying = fleet.worker("dying")
    number = fleet.submit('touch "$MARK"; test "$(cat "$MARK.go" 2>/dev/null)" || sleep 600')
    fleet.wait_mark()
    fleet.worker("other")
    (fleet.folder / "mark.go").write_text("go")
    assert processes_in(fleet.folder / "dying")
    dying.kill()
    begun = time.monotonic()
    wait_for(lambda: not processes_in(fleet.folder / "dying"), "no process is left", 2.0)
    job = fleet.wait(number, "completed", LEASE + 10)
    assert time.monotonic() - begun < LEASE + 8
    assert (job["worker"], job["attempt"], job["resets"]) == ("other", 2, 1)
    assert [attempt["outcome"] for attempt in job["attempts"]] == ["lost", "completed"]
    assert len(workspaces(fleet.folder / "dying")) == 1
    fleet.worker("dying")
    assert workspaces(fleet.folder / "dying") == []
    said = fleet.log("dying").read_text()
    assert f"job {number}-q: attempt 1 was lost with the worker that was here before" in said
    assert "removed workspace" in said


def test_a_worker_that_stood_still_finds_its_lease_gone(fleet: Fleet) -> None:
    still = fleet.worker("still")
    number = fleet.submit(f'if test -e "$MARK"; then exit 0; fi; {STUBBORN}')
    fleet.wait_mark()
    os.kill(still.pid, signal.SIGSTOP)
    fleet.worker("other")
    job = fleet.wait(number, "completed", 2 * LEASE + 10)
    assert job["worker"] == "other"
    assert processes_in(fleet.folder / "still"), "nobody could stop them"
    time.sleep(max(0.0, 2 * LEASE - 4))  # it has stood still for two leases, at least
    os.kill(still.pid, signal.SIGCONT)
    wait_for(lambda: not processes_in(fleet.folder / "still"), "its processes are gone", 5.0)
    wait_for(lambda: "left to the server" in fleet.log("still").read_text(), "it says so")
    after = fleet.job(number)
    assert after["state"] == "completed"
    assert [attempt["outcome"] for attempt in after["attempts"]] == ["lost", "completed"]
    assert still.poll() is None, "it goes on with other jobs"
    wait_for(lambda: not workspaces(fleet.folder / "still"), "its workspace is gone")


def test_a_worker_that_is_cut_off_stops_its_job_before_the_lease_ends(fleet: Fleet) -> None:
    fleet.worker("w")
    number = fleet.submit(STUBBORN)
    fleet.wait_mark()
    os.kill(fleet.server.pid, signal.SIGSTOP)
    begun = time.monotonic()
    try:
        wait_for(lambda: not processes_in(fleet.folder / "w"), "its processes are gone", LEASE + 0.5)
        assert time.monotonic() - begun < LEASE + 0.5
    finally:
        os.kill(fleet.server.pid, signal.SIGCONT)
    assert fleet.job(number)["state"] in {"queued", "processing"}


def test_a_restart_of_the_server_in_the_middle_costs_nothing(fleet: Fleet) -> None:
    fleet.worker("w", "--heartbeat", "200ms")
    number = fleet.submit(
        'echo one; touch "$MARK"; while ! test -e "$MARK.go"; do sleep 0.05; done; echo two'
    )
    fleet.wait_mark()
    fleet.server.stop(signal.SIGKILL)
    (fleet.folder / "mark.go").touch()
    fleet.server.start()
    job = fleet.wait(number, "completed")
    assert (job["attempt"], job["resets"]) == (1, 0)
    assert "stdout: one\nstdout: two\n" in fleet.output(number)


def test_a_worker_drains_and_hands_back_what_is_not_done(fleet: Fleet) -> None:
    worker = fleet.worker("w", "--drain", "1s", "--kill-grace", "500ms")
    number = fleet.submit(f'if test -e "$MARK"; then exit 0; fi; {STUBBORN}')
    fleet.wait_mark()
    worker.terminate()
    assert worker.wait(20) == 0
    job = fleet.job(number)
    assert (job["state"], job["resets"], job["failures"]) == ("queued", 0, 0)
    assert job["attempts"][0]["outcome"] == "handed_back"
    assert not processes_in(fleet.folder / "w")
    assert workspaces(fleet.folder / "w") == []
    fleet.worker("other")
    assert fleet.wait(number, "completed")["worker"] == "other"


def test_a_worker_that_drains_lets_its_job_finish(fleet: Fleet) -> None:
    worker = fleet.worker("w", "--drain", "60s")
    number = fleet.submit('touch "$MARK"; while ! test -e "$MARK.go"; do sleep 0.05; done')
    waiting = fleet.submit("true")
    fleet.wait_mark()
    worker.terminate()
    wait_for(lambda: any(each["draining"] for each in fleet.ask("/workers")["workers"]), "the server knows")
    (fleet.folder / "mark.go").touch()
    assert worker.wait(20) == 0
    assert fleet.job(number)["state"] == "completed"
    assert fleet.job(waiting)["state"] == "queued"


def test_a_second_signal_hands_back_at_once(fleet: Fleet) -> None:
    worker = fleet.worker("w", "--drain", "10m", "--kill-grace", "10m")
    number = fleet.submit(STUBBORN)
    fleet.wait_mark()
    worker.terminate()
    wait_for(lambda: "no more jobs are taken" in fleet.log("w").read_text(), "it drains")
    worker.terminate()
    assert worker.wait(20) == 0
    assert fleet.job(number)["state"] == "queued"


def test_a_third_signal_ends_it_and_what_it_runs(fleet: Fleet) -> None:
    worker = fleet.worker("w", "--drain", "10m")
    fleet.submit(STUBBORN)
    fleet.wait_mark()
    os.kill(fleet.server.pid, signal.SIGSTOP)  # so that nothing can be handed back
    try:
        for count in range(3):
            worker.send_signal(signal.SIGINT)
            wait_for(
                lambda: count == 2 or fleet.log("w").read_text().count("no more jobs") == count + 1,  # noqa: B023
                "the signal is heard",
            )
        assert worker.wait(20) == 130
        wait_for(lambda: not processes_in(fleet.folder / "w"), "no process is left", 2.0)
    finally:
        os.kill(fleet.server.pid, signal.SIGCONT)


def test_a_step_that_ignores_signals_is_canceled(fleet: Fleet) -> None:
    fleet.worker("w", "--kill-grace", "500ms", "--heartbeat", "200ms")
    number = fleet.submit(STUBBORN)
    fleet.wait_mark()
    fleet.ask(f"/jobs/{number}/cancel", {"reason": "not wanted"})
    job = fleet.wait(number, "canceled", 10)
    assert job["attempts"][0]["outcome"] == "canceled"
    assert not processes_in(fleet.folder / "w")
    assert workspaces(fleet.folder / "w") == []


def test_a_job_that_takes_too_long_is_ended(fleet: Fleet) -> None:
    fleet.worker("w", "--max-job-time", "1s", "--kill-grace", "100ms")
    number = fleet.submit("sleep 600")
    assert "longer than the 1s" in fleet.wait(number, "failed")["message"]


def test_a_worker_ends_after_a_number_of_jobs(fleet: Fleet) -> None:
    numbers = [fleet.submit("true") for _ in range(3)]
    worker = fleet.worker("w", "--max-jobs", "2", "--slots", "2")
    assert worker.wait(30) == 0
    assert [fleet.job(number)["state"] for number in numbers] == ["completed", "completed", "queued"]


def test_slots_work_at_the_same_time_and_labels_choose(fleet: Fleet) -> None:
    fleet.worker("w", "--slots", "2", "--label", "gpu")
    first = fleet.submit('touch "$MARK.1"; while ! test -e "$MARK.2"; do sleep 0.05; done', labels=["gpu"])
    second = fleet.submit(
        'touch "$MARK.2"; while ! test -e "$MARK.1"; do sleep 0.05; done', labels=["runtime=shell"]
    )
    other = fleet.submit("true", labels=["tpu"])
    fleet.wait(first, "completed")
    fleet.wait(second, "completed")
    assert fleet.job(other)["state"] == "queued"


@pytest.mark.skipif(shutil.which("bwrap") is None, reason="needs bubblewrap")
def test_a_label_chooses_among_the_runtimes_of_a_worker(fleet: Fleet) -> None:
    fleet.worker("w", "--runtime", "sandbox")
    plain, caged = fleet.submit("pwd"), fleet.submit("pwd", labels=["runtime=sandbox"])
    fleet.wait(plain, "completed")
    fleet.wait(caged, "completed")
    assert f"stdout: {fleet.folder}/w/jobs/" in fleet.output(plain)
    assert "stdout: /work\n" in fleet.output(caged)


def test_a_worker_waits_for_a_server_that_is_not_there_yet(fleet: Fleet) -> None:
    fleet.server.stop()
    worker = fleet.worker("w", ready=False)
    time.sleep(1.0)
    assert worker.poll() is None
    assert fleet.log("w").read_text() == ""
    fleet.server.start()
    wait_for(lambda: "worker w is ready" in fleet.log("w").read_text(), "it is ready")


def test_a_worker_with_a_wrong_token_ends_and_says_why(fleet: Fleet) -> None:
    fleet.token_file.write_text("rw_wrong")
    worker = fleet.worker("w", ready=False)
    assert worker.wait(30) == 1
    said = fleet.log("w").read_text()
    assert "token" in said
    assert "rw_wrong" not in said
    assert "Traceback" not in said


def test_two_workers_do_not_share_a_directory(fleet: Fleet) -> None:
    fleet.worker("w")
    second = fleet.worker("w", ready=False)
    assert second.wait(30) == 1
    assert "another worker uses" in fleet.log("w").read_text()


def test_doctor_tries_what_a_worker_needs(fleet: Fleet) -> None:
    command = [
        RUNWRIGHT,
        "doctor",
        "--worker",
        "--server",
        fleet.server.url,
        "--token-file",
        fleet.token_file,
    ]
    command += ["--runtime", "shell", "--json"]
    done = subprocess.run(command, cwd=fleet.folder, env=own_environment(), capture_output=True, check=False)
    found = {check["name"]: check["result"] for check in json.loads(done.stdout)}
    assert (found["git"], found["shell"], found["token"], found["server"]) == ("ok", "ok", "ok", "ok")
    assert done.returncode == 0
