"""The job queue on SQLite under several processes, SIGKILL and calls that are at fault."""

import asyncio
import json
import os
import subprocess
import sys
from datetime import UTC, datetime
from hashlib import sha256

import apsw
import pytest
from stored import integrity

from runwright.adapters.sqlite import errors, job_bell, job_exchange
from runwright.adapters.sqlite.jobs import SqliteJobStore
from runwright.core.errors import InternalError, StoreError
from runwright.core.job_rows import Claim, Ended, Ending, JobFilter, JobLease, NewJob, TokenRole, Verdict
from runwright.core.states import JobState
from runwright.wiring.job_stores import open_job_store

PROCESSES = int(os.environ.get("RUNWRIGHT_PROCESSES", "16"))
JOBS = 20_000
NOW = datetime(2026, 3, 1, tzinfo=UTC)

WORKER = """
import asyncio, json, os, sys
from datetime import UTC, datetime
from runwright.adapters.sqlite.jobs import SqliteJobStore
from runwright.core.job_rows import Claim, Ended, Ending, Verdict
async def work():
    store, taken, endings = SqliteJobStore.open(sys.argv[1]), [], []
    while True:
        claim = Claim(queues=("q",), worker=sys.argv[2], digests=tuple(os.urandom(32) for _ in range(50)))
        became, given = await store.exchange(endings, claim, datetime.now(UTC))
        assert set(became) <= {Ended.ACCEPTED}
        if not given:
            break
        taken += [each.job_id for each in given]
        endings = [Ending(lease=each.lease, verdict=Verdict.COMPLETED) for each in given]
    await store.close()
    print(json.dumps(taken))
asyncio.run(work())
"""


def claim(most=1, seed=0):
    return Claim(
        queues=("q",), worker="w", digests=tuple(sha256(b"%d %d" % (seed, n)).digest() for n in range(most))
    )


def jobs(count):
    return [NewJob(queue="q", payload=b"{}", key=str(number % 5)) for number in range(count)]


def on_store(path, work):
    """Run a coroutine on the store in a file, and close that."""

    async def whole():
        store = SqliteJobStore.open(path)
        try:
            return await work(store)
        finally:
            await store.close()

    return asyncio.run(whole())


@pytest.mark.timeout(300)
def test_many_processes_get_each_job_once_and_none_is_told_of_a_lock(tmp_path):
    path = tmp_path / "runs.db"
    ids = on_store(path, lambda store: store.submit(jobs(JOBS), NOW))
    command = [sys.executable, "-c", WORKER, str(path)]
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}
    workers = [subprocess.Popen([*command, f"w{number}"], **pipes) for number in range(PROCESSES)]
    taken = []
    for worker in workers:
        said, complaint = worker.communicate(timeout=280)
        assert (worker.returncode, complaint) == (0, "")
        taken += json.loads(said)
    assert sorted(taken) == ids
    assert integrity(path) == "ok"
    (queue,) = on_store(path, lambda store: store.queues())
    assert queue.counts == {JobState.COMPLETED: JOBS}


# Each line that it prints is a promise: what is written before it survives the process.
VICTIM = """
import asyncio, sys
from hashlib import sha256
from datetime import UTC, datetime
from runwright.adapters.sqlite.jobs import SqliteJobStore
from runwright.core.job_rows import Claim, Ending, NewJob, Verdict
NOW = datetime(2026, 3, 1, tzinfo=UTC)
async def work():
    store, endings = SqliteJobStore.open(sys.argv[1]), []
    for turn in range(4):
        asked = store.submit([NewJob(queue="q", payload=b"{}")] * 2, NOW)
        if sys.argv[2] == "hasty":  # says it before it is so
            print("submitted", 2 * turn + 1, 2 * turn + 2, flush=True)
        ids = await asked
        print("submitted", *ids, flush=True)
        claim = Claim(queues=("q",), worker="w", digests=(sha256(b"%d" % turn).digest(),))
        became, given = await store.exchange(endings, claim, NOW)
        print("completed", *(word.lease.job_id for word in endings), flush=True)
        print("given", *(each.job_id for each in given), flush=True)
        endings = [Ending(lease=each.lease, verdict=Verdict.COMPLETED) for each in given]
    await store.close()
asyncio.run(work())
"""


def kill(path, place, count, kind="honest"):
    """Let a process be killed at a commit; return what it had promised, by kind."""
    found = subprocess.run(
        [sys.executable, "-c", VICTIM, str(path), kind],
        env=os.environ | {"RUNWRIGHT_FAILPOINT": f"store.{place}_commit:{count}"},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert found.returncode == -9, found.stderr
    promised = {"submitted": set(), "completed": set(), "given": set()}
    for line in found.stdout.splitlines():
        name, *ids = line.split()
        promised[name].update(map(int, ids))
    return promised


async def broken(store, promised):
    """Return which promises are broken."""
    rows = {row.id: row for row in await store.jobs(JobFilter(limit=1_000))}
    lost = [f"job {number}" for number in sorted(promised["submitted"] - rows.keys())]
    present = {number: rows[number] for number in rows.keys() & promised["given"]}
    lost += [f"lease on {number}" for number, row in present.items() if row.attempt != 1]
    ended = {number: rows[number] for number in rows.keys() & promised["completed"]}
    lost += [f"verdict on {number}" for number, row in ended.items() if row.state is not JobState.COMPLETED]
    _, again = await store.exchange([], claim(100, seed=9), NOW)
    lost += [f"{each.job_id} is held twice" for each in again if each.job_id in promised["given"]]
    return lost


@pytest.mark.parametrize("count", [1, 2, 3, 4, 6])
@pytest.mark.parametrize("place", ["before", "after"])
def test_a_process_killed_at_a_commit_has_broken_no_promise(tmp_path, place, count):
    path = tmp_path / "runs.db"
    on_store(path, lambda store: store.queues())
    promised = kill(path, place, count)
    assert integrity(path) == "ok"
    assert on_store(path, lambda store: broken(store, promised)) == []


def test_a_process_that_promises_too_early_is_found_out(tmp_path):
    path = tmp_path / "runs.db"
    on_store(path, lambda store: store.queues())
    promised = kill(path, "before", 1, "hasty")
    assert on_store(path, lambda store: broken(store, promised)) == ["job 1", "job 2"]


def test_a_call_that_cannot_be_stored_fails_alone(tmp_path):
    async def work(store):
        bad = NewJob(queue="q", payload=b"{}", key="\ud800")
        calls = [store.submit(jobs(1), NOW) for _ in range(3)]
        calls.insert(1, store.submit([jobs(1)[0], bad], NOW))
        found = await asyncio.gather(*calls, return_exceptions=True)
        assert isinstance(found[1], StoreError)
        assert "can't be stored" in str(found[1])
        assert sorted(found[0] + found[2] + found[3]) == [
            row.id for row in (await store.jobs(JobFilter()))[::-1]
        ]
        assert len(await store.jobs(JobFilter())) == 3

    on_store(tmp_path / "runs.db", work)


def test_a_call_with_a_fault_of_ours_fails_alone_and_says_so(tmp_path):
    async def work(store):
        calls = [store.submit(jobs(1), NOW), store.submit(["no job"], NOW), store.submit(jobs(1), NOW)]
        found = await asyncio.gather(*calls, return_exceptions=True)
        assert isinstance(found[1], InternalError)
        assert len(await store.jobs(JobFilter())) == 2

    on_store(tmp_path / "runs.db", work)


def test_what_one_call_refuses_leaves_the_others_of_its_commit(tmp_path):
    async def work(store):
        await store.add_token("a", TokenRole.ADMIN, b"1" * 32, NOW)
        calls = [
            store.submit(jobs(1), NOW),
            store.add_token("a", TokenRole.ADMIN, b"2" * 32, NOW),
            store.cancel(99, "", NOW),
            store.submit(jobs(1), NOW),
        ]
        found = await asyncio.gather(*calls, return_exceptions=True)
        assert [type(each).__name__ for each in found] == ["list", "ConflictError", "JobNotFound", "list"]
        assert len(await store.jobs(JobFilter())) == 2

    on_store(tmp_path / "runs.db", work)


def test_a_lock_that_is_never_given_back_is_reported_and_the_queue_goes_on(tmp_path, monkeypatch):
    monkeypatch.setattr(errors, "BUSY_SECONDS", 0.05)
    monkeypatch.setattr("runwright.adapters.sqlite.connection._BUSY_MS", 10)
    path = tmp_path / "runs.db"

    async def work(store):
        rude = apsw.Connection(str(path))
        rude.execute("BEGIN IMMEDIATE")
        with pytest.raises(StoreError, match="kept the store locked"):
            await store.submit(jobs(1), NOW)
        rude.execute("ROLLBACK")
        rude.close()
        assert len(await store.submit(jobs(1), NOW)) == 1

    on_store(path, work)


def test_a_store_that_can_not_be_opened_says_why(tmp_path):
    (tmp_path / "notes.db").write_text("not a database, but long enough to look at " * 100)
    with pytest.raises(StoreError, match="not a Runwright store"):
        SqliteJobStore.open(tmp_path / "notes.db")


def test_who_waits_is_woken_by_another_process_too(tmp_path, monkeypatch):
    monkeypatch.setattr(job_bell, "LOOK_SECONDS", 0.02)
    path = tmp_path / "runs.db"

    async def work(store):
        other = SqliteJobStore.open(path)
        assert await store.wait(["q"], 0.1) is False
        await other.submit([NewJob(queue="another", payload=b"{}")], NOW)
        assert await store.wait(["q"], 0.2) is False
        waiting = asyncio.ensure_future(store.wait(["q"], 30.0))
        await asyncio.sleep(0)
        await other.submit(jobs(1), NOW)
        assert await waiting is True
        await other.close()

    on_store(path, work)


def test_who_waits_is_let_go_when_the_store_is_closed(tmp_path):
    async def work(store):
        waiting = asyncio.ensure_future(store.wait(["q"], 30.0))
        await asyncio.sleep(0)
        await store.close()
        await asyncio.wait_for(waiting, 10.0)

    on_store(tmp_path / "runs.db", work)


def test_the_token_of_an_old_attempt_is_found_among_many(tmp_path):
    async def work(store):
        await store.submit(jobs(3_000), NOW)
        endings, first = [], claim(1, seed=1).digests[0]
        for seed in range(1, 5):
            became, given = await store.exchange(endings, claim(1_000, seed=seed), NOW)
            endings = [Ending(lease=each.lease, verdict=Verdict.COMPLETED) for each in given]
            assert set(became) <= {Ended.ACCEPTED}
        for seed, number in ((1, 0), (1, 999), (2, 500), (3, 999)):
            digest = sha256(b"%d %d" % (seed, number)).digest()
            holder = await store.holder(digest)
            assert (holder.is_current, holder.outcome) == (False, "completed")
        assert (await store.holder(first)).lease.attempt == 1
        assert await store.holder(b"0" * 32) is None

    on_store(tmp_path / "runs.db", work)


async def effort(store, labels=()):
    """Return how many operations SQLite's machine needs for a claim, in tens."""

    def action(connection):
        seen = []
        connection.set_progress_handler(lambda: bool(seen.append(1)), 10)
        asked = Claim(queues=("q",), worker="w", digests=(os.urandom(32),), labels=labels)
        _, given = job_exchange.exchange(connection, set(), [], asked, NOW)
        connection.set_progress_handler(None)
        assert len(given) == 1
        return len(seen)

    return await store._writer.call(action)


def test_finished_jobs_and_jobs_for_others_are_not_looked_at_by_a_claim(tmp_path):
    async def finish(store, count, seed):
        await store.submit(jobs(count), NOW)
        _, given = await store.exchange([], claim(count, seed), NOW)
        words = [Ending(lease=each.lease, verdict=Verdict.COMPLETED) for each in given]
        await store.exchange(words, None, NOW)

    async def work(store):
        await finish(store, 10, seed=1)
        foreign = NewJob(queue="q", payload=b"{}", labels=("gpu",), priority=9)
        await store.submit([foreign, *jobs(20)], NOW)
        few = await effort(store), await effort(store, ("x", "y"))
        for seed in range(2, 5):
            await finish(store, 2_000, seed)
        await store.submit([foreign] * 5_000, NOW)
        many = await effort(store), await effort(store, ("x", "y"))
        assert few[0] > 1
        assert many[0] <= 1.2 * few[0]
        assert many[1] <= 1.2 * few[1]

    on_store(tmp_path / "runs.db", work)


def test_a_queue_is_chosen_by_its_url(tmp_path, request):
    async def work():
        for place in (tmp_path / "here" / "runs.db", request.getfixturevalue("postgres").create_database()):
            store = open_job_store(place)
            (number,) = await store.submit(jobs(1), NOW)
            _, given = await store.exchange([], claim(), NOW)
            assert given[0].lease == JobLease(number, 1)
            await store.close()

    asyncio.run(work())
    assert (tmp_path / "here" / "runs.db").exists()
