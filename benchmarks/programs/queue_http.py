"""Runwright's queue over HTTP: ``queue_http.py URL enqueue|work COUNT BATCH WORKERS``; the protocol knows no batches.

The workers are tasks of one process; the server is another. A job is a request to dequeue it and one to complete it.
"""

import asyncio
import json
import sys
import time

from benchmarks.programs.queue_server import serving
from runwright.adapters.clock import SystemClock
from runwright.adapters.http.queue_api import HttpQueue
from runwright.core.job_wire import DequeueRequest, SubmitRequest

ASK = SubmitRequest(queue="q", job={"version": 2, "dockerSteps": [{"image": "i", "commands": ["true"]}]})


async def enqueue(running, share):
    user = HttpQueue(running.server, running.admin, SystemClock(), lambda: 0.5)
    for _ in range(share):
        await user.submit(ASK)
    await user.close()
    return share


async def work(running, name):
    source = running.source(name)
    done = 0
    while (given := await source.dequeue(DequeueRequest(executor_name=name, wait_seconds=0))) is not None:
        await source.complete(given)
        done += 1
    await source.close()
    return done


async def main(running, what, count, workers):
    if what == "work":
        await asyncio.gather(*(enqueue(running, count // 4) for _ in range(4)))
    jobs = [
        enqueue(running, count // workers) if what == "enqueue" else work(running, f"w{number}")
        for number in range(workers)
    ]
    started = time.perf_counter()
    counts = await asyncio.gather(*jobs)
    seconds = time.perf_counter() - started
    assert sum(counts) == count, counts
    return seconds


if __name__ == "__main__":
    url, what, count, _, workers = sys.argv[1:]
    with serving(url) as running:
        seconds = asyncio.run(main(running, what, int(count), int(workers)))
    print(json.dumps({"seconds": seconds, "tasks": int(count)}))
