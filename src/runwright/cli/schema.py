"""Print the JSON Schema of workflow, plan or goal files, so that editors complete and check them.

Save it and name it in the first line of a file: `#:schema ./workflow.schema.json`. For plugins, what is printed is
their protocol as a .proto file.
"""

import argparse
from importlib.resources import files

from runwright.cli.arguments import Arguments
from runwright.core.kinds import FileKind

PLUGIN = "plugin"


def configure(parser: argparse.ArgumentParser) -> None:
    """Add the argument of `schema`."""
    parser.add_argument(
        "kind",
        nargs="?",
        choices=[*(kind.value for kind in FileKind), PLUGIN],
        default=FileKind.WORKFLOW.value,
        metavar="KIND",
        help="workflow (the default), plan or goal; plugin prints the protocol of plugins (.proto)",
    )


def execute(args: Arguments) -> int:
    """Print the schema."""
    parts = (
        ("adapters", "plugin", "plugin.proto")
        if args.kind == PLUGIN
        else ("data", f"{args.kind}.schema.json")
    )
    args.out.write(files("runwright").joinpath(*parts).read_text("utf-8"))
    return 0
