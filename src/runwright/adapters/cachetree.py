"""What a cache remembers of one source tree on this machine.

``last-SCOPE`` is a log of records, each the length of what follows, the length of a task's id, the id, and a sealed
entry. One write appends one record, so a crash leaves at most one torn record at the end; the next writer cuts it off.
``files`` holds the marks of files; it is replaced as a whole when the memory is closed.
"""

import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from struct import Struct as Layout

import msgspec
from blake3 import blake3

from runwright.adapters.cachefiles import CacheFiles
from runwright.core.cacheentry import CHECK_BYTES, Entry, entry_of, opened, seal, sealed
from runwright.ports.stores import FileMark

HEAD = Layout("<IH")
SLACK_BYTES = 1 << 16
"""A log that is twice as long as what it tells, and by so much longer, is written anew."""

_MARKS = msgspec.msgpack.Decoder(dict[str, FileMark])


class DirectoryTree:
    """Keeps a memory in a directory; see `TreeMemory`.

    The log is locked while a record is written, so several processes can work in one tree.

    Args:
        folder: Its own; made on the first write.
        scope: Whose tasks' entries.
        files: Makes files.
    """

    def __init__(self, folder: Path, scope: str, files: CacheFiles) -> None:
        self._folder = folder
        self._files = files
        name = blake3(scope.encode("utf-8", "surrogatepass")).hexdigest()[:16]
        self._log = folder / f"last-{name}"
        self._marks = folder / "files"
        self._bodies: dict[str, bytes] = {}
        self._entries: dict[str, Entry | None] = {}
        self._handle: int | None = None
        self._end = 0
        self._read_log(_content(self._log))
        self.files: dict[str, FileMark] = self._read_marks()
        self._saved = dict(self.files)

    def last(self, task_id: str) -> Entry | None:
        """Return the entry that a task was last up to date with."""
        if task_id not in self._entries:
            body = self._bodies.get(task_id)
            self._entries[task_id] = None if body is None else entry_of(body)
        return self._entries[task_id]

    def note(self, task_id: str, entry: Entry) -> None:
        """Remember an entry; what can't be written is remembered until the end only."""
        if self.last(task_id) == entry:
            return
        data = seal(entry)
        with suppress(OSError), self._locked() as handle:
            record = _record(task_id, data)
            os.pwrite(handle, record, self._end)
            self._end += len(record)
        self._entries[task_id], self._bodies[task_id] = entry, data[CHECK_BYTES:]

    def close(self) -> None:
        """Save what has changed."""
        if self.files != self._saved:
            with suppress(OSError):
                self._files.prepare()
                self._files.make_folder(self._folder)
                self._files.place(self._marks, sealed(msgspec.msgpack.encode(self.files)))
                self._saved = dict(self.files)
        with suppress(OSError):
            self._rewrite_if_long()
        self._release()

    def _read_marks(self) -> dict[str, FileMark]:
        body = opened(_content(self._marks))
        try:
            return {} if body is None else _MARKS.decode(body)
        except msgspec.MsgspecError:
            return {}

    def _read_log(self, data: bytes) -> None:
        """Take in the complete records that begin where the last ones ended."""
        end = 0
        for end, task_id, body in _records(data):  # noqa: B007 - it is wanted afterwards
            self._bodies[task_id] = body
            self._entries.pop(task_id, None)
        self._end += end

    @contextmanager
    def _locked(self) -> Iterator[int]:
        """Hold the log alone, with everything in it read and a torn end cut off."""
        handle = self._open()
        while not _is_at(handle, self._log):  # another process has written it anew
            self._release()
            handle = self._open()
        try:
            size = os.fstat(handle).st_size
            if size > self._end:
                self._read_log(os.pread(handle, size - self._end, self._end))
                if size > self._end:
                    os.ftruncate(handle, self._end)
            yield handle
        finally:
            fcntl.flock(handle, fcntl.LOCK_UN)

    def _open(self) -> int:
        if self._handle is None:
            self._files.prepare()
            self._files.make_folder(self._folder)
            self._handle, self._end = self._files.create(self._log, 0), 0
        fcntl.flock(self._handle, fcntl.LOCK_EX)
        return self._handle

    def _release(self) -> None:
        if self._handle is not None:
            os.close(self._handle)
            self._handle = None

    def _rewrite_if_long(self) -> None:
        live = sum(map(len, self._bodies.values())) + (HEAD.size + CHECK_BYTES) * len(self._bodies)
        if self._handle is None or self._end <= 2 * live + SLACK_BYTES:
            return
        with self._locked():
            records = (_record(task_id, sealed(body)) for task_id, body in self._bodies.items())
            self._files.place(self._log, b"".join(records))


def _record(task_id: str, entry: bytes) -> bytes:
    name = task_id.encode("utf-8", "surrogatepass")
    return HEAD.pack(len(name) + len(entry), len(name)) + name + entry


def _records(data: bytes) -> Iterator[tuple[int, str, bytes]]:
    """Yield the complete records of a log: where each ends, the id and the entry."""
    at = 0
    while at + HEAD.size <= len(data):
        length, name_length = HEAD.unpack_from(data, at)
        begin, end = at + HEAD.size, at + HEAD.size + length
        if end > len(data) or name_length > length:
            return
        body = opened(data[begin + name_length : end])
        if body is None:
            return
        yield end, data[begin : begin + name_length].decode("utf-8", "surrogatepass"), body
        at = end


def _content(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError:
        return b""


def _is_at(handle: int, path: Path) -> bool:
    try:
        named = path.stat()
    except OSError:
        return False
    return named.st_ino == os.fstat(handle).st_ino
