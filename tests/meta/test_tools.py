"""The gate of the coverage, and the set-up's words about what is missing."""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
GATE = ROOT / "tools/coverage_gate.py"


def measured(
    lines: int = 10, missing: tuple[int, ...] = (), branches: tuple[tuple[int, int], ...] = ()
) -> dict[str, object]:
    return {
        "missing_lines": list(missing),
        "missing_branches": [list(branch) for branch in branches],
        "summary": {
            "num_statements": lines,
            "covered_lines": lines - len(missing),
            "num_branches": len(branches),
            "covered_branches": 0,
        },
    }


def gate(tmp_path: Path, changes: dict[str, dict[str, object]]) -> subprocess.CompletedProcess[str]:
    rooms = ("core", "ports", "engines", "cli")
    files = {f"src/runwright/{room}/a.py": measured() for room in rooms} | changes
    report, tests = tmp_path / "coverage.json", tmp_path / "tests.xml"
    report.write_text(json.dumps({"files": files}))
    tests.write_text('<testsuites><testsuite errors="0" failures="0" skipped="2" tests="9" time="1.5">')
    return subprocess.run([sys.executable, GATE, report, tests], capture_output=True, text=True, check=False)


def test_full_coverage_passes_and_ends_with_the_verdict(tmp_path: Path) -> None:
    done = gate(tmp_path, {})
    assert done.returncode == 0
    assert done.stdout.splitlines()[-1] == "7 passed, 2 skipped"


def test_one_missing_line_of_core_is_named(tmp_path: Path) -> None:
    done = gate(tmp_path, {"src/runwright/core/b.py": measured(1000, missing=(7,))})
    assert done.returncode == 1
    assert "src/runwright/core/b.py: must be covered wholly, missing 7" in done.stdout


def test_one_missing_branch_of_engines_is_named(tmp_path: Path) -> None:
    done = gate(tmp_path, {"src/runwright/engines/b.py": measured(1000, branches=((7, 9), (8, -1)))})
    assert done.returncode == 1
    assert "missing 7->9, 8->exit" in done.stdout


def test_the_rest_may_miss_a_tenth_and_no_more(tmp_path: Path) -> None:
    enough = gate(tmp_path, {"src/runwright/cli/a.py": measured(10, missing=(1,))})
    short = gate(tmp_path, {"src/runwright/cli/a.py": measured(10, missing=(1, 2))})
    assert (enough.returncode, short.returncode) == (0, 1)
    assert "everything else: 80.0 % is covered, 90 % are asked for" in short.stdout
    assert "src/runwright/cli/a.py: 80.0 %, missing 1, 2" in short.stdout


def test_an_unmeasured_room_shuts_the_gate(tmp_path: Path) -> None:
    report, tests = tmp_path / "coverage.json", tmp_path / "tests.xml"
    report.write_text(json.dumps({"files": {"src/runwright/core/a.py": measured()}}))
    tests.write_text("")
    done = subprocess.run([sys.executable, GATE, report, tests], capture_output=True, text=True, check=False)
    assert done.returncode == 1
    assert "the report has nothing of engines" in done.stdout


def machine(tmp_path: Path, **programs: str) -> Path:
    """Make a folder of programs that is the whole PATH of a poor machine."""
    folder = tmp_path / "bin"
    folder.mkdir()
    for name in ("sh", "dirname", "rm"):
        (folder / name).symlink_to(str(shutil.which(name)))
    for name, body in programs.items():
        (folder / name).write_text(f"#!/bin/sh\n{body}\n")
        (folder / name).chmod(0o755)
    return folder


@pytest.mark.parametrize(
    ("programs", "message"),
    [
        ({"python3": "exit 0"}, "git is missing; install it"),
        ({"git": "exit 0", "python3": "exit 1"}, "Python 3.11 or newer is missing; install it"),
        (
            {"git": "exit 0", "python3": 'case "$*" in *venv*) exit 1; esac'},
            "python3 has no venv module; install it",
        ),
    ],
)
def test_setup_names_what_is_missing_in_one_line(
    tmp_path: Path, programs: dict[str, str], message: str
) -> None:
    path = machine(tmp_path, **programs)
    done = subprocess.run(
        [ROOT / "tools/setup", tmp_path / "venv"],
        env={"PATH": os.fspath(path)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 1
    assert done.stdout == ""
    assert message in done.stderr
    assert len(done.stderr.splitlines()) == 1


def test_help_lists_every_target() -> None:
    makefile = (ROOT / "Makefile").read_text()
    (phony,) = [line for line in makefile.splitlines() if line.startswith(".PHONY:")]
    shown = subprocess.run(
        ["make", "-s", "help"], cwd=ROOT, capture_output=True, text=True, check=True
    ).stdout
    assert [line.split()[0] for line in shown.splitlines()] == phony.split()[1:]
