"""Hold the coverage to its thresholds: ``python tools/coverage_gate.py coverage.json tests.xml``.

``core``, ``ports`` and ``engines`` are covered wholly, branches included; everything else to nine tenths.
What is missing is printed by file and line, so that nobody has to open a report.
"""

import json
import re
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

WHOLE = ("core", "ports", "engines")
REST_PERCENT = 90.0
PACKAGE = "runwright"


def room(path: str) -> str:
    """Return the first part below the package: ``src/runwright/core/task.py`` is in ``core``."""
    parts = Path(path).parts
    return parts[parts.index(PACKAGE) + 1]


def gaps(file: dict[str, Any]) -> str:
    """Return the lines and branches of one file that no test reached, or an empty text."""
    lines = [str(line) for line in file["missing_lines"]]
    branches = [f"{start}->{'exit' if end < 0 else end}" for start, end in file["missing_branches"]]
    return ", ".join([*lines, *branches])


def percent(files: list[dict[str, Any]]) -> float:
    """Return how much of these files is covered, lines and branches counted alike; 100 if there is nothing."""
    totals = [file["summary"] for file in files]
    every = sum(total["num_statements"] + total["num_branches"] for total in totals)
    covered = sum(total["covered_lines"] + total["covered_branches"] for total in totals)
    return 100.0 * covered / every if every else 100.0


def complaints(files: dict[str, dict[str, Any]]) -> Iterator[str]:
    """Yield what keeps the gate shut, one line each."""
    for path, file in files.items():
        if room(path) in WHOLE and (missing := gaps(file)):
            yield f"{path}: must be covered wholly, missing {missing}"
    rest = {path: file for path, file in files.items() if room(path) not in WHOLE}
    share = percent(list(rest.values()))
    if share < REST_PERCENT:
        yield f"everything else: {share:.1f} % is covered, {REST_PERCENT:.0f} % are asked for"
        for path, file in rest.items():
            if percent([file]) < REST_PERCENT:
                yield f"  {path}: {percent([file]):.1f} %, missing {gaps(file)}"


def verdict(junit: str) -> str:
    """Return the counts of a JUnit report in one line, for instance ``812 passed, 3 skipped``."""
    counts = {name: int(number) for name, number in re.findall(r'(\w+)="(\d+)"', junit[:500])}
    passed = counts["tests"] - counts["failures"] - counts["errors"] - counts["skipped"]
    return f"{passed} passed, {counts['skipped']} skipped"


def main(arguments: list[str]) -> int:
    """Check a report of coverage; return 1 if a threshold is missed or a room was not measured.

    Args:
        arguments: The report as coverage writes it (JSON), and the report of the tests (JUnit XML).
    """
    report, tests = (Path(argument).read_text(encoding="utf-8") for argument in arguments)
    files = json.loads(report)["files"]
    unmeasured = [f"the report has nothing of {name}" for name in WHOLE if name not in map(room, files)]
    problems = [*unmeasured, *complaints(files)]
    if problems:
        print("\n".join(["Coverage is short:", *problems]))
        return 1
    print(f"Coverage holds: {', '.join(WHOLE)} wholly, the rest to {REST_PERCENT:.0f} %.")
    print(verdict(tests))
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
