"""A server of the queue in a process of its own, and requests to it that hide nothing."""

import http.client
import itertools
import json
import os
import signal
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from cli_project import PATIENCE, Project, stop, wait_until

STEPS = {"dockerSteps": [{"key": "", "image": "alpine", "commands": ["true"], "dir": "", "env": []}]}
_names = itertools.count(1)


def fresh(what: str) -> str:
    """Return a name that no other test has."""
    return f"{what}-{os.getpid()}-{next(_names)}"


class Answer:
    """What came back.

    Attributes:
        status: HTTP status.
        headers: With names in small letters.
        body: All of it.
    """

    def __init__(self, status: int, headers: dict[str, str], body: bytes) -> None:
        self.status = status
        self.headers = headers
        self.body = body

    @property
    def json(self) -> Any:
        """The body, decoded."""
        return json.loads(self.body)

    def refused(self, status: int) -> str:
        """Return the error of an answer, which must be of that status and JSON."""
        assert self.status == status, f"{self.status} {self.body[:500]!r}"
        assert self.headers["content-type"] == "application/json"
        error = self.json["error"]
        assert isinstance(error, str)
        assert error
        return error


class Server:
    """A running server.

    Attributes:
        url: Where it is.
        log: File of what it prints.
        process: Its process.
        admin: Token of an admin.
        worker: Token of a worker.
    """

    def __init__(self, project: Project, store: str, *options: str, listen: str = "127.0.0.1:0") -> None:
        self.project = project
        self.store = store
        self.log = project.root / f"{fresh('server')}.log"
        words = ("serve", "--listen", listen, "--store", store, *options)
        with self.log.open("w") as file:
            self.process = project.start(*words, stdout=file)
        wait_until(lambda: "\n" in self.log.read_text() or self.process.poll() is not None, "a server")
        line = self.log.read_text().partition("\n")[0]
        assert line.startswith("runwright: serving on http"), self.log.read_text()
        self.url = line.split()[-1]
        self.admin = self.token("admin")
        self.worker = self.token("worker")

    def token(self, role: str, name: str = "") -> str:
        """Make a token and return it."""
        done = self.project("tokens", "create", name or fresh(role), "--role", role, "--store", self.store)
        assert done.returncode == 0, done.stderr
        return done.stdout.splitlines()[-1]

    def connect(self, timeout: float = PATIENCE) -> http.client.HTTPConnection:
        """Return a connection to it."""
        return http.client.HTTPConnection(urlsplit(self.url).netloc, timeout=timeout)

    def ask(self, method: str, path: str, body: Any = None, headers: dict[str, str] | None = None) -> Answer:
        """Send one request; a body that is no bytes is sent as JSON."""
        connection = self.connect()
        try:
            data = body if body is None or isinstance(body, bytes) else json.dumps(body).encode()
            connection.request(method, path, data, headers or {})
            answer = connection.getresponse()
            named = {name.lower(): value for name, value in answer.getheaders()}
            return Answer(answer.status, named, answer.read())
        finally:
            connection.close()

    def api(self, method: str, path: str, body: Any = None) -> Answer:
        """Ask as an admin."""
        return self.ask(method, f"/api{path}", body, {"Authorization": f"Bearer {self.admin}"})

    def submit(self, queue: str, job: Any = None, **more: Any) -> int:
        """Submit a job and return its id."""
        answer = self.api("POST", "/jobs", {"queue": queue, "job": STEPS if job is None else job, **more})
        assert answer.status == 201, answer.body
        return answer.json["id"]

    def state(self, job_id: int) -> str:
        """Return the state of a job."""
        return self.api("GET", f"/jobs/{job_id}").json["state"]

    def work(self, path: str, body: Any, token: str | None = None) -> Answer:
        """Ask as a worker."""
        headers = {"Authorization": f"token-executor {token or self.worker}"}
        return self.ask("POST", f"/.executors/queue{path}", body, headers)

    def stop(self) -> int:
        """End it in good order and return its exit status."""
        self.process.send_signal(signal.SIGTERM)
        return self.process.wait(PATIENCE)

    def rss(self) -> int:
        """Return the bytes of memory that it has now."""
        text = Path(f"/proc/{self.process.pid}/status").read_text()
        return int(text.partition("VmRSS:")[2].split()[0]) * 1024


class Held:
    """A job in the hands of a worker.

    Attributes:
        id: Of the job.
        token: Of its lease.
    """

    def __init__(self, server: Server, queue: str, worker: str = "w1", **ask: Any) -> None:
        self.server = server
        self.queue = queue
        self.worker = worker
        answer = server.work(
            f"/{queue}/dequeue", {"executorName": worker, "version": "dev", "waitSeconds": 10, **ask}
        )
        assert answer.status == 200, (answer.status, answer.body)
        self.answer = answer
        self.document = answer.json
        self.id: int = self.document["id"]
        self.token: str = self.document["token"]

    @property
    def headers(self) -> dict[str, str]:
        """What goes with requests for the job."""
        return {
            "Authorization": f"Bearer {self.token}",
            "X-Sourcegraph-Job-ID": str(self.id),
            "X-Sourcegraph-Executor-Name": self.worker,
        }

    def say(
        self, what: str, *, headers: dict[str, str] | None = None, queue: str = "", **body: Any
    ) -> Answer:
        """Send one request for the job."""
        whole = {"executorName": self.worker, "jobId": self.id, **body}
        path = f"/.executors/queue/{queue or self.queue}/{what}"
        return self.server.ask("POST", path, whole, self.headers if headers is None else headers)


@contextmanager
def serving(project: Project, store: str, *options: str) -> Iterator[Server]:
    """Serve for as long as the block runs."""
    server = Server(project, store, *options)
    try:
        yield server
        server.stop()
    finally:
        stop(server.process)
