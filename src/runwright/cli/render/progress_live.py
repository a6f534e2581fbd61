"""Progress on a terminal: a tree of tasks that changes in place, a bar, and what is worth keeping above it."""

import os
from collections.abc import Collection, Sequence
from datetime import datetime
from queue import SimpleQueue
from select import select
from threading import Event as Flag
from threading import Thread
from typing import Protocol

from rich.console import Console
from rich.live import Live
from rich.text import Text

from runwright.cli.render.progress import Kind, Progress, output_lines, path_of
from runwright.cli.render.terminal import Out
from runwright.cli.render.tree import Tree
from runwright.core.events import ProgressEvent

FRAME_SECONDS = 0.1
SHOW_CURSOR = b"\x1b[?25h\n"


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
        self._queue: SimpleQueue[ProgressEvent | str] = SimpleQueue()
        self._closed = Flag()
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
        self._closed.set()
        self._thread.join()

    def abandon(self) -> None:
        """Show the cursor again, for an end that waits for nothing: not even for a terminal that has been stopped."""
        try:
            descriptor = self._out.stream.fileno()
            if select([], [descriptor], [], 0)[1]:
                os.write(descriptor, SHOW_CURSOR)
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
            while not self._closed.wait(FRAME_SECONDS):
                self._take(live)
                frame = self._tree.frame(self._now(), self._console.height - 1)
                live.update(Text.from_ansi("\n".join(frame), no_wrap=True, overflow="crop"), refresh=True)
            self._take(live)

    def _take(self, live: Live) -> None:
        """Take in everything that has happened since the last frame."""
        while not self._queue.empty():
            item = self._queue.get()
            if isinstance(item, str):
                live.console.print(Text.from_ansi(item))
                continue
            self._progress.fold(item)
            if item.kind is Kind.TASK_OUTPUT:
                self._keep(item, live)

    def _keep(self, event: ProgressEvent, live: Live) -> None:
        head = self._out.paint(path_of(event, self._out.clean(event.task_id), self._out), "strong")
        for line in (head, *output_lines(event, self._out)):
            live.console.print(Text.from_ansi(line))
