"""What a server remembers of tokens and workers."""

import asyncio
from datetime import timedelta

import pytest
from queue_bench import Bench

from runwright.core.errors import StoreError
from runwright.core.job_rows import JobLease, TokenRole
from runwright.core.job_wire import HeartbeatRequest
from runwright.core.tokens import digest_of
from runwright.engines import token_book, worker_book
from runwright.engines.token_book import LeaseHolder
from runwright.testing.jobs import MemoryJobStore
from runwright.testing.system import START

TOKEN = "rw_" + "a" * 43
OTHER = "rw_" + "b" * 43


class CountingStore(MemoryJobStore):
    """Counts what it is asked.

    Attributes:
        asked: Calls that read tokens.
        noted: Calls that keep what workers say.
    """

    def __init__(self) -> None:
        super().__init__()
        self.asked = 0
        self.noted = 0

    async def tokens(self) -> list:
        self.asked += 1
        return await super().tokens()

    async def holder(self, digest: bytes) -> object:
        self.asked += 1
        return await super().holder(digest)

    async def note_worker(self, *args: object) -> None:
        self.noted += 1
        await super().note_worker(*args)


def test_a_token_is_known_at_once_and_refused_soon_after_it_was_revoked() -> None:
    async def main(bench: Bench) -> None:
        book = bench.queue.tokens
        assert await book.owner(TOKEN) is None
        await bench.store.add_token("ann", TokenRole.ADMIN, digest_of(TOKEN), START)
        row = await book.owner(TOKEN)
        assert row is not None
        assert (row.name, row.role) == ("ann", TokenRole.ADMIN)
        await bench.store.revoke_token("ann", START + timedelta(seconds=1))
        await bench.clock.sleep(2.1)
        assert await book.owner(TOKEN) is None

    Bench(store=CountingStore()).run(main)


def test_a_thousand_wrong_tokens_at_a_time_are_a_question_or_two_to_the_store() -> None:
    async def main(bench: Bench) -> None:
        book = bench.queue.tokens
        assert await book.owner("no token at all") is None
        found = await asyncio.gather(*(book.owner(f"rw_{number:043}") for number in range(1_000)))
        assert found == [None] * 1_000
        assert bench.store.asked <= 2
        assert bench.clock.monotonic() <= 0.25

    Bench(store=CountingStore()).run(main)


def test_who_may_not_wait_misses_a_new_token_for_a_moment() -> None:
    async def main(bench: Bench) -> None:
        book = bench.queue.tokens
        await book.check()
        await bench.store.add_token("ann", TokenRole.ADMIN, digest_of(TOKEN), START)
        await bench.clock.sleep(0.2)
        assert await book.owner(TOKEN, may_wait=False) is None
        await bench.clock.sleep(0.1)
        assert await book.owner(TOKEN, may_wait=False) is not None
        assert bench.store.asked == 2

    Bench(store=CountingStore()).run(main)


def test_the_token_of_a_lease_is_looked_up_once() -> None:
    async def main(bench: Bench) -> None:
        await bench.submit()
        token = (await bench.given()).job.token
        other = Bench(store=bench.store).queue.tokens
        expected = LeaseHolder(JobLease(1, 1), "q", "w")
        assert bench.queue.tokens.remembered(token) == expected
        assert other.remembered(token) is None
        for _ in range(3):
            assert await other.holder(token) == expected
        assert bench.store.asked == 1
        assert await other.holder("f" * 40) is None
        assert await other.holder("F" * 40) is None
        assert await other.holder(TOKEN) is None
        assert bench.store.asked == 2

    Bench(store=CountingStore()).run(main)


def test_the_tokens_of_leases_that_were_used_least_are_forgotten(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(token_book, "MOST_LEASES", 2)

    async def main(bench: Bench) -> None:
        book = bench.queue.tokens
        for number in range(3):
            book.remember(f"{number:040}", LeaseHolder(JobLease(number, 1), "q", "w"))
            assert book.remembered(f"{0:040}") is not None
        assert book.remembered(f"{1:040}") is None

    Bench().run(main)


def told(**more: object) -> HeartbeatRequest:
    return HeartbeatRequest(**{"executor_name": "w", **more})


def test_a_worker_is_noted_when_it_says_something_new_and_now_and_then() -> None:
    async def main(bench: Bench) -> None:
        for _ in range(4):
            await bench.queue.heartbeat(told(os="linux", prometheus_metrics="m 1"), "q")
            await bench.clock.sleep(4)
        assert bench.store.noted == 2
        await bench.queue.heartbeat(told(os="linux", draining=True), "q")
        assert bench.store.noted == 3
        (worker,) = await bench.queue.workers()
        assert (worker.draining, worker.metrics) == (True, "m 1")

    Bench(store=CountingStore()).run(main)


def test_a_heartbeat_that_says_little_takes_nothing_back() -> None:
    async def main(bench: Bench) -> None:
        await bench.queue.heartbeat(told(os="linux", architecture="arm", git_version="2.40"), "q")
        await bench.clock.sleep(20)
        await bench.queue.heartbeat(told(), "q")
        (worker,) = await bench.queue.workers()
        assert (worker.os, worker.architecture, worker.versions) == ("linux", "arm", {"git": "2.40"})
        assert worker.last_seen_at == START + timedelta(seconds=20)

    Bench().run(main)


def test_metrics_that_are_too_long_are_not_kept() -> None:
    async def main(bench: Bench) -> None:
        await bench.queue.heartbeat(told(prometheus_metrics="m" * (256 * 1024 + 1)), "q")
        (worker,) = await bench.queue.workers()
        assert worker.metrics == ""

    Bench().run(main)


def test_workers_are_forgotten_when_there_are_too_many(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(worker_book, "MOST_WORKERS", 2)

    async def main(bench: Bench) -> None:
        for number in range(5):
            await bench.queue.heartbeat(told(executor_name=f"w{number}"), "q")
        assert len(bench.queue._workers._noted) <= 2
        assert len(await bench.queue.workers()) == 5

    Bench().run(main)


def test_a_store_that_cannot_be_read_is_told() -> None:
    class Broken(MemoryJobStore):
        async def tokens(self) -> list:
            raise StoreError("gone")

    async def main(bench: Bench) -> None:
        with pytest.raises(StoreError):
            await bench.queue.tokens.check()

    Bench(store=Broken()).run(main)
