"""Huey on SQLite with fsync: ``queue_huey.py URL enqueue|work COUNT BATCH WORKERS``; workers are threads.

It removes a task before it runs it, in one commit, and notes no end: a worker that dies loses its task.
"""

import json
import logging
import sys
import threading
import time

from huey import SqliteHuey

logging.getLogger("huey").setLevel(logging.CRITICAL)


def main(url, what, count, batch, workers):
    huey = SqliteHuey("q", filename=url.removeprefix("sqlite:///"), fsync=True, results=False)
    at, all_done = [], threading.Event()

    @huey.task()
    def nothing(payload):
        at.append(time.perf_counter())
        if len(at) == count:
            all_done.set()

    started = time.perf_counter()
    for number in range(count):
        nothing(number)
    if what == "enqueue":
        return time.perf_counter() - started
    consumer = huey.create_consumer(
        workers=workers, periodic=False, initial_delay=0.01, backoff=1, max_delay=0.01
    )
    consumer.start()
    all_done.wait()
    consumer.stop()
    return at[-1] - at[0]


if __name__ == "__main__":
    url, what, *numbers = sys.argv[1:]
    print(json.dumps({"seconds": main(url, what, *map(int, numbers)), "tasks": int(numbers[0])}))
