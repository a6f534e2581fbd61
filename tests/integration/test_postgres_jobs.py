"""The queue on PostgreSQL where several servers share it: limits, plans, wake-ups, and calls that share a commit."""

import asyncio
import json
import statistics
import time
from hashlib import sha256
from itertools import product

import pytest
from postgres_jobs import (
    DEADLINE_SECONDS,
    at,
    claim,
    completed,
    end_connections,
    execute,
    new_job,
    stores,
    until,
)

from runwright.adapters.postgres import job_writer
from runwright.adapters.postgres import jobs as jobs_module
from runwright.core.errors import StoreError
from runwright.core.job_rows import (
    Ended,
    QueueSettings,
    Verdict,
    lapse_text,
    message_after,
    retry_delay_after,
    state_after,
    state_after_lapse,
)
from runwright.core.states import JobState


@pytest.fixture
def url(postgres):
    return postgres.create_database()


def test_the_database_decides_as_the_core_does(url):
    async def work():
        async with stores(url):
            pass

    asyncio.run(work())

    def said(call, *parameters):
        return execute(url, f"SELECT {call}", parameters)[0][0]

    for verdict, failures, most, is_canceled in product(Verdict, (0, 1, 2, 7), (1, 2, 3), (False, True)):
        became = said("job_state_after(%s, %s, %s, %s)", verdict.value, failures, most, is_canceled)
        assert became == state_after(verdict, failures=failures, max_attempts=most, is_canceled=is_canceled)
    for resets, most, is_canceled in product((0, 1, 3), (0, 1, 3), (False, True)):
        became = said("job_state_after_lapse(%s, %s, %s)", resets, most, is_canceled)
        assert became == state_after_lapse(resets=resets, max_resets=most, is_canceled=is_canceled)
        assert said("job_lapse_text(%s, %s)", "w%s", resets) == lapse_text("w%s", resets)
    for state in JobState:
        became = said("job_message_after(%s, '\"said\"', '\"why\"')", state.value)
        assert became == message_after(state, "said", "why")
    for failures, delay in product((1, 2, 12, 2_000), (0.0, 0.1, 10.0, 90_000.0)):
        assert said("job_retry_delay(%s, %s)", failures, delay) == retry_delay_after(failures, delay)


LIMITS = [QueueSettings(name="builds", limit=5), QueueSettings(name="builds", key_limit=5)]


async def most_given(url, settings, rounds):
    """Have eight servers claim at the same time, again and again; return the most that they were given at once."""
    most = 0
    async with stores(url, 8, lanes=1) as opened:
        first = opened[0]
        await first.set_queue(settings)
        offers = [("a",), ("b",)] * 4  # who offers different labels sees different jobs
        await first.submit([new_job(key="k", labels=offers[number % 2]) for number in range(400)], at())
        for _ in range(rounds):
            answers = await asyncio.gather(
                *(
                    store.exchange([], claim(3, labels=labels), at())
                    for store, labels in zip(opened, offers, strict=True)
                )
            )
            given = [each for _, claimed in answers for each in claimed]
            most = max(most, len(given))
            became, _ = await first.exchange(completed(given), None, at())
            assert set(became) == {Ended.ACCEPTED}
            if most > 5:
                break
    return most


@pytest.mark.parametrize("settings", LIMITS, ids=["queue", "key"])
def test_servers_that_claim_at_the_same_time_keep_a_limit(url, settings):
    assert asyncio.run(most_given(url, settings, 12)) == 5


@pytest.mark.parametrize("settings", LIMITS, ids=["queue", "key"])
def test_without_the_lock_they_would_not(url, settings):
    async def work():
        async with stores(url):
            execute(
                url,
                "CREATE OR REPLACE FUNCTION lock_limited_queues(_queues TEXT[]) RETURNS VOID LANGUAGE sql AS ''",
            )
        return await most_given(url, settings, 30)

    assert asyncio.run(work()) > 5


def test_a_key_without_room_hides_nobody_however_many_jobs_it_has(url):
    async def work():
        async with stores(url) as (store,):
            await store.set_queue(QueueSettings(name="builds", key_limit=1))
            await store.submit([new_job(key="busy", priority=1) for _ in range(3_000)], at())
            await store.submit([new_job(key="other"), new_job(key="other"), new_job()], at())
            _, first = await store.exchange([], claim(4), at())
            assert [each.job_id for each in first] == [1, 3001, 3003]
            assert (await store.exchange([], claim(4), at()))[1] == []
            _, second = await store.exchange(completed(first[:2]), claim(4), at())
            assert [each.job_id for each in second] == [2, 3002]

    asyncio.run(work())


def test_workers_with_labels_claim_beside_each_other_and_leave_nothing(url):
    async def work():
        async with stores(url, 2) as opened:
            labels = [(), ("a",), ("b",), ("a", "b")]
            ids = await opened[0].submit([new_job(labels=labels[place % 4]) for place in range(200)], at())
            given = []

            async def drain(store):
                while claimed := (await store.exchange([], claim(3, labels=("b", "a", "c")), at()))[1]:
                    given.extend(each.job_id for each in claimed)

            await asyncio.gather(*(drain(store) for store in opened for _ in range(4)))
            assert sorted(given) == ids

    asyncio.run(work())


def test_labels_may_be_longer_than_what_an_index_holds(url):
    labels = tuple(sorted(sha256(b"%d" % number).hexdigest() * 3 for number in range(64)))

    async def work():
        async with stores(url) as (store,):
            await store.submit([new_job(labels=labels)], at())
            assert (await store.exchange([], claim(labels=labels[1:]), at()))[1] == []
            _, given = await store.exchange([], claim(labels=("x", *labels)), at())
            assert given[0].labels == labels

    asyncio.run(work())


def test_two_servers_give_out_each_job_once(url):
    async def work():
        async with stores(url, 2) as (here, there):
            ids = await here.submit([new_job() for _ in range(150)], at())
            ids += await there.submit([new_job() for _ in range(150)], at())
            given = []

            async def drain(store):
                done = []
                while True:
                    became, claimed = await store.exchange(completed(done), claim(2), at())
                    assert set(became) <= {Ended.ACCEPTED}
                    given.extend(each.job_id for each in claimed)
                    done = claimed
                    if not claimed:
                        return

            await asyncio.gather(*(drain(store) for store in (here, there) for _ in range(4)))
            assert sorted(given) == sorted(ids)
            assert {row.state for row in await there.jobs(jobs_module.JobFilter(limit=300))} == {
                JobState.COMPLETED
            }

    asyncio.run(work())


def transactions(url):
    """Return how many transactions have written so far, this one among them."""
    return execute(url, "SELECT pg_current_xact_id()::TEXT::BIGINT")[0][0]


@pytest.mark.parametrize("most_calls", [128, 1], ids=["together", "control"])
def test_calls_at_the_same_time_share_commits_and_each_gets_its_own_answer(url, monkeypatch, most_calls):
    monkeypatch.setattr(job_writer, "MOST_CALLS", most_calls)

    async def work():
        async with stores(url, lanes=1) as (store,):
            before = transactions(url)
            ids = await asyncio.gather(
                *(store.submit([new_job(), new_job(f"q{number}")], at()) for number in range(60))
            )
            assert sorted(number for pair in ids for number in pair) == list(range(1, 121))
            for number, (_, second) in enumerate(ids):
                assert (await store.job(second)).queue == f"q{number}"
            _, given = await store.exchange([], claim(60), at())
            answers = await asyncio.gather(
                *(
                    store.exchange(completed([each]), claim(queues=(f"q{number}",)), at())
                    for number, each in enumerate(given)
                )
            )
            assert [became for became, _ in answers] == [[Ended.ACCEPTED]] * 60
            assert [claimed[0].queue for _, claimed in answers] == [f"q{number}" for number in range(60)]
            return transactions(url) - before

    made = asyncio.run(work())
    assert made > 120 if most_calls == 1 else made < 20


def test_a_call_that_is_refused_leaves_those_beside_it_alone(url):
    async def work():
        async with stores(url, lanes=1) as (store,):
            long = "".join(sha256(b"%d" % number).hexdigest() for number in range(200))
            calls = [
                store.submit([new_job(key=key)], at()) for key in ("a", "\0", "b", "\ud800", "c", long, "d")
            ]
            found = await asyncio.gather(*calls, return_exceptions=True)
            assert [type(each) for each in found[::2]] == [list] * 4
            assert [type(each) for each in found[1::2]] == [StoreError] * 3
            rows = [await store.job(number) for (number,) in found[::2]]
            assert [row.key for row in rows] == ["a", "b", "c", "d"]

    asyncio.run(work())


async def wake_up(waiting, ringing):
    """Return how long after a submit one who waits in another store wakes, in seconds."""
    waiter = asyncio.ensure_future(waiting.wait(["builds"], DEADLINE_SECONDS))
    await asyncio.sleep(0.05)
    assert not waiter.done()
    await ringing.submit([new_job()], at())
    begun = time.perf_counter()
    assert await waiter is True
    return time.perf_counter() - begun


def test_who_waits_at_another_server_wakes_at_once(url):
    async def work():
        async with stores(url, 2) as (here, there):
            assert await here.wait(["builds"], 0.5) is False  # listens from now on
            assert statistics.median([await wake_up(here, there) for _ in range(9)]) < 0.1

    asyncio.run(work())


BELLS = "FROM pg_stat_activity WHERE datname = current_database() AND query LIKE 'SELECT queue FROM unnest%'"


def test_what_was_announced_while_the_bell_was_lost_is_found(url):
    async def work():
        async with stores(url) as (store,):
            waiter = asyncio.ensure_future(store.wait(["builds"], DEADLINE_SECONDS))
            await until(lambda: execute(url, f"SELECT 1 {BELLS}"))
            execute(url, f"SELECT pg_terminate_backend(pid) {BELLS}")
            await store.submit([new_job()], at())
            assert await asyncio.wait_for(waiter, DEADLINE_SECONDS) is True

    asyncio.run(work())


@pytest.mark.parametrize(
    ("look_seconds", "is_found"), [(0.1, True), (600.0, False)], ids=["looks", "control"]
)
def test_who_waits_looks_by_itself_should_no_announcement_come(url, monkeypatch, look_seconds, is_found):
    monkeypatch.setattr(jobs_module, "LOOK_SECONDS", look_seconds)

    async def work():
        async with stores(url) as (store,):
            execute(
                url,
                "CREATE OR REPLACE FUNCTION announce_jobs(_queues TEXT[]) RETURNS VOID LANGUAGE sql AS ''",
            )
            assert await store.wait(["builds"], 0.3) is False
            waiter = asyncio.ensure_future(store.wait(["builds"], 1.0))
            await store.submit([new_job()], at())
            assert await waiter is is_found

    asyncio.run(work())


def touched(url):
    """Return how many pages an exchange of one job touches."""
    plan = execute(
        url,
        "EXPLAIN (ANALYZE, BUFFERS, FORMAT JSON) SELECT * FROM exchange_jobs(false, '{}', '{}', '{}', '{}', "
        "'{builds}', '{}', ARRAY[sha256(random()::TEXT::BYTEA)], 'w', '', 0, now(), now())",
    )[0][0]
    top = (plan if isinstance(plan, list) else json.loads(plan))[0]["Plan"]
    return top["Shared Hit Blocks"] + top["Shared Read Blocks"]


def test_jobs_that_have_ended_make_no_claim_slower(url):
    async def work():
        async with stores(url) as (store,):
            await store.submit([new_job() for _ in range(40)], at())
            few = statistics.median(touched(url) for _ in range(15))
            execute(
                url,
                "INSERT INTO jobs (id, queue, state, priority, turn, labels, labels_digest, key, max_attempts, retry_delay, queued_at,"
                " available_at, finished_at, sealed, idempotency_key, payload)"
                " SELECT nextval('job_ids'), 'builds', 'completed', 0, 0, '{}', digest_of_labels('{}'), '', 1, 1, now(), now(), now(), false,"
                " '', '' FROM generate_series(1, 200000)",
            )
            await store.submit([new_job() for _ in range(40)], at())
            assert statistics.median(touched(url) for _ in range(15)) < few + 10

    asyncio.run(work())


def test_a_store_that_is_closed_says_so(url):
    async def work():
        async with stores(url) as (store,):
            waiter = asyncio.ensure_future(store.wait(["builds"], DEADLINE_SECONDS))
            await asyncio.sleep(0)
            await store.close()
            assert await waiter is True
        for call in (store.submit([new_job()], at()), store.job(1), store.wait(["builds"], 1)):
            with pytest.raises(StoreError, match="has been closed"):
                await call

    asyncio.run(work())


def test_a_connection_that_the_server_ends_is_no_error(url):
    async def work():
        async with stores(url) as (store,):
            ids = await store.submit([new_job() for _ in range(3)], at())
            for number in ids:
                end_connections(url)
                assert (await store.job(number)).state is JobState.QUEUED
                end_connections(url)
                _, given = await store.exchange([], claim(), at())
                end_connections(url)
                became, _ = await store.exchange(completed(given), None, at())
                assert became == [Ended.ACCEPTED]

    asyncio.run(work())
