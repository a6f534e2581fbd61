"""No-op async functions as Runwright tasks: ``noop_runwright.py COUNT WORKERS STORE``; STORE is a URL or ``memory``."""

import asyncio
import json
import sys
import time
from pathlib import Path

from runwright import Engine, load_workflow, open_store


def definition(count):
    call = 'executor = "python"\nargs = { function = "benchmarks.programs.noops:nothing" }\n'
    return 'name = "noop"\n' + "".join(f"[tasks.t{index}]\n{call}" for index in range(count))


def make_store(url):
    if url == "memory":
        from runwright.testing import MemoryStore  # noqa: PLC0415

        return MemoryStore()
    return open_store(url)


async def main(workflow, workers, url):
    async with Engine(make_store(url), strategy="work-stealing", workers=workers) as engine:
        started = time.perf_counter()
        run = await engine.execute(workflow)
        seconds = time.perf_counter() - started
    assert str(run.state) == "succeeded", run
    return seconds


if __name__ == "__main__":
    count = int(sys.argv[1])
    file = Path("noop.toml")
    file.write_text(definition(count))
    seconds = asyncio.run(main(load_workflow(file), int(sys.argv[2]), sys.argv[3]))
    print(json.dumps({"seconds": seconds, "tasks": count}))
