"""Run a workflow: its tasks in the right order, everything that happens recorded.

Exit status: 0 succeeded, 1 failed, 2 bad input, 124 the time limit, 129/130/143 stopped by a signal.
The first Ctrl-C stops the run and lets tasks end within their grace, a second one skips the grace, a third exits.
"""

from typing import TYPE_CHECKING

from msgspec.structs import replace

from runwright.cli import schedule
from runwright.cli.arguments import Arguments
from runwright.cli.running import run_workflow
from runwright.core.options import FailurePolicy, RunOptions

if TYPE_CHECKING:
    import argparse


def configure(parser: "argparse.ArgumentParser") -> None:
    """Add the arguments of `run`."""
    parser.add_argument(
        "workflow",
        metavar="FILE|NAME|MODULE:NAME",
        help="a workflow file, the name of a workflow here, or a workflow made in code: module:name, file.py:name",
    )
    parser.add_argument("-n", "--dry-run", action="store_true", help="show the plan; run and write nothing")
    schedule.add_schedule(parser)
    schedule.add_variables(parser)
    schedule.add_policy(parser)
    parser.add_argument(
        "--only", action="append", default=[], metavar="TASK", help="run this task alone; may be repeated"
    )
    parser.add_argument(
        "--no-cache", action="store_true", help="run cached tasks too, and keep what comes of them"
    )
    parser.add_argument(
        "--watch", action="store_true", help="run again whenever an input of a task has changed"
    )
    schedule.add_limits(parser, "most time for the run: 90s, 1h30m")
    schedule.add_display(parser)


def execute(args: Arguments) -> int:
    """Run a workflow to its end, or show what would run."""
    schedule.check_display(args)
    if args.watch:
        from runwright.cli.watch import watch  # noqa: PLC0415 - only if it is asked for

        return watch(args, options_of(args))
    return run_workflow(args, options_of(args))


def options_of(args: Arguments) -> RunOptions:
    """Return the options of a new run."""
    return replace(
        schedule.options_of(args),
        failure_policy=FailurePolicy(args.policy) if args.policy else FailurePolicy.FINISH,
        only=tuple(args.only),
        no_cache=args.no_cache,
    )
