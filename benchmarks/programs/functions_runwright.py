"""Functions with values as a workflow built in code: ``functions_runwright.py COUNT WORKERS STORE MODE``.

STORE is a URL or ``memory``; MODE is ``async``, ``thread`` or ``process``.
"""

import asyncio
import json
import sys
import time

from benchmarks.programs.functions_graph import GROUP, expected, shape, square, square_now, total, total_now
from benchmarks.programs.noop_runwright import make_store
from runwright import Engine, Workflow


def build(squares, mode):
    flow = Workflow("functions")
    squaring = flow.task(square) if mode == "async" else flow.task(mode=mode)(square_now)
    summing = flow.task(total) if mode == "async" else flow.task(mode=mode)(total_now)
    found = squaring.map(range(squares))
    summing.with_options(key="last")([summing(found[at : at + GROUP]) for at in range(0, squares, GROUP)])
    return flow


async def main(workflow, workers, url):
    async with Engine(make_store(url), strategy="work-stealing", workers=workers) as engine:
        started = time.perf_counter()
        run = await engine.execute(workflow)
        seconds = time.perf_counter() - started
        rows = {row.id: row.value for row in await engine.store.tasks(run.id)}
    assert str(run.state) == "succeeded", run
    return seconds, rows["last"]


if __name__ == "__main__":
    squares, sums = shape(int(sys.argv[1]))
    workflow = build(squares, sys.argv[4]).definition
    seconds, last = asyncio.run(main(workflow, int(sys.argv[2]), sys.argv[3]))
    assert last == expected(squares)
    print(json.dumps({"seconds": seconds, "tasks": squares + sums + 1}))
