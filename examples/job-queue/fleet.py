"""Serve a queue, start two workers, submit twelve jobs, kill a worker with jobs in its hands, and tell what happened.

python3 fleet.py REPOSITORY COMMIT
"""

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any
from urllib.request import Request, urlopen

OUT = Path("out").absolute()
HOME = OUT / "fleet"
STORE = f"sqlite:///{HOME}/queue.db"
PATIENCE = 60.0
BOOKS = ("sea", "hill", "night", "city")
QUEUES = ("count", "check", "pack")


def main() -> int:
    """Play it from beginning to end."""
    repository, commit = Path(sys.argv[1]).absolute(), sys.argv[2]
    shutil.rmtree(HOME, ignore_errors=True)
    HOME.mkdir(parents=True)
    fleet = Fleet(repository)
    try:
        fleet.serve()
        for name in ("ada", "bob"):
            fleet.start(name)
        jobs = [fleet.submit(queue, job) for queue, job in all_jobs(str(repository), commit)]
        say(f"{len(jobs)} jobs are queued: {', '.join(QUEUES)}")
        lost = fleet.kill("ada")
        say(f"ada is killed, with {words(lost)} in its hands; nobody is told")
        fleet.wait(lambda: all(fleet.job(each)["worker"] == "bob" for each in lost), "bob has the lost jobs")
        say("its leases have lapsed, and bob has taken those jobs")
        fleet.start("ada")
        say("ada is back; it has removed what the dead one left:")
        print(*(f"      {line}" for line in fleet.remarks("ada")), sep="\n", flush=True)
        fleet.wait(lambda: all(fleet.job(each)["state"] == "completed" for each in jobs), "all jobs are done")
        say("every job is complete")
        table = "\n".join(fleet.table(jobs))
        fleet.end()
    finally:
        fleet.kill_all()
    print(table)
    (OUT / "table.txt").write_text(table + "\n")
    shutil.rmtree(HOME)
    return 0


def all_jobs(repository: str, commit: str) -> list[tuple[str, dict[str, Any]]]:
    """Return each job with its queue."""
    checkout = {"repositoryName": repository, "commit": commit, "shallowClone": True}
    jobs = [("count", {**checkout, "dockerSteps": [step(f"wc -w < books/{name}.txt")]}) for name in BOOKS]
    for version in ("v1", commit):
        jobs.append(("check", {**checkout, "commit": version, "dockerSteps": [step("sh check.sh")]}))
    jobs.append(
        ("check", {**checkout, "sparseCheckout": ["books/s*"], "dockerSteps": [step("ls books | cat")]})
    )
    jobs.append(("check", {"files": {"plan.txt": "read more\n"}, "dockerSteps": [step("cat plan.txt")]}))
    for name in BOOKS:
        made = [step(f"gzip -9 -k books/{name}.txt"), step(f"gunzip -c books/{name}.txt.gz | cksum")]
        jobs.append(("pack", {**checkout, "dockerSteps": made}))
    return jobs


def step(command: str) -> dict[str, Any]:
    """Return a step of a job that takes a moment."""
    return {"image": "", "commands": ["sleep 0.6", command]}


def say(text: str) -> None:
    """Tell the story, a line at a time."""
    print(f"  {time.strftime('%H:%M:%S')}  {text}", flush=True)


def words(jobs: list[int]) -> str:
    return "job " + " and job ".join(map(str, jobs))


class Fleet:
    """A server and its workers, each a process of its own."""

    def __init__(self, repository: Path) -> None:
        self.repository = repository
        self.url = ""
        self.token = ""
        self.processes: dict[str, subprocess.Popen[str]] = {}

    def serve(self) -> None:
        """Start the server, and make a token for each who comes."""
        self.token = self.make_token("me", "admin")
        words = ["serve", "--listen", "127.0.0.1:0", "--lease", "2s"]
        self.processes["server"] = self.run(*words, stdout=subprocess.PIPE)
        self.url = self.first_line("server").split()[-1]
        say(f"a server is at {self.url}")

    def start(self, name: str) -> None:
        """Start a worker and wait until the server has answered it."""
        token = HOME / f"{name}.token"
        if not token.exists():
            token.touch(mode=0o600)
            token.write_text(self.make_token(name, "worker") + "\n")
        words = ["worker", "--server", self.url, "--token-file", str(token), "--name", name]
        words += ["--runtime", "shell", "--slots", "2", "--heartbeat", "300ms", "--poll", "100ms"]
        words += ["--work-dir", str(HOME / name), "--git-allow", str(self.repository)]
        words += [word for queue in QUEUES for word in ("--queue", queue)]
        with (HOME / f"{name}.log").open("w") as log:
            self.processes[name] = self.run(*words, stdout=subprocess.PIPE, stderr=log)
        self.first_line(name)
        say(f"{name} works, on two jobs at a time")

    def run(self, *words: str, **options: Any) -> "subprocess.Popen[str]":
        command = ["runwright", "--store", STORE, *words]
        return subprocess.Popen(command, stdin=subprocess.DEVNULL, text=True, **options)

    def first_line(self, name: str) -> str:
        """Return the line with which a process says that it is ready."""
        stdout = self.processes[name].stdout
        assert stdout is not None
        line = stdout.readline()
        assert line.startswith("runwright: "), f"{name} did not start"
        return line

    def make_token(self, name: str, role: str) -> str:
        command = ["runwright", "--store", STORE, "tokens", "create", name, "--role", role]
        return subprocess.check_output(command, text=True).splitlines()[-1]

    def ask(self, path: str, body: Any = None) -> Any:
        """Ask the server's API."""
        headers = {"Authorization": f"Bearer {self.token}", "Content-Type": "application/json"}
        data = None if body is None else json.dumps(body).encode()
        with urlopen(Request(f"{self.url}/api{path}", data, headers), timeout=PATIENCE) as answer:
            return json.load(answer)

    def submit(self, queue: str, job: dict[str, Any]) -> int:
        """Queue a job and return its id."""
        job_id: int = self.ask("/jobs", {"queue": queue, "job": job})["id"]
        return job_id

    def job(self, job_id: int) -> dict[str, Any]:
        found: dict[str, Any] = self.ask(f"/jobs/{job_id}")
        return found

    def held_by(self, name: str) -> list[int]:
        """Return the jobs that a worker is at."""
        rows = self.ask(f"/jobs?state=processing&worker={name}")["jobs"]
        return sorted(row["id"] for row in rows)

    def kill(self, name: str) -> list[int]:
        """Kill a worker that is at work, and return the jobs that it does not give back."""
        self.wait(lambda: len(self.held_by(name)) == 2, f"{name} has two jobs")
        process = self.processes.pop(name)
        process.send_signal(signal.SIGKILL)
        process.wait()
        return self.held_by(name)

    def remarks(self, name: str) -> list[str]:
        """Return what a worker said when it began."""
        lines = (HOME / f"{name}.log").read_text().splitlines()
        return [line.removeprefix("runwright: ") for line in lines if "begins" not in line]

    def table(self, jobs: list[int]) -> list[str]:
        """Return a line for each job: where it ran, and the last thing it printed."""
        lines = ["job  queue  state      attempts                 result"]
        for job in map(self.job, jobs):
            tries = ", ".join(f"{each['worker']} {each['outcome']}" for each in job["attempts"])
            lines.append(
                f"{job['id']:>3}  {job['queue']:<5}  {job['state']:<9}  {tries:<23}  {self.result(job['id'])}"
            )
        return lines

    def result(self, job_id: int) -> str:
        """Return the last line that the steps of a job have printed."""
        entries = self.ask(f"/jobs/{job_id}/logs")["entries"]
        lines = [
            line for each in entries if each["key"].startswith("step.") for line in each["out"].splitlines()
        ]
        return lines[-1].removeprefix("stdout: ").strip()

    def wait(self, condition: Callable[[], bool], what: str) -> None:
        """Wait until something is so."""
        deadline = time.monotonic() + PATIENCE
        while not condition():
            if time.monotonic() > deadline:
                raise SystemExit(f"not in {PATIENCE:g} s: {what}")
            time.sleep(0.05)

    def end(self) -> None:
        """End all in good order, workers first: they finish what they have."""
        for name in ("ada", "bob", "server"):
            process = self.processes[name]
            process.send_signal(signal.SIGTERM)
            assert process.wait(PATIENCE) == 0, f"{name} ended with {process.returncode}"
        left = [str(path) for name in ("ada", "bob") for path in (HOME / name / "jobs").glob("*")]
        assert not left, left
        say("the workers and the server have ended, and left nothing")

    def kill_all(self) -> None:
        for process in self.processes.values():
            if process.poll() is None:
                os.kill(process.pid, signal.SIGKILL)
            process.wait()


if __name__ == "__main__":
    raise SystemExit(main())
