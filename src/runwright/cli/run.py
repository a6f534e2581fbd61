"""Run a workflow: its tasks in the right order, everything that happens recorded.

Exit status: 0 succeeded, 1 failed, 2 bad input, 124 the time limit, 129/130/143 stopped by a signal.
The first Ctrl-C stops the run and lets tasks end within their grace, a second one skips the grace, a third exits.
"""

import argparse
import asyncio
import os

from runwright import wiring
from runwright.cli import schedule, values
from runwright.cli.common import find_workflow
from runwright.cli.drive import Engine, Setup, Shown, drive, is_live
from runwright.cli.parser import Arguments
from runwright.core.options import FailurePolicy, RunOptions
from runwright.core.run import Run
from runwright.core.workflow import Workflow


def configure(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of `run`."""
    parser.add_argument(
        "workflow", metavar="FILE|NAME", help="a workflow file, or the name of a workflow here"
    )
    parser.add_argument("-n", "--dry-run", action="store_true", help="show the plan; run and write nothing")
    schedule.add_schedule(parser)
    schedule.add_variables(parser)
    schedule.add_policy(parser)
    parser.add_argument(
        "--timeout",
        type=values.seconds,
        default=0.0,
        metavar="DURATION",
        help="most time for the run: 90s, 1h30m",
    )
    parser.add_argument(
        "--only", action="append", default=[], metavar="TASK", help="run this task alone; may be repeated"
    )
    parser.add_argument(
        "--tag",
        action="append",
        default=[],
        metavar="TAG",
        dest="tags",
        help="a tag for this run; may be repeated",
    )
    parser.add_argument("--clean-env", action="store_true", help="start every task from an empty environment")
    schedule.add_display(parser)


def execute(args: Arguments) -> int:
    """Run a workflow to its end, or show what would run."""
    schedule.check_display(args)
    if not args.dry_run:
        wiring.start_early()
    options = options_of(args)
    loaded = wiring.load(find_workflow(args.workflow))
    if loaded.warnings and not args.quiet:
        from runwright.cli.render.problems import render_problems  # noqa: PLC0415 - only for warnings

        args.err.lines(render_problems(loaded.warnings, args.err, "warning"))
    strategy, workers = schedule.schedule(args)
    if args.dry_run:
        from runwright.cli.plan import show_plan  # noqa: PLC0415 - not needed to run

        return show_plan(args, loaded.workflow, options, strategy, workers)

    if options.only:
        node_ids(loaded.workflow, options)

    async def prepare(_: Engine) -> Shown:
        return Shown(node_ids(loaded.workflow, options) if is_live(args) else ())

    async def work(engine: Engine) -> Run:
        return await engine.execute(loaded, options)

    setup = Setup(title=loaded.workflow.name, strategy=strategy, workers=workers, prepare=prepare)
    return asyncio.run(drive(args, setup, work))


def node_ids(workflow: Workflow, options: RunOptions) -> list[str]:
    """Return the ids of the tasks that a new run has, in the order of the graph.

    Raises:
        DefinitionError: If the options name a task that is not there.
    """
    from runwright.core.graph import build  # noqa: PLC0415 - the engine builds its own

    graph = build(workflow)
    wanted = graph.select(options.only) if options.only else range(len(graph))
    return [graph.ids[node] for node in sorted(wanted)]


def options_of(args: Arguments) -> RunOptions:
    """Return the options of a new run."""
    return RunOptions(
        variables=schedule.variables(args),
        clean_env=args.clean_env,
        print_output=args.print_output,
        timeout=args.timeout,
        failure_policy=FailurePolicy(args.policy) if args.policy else FailurePolicy.FINISH,
        only=tuple(args.only),
        tags=tuple(args.tags),
        directory=os.getcwd(),  # noqa: PTH109 - pathlib is not needed on this path
    )
