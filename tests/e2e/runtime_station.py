"""Workers of one runtime at a real server, and the detector that finds what their jobs leave."""

import os
import re
import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

from cli_project import stop, wait_until
from isolation import IMAGE, containers
from job_rig import Repository
from machines import kernel, machines_of
from queue_server import Server, fresh
from worker_process import WorkerProcess

from runwright.executors.runtimes.container import HOME_LABEL
from runwright.wiring.job_runtimes import home_of

ENGINES = ("docker", "podman")
GRACE = 1.0
"""Seconds between SIGTERM and SIGKILL."""

LIMITS = {"--memory": "64MiB", "--pids": "20", "--disk": "32MiB", "--max-output": "64KiB"}
JOB_SECONDS = 10.0
MACHINE_JOB_SECONDS = 40.0
"""How long a job may take where its machine must start first."""


class Station:
    """Workers of one runtime, their queue, and a repository for their jobs.

    Attributes:
        kind: ``shell``, ``sandbox``, ``docker``, ``podman`` or ``microvm``.
        server: Has the queue.
        queue: Its name.
        repository: What jobs check out.
        seconds: How long a job may take.
    """

    def __init__(self, kind: str, server: Server, repository: Repository) -> None:
        self.kind = kind
        self.server = server
        self.queue = fresh(kind)
        self.repository = repository
        self.seconds = MACHINE_JOB_SECONDS if kind == "microvm" else JOB_SECONDS
        self._workers: list[WorkerProcess] = []

    def worker(self, queue: str = "", home: Path | None = None) -> WorkerProcess:
        """Start a worker and wait until it is ready."""
        worker = WorkerProcess(
            self.server,
            queue or self.queue,
            name=fresh(f"w-{self.kind}"),
            options=self._options(),
            runtime="container" if self.kind in ENGINES else self.kind,
            home=home,
        )
        self._workers.append(worker)
        wait_until(lambda: "is ready" in worker.log() or worker.process.poll() is not None, "a worker")
        assert worker.process.poll() is None, worker.log()
        return worker

    def _options(self) -> tuple[str, ...]:
        options = [word for pair in LIMITS.items() for word in pair]
        options += ["--kill-grace", f"{GRACE:g}s", "--max-job-time", f"{self.seconds:g}s"]
        options += ["--cli-command", "echo called with", "--git-allow", f"{self.repository.path}"]
        options += ["--git-allow", "http://127.0.0.1:"]
        if self.kind in ENGINES:
            options += ["--engine", self.kind, "--image", IMAGE]
        if self.kind == "microvm":
            options += ["--vm-kernel", kernel(), "--vm-accelerator", "tcg"]
        return tuple(options)

    def close(self) -> None:
        """End the workers."""
        for worker in self._workers:
            stop(worker.process)

    def submit(self, *steps: dict[str, Any], queue: str = "", **job: Any) -> int:
        """Queue a job."""
        return self.server.submit(queue or self.queue, {"dockerSteps": list(steps), **job})

    def job(self, number: int) -> dict[str, Any]:
        """Return what the server knows of a job."""
        found: dict[str, Any] = self.server.api("GET", f"/jobs/{number}").json
        return found

    def wait(self, number: int, *states: str) -> dict[str, Any]:
        """Wait until a job is in one of some states."""
        wait_until(lambda: self.server.state(number) in states, f"job {number} is {states}")
        return self.job(number)

    def log(self, number: int) -> list[dict[str, Any]]:
        """Return the entries of all attempts at a job."""
        entries: list[dict[str, Any]] = self.server.api("GET", f"/jobs/{number}/logs?attempt=all").json[
            "entries"
        ]
        return entries

    def wait_output(self, number: int, text: str) -> None:
        """Wait until a job has put out a text."""
        wait_until(lambda: any(text in entry["out"] for entry in self.log(number)), f"job {number}: {text}")

    def alive(self, worker: WorkerProcess, canary: str) -> list[str]:
        """Return what runs of a job: processes with a word in their arguments, containers and machines of the worker."""
        found = [f"process {pid}" for pid in _processes(lambda path: _names(_text(path / "cmdline"), canary))]
        found += [f"machine {pid}" for pid in machines_of(worker.home)]
        if self.kind in ENGINES:
            label = f"label={HOME_LABEL}={home_of(worker.home)}"
            found += [f"container {name}" for name in containers(self.kind, label)]
        return found

    def left(self, worker: WorkerProcess, canary: str) -> list[str]:
        """Return everything that a dead worker has left, but for files."""
        home = str(worker.home)
        found = [f"process {pid} of the worker" for pid in _processes(lambda path: _touches(path, home))]
        found += [
            f"mount {line}" for line in _text(Path("/proc/self/mountinfo")).split("\n") if _names(line, home)
        ]
        return [*self.alive(worker, canary), *found]

    def cancel(self, number: int, is_running: Callable[[], object]) -> float:
        """Cancel a job, and return how many seconds something of it still ran."""
        assert is_running(), "the control: what is looked for can be seen"
        begun = time.monotonic()
        assert self.server.api("POST", f"/jobs/{number}/cancel").status == 200
        wait_until(lambda: not is_running(), "nothing of the job runs")
        took = time.monotonic() - begun
        self.wait(number, "canceled")
        return took


def groups_of(pid: int) -> list[str]:
    """Return the control groups that a process has made."""
    name = re.compile(rf"runwright-{pid}-")
    return [folder for folder, _, _ in os.walk("/sys/fs/cgroup") if name.match(Path(folder).name)]


def _processes(is_one: Callable[[Path], bool]) -> Iterator[int]:
    for path in Path("/proc").iterdir():
        if path.name.isdigit() and int(path.name) != os.getpid() and is_one(path):
            yield int(path.name)


def _touches(path: Path, home: str) -> bool:
    """Tell whether a process works in a directory, or was told of it."""
    texts = [_text(path / "cmdline"), _text(path / "environ")]
    with suppress(OSError):
        texts.append(str((path / "cwd").readlink()))
    return any(_names(text, home) for text in texts)


def _names(text: str, word: str) -> bool:
    """Tell whether a word stands in a text, and not as the beginning of a longer one."""
    return re.search(rf"{re.escape(word)}(?![\w-])", text) is not None


def _text(path: Path) -> str:
    try:
        return path.read_bytes().decode("utf-8", "replace")
    except OSError:
        return ""


class Silent:
    """A server of anything that takes what it is told and never answers.

    Attributes:
        address: Host and port.
        waiting: How many have asked and wait for an answer.
    """

    def __init__(self) -> None:
        self._socket = socket.create_server(("127.0.0.1", 0))
        self.address = f"127.0.0.1:{self._socket.getsockname()[1]}"
        self.waiting = 0
        self._lock = threading.Lock()
        threading.Thread(target=self._accept, daemon=True).start()

    def __enter__(self) -> "Silent":
        return self

    def __exit__(self, *_: object) -> None:
        self._socket.shutdown(socket.SHUT_RDWR)
        self._socket.close()

    def _accept(self) -> None:
        with suppress(OSError):
            while True:
                one, _ = self._socket.accept()
                threading.Thread(target=self._listen, args=(one,), daemon=True).start()

    def _listen(self, one: socket.socket) -> None:
        with one, suppress(OSError):
            if not one.recv(65536):
                return
            self._count(1)
            try:
                while one.recv(65536):
                    pass
            finally:
                self._count(-1)

    def _count(self, change: int) -> None:
        with self._lock:
            self.waiting += change
