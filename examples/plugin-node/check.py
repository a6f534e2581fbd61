"""Check what invoice.toml left: python3 check.py, in this folder, after the run."""

from pathlib import Path

text = Path("out/letter.txt").read_text(encoding="utf-8").replace("\xa0", " ")
german, english, japanese = text.splitlines()

assert german == "1.234,50 €, Sonntag, 1. März 2026", german
assert english.replace("Sunday,", "Sunday") == "€1,234.50, Sunday 1 March 2026", english
assert "2026年3月1日日曜日" in japanese, japanese
assert "1,235" in japanese, japanese
print("three letters")
