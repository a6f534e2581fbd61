"""Check what weather.py left: python3 check.py, in this folder, after the run."""

import json
import subprocess
import sys
from pathlib import Path

rows = json.loads(Path("out/2024.json").read_text())
assert [row["town"] for row in rows] == ["bergen", "quito", "cairo"], "coldest first"
for row in rows:
    assert 8_500 < row["hours"] < 366 * 24, "some readings are missing, not many"
    assert row["coldest"] < row["mean"] < row["warmest"]

stored = [path for path in Path(".runwright/values").rglob("*") if path.is_file()]
assert len(stored) == 9, "readings, readings without gaps and a summary for each town"
assert all(path.stat().st_mode & 0o077 == 0 for path in stored)

from_file = """
import sys
from runwright import load_workflow
from weather import flow

assert load_workflow("weather.toml").workflow == flow.definition
"""
subprocess.run([sys.executable, "-c", from_file], check=True)
print({row["town"]: row["mean"] for row in rows})
