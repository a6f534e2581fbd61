"""What hostile clients do to a server: each refused or bounded as documented, while a healthy client is served well.

Each protection has its control: the same attack with the protection off gets through.
"""

import http.client
import json
import math
import os
import socket
import ssl
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest
from cli_project import PATIENCE, Project, stop, wait_until
from queue_server import Held, Server, fresh, serving

MIB = 1024 * 1024
MOST_RSS = 300 * MIB
MOST_SECONDS = 0.5

UNPROTECTED = """
import sys
name, _, value = sys.argv.pop(1).partition("=")
module, _, attribute = name.rpartition(".")
from importlib import import_module
setattr(import_module(module), attribute, float(value) if "." in value else int(value))
from runwright.cli.main import command
raise SystemExit(command())
"""
"""Runs our command with one bound of the server changed."""


class Unprotected(Project):
    """Starts the server with one bound changed.

    Args:
        root: The project's directory.
        change: ``module.NAME=value``.
    """

    def __init__(self, root: Path, change: str) -> None:
        super().__init__(root)
        self.change = change
        self.hidden = ("RUNWRIGHT",)

    def start(self, *words: str, **options: Any) -> "subprocess.Popen[str]":
        return subprocess.Popen(
            [sys.executable, "-c", UNPROTECTED, self.change, *words],
            cwd=self.root,
            stdin=subprocess.DEVNULL,
            stderr=subprocess.STDOUT,
            encoding="utf-8",
            start_new_session=True,
            **options,
            env={name: value for name, value in os.environ.items() if not name.startswith(self.hidden)},
        )


@pytest.fixture
def server(tmp_path: Path) -> Iterator[Server]:
    with serving(Project(tmp_path), f"sqlite:///{tmp_path}/jobs.db", "--lease", "60s") as running:
        yield running
        assert running.log.read_text().count("\n") == 1, running.log.read_text()


_wires: list[socket.socket | http.client.HTTPConnection] = []


@pytest.fixture(autouse=True)
def _hang_up() -> Iterator[None]:
    """Close what a test has left open."""
    yield
    while _wires:
        _wires.pop().close()


class Healthy:
    """A client that does its work while others misbehave; measures how long it waits for answers."""

    def __init__(self, server: Server) -> None:
        self.server = server
        self.times: list[float] = []
        self.errors: list[str] = []
        self.most_rss = 0
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._work)

    def __enter__(self) -> "Healthy":
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stopping.set()
        self._thread.join()

    def _work(self) -> None:
        queue, connection = fresh("healthy"), connect(self.server)
        while not self._stopping.wait(0.02):
            try:
                self._round(queue, connection)
            except (OSError, http.client.HTTPException, AssertionError) as error:
                self.errors.append(repr(error))
                connection.close()
            self.most_rss = max(self.most_rss, self.server.rss())

    def _round(self, queue: str, connection: http.client.HTTPConnection) -> None:
        admin = {"Authorization": f"Bearer {self.server.admin}"}
        worker = {"Authorization": f"token-executor {self.server.worker}"}
        body = {"queue": queue, "job": {"dockerSteps": [{"image": "i", "commands": ["true"]}]}}
        self._ask(connection, "POST", "/api/jobs", body, admin)
        ask = {"executorName": "healthy", "version": "dev"}
        job = self._ask(connection, "POST", f"/.executors/queue/{queue}/dequeue", ask, worker)
        lease = {
            "Authorization": f"Bearer {job['token']}",
            "X-Sourcegraph-Job-ID": str(job["id"]),
            "X-Sourcegraph-Executor-Name": "healthy",
        }
        done = {"executorName": "healthy", "jobId": job["id"]}
        self._ask(connection, "POST", f"/.executors/queue/{queue}/markComplete", done, lease)

    def _ask(
        self, connection: http.client.HTTPConnection, method: str, path: str, body: Any, headers: Any
    ) -> Any:
        begun = time.monotonic()
        connection.request(method, path, json.dumps(body), headers)
        answer = connection.getresponse()
        data = answer.read()
        self.times.append(time.monotonic() - begun)
        assert answer.status in (200, 201, 204), (answer.status, data)
        return json.loads(data) if data else None

    def check(self) -> None:
        """Hold what is promised to everybody else."""
        assert len(self.times) >= 30, (len(self.times), self.errors[:3])
        assert not self.errors, self.errors[:3]
        slowest = sorted(self.times)[math.ceil(len(self.times) * 0.99) - 1]
        print(
            f"{len(self.times)} requests, p99 {slowest * 1000:.0f} ms, memory {self.most_rss / MIB:.0f} MiB"
        )
        assert slowest < MOST_SECONDS
        assert self.most_rss < MOST_RSS


def raw(server: Server, timeout: float = PATIENCE) -> socket.socket:
    """Return a bare connection."""
    place = urlsplit(server.url)
    assert place.hostname is not None
    assert place.port is not None
    connection = socket.create_connection((place.hostname, place.port), timeout)
    _wires.append(connection)
    return connection


def connect(server: Server) -> http.client.HTTPConnection:
    """Return a connection that is kept."""
    connection = server.connect()
    _wires.append(connection)
    return connection


def send(connection: socket.socket, data: bytes) -> bool:
    """Send, and return False if the other end is gone."""
    try:
        connection.sendall(data)
    except (BrokenPipeError, ConnectionResetError):
        return False
    return True


def read_all(connection: socket.socket) -> bytes:
    """Return what comes until the end; a connection that is reset has ended, too."""
    found = bytearray()
    try:
        while data := connection.recv(65_536):
            found += data
    except ConnectionResetError:
        pass
    return bytes(found)


# -- bodies ------------------------------------------------------------------------------------------------------


def head(path: str, token: str, *more: str) -> bytes:
    lines = [f"POST {path} HTTP/1.1", "Host: queue", f"Authorization: {token}", *more, "", ""]
    return "\r\n".join(lines).encode()


def pour(server: Server, path: str, token: str, size: int, *, chunked: bool) -> tuple[bytes, int]:
    """Send a body of that size, and return the answer and how much of it the server took."""
    connection = raw(server)
    length = "Transfer-Encoding: chunked" if chunked else f"Content-Length: {size}"
    connection.sendall(head(path, token, length))
    block = b"x" * MIB
    piece = b"%x\r\n%s\r\n" % (len(block), block) if chunked else block
    sent = 0
    while sent < size and send(connection, piece):
        sent += len(block)
    return read_all(connection), sent


@pytest.mark.parametrize("chunked", [False, True])
def test_a_body_of_a_gibibyte_is_refused_and_not_held(server: Server, chunked: bool) -> None:
    with Healthy(server) as healthy:
        wait_until(lambda: len(healthy.times) > 30, "a healthy client")
        for path, token in (
            ("/api/jobs", f"Bearer {server.admin}"),
            ("/.executors/queue/q/dequeue", f"token-executor {server.worker}"),
            ("/api/jobs", "Bearer wrong"),
            ("/nothing", ""),
        ):
            answer, sent = pour(server, path, token, 1024 * MIB, chunked=chunked)
            if answer:
                status = int(answer.split(b" ", 2)[1])
                assert status == (401 if "wrong" in token else 404 if path == "/nothing" else 413)
            assert sent < 200 * MIB
    healthy.check()


def test_an_announced_gibibyte_is_refused_before_it_is_sent(server: Server) -> None:
    connection = raw(server)
    token = f"Bearer {server.admin}"
    connection.sendall(head("/api/jobs", token, f"Content-Length: {1024 * MIB}", "Expect: 100-continue"))
    answer = read_all(connection)
    assert answer.startswith(b"HTTP/1.1 413 ")
    assert b'{"error":"the body is larger than 67,108,864 bytes"}' in answer


def test_control_without_the_bound_a_large_body_is_held(tmp_path: Path) -> None:
    words = ("--max-body", "1GiB")
    project = Unprotected(tmp_path, f"runwright.web.limits.HELD_BYTES={2048 * MIB}")
    with serving(project, f"sqlite:///{tmp_path}/jobs.db", *words) as server:
        connection = raw(server)
        size = 400 * MIB
        connection.sendall(head("/api/jobs", f"Bearer {server.admin}", f"Content-Length: {size}"))
        for _ in range(380):
            connection.sendall(b"x" * MIB)
        wait_until(lambda: server.rss() > MOST_RSS, "memory of a server without the bound")
        connection.close()


def test_many_large_bodies_at_a_time_are_bounded_together(server: Server) -> None:
    def one(answers: list[bytes]) -> None:
        connection = raw(server)
        token = f"token-executor {server.worker}"
        connection.sendall(
            head("/.executors/queue/q/heartbeat", token, f"Content-Length: {16 * MIB}", "Connection: close")
        )
        is_open = send(connection, b" " * (15 * MIB))
        barrier.wait(PATIENCE)
        if is_open:
            send(connection, b" " * MIB)
        answers.append(read_all(connection))

    count = 20
    barrier = threading.Barrier(count)
    answers: list[bytes] = []
    with Healthy(server) as healthy:
        threads = [threading.Thread(target=one, args=[answers]) for _ in range(count)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        wait_until(lambda: len(healthy.times) > 30, "a healthy client")
    statuses = Counter(answer[9:12] for answer in answers)
    print(statuses)
    assert statuses.keys() <= {b"400", b"503", b""}
    assert statuses[b"503"]
    assert statuses[b"400"]
    healthy.check()


# -- slow clients ------------------------------------------------------------------------------------------------


def test_two_hundred_half_open_connections_disturb_nobody_and_end(server: Server) -> None:
    with Healthy(server) as healthy:
        half_open = [raw(server) for _ in range(200)]
        for number, connection in enumerate(half_open):
            connection.sendall(b"POST /api/jobs HTTP/1.1\r\nHost: q\r\n" if number % 2 else b"")
        begun = time.monotonic()
        for connection in half_open:
            send(connection, b"X-Slow: 1\r\n")
        ends = [read_all(connection) for connection in half_open]
        assert 5 < time.monotonic() - begun < 30
    assert all(end == b"" or b" 408 " in end[:20] for end in ends)
    assert sum(b" 408 " in end[:20] for end in ends) >= 100
    healthy.check()


HEADER = "runwright.web.connection.HEADER_SECONDS"
CHUNK = "runwright.web.limits.CHUNK_SECONDS"
SOON = 2.0
NEVER = 3600.0


@contextmanager
def bounded(folder: Path, bound: str, seconds: float) -> Iterator[Server]:
    """Serve with a bound of time changed: how much time there is does not matter here, and tests shall be quick."""
    with serving(Unprotected(folder, f"{bound}={seconds}"), f"sqlite:///{folder}/jobs.db") as server:
        yield server


@pytest.mark.parametrize("start", [b"", b"POST /api/jobs HTTP/1.1\r\nHost: q\r\n"])
def test_a_head_that_does_not_come_is_not_waited_for(tmp_path: Path, start: bytes) -> None:
    with bounded(tmp_path, HEADER, SOON) as server:
        connection = raw(server)
        connection.sendall(start)
        assert read_all(connection)[:13] == (b"HTTP/1.1 408 " if start else b"")


def test_control_without_a_bound_for_heads_it_is_waited_for(tmp_path: Path) -> None:
    with bounded(tmp_path, HEADER, NEVER) as server:
        connection = raw(server, timeout=3 * SOON)
        connection.sendall(b"POST /api/jobs HTTP/1.1\r\nHost: q\r\n")
        with pytest.raises(TimeoutError):
            connection.recv(1)


def test_a_head_that_comes_byte_by_byte_is_not_waited_for(tmp_path: Path) -> None:
    with bounded(tmp_path, HEADER, SOON) as server:
        connection = raw(server)
        begun = time.monotonic()
        rest = iter(b"GET /healthz HTTP/1.1\r\nHost: q\r\nX: " + b"x" * 1_000)
        wait_until(lambda: not send(connection, bytes([next(rest)])), "the end of a connection")
        assert time.monotonic() - begun < 5 * SOON


def test_a_connection_between_two_requests_may_rest_longer_than_a_head_may_take(tmp_path: Path) -> None:
    with bounded(tmp_path, HEADER, SOON) as server:
        connection = connect(server)
        for _ in range(2):
            connection.request("GET", "/healthz")
            assert connection.getresponse().read() == b'{"status":"ok"}'
            begun = time.monotonic()
            wait_until(lambda begun=begun: time.monotonic() - begun > 2 * SOON, "a rest")


def test_a_body_that_stops_is_refused(tmp_path: Path) -> None:
    with bounded(tmp_path, CHUNK, SOON) as server:
        connection = raw(server)
        connection.sendall(head("/api/jobs", f"Bearer {server.admin}", "Content-Length: 100000") + b"{")
        assert read_all(connection).startswith(b"HTTP/1.1 408 ")


def test_control_without_a_bound_for_bodies_it_is_waited_for(tmp_path: Path) -> None:
    with bounded(tmp_path, CHUNK, NEVER) as server:
        connection = raw(server, timeout=3 * SOON)
        connection.sendall(head("/api/jobs", f"Bearer {server.admin}", "Content-Length: 100000") + b"{")
        with pytest.raises(TimeoutError):
            connection.recv(1)


def test_the_oldest_idle_connection_makes_room(tmp_path: Path) -> None:
    project = Unprotected(tmp_path, "runwright.web.connection.MOST_CONNECTIONS=20")
    with serving(project, f"sqlite:///{tmp_path}/jobs.db") as server:
        idle = [raw(server) for _ in range(40)]
        with Healthy(server) as healthy:
            wait_until(lambda: len(healthy.times) > 30, "a healthy client")
        assert not healthy.errors
        assert read_all(idle[0]) == b""


# -- heads -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "bomb",
    [
        b"GET /healthz HTTP/1.1\r\nHost: q\r\n" + b"X: " + b"x" * MIB + b"\r\n\r\n",
        b"GET /healthz HTTP/1.1\r\nHost: q\r\n" + b"X: x\r\n" * 100_000 + b"\r\n",
        b"GET /" + b"x" * MIB + b" HTTP/1.1\r\nHost: q\r\n\r\n",
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + b"\x00" * 200 + b"\r\n\r\n",
        b"GET /healthz HTTP/one\r\n\r\n",
        b"GET /healthz HTTP/1.1\r\nHost: q\r\nContent-Length: -1\r\n\r\n",
        b"GET /healthz HTTP/1.1\r\nHost: q\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\n",
        b"POST /api/jobs HTTP/1.1\r\nHost: q\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n",
        b"\x00" * 10_000,
        b"\r\n" * 1_000,
    ],
    ids=["header", "headers", "target", "tls", "version", "length", "lengths", "chunk", "zeros", "lines"],
)
def test_heads_that_are_bombs_or_nonsense_end_their_connection(server: Server, bomb: bytes) -> None:
    with Healthy(server) as healthy:
        wait_until(lambda: len(healthy.times) > 30, "a healthy client")
        for _ in range(20):
            connection = raw(server)
            send(connection, bomb)
            with suppress(OSError):
                connection.shutdown(socket.SHUT_WR)
            answer = read_all(connection)
            assert not answer or answer.startswith((b"HTTP/1.1 400 ", b"HTTP/1.1 401 ")), answer[:200]
            if answer:
                assert "error" in json.loads(answer.partition(b"\r\n\r\n")[2])
    healthy.check()


def test_control_without_a_bound_for_heads_a_large_one_is_taken(tmp_path: Path) -> None:
    project = Unprotected(tmp_path, f"runwright.web.connection.HEADER_BYTES={4 * MIB}")
    with serving(project, f"sqlite:///{tmp_path}/jobs.db") as server:
        connection = raw(server)
        connection.sendall(b"GET /healthz HTTP/1.1\r\nHost: q\r\nX: " + b"x" * MIB + b"\r\n\r\n")
        assert connection.recv(100).startswith(b"HTTP/1.1 200 ")


# -- tokens ------------------------------------------------------------------------------------------------------


def test_ten_thousand_wrong_tokens_are_refused_soon_and_good_ones_are_not(server: Server) -> None:
    statuses: Counter[int] = Counter()
    with Healthy(server) as healthy:
        wait_until(lambda: len(healthy.times) > 3, "a healthy client")
        connection = connect(server)
        for number in range(10_000):
            kind = number % 4
            token = ("rw_" + f"{number:043}", f"{number:040x}", "Bearer", "x" * 5_000)[kind]
            scheme = "Bearer" if kind % 2 else "token-executor"
            headers = {
                "Authorization": f"{scheme} {token}",
                "X-Sourcegraph-Job-ID": "1",
                "X-Sourcegraph-Executor-Name": "w",
            }
            route = "markComplete" if kind == 1 else "dequeue" if kind < 3 else ""
            path = f"/.executors/queue/q/{route}" if route else "/api/jobs"
            connection.request("POST", path, b"{}", headers)
            answer = connection.getresponse()
            answer.read()
            statuses[answer.status] += 1
            if answer.status == 429:
                assert int(answer.headers["retry-after"]) >= 1
        late = server.token("worker")
        wait_until(
            lambda: server.work("/q/dequeue", {"executorName": "late"}, late).status == 204,
            "a token that was made during the attack",
        )
    print(statuses)
    assert statuses.keys() <= {401, 403, 429}
    assert statuses[429] > 9_000
    healthy.check()
    metrics = server.ask("GET", "/metrics").body.decode()
    assert "runwright_wrong_tokens_total 10000" in metrics


def test_control_without_the_bound_wrong_tokens_are_looked_up_for_ever(tmp_path: Path) -> None:
    project = Unprotected(tmp_path, "runwright.web.limits.WRONG_TOKENS=1000000")
    with serving(project, f"sqlite:///{tmp_path}/jobs.db") as server:
        headers = {"X-Sourcegraph-Job-ID": "1", "X-Sourcegraph-Executor-Name": "w"}
        for number in range(300):
            wrong = headers | {"Authorization": f"Bearer {number:040x}"}
            server.ask("POST", "/.executors/queue/q/markComplete", {}, wrong).refused(401)


def test_another_jobs_token_opens_nothing(server: Server) -> None:
    queue = fresh("q")
    for _ in range(2):
        server.submit(queue)
    mine, other = Held(server, queue), Held(server, queue, "w2")
    for _ in range(100):
        mine.say("markComplete", jobId=other.id).refused(403)
    assert server.state(other.id) == "processing"
    assert other.say("markComplete").status == 204
    server.ask("GET", f"/api/jobs/{other.id}", None, {"Authorization": f"Bearer {mine.token}"}).refused(401)


# -- answers that nobody reads ------------------------------------------------------------------------------------


def test_those_who_read_no_answer_hold_little(server: Server) -> None:
    queue = fresh("q")
    server.submit(queue)
    held = Held(server, queue)
    held.say("addExecutionLogEntry", key="k")
    for part in range(8):
        body = {"key": "k", "entryId": 1, "out": "x" * MIB, "outOffset": part * MIB}
        assert held.say("updateExecutionLogEntry", **body).status == 204
    before = server.rss()
    with Healthy(server) as healthy:
        lazy = [raw(server) for _ in range(100)]
        request = (
            f"GET /api/jobs/{held.id}/logs?follow=true HTTP/1.1\r\nHost: q\r\n"
            f"Authorization: Bearer {server.admin}\r\n\r\n"
        ).encode()
        for connection in lazy:
            connection.sendall(request)
        wait_until(lambda: len(healthy.times) > 100, "a healthy client")
        for connection in lazy:
            connection.close()
    healthy.check()
    assert server.rss() - before < 100 * MIB


def test_more_followers_than_there_may_be_are_told(tmp_path: Path) -> None:
    project = Unprotected(tmp_path, "runwright.web.api.MOST_FOLLOWERS=2")
    with serving(project, f"sqlite:///{tmp_path}/jobs.db") as server:
        job_id = server.submit("q")
        followers = [connect(server) for _ in range(2)]
        for connection in followers:
            headers = {"Authorization": f"Bearer {server.admin}"}
            connection.request("GET", f"/api/jobs/{job_id}/logs?follow=true", None, headers)
            connection.getresponse()
        server.api("GET", f"/jobs/{job_id}/logs?follow=true").refused(503)
        for connection in followers:
            connection.close()
        wait_until(
            lambda: server.api("GET", f"/jobs/{job_id}/logs").status == 200,
            "an answer that is not followed",
        )


# -- life --------------------------------------------------------------------------------------------------------


def test_a_server_that_is_told_to_stop_ends_what_waits_in_good_order(server: Server) -> None:
    job_id = server.submit("other")
    answers: list[Any] = []

    def wait_for_job() -> None:
        answers.append(server.work("/q/dequeue", {"executorName": "w", "waitSeconds": 50}))

    def follow() -> None:
        answers.append(server.api("GET", f"/jobs/{job_id}/logs?follow=true"))

    threads = [threading.Thread(target=each) for each in (wait_for_job, follow)]
    for thread in threads:
        thread.start()
    port = f":{urlsplit(server.url).port:04X}"
    wait_until(lambda: Path("/proc/net/tcp").read_text().count(f"{port} ") >= 4, "two requests under way")
    begun = time.monotonic()
    assert server.stop() == 0
    assert time.monotonic() - begun < 10
    for thread in threads:
        thread.join()
    assert sorted(answer.status for answer in answers) == [200, 204]
    (followed,) = [answer for answer in answers if answer.status == 200]
    assert json.loads(followed.body.splitlines()[-1])["kind"] == "end"


def test_jobs_tokens_and_leases_outlive_the_server(tmp_path: Path) -> None:
    project, store = Project(tmp_path), f"sqlite:///{tmp_path}/jobs.db"
    first = Server(project, store, "--lease", "60s")
    job = {"redactedValues": {"hunter22": "PW"}, "dockerSteps": [{"image": "i", "commands": ["true"]}]}
    first.submit("q", job)
    kept = first.submit("q", job)
    held = Held(first, "q")
    held.say("addExecutionLogEntry", key="k")
    os.killpg(first.process.pid, 9)
    stop(first.process)
    assert not [path for path in tmp_path.iterdir() if b"hunter22" in path.read_bytes()]
    with serving(project, store, "--lease", "60s") as second:
        held.server = second
        body = {"key": "k", "entryId": 1, "out": "still here"}
        assert held.say("updateExecutionLogEntry", **body).status == 204
        assert held.say("markComplete").status == 204
        assert Held(second, "q").document["redactedValues"] == {"hunter22": "PW"}
        assert second.state(kept) == "processing"


@contextmanager
def certificate(folder: Path) -> Iterator[tuple[Path, Path]]:
    """Make a certificate for loopback that signs itself."""
    import datetime
    from ipaddress import ip_address

    from cryptography import x509
    from cryptography.hazmat.primitives import hashes, serialization
    from cryptography.hazmat.primitives.asymmetric import ec

    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "queue")])
    now = datetime.datetime.now(datetime.UTC)
    made = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(1)
        .not_valid_before(now - datetime.timedelta(days=1))
        .not_valid_after(now + datetime.timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([x509.IPAddress(ip_address("127.0.0.1"))]), critical=False)
        .sign(key, hashes.SHA256())
    )
    chain, secret = folder / "cert.pem", folder / "key.pem"
    chain.write_bytes(made.public_bytes(serialization.Encoding.PEM))
    secret.write_bytes(
        key.private_bytes(
            serialization.Encoding.PEM,
            serialization.PrivateFormat.PKCS8,
            serialization.NoEncryption(),
        )
    )
    yield chain, secret


def test_it_speaks_tls_if_it_has_a_certificate(tmp_path: Path) -> None:
    with certificate(tmp_path) as (chain, secret):
        words = ("--tls-cert", str(chain), "--tls-key", str(secret))
        with serving(Project(tmp_path), f"sqlite:///{tmp_path}/jobs.db", *words) as server:
            assert server.url.startswith("https://127.0.0.1:")
            context = ssl.create_default_context(cafile=str(chain))
            connection = http.client.HTTPSConnection(urlsplit(server.url).netloc, context=context, timeout=30)
            connection.request("GET", "/healthz")
            assert connection.getresponse().read() == b'{"status":"ok"}'
            connection.close()
            plain = raw(server)
            plain.sendall(b"GET /healthz HTTP/1.1\r\nHost: q\r\n\r\n")
            assert b"200 OK" not in read_all(plain)
