"""From a submission to the worker that waits: ``queue_latency.py URL store|http idle|busy COUNT SHARE``.

Each job is submitted when a worker already waits for it; the time is from before the submission to when the worker has
the job. `busy`: four other workers claim and complete jobs of another queue of the same store meanwhile, as fast as they can.
SHARE is the percentile to print.
"""

import asyncio
import json
import sys
import time
from contextlib import suppress

from msgspec import structs

from benchmarks.programs import queue_store
from benchmarks.programs.queue_http import ASK
from benchmarks.programs.queue_server import serving
from runwright.adapters.clock import SystemClock
from runwright.adapters.http.queue_api import HttpQueue
from runwright.core.job_rows import Ending, Verdict
from runwright.core.job_wire import DequeueRequest
from runwright.wiring.job_stores import open_job_store

PAUSE = 0.005
"""Seconds that a worker gets to come back to its waiting."""


class InProcess:
    """The store in this process."""

    def __init__(self, store, name):
        self.store, self.name = store, name

    async def submit(self, queue):
        await self.store.submit([structs.replace(queue_store.JOB, queue=queue)], queue_store.now())

    async def take(self, queue, seconds):
        claim = structs.replace(queue_store.a_claim(self.name, 1), queues=(queue,))
        while True:
            bell = asyncio.ensure_future(self.store.wait([queue], seconds))
            await asyncio.sleep(0)  # it listens from here on, so that nothing is missed after the look
            _, claimed = await self.store.exchange([], claim, queue_store.now())
            if claimed:
                bell.cancel()
                return claimed[0]
            await bell

    async def finish(self, job):
        ending = Ending(lease=job.lease, verdict=Verdict.COMPLETED)
        await self.store.exchange([ending], None, queue_store.now())

    async def close(self):
        pass


class OverHttp:
    """A connection of a worker and one of a user."""

    def __init__(self, running, name):
        self.user = HttpQueue(running.server, running.admin, SystemClock(), lambda: 0.5)
        self.running, self.name, self.sources = running, name, {}

    async def submit(self, queue):
        await self.user.submit(structs.replace(ASK, queue=queue))

    async def take(self, queue, seconds):
        if queue not in self.sources:
            self.sources[queue] = self.running.source(self.name, queue)
        ask = DequeueRequest(executor_name=self.name, wait_seconds=seconds)
        return await self.sources[queue].dequeue(ask)

    async def finish(self, job):
        await self.sources[job.queue].complete(job)

    async def close(self):
        for each in (self.user, *self.sources.values()):
            await each.close()


async def listen(side, count, seen):
    for _ in range(count):
        job = await side.take("q", 30)
        seen.put_nowait(time.perf_counter())
        await side.finish(job)


async def keep_busy(side):
    """Work through jobs of another queue for ever, each submitted anew when it is done."""
    await side.submit("other")
    while True:
        job = await side.take("other", 1)
        await asyncio.gather(side.finish(job), side.submit("other"))


async def latencies(make, count, is_busy):
    worker, user = make("worker"), make("user")
    others = [make(f"other{number}") for number in range(4 if is_busy else 0)]
    noise = [asyncio.ensure_future(keep_busy(one)) for one in others]
    seen, taken = asyncio.Queue(), []
    listening = asyncio.ensure_future(listen(worker, count, seen))
    for _ in range(count):
        await asyncio.sleep(PAUSE)
        started = time.perf_counter()
        await user.submit("q")
        taken.append(await seen.get() - started)
    await listening
    for each in noise:
        each.cancel()
        with suppress(asyncio.CancelledError):
            await each
    for each in (worker, user, *others):
        await each.close()
    return sorted(taken)


async def in_process(url, count, is_busy):
    store = open_job_store(url)
    try:
        return await latencies(lambda name: InProcess(store, name), count, is_busy)
    finally:
        await store.close()


async def over_http(url, count, is_busy):
    with serving(url) as running:
        return await latencies(lambda name: OverHttp(running, name), count, is_busy)


if __name__ == "__main__":
    url, side, load, count, share = sys.argv[1:]
    measure = in_process if side == "store" else over_http
    taken = asyncio.run(measure(url, int(count), load == "busy"))
    place = min(len(taken) - 1, len(taken) * int(share) // 100)
    print(json.dumps({"seconds": taken[place], "tasks": len(taken)}))
