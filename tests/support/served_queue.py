"""A queue's server in a process of its own, as users start it."""

import os
import re
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path

RUNWRIGHT = Path(sys.executable).with_name("runwright")
PATIENCE = 60.0


def own_environment() -> dict[str, str]:
    """Return the environment without what tells our commands where things are."""
    return {name: value for name, value in os.environ.items() if not name.startswith("RUNWRIGHT")}


def quiet_environment() -> dict[str, str]:
    """Return that without what measures coverage: for processes that are measured themselves."""
    return {name: value for name, value in own_environment().items() if not name.startswith("COVERAGE")}


def free_port() -> int:
    """Return a port that nobody listens at now."""
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        port: int = one.getsockname()[1]
        return port


def wait_for(condition: Callable[[], object], what: str, patience: float = PATIENCE) -> None:
    """Wait until something is so; look often, and give up at a deadline."""
    deadline = time.monotonic() + patience
    while not condition():
        assert time.monotonic() < deadline, f"in {patience:g} s: {what}"
        time.sleep(0.02)


class QueueServer:
    """`runwright serve` over a store, with a token for workers and one for users.

    Args:
        folder: Where store and output are.
        options: More options of `serve`.
        store: URL of the store; None for SQLite in the folder.
        port: Where to listen; 0 for any port, which stays the same after a restart.
        env: More environment.
        program: What is started; the command that is installed if it is empty.
    """

    def __init__(
        self,
        folder: Path,
        *options: str,
        store: str | None = None,
        port: int = 0,
        env: dict[str, str] | None = None,
        program: Sequence[str | Path] = (),
    ) -> None:
        self.folder = folder
        self.store = store or f"sqlite:///{folder / 'server' / 'runs.db'}"
        self.port = port or free_port()
        self.url = f"http://127.0.0.1:{self.port}"
        self._options = options
        self._program = program or (RUNWRIGHT,)
        self._env = own_environment() | (env or {})
        self._process: subprocess.Popen[bytes] | None = None
        self.worker_token = self.new_token("w", "worker")
        self.admin_token = self.new_token("a", "admin")

    @property
    def pid(self) -> int:
        """The process id of the server."""
        assert self._process is not None
        return self._process.pid

    def new_token(self, name: str, role: str) -> str:
        """Make a token."""
        command = [*self._program, "--store", self.store, "tokens", "create", name, "--role", role]
        done = subprocess.run(
            command, cwd=self.folder, env=self._env, capture_output=True, text=True, check=False
        )
        assert done.returncode == 0, done.stderr
        return done.stdout.split()[-1]

    def start(self) -> "QueueServer":
        """Start it, and wait until it is ready."""
        command = [
            *self._program,
            "--store",
            self.store,
            "serve",
            "--listen",
            f"127.0.0.1:{self.port}",
            *self._options,
        ]
        log = self.folder / "server.log"
        with log.open("ab") as out:
            begin = out.tell()
            self._process = subprocess.Popen(
                command, cwd=self.folder, env=self._env, stdin=subprocess.DEVNULL, stdout=out, stderr=out
            )
        ready = re.compile(rb"serving on http")

        def is_ready() -> bool:
            assert self._process is not None
            assert self._process.poll() is None, log.read_text()
            return bool(ready.search(log.read_bytes()[begin:]))

        wait_for(is_ready, "the server is ready")
        return self

    def stop(self, number: int = signal.SIGTERM) -> None:
        """End it, and wait for its end."""
        if self._process is not None:
            self._process.send_signal(number)
            self._process.wait(PATIENCE)
            self._process = None

    def __enter__(self) -> "QueueServer":
        return self.start()

    def __exit__(self, *_: object) -> None:
        self.stop(signal.SIGKILL)
