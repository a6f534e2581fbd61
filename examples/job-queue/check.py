"""Check what fleet.toml left: python3 check.py, in this folder, after the run."""

import os
from pathlib import Path

lines = Path("out/table.txt").read_text().splitlines()[1:]
assert len(lines) == 12, lines
assert all(line.split()[2] == "completed" for line in lines), lines
twice = [line for line in lines if "ada lost, bob completed" in line]
assert 1 <= len(twice) <= 2, "the jobs of the worker that was killed were done by the other one"
results = [line.rpartition("  ")[2] for line in lines]
assert results[:4] == ["9", "9", "9", "9"], results
assert results[4:8] == ["3 books are fine", "4 books are fine", "sea.txt", "read more"], results
assert sorted(os.listdir("out")) == ["table.txt"], os.listdir("out")  # noqa: PTH208
print("as it should be")
