"""Start a project: a `runwright.toml` and a first workflow. What exists already is left as it is."""

import argparse
import os
from pathlib import Path

from runwright.cli.arguments import Arguments, add_json
from runwright.cli.common import relative

PROJECT = """\
# This file marks the root of a project. Its state (runs, logs) is kept beside it, in .runwright.
# Workflows are the .toml files here and in workflows/.
"""

WORKFLOW = """\
# Run it with `runwright run hello`; look at it with `runwright graph hello`.
name = "hello"
description = "Two tasks side by side, and one that joins what they found"

[tasks.host]
cmd = "uname -n"
register = "host"

[tasks.today]
cmd = "date +%A"
register = "today"

[tasks.greet]
cmd = "echo Hello from {{.host}}, it is {{.today}}"
depends_on = ["host", "today"]
"""

FILES = {"runwright.toml": PROJECT, "workflows/hello.toml": WORKFLOW}


def configure(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of `init`."""
    parser.add_argument("where", nargs="?", default=".", metavar="DIR", help="default: the current directory")
    add_json(parser)


def execute(args: Arguments) -> int:
    """Write what is missing."""
    root = Path(args.where)
    written = {name: write_new(root / name, text) for name, text in FILES.items()}
    if args.json:
        args.out.json([{"path": str(root / name), "written": new} for name, new in written.items()])
        return 0
    out = args.out
    for name, new in written.items():
        mark = out.state_mark("succeeded") if new else out.state_mark("skipped")
        out.line(f"{mark} {out.clean(relative(root / name))}{'' if new else '  exists, left as it is'}")
    place = "" if root.resolve() == Path.cwd() else f" -C {out.clean(str(root))}"
    out.line(f"{out.paint(out.mark('arrow'), 'dim')} runwright{place} run hello")
    return 0


def write_new(path: Path, text: str) -> bool:
    """Write a file unless something is there already; returns whether it did."""
    path.parent.mkdir(parents=True, exist_ok=True)
    try:
        handle = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o666)
    except FileExistsError:
        return False
    with os.fdopen(handle, "w", encoding="utf-8") as file:
        file.write(text)
    return True
