"""No-op functions on Dask's threaded scheduler, which stores nothing: ``noop_dask.py COUNT WORKERS``."""

import json
import sys
import time

import dask
import dask.threaded


def nothing():
    return None


def main(count, workers):
    tasks = [dask.delayed(nothing)() for _ in range(count)]
    started = time.perf_counter()
    answers = dask.compute(*tasks, scheduler=dask.threaded.get, num_workers=workers)
    seconds = time.perf_counter() - started
    assert len(answers) == count
    return seconds


if __name__ == "__main__":
    count = int(sys.argv[1])
    print(json.dumps({"seconds": main(count, int(sys.argv[2])), "tasks": count}))
