"""Job stores on PostgreSQL, and what tests of their faults do with them."""

import asyncio
import time
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from hashlib import sha256
from itertools import count
from urllib.parse import urlsplit

import psycopg

from runwright.adapters.postgres.jobs import PostgresJobStore
from runwright.core.job_rows import Claim, Ending, NewJob, Verdict

START = datetime(2026, 3, 1, 12, 0, 0, tzinfo=UTC)
DEADLINE_SECONDS = 30.0

_numbers = count(1)


def at(seconds=0.0):
    return START + timedelta(seconds=seconds)


def new_job(queue="builds", **fields):
    return NewJob(queue=queue, payload=fields.pop("payload", b"{}"), **fields)


def claim(most=1, worker="w", **fields):
    digests = tuple(sha256(b"%d" % next(_numbers)).digest() for _ in range(most))
    return Claim(queues=fields.pop("queues", ("builds",)), worker=worker, digests=digests, **fields)


def completed(given):
    return [Ending(lease=each.lease, verdict=Verdict.COMPLETED) for each in given]


@asynccontextmanager
async def stores(url, number=1, **options):
    """Open some stores on one database, and close them at the end."""
    opened = [PostgresJobStore.open(url, **options) for _ in range(number)]
    try:
        yield opened
    finally:
        for store in opened:
            await store.close()


def execute(url, statement, parameters=None):
    """Execute a statement beside the stores; return its rows."""
    with psycopg.connect(url, autocommit=True, options="-c search_path=runwright") as connection:
        cursor = connection.execute(statement, parameters)
        return cursor.fetchall() if cursor.description else []


def by_way_of(url, port):
    """Return the URL of a database with another port."""
    return url.replace(f":{urlsplit(url).port}/", f":{port}/")


def end_connections(url, like="%"):
    """Have the server end every other connection to a database whose last statement is like that."""
    execute(
        url,
        "SELECT pg_terminate_backend(pid) FROM pg_stat_activity "
        "WHERE datname = current_database() AND pid <> pg_backend_pid() AND query LIKE %s",
        (like,),
    )


async def until(condition):
    """Wait until a condition holds; fail after a deadline."""
    deadline = time.monotonic() + DEADLINE_SECONDS
    while not condition():
        assert time.monotonic() < deadline
        await asyncio.sleep(0.01)
