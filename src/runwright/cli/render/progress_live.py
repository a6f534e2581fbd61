"""Progress on a terminal: a tree of tasks that changes in place, a bar, and what is worth keeping above it."""

from collections.abc import Collection, Iterator, Sequence
from datetime import datetime
from queue import Empty, SimpleQueue
from threading import Thread
from typing import Protocol

from rich.console import Console
from rich.live import Live
from rich.text import Text

from runwright.cli.render.progress import Kind, Progress, output_lines
from runwright.cli.render.terminal import Out
from runwright.cli.render.tree import Tree
from runwright.core.events import ProgressEvent

FRAME_SECONDS = 0.1


class Now(Protocol):
    """Tells the time."""

    def __call__(self) -> datetime:
        """Return the current instant."""
        ...


class LiveView:
    """Draws ten times a second, from a thread of its own.

    Args:
        out: A terminal.
        title: Text of the first line.
        tasks: Ids of the ordinary tasks, in the order in which to show them.
        reused: Those of them that have succeeded already.
        now: Tells the time.
        height: Rows to draw in; the terminal's if None.
    """

    listens = True

    def __init__(
        self,
        out: Out,
        title: str,
        tasks: Sequence[str],
        reused: Collection[str],
        now: Now,
        height: int | None = None,
    ) -> None:
        self._out = out
        self._now = now
        self._console = Console(
            file=out.stream, force_terminal=True, no_color=not out.colour, highlight=False, height=height
        )
        self._progress = Progress(len(tasks), reused)
        self._tree = Tree(out, title, tasks, self._progress)
        self._queue: SimpleQueue[ProgressEvent | str | None] = SimpleQueue()
        self._thread = Thread(target=self._work, name="progress", daemon=True)
        self._thread.start()

    def event(self, event: ProgressEvent) -> None:
        """Hand the event to the drawing thread."""
        self._queue.put(event)

    def note(self, text: str) -> None:
        """Show a line above the tree."""
        self._queue.put(text)

    def close(self) -> None:
        """Draw the end of it and leave it on the screen."""
        self._queue.put(None)
        self._thread.join()

    def abandon(self) -> None:
        """Show the cursor again, for an end that waits for nothing."""
        try:
            self._out.write("\x1b[?25h\n")
            self._out.flush()
        except (OSError, ValueError):
            return

    def _work(self) -> None:
        try:
            self._draw_until_closed()
            self._out.lines(self._tree.final(self._now(), max(20, self._console.height - 8)))
            self._out.flush()
        except (OSError, ValueError):
            return  # the terminal has gone; the run has not

    def _draw_until_closed(self) -> None:
        with Live(console=self._console, auto_refresh=False, transient=True) as live:
            while self._take(live):
                frame = self._tree.frame(self._now(), self._console.height - 1)
                live.update(Text.from_ansi("\n".join(frame), no_wrap=True, overflow="crop"), refresh=True)

    def _take(self, live: Live) -> bool:
        """Wait for one frame's time, then take everything in; returns False once closed."""
        for item in self._drain():
            if item is None:
                return False
            if isinstance(item, str):
                live.console.print(Text.from_ansi(item))
                continue
            self._progress.fold(item)
            if item.kind is Kind.TASK_OUTPUT:
                self._keep(item, live)
        return True

    def _drain(self) -> Iterator[ProgressEvent | str | None]:
        try:
            yield self._queue.get(timeout=FRAME_SECONDS)
            while True:
                yield self._queue.get_nowait()
        except Empty:
            return

    def _keep(self, event: ProgressEvent, live: Live) -> None:
        head = self._out.paint(self._out.clean(event.task_id), "strong")
        for line in (head, *output_lines(event, self._out)):
            live.console.print(Text.from_ansi(line))
