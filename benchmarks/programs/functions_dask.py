"""Functions with values on Dask's threaded scheduler, which stores nothing: ``functions_dask.py COUNT WORKERS``."""

import json
import sys
import time

from dask.threaded import get

from benchmarks.programs.functions_graph import GROUP, expected, shape, square_now, total_now


def main(squares, workers):
    graph = {("square", number): (square_now, number) for number in range(squares)}
    keys = list(graph)
    sums = {("sum", at): (total_now, keys[at : at + GROUP]) for at in range(0, squares, GROUP)}
    graph |= sums
    graph["last"] = (total_now, list(sums))
    started = time.perf_counter()
    last = get(graph, "last", num_workers=workers)
    seconds = time.perf_counter() - started
    assert last == expected(squares)
    return seconds


if __name__ == "__main__":
    squares, sums = shape(int(sys.argv[1]))
    print(json.dumps({"seconds": main(squares, int(sys.argv[2])), "tasks": squares + sums + 1}))
