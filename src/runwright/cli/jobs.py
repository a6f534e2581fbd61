"""Submit jobs to a queue, look at them, steer them.

submit   queue a job and print its id, alone on the last line: FILE is its document, JSON (- for standard input), or
         --cmd says what to run
list     jobs, newest first
show     one job: its state, its attempts, its document
logs     what it has printed; -f follows it until it has ended, and the exit status is 0 if it completed
cancel   ask for it to be stopped
retry    queue it again

The queue is that of --server (or $RUNWRIGHT_SERVER) with the token in --token-file (or $RUNWRIGHT_TOKEN_FILE), or, without
a server, the one in the project's store.
"""

import argparse
import asyncio
import sys
from collections.abc import Mapping, Sequence
from datetime import datetime
from pathlib import Path
from typing import Any

import msgspec

from runwright.cli import values
from runwright.cli.arguments import Arguments, add_json
from runwright.cli.common import EXIT_FAILED, now
from runwright.cli.render.tables import Cell, Column, table
from runwright.cli.render.terminal import Out
from runwright.cli.render.times import ago, instant
from runwright.core.errors import Problem, UsageError
from runwright.core.job_rows import JobFilter
from runwright.core.job_wire import SubmitRequest
from runwright.core.log_lines import LineReader
from runwright.core.states import JobState
from runwright.ports.queue_client import JobQueueClient

ACTIONS = ("submit", "list", "show", "logs", "cancel", "retry")
READING = ("list", "show", "logs")
STYLES = {"completed": "good", "failed": "bad", "errored": "warn", "canceled": "warn"}
COLUMNS = (
    Column("id", right=True),
    Column("queue", least=6),
    Column("state"),
    Column("attempt", right=True, optional=True),
    Column("queued"),
    Column("worker", least=6, optional=True),
    Column("message", least=8, optional=True),
)
Data = Mapping[str, Any]


def configure(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of `jobs`."""
    parser.add_argument("action", choices=ACTIONS, metavar="ACTION", help=", ".join(ACTIONS))
    parser.add_argument("what", nargs="?", metavar="FILE|ID", help="submit: a document; else the id of a job")
    parser.add_argument("--server", default="", metavar="URL", help="of the server")
    parser.add_argument("--token-file", default="", metavar="FILE", help="with a token of role admin")
    parser.add_argument("--ca-file", default="", metavar="FILE", help="with certificates to trust, PEM")
    parser.add_argument("--queue", metavar="Q", help="submit, list: which queue")
    parser.add_argument("--cmd", metavar="COMMAND", help="submit: a job of one command line")
    parser.add_argument("--image", metavar="IMAGE", help="submit: where --cmd runs, if the worker has images")
    parser.add_argument("--priority", type=int, metavar="N", help="submit: the higher, the sooner")
    parser.add_argument(
        "--label", action="append", default=[], metavar="L", help="submit: a worker must offer it"
    )
    parser.add_argument(
        "--delay", type=values.seconds, metavar="DURATION", help="submit: not to start before"
    )
    parser.add_argument(
        "--max-attempts", type=values.count, metavar="N", help="submit: how often it is tried"
    )
    parser.add_argument(
        "--retry-delay",
        type=values.seconds,
        metavar="DURATION",
        help="submit: wait before the second attempt, doubled each time; 10s",
    )
    parser.add_argument("--key", metavar="KEY", help="submit, list: jobs of one key take turns with others")
    parser.add_argument("--idempotency-key", metavar="KEY", help="submit: a second job with it is not made")
    parser.add_argument("--state", choices=tuple(JobState), metavar="STATE", help="list: only these")
    parser.add_argument("--limit", type=values.count, metavar="N", help="list: most jobs (100)")
    parser.add_argument("--attempt", type=values.count, metavar="N", help="logs: of that attempt; 0: of all")
    parser.add_argument("--reason", metavar="TEXT", help="cancel: why")
    parser.add_argument("-f", "--follow", action="store_true", help="submit, logs: until the job has ended")
    add_json(parser)


def execute(args: Arguments) -> int:
    """Do what is asked for."""
    if args.action == "list" and args.what is not None:
        raise _wrong("list takes no id", "`runwright jobs show ID` shows a job")
    if args.action == "submit":
        document = _document(args)
        return asyncio.run(_with_queue(args, lambda queue: _submit(args, queue, document)))
    if args.action == "list":
        return asyncio.run(_with_queue(args, lambda queue: _list(args, queue)))
    job_id = _job_id(args)
    act = {"show": _show, "logs": _logs, "cancel": _cancel, "retry": _retry}[args.action]
    return asyncio.run(_with_queue(args, lambda queue: act(args, queue, job_id)))


async def _with_queue(args: Arguments, work: Any) -> int:
    from runwright.wiring.queue_clients import opened_queue  # noqa: PLC0415 - for help it is not needed

    is_reading = args.action in READING
    place = (args.server, args.token_file, args.ca_file, args.store)
    async with opened_queue(*place, only_reads=is_reading) as queue:
        status: int = await work(queue)
        return status


# -- what is submitted -----------------------------------------------------------------------------------------


def _document(args: Arguments) -> bytes:
    """Return the document of the job to submit.

    Raises:
        UsageError: If there is none, or two, or it can't be read.
    """
    if not args.queue:
        raise _wrong("submit needs the name of a queue", "add --queue NAME")
    if (args.what is None) is (args.cmd is None):
        raise _wrong("submit needs either the FILE of a document or --cmd", "see `runwright jobs --help`")
    if args.cmd is not None:
        step = {"image": args.image or "", "commands": [args.cmd]}
        return msgspec.json.encode({"version": 2, "dockerSteps": [step]})
    try:
        return sys.stdin.buffer.read() if args.what == "-" else Path(args.what).read_bytes()
    except OSError as error:
        raise _wrong(f"{args.what} can't be read: {error.strerror}", "name the file of a document") from None


async def _submit(args: Arguments, queue: JobQueueClient, document: bytes) -> int:
    given = {
        name: getattr(args, name)
        for name in ("priority", "delay", "max_attempts", "retry_delay", "key", "idempotency_key")
        if getattr(args, name) is not None
    }
    ask = SubmitRequest(queue=args.queue, job=_json(args, document), labels=tuple(args.label), **given)
    job_id = await queue.submit(ask)
    if args.follow:
        args.err.line(f"job {job_id} of queue {args.out.clean(args.queue)}")
        return await _follow(args, queue, job_id)
    if args.json:
        args.out.json({"id": job_id})
    else:
        args.out.line(str(job_id))
    return 0


def _json(args: Arguments, document: bytes) -> msgspec.Raw:
    try:
        msgspec.json.decode(document)
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise _wrong(f"{args.what} is no JSON: {error}", "a document is a JSON object") from None
    return msgspec.Raw(document)


# -- what is there ---------------------------------------------------------------------------------------------


async def _list(args: Arguments, queue: JobQueueClient) -> int:
    state = JobState(args.state) if args.state else None
    limit = 100 if args.limit is None else args.limit
    which = JobFilter(queue=args.queue or "", state=state, key=args.key or "", limit=limit or 1000)
    rows = await queue.jobs(which)
    if args.json:
        args.out.json(list(rows))
    elif rows:
        args.out.lines(table(COLUMNS, [_row(row) for row in rows], args.out))
    else:
        args.out.line("there are no such jobs")
    return 0


def _row(row: Data) -> tuple[Cell | str, ...]:
    state = str(row["state"])
    return (
        str(row["id"]),
        str(row["queue"]),
        Cell(state, STYLES.get(state, "")),
        str(row["attempt"] or ""),
        ago(_instant(row["queued_at"]), now()),
        str(row["worker"]),
        str(row["message"]).partition("\n")[0],
    )


async def _show(args: Arguments, queue: JobQueueClient, job_id: int) -> int:
    job = await queue.job(job_id)
    if args.json:
        args.out.json(dict(job))
    else:
        args.out.lines(_lines(job, args.out))
    return 0


def _lines(job: Data, out: Out) -> Sequence[str]:
    clean = out.clean
    state = out.paint(str(job["state"]), STYLES.get(str(job["state"]), ""))
    facts = [("queue", clean(str(job["queue"]))), ("queued", instant(_instant(job["queued_at"])))]
    facts += [(name, clean(str(job[name]))) for name in ("priority", "key", "worker", "message") if job[name]]
    facts += [("labels", clean(", ".join(job["labels"])))] if job["labels"] else []
    facts += [("cancel asked", clean(str(job["cancel_reason"])))] if job["cancel_reason"] else []
    lines = [f"job {job['id']}  {state}", *(f"  {name:<12}{value}" for name, value in facts)]
    for attempt in job["attempts"]:
        outcome = attempt["outcome"] or "running"
        said = f": {clean(str(attempt['message']))}" if attempt["message"] else ""
        lines.append(f"  attempt {attempt['number']}   {outcome} on {clean(str(attempt['worker']))}{said}")
    filled = {name: value for name, value in job["job"].items() if value and value != {"auths": {}}}
    document = msgspec.json.format(msgspec.json.encode(filled), indent=2).decode()
    return [*lines, "  document", *(f"    {clean(line)}" for line in document.splitlines())]


async def _logs(args: Arguments, queue: JobQueueClient, job_id: int) -> int:
    if args.follow:
        return await _follow(args, queue, job_id)
    entries = await queue.log(job_id, args.attempt)
    if args.json:
        args.out.json(list(entries))
        return 0
    if not entries:
        args.err.line(f"job {job_id} has no log yet")
    printer = _Printer(args.out)
    for entry in entries:
        printer.head(entry)
        if entry["truncated"]:
            printer.note(f"the first {entry['sizeBytes'] - len(entry['out'].encode())} bytes are left out")
        printer.text(entry["out"])
        printer.end(entry)
    return 0


async def _follow(args: Arguments, queue: JobQueueClient, job_id: int) -> int:
    printer, state = _Printer(args.out), ""
    async for news in queue.follow(job_id):
        state = str(news.get("state", state))
        if args.json:
            args.out.line(msgspec.json.encode(news).decode())
            args.out.flush()
        else:
            printer.take(news)
            args.out.flush()
    if not args.json:
        args.err.line(f"job {job_id} {state}")
    return 0 if state == JobState.COMPLETED else EXIT_FAILED


class _Printer:
    """Shows the log of a job: a line for each command, and what it prints."""

    def __init__(self, out: Out) -> None:
        self._out = out
        self._shown: tuple[int, int] | None = None
        self._reader = LineReader()

    def take(self, news: Data) -> None:
        """Show one piece of news."""
        if news["kind"] == "end":
            return
        entry = (int(news["attempt"]), int(news["entry"]))
        if news["kind"] == "out":
            if entry != self._shown:
                self._shown, self._reader = entry, LineReader()
            self.text(news["out"])
        elif news["exitCode"] is None:
            self._shown, self._reader = entry, LineReader()
            self.head(news)
        else:
            self.end(news)

    def head(self, entry: Data) -> None:
        """Show which command begins."""
        self._out.line(self._out.paint(f"[{self._out.clean(str(entry['key']))}]", "dim"))

    def text(self, text: str) -> None:
        """Show a piece of output."""
        for _, data in self._reader.feed(text):
            self._out.write(self._out.clean_lines(data.decode("utf-8", "replace")))

    def end(self, entry: Data) -> None:
        """Show how a command ended, if not well."""
        for _, data in self._reader.flush():
            self._out.write(self._out.clean_lines(data.decode("utf-8", "replace")))
        if entry["exitCode"]:
            self.note(f"exit status {entry['exitCode']}")

    def note(self, text: str) -> None:
        """Show what is ours and not the command's."""
        self._out.line(self._out.paint(f"[{text}]", "dim"))


# -- what is done to it ----------------------------------------------------------------------------------------


async def _cancel(args: Arguments, queue: JobQueueClient, job_id: int) -> int:
    job = await queue.cancel(job_id, args.reason or "canceled from the command line")
    text = (
        "canceled"
        if job["state"] == JobState.CANCELED
        else "asked to stop; its worker hears of it in seconds"
    )
    return _told(args, job, text)


async def _retry(args: Arguments, queue: JobQueueClient, job_id: int) -> int:
    return _told(args, await queue.retry(job_id), "queued again")


def _told(args: Arguments, job: Data, text: str) -> int:
    if args.json:
        args.out.json(dict(job))
    else:
        args.out.line(f"job {job['id']}: {text}")
    return 0


def _job_id(args: Arguments) -> int:
    text = args.what or ""
    if not (text.isascii() and text.isdecimal() and len(text) < 19):
        raise _wrong(f'{args.action} needs the id of a job, not "{text}"', "`runwright jobs list` lists them")
    return int(text)


def _instant(value: Any) -> datetime:
    return msgspec.convert(value, datetime)


def _wrong(message: str, advice: str) -> UsageError:
    return UsageError((Problem(message=message, suggestion=advice),))
