"""Command line: ``python -m benchmarks [NAME ...] [--quick] [--json FILE]``."""

import argparse
import json
import sys
import time
from pathlib import Path

from benchmarks import report
from benchmarks.harness import ROOT
from benchmarks.workloads import Plan, workloads

KINDS = ("floor", "theory", "peer", "runwright")


def parse(argv: list[str]) -> argparse.Namespace:
    """Return the checked arguments."""
    known = workloads()
    parser = argparse.ArgumentParser(
        "python -m benchmarks", description="Time Runwright beside floors and peers."
    )
    parser.add_argument(
        "names", nargs="*", metavar="NAME", help=f"which workloads; all if none: {', '.join(known)}"
    )
    parser.add_argument(
        "--quick", action="store_true", help="small sizes, few rounds; leaves the README alone"
    )
    parser.add_argument(
        "--size", choices=("full", "quick", "tiny"), help="sizes; tiny is for the harness's own tests"
    )
    parser.add_argument("--only", choices=KINDS, action="append", help="take part: only these kinds (repeat)")
    parser.add_argument("--json", metavar="FILE", help="write every sample to FILE (- for standard output)")
    parser.add_argument("--no-readme", action="store_true", help="print only; leave the README alone")
    parser.add_argument(
        "--work", type=Path, default=ROOT / "out" / "bench", help="directory for the files (out/bench)"
    )
    found = parser.parse_args(argv)
    found.size = found.size or ("quick" if found.quick else "full")
    for name in found.names:
        if name not in known:
            parser.error(f"no workload {name!r}; there are: {', '.join(known)}")
    return found


def say(text: str) -> None:
    """Show on a terminal what is running now."""
    if sys.stderr.isatty():
        print(f"\r\033[K  {text}", end="", file=sys.stderr, flush=True)


def main(argv: list[str]) -> int:
    """Measure, print, and put the results of a full series into the README."""
    options = parse(argv)
    work = options.work.resolve()
    work.mkdir(parents=True, exist_ok=True)
    plan = Plan(options.size, work, frozenset(options.only or KINDS), say)
    known, raw = workloads(), []
    for name in options.names or known:
        started = time.monotonic()
        section = known[name](plan)
        print(f"{name}: {time.monotonic() - started:.0f} s", file=sys.stderr)
        command = f"python -m benchmarks {name}" + (
            f" --size {options.size}" if options.size != "full" else ""
        )
        text = report.render(section, report.facts(work, command))
        raw.append(report.as_json(section))
        if options.json != "-":
            print(text + "\n")
        if options.size == "full" and not options.only and not options.no_readme:
            report.update_readme(name, text)
    if options.json:
        dumped = json.dumps({"workloads": raw}, indent=1)
        print(dumped) if options.json == "-" else Path(options.json).write_text(dumped + "\n")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
