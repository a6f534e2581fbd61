"""The application of the server, asked directly: what a running server seldom meets."""

import asyncio
import json
from collections.abc import Callable, Coroutine
from typing import Any

import pytest
from queue_bench import STEPS, Bench

from runwright.core.errors import InternalError, StoreCorrupt, StoreError
from runwright.core.job_rows import TokenRole, WorkerRow
from runwright.core.tokens import digest_of
from runwright.testing.jobs import MemoryJobStore
from runwright.testing.system import START, FakeClock
from runwright.web import api, limits
from runwright.web.app import build_app
from runwright.web.limits import WRONG_TOKENS, WRONG_TOKENS_OVERALL, BodyLimits, WrongTokens, network_of

ADMIN = "rw_" + "a" * 43
WORKER = "rw_" + "w" * 43
AS_ADMIN = {"authorization": f"Bearer {ADMIN}"}
AS_WORKER = {"authorization": f"token-executor {WORKER}"}

Message = dict[str, Any]


class Client:
    """Asks an application, as a server of HTTP would.

    Attributes:
        bench: The queue behind it.
    """

    def __init__(self, bench: Bench) -> None:
        self.bench = bench
        self.app = build_app(bench.queue, BodyLimits(submit_bytes=2_000_000, other_bytes=1_000))

    async def ask(
        self,
        method: str,
        path: str,
        body: Any = None,
        headers: dict[str, str] | None = None,
        receive: Callable[[], Coroutine[Any, Any, Message]] | None = None,
        send: Callable[[Message], Coroutine[Any, Any, None]] | None = None,
        host: str = "192.0.2.1",
    ) -> tuple[int, dict[str, str], Any]:
        """Send one request and return status, headers and decoded body of the answer."""
        data = b"" if body is None else body if isinstance(body, bytes) else json.dumps(body).encode()
        sent: list[Message] = []
        parts = iter([{"type": "http.request", "body": data, "more_body": False}])

        async def give() -> Message:
            for part in parts:
                return part
            await asyncio.Event().wait()
            raise AssertionError

        async def take(message: Message) -> None:
            sent.append(message)

        place, _, query = path.partition("?")
        named = {"content-length": str(len(data)), **(headers or {})}
        scope = {
            "type": "http",
            "method": method,
            "path": place,
            "raw_path": place.encode(),
            "query_string": query.encode(),
            "headers": [(name.encode(), value.encode()) for name, value in named.items()],
            "client": (host, 1),
            "server": ("queue", 80),
            "scheme": "http",
            "root_path": "",
            "http_version": "1.1",
        }
        await self.app(scope, receive or give, send or take)
        found = {name.decode(): value.decode() for name, value in sent[0]["headers"]} if sent else {}
        text = b"".join(message.get("body", b"") for message in sent)
        is_json = found.get("content-type") == "application/json"
        return (sent[0]["status"] if sent else 0), found, json.loads(text) if text and is_json else text


def run(main: Callable[[Client], Coroutine[Any, Any, None]], store: MemoryJobStore | None = None) -> None:
    """Run a test on the fake clock, with an admin and a worker."""

    async def whole(bench: Bench) -> None:
        await bench.store.add_token("ann", TokenRole.ADMIN, digest_of(ADMIN), START)
        await bench.store.add_token("w", TokenRole.WORKER, digest_of(WORKER), START)
        await main(Client(bench))

    Bench(store=store).run(whole)


class FailingStore(MemoryJobStore):
    """Fails in the way it is told."""

    error: Exception | None = None

    async def queues(self) -> list:
        if self.error is not None:
            raise self.error
        return await super().queues()


@pytest.mark.parametrize(
    ("error", "status", "part"),
    [
        (StoreError("the disk is gone"), 503, "can't be reached"),
        (StoreCorrupt("rows contradict"), 500, "damaged"),
        (InternalError("it went wrong here"), 500, "bug"),
        (ZeroDivisionError("it went wrong here"), 500, "bug"),
    ],
)
def test_errors_are_json_and_their_reason_is_in_the_log_alone(
    capsys: pytest.CaptureFixture[str], error: Exception, status: int, part: str
) -> None:
    store = FailingStore()

    async def main(client: Client) -> None:
        store.error = error
        answer = await client.ask("GET", "/api/queues", headers=AS_ADMIN)
        assert answer[0] == status
        assert part in answer[2]["error"]
        assert str(error) not in answer[2]["error"]
        assert ("retry-after" in answer[1]) is (status == 503)

    run(main, store)
    assert str(error) in capsys.readouterr().err


def test_a_large_job_is_decoded_in_a_thread(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(api, "LARGE_BYTES", 10)

    class Real:
        def now(self) -> Any:
            return START

        def monotonic(self) -> float:
            return asyncio.get_running_loop().time()

        async def sleep(self, seconds: float) -> None:
            await asyncio.sleep(seconds)

    async def main() -> None:
        bench = Bench()
        bench.queue.tokens._clock = Real()
        await bench.store.add_token("ann", TokenRole.ADMIN, digest_of(ADMIN), START)
        client = Client(bench)
        body = {"queue": "q", "job": STEPS}
        assert (await client.ask("POST", "/api/jobs", body, AS_ADMIN))[2] == {"id": 1}
        wrong = {"queue": "q", "job": {"dockerSteps": ["none of these is a step"]}}
        assert (await client.ask("POST", "/api/jobs", wrong, AS_ADMIN))[0] == 422

    asyncio.run(main())


def test_a_worker_that_goes_away_while_it_waits_gets_no_job() -> None:
    async def main(client: Client) -> None:
        gone = asyncio.Event()
        parts = iter(
            [{"type": "http.request", "body": b'{"executorName":"w","waitSeconds":50}', "more_body": False}]
        )

        async def receive() -> Message:
            for part in parts:
                return part
            await gone.wait()
            return {"type": "http.disconnect"}

        asking = asyncio.ensure_future(
            client.ask("POST", "/.executors/queue/q/dequeue", headers=AS_WORKER, receive=receive)
        )
        await asyncio.sleep(1)
        gone.set()
        assert (await asking)[0] == 499
        job_id = await client.bench.submit()
        await asyncio.sleep(1)
        assert (await client.bench.store.job(job_id)).attempt == 0

    run(main)


def test_a_body_that_breaks_off_does_nothing() -> None:
    async def main(client: Client) -> None:
        parts = iter(
            [
                {"type": "http.request", "body": b"{", "more_body": True},
                {"type": "http.disconnect"},
            ]
        )

        async def receive() -> Message:
            return next(parts)

        headers = AS_ADMIN | {"content-length": "100"}
        assert (await client.ask("POST", "/api/jobs", headers=headers, receive=receive))[0] == 499

    run(main)


@pytest.mark.parametrize("pause", [16.0, 1.0])
def test_a_body_that_comes_too_slowly_is_refused(pause: float) -> None:
    async def main(client: Client) -> None:
        async def receive() -> Message:
            await asyncio.sleep(pause)
            return {"type": "http.request", "body": b" ", "more_body": True}

        headers = AS_ADMIN | {"content-length": "1000"}
        answer = await client.ask("POST", "/api/jobs", headers=headers, receive=receive)
        assert answer[0] == 408
        assert client.bench.clock.monotonic() < 60

    run(main)


@pytest.mark.parametrize("length", ["x", "-1", "1001", ""])
def test_a_body_that_says_it_is_too_large_is_not_read(length: str) -> None:
    async def main(client: Client) -> None:
        async def receive() -> Message:
            return {"type": "http.disconnect"}

        headers = AS_WORKER | {"content-length": length}
        path = "/.executors/queue/q/dequeue"
        assert (await client.ask("POST", path, headers=headers, receive=receive))[0] == 413

    run(main)


def test_bodies_are_bounded_together_and_counted_down(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(limits, "HELD_BYTES", 10)

    async def main(client: Client) -> None:
        answer = await client.ask("POST", "/api/jobs", b"x" * 11, AS_ADMIN)
        assert answer[0] == 503
        for _ in range(5):
            assert (await client.ask("POST", "/api/jobs", b"x" * 10, AS_ADMIN))[0] == 400

    run(main)


def test_an_answer_that_nobody_takes_is_given_up_without_a_word(capsys: pytest.CaptureFixture[str]) -> None:
    async def main(client: Client) -> None:
        async def send(message: Message) -> None:
            await asyncio.Event().wait()

        with pytest.raises(TimeoutError):
            await client.ask("GET", "/healthz", send=send)
        assert client.bench.clock.monotonic() == 60

    run(main)
    assert capsys.readouterr().err == ""


def test_an_error_while_a_log_is_followed_is_in_the_log(capsys: pytest.CaptureFixture[str]) -> None:
    class Broken(MemoryJobStore):
        async def entries(self, job_id: int) -> list:
            raise StoreError("the disk is gone")

    async def main(client: Client) -> None:
        job_id = await client.bench.submit()
        with pytest.raises((StoreError, ExceptionGroup)):
            await client.ask("GET", f"/api/jobs/{job_id}/logs?follow=true", headers=AS_ADMIN)

    run(main, Broken())
    assert "the disk is gone" in capsys.readouterr().err


def test_metrics_of_workers_are_passed_on_line_by_line() -> None:
    samples = """
# HELP a b
good 1
good{x="y",} 2
with_time{x="y"} 3 1700000000
runwright_jobs{queue="q"} 99
bad{ 1
bad NaN-ish
infinite +Inf
"""

    async def main(client: Client) -> None:
        for name, seen in (('w"1', 0.0), ("old", -100.0)):
            row = WorkerRow(name=name, metrics=samples)
            at = client.bench.queue.clock.now()
            await client.bench.store.note_worker(row, at.fromtimestamp(at.timestamp() + seen, at.tzinfo))
        text = (await client.ask("GET", "/metrics"))[2].decode()
        found = [line for line in text.splitlines() if "runwright_worker=" in line]
        assert found == [
            'good{runwright_worker="w\\"1"} 1',
            'good{x="y",runwright_worker="w\\"1"} 2',
            'with_time{x="y",runwright_worker="w\\"1"} 3',
            'infinite{runwright_worker="w\\"1"} +Inf',
        ]
        assert "99" not in text
        await client.bench.submit()
        assert (await client.ask("GET", "/metrics"))[2].decode() == text
        await asyncio.sleep(1)
        assert (
            'runwright_jobs{queue="q",state="queued"} 1' in (await client.ask("GET", "/metrics"))[2].decode()
        )

    run(main)


def test_wrong_tokens_are_counted_by_address_and_over_all() -> None:
    clock = FakeClock()

    async def main() -> None:
        wrong = WrongTokens(clock)
        for _ in range(WRONG_TOKENS):
            assert wrong.wait_seconds("192.0.2.1") == 0
            wrong.count("192.0.2.1")
        assert wrong.wait_seconds("192.0.2.1") == 60
        assert wrong.wait_seconds("192.0.2.2") == 0
        await clock.sleep(60)
        assert wrong.wait_seconds("192.0.2.1") == 0
        for number in range(WRONG_TOKENS_OVERALL):
            wrong.count(f"2001:db8:{number:x}::1")
        assert wrong.wait_seconds("192.0.2.3") == 60
        assert wrong.total == WRONG_TOKENS + WRONG_TOKENS_OVERALL

    clock.run(main())


def test_addresses_are_forgotten_when_there_are_too_many(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(limits, "MOST_ADDRESSES", 3)
    monkeypatch.setattr(limits, "WRONG_TOKENS", 1)
    wrong = WrongTokens(FakeClock())
    for number in range(5):
        wrong.count(f"192.0.2.{number}")
    assert [wrong.wait_seconds(f"192.0.2.{number}") > 0 for number in range(5)] == [
        False,
        False,
        True,
        True,
        True,
    ]


def test_neighbours_in_ipv6_are_one() -> None:
    assert network_of("2001:db8::1") == network_of("2001:db8::ffff:1")
    assert network_of("2001:db8::1") != network_of("2001:db8:1::1")
    assert network_of("fe80::1%eth0") == network_of("fe80::2")
    assert network_of("192.0.2.1") == "192.0.2.1"
    assert network_of("no address") == "no address"


def test_unknown_tokens_of_leases_are_looked_up_now_and_then_when_there_are_too_many() -> None:
    async def main(client: Client) -> None:
        await client.bench.submit()
        given = await client.bench.given()
        headers = {"x-sourcegraph-job-id": "1", "x-sourcegraph-executor-name": "w"}

        async def say(token: str) -> int:
            path = "/.executors/queue/q/addExecutionLogEntry"
            body = {"executorName": "w", "jobId": 1, "key": "k"}
            wrong = headers | {"authorization": f"Bearer {token}"}
            return (await client.ask("POST", path, body, wrong))[0]

        statuses = [await say(f"{number:040x}") for number in range(2, 202)]
        assert statuses[:100] == [401] * 100
        assert statuses.count(401) == 120
        assert set(statuses[120:]) == {429}
        assert await say(given.job.token) == 200
        client.bench.queue.tokens._leases.clear()
        assert await say(given.job.token) == 429
        await asyncio.sleep(1)
        assert await say(given.job.token) == 200

    run(main)


def test_old_workers_are_asked_for_a_job_that_is_theirs() -> None:
    async def main(client: Client) -> None:
        await client.bench.submit()
        await client.bench.queue.dequeue(_ask(), "q", token_id=2)
        body = {"executorName": "w", "jobId": 1}
        path = "/.executors/queue/q/markComplete"
        assert (await client.ask("POST", path, body, AS_WORKER))[0] == 204
        assert (await client.ask("POST", path, body, AS_WORKER))[0] in (204, 404)
        row = await client.bench.store.job(1)
        assert row.has_ended

    run(main)


def _ask() -> Any:
    from runwright.core.job_wire import DequeueRequest

    return DequeueRequest(executor_name="w")
