"""The floor of no-op functions: one asyncio task each in a TaskGroup: ``noop_taskgroup.py COUNT``."""

import asyncio
import json
import sys
import time


async def nothing():
    return None


async def main(count):
    started = time.perf_counter()
    async with asyncio.TaskGroup() as group:
        for _ in range(count):
            group.create_task(nothing())
    return time.perf_counter() - started


if __name__ == "__main__":
    count = int(sys.argv[1])
    print(json.dumps({"seconds": asyncio.run(main(count)), "tasks": count}))
