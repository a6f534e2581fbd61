"""The files of a source tree as a cache sees them: which match, what is in them, what became of outputs."""

import os
import stat
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import suppress
from glob import iglob

from blake3 import blake3

from runwright.core.cacheentry import Output, OutputKind
from runwright.core.cachekey import Difference, content_mark
from runwright.core.outputs import STATE, is_glob
from runwright.ports.stores import FileMark

CHUNK = 1 << 20
TREE, OWN = "tree", "own"
"""Where outputs are: in the source tree, or in the task's own directory."""

OURS = (STATE, ".runwright-")
"""How names begin that are of no task: the project's state, and files on their way to their names."""

FINE_SLACK = 20_000_000
COARSE_SLACK = 2_100_000_000
"""Nanoseconds for which a file may still change without another time: some ticks of the kernel's clock, or the two
seconds of the coarsest file systems, which show in times without a fraction."""

CENTISECOND = 10_000_000


class TooMuch(Exception):
    """More would have to be read than can be read in passing."""


class Budget:
    """How many bytes may still be read."""

    def __init__(self, size_bytes: float) -> None:
        self._left = size_bytes

    def take(self, size_bytes: int) -> None:
        """Take so many.

        Raises:
            TooMuch: If there are not so many left.
        """
        self._left -= size_bytes
        if self._left < 0:
            raise TooMuch


class Files:
    """Reads files below a directory, and no file twice whose status is as it was.

    Args:
        folder: Absolute path.
        marks: What is known of files, by path; new knowledge is added.
    """

    def __init__(self, folder: str, marks: dict[str, FileMark]) -> None:
        self.folder = folder
        self._prefix = os.path.join(folder, "")
        self._marks = marks
        self._memo: dict[str, os.stat_result | None] | None = None
        self._matches: dict[str, dict[str, str]] = {}

    def freeze(self, frozen: bool) -> None:
        """Take files not to change from here on, or to change again."""
        self._memo = {} if frozen else None
        self._matches.clear()

    def matches(self, patterns: Iterable[str], budget: Budget) -> dict[str, str]:
        """Return what stands for the content of each file that matches, by path.

        A pattern that begins with ``!`` takes out what it matches. A directory that is named stands for all files in
        it; those that a glob matches are passed over, and so are files that are not there.

        Args:
            patterns: Paths and globs.
            budget: How much may be read.

        Raises:
            TooMuch: If more would have to be read.
            OSError: If a file can't be read.
        """
        found: dict[str, str] = {}
        for pattern in patterns:
            if pattern.startswith("!"):
                for path in self._expand(pattern[1:]):
                    found.pop(path, None)
            elif is_glob(pattern):
                found.update(self._matching(pattern, budget))
            else:
                self._add_named(found, pattern, budget)
        return found

    def mark(self, path: str, budget: Budget) -> str | None:
        """Return what stands for the content of a file; None if it is no file.

        Raises:
            TooMuch: If more would have to be read than the budget allows.
        """
        status = self._status(path)
        if status is None or stat.S_ISDIR(status.st_mode):
            return None
        if not stat.S_ISREG(status.st_mode):
            return f"special {stat.S_IFMT(status.st_mode):o}"
        return content_mark(self.digest(path, status, budget), executable=bool(status.st_mode & 0o111))

    def digest(self, path: str, status: os.stat_result, budget: Budget) -> str:
        """Return the digest of a regular file with that status."""
        mark = self._marks.get(path)
        if (
            mark is not None
            and mark[2] == status.st_mtime_ns
            and mark[0] == status.st_ino
            and mark[1] == status.st_size
            and mark[3] == status.st_ctime_ns
        ):
            return mark[4]
        budget.take(status.st_size)
        return self._read(path)

    def output_differences(self, outputs: Iterable[Output], budget: Budget) -> list[Difference]:
        """Return what is not as it was recorded."""
        found = []
        for output in outputs:
            if fault := self._output_fault(output, budget):
                found.append(Difference("outputs", f"output {output.path} {fault}"))
        found += [Difference("outputs", f"output {path} is not of the task") for path in self.extras(outputs)]
        return found

    def is_as_recorded(self, output: Output, budget: Budget) -> bool:
        """Tell whether an output is there as it was recorded."""
        return not self._output_fault(output, budget)

    def extras(self, outputs: Iterable[Output]) -> list[str]:
        """Return what is in recorded directories without having been recorded."""
        folders = [output.path for output in outputs if output.kind is OutputKind.DIRECTORY]
        if not folders:
            return []
        known = {output.path for output in outputs}
        return [
            path
            for folder in folders
            for name in _names(self.whole(folder))
            if (path := f"{folder}/{name}") not in known
        ]

    def expand_outputs(self, patterns: Sequence[str]) -> tuple[list[str], list[str]]:
        """Return the outputs that are there, whole directories with all that is in them, and the paths that are not."""
        found: dict[str, None] = {}
        missing = []
        for pattern in patterns:
            if is_glob(pattern):
                matched: Iterable[str] = self._expand(pattern)
            else:
                path = os.path.normpath(pattern)
                matched = (path,) if os.path.lexists(self.whole(path)) else ()
                missing += [] if matched else [pattern]
            for path in matched:
                found.update(dict.fromkeys(self._with_inside(path)))
        return sorted(found), missing

    def whole(self, path: str) -> str:
        """Return the absolute path of a file."""
        return path if path.startswith("/") else self._prefix + path

    def _status(self, path: str) -> os.stat_result | None:
        memo = self._memo
        if memo is None:
            return _status_of(self.whole(path))
        if path not in memo:
            memo[path] = _status_of(self.whole(path))
        return memo[path]

    def _add_named(self, found: dict[str, str], path: str, budget: Budget) -> None:
        mark = self.mark(path, budget)
        if mark is not None:
            found[path] = mark
            return
        status = self._status(path)
        if status is not None:
            for inner in self._with_inside(os.path.normpath(path)):
                mark = self.mark(inner, budget)
                if mark is not None:
                    found[inner] = mark

    def _matching(self, pattern: str, budget: Budget) -> dict[str, str]:
        if pattern in self._matches:
            return self._matches[pattern]
        found = {
            path: mark for path in self._expand(pattern) if (mark := self.mark(path, budget)) is not None
        }
        if self._memo is not None:
            self._matches[pattern] = found
        return found

    def _expand(self, pattern: str) -> Iterator[str]:
        if not is_glob(pattern):
            yield from self._with_inside(os.path.normpath(pattern))
            return
        for path in iglob(pattern, root_dir=self.folder, recursive=True):
            clean = path.rstrip("/")
            if clean and not clean.startswith(OURS):
                yield clean

    def _with_inside(self, path: str) -> Iterator[str]:
        yield path
        whole = self.whole(path)
        if not os.path.islink(whole):
            for name in _names(whole):
                yield from self._with_inside(f"{path}/{name}")

    def _output_fault(self, output: Output, budget: Budget) -> str:
        try:
            status = os.lstat(self.whole(output.path))
        except (FileNotFoundError, NotADirectoryError):
            return "is missing"
        if output.kind is OutputKind.LINK:
            is_same = stat.S_ISLNK(status.st_mode) and os.readlink(self.whole(output.path)) == output.digest
            return "" if is_same else "was altered"
        kind = stat.S_ISREG if output.kind is OutputKind.FILE else stat.S_ISDIR
        if not kind(status.st_mode):
            return "was altered"
        if stat.S_IMODE(status.st_mode) != output.mode:
            return "has another mode"
        if output.kind is OutputKind.FILE and (
            status.st_size != output.size_bytes or self.digest(output.path, status, budget) != output.digest
        ):
            return "was altered"
        return ""

    def _read(self, path: str) -> str:
        """Read a file; its digest is remembered if any later change must show in its status."""
        now = time.time_ns()
        hasher = blake3()
        with open(self.whole(path), "rb", buffering=0) as file:
            before = os.fstat(file.fileno())
            while data := file.read(CHUNK):
                hasher.update(data)
            after = os.fstat(file.fileno())
        digest = hasher.hexdigest()
        mark: FileMark = (after.st_ino, after.st_size, after.st_mtime_ns, after.st_ctime_ns, digest)
        if _identity(before) == mark[:4] and not _is_racy(after, now):
            self._marks[path] = mark
        return digest


def _identity(status: os.stat_result) -> tuple[int, int, int, int]:
    return status.st_ino, status.st_size, status.st_mtime_ns, status.st_ctime_ns


def _is_racy(status: os.stat_result, now: int) -> bool:
    """Tell whether a file could change in this moment and have the same times afterwards."""
    slack = COARSE_SLACK if status.st_mtime_ns % CENTISECOND == 0 else FINE_SLACK
    return max(status.st_mtime_ns, status.st_ctime_ns) > now - slack


def _status_of(path: str) -> os.stat_result | None:
    try:
        return os.stat(path)
    except (FileNotFoundError, NotADirectoryError):
        return None


def _names(folder: str) -> list[str]:
    """Return the names in a directory that are not ours, sorted; none if it is no directory."""
    try:
        return sorted(name for name in os.listdir(folder) if not name.startswith(OURS))
    except (FileNotFoundError, NotADirectoryError):
        return []


def recorded(folder: str, place: str, path: str, keep: Callable[[str], tuple[str, int]]) -> Output | None:
    """Return the record of an output; None if it is neither file, link nor directory.

    Args:
        folder: That `path` is relative to.
        place: `TREE` or `OWN`.
        path: Of the output.
        keep: Keeps the content of a file; returns digest and size.
    """
    whole = os.path.join(folder, path)
    status = os.lstat(whole)
    mode = stat.S_IMODE(status.st_mode)
    if stat.S_ISLNK(status.st_mode):
        return Output(place, path, OutputKind.LINK, 0o777, os.readlink(whole))
    if stat.S_ISDIR(status.st_mode):
        return Output(place, path, OutputKind.DIRECTORY, mode, "")
    if not stat.S_ISREG(status.st_mode):
        return None
    digest, size = keep(whole)
    return Output(place, path, OutputKind.FILE, mode, digest, size)


def is_inside(folder: str, path: str) -> bool:
    """Tell whether a path lies below a directory, links on the way to it followed."""
    root = os.path.realpath(folder)
    parent = os.path.realpath(os.path.dirname(os.path.join(folder, path)))
    return parent == root or parent.startswith(os.path.join(root, ""))


def remove(path: str) -> None:
    """Remove a file, a link or a whole directory; does nothing if there is nothing."""
    with suppress(FileNotFoundError, NotADirectoryError):
        if os.path.isdir(path) and not os.path.islink(path):
            from shutil import rmtree  # noqa: PLC0415 - slow to load, seldom needed

            rmtree(path)
        else:
            os.unlink(path)


def restore(folder: str, output: Output, fetch: Callable[[str, str, int], bool]) -> bool:
    """Make an output what it was.

    Args:
        folder: That its path is relative to.
        output: What it was.
        fetch: Puts a file with a digest in a place with a mode; returns False if it does not have it.

    Returns:
        False if its content is not to be had.
    """
    whole = os.path.join(folder, output.path)
    os.makedirs(os.path.dirname(whole), exist_ok=True)
    is_folder = os.path.isdir(whole) and not os.path.islink(whole)
    if is_folder is not (output.kind is OutputKind.DIRECTORY):
        remove(whole)
    if output.kind is OutputKind.FILE:
        return fetch(output.digest, whole, output.mode)
    if output.kind is OutputKind.LINK:
        remove(whole)
        os.symlink(output.digest, whole)
        return True
    os.makedirs(whole, exist_ok=True)  # its mode comes last: it may forbid to write what is inside
    return True
