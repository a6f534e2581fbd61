"""Power is lost while a queue works: what was acknowledged is there, and no job is held twice."""

import asyncio
import os
import random
import shutil
from datetime import UTC, datetime
from hashlib import sha256

import apsw
import pytest
from powerloss import Power
from stored import integrity

from runwright.adapters.sqlite import connection
from runwright.adapters.sqlite.jobs import SqliteJobStore
from runwright.core.errors import StoreError
from runwright.core.job_rows import Claim, Ended, Ending, JobFilter, NewJob, Verdict
from runwright.core.states import JobState

LOSSES = int(os.environ.get("RUNWRIGHT_LOSSES", "300"))
SEED = int(os.environ.get("RUNWRIGHT_SEED", "20260303"))
NOW = datetime(2026, 3, 1, tzinfo=UTC)


class Promises:
    """What the store has acknowledged before the power failed."""

    def __init__(self, power):
        self._power = power
        self.jobs = set()
        self.leases = {}
        self.completed = set()

    @property
    def is_on(self):
        return self._power.files is None

    def note(self, ids, given, ended):
        if self.is_on:
            self.jobs.update(ids)
            self.leases.update({each.job_id: each.attempt for each in given})
            self.completed.update(ended)

    def broken(self, rows, attempts):
        """Return what is not there though it was acknowledged, or is there twice."""
        faults = [f"job {number} is lost" for number in sorted(self.jobs - rows.keys())]
        for number in sorted(self.completed & rows.keys()):
            if rows[number].state is not JobState.COMPLETED:
                faults.append(f"the verdict on job {number} is lost")
        for number in sorted(self.leases.keys() & rows.keys()):
            if rows[number].attempt < self.leases[number]:
                faults.append(
                    f"attempt {self.leases[number]} at job {number} is lost: it would be given again"
                )
        numbers = {number: [attempt.number for attempt in each] for number, each in attempts.items()}
        faults += [
            f"job {n} has attempts {each}"
            for n, each in numbers.items()
            if each != list(range(1, len(each) + 1))
        ]
        return faults


async def scenario(path, power, promises, dice, durability):
    """Submit, claim and complete from several tasks until the power fails."""
    store = SqliteJobStore.open(path, durability)

    async def worker(name):
        given, endings = [], []
        for _ in range(12):
            if not promises.is_on:
                return
            ids = await store.submit(
                [NewJob(queue="q", payload=b"x" * dice.randint(0, 400))] * dice.randint(0, 3), NOW
            )
            promises.note(ids, [], [])
            digests = tuple(sha256(dice.randbytes(8)).digest() for _ in range(dice.randint(1, 3)))
            claim = Claim(queues=("q",), worker=name, digests=digests)
            became, given = await store.exchange(endings, claim, NOW)
            promises.note([], given, [word.lease.job_id for word in endings])
            assert set(became) <= {Ended.ACCEPTED}
            endings = [Ending(lease=each.lease, verdict=Verdict.COMPLETED) for each in given]

    try:
        await asyncio.gather(*(worker(f"w{number}") for number in range(3)))
        if promises.is_on:
            power.fail()
    finally:
        await store.close()


async def what_is_left(path):
    """Return the jobs of a queue after its disk failed, and their attempts."""
    store = SqliteJobStore.open(path, durability="off")
    try:
        rows = {row.id: row for row in await store.jobs(JobFilter(limit=10_000))}
        return rows, {number: await store.attempts(number) for number in rows}
    finally:
        await store.close()


def lose(tmp_path, dice, fails_at, durability):
    """Return which promises were broken, and how far the disk came."""
    work, after = tmp_path / "work", tmp_path / "after"
    for folder in (work, after):
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir()
    shutil.copy(tmp_path / "template.db", work / "runs.db")
    power = Power(dice, fails_at)
    promises = Promises(power)
    try:
        asyncio.run(scenario(work / "runs.db", power, promises, dice, durability))
    except StoreError:
        assert power.files is not None
    finally:
        power.disk.unregister()
    for name, content in power.files.items():
        (after / name).write_bytes(content)
    problem = integrity(after / "runs.db")
    if problem != "ok":
        return [problem], power.disk.operations
    return promises.broken(*asyncio.run(what_is_left(after / "runs.db"))), power.disk.operations


@pytest.fixture
def template(tmp_path, monkeypatch):
    monkeypatch.setattr(connection, "CHECKPOINT_PAGES", 12)
    asyncio.run(SqliteJobStore.open(tmp_path / "template.db", durability="off").close())


@pytest.mark.timeout(1200)
def test_no_acknowledged_job_or_verdict_is_lost(tmp_path, template):
    print(f"RUNWRIGHT_SEED={SEED} RUNWRIGHT_LOSSES={LOSSES}")
    dice = random.Random(SEED)
    _, most = lose(tmp_path, dice, 0, "full")
    for number in range(LOSSES):
        broken, _ = lose(tmp_path, dice, dice.randint(1, most), "full")
        assert broken == [], f"loss {number}"


def test_the_simulation_notices_a_queue_that_does_not_sync(tmp_path, template):
    print(f"RUNWRIGHT_SEED={SEED}")
    dice = random.Random(SEED)
    _, most = lose(tmp_path, dice, 0, "off")
    noticed = 0
    for _ in range(30):
        try:
            noticed += bool(lose(tmp_path, dice, dice.randint(1, most), "off")[0])
        except (StoreError, apsw.Error):
            noticed += 1
    assert noticed >= 5
