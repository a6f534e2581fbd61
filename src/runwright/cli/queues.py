"""List the queues of jobs, or say how one is served.

list   what is in each queue
set    bound, pause or resume one; what is not given stays as it is
"""

import argparse
import asyncio
from typing import Any

from msgspec import structs

from runwright.cli import values
from runwright.cli.arguments import Arguments, add_json
from runwright.cli.common import now
from runwright.cli.records import Record
from runwright.cli.render.tables import Column, table
from runwright.cli.render.times import ago
from runwright.core.errors import Problem, UsageError
from runwright.core.job_rows import QueueRow, QueueSettings
from runwright.core.states import JobState

ACTIONS = ("list", "set")
COLUMNS = (
    Column("queue", least=8),
    Column("queued", right=True),
    Column("processing", right=True),
    Column("waiting", right=True, optional=True),
    Column("completed", right=True, optional=True),
    Column("failed", right=True, optional=True),
    Column("oldest", optional=True),
    Column("served", optional=True),
)
SETTINGS = ("limit", "key_limit", "max_resets")


def configure(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of `queues`."""
    parser.add_argument("action", choices=ACTIONS, metavar="ACTION", help=", ".join(ACTIONS))
    parser.add_argument("name", nargs="?", metavar="NAME", help="set: of the queue")
    parser.add_argument("--limit", type=values.count, metavar="N", help="most jobs at a time; 0: any number")
    parser.add_argument("--key-limit", type=values.count, metavar="N", help="most jobs of one key at a time")
    parser.add_argument(
        "--max-resets",
        type=values.count,
        metavar="N",
        help="how often a job is queued again whose worker was lost",
    )
    either = parser.add_mutually_exclusive_group()
    either.add_argument("--pause", action="store_true", help="give out no job of it")
    either.add_argument("--resume", action="store_true", help="give out its jobs again")
    add_json(parser)


def execute(args: Arguments) -> int:
    """Do what is asked for."""
    changes = _changes(args)
    if args.action == "list" and (args.name is not None or changes):
        raise _wrong("list changes nothing and takes no NAME", "`runwright queues set NAME` changes a queue")
    if args.action == "set" and (args.name is None or not changes):
        raise _wrong("set needs the NAME of a queue and what to change", "for instance --limit 4, or --pause")
    asyncio.run(_list(args) if args.action == "list" else _set(args, changes))
    return 0


def _changes(args: Arguments) -> dict[str, Any]:
    given = {name: getattr(args, name) for name in SETTINGS if getattr(args, name) is not None}
    return given | ({"paused": args.pause} if args.pause or args.resume else {})


async def _list(args: Arguments) -> None:
    from runwright.wiring.server import open_jobs  # noqa: PLC0415 - for help it is not needed

    store = open_jobs(args.store)
    try:
        rows = await store.queues()
    finally:
        await store.close()
    if args.json:
        args.out.json([_record(row) for row in rows])
    elif rows:
        args.out.lines(table(COLUMNS, [_row(row) for row in rows], args.out))
    else:
        args.out.line("there are no queues; one exists as soon as a job is submitted to it")


async def _set(args: Arguments, changes: dict[str, Any]) -> None:
    from runwright.wiring.server import change_queue  # noqa: PLC0415 - as above

    settings = await change_queue(args.store, args.name, changes)
    if args.json:
        args.out.json(structs.asdict(settings))
    else:
        args.out.line(f"{args.out.clean(settings.name)}: {served(settings)}")


def served(settings: QueueSettings) -> str:
    """Return how a queue is served, in words."""
    words = ["paused"] if settings.paused else []
    words += [f"{settings.limit} at a time"] if settings.limit else []
    words += [f"{settings.key_limit} of a key"] if settings.key_limit else []
    return ", ".join([*words, f"{settings.max_resets} resets"])


def _row(row: QueueRow) -> tuple[str, ...]:
    def count(state: JobState) -> str:
        return str(row.counts.get(state, 0))

    return (
        row.settings.name,
        count(JobState.QUEUED),
        count(JobState.PROCESSING),
        count(JobState.ERRORED),
        count(JobState.COMPLETED),
        count(JobState.FAILED),
        ago(row.oldest_at, now()) if row.oldest_at is not None else "",
        served(row.settings),
    )


def _record(row: QueueRow) -> Record:
    counts = {state.value: row.counts.get(state, 0) for state in JobState}
    return {**structs.asdict(row.settings), "counts": counts, "oldest_at": row.oldest_at}


def _wrong(message: str, advice: str) -> UsageError:
    return UsageError((Problem(message=message, suggestion=advice),))
