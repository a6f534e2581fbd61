"""Check what a run left: python3 check.py, in this folder; after keep.py with its store, out/goals.db."""

import json
import stat
import subprocess
import sys
from pathlib import Path

where = ["--store", "out/goals.db"] if sys.argv[1:] == ["keep.py"] else []
run = json.loads(subprocess.check_output(["runwright", *where, "status", "latest", "--json"]))["run"]
wanted = {}
for line in Path("manifest.txt").read_text().splitlines():
    mode, path, text = line.split(" ", 2)
    wanted[path] = (int(mode, 8), f"{text}\n")

tree = Path("out/tree")
found = {
    str(path.relative_to(tree)): (stat.S_IMODE(path.stat().st_mode), path.read_text())
    for path in tree.rglob("*")
    if not path.is_dir()
}
assert run["kind"] == "goal"
assert run["state"] == "succeeded", run
assert found == wanted, found
print("as it should be")
