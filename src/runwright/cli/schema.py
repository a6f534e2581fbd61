"""Print the JSON Schema of workflow files, so that editors complete and check them.

Save it and name it in the first line of a workflow: `#:schema ./workflow.schema.json`.
"""

import argparse
from importlib.resources import files

from runwright.cli.arguments import Arguments


def configure(parser: argparse.ArgumentParser) -> None:
    """Add no arguments: there is one schema."""


def execute(args: Arguments) -> int:
    """Print the schema."""
    args.out.write(files("runwright").joinpath("data", "workflow.schema.json").read_text("utf-8"))
    return 0
