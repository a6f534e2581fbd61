"""PgQueuer: ``queue_pgqueuer.py URL enqueue|work COUNT BATCH WORKERS``; each worker has a connection of its own."""

import asyncio
import json
import sys
import time

import asyncpg
from pgqueuer import AsyncpgDriver, PgQueuer, Queries
from pgqueuer.types import QueueExecutionMode

PAYLOAD = b'{"version":2,"dockerSteps":[{"image":"i","commands":["true"]}]}'
MANY = 1000


async def enqueue(queries, count, batch):
    for _ in range(count // batch):
        await queries.enqueue(["nothing"] * batch, [PAYLOAD] * batch, [0] * batch)


def a_worker(connection, seen):
    worker = PgQueuer(AsyncpgDriver(connection))

    @worker.entrypoint("nothing")
    async def nothing(job):
        seen.append(job.id)

    return worker


async def main(url, what, count, batch, workers):
    connections = [await asyncpg.connect(url) for _ in range(workers)]
    queries = [Queries(AsyncpgDriver(connection)) for connection in connections]
    await queries[0].install()
    seen = []
    if what == "enqueue":
        jobs = [enqueue(one, count // workers, batch) for one in queries]
    else:
        await enqueue(queries[0], count, min(count, MANY))
        drain = QueueExecutionMode.drain
        jobs = [a_worker(one, seen).run(batch_size=batch, mode=drain) for one in connections]
    started = time.perf_counter()
    await asyncio.gather(*jobs)
    seconds = time.perf_counter() - started
    assert what == "enqueue" or len(seen) == len(set(seen)) == count, len(seen)
    return seconds


if __name__ == "__main__":
    url, what, *numbers = sys.argv[1:]
    print(json.dumps({"seconds": asyncio.run(main(url, what, *map(int, numbers))), "tasks": int(numbers[0])}))
