"""Show where a run stands, or wait for its end.

With --wait or --follow the exit status is that of the run: 0 succeeded, 1 failed or cancelled, 124 its time limit.
"""

import argparse
import asyncio
from collections.abc import Iterator
from datetime import datetime
from typing import Any

from runwright.cli import values
from runwright.cli.arguments import Arguments, add_json, add_run
from runwright.cli.common import Reading, exit_status, now, short_id, with_reading
from runwright.cli.goal_view import round_of, row_name
from runwright.cli.nested import Standing, inner_of, standing
from runwright.cli.records import Record, counted, plural, run_record, task_record
from runwright.cli.render.names import said
from runwright.cli.render.terminal import Out
from runwright.cli.render.times import duration, elapsed, instant
from runwright.core.run import Run, TaskRow
from runwright.core.states import RESUMABLE_RUN_STATES, RunState, TaskRole, TaskState

LIVE_STATES = frozenset({RunState.PENDING, RunState.RUNNING})
SHORTEST_INTERVAL = 0.1
MOST_RUNNING = 20

Signs = tuple[Any, ...]


def configure(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of `status`."""
    add_run(parser)
    group = parser.add_mutually_exclusive_group()
    group.add_argument("-f", "--follow", action="store_true", help="show every change until the run ends")
    group.add_argument("--wait", action="store_true", help="say nothing until the run ends")
    parser.add_argument(
        "--interval",
        type=values.seconds,
        default=0.5,
        metavar="DURATION",
        help="how often to look (default 0.5s)",
    )
    add_json(parser)


def execute(args: Arguments) -> int:
    """Show a run's state, once or until it ends."""

    async def work(state: Reading) -> Run:
        run = await state.store.find_run(args.run)
        before: Signs | None = None
        while (args.wait or args.follow) and run.state in LIVE_STATES:
            if args.follow:
                found = await standing(state.store, run)
                if signs(found) != before:
                    await _show(args, state, found)
                before = signs(found)
            await asyncio.sleep(max(SHORTEST_INTERVAL, args.interval))
            run = await state.store.find_run(run.id)
        await _show(args, state, await standing(state.store, run))
        return run

    run = with_reading(args, work)
    return exit_status(run) if args.wait or args.follow else 0


def signs(found: Standing) -> Signs:
    """Return what a reader is told again when it changes: states and counts, of inner runs too."""
    run = found.run
    return (run.state, run.counts, run.cancel_requested_at, *(signs(one) for one in found.inner))


async def _show(args: Arguments, state: Reading, found: Standing) -> None:
    if args.json:
        args.out.json(status_record(found))
    else:
        args.out.lines(status_lines(found, await short_id(state.store, found.run.id), now(), args.out))
    args.out.flush()


def status_record(found: Standing) -> Record:
    """Return a run with its tasks, and as `children` the runs within it."""
    return {
        "run": run_record(found.run),
        "tasks": [task_record(row) for row in found.tasks],
        "children": [status_record(one) for one in found.inner],
    }


def status_lines(found: Standing, short: str, at: datetime, out: Out) -> Iterator[str]:
    """Yield where a run stands: its state, counts, what runs, and the runs within it."""
    run = found.run
    live = run.state is RunState.RUNNING
    spent = duration(elapsed(run.started_at, run.ended_at, at if live else None))
    kind = "" if run.kind == "workflow" else f" {out.paint(out.clean(run.kind), 'dim')}"
    head = f"{out.state_mark(run.state.value)} {out.paint(out.clean(run.name), 'strong')}{kind}"
    yield f"{head} {out.state(run.state.value)}{f'  {spent}' if spent else ''}  run {run.id}"
    if run.reason:
        yield f"  {out.clean(run.reason)}"
    if run.cancel_requested_at is not None and live:
        yield f"  asked to stop at {instant(run.cancel_requested_at)}"
    yield f"  {counted(run)}"
    yield from _inside(found, at, out, "  ")
    if run.state in RESUMABLE_RUN_STATES:
        arrow = out.paint(out.mark("arrow"), "dim")
        yield from (f"{arrow} runwright resume {short}{option}" for option in _ways_on(found))


def _ways_on(found: Standing) -> Iterator[str]:
    """Yield the options with which a run can be resumed; a plan has to be cleaned up, or can go on."""
    if found.run.kind != "plan":
        yield ""
        return
    uncleaned = any(
        row.role is TaskRole.CLEANUP and row.state is not TaskState.SUCCEEDED for row in found.tasks
    )
    if uncleaned or found.run.state is RunState.INTERRUPTED:
        yield ""
    yield " --continue"


def _inside(found: Standing, at: datetime, out: Out, lead: str) -> Iterator[str]:
    """Yield the tasks that run and those whose work are other runs, with these below them."""
    live = found.run.state is RunState.RUNNING
    if (
        live
        and found.run.kind == "goal"
        and (number := max((round_of(row.id) for row in found.tasks), default=0))
    ):
        yield f"{lead}round {number}"
    shown = [
        row for row in found.tasks if (live and row.state is TaskState.RUNNING) or inner_of(found, row.id)
    ]
    shown.sort(key=lambda row: (row.state is not TaskState.RUNNING, row.state is not TaskState.FAILED))
    for row in shown[:MOST_RUNNING]:
        name = row_name(row.id) if found.run.kind == "goal" else said(row.id, row.role)
        yield lead + _row_line(name, row, at, out, live=live)
        for one in inner_of(found, row.id):
            yield f"{lead}  {_inner_line(one.run, out)}"
            yield from _inside(one, at, out, lead + "    ")
    if len(shown) > MOST_RUNNING:
        yield f"{lead}and {len(shown) - MOST_RUNNING} more"
    if found.left_out:
        yield f"{lead}and {plural(found.left_out, 'run')} within: runwright status {found.run.id}"


def _row_line(name: str, row: TaskRow, at: datetime, out: Out, *, live: bool) -> str:
    again = f"  attempt {row.attempts}" if row.attempts > 1 else ""
    spent = duration(elapsed(row.started_at, row.ended_at, at if live else None))
    broken = row.state is TaskState.RUNNING and not live
    mark = out.state_mark("interrupted" if broken else row.state.value)
    return f"{mark} {out.clean(name)}{f'  {spent}' if spent else ''}{again}"


def _inner_line(run: Run, out: Out) -> str:
    name = f"{out.clean(run.name)} {out.paint(out.clean(run.kind), 'dim')}"
    return f"{out.state_mark(run.state.value)} {name}  {counted(run)}"
