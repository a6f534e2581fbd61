"""A graph for Prefect, read from graph.json: ``prefect_run.py SLOTS``."""

import json
import subprocess
import sys
from pathlib import Path

from prefect import flow, task
from prefect.task_runners import ThreadPoolTaskRunner

GRAPH = json.loads(Path("graph.json").read_text())


@task
def node(command):
    subprocess.run(command, shell=isinstance(command, str), check=True)


@flow(task_runner=ThreadPoolTaskRunner(max_workers=int(sys.argv[1])))
def bench():
    futures = {}
    for name, command, needs in GRAPH:
        futures[name] = node.submit(command, wait_for=[futures[need] for need in needs])
    for future in futures.values():
        future.result()


if __name__ == "__main__":
    bench()
