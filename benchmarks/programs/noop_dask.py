"""No-op functions on Dask's threaded scheduler, which stores nothing: ``noop_dask.py COUNT WORKERS``."""

import json
import sys
import time

from dask.threaded import get


def nothing():
    return None


def main(count, workers):
    graph = dict.fromkeys(range(count), (nothing,))  # the cheapest form it takes: no delayed objects
    keys = list(graph)
    started = time.perf_counter()
    answers = get(graph, keys, num_workers=workers)
    seconds = time.perf_counter() - started
    assert len(answers) == count
    return seconds


if __name__ == "__main__":
    count = int(sys.argv[1])
    print(json.dumps({"seconds": main(count, int(sys.argv[2])), "tasks": count}))
