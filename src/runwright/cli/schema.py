"""Print the JSON Schema of workflow, plan or goal files, so that editors complete and check them.

Save it and name it in the first line of a file: `#:schema ./workflow.schema.json`.
"""

import argparse
from importlib.resources import files

from runwright.cli.arguments import Arguments
from runwright.core.kinds import FileKind


def configure(parser: argparse.ArgumentParser) -> None:
    """Add the argument of `schema`."""
    parser.add_argument(
        "kind",
        nargs="?",
        choices=[kind.value for kind in FileKind],
        default=FileKind.WORKFLOW.value,
        metavar="KIND",
        help="workflow (the default), plan or goal",
    )


def execute(args: Arguments) -> int:
    """Print the schema."""
    args.out.write(files("runwright").joinpath("data", f"{args.kind}.schema.json").read_text("utf-8"))
    return 0
