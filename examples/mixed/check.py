"""Check what mixed.toml left: python3 check.py, in this folder, after the run."""

from pathlib import Path

text = Path("out/report.txt").read_text()
assert text == "sea 9, hill 4, longest word small\n", text
assert not list(Path("out/farm/worker/jobs").glob("*")), "a worker leaves nothing of its jobs"
print(text, end="")
