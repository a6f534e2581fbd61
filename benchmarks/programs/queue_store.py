"""Runwright's queue in one process: ``queue_store.py URL enqueue|work|fill COUNT BATCH WORKERS``.

`fill` lets jobs come and go without a time, so that what runs next has a table full of them.
"""

import asyncio
import hashlib
import json
import os
import sys
import time
from datetime import UTC, datetime

from runwright.core.job_rows import Claim, Ending, NewJob, Verdict
from runwright.wiring.job_stores import open_job_store

JOB = NewJob(queue="q", payload=b'{"version":2,"dockerSteps":[{"image":"i","commands":["true"]}]}')
MANY = 1000


def now():
    return datetime.now(UTC)


def a_claim(worker, count):
    digests = tuple(hashlib.sha256(os.urandom(20)).digest() for _ in range(count))
    return Claim(queues=("q",), worker=worker, digests=digests)


async def enqueue(store, share, batch):
    for place in range(0, share, batch):
        await store.submit([JOB] * min(batch, share - place), now())
    return share


async def work(store, worker, batch):
    done, endings = 0, []
    while True:
        _, claimed = await store.exchange(endings, a_claim(worker, batch), now())
        if not claimed:
            return done
        done += len(claimed)
        endings = [Ending(lease=job.lease, verdict=Verdict.COMPLETED) for job in claimed]


async def main(store, what, count, batch, workers):
    if what == "enqueue":
        jobs = [enqueue(store, count // workers, batch) for _ in range(workers)]
    else:
        await enqueue(store, count, MANY)
        jobs = [work(store, f"w{number}", batch) for number in range(workers)]
    started = time.perf_counter()
    counts = await asyncio.gather(*jobs)
    seconds = time.perf_counter() - started
    assert sum(counts) == count, counts
    await store.close()
    return seconds


if __name__ == "__main__":
    url, what, *numbers = sys.argv[1:]
    seconds = asyncio.run(main(open_job_store(url), what, *map(int, numbers)))
    print(json.dumps({"seconds": seconds, "tasks": int(numbers[0])}))
