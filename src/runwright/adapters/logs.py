"""The logs of all attempts, as files that `cat` can show while they are written."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from runwright.adapters.logfiles import LEAST_CUT, Index, marker, read_log, segments, to_record
from runwright.core.errors import StoreError
from runwright.core.file_names import safe_name
from runwright.ports.executor import Stream
from runwright.ports.system import LogChunk

SEGMENTS = 4
"""Parts of the tail; one more is kept on disk, so the limit is exceeded by an eighth at most while a task runs."""

LEAST_SEGMENT = 4096
COPY_BYTES = 1 << 20


class FileLogs:
    """Logs below a directory: ``<root>/<run id>/<task id>/<attempt>.log``, directories 0700 and files 0600."""

    def __init__(self, root: Path) -> None:
        """Use this directory; it is made when the first log needs it."""
        self._root = root

    def open(self, run_id: str, task_id: str, attempt: int, max_bytes: int) -> "FileLog":
        """Begin the log of an attempt; no file exists until its first byte.

        Past `max_bytes` (at least 1) the first and the last half of that are kept, with a line between them.
        """
        return FileLog(self.path(run_id, task_id, attempt), max_bytes)

    def read(self, run_id: str, task_id: str, attempt: int, offset: int = 0) -> Iterator[LogChunk]:
        """Yield what is there now, from `offset` on, in pieces of at most 64 KiB; nothing if there is no log.

        To follow a log, ask again with the `offset` behind the last piece.

        Raises:
            StoreError: If a file can't be read.
        """
        path = self.path(run_id, task_id, attempt)
        with _errors("read", path):
            yield from read_log(path, offset)

    def path(self, run_id: str, task_id: str, attempt: int) -> Path:
        """Return where the text of that log is or would be."""
        return self._root / safe_name(run_id) / safe_name(task_id) / f"{attempt}.log"


class FileLog:
    """The log of an attempt while it runs; see `adapters.logfiles` for what the files hold."""

    def __init__(self, path: Path, max_bytes: int) -> None:
        self._path = path
        self._head = max(1, max_bytes // 2)
        self._limit = max(1, max_bytes)
        self._segment = max(LEAST_SEGMENT, -(-(self._limit - self._head) // SEGMENTS))
        self._size = 0
        self._part: _Part | None = None
        self._tail: list[Path] = []

    def write(self, stream: Stream, data: bytes) -> None:
        """Append bytes of one stream.

        Raises:
            StoreError: If the disk refuses; the message names the file.
        """
        with _errors("write", self._path):
            view = memoryview(data)
            while view:
                part = self._part_for_more()
                took = min(part.room, len(view))
                part.write(stream, view[:took])
                self._size += took
                view = view[took:]

    def close(self) -> None:
        """Write out the tail, if the log was cut, and close the file; safe to call twice."""
        with _errors("write", self._path):
            if self._part is not None:
                self._part.close()
                self._part = None
                if self._tail:
                    self._join()

    def _part_for_more(self) -> "_Part":
        """Return the file that takes the next bytes."""
        if self._part is None:
            _make_folder(self._path.parent)
            self._part = _Part(self._path, self._path.with_suffix(".idx"), 0, self._head)
        elif not self._part.room:
            self._part.close()
            self._part = self._next_segment()
        return self._part

    def _next_segment(self) -> "_Part":
        folder = self._path.with_suffix(".tail")
        folder.mkdir(mode=0o700, exist_ok=True)
        path = folder / f"{self._head}-{self._size}"
        self._tail.append(path)
        if len(self._tail) > SEGMENTS + 1:
            oldest = self._tail.pop(0)
            oldest.unlink()
            _index_of(oldest).unlink(missing_ok=True)
        return _Part(path, _index_of(path), self._size, self._segment)

    def _join(self) -> None:
        """Put the tail behind the head, and a marker between them if anything is missing."""
        folder = self._path.with_suffix(".tail")
        missing = self._missing()
        start = self._head + missing
        if missing:
            cut = os.open(self._path.with_suffix(".cut"), os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
            _write_all(cut, to_record(self._head, missing))
            os.close(cut)
        self._join_text(folder, start, missing)
        self._join_index(folder, start)
        done = folder.with_suffix(".old")
        folder.rename(done)
        from shutil import rmtree  # noqa: PLC0415 - only for logs that were cut; it takes 2 ms to load

        rmtree(done)
        self._tail.clear()

    def _missing(self) -> int:
        """Return how many bytes are to be cut: none, or enough to make room for the marker."""
        behind_head = self._size - self._head
        if self._size <= self._limit:
            return 0
        return min(behind_head, max(LEAST_CUT, self._size - self._limit))

    def _join_text(self, folder: Path, start: int, missing: int) -> None:
        out = os.open(self._path, os.O_WRONLY | os.O_APPEND)
        try:
            if missing:
                _write_all(out, marker(missing))
            for begin, path in segments(folder)[1]:
                _append_file(out, path, max(0, start - begin))
        finally:
            os.close(out)

    def _join_index(self, folder: Path, start: int) -> None:
        """Append the changes of stream in the tail; the first says what its first byte is."""
        index = self._path.with_suffix(".idx")
        parts = segments(folder)[1]
        if not index.exists() and not any(_index_of(path).exists() for _, path in parts):
            return
        out = os.open(index, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
        try:
            for begin, path in parts:
                end = begin + path.stat().st_size
                for at, _, kind in Index(_index_of(path)).runs(max(begin, start), end):
                    _write_all(out, to_record(at, kind))
        finally:
            os.close(out)


class _Part:
    """One file of text that is being written, with its index."""

    def __init__(self, path: Path, index: Path, begin: int, room: int) -> None:
        self.path = path
        self.index = index
        self.at = begin
        self.room = room
        self.stream: Stream = "stdout"
        self.fd = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
        self.index_fd = -1

    def write(self, stream: Stream, data: memoryview) -> None:
        if (
            stream != self.stream
        ):  # the index goes first: bytes without an entry would be taken for the other stream
            self.note(stream)
        _write_all(self.fd, data)
        self.at += len(data)
        self.room -= len(data)

    def note(self, stream: Stream) -> None:
        if self.index_fd < 0:
            self.index_fd = os.open(self.index, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
        _write_all(self.index_fd, to_record(self.at, int(stream == "stderr")))
        self.stream = stream

    def close(self) -> None:
        os.close(self.fd)
        if self.index_fd >= 0:
            os.close(self.index_fd)


@contextmanager
def _errors(verb: str, path: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        where = error.filename or path
        raise StoreError(f"can't {verb} the log {where}: {error.strerror or error}") from error


def _make_folder(path: Path) -> None:
    """Make a directory and what is missing above it, all closed to others."""
    try:
        path.mkdir(mode=0o700)
    except FileExistsError:
        return
    except FileNotFoundError:
        _make_folder(path.parent)
        path.mkdir(mode=0o700, exist_ok=True)


def _index_of(segment: Path) -> Path:
    return segment.with_name(segment.name + ".idx")


def _write_all(fd: int, data: bytes | memoryview) -> None:
    while data:
        data = data[os.write(fd, data) :]


def _append_file(out: int, path: Path, skip: int) -> None:
    """Append a file, but for its first bytes, without holding more than a piece of it."""
    source = os.open(path, os.O_RDONLY)
    try:
        while piece := os.pread(source, COPY_BYTES, skip):
            _write_all(out, piece)
            skip += len(piece)
    finally:
        os.close(source)
