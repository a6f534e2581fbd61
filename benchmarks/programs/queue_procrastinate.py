"""Procrastinate: ``queue_procrastinate.py URL enqueue|work COUNT BATCH WORKERS``; each worker has an app of its own."""

import asyncio
import json
import logging
import sys
import time

from procrastinate import App, PsycopgConnector

logging.getLogger("procrastinate").setLevel(logging.CRITICAL)


def an_app(url, seen):
    app = App(connector=PsycopgConnector(conninfo=url, min_size=2, max_size=4))

    @app.task(name="nothing", queue="q")
    async def nothing(payload):
        seen.append(payload)

    return app, nothing


async def enqueue(task, numbers, batch):
    for place in range(0, len(numbers), batch):
        await task.batch_defer_async(*({"payload": number} for number in numbers[place : place + batch]))


async def main(url, what, count, batch, workers):
    seen = []
    made = [an_app(url, seen) for _ in range(workers)]
    for app, _ in made:
        await app.open_async()
    await made[0][0].schema_manager.apply_schema_async()
    if what == "enqueue":
        share = count // workers
        jobs = [
            enqueue(task, range(place * share, (place + 1) * share), batch)
            for place, (_, task) in enumerate(made)
        ]
    else:
        await enqueue(made[0][1], range(count), 1000)
        jobs = [app.run_worker_async(wait=False, install_signal_handlers=False) for app, _ in made]
    started = time.perf_counter()
    await asyncio.gather(*jobs)
    seconds = time.perf_counter() - started
    for app, _ in made:
        await app.close_async()
    assert what == "enqueue" or sorted(seen) == list(range(count)), len(seen)
    return seconds


if __name__ == "__main__":
    url, what, *numbers = sys.argv[1:]
    print(json.dumps({"seconds": asyncio.run(main(url, what, *map(int, numbers))), "tasks": int(numbers[0])}))
