"""Jobs, claims and stores for the tests of job stores."""

import asyncio
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from hashlib import sha256
from itertools import count

import pytest

from runwright.adapters.sqlite.jobs import SqliteJobStore
from runwright.core.job_rows import Claim, Claimed, Ended, Ending, JobLease, NewJob, Verdict
from runwright.core.job_wire import ExecutionLogEntry
from runwright.testing.jobs import MemoryJobStore

KINDS = ("memory", "sqlite", "postgres")
START = datetime(2026, 3, 1, 12, 0, 0, tzinfo=UTC)

_numbers = count(1)


def at(seconds=0.0):
    """Return an instant that many seconds after the start."""
    return START + timedelta(seconds=seconds)


def digest(number=None):
    """Return a digest; a fresh one without a number."""
    return sha256(b"token %d" % (next(_numbers) + 1_000_000 if number is None else number)).digest()


def new_job(queue="builds", **changes):
    """Return a job to submit."""
    return NewJob(queue=queue, payload=changes.pop("payload", b'{"version":2}'), **changes)


def claim(*queues, most=1, worker="w1", **changes):
    """Return a claim for at most that many jobs."""
    digests = changes.pop("digests", None) or tuple(digest() for _ in range(most))
    return Claim(queues=queues or ("builds",), worker=worker, digests=digests, **changes)


def ending(given, verdict=Verdict.COMPLETED, message=""):
    """Return a last word on a job that was given, or on a lease."""
    lease = given.lease if isinstance(given, Claimed) else given
    return Ending(lease=lease, verdict=verdict, message=message)


def log_entry(key="step.docker.0", out="", seconds=0.0, **changes):
    """Return an entry of a log."""
    return ExecutionLogEntry(key=key, command=("sh", "-c", "x"), start_time=at(seconds), out=out, **changes)


async def take(store, *queues, now=0.0, **changes):
    """Claim one job; None if none is given."""
    _, given = await store.exchange([], claim(*queues, **changes), at(now))
    return given[0] if given else None


async def take_all(store, *queues, most=100, now=0.0, **changes):
    """Claim what there is; return the ids in the order in which they were given."""
    _, given = await store.exchange([], claim(*queues, most=most, **changes), at(now))
    return [each.job_id for each in given]


async def end(store, given, verdict=Verdict.COMPLETED, message="", now=0.0):
    """Say the last word on an attempt and return what became of it."""
    became, _ = await store.exchange([ending(given, verdict, message)], None, at(now))
    return became[0]


async def end_all(store, ids, verdict=Verdict.COMPLETED, attempt=1, now=0.0):
    """Say the last word on the same attempt at several jobs, which must be accepted."""
    became, _ = await store.exchange([ending(JobLease(job, attempt), verdict) for job in ids], None, at(now))
    assert set(became) == {Ended.ACCEPTED}


def open_store(kind, folder, request, durability="full"):
    """Open a fresh store; skip the test where its server is missing."""
    if kind == "memory":
        return MemoryJobStore()
    if kind == "sqlite":
        return SqliteJobStore.open(folder / "jobs.db", durability)
    adapter = pytest.importorskip("runwright.adapters.postgres.jobs", reason="no store on PostgreSQL yet")
    return adapter.PostgresJobStore.open(request.getfixturevalue("postgres").create_database())


@asynccontextmanager
async def closing(store):
    """Close a store at the end."""
    try:
        yield store
    finally:
        await store.close()


@pytest.fixture(params=KINDS)
def check(request, tmp_path):
    """Run a test's coroutine on a fresh store."""

    def checked(work):
        async def whole():
            async with closing(open_store(request.param, tmp_path, request)) as store:
                return await work(store)

        return asyncio.run(whole())

    return checked
