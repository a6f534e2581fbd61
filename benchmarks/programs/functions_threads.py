"""The floor of functions with values: a pool of threads that stores nothing: ``functions_threads.py COUNT WORKERS``."""

import json
import sys
import time
from concurrent.futures import ThreadPoolExecutor

from benchmarks.programs.functions_graph import GROUP, expected, shape, square_now, total_now


def main(squares, workers):
    with ThreadPoolExecutor(workers) as pool:
        started = time.perf_counter()
        found = [pool.submit(square_now, number) for number in range(squares)]
        values = [one.result() for one in found]
        sums = [pool.submit(total_now, values[at : at + GROUP]) for at in range(0, squares, GROUP)]
        last = pool.submit(total_now, [one.result() for one in sums]).result()
        seconds = time.perf_counter() - started
    assert last == expected(squares)
    return seconds


if __name__ == "__main__":
    squares, sums = shape(int(sys.argv[1]))
    print(json.dumps({"seconds": main(squares, int(sys.argv[2])), "tasks": squares + sums + 1}))
