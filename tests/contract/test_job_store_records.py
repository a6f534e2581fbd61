"""What every `JobStore` keeps beside jobs: logs, lists, queues, workers, tokens; one suite for all of them."""

import random

import pytest
from job_samples import at, check, claim, digest, end, log_entry, new_job, take, take_all

from runwright.core.errors import ConflictError, JobNotFound, LeaseLost, StoreError
from runwright.core.job_rows import (
    Ended,
    JobFilter,
    JobLease,
    LogRow,
    QueueRow,
    QueueSettings,
    TokenRole,
    TokenRow,
    Verdict,
    WorkerRow,
)
from runwright.core.job_wire import ExecutionLogEntry
from runwright.core.states import JobState

__all__ = ["check"]


async def begun(store, **changes):
    """Submit a job, claim it and return its lease."""
    await store.submit([new_job(**changes)], at())
    return (await take(store)).lease


async def whole(store, lease, number):
    """Return all output of an entry."""
    return await store.output(lease.job_id, lease.attempt, number, 0, 1 << 30)


def test_entries_are_numbered_and_kept_as_they_were_said(check):
    async def work(store):
        lease = await begun(store)
        first = log_entry("setup.git.init", out="stdout: \N{SNOWMAN}\n", exit_code=0, duration_ms=12)
        assert await store.add_entry(lease, first, at(1)) == 1
        assert await store.add_entry(lease, log_entry("step.docker.0", seconds=1.5), at(2)) == 2
        assert await store.entries(1) == [
            LogRow(
                job_id=1,
                attempt=1,
                entry=1,
                key="setup.git.init",
                command=("sh", "-c", "x"),
                started_at=at(),
                exit_code=0,
                duration_ms=12,
                size_bytes=12,
            ),
            LogRow(
                job_id=1,
                attempt=1,
                entry=2,
                key="step.docker.0",
                command=("sh", "-c", "x"),
                started_at=at(1.5),
                exit_code=None,
                duration_ms=None,
                size_bytes=0,
            ),
        ]
        assert await whole(store, lease, 1) == "stdout: \N{SNOWMAN}\n".encode()

    check(work)


def test_the_same_key_and_start_time_again_are_the_same_entry(check):
    async def work(store):
        lease = await begun(store)
        assert await store.add_entry(lease, log_entry("a", out="one"), at()) == 1
        await store.update_entry(lease, 1, log_entry("a", out="two", exit_code=0), None, at())
        assert await store.add_entry(lease, log_entry("a", out="one"), at()) == 1
        assert await whole(store, lease, 1) == b"two"
        assert (await store.entries(1))[0].exit_code == 0
        assert await store.add_entry(lease, log_entry("a", seconds=1), at()) == 2
        assert await store.add_entry(lease, log_entry("b"), at()) == 3
        timeless = ExecutionLogEntry(key="c")
        assert [await store.add_entry(lease, timeless, at()) for _ in range(2)] == [4, 4]

    check(work)


def test_an_entry_is_replaced_with_all_its_output(check):
    async def work(store):
        lease = await begun(store)
        await store.add_entry(lease, log_entry(out="abc"), at())
        changed = log_entry("other", out="x", seconds=3, exit_code=-1, duration_ms=5)
        await store.update_entry(lease, 1, changed, None, at())
        (row,) = await store.entries(1)
        assert (row.key, row.started_at, row.exit_code, row.duration_ms) == ("other", at(3), -1, 5)
        assert (row.size_bytes, await whole(store, lease, 1)) == (1, b"x")
        await store.update_entry(lease, 1, log_entry(), None, at())
        assert await whole(store, lease, 1) == b""

    check(work)


def test_output_is_appended_by_offset_and_lost_answers_do_no_harm(check):
    async def work(store):
        lease = await begun(store)
        await store.add_entry(lease, log_entry(out="\N{SNOWMAN}"), at())

        async def append(offset, out):
            await store.update_entry(lease, 1, log_entry(out=out), offset, at())
            return await whole(store, lease, 1)

        assert await append(3, "abc") == "\N{SNOWMAN}abc".encode()
        assert await append(3, "abc") == "\N{SNOWMAN}abc".encode()
        assert await append(4, "bcd") == "\N{SNOWMAN}abcd".encode()
        assert await append(0, "\N{SNOWMAN}a") == "\N{SNOWMAN}abcd".encode()
        assert await append(7, "") == "\N{SNOWMAN}abcd".encode()
        with pytest.raises(ConflictError, match="7 bytes") as caught:
            await append(8, "x")
        assert not isinstance(caught.value, LeaseLost)
        assert await append(7, "!") == "\N{SNOWMAN}abcd!".encode()
        assert (await store.entries(1))[0].size_bytes == 8
        await store.update_entry(lease, 1, log_entry(out="new"), None, at())
        assert await append(3, "er") == b"newer"

    check(work)


def test_output_is_read_by_offset_and_limit(check):
    async def work(store):
        lease = await begun(store)
        await store.add_entry(lease, log_entry(), at())
        seed = random.randrange(1 << 32)
        print(f"seed {seed}")
        rng = random.Random(seed)
        text = ""
        for _ in range(40):
            more = "".join(rng.choices("xyz", k=rng.randrange(9)))
            await store.update_entry(lease, 1, log_entry(out=more), len(text), at())
            text += more
        for _ in range(60):
            offset, limit = rng.randrange(len(text) + 5), rng.randrange(len(text) + 5)
            assert await store.output(1, 1, 1, offset, limit) == text[offset : offset + limit].encode()
        assert await store.output(1, 1, 2, 0, 9) == b""
        assert await store.output(1, 2, 1, 0, 9) == b""

    check(work)


def test_an_entry_that_was_not_begun_is_told(check):
    async def work(store):
        lease = await begun(store)
        for number in (0, 1, 2):
            with pytest.raises(JobNotFound, match=f"no entry {number}"):
                await store.update_entry(lease, number, log_entry(), None, at())

    check(work)


def test_each_attempt_has_a_log_of_its_own(check):
    async def work(store):
        lease = await begun(store)
        await store.add_entry(lease, log_entry(out="first"), at())
        await end(store, lease, Verdict.HANDED_BACK)
        again = (await take(store)).lease
        with pytest.raises(JobNotFound):
            await store.update_entry(again, 1, log_entry(), None, at())
        assert await store.add_entry(again, log_entry(out="second"), at()) == 1
        assert [(row.attempt, row.entry) for row in await store.entries(1)] == [(1, 1), (2, 1)]
        assert await whole(store, lease, 1) == b"first"
        assert await whole(store, again, 1) == b"second"

    check(work)


def test_output_above_its_limit_is_refused_over_all_attempts(check, monkeypatch):
    async def work(store):
        for place in ("runwright.testing.job_records", type(store).__module__):
            monkeypatch.setattr(f"{place}.MAX_JOB_OUTPUT_BYTES", 10, raising=False)
        lease = await begun(store)
        await store.add_entry(lease, log_entry("a", out="12345678"), at())
        await end(store, lease, Verdict.HANDED_BACK)
        lease = (await take(store)).lease
        with pytest.raises(ConflictError, match="put out more than"):
            await store.add_entry(lease, log_entry("a", out="123"), at())
        await store.add_entry(lease, log_entry("a", out="12"), at())
        with pytest.raises(ConflictError, match="put out more than"):
            await store.update_entry(lease, 1, log_entry(out="3"), 2, at())
        with pytest.raises(ConflictError, match="put out more than"):
            await store.update_entry(lease, 1, log_entry(out="123"), None, at())
        await store.update_entry(lease, 1, log_entry(out="12"), 0, at())
        await store.update_entry(lease, 1, log_entry(out="ab"), None, at())
        assert await whole(store, lease, 1) == b"ab"

    check(work)


def test_jobs_are_listed_newest_first_and_narrowed(check):
    async def work(store):
        ids = await store.submit(
            [new_job(queue, key=key) for queue, key in (("a", "x"), ("b", "x"), ("a", ""), ("a", "x"))], at()
        )
        await take_all(store, "a", most=2, worker="w7")
        await end(store, JobLease(ids[0], 1), Verdict.FAILED)

        async def listed(**narrow):
            return [row.id for row in await store.jobs(JobFilter(**narrow))]

        assert await listed() == ids[::-1]
        assert await listed(limit=2) == [ids[3], ids[2]]
        assert await listed(limit=2, below=ids[2]) == [ids[1], ids[0]]
        assert await listed(queue="a") == [ids[3], ids[2], ids[0]]
        assert await listed(queue="a", key="x") == [ids[3], ids[0]]
        assert await listed(state=JobState.FAILED) == [ids[0]]
        assert await listed(state=JobState.QUEUED, queue="a") == [ids[3]]
        assert await listed(worker="w7") == [ids[2], ids[0]]
        assert await listed(queue="none") == []
        assert await store.jobs(JobFilter(limit=1)) == [await store.job(ids[3])]

    check(work)


def test_a_job_is_found_by_the_key_under_which_it_was_submitted(check):
    async def work(store):
        first, _, third = await store.submit([new_job(idempotency_key=key) for key in ("k", "", "m")], at())
        await end(store, await take(store))
        for key, expected in (("k", [first]), ("m", [third]), ("n", [])):
            assert [row.id for row in await store.jobs(JobFilter(idempotency_key=key))] == expected

    check(work)


def test_queues_are_there_with_jobs_or_settings_by_name(check):
    async def work(store):
        assert await store.queues() == []
        limited = QueueSettings(name="m", paused=True, limit=3, key_limit=2, max_resets=0)
        await store.set_queue(QueueSettings(name="m", limit=99))
        await store.set_queue(limited)
        await store.submit([new_job("z"), new_job("A"), new_job("z"), new_job("z", delay=9.0)], at())
        await store.submit([new_job("z", max_attempts=2)], at(1))
        _, given = await store.exchange([], claim("z", most=2), at(2))
        await end(store, given[1])
        assert await store.queues() == [
            QueueRow(settings=QueueSettings(name="A"), counts={JobState.QUEUED: 1}, oldest_at=at()),
            QueueRow(settings=limited, counts={}),
            QueueRow(
                settings=QueueSettings(name="z"),
                counts={JobState.COMPLETED: 1, JobState.PROCESSING: 1, JobState.QUEUED: 2},
                oldest_at=at(1),
            ),
        ]
        last = await take(store, "z", now=3)
        await end(store, last, Verdict.ERRORED, now=4)
        (*_, row) = await store.queues()
        assert (row.counts[JobState.ERRORED], row.oldest_at) == (1, None)
        await store.promote(at(14))
        (*_, row) = await store.queues()
        assert (row.counts[JobState.ERRORED], row.oldest_at) == (1, at(9))

    check(work)


def test_what_a_worker_says_is_kept_with_the_number_of_its_leases(check):
    async def work(store):
        said = WorkerRow(
            name="w1",
            boot_id="b",
            queues=("builds", "docs"),
            labels=("gpu",),
            slots=4,
            draining=True,
            os="linux",
            architecture="x86_64",
            versions={"git": "2.5", "docker": ""},
            metrics="up 1\n\N{SNOWMAN}",
            leases=17,
        )
        await store.note_worker(WorkerRow(name="w1"), at(1))
        await store.note_worker(said, at(2))
        await store.note_worker(WorkerRow(name="W0"), at(3))
        await store.submit([new_job() for _ in range(3)], at())
        await take_all(store, most=2)
        await take_all(store, worker="stranger")
        first, second = await store.workers()
        assert (first.name, first.leases, first.first_seen_at, first.last_seen_at) == ("W0", 0, at(3), at(3))
        assert second == WorkerRow(
            **{name: getattr(said, name) for name in said.__struct_fields__[:10]},
            leases=2,
            first_seen_at=at(1),
            last_seen_at=at(2),
        )

    check(work)


def test_tokens_are_kept_by_name_and_digest_until_they_are_revoked(check):
    async def work(store):
        first = await store.add_token("ci", TokenRole.WORKER, digest(1), at(1))
        assert first == TokenRow(
            id=1, name="ci", role=TokenRole.WORKER, created_at=at(1), digest=digest(1), revoked_at=None
        )
        with pytest.raises(ConflictError, match="token ci"):
            await store.add_token("ci", TokenRole.ADMIN, digest(2), at(2))
        admin = await store.add_token("me", TokenRole.ADMIN, digest(3), at(3))
        assert await store.token(digest(1)) == first
        assert await store.token(digest(2)) is None
        revoked = await store.revoke_token("ci", at(4))
        assert (revoked.id, revoked.revoked_at) == (first.id, at(4))
        assert await store.token(digest(1)) == revoked
        assert await store.revoke_token("ci", at(5)) == revoked
        again = await store.add_token("ci", TokenRole.WORKER, digest(4), at(6))
        assert again.id > admin.id > first.id
        assert await store.tokens() == [revoked, admin, again]
        assert (await store.revoke_token("ci", at(7))).id == again.id
        with pytest.raises(StoreError, match="no token nobody"):
            await store.revoke_token("nobody", at(8))

    check(work)


def test_jobs_that_ended_long_ago_are_removed_with_everything(check):
    async def work(store):
        first, second, third, fourth, fifth = await store.submit(
            [new_job(idempotency_key=f"k{number}", max_attempts=2) for number in range(5)], at()
        )
        _, given = await store.exchange([], claim(digests=tuple(digest(n) for n in range(4))), at())
        await store.add_entry(given[0].lease, log_entry(out="x"), at())
        await end(store, given[0], Verdict.COMPLETED, now=10)
        await end(store, given[1], Verdict.FAILED, now=20)
        await end(store, given[2], Verdict.ERRORED, now=10)
        await store.cancel(fifth, "no", at(30))
        assert await store.prune(at(10), 100) == 0
        assert await store.prune(at(100), 1) == 1
        with pytest.raises(JobNotFound):
            await store.job(first)
        with pytest.raises(JobNotFound):
            await store.payload(first)
        assert await store.attempts(first) == []
        assert await store.entries(first) == []
        assert await store.output(first, 1, 1, 0, 9) == b""
        assert await store.holder(digest(0)) is None
        assert await end(store, given[0]) is Ended.REFUSED
        assert await store.prune(at(30), 100) == 1
        assert [row.id for row in await store.jobs(JobFilter())] == [fifth, fourth, third]
        assert await store.prune(at(31), 100) == 1
        assert [row.id for row in await store.jobs(JobFilter())] == [fourth, third]
        assert (await store.submit([new_job(idempotency_key="k0")], at(40)))[0] > fifth
        assert await store.submit([new_job(idempotency_key="k2")], at(40)) == [third]
        assert second not in [row.id for row in await store.jobs(JobFilter())]

    check(work)


def test_the_number_of_a_job_that_was_removed_is_not_used_again(check):
    async def work(store):
        lease = await begun(store)
        await end(store, lease)
        assert await store.prune(at(99), 10) == 1
        assert await store.submit([new_job()], at(100)) == [2]

    check(work)
