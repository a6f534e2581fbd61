"""The queue on PostgreSQL under faults: the server crashes, connections break, answers are lost."""

import asyncio
from collections import Counter
from urllib.parse import urlsplit
from uuid import uuid4

import pytest
from postgres_jobs import at, by_way_of, claim, completed, end_connections, execute, new_job, stores, until
from postgres_proxy import LosingProxy

from runwright.adapters.postgres import connection, job_writer
from runwright.core.errors import StoreError
from runwright.core.job_rows import Ended, Ending, JobFilter, TokenRole, Verdict
from runwright.core.states import JobState


@pytest.fixture
def url(postgres):
    return postgres.create_database()


@pytest.fixture
def proxy(url, postgres):
    losing = LosingProxy(postgres.port)
    yield losing
    losing.close()


class Ledger:
    """What the workers of a test were told."""

    def __init__(self):
        self.given = []
        self.acknowledged = set()

    async def work(self, store):
        """Take one job after another and complete it, until there are none."""
        done = []
        while True:
            became, claimed = await store.exchange(completed(done), claim(), at())
            assert Ended.REFUSED not in became
            self.acknowledged |= {each.job_id for each in done}
            self.given += [(each.job_id, each.attempt) for each in claimed]
            if not claimed:
                return
            done = claimed


def test_a_crash_of_the_server_in_the_midst_of_500_exchanges_loses_nothing_and_gives_nothing_twice(
    url, postgres
):
    async def work():
        ledger = Ledger()
        async with stores(url, 2) as opened:
            ids = await opened[0].submit([new_job() for _ in range(500)], at())
            workers = [asyncio.ensure_future(ledger.work(store)) for store in opened for _ in range(3)]
            for done in (100, 300):
                await until(lambda done=done: len(ledger.acknowledged) >= done)
                await asyncio.to_thread(postgres.restart, "immediate")
            await asyncio.gather(*workers)
            assert ledger.acknowledged == set(ids)
            assert Counter(ledger.given) == {(number, 1): 1 for number in ids}
            assert {row.state for row in await opened[0].jobs(JobFilter(limit=500))} == {JobState.COMPLETED}

    asyncio.run(work())


@pytest.mark.parametrize("level", ["on", "off"], ids=["durable", "control"])
def test_what_was_acknowledged_right_before_a_crash_is_there_after_it(url, postgres, monkeypatch, level):
    lax = connection._SETTINGS + "SET synchronous_commit = off;"
    monkeypatch.setattr(connection, "_SETTINGS", connection._SETTINGS if level == "on" else lax)
    postgres.execute("ALTER SYSTEM SET wal_writer_delay = '10s'")
    postgres.execute("SELECT pg_reload_conf()")

    async def work():
        async with stores(url) as (store,):
            ids = await store.submit([new_job() for _ in range(20)], at())
            _, given = await store.exchange([], claim(20), at())
            await store.exchange(completed(given[:10]), None, at())
            await asyncio.to_thread(postgres.restart, "immediate")
            rows = await store.jobs(JobFilter())
            states = Counter(row.state for row in rows)
            held = states == {JobState.COMPLETED: 10, JobState.PROCESSING: 10} and len(rows) == len(ids)
            assert held is (level == "on")

    try:
        asyncio.run(work())
    finally:
        postgres.execute("ALTER SYSTEM RESET wal_writer_delay")
        postgres.execute("SELECT pg_reload_conf()")


@pytest.mark.parametrize("is_known", [True, False], ids=["known", "control"])
def test_a_submit_whose_answer_is_lost_makes_its_jobs_once(url, proxy, monkeypatch, is_known):
    if not is_known:  # each try looks like a call of its own
        monkeypatch.setattr(
            job_writer._Submissions,
            "_id",
            property(lambda self: uuid4(), lambda self, new: None),
            raising=False,
        )

    async def work():
        async with stores(by_way_of(url, proxy.port), lanes=1) as (store,):
            assert await store.submit([new_job()], at()) == [1]
            proxy.lose_next_answer()
            calls = [store.submit([new_job(), new_job(idempotency_key="k")], at()) for _ in range(2)]
            first, second = await asyncio.gather(*calls)
            assert proxy.lost == 1
            made = [row.id for row in await store.jobs(JobFilter())]
            assert first[1] == second[1]
            assert (sorted({1, *first, *second}) == sorted(made)) is is_known

    asyncio.run(work())


@pytest.mark.parametrize("is_known", [True, False], ids=["known", "control"])
def test_an_exchange_whose_answer_is_lost_gives_what_it_gave(url, proxy, monkeypatch, is_known):
    if not is_known:  # each try looks like a first one
        monkeypatch.setattr(
            job_writer.Statement, "was_sent", property(lambda self: False, lambda self, was: None)
        )

    async def work():
        async with stores(by_way_of(url, proxy.port), lanes=1) as (store,):
            await store.submit([new_job() for _ in range(7)], at())
            _, before = await store.exchange([], claim(2), at())
            _, given = await store.exchange(completed(before[:1]), claim(2), at())  # prepares the statement
            proxy.lose_next_answer()
            became, claimed = await store.exchange(completed(given[:1]), claim(2), at())
            assert proxy.lost == 1
            assert became == [Ended.REPEATED]
            assert [(each.job_id, each.attempt) for each in claimed] == [(5, 1), (6, 1)]
            became, _ = await store.exchange(completed(claimed), None, at())
            assert became == [Ended.ACCEPTED] * 2
            assert (await store.exchange([], claim(5), at()))[1][0].job_id == 7

    if is_known:
        asyncio.run(work())
    else:
        with pytest.raises(StoreError, match="duplicate key"):
            asyncio.run(work())


def test_other_calls_whose_answers_are_lost_are_made_again_without_harm(url, proxy):
    async def work():
        async with stores(by_way_of(url, proxy.port), lanes=1) as (store,):
            await store.submit([new_job()], at())
            _, given = await store.exchange([], claim(), at())
            calls = [
                lambda: store.cancel(1, "why", at(1)),
                lambda: store.exchange([Ending(lease=given[0].lease, verdict=Verdict.ERRORED)], None, at(2)),
                lambda: store.retry(1, at(3)),
                lambda: store.add_token("w1", TokenRole.WORKER, b"d" * 32, at(3)),
                lambda: store.revoke_token("w1", at(4)),
                lambda: store.prune(at(), 10),
            ]
            for lost, call in enumerate(calls, 1):
                proxy.lose_next_answer()
                await call()
                assert proxy.lost == lost
            row = await store.job(1)
            assert (row.state, row.available_at, row.cancel_reason) == (JobState.QUEUED, at(3), "")
            (token,) = await store.tokens()
            assert token.revoked_at == at(4)

    asyncio.run(work())


def test_a_server_that_does_not_come_back_is_an_error_that_says_so(url, postgres):
    async def work():
        async with stores(url, patience=0.5) as (store,):
            await store.submit([new_job()], at())
            await asyncio.to_thread(postgres.stop)
            try:
                for call in (
                    store.submit([new_job()], at()),
                    store.exchange([], claim(), at()),
                    store.job(1),
                ):
                    with pytest.raises(StoreError, match="nobody listens there"):
                        await call
            finally:
                await asyncio.to_thread(postgres.start)
            assert (await store.job(1)).state is JobState.QUEUED
            assert await store.submit([new_job()], at()) == [2]

    asyncio.run(work())


def test_a_server_without_a_connection_left_is_an_error_that_says_so(url, postgres):
    execute(url, "CREATE ROLE few LOGIN PASSWORD 'few' CONNECTION LIMIT 1")
    execute(url, f"GRANT CREATE ON DATABASE {urlsplit(url).path[1:]} TO few")
    theirs = f"postgresql://few:few@127.0.0.1:{postgres.port}{urlsplit(url).path}"

    async def work():
        async with stores(theirs, lanes=1, patience=0.3) as (store,):
            assert await store.submit([new_job()], at()) == [1]
            with pytest.raises(
                StoreError, match="the server has no connection left; raise its max_connections"
            ):
                await store.job(1)
            assert await store.submit([new_job()], at()) == [2]

    asyncio.run(work())


def test_connections_that_the_server_keeps_ending_harm_no_job(url):
    async def work():
        ledger = Ledger()
        async with stores(url, 2) as opened:
            ids = await opened[0].submit([new_job() for _ in range(120)], at())
            workers = [asyncio.ensure_future(ledger.work(store)) for store in opened for _ in range(3)]
            while len(ledger.acknowledged) < 100:
                await asyncio.to_thread(end_connections, url)
                await asyncio.sleep(0.05)
            await asyncio.gather(*workers)
        assert ledger.acknowledged == set(ids)
        assert Counter(ledger.given) == {(number, 1): 1 for number in ids}
        assert execute(url, "SELECT state, attempt, count(*) FROM jobs GROUP BY 1, 2") == [
            ("completed", 1, 120)
        ]
        assert execute(url, "SELECT * FROM job_attempts") == []  # nothing but what the jobs themselves say

    asyncio.run(work())
