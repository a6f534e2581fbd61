"""Check what the run of logs.toml left: python3 check.py, in this folder, after the run."""

import csv
from collections import Counter
from pathlib import Path

DAYS = ["2026-03-01", "2026-03-02", "2026-03-03"]
lines = [(day, line.split()) for day in DAYS for line in Path(f"out/logs/{day}.log").read_text().splitlines()]
report = Path("out/report.txt").read_text()

for day in DAYS:
    mine = [fields for each, fields in lines if each == day]
    assert f"  {day}  {len(mine)}\n" in report
    counted = [line.split() for line in Path(f"out/parts/{day}.statuses").read_text().splitlines()]
    assert {status: int(count) for count, status in counted} == Counter(fields[7] for fields in mine)

failed = Counter(fields[5] for _, fields in lines if int(fields[7]) >= 500)
top = sorted(failed.items(), key=lambda item: (-item[1], item[0]))[:5]
assert [tuple(line.split()) for line in Path("out/top-errors.txt").read_text().splitlines()] == [
    (str(count), path) for path, count in top
]
assert f"Server errors: {failed.total()}," in report

times = [int(fields[9]) for _, fields in lines]
with Path("out/latency.csv").open(newline="") as file:
    percentiles = {name: int(value) for name, value in csv.reader(file)}
for name, value in percentiles.items():
    share = int(name[1:]) / 100
    assert sum(time <= value for time in times) >= share * len(times), f"{name}: enough are at or under it"
    assert sum(time < value for time in times) < share * len(times), f"{name}: and it is the least such value"
assert f"99 % under {percentiles['p99']} ms" in report

slowest = [int(line.split()[0]) for line in Path("out/slowest.txt").read_text().splitlines()]
assert slowest == sorted(times, reverse=True)[:5]
print(f"{len(lines)} requests, {failed.total()} errors, percentiles {percentiles}")
