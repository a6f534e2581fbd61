"""List the queues of jobs and the workers that serve them, or say how a queue is served.

list      what is in each queue
set       bound, pause or resume one; what is not given stays as it is
workers   the workers that were heard of: what they take, what they are at

The queues are those of --server (or $RUNWRIGHT_SERVER) with the token in --token-file (or $RUNWRIGHT_TOKEN_FILE), or, without
a server, those in the project's store.
"""

import argparse
import asyncio
from collections.abc import Mapping
from datetime import datetime
from typing import Any

import msgspec

from runwright.cli import values
from runwright.cli.arguments import Arguments, add_json
from runwright.cli.common import now
from runwright.cli.records import Record
from runwright.cli.render.tables import Column, table
from runwright.cli.render.times import ago
from runwright.core.errors import DefinitionError, Problem, UsageError
from runwright.core.job_requests import queue_problem
from runwright.core.states import JobState
from runwright.ports.queue_client import JobQueueClient

ACTIONS = ("list", "set", "workers")
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
WORKERS = (
    Column("worker", least=8),
    Column("queues", least=6),
    Column("jobs", right=True),
    Column("slots", right=True),
    Column("state", optional=True),
    Column("heard of"),
    Column("labels", least=6, optional=True),
)
OF_WORKER = (
    "name",
    "queues",
    "labels",
    "slots",
    "leases",
    "draining",
    "os",
    "architecture",
    "versions",
    "first_seen_at",
    "last_seen_at",
)
SETTINGS = ("limit", "key_limit", "max_resets")
Data = Mapping[str, Any]


def configure(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of `queues`."""
    parser.add_argument("action", choices=ACTIONS, metavar="ACTION", help=", ".join(ACTIONS))
    parser.add_argument("name", nargs="?", metavar="NAME", help="set: of the queue")
    parser.add_argument("--server", default="", metavar="URL", help="of the server")
    parser.add_argument("--token-file", default="", metavar="FILE", help="with a token of role admin")
    parser.add_argument("--ca-file", default="", metavar="FILE", help="with certificates to trust, PEM")
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
    if args.action != "set" and (args.name is not None or changes):
        text = f"{args.action} changes nothing and takes no NAME"
        raise _wrong(text, "`runwright queues set NAME` changes a queue")
    if args.action == "set" and (args.name is None or not changes):
        raise _wrong("set needs the NAME of a queue and what to change", "for instance --limit 4, or --pause")
    if args.action == "set" and (problems := list(queue_problem(args.name, ("name",)))):
        raise DefinitionError(problems)
    asyncio.run(_act(args, changes))
    return 0


def _changes(args: Arguments) -> dict[str, Any]:
    given = {name: getattr(args, name) for name in SETTINGS if getattr(args, name) is not None}
    return given | ({"paused": args.pause} if args.pause or args.resume else {})


async def _act(args: Arguments, changes: Data) -> None:
    from runwright.wiring.queue_clients import opened_queue  # noqa: PLC0415 - for help it is not needed

    place = (args.server, args.token_file, args.ca_file, args.store)
    async with opened_queue(*place, only_reads=args.action != "set") as queue:
        if args.action == "set":
            await _set(args, queue, changes)
        else:
            await {"list": _list, "workers": _workers}[args.action](args, queue)


async def _list(args: Arguments, queue: JobQueueClient) -> None:
    rows = await queue.queues()
    if args.json:
        args.out.json([_record(row) for row in rows])
    elif rows:
        args.out.lines(table(COLUMNS, [_row(row) for row in rows], args.out))
    else:
        args.out.line("there are no queues; one exists as soon as a job is submitted to it")


async def _set(args: Arguments, queue: JobQueueClient, changes: Data) -> None:
    settings = await queue.set_queue(args.name, changes)
    if args.json:
        args.out.json(dict(settings))
    else:
        args.out.line(f"{args.out.clean(str(settings['name']))}: {served(settings)}")


async def _workers(args: Arguments, queue: JobQueueClient) -> None:
    rows = await queue.workers()
    if args.json:
        args.out.json([{name: row[name] for name in OF_WORKER} for row in rows])
    elif rows:
        args.out.lines(table(WORKERS, [_worker(row) for row in rows], args.out))
    else:
        args.out.line("no worker was heard of; `runwright worker` starts one")


def served(settings: Data) -> str:
    """Return how a queue is served, in words."""
    words = ["paused"] if settings["paused"] else []
    words += [f"{settings['limit']} at a time"] if settings["limit"] else []
    words += [f"{settings['key_limit']} of a key"] if settings["key_limit"] else []
    return ", ".join([*words, f"{settings['max_resets']} resets"])


def _row(row: Data) -> tuple[str, ...]:
    def count(state: JobState) -> str:
        return str(row["counts"].get(state, 0))

    return (
        str(row["name"]),
        count(JobState.QUEUED),
        count(JobState.PROCESSING),
        count(JobState.ERRORED),
        count(JobState.COMPLETED),
        count(JobState.FAILED),
        _ago(row["oldest_at"]),
        served(row),
    )


def _worker(row: Data) -> tuple[str, ...]:
    return (
        str(row["name"]),
        ", ".join(row["queues"]),
        str(row["leases"]),
        str(row["slots"]),
        "draining" if row["draining"] else "",
        _ago(row["last_seen_at"]),
        ", ".join(row["labels"]),
    )


def _ago(at: Any) -> str:
    return "" if at is None else ago(msgspec.convert(at, datetime), now())


def _record(row: Data) -> Record:
    counts = {state.value: row["counts"].get(state, 0) for state in JobState}
    return {**row, "counts": counts}


def _wrong(message: str, advice: str) -> UsageError:
    return UsageError((Problem(message=message, suggestion=advice),))
