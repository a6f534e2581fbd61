"""Show what tasks printed: of all tasks or of one, once or while the run goes on.

Lines are prefixed with their task when there are several. A key names all nodes of a matrix. Not on a terminal, the
log of a single attempt is written byte for byte.
"""

import argparse
import asyncio
from collections import deque
from collections.abc import Iterable, Sequence

from runwright.cli import values
from runwright.cli.arguments import Arguments, add_run
from runwright.cli.common import Reading, with_reading
from runwright.cli.render.progress import visible
from runwright.cli.render.terminal import Out
from runwright.cli.status import LIVE_STATES
from runwright.core.errors import Problem, UsageError
from runwright.core.run import Attempt, Run, TaskRow
from runwright.core.suggest import did_you_mean
from runwright.ports.executor import Stream
from runwright.ports.stores import RunStore
from runwright.ports.system import LogChunk, Logs

LOOK_EVERY = 0.2
LONGEST_LINE = 64 * 1024
"""Bytes after which a line is shown in pieces, so that memory stays small whatever a task prints."""

Source = tuple[str, int]
"""Id of a task and number of an attempt."""


def configure(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of `logs`."""
    add_run(parser)
    parser.add_argument(
        "task", nargs="?", metavar="TASK", help="id of a task, or key of all nodes of a matrix"
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
        rows = await state.store.tasks(run.id)
        wanted = None if args.task is None else select(rows, args.task)
        await _show(args, state, run, wanted, many=wanted is None or len(wanted) > 1)

    with_reading(args, work)
    return 0


def select(rows: Sequence[TaskRow], name: str) -> frozenset[str]:
    """Return the ids of the tasks with this id or key, their handlers and cleanups not included.

    Raises:
        UsageError: If there is none; with the nearest name.
    """
    found = [row.id for row in rows if row.id == name] or [row.id for row in rows if row.key == name]
    if found:
        return frozenset(found)
    suggestion = did_you_mean(name, (row.id for row in rows)) or did_you_mean(name, (row.key for row in rows))
    raise UsageError((Problem(message=f'the run has no task "{name}"', suggestion=suggestion),))


async def _show(
    args: Arguments, state: Reading, run: Run, wanted: frozenset[str] | None, *, many: bool
) -> None:
    printer = Printer(args.out, state.logs, run.id, args.stream, args.tail)
    while True:
        run = await state.store.find_run(run.id)
        live = args.follow and run.state in LIVE_STATES
        sources = await _sources(state.store, run.id, wanted, args.attempt)
        printer.begin(sources, prefixed=many or len(sources) > 1 or (live and args.attempt is None))
        for source in sources:
            printer.print_new(source, final=not live)
        args.out.flush()
        if not live:
            return
        await asyncio.sleep(LOOK_EVERY)


async def _sources(
    store: RunStore, run_id: str, wanted: frozenset[str] | None, number: int | None
) -> list[Source]:
    attempts: Iterable[Attempt] = await store.attempts(run_id)
    return [
        (attempt.task_id, attempt.number)
        for attempt in attempts
        if (wanted is None or attempt.task_id in wanted) and number in {None, attempt.number}
    ]


class Printer:
    """Prints logs from where it stopped the time before.

    Args:
        out: Where to.
        logs: Where from.
        run_id: Whose.
        stream: The one to print; None for both.
        tail: Lines to print of what is there at first; None for all.
    """

    def __init__(self, out: Out, logs: Logs, run_id: str, stream: Stream | None, tail: int | None) -> None:
        self._out = out
        self._logs = logs
        self._run_id = run_id
        self._stream = stream
        self._tail = tail
        self._offsets: dict[Source, int] = {}
        self._rests: dict[tuple[Source, Stream], bytes] = {}
        self._prefixed = False
        self._numbered: frozenset[str] = frozenset()

    def begin(self, sources: Sequence[Source], *, prefixed: bool) -> None:
        """Say what the sources are; tasks with several attempts get their numbers in the prefix."""
        self._prefixed = self._prefixed or prefixed
        names = [name for name, _ in sources]
        self._numbered = frozenset(name for name, number in sources if number > 1 or names.count(name) > 1)

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
        for chunk in self._logs.read(self._run_id, *source, offset=offset):
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
        name = f"{source[0]}#{source[1]}" if source[0] in self._numbered else source[0]
        bar = out.paint("|", "bad" if stream == "stderr" else "dim")
        out.line(f"{out.paint(out.clean(name), 'live')} {bar} {shown}")
