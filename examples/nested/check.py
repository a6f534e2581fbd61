"""Check what a run of release.toml left: python3 check.py, in this folder, after the run."""

import json
import subprocess
from pathlib import Path

outer = json.loads(subprocess.check_output(["runwright", "inspect", "latest", "--json"]))
states = {task["id"]: task["state"] for task in outer["tasks"]}
inner = {child["run"]["parent_task"]: child for child in outer["children"]}

assert outer["run"]["name"] == "release"
assert states == dict.fromkeys(("pack", "trial", "notes", "announce"), "succeeded"), states
assert {task: (child["run"]["kind"], child["run"]["state"]) for task, child in inner.items()} == {
    "trial": ("plan", "succeeded"),
    "notes": ("workflow", "succeeded"),
}, inner
trial = {task["id"]: task["state"] for task in inner["trial"]["tasks"]}
assert trial["directory.cleanup"] == "succeeded", trial
assert not list(Path("out").glob("trial-*")), "the place of the trial is gone"
assert Path("out/notes.txt").read_text() == "changes of 1.4.0\nthanks of 1.4.0\n"
assert Path("out/announcement").read_text() == (
    "1.4.0 says Hello, 1.4.0, has 1 file, and is told of in out/notes.txt\n"
)
print("as it should be")
