"""Show where a run stands, or wait for its end.

With --wait or --follow the exit status is that of the run: 0 succeeded, 1 failed or cancelled, 124 its time limit.
"""

import argparse
import asyncio
from collections.abc import Iterator, Sequence
from datetime import datetime

from runwright.cli import values
from runwright.cli.arguments import Arguments, add_json, add_run
from runwright.cli.common import Reading, exit_status, now, short_id, with_reading
from runwright.cli.records import Record, counts_text, plural, run_record, state_counts, task_record
from runwright.cli.render.names import said
from runwright.cli.render.terminal import Out
from runwright.cli.render.times import duration, elapsed, instant
from runwright.core.run import Run, TaskRow
from runwright.core.states import RESUMABLE_RUN_STATES, RunState, TaskState

LIVE_STATES = frozenset({RunState.PENDING, RunState.RUNNING})
SHORTEST_INTERVAL = 0.1
MOST_RUNNING = 20


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
        before: Run | None = None
        while (args.wait or args.follow) and run.state in LIVE_STATES:
            if args.follow and _differs(before, run):
                await _show(args, state, run)
            before = run
            await asyncio.sleep(max(SHORTEST_INTERVAL, args.interval))
            run = await state.store.find_run(run.id)
        await _show(args, state, run)
        return run

    run = with_reading(args, work)
    return exit_status(run) if args.wait or args.follow else 0


def _differs(before: Run | None, after: Run) -> bool:
    if before is None:
        return True
    return (before.state, before.counts, before.cancel_requested_at) != (
        after.state,
        after.counts,
        after.cancel_requested_at,
    )


async def _show(args: Arguments, state: Reading, run: Run) -> None:
    tasks = await state.store.tasks(run.id)
    if args.json:
        args.out.json(status_record(run, tasks))
    else:
        args.out.lines(status_lines(run, tasks, await short_id(state.store, run.id), now(), args.out))
    args.out.flush()


def status_record(run: Run, tasks: Sequence[TaskRow]) -> Record:
    """Return a run with its tasks."""
    return {"run": run_record(run), "tasks": [task_record(row) for row in tasks]}


def status_lines(run: Run, tasks: Sequence[TaskRow], short: str, at: datetime, out: Out) -> Iterator[str]:
    """Yield where a run stands: its state, counts, and what runs."""
    live = run.state is RunState.RUNNING
    spent = duration(elapsed(run.started_at, run.ended_at, at if live else None))
    head = f"{out.state_mark(run.state.value)} {out.paint(out.clean(run.name), 'strong')}"
    yield f"{head} {out.state(run.state.value)}{f'  {spent}' if spent else ''}  run {run.id}"
    if run.reason:
        yield f"  {out.clean(run.reason)}"
    if run.cancel_requested_at is not None and live:
        yield f"  asked to stop at {instant(run.cancel_requested_at)}"
    yield f"  {plural(run.counts.total, 'task')}: {counts_text(state_counts(run))}"
    if live:
        yield from _running([row for row in tasks if row.state is TaskState.RUNNING], at, out)
    if run.state in RESUMABLE_RUN_STATES:
        yield f"{out.paint(out.mark('arrow'), 'dim')} runwright resume {short}"


def _running(rows: Sequence[TaskRow], at: datetime, out: Out) -> Iterator[str]:
    for row in rows[:MOST_RUNNING]:
        again = f"  attempt {row.attempts}" if row.attempts > 1 else ""
        spent = duration(elapsed(row.started_at, None, at))
        yield f"  {out.state_mark('running')} {out.clean(said(row.id, row.role))}  {spent}{again}"
    if len(rows) > MOST_RUNNING:
        yield f"  and {len(rows) - MOST_RUNNING} more"
