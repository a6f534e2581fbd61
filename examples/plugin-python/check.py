"""Check what words.toml left: python3 check.py, in this folder, after the run."""

from pathlib import Path

text = Path("out/report.txt").read_text()
assert text == "22 words, most often is, 11 different ones\n", text
print(text, end="")
