"""A new run, from the workflow's file or module to its end."""

import asyncio
from collections.abc import Collection
from pathlib import Path
from typing import TYPE_CHECKING

from runwright import wiring
from runwright.cli import schedule
from runwright.cli.arguments import Arguments
from runwright.cli.common import find_workflow, is_module
from runwright.cli.drive import Engine, Setup, Shown, drive, is_live
from runwright.core.options import RunOptions
from runwright.core.run import Run
from runwright.core.workflow import Workflow

if TYPE_CHECKING:
    from runwright.wiring import LoadedFlow, LoadedWorkflow


def run_workflow(args: Arguments, options: RunOptions) -> int:
    """Load the workflow, then run it or show its plan; returns the exit status."""
    loaded = load(args.workflow, options.variables)
    if loaded.warnings and not args.quiet:
        from runwright.cli.render.problems import render_problems  # noqa: PLC0415 - only for warnings

        args.err.lines(render_problems(loaded.warnings, args.err, "warning"))
    if args.variables and not args.quiet:
        warn_unread(args, loaded.workflow)
    strategy, workers = schedule.schedule(args)
    if args.dry_run:
        from runwright.cli.preview import show_plan  # noqa: PLC0415 - not needed to run

        return show_plan(args, loaded.workflow, options, strategy, workers)
    if options.only:
        node_ids(loaded.workflow, options)  # a wrong name is an error before anything is written

    async def prepare(_: Engine) -> Shown:
        return Shown(node_ids(loaded.workflow, options) if is_live(args) else ())

    async def work(engine: Engine) -> Run:
        return await engine.execute(loaded, options)

    setup = Setup(title=loaded.workflow.name, strategy=strategy, workers=workers, prepare=prepare)
    return asyncio.run(drive(args, setup, work))


def load(name: str, given: Collection[str]) -> "LoadedWorkflow | LoadedFlow":
    """Read a workflow from its file, or import it from its module.

    Raises:
        DefinitionError: If there is none, or with all that is wrong with it.
    """
    if is_module(name):
        return wiring.load_flow(name, Path.cwd(), given)
    return wiring.load(find_workflow(name), given)


def warn_unread(args: Arguments, workflow: Workflow) -> None:
    """Say which variables of ``--var`` nothing in the workflow reads; those of files may serve several workflows."""
    from runwright.core.unread import unread  # noqa: PLC0415 - only for variables

    err = args.err
    for name, hint in unread(workflow, dict(args.variables)):
        advice = hint or f"tasks see it as $RUNWRIGHT_VAR_{name}"
        err.line(
            f"{err.paint('warning:', 'warn')} --var {err.clean(name)}: nothing in the workflow reads it; {err.clean(advice)}"
        )


def node_ids(workflow: Workflow, options: RunOptions) -> list[str]:
    """Return the ids of the tasks that a new run has, in the order of the graph.

    Raises:
        DefinitionError: If the options name a task that is not there.
    """
    from runwright.core.graph import build  # noqa: PLC0415 - the engine builds its own

    graph = build(workflow)
    wanted = graph.select(options.only) if options.only else range(len(graph))
    return [graph.ids[node] for node in sorted(wanted)]
