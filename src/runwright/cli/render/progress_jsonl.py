"""Progress as JSON, one event a line, for programs."""

import msgspec

from runwright.cli.render.terminal import Out
from runwright.cli.render.writer import Writer
from runwright.core.events import ProgressEvent


class JsonLines:
    """Writes each event as it is."""

    listens = True

    def __init__(self, out: Out) -> None:
        self._writer = Writer(out)
        self._encode = msgspec.json.Encoder().encode

    def event(self, event: ProgressEvent) -> None:
        """Write one event."""
        self._writer.line(self._encode(event).decode())

    def note(self, text: str) -> None:
        """Leave it out: the stream holds events alone."""

    def close(self) -> None:
        """Wait until all events are written."""
        self._writer.close()

    def abandon(self) -> None:
        """Leave what is not written yet."""
