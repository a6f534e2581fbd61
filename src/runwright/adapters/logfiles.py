"""The files of one log: what they hold and how they are read.

::

    3.log            the text: all of it, or the head (half of the limit), a marker line and the tail
    3.idx            16 bytes for each change of stream: offset, then 0 for stdout or 1 for stderr;
                     absent if everything came from stdout
    3.cut            where the marker stands and for how many bytes; absent if nothing was cut
    3.tail/          only while the attempt runs, or if its engine was killed: what came after the head
      <head>-<at>      a segment that begins at offset <at>; the oldest go when there are too many
      <head>-<at>.idx  as above

Offsets count the bytes that the attempt wrote, whether they are still there or not, so they stay what they are when
the log is cut; the marker stands in the gap and is never longer than it. `close` joins the tail to the text and then
renames the folder, so a reader sees either the segments or the joined text, also if the engine is killed meanwhile.
"""

import os
from collections.abc import Iterator
from pathlib import Path

from runwright.ports.executor import Stream
from runwright.ports.system import LogChunk

CHUNK = 1 << 16
RECORD = 16
RECORDS = 4096
STREAMS: tuple[Stream, Stream] = ("stdout", "stderr")
LEAST_CUT = 64
"""Bytes; more than any marker has."""


def marker(missing: int) -> bytes:
    """Return the line that stands for bytes that were not kept."""
    return f"\n[runwright: {missing} bytes cut here]\n".encode()


def to_record(offset: int, kind: int) -> bytes:
    """Return one entry of an index."""
    return offset.to_bytes(8, "little") + kind.to_bytes(8, "little")


class Index:
    """The changes of stream in one file of text, read from disk as they are needed."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def records(self, offset: int) -> Iterator[tuple[int, int]]:
        """Yield (offset, kind) from the last record at or before `offset` on."""
        try:
            fd = os.open(self.path, os.O_RDONLY)
        except FileNotFoundError:
            return
        try:
            at = _find(fd, os.fstat(fd).st_size // RECORD, offset)
            while data := os.pread(fd, RECORDS * RECORD, at * RECORD):
                yield from _decode(data)
                at += max(1, len(data) // RECORD)
        finally:
            os.close(fd)

    def runs(self, start: int, end: int) -> Iterator[tuple[int, int, int]]:
        """Yield (start, end, kind) for the pieces of that range of offsets."""
        kind = 0
        for offset, following in self.records(start):
            if offset >= end:
                break
            if offset > start:
                yield start, offset, kind
                start = offset
            kind = following
        if start < end:
            yield start, end, kind


def _decode(data: bytes) -> Iterator[tuple[int, int]]:
    for at in range(0, len(data) - RECORD + 1, RECORD):
        yield int.from_bytes(data[at : at + 8], "little"), int.from_bytes(data[at + 8 : at + 16], "little")


def _find(fd: int, count: int, offset: int) -> int:
    """Return the number of the last record at or before an offset, or 0."""
    low, high = 0, count
    while high - low > 1:
        middle = (low + high) // 2
        if int.from_bytes(os.pread(fd, 8, middle * RECORD), "little") <= offset:
            low = middle
        else:
            high = middle
    return low


def segments(folder: Path) -> tuple[int, list[tuple[int, Path]]]:
    """Return where the head ends and the segments of a tail with their offsets, in order; none if there is no tail."""
    try:
        names = [name for name in os.listdir(folder) if not name.endswith(".idx")]  # noqa: PTH208
    except FileNotFoundError:
        return 0, []
    parts = sorted((int(name.partition("-")[2]), folder / name) for name in names)
    return (int(names[0].partition("-")[0]) if names else 0), parts


def read_log(text: Path, offset: int) -> Iterator[LogChunk]:
    """Yield what a log holds now, from `offset` on."""
    index = text.with_suffix(".idx")
    head, parts = segments(text.with_suffix(".tail"))
    if parts:
        yield from _read_head(text, index, offset, head)
        yield from _read_segments(parts, max(offset, head), head)
    else:
        yield from _read_joined(text, index, offset)


def _read_head(text: Path, index: Path, offset: int, head: int) -> Iterator[LogChunk]:
    for start, end, kind in Index(index).runs(offset, head):
        yield from _chunks(text, start, end, start, STREAMS[kind])


def _read_segments(parts: list[tuple[int, Path]], offset: int, expected: int) -> Iterator[LogChunk]:
    """Yield the segments, with the marker where the head ended if some are gone."""
    if offset == expected < parts[0][0]:
        yield LogChunk(offset, "stdout", marker(parts[0][0] - expected))
    for begin, path in parts:
        end = begin + _size(path)
        for start, stop, kind in Index(path.with_name(path.name + ".idx")).runs(max(begin, offset), end):
            yield from _chunks(path, start - begin, stop - begin, start, STREAMS[kind])


def _read_joined(text: Path, index: Path, offset: int) -> Iterator[LogChunk]:
    """Yield one file of text; behind a marker, offsets and places in the file differ."""
    head, missing = read_cut(text.with_suffix(".cut"))
    if not missing:
        head = _size(text)
    yield from _read_head(text, index, offset, head)
    if not missing:
        return
    line = marker(missing)
    if offset <= head:
        yield LogChunk(head, "stdout", line)
    shift = missing - len(line)
    for start, end, kind in Index(index).runs(max(offset, head + missing), _size(text) + shift):
        yield from _chunks(text, start - shift, end - shift, start, STREAMS[kind])


def read_cut(path: Path) -> tuple[int, int]:
    """Return the offset of the marker and how many bytes it stands for; zeros if nothing was cut."""
    try:
        return next(_decode(path.read_bytes()), (0, 0))
    except FileNotFoundError:
        return 0, 0


def _chunks(path: Path, place: int, end: int, offset: int, stream: Stream) -> Iterator[LogChunk]:
    """Yield a range of a file in pieces; a segment that has been dropped meanwhile yields nothing."""
    try:
        fd = os.open(path, os.O_RDONLY)
    except FileNotFoundError:
        return
    try:
        while place < end and (data := os.pread(fd, min(CHUNK, end - place), place)):
            yield LogChunk(offset, stream, data)
            place += len(data)
            offset += len(data)
    finally:
        os.close(fd)


def _size(path: Path) -> int:
    try:
        return path.stat().st_size
    except FileNotFoundError:
        return 0
