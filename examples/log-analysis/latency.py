"""The Python function of logs.toml."""

import csv
import os
from pathlib import Path

WANTED = (50, 90, 95, 99)


def percentiles(folder: str, target: str) -> int:
    """Write the latency percentiles of all logs, nearest rank; returns how many requests there were.

    Each is handed on by its name, too: `{{.latency.p99}}`.
    """
    times = sorted(int(line.split()[-1]) for path in Path(folder).glob("*.log") for line in path.open())
    found = {f"p{share}": times[-(-len(times) * share // 100) - 1] for share in WANTED}
    with Path(target).open("w", newline="") as file:
        csv.writer(file).writerows(found.items())
    with Path(os.environ["RUNWRIGHT_OUTPUT"]).open("a") as file:
        file.writelines(f"{name}={value}\n" for name, value in found.items())
    return len(times)
