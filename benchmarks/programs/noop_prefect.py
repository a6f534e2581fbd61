"""No-op async tasks of one Prefect flow on its own local server: ``noop_prefect.py COUNT``."""

import asyncio
import json
import sys
import time

from prefect import flow, task


@task
async def nothing():
    return None


@flow
async def many(count):
    started = time.perf_counter()
    await asyncio.gather(*(nothing() for _ in range(count)))
    return time.perf_counter() - started


if __name__ == "__main__":
    count = int(sys.argv[1])
    print(json.dumps({"seconds": asyncio.run(many(count)), "tasks": count}))
