"""Show what tasks printed: of all tasks or of one, once or while the run goes on.

Lines are prefixed with their task when there are several. A key names all nodes of a matrix, and OUTER/INNER the task
INNER of the run that is the work of the task OUTER. Not on a terminal, the log of a single attempt is written byte for
byte.
"""

import argparse
import asyncio
from collections import Counter, deque
from collections.abc import Iterable, Iterator, Sequence
from datetime import datetime

from msgspec import Struct

from runwright.cli import values
from runwright.cli.arguments import Arguments, add_run
from runwright.cli.common import Reading, with_reading
from runwright.cli.nested import STEP, Standing, locate, standing, way
from runwright.cli.render.progress import visible
from runwright.cli.render.terminal import Out
from runwright.cli.status import LIVE_STATES
from runwright.core.run import Run
from runwright.ports.executor import Stream
from runwright.ports.stores import RunStore
from runwright.ports.system import LogChunk, Logs

LOOK_EVERY = 0.2
LONGEST_LINE = 64 * 1024
"""Bytes after which a line is shown in pieces, so that memory stays small whatever a task prints."""


class Source(Struct, frozen=True):
    """An attempt whose log is shown, as `path`: the id of its task behind those of the tasks that it is a part of."""

    run_id: str
    path: str
    task_id: str
    number: int


def configure(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of `logs`."""
    add_run(parser)
    parser.add_argument(
        "task", nargs="?", metavar="TASK", help="id of a task, key of all nodes of a matrix, or OUTER/INNER"
    )
    parser.add_argument("-f", "--follow", action="store_true", help="go on until the run ends")
    parser.add_argument(
        "-n", "--tail", type=values.count, metavar="N", help="only the last N lines of each attempt"
    )
    parser.add_argument("--attempt", type=values.count, metavar="N", help="only this attempt, from 1")
    group = parser.add_mutually_exclusive_group()
    group.add_argument(
        "--stdout", action="store_const", const="stdout", dest="stream", help="standard output alone"
    )
    group.add_argument(
        "--stderr", action="store_const", const="stderr", dest="stream", help="standard error alone"
    )


def execute(args: Arguments) -> int:
    """Show logs."""

    async def work(state: Reading) -> None:
        run = await state.store.find_run(args.run)
        shown = wanted(await standing(state.store, run), args.task)
        await _show(args, state, run, many=args.task is None or len(shown) > 1)

    with_reading(args, work)
    return 0


def wanted(found: Standing, name: str | None) -> list[tuple[Standing, str, frozenset[str]]]:
    """Return whose logs to show: runs, what stands before the names of their tasks, and the ids of these.

    Raises:
        UsageError: If there is no such task; with the nearest name.
    """
    chain, ids = ((found,), frozenset(row.id for row in found.tasks)) if name is None else locate(found, name)
    return list(_wanted(chain[-1], way(chain), ids))


def _wanted(
    found: Standing, before: str, ids: frozenset[str]
) -> Iterator[tuple[Standing, str, frozenset[str]]]:
    yield found, before, ids
    for one in found.inner:
        if one.run.parent_task in ids:
            rows = frozenset(row.id for row in one.tasks)
            yield from _wanted(one, f"{before}{one.run.parent_task}{STEP}", rows)


async def _show(args: Arguments, state: Reading, run: Run, *, many: bool) -> None:
    printer = Printer(args.out, state.logs, args.stream, args.tail)
    while True:
        run = await state.store.find_run(run.id)
        live = args.follow and run.state in LIVE_STATES
        shown = wanted(await standing(state.store, run), args.task)
        sources = await _sources(state.store, shown, args.attempt)
        printer.begin(sources, prefixed=many or len(sources) > 1 or (live and args.attempt is None))
        for source in sources:
            printer.print_new(source, final=not live)
        args.out.flush()
        if not live:
            return
        await asyncio.sleep(LOOK_EVERY)


async def _sources(
    store: RunStore, shown: Iterable[tuple[Standing, str, frozenset[str]]], number: int | None
) -> list[Source]:
    """Return the attempts of the wanted tasks, by the instants at which they began."""
    found: list[tuple[datetime, Source]] = []
    for one, before, ids in shown:
        for attempt in await store.attempts(one.run.id):
            if attempt.task_id in ids and number in {None, attempt.number}:
                source = Source(one.run.id, before + attempt.task_id, attempt.task_id, attempt.number)
                found.append((attempt.started_at, source))
    return [source for _, source in sorted(found, key=lambda pair: pair[0])]


class Printer:
    """Prints logs from where it stopped the time before.

    Args:
        out: Where to.
        logs: Where from.
        stream: The one to print; None for both.
        tail: Lines to print of what is there at first; None for all.
    """

    def __init__(self, out: Out, logs: Logs, stream: Stream | None, tail: int | None) -> None:
        self._out = out
        self._logs = logs
        self._stream = stream
        self._tail = tail
        self._offsets: dict[Source, int] = {}
        self._rests: dict[tuple[Source, Stream], bytes] = {}
        self._prefixed = False
        self._numbered: frozenset[str] = frozenset()

    def begin(self, sources: Sequence[Source], *, prefixed: bool) -> None:
        """Say what the sources are; tasks with several attempts get their numbers in the prefix."""
        self._prefixed = self._prefixed or prefixed
        times = Counter((source.run_id, source.task_id) for source in sources)
        self._numbered = frozenset(
            one.path for one in sources if one.number > 1 or times[one.run_id, one.task_id] > 1
        )

    def print_new(self, source: Source, *, final: bool) -> None:
        """Print what has come to one log; the last unfinished line too if it is `final`."""
        first = source not in self._offsets
        chunks = self._read(source)
        raw = getattr(self._out.stream, "buffer", None)
        if not (self._prefixed or self._out.is_terminal or self._tail is not None or raw is None):
            for chunk in chunks:
                raw.write(chunk.data)
            return
        lines = self._lines(source, chunks, final=final)
        for stream, text in deque(lines, maxlen=self._tail) if first and self._tail is not None else lines:
            self._print(source, stream, text)

    def _read(self, source: Source) -> Iterable[LogChunk]:
        offset = self._offsets.get(source, 0)
        self._offsets[source] = offset
        for chunk in self._logs.read(source.run_id, source.task_id, source.number, offset=offset):
            self._offsets[source] = chunk.offset + len(chunk.data)
            if self._stream in {None, chunk.stream}:
                yield chunk

    def _lines(
        self, source: Source, chunks: Iterable[LogChunk], *, final: bool
    ) -> Iterable[tuple[Stream, str]]:
        for chunk in chunks:
            *whole, rest = (self._rests.pop((source, chunk.stream), b"") + chunk.data).split(b"\n")
            for line in whole:
                yield chunk.stream, line.decode("utf-8", "replace")
            if len(rest) > LONGEST_LINE:
                yield chunk.stream, rest.decode("utf-8", "replace")
            elif rest:
                self._rests[source, chunk.stream] = rest
        streams: tuple[Stream, ...] = ("stdout", "stderr")
        for stream in streams if final else ():
            rest = self._rests.pop((source, stream), b"")
            if rest:
                yield stream, rest.decode("utf-8", "replace")

    def _print(self, source: Source, stream: Stream, text: str) -> None:
        out = self._out
        shown = visible(text, out) if out.is_terminal else text
        if not self._prefixed:
            out.line(shown)
            return
        name = f"{source.path}#{source.number}" if source.path in self._numbered else source.path
        bar = out.paint("|", "bad" if stream == "stderr" else "dim")
        out.line(f"{out.paint(out.clean(name), 'live')} {bar} {shown}")
