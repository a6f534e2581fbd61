"""Many processes and threads on one store."""

import asyncio
import os
import subprocess
import sys
import threading
from pathlib import Path

import apsw
import pytest
from msgspec import structs
from stored import NOW, create, integrity, life, make, run_id, started

from runwright.adapters.sqlite import SqliteStore, errors
from runwright.core.errors import ConflictError, StoreError
from runwright.core.events import TaskStarted
from runwright.ports.stores import RunFilter

PROCESSES = int(os.environ.get("RUNWRIGHT_PROCESSES", "16"))

WORKER = """
import asyncio, sys
sys.path.insert(0, sys.argv[3])
from stored import NOW, create, life
from runwright.adapters.sqlite import SqliteStore
from runwright.ports.stores import RunFilter
async def work():
    path, number = sys.argv[1], int(sys.argv[2])
    store = SqliteStore.open(path)
    lease = await create(store, number, tasks=10)
    for event in life(5):
        await store.append(lease, [event])
        await store.request_cancel(lease.run_id, NOW, "contention")
        await store.list_runs(RunFilter())
    await store.close()
    again = SqliteStore.open(path, read_only=True)
    assert (await again.verify(lease.run_id)).ok
    await again.close()
asyncio.run(work())
"""


@pytest.mark.timeout(300)
def test_nobody_is_told_that_the_database_is_locked(tmp_path):
    path = tmp_path / "state" / "runs.db"
    command = [sys.executable, "-c", WORKER, str(path)]
    helpers = str(Path(__file__).parent)
    workers = [
        subprocess.Popen([*command, str(number), helpers], stderr=subprocess.PIPE, text=True)
        for number in range(1, PROCESSES + 1)
    ]
    for worker in workers:
        _, complaint = worker.communicate(timeout=240)
        assert (worker.returncode, complaint) == (0, "")
    assert integrity(path) == "ok"

    async def work():
        store = SqliteStore.open(path, read_only=True)
        runs = await store.list_runs(RunFilter())
        assert len(runs) == PROCESSES
        assert {run.head_seq for run in runs} == {11}
        await store.close()

    asyncio.run(work())


def test_a_lock_that_is_never_given_back_is_reported(tmp_path, monkeypatch):
    monkeypatch.setattr(errors, "BUSY_SECONDS", 0.05)
    monkeypatch.setattr("runwright.adapters.sqlite.connection._BUSY_MS", 10)
    path = tmp_path / "runs.db"
    lease = asyncio.run(make(path))

    async def work():
        store = SqliteStore.open(path)
        rude = apsw.Connection(str(path))
        rude.execute("BEGIN IMMEDIATE")
        with pytest.raises(StoreError, match="kept the store locked"):
            await store.append(lease, life(1))
        rude.execute("ROLLBACK")
        rude.close()
        await store.append(lease, life(1))  # that was no fault of the disk: the store goes on
        await store.close()

    asyncio.run(work())


def test_threads_with_their_own_loops_share_a_store(tmp_path):
    store = SqliteStore.open(tmp_path / "runs.db")
    failures = []

    def work(number):
        async def appends():
            lease = await create(store, number)
            await asyncio.gather(*(store.append(lease, [event]) for event in life(20)))
            report = await store.verify(lease.run_id)
            assert (report.ok, report.events) == (True, 41)

        try:
            asyncio.run(appends())
        except Exception as error:
            failures.append(error)

    threads = [threading.Thread(target=work, args=(number,)) for number in range(1, 7)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    asyncio.run(store.close())
    assert failures == []


def test_a_loop_that_is_gone_is_no_problem_for_the_others(tmp_path):
    store = SqliteStore.open(tmp_path / "runs.db")
    lease = asyncio.run(create(store))

    async def leave():
        for event in life(20):
            store.append(lease, [event])

    asyncio.run(leave())

    async def rest():
        await store.append(lease, [TaskStarted(at=NOW, task_id="task_30", attempt=1)])
        assert (await store.verify(lease.run_id)).events == 42
        await store.close()

    asyncio.run(rest())


def test_a_lease_taken_by_another_process_is_noticed_within_the_commit(tmp_path):
    """The head of the log is kept in memory; a take elsewhere must still be seen, also in the middle of a batch."""
    path = tmp_path / "runs.db"

    async def work():
        one, other = SqliteStore.open(path), SqliteStore.open(path)
        lease, safe = await create(one, 1), await create(one, 2)
        await one.append(lease, life(1))
        taken = await other.take_lease(
            lease.run_id, (await one.find_run(run_id(1))).owner, 60, NOW.replace(year=2100)
        )
        late = [one.append(lease, life(2)[2:]), one.append(safe, life(1)), one.append(lease, life(3)[4:])]
        results = await asyncio.gather(*late, return_exceptions=True)
        assert isinstance(results[0], ConflictError)
        assert results[1] is None
        assert isinstance(results[2], ConflictError)
        await other.append(taken, life(2)[2:])
        for lease_id in (run_id(1), run_id(2)):
            assert (await one.verify(lease_id)).ok
        await one.close()
        await other.close()

    asyncio.run(work())


def test_one_call_that_sqlite_refuses_fails_alone(tmp_path):
    async def work():
        store = SqliteStore.open(tmp_path / "runs.db")
        lease = await create(store)
        events = life(3)
        bad = [structs.replace(events[1], reason=None)]
        sent = [store.append(lease, events[:2]), store.append(lease, bad), store.append(lease, events[2:])]
        results = await asyncio.gather(*sent, return_exceptions=True)
        assert (results[0], results[2]) == (None, None)
        assert isinstance(results[1], StoreError)
        report = await store.verify(lease.run_id)
        assert (report.ok, report.events) == (True, 7)
        await store.append(lease, [started()])
        await store.close()

    asyncio.run(work())
