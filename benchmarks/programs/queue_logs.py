"""Output appended to the log of one job: ``queue_logs.py URL sql|store|http MEBIBYTES``, in the pieces that workers send.

`sql` is the floor: the same pieces put into a table of SQLite, each with a commit and its fsync.
"""

import asyncio
import json
import sys
import time

from benchmarks.programs import queue_store
from runwright.core.job_wire import DequeueRequest, ExecutionLogEntry
from runwright.engines.job_log import SEND_BYTES
from runwright.wiring.job_stores import open_job_store

LINE = "0123456789abcdef 0123456789abcdef 0123456789abcdef 0123456789abcd\n"
PIECE = (LINE * (SEND_BYTES // len(LINE) + 1))[:SEND_BYTES]


async def append(update, count):
    started = time.perf_counter()
    for number in range(count):
        await update(ExecutionLogEntry(key="step", out=PIECE), number * SEND_BYTES)
    return time.perf_counter() - started


async def sql(url, count):
    import apsw  # noqa: PLC0415 - only the floor needs it

    connection = apsw.Connection(url.removeprefix("sqlite:///"))
    connection.execute("PRAGMA journal_mode = WAL; PRAGMA synchronous = FULL").fetchall()
    connection.execute("CREATE TABLE output (place INTEGER PRIMARY KEY, piece BLOB)")

    async def update(entry, offset):
        connection.execute("INSERT INTO output VALUES (?, ?)", (offset, entry.out.encode()))

    return await append(update, count)


async def in_process(url, count):
    store = open_job_store(url)
    await store.submit([queue_store.JOB], queue_store.now())
    _, (job,) = await store.exchange([], queue_store.a_claim("w", 1), queue_store.now())
    number = await store.add_entry(job.lease, ExecutionLogEntry(key="step"), queue_store.now())

    async def update(entry, offset):
        await store.update_entry(job.lease, number, entry, offset, queue_store.now())

    seconds = await append(update, count)
    await store.close()
    return seconds


async def over_http(url, count):
    from benchmarks.programs.queue_http import enqueue  # noqa: PLC0415 - the others do without a server
    from benchmarks.programs.queue_server import serving  # noqa: PLC0415 - the same

    with serving(url) as running:
        await enqueue(running, 1)
        source = running.source("w")
        given = await source.dequeue(DequeueRequest(executor_name="w"))
        number = await source.add_entry(given, ExecutionLogEntry(key="step"))

        async def update(entry, offset):
            await source.update_entry(given, number, entry, offset)

        seconds = await append(update, count)
        await source.close()
        return seconds


if __name__ == "__main__":
    url, side, size = sys.argv[1:]
    measure = {"sql": sql, "store": in_process, "http": over_http}[side]
    seconds = asyncio.run(measure(url, int(size) * 2**20 // SEND_BYTES))
    print(json.dumps({"seconds": seconds, "tasks": int(size)}))
