"""Run a plan: its steps in order, then their cleanups last to first, whatever the end.

Exit status: 0 succeeded and all is cleaned up, 1 a step or a cleanup failed, 2 bad input, 124 the time limit,
129/130/143 stopped by a signal. The first Ctrl-C breaks off the step that runs and cleans up, a second one skips the
grace of commands, a third exits; `runwright resume` then cleans up what is left.
"""

import asyncio
from collections.abc import Iterator
from typing import TYPE_CHECKING

from runwright import wiring
from runwright.cli import schedule
from runwright.cli.arguments import Arguments
from runwright.cli.common import find_workflow, not_cleaned
from runwright.cli.drive import Engine, Setup, Shown, drive
from runwright.cli.records import Record, plural
from runwright.cli.render.problems import render_problems
from runwright.cli.render.terminal import Out, shorten
from runwright.cli.render.times import duration
from runwright.core.plan import Hook, PauseDefinition, PlanDefinition, StepDefinition
from runwright.core.run import Run

if TYPE_CHECKING:
    import argparse

    from runwright.wiring import Loaded

LONGEST_COMMAND = 100
HOOK_WIDTH = max(map(len, Hook)) + 2


def configure(parser: "argparse.ArgumentParser") -> None:
    """Add the arguments of `plan`."""
    parser.add_argument("plan", metavar="FILE|NAME", help="a plan file, or the name of a plan here")
    parser.add_argument("-n", "--dry-run", action="store_true", help="show the steps; run and write nothing")
    schedule.add_variables(parser)
    schedule.add_limits(parser, "most time for the steps: 90s, 1h30m; cleanups have their own")
    schedule.add_display(parser)


def execute(args: Arguments) -> int:
    """Run a plan to its end, or show what it would do."""
    schedule.check_display(args)
    loaded = wiring.load_plan(find_workflow(args.plan))
    if loaded.warnings and not args.quiet:
        args.err.lines(render_problems(loaded.warnings, args.err, "warning"))
    if args.dry_run:
        return show(args, loaded.definition)
    return asyncio.run(_run(args, loaded))


async def _run(args: Arguments, loaded: "Loaded[PlanDefinition]") -> int:
    options = schedule.options_of(args)
    left: list[str] = []

    async def prepare(_: Engine) -> Shown:
        return Shown([element.name for element in loaded.definition.elements])

    async def work(engine: Engine) -> Run:
        run = await engine.execute(loaded, options)
        left.extend(await not_cleaned(engine.store, run))
        return run

    def judge(status: int) -> int:
        return status or int(bool(left))

    return await drive(args, Setup(title=loaded.definition.name, prepare=prepare, judge=judge), work)


def show(args: Arguments, plan: PlanDefinition) -> int:
    """Print what a plan would do."""
    if args.json or args.events:
        args.out.json(plan_record(plan))
    else:
        args.out.lines(plan_lines(plan, args.out))
    return 0


def plan_record(plan: PlanDefinition) -> Record:
    """Return what a plan would do as data."""
    return {
        "name": plan.name,
        "continue_on_error": plan.continue_on_error,
        "limit_duration": plan.limit_duration or None,
        "cleanup_timeout": plan.cleanup_timeout,
        "steps": [_element_record(element) for element in plan.elements],
        "cleanup_order": cleanup_order(plan),
    }


def _element_record(element: StepDefinition | PauseDefinition) -> Record:
    if isinstance(element, PauseDefinition):
        return {"name": element.name, "pause": element.seconds}
    hooks = {hook.value: list(element.hooks[hook]) for hook in Hook if hook in element.hooks}
    return {
        "name": element.name,
        "retries": element.retries,
        "timeout": element.timeout or None,
        "hooks": hooks,
    }


def cleanup_order(plan: PlanDefinition) -> list[str]:
    """Return the names of the steps in the order in which they are cleaned up if all succeed."""
    steps = (element for element in reversed(plan.elements) if isinstance(element, StepDefinition))
    return [step.name for step in steps if Hook.CLEANUP in step.hooks]


def plan_lines(plan: PlanDefinition, out: Out) -> Iterator[str]:
    """Yield what a plan would do as lines."""
    steps = sum(isinstance(element, StepDefinition) for element in plan.elements)
    limit = f", at most {duration(plan.limit_duration)}" if plan.limit_duration else ""
    errors = ", goes on after errors" if plan.continue_on_error else ""
    yield f"{out.paint(out.clean(plan.name), 'strong')}: {plural(steps, 'step')}{limit}{errors}"
    for element in plan.elements:
        yield from _element_lines(element, out)
    if order := cleanup_order(plan):
        yield f"{out.paint('cleanup', 'dim')}  {out.clean(', '.join(order))}"
    yield "nothing was run"


def _element_lines(element: StepDefinition | PauseDefinition, out: Out) -> Iterator[str]:
    if isinstance(element, PauseDefinition):
        yield f"  {out.paint('pause', 'dim')} {duration(element.seconds)}"
        return
    retries = f"  {plural(element.retries, 'retry')}" if element.retries == 1 else ""
    retries = retries or (f"  {element.retries} retries" if element.retries else "")
    yield f"  {out.clean(element.name)}{out.paint(retries, 'warn')}"
    for hook in Hook:
        for command in element.hooks.get(hook, ()):
            text = shorten(command.strip().splitlines()[0], LONGEST_COMMAND, out.mark("ellipsis"))
            yield f"    {out.paint(hook.value.ljust(HOOK_WIDTH), 'dim')}{out.paint(out.clean(text), 'live')}"
