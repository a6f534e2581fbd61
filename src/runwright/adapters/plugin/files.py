"""Files that travel between Runwright and a plugin, and files that a plugin says it has made."""

import glob
import os
import stat
from collections.abc import Iterable, Iterator
from contextlib import suppress
from pathlib import Path

from runwright.adapters.plugin import plugin_pb2 as pb
from runwright.adapters.plugin.limits import CHUNK_BYTES, failed
from runwright.adapters.plugin.messages import Lie

PATH_BYTES = 4096
NAME_BYTES = 255
FOLDER_FLAGS = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
NEW_FILE = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC


def parts(path: str) -> tuple[str, ...]:
    """Return the names that a path is made of; it stays below where it begins.

    Raises:
        Lie: If it does not, or can't be the path of a file.
    """
    names = tuple(path.split("/"))
    if not path or path.startswith("/") or any(name in ("", ".", "..") for name in names):
        raise Lie(f"{path[:200]!r} is no path below a directory")
    data = path.encode("utf-8", "replace")
    if "\0" in path or len(data) > PATH_BYTES or any(len(name.encode()) > NAME_BYTES for name in names):
        raise Lie(f"{path[:200]!r} can't be the path of a file")
    return names


def check_outputs(folder: Path, outputs: Iterable[str]) -> None:
    """Check that these are plain files of a directory, and that no symbolic link is on the way.

    Raises:
        Lie: Naming the first that is not.
    """
    for output in outputs:
        names = parts(output)
        try:
            fd = _open_folder(folder, names[:-1], make=False)
        except OSError as error:
            raise Lie(f"output {output!r} is not there: {error.strerror}") from None
        try:
            kind = os.stat(names[-1], dir_fd=fd, follow_symlinks=False).st_mode
        except OSError as error:
            raise Lie(f"output {output!r} is not there: {error.strerror}") from None
        finally:
            os.close(fd)
        if not stat.S_ISREG(kind):
            raise Lie(f"output {output!r} is no plain file")


def find_inputs(source: Path, patterns: Iterable[str]) -> list[str]:
    """Return the files of a tree that paths and globs name, sorted; a directory stands for all files in it.

    Raises:
        TaskFailed: With code ``E_INPUT`` if a pattern or a link leads out of the tree.
    """
    found: dict[str, None] = {}
    for pattern in patterns:
        taken = pattern.removeprefix("!")
        if Path(taken).is_absolute() or ".." in Path(taken).parts:
            raise failed("E_INPUT", f"input {pattern!r} leads out of the source tree")
        names = _matches(source, taken)
        if taken is pattern:
            found.update(dict.fromkeys(names))
        else:
            for name in names:
                found.pop(name, None)
    return sorted(found)


def _matches(source: Path, pattern: str) -> Iterator[str]:
    root = source.resolve()
    for name in glob.iglob(pattern, root_dir=source, recursive=True, include_hidden=True):  # noqa: PTH207 - Path.glob leaves out what begins with a dot
        if not (source / name).is_dir():
            yield from _within(source, root, name)
        elif not pattern.endswith("**"):
            for folder, _, files in os.walk(source / name):
                for file in files:
                    yield from _within(source, root, os.path.relpath(Path(folder, file), source))


def _within(source: Path, root: Path, name: str) -> Iterator[str]:
    """Yield the name of a plain file, unless a link leads out of the tree."""
    path = source / name
    if path.is_file():
        if not path.resolve().is_relative_to(root):
            raise failed("E_INPUT", f"input {name!r} is a link that leads out of the source tree")
        yield os.path.normpath(name)


def file_chunks(folder: Path, path: str) -> Iterator[pb.FileChunk]:
    """Yield the pieces of a file; an empty file is one empty piece.

    Raises:
        OSError: If it can't be read.
    """
    with (folder / path).open("rb") as file:
        executable = bool(os.fstat(file.fileno()).st_mode & stat.S_IXUSR)
        data = file.read(CHUNK_BYTES)
        while True:
            following = file.read(CHUNK_BYTES)
            last = not following
            yield pb.FileChunk(path=path, data=data, last=last, executable=last and executable)
            if last:
                return
            data = following


class FileTaker:
    """Puts files that come in pieces into a directory, one file after another.

    Args:
        folder: Where they go; exists.
        most: Most bytes of all files together.
    """

    def __init__(self, folder: Path, most: int) -> None:
        self.taken: set[str] = set()
        self._folder = folder
        self._room = most
        self._most = most
        self._path = ""
        self._fd = -1

    def take(self, chunk: pb.FileChunk) -> None:
        """Write a piece.

        Raises:
            Lie: If it can't belong there: its path leads elsewhere, it comes twice, the one before is not complete.
            TaskFailed: With code ``E_PLUGIN_LIMIT`` if the files grow too large, ``E_OUTPUT`` if they can't be written.
        """
        self._room -= len(chunk.data)
        if self._room < 0:
            raise failed("E_PLUGIN_LIMIT", f"the files take more than {self._most} bytes")
        try:
            if self._fd < 0:
                self._begin(chunk.path)
            elif chunk.path != self._path:
                raise Lie(f"file {chunk.path[:200]!r} begins before {self._path!r} is complete")
            _write(self._fd, chunk.data)
            if chunk.last:
                self._end(chunk.executable)
        except OSError as error:
            raise failed("E_OUTPUT", f"file {chunk.path!r} can't be written: {error.strerror}") from error

    def close(self) -> None:
        """Close what is open.

        Raises:
            Lie: If a file is not complete.
        """
        if self._fd >= 0:
            os.close(self._fd)
            self._fd = -1
            raise Lie(f"file {self._path!r} is not complete")

    def discard(self) -> None:
        """Remove the files that have come, whole or in part."""
        with suppress(Lie):
            self.close()
        for path in self.taken:
            with suppress(OSError):
                (self._folder / path).unlink()

    def _begin(self, path: str) -> None:
        names = parts(path)
        if path in self.taken:
            raise Lie(f"file {path!r} comes twice")
        self._path = path
        folder = _open_folder(self._folder, names[:-1], make=True)
        try:
            with suppress(FileNotFoundError):
                os.unlink(names[-1], dir_fd=folder)
            self._fd = os.open(names[-1], NEW_FILE, 0o600, dir_fd=folder)
            self.taken.add(path)
        finally:
            os.close(folder)

    def _end(self, executable: bool) -> None:
        if executable:
            os.fchmod(self._fd, 0o700)
        fd, self._fd = self._fd, -1
        os.close(fd)


def _open_folder(folder: Path, names: Iterable[str], *, make: bool) -> int:
    """Open a directory below another one; a symbolic link on the way is an OSError."""
    fd = os.open(folder, FOLDER_FLAGS)
    for name in names:
        outer = fd
        try:
            if make:
                with suppress(FileExistsError):
                    os.mkdir(name, 0o700, dir_fd=outer)
            fd = os.open(name, FOLDER_FLAGS, dir_fd=outer)
        finally:
            os.close(outer)
    return fd


def _write(fd: int, data: bytes) -> None:
    while data:
        data = data[os.write(fd, data) :]
