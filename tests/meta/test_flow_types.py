"""What type checkers make of workflows built in code: right calls pass, wrong ones don't."""

import subprocess
import sys
import textwrap
from pathlib import Path

import pytest

pytest.importorskip("mypy")

ROOT = Path(__file__).parents[2]
HEAD = """
from runwright import Engine, RunOptions, Workflow

flow = Workflow("etl", description="d", variables={"a": "b"})


@flow.task(retries=2, timeout="1m")
def extract(day: str, limit: int = 0) -> list[int]:
    return [1]


@flow.task
async def load(rows: list[int]) -> int:
    return sum(rows)


@flow.subflow
def both(day: str) -> int:
    return load(extract(day))

"""
RIGHT = """
total: int = load(extract(flow.param("day"), limit=5))
rows: list[int] = extract.with_options(key="first", retries=1)("2026-01-01")
days: list[list[int]] = extract.map(["a", "b"], 7)
totals: list[int] = load.map(days)
last: int = load.after(total, rows).with_options(key="last")(rows)
part: int = both(flow.text("{{.day}}"))
async def run() -> str:
    async with Engine("runs.db") as engine:
        return (await engine.execute(flow, RunOptions())).id
print(flow.definition.tasks["load"].depends_on, extract.function("x"))
"""
WRONG = {
    'load("text")': "arg-type",
    "extract(5)": "arg-type",
    "extract()": "call-arg",
    'extract("day", limits=5)': "call-arg",
    'load(load(extract("day")))': "arg-type",
    'number: str = load(extract("day"))': "assignment",
    "wrong: list[str] = extract.map([1, 2])": "assignment",
    'extract.with_options(retry=2)("day")': "call-arg",
    'extract.with_options(retries="two")("day")': "arg-type",
    "both(1)": "arg-type",
    'Workflow("w", descripton="d")': "call-arg",
}


def checked(folder: Path, text: str) -> str:
    file = folder / "snippet.py"
    file.write_text(HEAD + textwrap.dedent(text))
    command = [
        sys.executable,
        "-m",
        "mypy",
        "--strict",
        "--no-error-summary",
        "--follow-imports=silent",  # as in an installed package
        "--cache-dir",
        str(folder / "cache"),
        str(file),
    ]
    done = subprocess.run(
        command,
        cwd=folder,
        env={"MYPYPATH": str(ROOT / "src"), "PATH": "/usr/bin:/bin"},
        capture_output=True,
        text=True,
        check=False,
        timeout=250,
    )
    return done.stdout + done.stderr


def test_right_calls_pass_and_wrong_ones_do_not(tmp_path: Path) -> None:
    assert checked(tmp_path, RIGHT) == ""
    found = checked(tmp_path, "\n".join(WRONG))
    first = len(HEAD.splitlines()) + 1
    lines = {first + number: code for number, code in enumerate(WRONG.values())}
    codes = {}
    for line in found.splitlines():
        place, _, rest = line.partition(": error: ")
        if rest:
            codes[int(place.rpartition(":")[2])] = rest.rpartition("[")[2].rstrip("]")
    assert codes == lines, found


def test_the_example_passes(tmp_path: Path) -> None:
    example = ROOT / "examples" / "python-flow" / "weather.py"
    assert checked(tmp_path, example.read_text().replace("from __future__ import annotations\n", "")) == ""
