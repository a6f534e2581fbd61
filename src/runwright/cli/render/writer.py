"""Writing from a thread of its own: a slow or absent reader never holds up the run whose progress it watches."""

from queue import SimpleQueue
from threading import Thread

from runwright.cli.render.terminal import Out


class Writer:
    """A stream that takes text at once and writes it when its reader is ready; nothing is dropped.

    Text that can't be written because the reader has gone (a closed pipe, a lost terminal) is let go.

    Attributes:
        out: Where it writes.
    """

    def __init__(self, out: Out) -> None:
        self.out = out
        self._queue: SimpleQueue[str | None] = SimpleQueue()
        self._broken = False
        self._thread = Thread(target=self._work, name="progress", daemon=True)
        self._thread.start()

    def line(self, text: str) -> None:
        """Write one line, later."""
        self._queue.put(text + "\n")

    def close(self) -> None:
        """Wait until everything is written."""
        self._queue.put(None)
        self._thread.join()

    def _work(self) -> None:
        while True:
            text, last = self._take()
            if text and not self._broken:
                self._write(text)
            if last:
                return

    def _take(self) -> tuple[str, bool]:
        """Wait for text, then take all there is."""
        parts: list[str] = []
        item = self._queue.get()
        while item is not None:
            parts.append(item)
            if self._queue.empty():
                return "".join(parts), False
            item = self._queue.get()
        return "".join(parts), True

    def _write(self, text: str) -> None:
        try:
            self.out.write(text)
            self.out.flush()
        except (OSError, ValueError):
            self._broken = True
