"""Pursue a goal: ask it which actions it still needs, perform them, and ask again until it needs none.

Exit status: 0 the goal is reached, 1 it is not (too many errors, a fatal one, or the same rounds again and again), 2 bad
input, 124 the time limit, 129/130/143 stopped by a signal.
"""

import asyncio
from collections.abc import Iterator
from typing import TYPE_CHECKING

from runwright import wiring
from runwright.cli import schedule
from runwright.cli.arguments import Arguments
from runwright.cli.common import find_workflow
from runwright.cli.drive import Engine, Setup, Shown, drive
from runwright.cli.records import Record, plural
from runwright.cli.render.problems import render_problems
from runwright.cli.render.terminal import Out
from runwright.core.run import Run

if TYPE_CHECKING:
    import argparse

    from runwright.core.goal import ActionDefinition, GoalDefinition
    from runwright.wiring import Loaded


def configure(parser: "argparse.ArgumentParser") -> None:
    """Add the arguments of `reconcile`."""
    parser.add_argument("goal", metavar="FILE|NAME", help="a goal file, or the name of a goal here")
    parser.add_argument(
        "-n", "--dry-run", action="store_true", help="ask which actions are needed; perform and write nothing"
    )
    schedule.add_variables(parser)
    schedule.add_limits(parser, "most time for all of it: 90s, 1h30m")
    schedule.add_display(parser)


def execute(args: Arguments) -> int:
    """Pursue a goal to its end, or show what it needs now."""
    schedule.check_display(args)
    loaded = wiring.load_goal(find_workflow(args.goal), schedule.variables(args))
    if loaded.warnings and not args.quiet:
        args.err.lines(render_problems(loaded.warnings, args.err, "warning"))
    return asyncio.run(_ask(args, loaded) if args.dry_run else _run(args, loaded))


async def _run(args: Arguments, loaded: "Loaded[GoalDefinition]") -> int:
    options = schedule.options_of(args)

    async def prepare(_: Engine) -> Shown:
        return Shown()

    async def work(engine: Engine) -> Run:
        return await engine.execute(loaded, options)

    return await drive(args, Setup(title=loaded.definition.name, prepare=prepare), work)


async def _ask(args: Arguments, loaded: "Loaded[GoalDefinition]") -> int:
    """Run the goal's own command, which only looks, and show what it asks for."""
    actions = await wiring.needed_actions(loaded.definition, schedule.options_of(args))
    if args.json or args.events:
        args.out.json(
            {"name": loaded.definition.name, "actions": [action_record(action) for action in actions]}
        )
    else:
        args.out.lines(action_lines(loaded.definition.name, actions, args.out))
    return 0


def action_record(action: "ActionDefinition") -> Record:
    """Return an action that is needed as data."""
    return {
        "name": action.name,
        "pre": list(action.pre),
        "perform": list(action.perform),
        "post": list(action.post),
    }


def action_lines(name: str, actions: "tuple[ActionDefinition, ...]", out: Out) -> Iterator[str]:
    """Yield the actions that are needed as lines."""
    head = out.paint(out.clean(name), "strong")
    yield f"{head}: {plural(len(actions), 'action')} needed" if actions else f"{head}: reached"
    for action in actions:
        command = "; ".join(line.strip() for line in action.perform)
        yield f"  {out.clean(action.name)}  {out.paint(out.clean(command), 'live')}"
    yield "nothing was performed"
