"""Targets that are up to date, and one among them that is not."""

import json
import shutil
from collections.abc import Callable
from functools import partial
from itertools import count
from pathlib import Path

from benchmarks.harness import Entry, Failed, child_env, run_once
from benchmarks.report import Section, Table, Target
from benchmarks.runners import OFFLINE, PEERS, PROGRAMS, PYTHON, RUNNERS, runwright_command
from benchmarks.workloads import Plan

FLOOR = "bare stat loop"
MANY = 10_000
BUILD_SECONDS = 1200.0
_edits = count(1)


def measure(plan: Plan) -> Section:
    """Time runs that find nothing, or one thing, to do."""
    section = Section("uptodate", "Up-to-date targets", TEXT)
    for size in dict.fromkeys((plan.pick(1000, 200, 5), plan.pick(MANY, 1000, 10))):
        section.tables.append(_table(plan, size, changed=False))
    section.tables.append(_table(plan, plan.pick(MANY, 1000, 10), changed=True))
    return section


def _table(plan: Plan, size: int, *, changed: bool) -> Table:
    base = plan.work / f"uptodate{size}{'-changed' if changed else ''}"
    entries = [
        _entry(plan, name, base, size, changed)
        for name in WRITERS
        if plan.wants(_kind(name)) and _fits(name, size)
    ]
    rows = plan.measure(entries, plan.pick(9, 3, 1))
    targets = [] if changed else [Target("runwright", FLOOR, at_most=3)]
    targets.append(Target("runwright", "doit", at_most=1, text="runwright faster than doit: ratio"))
    title = f"{size:,} targets, {'one input changed' if changed else 'nothing changed'}, whole process"
    return Table(title, rows, FLOOR, "ms", targets=targets)


def _fits(name: str, size: int) -> bool:
    return name != "snakemake" or size < MANY


def _kind(name: str) -> str:
    return "floor" if name == FLOOR else RUNNERS[name].kind


def _entry(plan: Plan, name: str, base: Path, size: int, changed: bool) -> Entry:
    if name != FLOOR and (missing := RUNNERS[name].missing()):
        return Entry(name, kind=_kind(name), missing=missing)
    place = base / name.replace(" ", "-")
    shutil.rmtree(place, ignore_errors=True)
    for folder in ("src", "out"):
        (place / folder).mkdir(parents=True)
    for number in range(size):
        (place / "src" / f"{number}.in").write_text(f"{number}\n")
    argv = WRITERS[name](place, size)
    rounds = 3 if name == "snakemake" else None
    made = Entry(name, argv, _kind(name), place, child_env(place, OFFLINE), rounds, slow=True)
    made.timeout = BUILD_SECONDS
    plan.say(f"{name} builds {size}")
    try:
        for _ in range(2):  # the second run learns what the first could not be sure of
            run_once(made)
    except (Failed, OSError) as error:
        return Entry(name, kind=_kind(name), missing=f"failed: {error}"[:160])
    if not (place / "out" / f"{size - 1}.out").exists() and name != FLOOR:
        return Entry(name, kind=_kind(name), missing="failed its check: it built nothing")
    made.reset = partial(_edit, place) if changed else None
    return made


def _edit(place: Path) -> None:
    (place / "src" / "0.in").write_text(f"edit {next(_edits)}\n")


def write_stat(place: Path, size: int) -> list[str]:
    """Ask for the status of every input and output."""
    for number in range(size):
        shutil.copy(place / "src" / f"{number}.in", place / "out" / f"{number}.out")
    return [PYTHON, str(PROGRAMS / "stat_loop.py"), str(size)]


def write_make(place: Path, size: int) -> list[str]:
    """Write a rule for each target, as a generator of makefiles does."""
    rules = "".join(f"out/{n}.out: src/{n}.in\n\tcp src/{n}.in out/{n}.out\n" for n in range(size))
    names = " ".join(f"out/{n}.out" for n in range(size))
    (place / "Makefile").write_text(f".PHONY: all\nall: {names}\n{rules}")
    return ["make", "-s", "-j", "2"]


def write_ninja(place: Path, size: int) -> list[str]:
    """Write one rule and an edge for each target."""
    edges = "".join(f"build out/{n}.out: cp src/{n}.in\n" for n in range(size))
    (place / "build.ninja").write_text(f"rule cp\n  command = cp $in $out\n{edges}")
    return ["ninja", "--quiet", "-j", "2"]


def write_doit(place: Path, size: int) -> list[str]:
    """Write the number of targets; the tasks are made by a loop."""
    (place / "size").write_text(str(size))
    return [str(PEERS / "doit"), "-f", str(PROGRAMS / "dodo_files.py"), "--dir", str(place)]


def write_snakemake(place: Path, size: int) -> list[str]:
    """Write one rule with a wildcard."""
    (place / "Snakefile").write_text(
        f"rule all:\n    input: expand('out/{{n}}.out', n=range({size}))\n"
        "rule cp:\n    input: 'src/{n}.in'\n    output: 'out/{n}.out'\n    shell: 'cp {input} {output}'\n"
    )
    return [str(PEERS / "snakemake"), "-j", "2", "--quiet", "all"]


def write_runwright(place: Path, size: int) -> list[str]:
    """Write a table for each target."""
    (place / "runwright.toml").touch()
    with (place / "bench.toml").open("w") as file:
        file.write('name = "bench"\n')
        for n in range(size):
            file.write(
                f'[tasks.t{n}]\ncmd = "cp src/{n}.in out/{n}.out"\ncache = true\n'
                f"inputs = {json.dumps([f'src/{n}.in'])}\noutputs = {json.dumps([f'out/{n}.out'])}\n"
            )
    return [*runwright_command(), "run", "bench.toml", "--quiet", "--workers", "2"]


WRITERS: dict[str, Callable[[Path, int], list[str]]] = {
    FLOOR: write_stat,
    "make": write_make,
    "ninja": write_ninja,
    "doit": write_doit,
    "snakemake": write_snakemake,
    "runwright": write_runwright,
}

TEXT = """\
Each target copies a file of a few bytes, and has been built before. The floor is an interpreter that asks for the status of every input and
output, 2,000 for 1,000 targets. make and ninja compare times; doit compares times, then contents; snakemake times, then checksums and code.
Runwright compares the content of inputs and outputs (by what it knows of files whose status has not changed), the command and the
environment, and records a durable run in which every target has its outcome. Each tool has a rule of its own for each target; snakemake
one with a wildcard, and it is left out of 10,000, which take it too long to build."""
