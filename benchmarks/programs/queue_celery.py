"""Celery with Redis: ``queue_celery.py URL enqueue|work COUNT BATCH WORKERS``; one thread works, or so many threads.

Acknowledged late, so that a task whose worker dies is not lost; no results are kept. Timed from the first task to the last.
"""

import json
import logging
import os
import sys
import threading
import time

from celery import Celery


def main(url, what, count, batch, workers):
    app = Celery("bench", broker=url)
    app.conf.update(
        task_acks_late=True,
        task_ignore_result=True,
        worker_prefetch_multiplier=batch,
        worker_hijack_root_logger=False,
        worker_redirect_stdouts=False,
        broker_connection_retry_on_startup=True,
    )
    at, all_done = [], threading.Event()

    @app.task(name="nothing")
    def nothing(payload):
        at.append(time.perf_counter())
        if len(at) == count:
            all_done.set()

    started = time.perf_counter()
    for number in range(count):
        nothing.delay(number)
    if what == "enqueue":
        return time.perf_counter() - started
    logging.disable(logging.CRITICAL)
    pool = "solo" if workers == 1 else "threads"
    worker = app.Worker(pool=pool, concurrency=workers, without_gossip=True, without_mingle=True, quiet=True)
    threading.Thread(target=leave, args=(all_done, at), daemon=True).start()
    worker.start()
    raise AssertionError(len(at))


def leave(all_done, at):
    """Print the time when all is done and end: the worker knows no short way to stop."""
    all_done.wait()
    print(json.dumps({"seconds": at[-1] - at[0], "tasks": len(at)}), flush=True)
    os._exit(0)


if __name__ == "__main__":
    url, what, *numbers = sys.argv[1:]
    print(json.dumps({"seconds": main(url, what, *map(int, numbers)), "tasks": int(numbers[0])}))
