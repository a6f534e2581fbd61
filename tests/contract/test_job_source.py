"""What a worker may expect of a queue, on every way to one."""

import asyncio
from collections.abc import Awaitable, Callable, Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Protocol

import msgspec
import pytest
from puppet_server import puppet
from served_queue import QueueServer

from runwright.adapters.clock import SystemClock
from runwright.adapters.http.connection import Server
from runwright.adapters.http.job_source import HttpJobSource
from runwright.adapters.http.queue_api import HttpQueue
from runwright.core.errors import (
    ConflictError,
    DefinitionError,
    JobHasEnded,
    JobNotFound,
    LeaseLost,
    Refused,
    RemoteError,
)
from runwright.core.job import Job, encode_job
from runwright.core.job_rows import JobFilter
from runwright.core.job_wire import (
    DequeueRequest,
    ExecutionLogEntry,
    HeartbeatRequest,
    QueueJobIds,
    SubmitRequest,
)
from runwright.ports.jobs import GivenJob, JobSource
from runwright.testing import MemorySource

QUEUES = ("build", "test-more")
LEASE = 3.0
NOW = datetime(2026, 1, 2, tzinfo=UTC)
STEP = msgspec.json.decode(b'{"key": "one", "image": "i", "commands": ["true"], "dir": "", "env": []}')


class Bench(Protocol):
    """A queue, and what is behind it."""

    source: JobSource

    async def submit(self, queue: str, labels: tuple[str, ...] = ()) -> int: ...

    async def cancel(self, job_id: int) -> None: ...

    async def state(self, job_id: int) -> str: ...

    async def output(self, job_id: int) -> str: ...


class MemoryBench:
    def __init__(self) -> None:
        self.memory = MemorySource(SystemClock(), LEASE)
        self.source: JobSource = self.memory

    async def submit(self, queue: str, labels: tuple[str, ...] = ()) -> int:
        return self.memory.add(Job(repository_name="r"), queue, labels)

    async def cancel(self, job_id: int) -> None:
        self.memory.cancel(job_id)

    async def state(self, job_id: int) -> str:
        job = self.memory.jobs[job_id]
        canceled = job.is_canceled and job.verdict == "failed"
        return (
            "canceled" if canceled else job.verdict or ("queued" if job.lease_until is None else "processing")
        )

    async def output(self, job_id: int) -> str:
        return "".join(entry.out for entry in self.memory.jobs[job_id].log)


class HttpBench:
    def __init__(self, server: QueueServer, queues: tuple[str, ...]) -> None:
        where = Server(url=server.url)
        self.source: JobSource = HttpJobSource(where, server.worker_token, "w", queues)
        self.api = HttpQueue(where, server.admin_token, SystemClock(), lambda: 0.5)

    async def submit(self, queue: str, labels: tuple[str, ...] = ()) -> int:
        return await self.api.submit(ask_for(queue, labels=labels))

    async def cancel(self, job_id: int) -> None:
        await self.api.cancel(job_id)

    async def state(self, job_id: int) -> str:
        state: str = (await self.api.job(job_id))["state"]
        return state

    async def output(self, job_id: int) -> str:
        return "".join(entry["out"] for entry in await self.api.log(job_id))


def ask_for(queue: str, **about: Any) -> SubmitRequest:
    job = msgspec.json.encode({"repositoryName": "r", "commit": "c", "dockerSteps": [STEP]})
    return SubmitRequest(queue=queue, job=msgspec.Raw(job), **about)


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[QueueServer]:
    with QueueServer(tmp_path_factory.mktemp("queue"), "--lease", f"{LEASE:g}s") as running:
        yield running


@pytest.fixture(params=["memory", "http, one queue", "http, two queues"])
def make_bench(request: pytest.FixtureRequest) -> Callable[[], Bench]:
    if request.param == "memory":
        return MemoryBench
    server = request.getfixturevalue("server")
    queues = QUEUES[:1] if request.param == "http, one queue" else QUEUES
    return lambda: HttpBench(server, queues)


def run(make_bench: Callable[[], Bench], test: Callable[[Bench], Awaitable[None]]) -> None:
    async def inside() -> None:
        bench = make_bench()
        try:
            await emptied(bench)
            await test(bench)
        finally:
            await bench.source.close()
            await bench.source.close()
            if isinstance(bench, HttpBench):
                await bench.api.close()

    asyncio.run(inside())


async def emptied(bench: Bench) -> None:
    """Take what an earlier test left behind."""
    while (left := await bench.source.dequeue(ask())) is not None:
        await bench.source.complete(left)


def ask(**about: Any) -> DequeueRequest:
    about = {"executor_name": "w", "version": "dev", "boot_id": "b", "queues": QUEUES} | about
    return DequeueRequest(**about)


def beat(*given: GivenJob, **about: Any) -> HeartbeatRequest:
    groups = tuple(
        QueueJobIds(queue_name=name, job_ids=tuple(one.job.id for one in given if one.queue == name))
        for name in QUEUES
    )
    about = {"executor_name": "w", "boot_id": "b", "queue_names": QUEUES, "job_ids_by_queue": groups} | about
    return HeartbeatRequest(**about)


async def got(bench: Bench) -> GivenJob:
    number = await bench.submit(QUEUES[0])
    given = await bench.source.dequeue(ask())
    assert given is not None
    assert given.job.id == number
    return given


def test_a_job_is_given_with_what_its_lease_needs(make_bench: Callable[[], Bench]) -> None:
    async def test(bench: Bench) -> None:
        given = await got(bench)
        assert given.queue == QUEUES[0]
        assert given.attempt == 1
        assert given.lease_seconds == LEASE
        assert given.job.token
        assert given.job.repository_name == "r"
        assert given.uid == f"{given.job.id}-{QUEUES[0]}"
        assert await bench.source.dequeue(ask()) is None
        assert await bench.state(given.job.id) == "processing"
        await bench.source.complete(given)

    run(make_bench, test)


def test_a_job_comes_with_what_it_asks_for(make_bench: Callable[[], Bench]) -> None:
    async def test(bench: Bench) -> None:
        labels = ("größer", "runtime=shell")
        await bench.submit(QUEUES[0], labels)
        assert await bench.source.dequeue(ask(labels=("runtime=shell",))) is None
        given = await bench.source.dequeue(ask(labels=("gpu", *labels)))
        assert given is not None
        assert given.labels == labels
        await bench.source.complete(given)

    run(make_bench, test)


def test_a_question_waits_for_a_job(make_bench: Callable[[], Bench]) -> None:
    async def test(bench: Bench) -> None:
        asking = asyncio.create_task(bench.source.dequeue(ask(wait_seconds=30.0)))
        number = await bench.submit(QUEUES[0])
        async with asyncio.timeout(20):
            given = await asking
        assert given is not None
        assert given.job.id == number
        await bench.source.complete(given)

    run(make_bench, test)


def test_a_question_ends_with_the_time_that_it_allows(make_bench: Callable[[], Bench]) -> None:
    async def test(bench: Bench) -> None:
        begun = asyncio.get_running_loop().time()
        assert await bench.source.dequeue(ask(wait_seconds=0.3)) is None
        assert asyncio.get_running_loop().time() - begun >= 0.25

    run(make_bench, test)


def test_heartbeats_keep_the_lease_and_tell_what_is_held(make_bench: Callable[[], Bench]) -> None:
    async def test(bench: Bench) -> None:
        given = await got(bench)
        until = asyncio.get_running_loop().time() + 2 * LEASE
        while asyncio.get_running_loop().time() < until:
            answer = await bench.source.heartbeat(beat(given))
            assert answer.known_ids == (given.uid,)
            assert answer.cancel_ids == ()
            await asyncio.sleep(LEASE / 6)
        await bench.source.complete(given)
        assert (await bench.source.heartbeat(beat(given))).known_ids == ()

    run(make_bench, test)


def test_a_restarted_worker_holds_nothing_of_what_it_had(make_bench: Callable[[], Bench]) -> None:
    async def test(bench: Bench) -> None:
        given = await got(bench)
        answer = await bench.source.heartbeat(beat(given, boot_id="another"))
        assert answer.known_ids == ()
        await bench.source.complete(given)

    run(make_bench, test)


def test_a_lease_that_is_not_kept_passes_on(make_bench: Callable[[], Bench]) -> None:
    async def test(bench: Bench) -> None:
        first = await got(bench)
        second = None
        async with asyncio.timeout(60):
            while second is None:
                second = await bench.source.dequeue(ask(wait_seconds=1.0))
        assert second.job.id == first.job.id
        assert second.attempt == 2
        for refused in (
            lambda: bench.source.complete(first),
            lambda: bench.source.errored(first, "late", is_final=True),
            lambda: bench.source.hand_back(first, "late"),
            lambda: bench.source.add_entry(first, ExecutionLogEntry(key="late")),
        ):
            with pytest.raises(LeaseLost):
                await refused()
        await bench.source.complete(second)
        assert await bench.state(first.job.id) == "completed"

    run(make_bench, test)


def test_a_verdict_may_be_said_again(make_bench: Callable[[], Bench]) -> None:
    async def test(bench: Bench) -> None:
        given = await got(bench)
        await bench.source.complete(given)
        await bench.source.complete(given)
        with pytest.raises(LeaseLost):
            await bench.source.errored(given, "no", is_final=False)
        assert await bench.state(given.job.id) == "completed"

    run(make_bench, test)


def test_failures_end_a_job(make_bench: Callable[[], Bench]) -> None:
    async def test(bench: Bench) -> None:
        given = await got(bench)
        await bench.source.errored(given, "step 1 failed", is_final=True)
        assert await bench.state(given.job.id) == "failed"

    run(make_bench, test)


def test_a_job_that_is_handed_back_is_given_again(make_bench: Callable[[], Bench]) -> None:
    async def test(bench: Bench) -> None:
        given = await got(bench)
        await bench.source.hand_back(given, "draining")
        again = await bench.source.dequeue(ask(wait_seconds=5.0))
        assert again is not None
        assert (again.job.id, again.attempt) == (given.job.id, 2)
        await bench.source.complete(again)

    run(make_bench, test)


def test_a_job_to_cancel_is_told_and_ends_so(make_bench: Callable[[], Bench]) -> None:
    async def test(bench: Bench) -> None:
        given = await got(bench)
        await bench.cancel(given.job.id)
        answer = await bench.source.heartbeat(beat(given))
        assert answer.cancel_ids == (given.uid,)
        assert answer.known_ids == (given.uid,)
        await bench.source.errored(given, "canceled", is_final=True)
        assert await bench.state(given.job.id) == "canceled"

    run(make_bench, test)


def test_a_log_grows_by_offset(make_bench: Callable[[], Bench]) -> None:
    async def test(bench: Bench) -> None:
        given = await got(bench)
        entry = ExecutionLogEntry(key="step.docker.0", command=("sh",), start_time=NOW)
        number = await bench.source.add_entry(given, entry)
        assert number == 1
        assert await bench.source.add_entry(given, entry) == 1, "its answer was lost, so it is said again"
        for offset, text in ((0, "stdout: å\n"), (11, "stdout: b\n"), (11, "stdout: b\n")):
            part = msgspec.structs.replace(entry, out=text)
            await bench.source.update_entry(given, number, part, offset)
        end = msgspec.structs.replace(entry, exit_code=0, duration_ms=5)
        await bench.source.update_entry(given, number, end, 21)
        assert await bench.output(given.job.id) == "stdout: å\nstdout: b\n"
        whole = msgspec.structs.replace(end, out="all of it")
        await bench.source.update_entry(given, number, whole)
        assert await bench.output(given.job.id) == "all of it"
        with pytest.raises((LeaseLost, JobNotFound)):
            await bench.source.update_entry(given, 7, entry)
        with pytest.raises((LeaseLost, ConflictError)):
            await bench.source.update_entry(given, number, entry, 1_000)
        await bench.source.complete(given)

    run(make_bench, test)


# -- over HTTP alone ---------------------------------------------------------------------------------------------


def test_a_wrong_token_is_refused(server: QueueServer) -> None:
    async def test() -> None:
        source = HttpJobSource(Server(url=server.url), "rw_wrong", "w", QUEUES)
        for refused in (source.check, lambda: source.dequeue(ask()), lambda: source.heartbeat(beat())):
            with pytest.raises(Refused) as caught:
                await refused()
            assert caught.value.status == 401
            assert "rw_wrong" not in str(caught.value)
        await source.close()

    asyncio.run(test())


def test_a_good_token_is_taken(server: QueueServer) -> None:
    async def test() -> None:
        source = HttpJobSource(Server(url=server.url), server.worker_token, "w", QUEUES)
        await source.check()
        await source.close()

    asyncio.run(test())


def test_users_submit_look_and_steer(server: QueueServer) -> None:
    async def test(bench: Bench) -> None:
        assert isinstance(bench, HttpBench)
        api = bench.api
        number = await api.submit(ask_for(QUEUES[0], priority=3, key="k", idempotency_key="once"))
        assert await api.submit(ask_for(QUEUES[0], idempotency_key="once")) == number
        shown = await api.job(number)
        assert (shown["id"], shown["state"], shown["priority"]) == (number, "queued", 3)
        assert [job["id"] for job in await api.jobs(JobFilter(key="k"))] == [number]
        assert (await api.cancel(number, "not wanted"))["state"] == "canceled"
        assert (await api.retry(number))["state"] == "queued"
        await emptied(bench)
        with pytest.raises(JobHasEnded):
            await api.retry(number)
        with pytest.raises(JobNotFound):
            await api.job(10**9)
        with pytest.raises(DefinitionError) as caught:
            await api.submit(ask_for("no queue!", priority=10**9))
        assert len(caught.value.problems) == 2
        assert QUEUES[0] in [queue["name"] for queue in await api.queues()]
        await bench.source.heartbeat(beat())
        assert "w" in [worker["name"] for worker in await api.workers()]
        assert await api.log(number, attempt=0, tail=10) == []
        assert await api.log(number, attempt=1) == []

    run(lambda: HttpBench(server, QUEUES), test)


def test_a_log_is_followed_to_the_end_of_its_job(server: QueueServer) -> None:
    async def test(bench: Bench) -> None:
        assert isinstance(bench, HttpBench)
        given = await got(bench)
        seen: list[Any] = []

        async def follow() -> None:
            async for news in bench.api.follow(given.job.id):
                seen.append(news)

        following = asyncio.create_task(follow())
        entry = ExecutionLogEntry(key="one", start_time=NOW)
        number = await bench.source.add_entry(given, entry)
        await bench.source.update_entry(
            given, number, msgspec.structs.replace(entry, out="stdout: hello\n"), 0
        )
        async with asyncio.timeout(30):
            while not any(news["kind"] == "out" for news in seen):  # noqa: ASYNC110 - the other side polls, too
                await asyncio.sleep(0.01)
            await bench.source.complete(given)
            await following
        assert [news["kind"] for news in seen] == ["entry", "out", "end"]
        assert seen[1]["out"] == "stdout: hello\n"
        assert seen[-1]["state"] == "completed"

    run(lambda: HttpBench(server, QUEUES), test)


def test_documents_of_both_versions_are_read() -> None:
    job = Job(id=7, repository_name="r")
    for version in (1, 2):
        given = answered(encode_job(job, version), **{"Runwright-Labels": '["runtime=shell"]'})
        assert given.job.id == 7
        assert given.labels == ("runtime=shell",)
        assert given.queue == "build"


@pytest.mark.parametrize("body", [b"[]", b"nonsense", b'{"id": "x"}'])
def test_a_job_that_can_not_be_read_is_an_error_of_the_server(body: bytes) -> None:
    with pytest.raises(RemoteError, match="can't be read"):
        answered(body)


def answered(body: bytes, **headers: str) -> GivenJob:
    """Return what a worker makes of an answer to its question."""
    answer = b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n" % len(body)
    answer += b"".join(f"{name}: {value}\r\n".encode() for name, value in headers.items()) + b"\r\n" + body

    async def test() -> GivenJob:
        async with puppet(answer) as url:
            source = HttpJobSource(Server(url=url), "t", "w", QUEUES[:1])
            try:
                given = await source.dequeue(ask())
            finally:
                await source.close()
        assert given is not None
        return given

    return asyncio.run(test())


@pytest.mark.parametrize(
    ("status", "kind"),
    [
        ("302 Found\r\nLocation: http://evil.example/", RemoteError),
        ("400 Bad Request", Refused),
        ("422 Unprocessable Entity", Refused),
        ("429 Too Many Requests", RemoteError),
        ("500 Internal Server Error", RemoteError),
        ("503 Service Unavailable", RemoteError),
        ("401 Unauthorized", LeaseLost),
        ("403 Forbidden", LeaseLost),
        ("404 Not Found", LeaseLost),
        ("409 Conflict", LeaseLost),
    ],
)
def test_what_statuses_on_the_routes_of_a_job_mean(status: str, kind: type[Exception]) -> None:
    async def test() -> None:
        async with puppet(f"HTTP/1.1 {status}\r\nContent-Length: 0\r\n\r\n".encode()) as url:
            source = HttpJobSource(Server(url=url), "t", "w", QUEUES[:1])
            with pytest.raises(kind) as caught:
                await source.complete(GivenJob(job=Job(id=1, token="x"), queue="build"))
            assert type(caught.value) is kind
            await source.close()

    asyncio.run(test())


def test_lists_of_a_heartbeat_may_be_null_and_ids_numbers() -> None:
    async def test() -> None:
        body = b'{"knownIds": [3], "cancelIds": null}'
        async with puppet(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % len(body) + body) as url:
            source = HttpJobSource(Server(url=url), "t", "w", QUEUES[:1])
            answer = await source.heartbeat(beat())
            assert answer.known_ids == ("3-build",)
            await source.close()

    asyncio.run(test())


@pytest.mark.parametrize(
    "answer", [b"", b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nhal", b"nonsense\r\n\r\n"]
)
def test_an_answer_that_breaks_off_is_none(answer: bytes) -> None:
    async def test() -> None:
        async with puppet(answer) as url:
            source = HttpJobSource(Server(url=url), "t", "w", QUEUES[:1])
            with pytest.raises(RemoteError):
                await source.heartbeat(beat())
            await source.close()

    asyncio.run(test())


def test_a_server_that_is_not_there_can_be_told_from_other_troubles(tmp_path: Path) -> None:
    from served_queue import free_port

    async def test() -> None:
        source = HttpJobSource(Server(url=f"http://127.0.0.1:{free_port()}"), "t", "w", QUEUES)
        with pytest.raises(RemoteError, match="nobody listens") as caught:
            await source.dequeue(ask())
        assert isinstance(caught.value.__cause__, ConnectionRefusedError)
        await source.close()

    asyncio.run(test())
