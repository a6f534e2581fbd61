"""Functions with values as tasks of one Prefect flow on its own local server: ``functions_prefect.py COUNT``."""

import asyncio
import json
import sys
import time

from prefect import flow, task

from benchmarks.programs.functions_graph import GROUP, expected, shape, square, total

square, total = task(square), task(total)


@flow
async def many(squares):
    started = time.perf_counter()
    values = await asyncio.gather(*(square(number) for number in range(squares)))
    sums = await asyncio.gather(*(total(values[at : at + GROUP]) for at in range(0, squares, GROUP)))
    last = await total(list(sums))
    seconds = time.perf_counter() - started
    assert last == expected(squares)
    return seconds


if __name__ == "__main__":
    squares, sums = shape(int(sys.argv[1]))
    print(json.dumps({"seconds": asyncio.run(many(squares)), "tasks": squares + sums + 1}))
