"""Directory trees that strangers have filled: gone into without following a link, measured, and removed.

Every directory is opened in its parent and by its own name, so no link can lead out, whoever puts it there and when.
"""

import os
import stat
from collections.abc import Callable, Container, Iterator, Sequence
from contextlib import ExitStack, contextmanager, suppress
from itertools import count, islice
from pathlib import Path
from threading import Event

from runwright.core.errors import Failure, TaskFailed

FOLDER = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
LOOK_ONLY = getattr(os, "O_PATH", 0) | os.O_NOFOLLOW | os.O_CLOEXEC
GET_FLAGS, SET_FLAGS = 0x80086601, 0x40086602
FROZEN = 0x10 | 0x20  # immutable, append only

MOST_MEASURED = 200_000
"""Files of a workspace that are looked at to measure it."""

DEEPEST_MEASURED = 100
"""Directories inside one another that are gone into to measure it."""

MOST_LEFT = 20
"""Things told of that could not be removed, after which nothing more is tried."""

BATCH = 1000
Action = Callable[[int, str], None]
BLOCK_BYTES = 512


def path_failure(path: str, message: str) -> TaskFailed:
    """Return the failure of something that would leave its place."""
    return TaskFailed(Failure(code="E_PATH", message=f'"{path}" {message}'))


@contextmanager
def folder(root: Path, names: Sequence[str], *, make: bool = False) -> Iterator[int]:
    """Have a descriptor of a directory below another while the context lasts.

    Args:
        root: Where to begin; whoever can change what is above it is trusted.
        names: From there on.
        make: True to make those that are missing, with mode 0755 and the owner of what they are in.

    Raises:
        TaskFailed: With code ``E_PATH`` if one of them is no directory.
        OSError: If one is missing, or something fails.
    """
    current = os.open(root, FOLDER)
    try:
        for index, name in enumerate(names):
            below = _entered(current, name, "/".join(names[: index + 1]), make=make)
            os.close(current)
            current = below
        yield current
    finally:
        os.close(current)


def _entered(parent: int, name: str, path: str, *, make: bool) -> int:
    try:
        return os.open(name, FOLDER, dir_fd=parent)
    except FileNotFoundError:
        if not make:
            raise
    except NotADirectoryError:
        raise path_failure(path, f"is {kind_of(parent, name)}, and not a directory") from None
    os.mkdir(name, 0o755, dir_fd=parent)
    made = os.open(name, FOLDER, dir_fd=parent)
    os.fchmod(made, 0o755)
    above = os.fstat(parent)
    if above.st_uid != os.geteuid():  # the workspace has been given to the user of its steps
        with suppress(PermissionError):
            os.fchown(made, above.st_uid, above.st_gid)
    return made


def kind_of(parent: int, name: str) -> str:
    """Return what something in a directory is: ``a link``, ``a file``, ``a directory``, ``nothing`` or another thing."""
    try:
        mode = os.stat(name, dir_fd=parent, follow_symlinks=False).st_mode
    except FileNotFoundError:
        return "nothing"
    if stat.S_ISLNK(mode):
        return "a link"
    if stat.S_ISREG(mode):
        return "a file"
    return "a directory" if stat.S_ISDIR(mode) else "no plain file"


def used_bytes(root: Path, limit: int, stop: Event) -> int:
    """Return the disk that a tree takes, or more than `limit` as soon as that is sure or it can't be measured in full."""
    total = number = 0
    seen: set[tuple[int, int]] = set()
    try:
        with ExitStack() as everything:
            levels = [_Level(everything, os.open(root, FOLDER))]
            while levels:
                entry = next(levels[-1].entries, None)
                if entry is None:
                    levels.pop().close()
                    continue
                number += 1
                total += _size(entry, seen)
                if total > limit or number > MOST_MEASURED or stop.is_set() or len(levels) > DEEPEST_MEASURED:
                    return max(total, limit + 1)
                if entry.is_dir(follow_symlinks=False):
                    with suppress(PermissionError, FileNotFoundError, NotADirectoryError):
                        levels.append(
                            _Level(everything, os.open(entry.name, FOLDER, dir_fd=levels[-1].descriptor))
                        )
    except OSError:
        return limit + 1
    return total


class _Level:
    """A directory that is being read, and closed at the latest with everything else."""

    def __init__(self, everything: ExitStack, descriptor: int) -> None:
        self.descriptor = descriptor
        self._closer = everything.enter_context(ExitStack())
        self._closer.callback(os.close, descriptor)
        self.entries = self._closer.enter_context(os.scandir(descriptor))

    def close(self) -> None:
        self._closer.close()


def _size(entry: "os.DirEntry[str]", seen: set[tuple[int, int]]) -> int:
    """Return what an entry takes; a file with several names counts once."""
    try:
        facts = entry.stat(follow_symlinks=False)
    except OSError:
        return 0
    if facts.st_nlink > 1 and not stat.S_ISDIR(facts.st_mode):
        identity = (facts.st_dev, facts.st_ino)
        if identity in seen:
            return 0
        seen.add(identity)
    return facts.st_blocks * BLOCK_BYTES


def remove_tree(root: Path, stop: Event) -> list[str]:
    """Remove a tree, whatever its modes and however deep; returns a line for each thing that is left.

    Args:
        root: Its top, a directory of ours.
        stop: Set to give up.
    """
    try:
        with folder(root.parent, ()) as parent:
            _unlock(parent, root.name)
            with folder(root, ()) as top:
                left = _Remover(top, stop).empty()
            if not left:
                os.rmdir(root)  # noqa: PTH106
    except FileNotFoundError:
        return []
    except OSError as error:
        return [f"{root.name}: {error.strerror}"]
    return left


class _Remover:
    """Empties a directory. What is deeper is first moved to the top, because a path can be too long to be used."""

    def __init__(self, top: int, stop: Event) -> None:
        self._top = top
        self._stop = stop
        self._left: dict[str, str] = {}
        self._numbers = count(1)
        self._mark = os.urandom(6).hex()

    def empty(self) -> list[str]:
        """Remove everything; returns a line for each thing that is left."""
        while names := _some_names(self._top, self._left):
            for name in names:
                if self._stop.is_set():
                    return [*self._left.values(), "there was no time to remove all"]
                self._drop(self._top, name)
                if len(self._left) >= MOST_LEFT:
                    return list(self._left.values())
        return list(self._left.values())

    def _drop(self, parent: int, name: str) -> None:
        try:
            _twice(parent, name, self._remove)
        except FileNotFoundError:
            return
        except OSError as error:
            self._left[name] = f"{name}: {error.strerror}"

    def _remove(self, parent: int, name: str) -> None:
        if kind_of(parent, name) != "a directory":
            os.unlink(name, dir_fd=parent)
            return
        with folder_in(parent, name) as inner:
            self._strip(inner)
        os.rmdir(name, dir_fd=parent)

    def _strip(self, inner: int) -> None:
        """Take away all that is in a directory, but for what can't be."""
        stuck: dict[str, str] = {}
        while names := _some_names(inner, stuck):
            for name in names:
                if self._stop.is_set():
                    return
                try:
                    _twice(inner, name, self._lift)
                except OSError as error:
                    stuck[name] = self._left[name] = f"{name}: {error.strerror}"
                if len(stuck) >= MOST_LEFT:
                    return

    def _lift(self, parent: int, name: str) -> None:
        """Remove a file; move a directory to the top, where its turn comes."""
        if kind_of(parent, name) == "a directory":
            place = f".{self._mark}-{next(self._numbers)}"
            os.rename(name, place, src_dir_fd=parent, dst_dir_fd=self._top)
        else:
            os.unlink(name, dir_fd=parent)


def _some_names(descriptor: int, without: Container[str]) -> list[str]:
    with os.scandir(descriptor) as entries:
        return list(islice((entry.name for entry in entries if entry.name not in without), BATCH))


@contextmanager
def folder_in(parent: int, name: str) -> Iterator[int]:
    """Have a descriptor of a directory while the context lasts."""
    descriptor = os.open(name, FOLDER, dir_fd=parent)
    try:
        yield descriptor
    finally:
        os.close(descriptor)


def _twice(parent: int, name: str, action: Action) -> None:
    """Do something to what stands in a directory; if that is not allowed, again with both unlocked."""
    try:
        action(parent, name)
    except PermissionError:
        _unlock(parent, ".")
        _unlock(parent, name)
        action(parent, name)


def _unlock(parent: int, name: str) -> None:
    """Take away what keeps the owner, or root, from removing something: modes of directories, and flags."""
    with suppress(OSError):
        seen = os.open(name, LOOK_ONLY, dir_fd=parent)
        try:
            if stat.S_ISDIR(os.fstat(seen).st_mode):
                os.chmod(f"/proc/self/fd/{seen}", 0o700)  # noqa: PTH101 - the one that was looked at
        finally:
            os.close(seen)
    with suppress(OSError):
        _thaw(parent, name)


def _thaw(parent: int, name: str) -> None:
    import fcntl  # noqa: PLC0415 - hardly ever needed

    if kind_of(parent, name) not in ("a file", "a directory"):
        return
    descriptor = os.open(name, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC, dir_fd=parent)
    try:
        flags = int.from_bytes(fcntl.ioctl(descriptor, GET_FLAGS, bytes(8))[:4], "little")
        if flags & FROZEN:
            fcntl.ioctl(descriptor, SET_FLAGS, (flags & ~FROZEN).to_bytes(8, "little"))
    finally:
        os.close(descriptor)
