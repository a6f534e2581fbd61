"""From what a command of a job puts out to the text that its log keeps: redacted, cut, each line with its stream."""

import codecs
from collections import deque
from collections.abc import Iterator

from runwright.core.redact import Redactor

STREAMS = ("stdout", "stderr")
PREFIX_BYTES = len("stdout: ")
LONGEST_WAITING_LINE = 64 * 1024
"""Characters of a line that wait for its end."""

MOST_PIECES = 20_000
"""Pieces of output of which the end is made: if they are tiny, it is shorter than it might be."""

PIECE_BYTES = 64 * 1024
SLICE_BYTES = 4 * 1024
GROWTH = 2
"""How many times its size output may take as text of the log; if masks and prefixes take more, less of it is kept."""


def cut_text(left_out: int) -> str:
    """Return the mark of a cut."""
    return f"runwright: {left_out:,} bytes of output are left out here\n"


class JobOutput:
    """The output of one command, as it comes, to the text of its log.

    The beginning is shown at once. What is beyond is kept in memory as far as it may be the end, and shown when the
    command has ended. Secrets are found in each stream by itself, before it is cut into lines. At the cut nothing is shown
    that may be one part of a secret whose other part is left out.

    Args:
        redactor: Knows the secrets.
        head_bytes: Of the beginning, both streams together.
        tail_bytes: Of the end, likewise.
    """

    def __init__(self, redactor: Redactor, head_bytes: int, tail_bytes: int) -> None:
        self._redactor = redactor
        self._head_left = head_bytes
        self._growth = 0
        self._tail_bytes = tail_bytes
        self._tail: _Tail | None = None
        self._before = _Before(redactor.longest)
        self._lines = _Lines()
        self._streams = {stream: redactor.stream() for stream in STREAMS}

    def take(self, stream: str, data: bytes) -> bytes:
        """Return what can be shown now that this has come."""
        now = data[: self._head_left]
        self._head_left -= len(now)
        self._before.remember(stream, now)
        if len(now) < len(data):
            self._tail = self._tail or _Tail(self._tail_bytes, self._before)
            self._tail.add(stream, data[len(now) :])
        return self._shown(stream, now).encode() if now else b""

    def tick(self) -> bytes:
        """Return the lines that wait for their end: they have waited long enough."""
        return b"" if self._tail else self._lines.release().encode()

    def end(self) -> bytes:
        """Return what is left to be shown."""
        shown = [] if self._tail is None else list(self._end_of(self._tail))
        shown += [self._lines.decode(stream, self._streams[stream].flush()) for stream in STREAMS]
        return ("".join(shown) + self._lines.end()).encode()

    def _shown(self, stream: str, data: bytes) -> str:
        """Return what can be shown of the beginning; what grows too much leaves less room for the rest."""
        clean = self._streams[stream].feed(data)
        self._growth += _weight(clean) - GROWTH * len(data)
        if self._growth > PIECE_BYTES:
            self._head_left = max(0, self._head_left - (self._growth - PIECE_BYTES))
            self._growth = PIECE_BYTES
        return self._lines.decode(stream, clean)

    def _end_of(self, tail: "_Tail") -> Iterator[str]:
        left_out = sum(self._resume(stream, tail) for stream in STREAMS if tail.dropped[stream])
        kept: deque[tuple[str, bytes, int]] = deque()
        size = 0
        for stream, data in tail.slices():
            clean = self._streams[stream].feed(data)
            kept.append((stream, clean, len(data)))
            size += _weight(clean)
            while size > GROWTH * self._tail_bytes + PIECE_BYTES and len(kept) > 1:
                _, gone, length = kept.popleft()
                size -= _weight(gone)
                left_out += length
        if left_out:
            yield self._lines.end() + self._lines.add("stderr", cut_text(left_out))
        for stream, clean, _ in kept:
            yield self._lines.decode(stream, clean)

    def _resume(self, stream: str, tail: "_Tail") -> int:
        """Go on with a stream behind what is left out; returns how many bytes that are."""
        left_out = tail.dropped[stream] + self._streams[stream].held_bytes
        self._lines.forget(stream)
        self._streams[stream] = fresh = self._redactor.stream()
        fresh.feed(self._before.end(stream))
        return left_out - fresh.held_bytes


def _weight(clean: bytes) -> int:
    """Return about how many bytes redacted output takes in the log."""
    return len(clean) + PREFIX_BYTES * clean.count(b"\n")


class _Before:
    """The last bytes of each stream before its tail, so that no secret is met in its middle."""

    def __init__(self, longest: int) -> None:
        self._margin = (
            2 * longest
        )  # what is held back in its second half is no part of a secret that began before it
        self._ends = {stream: bytearray() for stream in STREAMS}

    def remember(self, stream: str, data: bytes | bytearray) -> None:
        """Take note of bytes that come before the tail."""
        end = self._ends[stream]
        end.extend(data)
        if len(end) > 2 * self._margin + PIECE_BYTES:
            del end[: len(end) - self._margin]

    def end(self, stream: str) -> bytes:
        """Return the last bytes of a stream."""
        return bytes(self._ends[stream][-self._margin :]) if self._margin else b""


class _Tail:
    """The end of the output, unredacted.

    Attributes:
        dropped: Bytes of each stream that have gone.
        pieces: What there is, in order.
    """

    def __init__(self, size: int, before: _Before) -> None:
        self.dropped = dict.fromkeys(STREAMS, 0)
        self.pieces: deque[tuple[str, bytearray]] = deque()
        self._room = size
        self._size = 0
        self._before = before

    def add(self, stream: str, data: bytes) -> None:
        """Add to the end, and let go of what is too much."""
        last = self.pieces[-1] if self.pieces else None
        if last is not None and last[0] == stream and len(last[1]) < PIECE_BYTES:
            last[1].extend(data)
        else:
            self.pieces.append((stream, bytearray(data)))
        self._size += len(data)
        while self._size > self._room or len(self.pieces) > MOST_PIECES:
            self._drop()

    def slices(self) -> Iterator[tuple[str, bytes]]:
        """Yield what there is, in order and in small parts."""
        for stream, piece in self.pieces:
            for at in range(0, len(piece), SLICE_BYTES):
                yield stream, bytes(piece[at : at + SLICE_BYTES])

    def _drop(self) -> None:
        stream, piece = self.pieces[0]
        gone = piece[: self._size - self._room] if self._size > self._room else piece[:]
        if len(gone) == len(piece):
            self.pieces.popleft()
        else:
            del piece[: len(gone)]
        self._size -= len(gone)
        self.dropped[stream] += len(gone)
        self._before.remember(stream, gone)


class _Lines:
    """Two streams of bytes as lines of text, each with the name of its stream before it.

    A line without an end waits for it, so that lines of both streams don't mix, until it is released.
    """

    def __init__(self) -> None:
        make = codecs.getincrementaldecoder("utf-8")
        self._decoders = {stream: make("replace") for stream in STREAMS}
        self._waiting: dict[str, list[str]] = {stream: [] for stream in STREAMS}
        self._sizes = dict.fromkeys(STREAMS, 0)
        self._open = ""

    def decode(self, stream: str, data: bytes) -> str:
        """Return what can be shown now that these bytes have come."""
        text = self._decoders[stream].decode(data)
        return self.add(stream, text.replace("\0", "\ufffd")) if text else ""

    def add(self, stream: str, text: str) -> str:
        """Return what can be shown now that this text has come."""
        before, newline, rest = text.rpartition("\n")
        shown = self._ended(stream, before) if newline else ""
        self._waiting[stream].append(rest)
        self._sizes[stream] += len(rest)
        if self._open == stream or self._sizes[stream] > LONGEST_WAITING_LINE:
            shown += self._release(stream)
        return shown

    def release(self) -> str:
        """Return what waits; its lines are then open, and go on as long as the other stream is silent."""
        return "".join(self._release(stream) for stream in STREAMS)

    def forget(self, stream: str) -> None:
        """Drop the part of a character that waits for its rest."""
        self._decoders[stream].reset()

    def end(self) -> str:
        """Return what waits, and end the last line."""
        last = "".join(self.add(stream, self._decoders[stream].decode(b"", final=True)) for stream in STREAMS)
        last += self.release()
        newline, self._open = "\n" if self._open else "", ""
        return last + newline

    def _ended(self, stream: str, lines: str) -> str:
        whole = self._taken(stream) + lines
        shown = self._begin(stream) + whole.replace("\n", f"\n{stream}: ") + "\n"
        self._open = ""
        return shown

    def _release(self, stream: str) -> str:
        text = self._taken(stream)
        if not text:
            return ""
        shown = self._begin(stream) + text
        self._open = stream
        return shown

    def _begin(self, stream: str) -> str:
        if self._open == stream:
            return ""
        return f"\n{stream}: " if self._open else f"{stream}: "

    def _taken(self, stream: str) -> str:
        text = "".join(self._waiting[stream])
        self._waiting[stream].clear()
        self._sizes[stream] = 0
        return text
