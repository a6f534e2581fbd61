"""What every `JobStore` does as jobs come and are given out; one suite for the stores on disk and for the fake."""

import asyncio
from datetime import timedelta

import pytest
from job_samples import at, check, claim, digest, end, end_all, ending, new_job, take, take_all

from runwright.core.errors import JobNotFound, StoreError
from runwright.core.job_rows import Claimed, Ended, JobFilter, JobLease, JobRow, QueueSettings, Verdict
from runwright.core.states import JobState

__all__ = ["check"]


def test_a_new_job_is_there_as_it_was_given(check):
    async def work(store):
        job = new_job(
            payload=b"\x00\xff",
            sealed=True,
            priority=-3,
            labels=("gpu", "x64"),
            key="repo \N{SNOWMAN}",
            delay=1.5,
            max_attempts=4,
            retry_delay=0.25,
        )
        assert await store.submit([job], at(0.123456)) == [1]
        assert await store.job(1) == JobRow(
            id=1,
            queue="builds",
            state=JobState.QUEUED,
            priority=-3,
            labels=("gpu", "x64"),
            key="repo \N{SNOWMAN}",
            attempt=0,
            failures=0,
            resets=0,
            max_attempts=4,
            retry_delay=0.25,
            queued_at=at(0.123456),
            available_at=at(1.623456),
            started_at=None,
            heartbeat_at=None,
            finished_at=None,
            lease_until=None,
            worker="",
            cancel_reason="",
            message="",
            sealed=True,
        )
        assert await store.payload(1) == b"\x00\xff"
        assert await store.attempts(1) == []
        assert await store.entries(1) == []

    check(work)


def test_ids_grow_in_the_order_of_the_jobs_over_all_queues(check):
    async def work(store):
        assert await store.submit([], at()) == []
        first = await store.submit([new_job(), new_job("docs"), new_job()], at())
        assert first == sorted(set(first))
        (next_id,) = await store.submit([new_job("docs")], at())
        assert next_id > first[-1]
        assert [(await store.job(number)).queue for number in first] == ["builds", "docs", "builds"]

    check(work)


def test_what_is_not_there_is_told(check):
    async def work(store):
        for asked in (store.job(7), store.payload(7), store.cancel(7, "", at()), store.retry(7, at())):
            with pytest.raises(JobNotFound, match="no job 7"):
                await asked
        assert await store.attempts(7) == []
        assert await store.entries(7) == []
        assert await store.output(7, 1, 1, 0, 10) == b""
        assert await store.holder(digest()) is None
        assert await store.lease_of(7, "w1", 0) is None

    check(work)


def test_a_second_job_with_the_same_idempotency_key_is_not_made(check):
    async def work(store):
        (first,) = await store.submit([new_job(idempotency_key="k")], at())
        again = await store.submit(
            [new_job(idempotency_key="k", queue="other"), new_job(), new_job(idempotency_key="k")], at(1)
        )
        assert again[0] == again[2] == first != again[1]
        twice = await store.submit([new_job(idempotency_key="m"), new_job(idempotency_key="m")], at(2))
        assert twice[0] == twice[1]
        given = await take_all(store)
        assert given == [first, again[1], twice[0]]
        await end_all(store, given)
        assert await store.submit([new_job(idempotency_key="k")], at(3)) == [first]

    check(work)


def test_a_claimed_job_carries_what_the_worker_needs(check):
    async def work(store):
        await store.submit([new_job(payload=b"\x01", sealed=True, labels=("gpu",))], at())
        asked = claim(
            digests=(digest(1),), labels=("cpu", "gpu"), boot_id="b", token_id=9, first_seconds=12.0
        )
        became, given = await store.exchange([], asked, at(5))
        assert became == []
        assert given == [
            Claimed(
                job_id=1,
                queue="builds",
                attempt=1,
                payload=b"\x01",
                sealed=True,
                digest=digest(1),
                labels=("gpu",),
            )
        ]
        row = await store.job(1)
        assert (row.state, row.attempt, row.worker) == (JobState.PROCESSING, 1, "w1")
        assert (row.started_at, row.heartbeat_at, row.lease_until) == (at(5), at(5), at(17))
        (attempt,) = await store.attempts(1)
        assert (attempt.number, attempt.worker, attempt.started_at) == (1, "w1", at(5))
        assert (attempt.ended_at, attempt.outcome, attempt.message) == (None, None, "")

    check(work)


def test_each_job_given_has_one_of_the_digests_and_no_more_are_given(check):
    async def work(store):
        ids = await store.submit([new_job() for _ in range(5)], at())
        digests = tuple(digest(number) for number in range(3))
        _, given = await store.exchange([], claim(digests=digests), at())
        assert [each.job_id for each in given] == ids[:3]
        assert [each.digest for each in given] == list(digests)
        _, rest = await store.exchange([], claim(most=9), at())
        assert [each.job_id for each in rest] == ids[3:]
        assert await take(store) is None

    check(work)


def test_queues_are_looked_at_in_the_order_of_the_claim(check):
    async def work(store):
        ids = await store.submit([new_job("a"), new_job("b", priority=5), new_job("c"), new_job("b")], at())
        assert await take_all(store, "c", "b", most=2) == [ids[2], ids[1]]
        assert await take_all(store, "none", "a", "b") == [ids[0], ids[3]]

    check(work)


def test_priority_comes_before_age(check):
    async def work(store):
        priorities = (0, -1, 1_000_000, 0, -1_000_000, 1)
        ids = await store.submit([new_job(priority=each) for each in priorities], at())
        assert await take_all(store) == [ids[place] for place in (2, 5, 0, 3, 1, 4)]

    check(work)


def test_keys_take_turns(check):
    async def work(store):
        ids = await store.submit([new_job(key=key) for key in "aaaabbc"], at())
        assert await take_all(store) == [ids[place] for place in (0, 4, 6, 1, 5, 2, 3)]

    check(work)


def test_a_key_that_was_quiet_gets_its_share_and_no_more(check):
    async def work(store):
        old = await store.submit([new_job(key="a") for _ in range(6)], at())
        await end_all(store, await take_all(store, most=3))
        late = await store.submit([new_job(key="b"), new_job(key="b")], at(1))
        more = await store.submit([new_job(key="a")], at(1))
        assert await take_all(store) == [old[3], late[0], old[4], late[1], old[5], *more]

    check(work)


def test_turns_are_taken_within_a_priority(check):
    async def work(store):
        ids = await store.submit(
            [new_job(key="a", priority=1), new_job(key="a", priority=1), new_job(key="a"), new_job(key="b")],
            at(),
        )
        assert await take_all(store) == ids

    check(work)


def test_a_worker_gets_only_jobs_whose_labels_it_offers(check):
    async def work(store):
        wishes = [("gpu",), (), ("arm", "gpu"), ("arm",), ("gpu", "x")]
        ids = await store.submit([new_job(labels=each) for each in wishes], at())
        assert await take_all(store, labels=("armor",)) == [ids[1]]
        assert await take_all(store) == []
        assert await take_all(store, labels=("gpu", "unknown", "arm")) == [ids[0], ids[2], ids[3]]
        assert await take_all(store, labels=("x", "gpu")) == [ids[4]]

    check(work)


def test_jobs_with_different_labels_share_one_order(check):
    async def work(store):
        wishes = [((), 0), (("a",), 1), (("b",), 0), ((), 1), (("a", "b"), 0)]
        ids = await store.submit([new_job(labels=labels, priority=rank) for labels, rank in wishes], at())
        assert await take_all(store, labels=("b", "a")) == [ids[place] for place in (1, 3, 0, 2, 4)]

    check(work)


def test_labels_that_look_alike_are_not_mixed_up(check):
    async def work(store):
        wishes = [("a b",), ("a", "b"), ('a","b',), ("a,b",)]
        ids = await store.submit([new_job(labels=each) for each in wishes], at())
        for number, labels in zip(ids, wishes, strict=True):
            assert (await store.job(number)).labels == labels
            assert await take_all(store, labels=labels) == [number]

    check(work)


def test_a_delayed_job_waits_for_its_time_and_for_promote(check):
    async def work(store):
        (later, sooner) = await store.submit([new_job(delay=10.0), new_job(delay=5.0)], at())
        assert await take_all(store, now=60) == []
        assert await store.promote(at(4.999999)) == 0
        assert await store.promote(at(5)) == 1
        assert await take_all(store, now=5) == [sooner]
        assert await store.promote(at(5)) == 0
        assert await store.promote(at(60)) == 1
        assert await take_all(store, now=60) == [later]

    check(work)


def test_a_paused_queue_gives_nothing_until_it_goes_on(check):
    async def work(store):
        ids = await store.submit([new_job(), new_job("docs")], at())
        await store.set_queue(QueueSettings(name="builds", paused=True))
        assert await take_all(store, "builds", "docs") == [ids[1]]
        await store.set_queue(QueueSettings(name="builds"))
        assert await take_all(store, "builds", "docs") == [ids[0]]

    check(work)


def test_a_limit_bounds_the_jobs_of_a_queue_that_are_worked_on(check):
    async def work(store):
        ids = await store.submit([new_job() for _ in range(5)], at())
        await store.set_queue(QueueSettings(name="builds", limit=2))
        assert await take_all(store, most=1) == ids[:1]
        assert await take_all(store) == ids[1:2]
        assert await take_all(store) == []
        assert await end(store, JobLease(ids[0], 1), Verdict.ERRORED) is Ended.ACCEPTED
        assert await take_all(store) == ids[2:3]
        assert [lease.job_id for lease in await store.expire(at(3_600))] == ids[1:3]
        assert await take_all(store, now=3_600) == [ids[3], ids[4]]
        await store.set_queue(QueueSettings(name="builds", limit=0))
        assert await take_all(store, now=3_600) == ids[1:3]

    check(work)


def test_a_limit_bounds_the_jobs_of_each_key(check):
    async def work(store):
        ids = await store.submit([new_job(key=key) for key in ("a", "a", "a", "b", "", "", "")], at())
        await store.set_queue(QueueSettings(name="builds", key_limit=1))
        assert await take_all(store) == [ids[0], ids[3], ids[4], ids[5], ids[6]]
        assert await take_all(store) == []
        await end_all(store, [ids[3]])
        assert await take_all(store) == []
        await end_all(store, [ids[0]])
        assert await take_all(store) == [ids[1]]
        await store.set_queue(QueueSettings(name="builds", key_limit=2))
        assert await take_all(store) == [ids[2]]

    check(work)


def test_a_key_that_is_full_does_not_hide_the_others(check):
    async def work(store):
        await store.submit([new_job(key="a", priority=9) for _ in range(1_200)], at())
        rest = [("b", ()), ("b", ()), ("c", ("x",)), ("", ()), ("", ())]
        first_b, _, only_c, *keyless = await store.submit(
            [new_job(key=key, labels=labels) for key, labels in rest], at()
        )
        await store.set_queue(QueueSettings(name="builds", key_limit=1))
        assert await take_all(store, most=1) == [1]
        assert await take_all(store, most=5) == [first_b, *keyless]
        assert await take_all(store, most=5, labels=("x",)) == [only_c]

    check(work)


def test_limits_count_only_their_own_queue(check):
    async def work(store):
        await store.submit([new_job(key="a") for _ in range(2)], at())
        ids = await store.submit([new_job("docs", key="a") for _ in range(2)], at())
        await store.set_queue(QueueSettings(name="docs", limit=1, key_limit=1))
        assert len(await take_all(store)) == 2
        assert await take_all(store, "docs") == ids[:1]

    check(work)


def test_endings_and_claim_are_one_exchange(check):
    async def work(store):
        ids = await store.submit([new_job(key="a") for _ in range(3)], at())
        await store.set_queue(QueueSettings(name="builds", limit=1))
        first = await take(store)
        assert await take(store) is None
        became, given = await store.exchange([ending(first)], claim(), at(1))
        assert became == [Ended.ACCEPTED]
        assert [each.job_id for each in given] == [ids[1]]

    check(work)


def test_many_claim_at_the_same_time_and_each_job_is_given_once(check):
    async def work(store):
        ids = await store.submit([new_job(key=str(place % 7)) for place in range(480)], at())

        async def worker(name):
            taken = []
            while given := await take_all(store, most=7, worker=name):
                taken += given
                await end_all(store, given)
            return taken

        taken = await asyncio.gather(*(worker(f"w{number}") for number in range(16)))
        assert sorted(job for each in taken for job in each) == ids
        assert {(await store.job(number)).state for number in ids} == {JobState.COMPLETED}

    check(work)


def test_who_waits_is_woken_by_what_may_let_a_job_start(check):
    async def work(store):
        async def woken_by(change):
            waiting = asyncio.ensure_future(store.wait(["docs", "builds"], 20.0))
            await asyncio.sleep(0.05)
            result = await change
            assert await asyncio.wait_for(waiting, 20.0)
            return result

        await woken_by(store.submit([new_job(max_attempts=2, retry_delay=1.0)], at()))
        given = await take(store)
        assert await woken_by(end(store, given, Verdict.HANDED_BACK)) is Ended.ACCEPTED
        given = await take(store)
        assert len(await woken_by(store.expire(at(60)))) == 1
        given = await take(store)
        assert await end(store, given, Verdict.ERRORED) is Ended.ACCEPTED
        assert await woken_by(store.promote(at(60))) == 1
        await end(store, await take(store), Verdict.FAILED)
        await woken_by(store.retry(1, at(60)))
        await woken_by(store.set_queue(QueueSettings(name="docs", paused=False)))

    check(work)


def test_who_waits_in_vain_is_told_so(check):
    async def work(store):
        waiting = asyncio.ensure_future(store.wait(["docs"], 0.3))
        await asyncio.sleep(0.05)
        await store.submit([new_job("builds")], at())
        assert await waiting is False

    check(work)


def test_a_closed_store_takes_no_more(check):
    async def work(store):
        await store.submit([new_job()], at())
        await store.close()
        await store.close()
        with pytest.raises(StoreError, match="closed"):
            await store.submit([new_job()], at())
        with pytest.raises(StoreError, match="closed"):
            await store.job(1)

    check(work)


def test_instants_are_kept_to_the_microsecond(check):
    async def work(store):
        moments = [at(0.000001), at(0.999999), at(0.1) + timedelta(days=20_000)]
        for moment in moments:
            await store.submit([new_job()], moment)
        assert [row.queued_at for row in (await store.jobs(JobFilter()))[::-1]] == moments

    check(work)
