"""What a server and a worker cost that have nothing to do: with a job behind them, and over both stores."""

import os
import signal
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from served_queue import RUNWRIGHT, QueueServer, quiet_environment, wait_for

SECONDS = 20.0
MIB = 1024 * 1024
MOST_OF_WORKER, MOST_OF_SERVER = 45 * MIB, 80 * MIB
MOST_SHARE = 0.005
"""Of one processor."""


class Cost:
    """What a process takes.

    Args:
        pid: Of the process.
    """

    def __init__(self, pid: int) -> None:
        self._folder = Path(f"/proc/{pid}")
        self._before, self._begun = self._cpu(), time.monotonic()

    @property
    def memory(self) -> int:
        """Bytes of memory that it has now."""
        text = (self._folder / "status").read_text()
        return int(text.partition("VmRSS:")[2].split()[0]) * 1024

    @property
    def share(self) -> float:
        """Of one processor, since the beginning."""
        return (self._cpu() - self._before) / (time.monotonic() - self._begun)

    def _cpu(self) -> float:
        fields = (self._folder / "stat").read_text().rpartition(")")[2].split()
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")

    def __str__(self) -> str:
        return f"{self.memory / MIB:.1f} MiB, {100 * self.share:.2f} % of a processor"


class QuietServer(QueueServer):
    """A server that is not measured by anybody else."""

    def __init__(self, folder: Path, store: str | None) -> None:
        super().__init__(folder, store=store)
        self._env = quiet_environment()


@contextmanager
def working(server: QueueServer, folder: Path) -> Iterator[subprocess.Popen[bytes]]:
    """Have a worker for as long as the block runs."""
    token, log = folder / "token", folder / "worker.log"
    token.write_text(server.worker_token)
    token.chmod(0o600)
    words = ["worker", "--server", server.url, "--token-file", token, "--queue", "q", "--name", "w"]
    words += ["--runtime", "shell", "--work-dir", folder / "work"]
    with log.open("wb") as out:
        worker = subprocess.Popen(
            [RUNWRIGHT, *words], cwd=folder, env=quiet_environment(), stdout=out, stderr=out
        )
    try:
        wait_for(lambda: "worker w is ready" in log.read_text(), "the worker is ready")
        yield worker
    finally:
        worker.kill()
        worker.wait()


def run_job(server: QueueServer, folder: Path, *command: str) -> None:
    """Have a job done, through the command of users."""
    token = folder / "admin.token"
    token.write_text(server.admin_token)
    token.chmod(0o600)
    words = ["jobs", "submit", "--queue", "q", "--follow", "--server", server.url, "--token-file", token]
    done = subprocess.run(
        [RUNWRIGHT, *words, *command], cwd=folder, env=quiet_environment(), capture_output=True, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.parametrize("kind", ["sqlite", "postgres"])
def test_a_server_and_a_worker_with_nothing_to_do_cost_next_to_nothing(
    kind: str, tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    store = request.getfixturevalue("postgres").create_database() if kind == "postgres" else None
    server = QuietServer(tmp_path, store).start()
    try:
        with working(server, tmp_path) as worker:
            run_job(server, tmp_path, "--cmd", "seq 10000")
            of_server, of_worker = Cost(server.pid), Cost(worker.pid)
            time.sleep(SECONDS)  # what is measured is that nothing happens
            print(f"\n{kind}: an idle server {of_server}; an idle worker {of_worker}")
            assert of_worker.memory < MOST_OF_WORKER
            assert of_worker.share < MOST_SHARE
            assert of_server.memory < MOST_OF_SERVER
            assert of_server.share < 2 * MOST_SHARE
    finally:
        server.stop(signal.SIGKILL)
