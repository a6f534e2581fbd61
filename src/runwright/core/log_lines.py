"""The output of a job as one text, in which every line says which stream it is of, and back."""

from collections.abc import Iterator

from runwright.core.pattern import pattern

STREAMS = {"stdout: ": "stdout", "stderr: ": "stderr"}
"""What lines begin with, and the stream that they are of."""

_BREAK = pattern(r"(?<=\n)")
_LONGEST = max(map(len, STREAMS))


class LineReader:
    """Reads such a text, in pieces that end anywhere; a line without a mark is of standard output."""

    def __init__(self) -> None:
        self._held = ""
        self._stream = ""

    def feed(self, text: str) -> Iterator[tuple[str, bytes]]:
        """Yield stream and bytes of what a piece adds; its beginning of a line may have to wait for more."""
        for piece in _BREAK.split(self._held + text):
            self._held = ""
            if not piece:
                continue
            if not self._stream and len(piece) < _LONGEST and _may_begin_mark(piece):
                self._held = piece
                return
            yield from self._told(piece)

    def flush(self) -> Iterator[tuple[str, bytes]]:
        """Yield what is left at the end of the text."""
        held, self._held = self._held, ""
        if held:
            yield from self._told(held)

    def _told(self, piece: str) -> Iterator[tuple[str, bytes]]:
        if not self._stream:
            mark = next((mark for mark in STREAMS if piece.startswith(mark)), "")
            self._stream = STREAMS.get(mark, "stdout")
            piece = piece[len(mark) :]
        stream = self._stream
        if piece.endswith("\n"):
            self._stream = ""
        if piece:
            yield stream, piece.encode("utf-8", "surrogatepass")


def _may_begin_mark(piece: str) -> bool:
    return any(mark.startswith(piece) for mark in STREAMS)
