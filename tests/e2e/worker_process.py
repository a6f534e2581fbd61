"""A worker in a process of its own, as users start it."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from cli_project import stop
from queue_server import Server

TOKEN_FILE = "worker.token"


class WorkerProcess:
    """A running worker, which runs steps without isolation unless it is told otherwise.

    Args:
        server: Whose jobs it takes.
        queues: Of which queues.
        name: What the server is to call it; made of the first queue's name if it is empty.
        options: More options of `worker`.
        runtime: How it isolates steps.
        home: Its directory; one of its own for None.

    Attributes:
        name: What the server calls it.
        home: Its directory.
        process: Its process.
    """

    def __init__(
        self,
        server: Server,
        *queues: str,
        name: str = "",
        options: tuple[str, ...] = (),
        runtime: str = "shell",
        home: Path | None = None,
    ) -> None:
        self.name = name or f"w-of-{queues[0]}"
        self.home = home or server.project.root / self.name
        token = server.project.write(TOKEN_FILE, server.worker + "\n")
        token.chmod(0o600)
        self._log = server.project.root / f"{self.name}.log"
        words = ["--server", server.url, "--token-file", str(token), "--runtime", runtime, "--slots", "2"]
        words += ["--heartbeat", "300ms", "--name", self.name, "--work-dir", str(self.home)]
        words += [word for queue in queues for word in ("--queue", queue)]
        with self._log.open("w") as out:
            self.process = server.project.start("worker", *words, *options, stdout=out, stderr=out)

    def log(self) -> str:
        """Return what it has said so far."""
        return self._log.read_text()

    def left(self) -> list[str]:
        """Return what there is of jobs in its directory."""
        jobs = self.home / "jobs"
        return sorted(path.name for path in jobs.iterdir()) if jobs.exists() else []

    def processes(self) -> list[int]:
        """Return the processes of steps in its directory."""
        mark, found = f"RUNWRIGHT_WORKSPACE={self.home}/".encode(), []
        for entry in Path("/proc").iterdir():
            try:
                if entry.name.isdigit() and mark in (entry / "environ").read_bytes():
                    found.append(int(entry.name))
            except OSError:
                continue
        return found


@contextmanager
def working(
    server: Server, *queues: str, name: str = "", options: tuple[str, ...] = ()
) -> Iterator[WorkerProcess]:
    """Have a worker for as long as the block runs."""
    worker = WorkerProcess(server, *queues, name=name, options=options)
    try:
        yield worker
    finally:
        stop(worker.process)
