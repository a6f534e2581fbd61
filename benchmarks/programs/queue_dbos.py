"""A queue of DBOS workflows: ``queue_dbos.py URL enqueue|work COUNT BATCH WORKERS``; a worker takes all that wait.

What waits is put there before its workers start. Timed from the first workflow to the last.
"""

import json
import sys
import threading
import time

from dbos import DBOS, DBOSClient, DBOSConfig

at: list[float] = []
all_done = threading.Event()


@DBOS.workflow(name="nothing")
def nothing(number, count):
    at.append(time.perf_counter())
    if len(at) == count:
        all_done.set()


def launch(url):
    config: DBOSConfig = {
        "name": "bench",
        "application_version": "1",
        "system_database_url": url,
        "run_admin_server": False,
        "log_level": "CRITICAL",
    }
    DBOS(config=config)
    DBOS.launch()


def main(url, what, count, batch, workers):
    launch(url)
    DBOS.register_queue("q", polling_interval_sec=0.01)
    DBOS.destroy()
    client = DBOSClient(system_database_url=url)
    started = time.perf_counter()
    for number in range(count):
        client.enqueue({"workflow_name": "nothing", "queue_name": "q", "app_version": "1"}, number, count)
    if what == "enqueue":
        return time.perf_counter() - started
    launch(url)
    assert all_done.wait(300), len(at)
    seconds = at[-1] - at[0]
    DBOS.destroy()
    return seconds


if __name__ == "__main__":
    url, what, *numbers = sys.argv[1:]
    print(json.dumps({"seconds": main(url, what, *map(int, numbers)), "tasks": int(numbers[0])}))
