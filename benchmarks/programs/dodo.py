"""A graph for doit, read from graph.json."""

import json
from pathlib import Path

GRAPH = json.loads(Path("graph.json").read_text())

DOIT_CONFIG = {"verbosity": 0, "reporter": "zero", "default_tasks": ["t"]}


def task_t():
    for name, command, needs in GRAPH:
        yield {"name": name, "actions": [command], "task_dep": [f"t:{need}" for need in needs]}
