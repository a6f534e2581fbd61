"""The client of the queue's server: addresses, certificates, and logs that break off."""

import asyncio
import ssl
import subprocess
from pathlib import Path
from typing import Any

import msgspec
import pytest
from puppet_server import puppet
from served_queue import QueueServer

from runwright.adapters.http.connection import Server, checked_url, trusted
from runwright.adapters.http.job_source import HttpJobSource
from runwright.adapters.http.queue_api import HttpQueue
from runwright.core.errors import JobNotFound, Refused, RemoteError, UsageError
from runwright.core.job_rows import JobFilter
from runwright.core.job_wire import DequeueRequest
from runwright.testing import FakeClock


@pytest.mark.parametrize(
    "url",
    [
        "",
        "queue.example.com",
        "ftp://x",
        "http://",
        "http://x:99999",
        "http://x:0",
        "https://x/?a=b",
        "http://x#y",
    ],
)
def test_what_is_no_address_is_refused(url: str) -> None:
    with pytest.raises(UsageError, match="no address"):
        checked_url(url)


def test_passwords_do_not_belong_into_addresses() -> None:
    with pytest.raises(UsageError, match="a user or a password") as caught:
        checked_url("https://me:geheim@queue.example.com")
    assert "geheim" not in str(caught.value)
    with pytest.raises(UsageError) as caught:
        checked_url("me:geheim@queue.example.com")
    assert "geheim" not in str(caught.value)


def test_a_slash_at_the_end_is_no_part_of_an_address() -> None:
    assert checked_url("https://queue.example.com/under/") == "https://queue.example.com/under"


def test_certificates_are_looked_at_unless_there_are_none(tmp_path: Path) -> None:
    assert trusted(Server(url="http://x")) is False
    context = trusted(Server(url="https://x"))
    assert isinstance(context, ssl.SSLContext)
    assert context.verify_mode is ssl.CERT_REQUIRED
    assert context.check_hostname
    (tmp_path / "ca.pem").write_text("nonsense")
    for name in ("ca.pem", "missing.pem"):
        with pytest.raises(UsageError, match="can't be used as certificates"):
            trusted(Server(url="https://x", ca_file=tmp_path / name))


def test_a_server_with_a_certificate_of_ones_own(tmp_path: Path) -> None:
    subprocess.run(
        "openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -keyout key.pem -out cert.pem "
        "-days 2 -subj /CN=localhost -addext subjectAltName=DNS:localhost",
        shell=True,
        cwd=tmp_path,
        check=True,
        capture_output=True,
    )
    with QueueServer(tmp_path, "--tls-cert", "cert.pem", "--tls-key", "key.pem") as server:
        url = server.url.replace("http://127.0.0.1", "https://localhost")

        async def checked(about: Server) -> None:
            source = HttpJobSource(about, server.worker_token, "w", ("q",))
            try:
                await source.check()
            finally:
                await source.close()

        asyncio.run(checked(Server(url=url, ca_file=tmp_path / "cert.pem")))
        with pytest.raises(RemoteError, match="certificate"):
            asyncio.run(checked(Server(url=url)))
        other_name = url.replace("localhost", "127.0.0.1")
        with pytest.raises(RemoteError, match="certificate"):
            asyncio.run(checked(Server(url=other_name, ca_file=tmp_path / "cert.pem")))


def test_the_token_does_not_follow_a_redirect() -> None:
    async def test() -> None:
        there = puppet(b"HTTP/1.1 204 No Content\r\n\r\n")
        async with there as target:
            sent_on = f"HTTP/1.1 307 Temporary Redirect\r\nLocation: {target}/x\r\nContent-Length: 0\r\n\r\n"
            here = puppet(sent_on.encode())
            async with here as url:
                source = HttpJobSource(Server(url=url), "geheim", "w", ("q",))
                with pytest.raises(RemoteError, match="not followed"):
                    await source.dequeue(DequeueRequest(executor_name="w"))
                await source.close()
        assert "geheim" in here.heads[0]
        assert there.heads == []

    asyncio.run(test())


# -- logs that are followed ---------------------------------------------------------------------------------------


def lines(*news: dict[str, Any]) -> bytes:
    body = b"".join(msgspec.json.encode(each) + b"\n" for each in news)
    return b"HTTP/1.1 200 OK\r\nConnection: close\r\n\r\n" + body


def entry(exit_code: int | None = None) -> dict[str, Any]:
    return {"kind": "entry", "attempt": 1, "entry": 1, "key": "one", "exitCode": exit_code}


def out(offset: int, text: str) -> dict[str, Any]:
    return {"kind": "out", "attempt": 1, "entry": 1, "offset": offset, "out": text}


def end(state: str) -> dict[str, Any]:
    return {"kind": "end", "state": state, "attempt": 1, "message": ""}


def followed(*answers: bytes) -> list[dict[str, Any]]:
    """Return what is told of a log by a server that gives these answers."""

    class Hasty(FakeClock):
        async def sleep(self, seconds: float) -> None:
            await asyncio.sleep(0)

    async def test() -> list[dict[str, Any]]:
        async with puppet(*answers) as url:
            api = HttpQueue(Server(url=url), "t", Hasty(), lambda: 0.5)
            try:
                return [dict(news) async for news in api.follow(1)]
            finally:
                await api.close()

    return asyncio.run(test())


def test_a_log_that_breaks_off_goes_on_where_it_was() -> None:
    told = followed(
        lines(entry(), out(0, "ab"), out(2, "cd")),
        b"HTTP/1.1 503 Service Unavailable\r\nContent-Length: 0\r\n\r\n",
        lines(entry(), out(0, "abcdef"), end("processing")),
        lines(
            entry(),
            out(0, "abc"),
            out(3, "def"),
            entry(0),
            {"kind": "new in some later version"},
            end("completed"),
        ),
    )
    assert [news["kind"] for news in told] == ["entry", "out", "out", "out", "entry", "end"]
    assert "".join(news["out"] for news in told if news["kind"] == "out") == "abcdef"
    assert told[3]["offset"] == 4
    assert told[-1]["state"] == "completed"


def test_a_server_that_stays_away_is_given_up() -> None:
    with pytest.raises(RemoteError, match="503"):
        followed(b"HTTP/1.1 503 Service Unavailable\r\nContent-Length: 0\r\n\r\n")


@pytest.mark.parametrize(("status", "kind"), [("404 Not Found", JobNotFound), ("403 Forbidden", Refused)])
def test_what_is_turned_down_is_not_asked_for_again(status: str, kind: type[Exception]) -> None:
    with pytest.raises(kind):
        followed(f"HTTP/1.1 {status}\r\nContent-Length: 0\r\n\r\n".encode())


@pytest.mark.parametrize(
    ("answer", "text"),
    [
        (b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n{}", "no list"),
        (b'HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\n{"jobs":[1]', "no list|can't be read"),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nnull", "can't be read"),
        (b'HTTP/1.1 422 X\r\nContent-Length: 17\r\n\r\n{"problems": [5]}', "problems"),
        (b'HTTP/1.1 422 X\r\nContent-Length: 16\r\n\r\n{"error": "oh" }', "oh"),
        (b"HTTP/1.1 500 X\r\nContent-Length: 0\r\n\r\n", "status 500"),
    ],
)
def test_strange_answers_are_errors_of_the_server(answer: bytes, text: str) -> None:
    async def test() -> None:
        async with puppet(answer) as url:
            api = HttpQueue(Server(url=url), "t", FakeClock(), lambda: 0.5)
            with pytest.raises(RemoteError, match=text):
                await api.jobs(JobFilter())
            await api.close()

    asyncio.run(test())
