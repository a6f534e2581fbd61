"""A graph for luigi, read from graph.json: ``luigi_run.py WORKERS``."""

import json
import subprocess
import sys
from pathlib import Path

import luigi

GRAPH = {name: (command, needs) for name, command, needs in json.loads(Path("graph.json").read_text())}


class Node(luigi.Task):
    name = luigi.Parameter()

    def requires(self):
        return [Node(need) for need in GRAPH[self.name][1]]

    def output(self):
        return luigi.LocalTarget(f"o/{self.name}")

    def run(self):
        command = GRAPH[self.name][0]
        subprocess.run(command, shell=isinstance(command, str), check=True)
        Path(self.output().path).touch()


class All(luigi.WrapperTask):
    def requires(self):
        return [Node(name) for name in GRAPH]


if __name__ == "__main__":
    sys.setrecursionlimit(10_000)
    done = luigi.build([All()], local_scheduler=True, workers=int(sys.argv[1]), log_level="CRITICAL")
    sys.exit(0 if done else 1)
