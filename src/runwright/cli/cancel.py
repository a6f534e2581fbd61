"""Ask a run to stop, whoever drives it, and wait until it has.

Tasks get SIGTERM and their grace, cleanups run, and the run can be resumed.
"""

import argparse
import asyncio
from datetime import datetime

from runwright import wiring
from runwright.cli import values
from runwright.cli.arguments import Arguments, add_json, add_run
from runwright.cli.common import exit_status, now, reading, short_id
from runwright.cli.records import run_record
from runwright.cli.status import LIVE_STATES
from runwright.core.errors import ConflictError
from runwright.core.run import Run
from runwright.core.states import RunState
from runwright.ports.stores import RunStore

LOOK_EVERY = 0.1


def configure(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of `cancel`."""
    add_run(parser)
    parser.add_argument("--reason", default="", metavar="TEXT", help="recorded with the request")
    parser.add_argument("--no-wait", action="store_true", help="ask only")
    parser.add_argument(
        "--timeout", type=values.seconds, default=0.0, metavar="DURATION", help="wait so long at most"
    )
    add_json(parser)


def execute(args: Arguments) -> int:
    """Ask a run to stop."""
    return asyncio.run(_cancel(args))


async def _cancel(args: Arguments) -> int:
    async with reading(args) as state:
        run = await state.store.find_run(args.run)
        short = await short_id(state.store, run.id)
    if run.state not in LIVE_STATES:
        return _not_running(args, run, short)
    store = wiring.open_store(wiring.state_location(args.store), read_only=False)
    try:
        reason = args.reason or "runwright cancel"
        run = await store.request_cancel(run.id, now(), reason)
        if not args.no_wait:
            run = await _ended(store, run, args.timeout, now())
        _tell(args, run, short)
        return 0
    finally:
        await store.close()


def _not_running(args: Arguments, run: Run, short: str) -> int:
    """Say that there is nothing to stop; an engine that died is worth a word."""
    if run.state is RunState.INTERRUPTED:
        raise ConflictError(
            f"the engine of run {short} has died, nothing of it runs; continue it with `runwright resume {short}`"
        )
    if args.json:
        args.out.json(run_record(run))
    else:
        args.out.line(f"run {short} has ended already: {args.out.state(run.state.value)}")
    return 0 if run.state is RunState.CANCELLED else exit_status(run)


async def _ended(store: RunStore, run: Run, limit: float, asked_at: datetime) -> Run:
    """Wait until nobody drives the run any more.

    Raises:
        ConflictError: If that takes longer than `limit`.
    """
    while run.state in LIVE_STATES:
        if limit and (now() - asked_at).total_seconds() > limit:
            raise ConflictError(f"run {run.id} has been asked to stop, but still runs")
        await asyncio.sleep(LOOK_EVERY)
        run = await store.find_run(run.id)
    return run


def _tell(args: Arguments, run: Run, short: str) -> None:
    out = args.out
    if args.json:
        out.json(run_record(run))
    elif run.state in LIVE_STATES:
        out.line(f"run {short} has been asked to stop")
    else:
        out.line(f"run {short} {out.state(run.state.value)}")
        if run.state is not RunState.SUCCEEDED:
            out.line(f"{out.paint(out.mark('arrow'), 'dim')} runwright resume {short}")
