"""No-op async functions as Runwright tasks: ``noop_runwright.py COUNT WORKERS STORE``; STORE is a URL or ``memory``."""

import asyncio
import json
import sys
import time

from runwright import Engine, decode_workflow, open_store


def definition(count):
    call = {"function": "benchmarks.programs.noops:nothing"}
    tasks = {f"t{index}": {"executor": "python", "args": call} for index in range(count)}
    return {"name": "noop", "tasks": tasks}


def memory_store():
    from runwright.testing import MemoryStore  # noqa: PLC0415

    return MemoryStore()


async def main(count, workers, url):
    workflow = decode_workflow(definition(count), default_name="noop")
    store = memory_store() if url == "memory" else open_store(url)
    engine = Engine(store, strategy="work-stealing", workers=workers)
    started = time.perf_counter()
    run = await engine.execute(workflow)
    seconds = time.perf_counter() - started
    assert str(run.state) == "succeeded", run
    return seconds


if __name__ == "__main__":
    count = int(sys.argv[1])
    seconds = asyncio.run(main(count, int(sys.argv[2]), sys.argv[3]))
    print(json.dumps({"seconds": seconds, "tasks": count}))
