"""Check what a run left: python3 check.py, in this folder; after provision.py with its store, out/plans.db."""

import json
import subprocess
import sys
from pathlib import Path

where = ["--store", "out/plans.db"] if sys.argv[1:] == ["provision.py"] else []
record = json.loads(subprocess.check_output(["runwright", *where, "inspect", "latest", "--json"]))
states = {task["id"]: task["state"] for task in record["tasks"]}
values = {each["name"]: json.loads(each["value"]) for each in record["variables"]}

assert record["run"]["kind"] == "plan"
assert record["run"]["state"] == "succeeded", record["run"]
assert set(states.values()) == {"succeeded"}, states
assert {"directory.cleanup", "database.cleanup"} <= states.keys(), states
assert values["titles"] == ("3" if not where else 3), values
assert values["oldest"] == "Emma", values
assert not Path(values["root"]).exists(), "the directory is gone, and with it all that was in it"
print("as it should be")
