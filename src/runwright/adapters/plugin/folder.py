"""The private directory of a plugin: its socket, and its temporary files."""

import fcntl
import os
import stat
import tempfile
from contextlib import suppress
from pathlib import Path
from shutil import rmtree

PREFIX = "runwright-plugin-"
LOCK = ".lock"
LONGEST = 80
"""Characters of a directory's path: that of a socket may have about 100."""


class PluginFolder:
    """A new directory (mode 0700) that is held by a lock, so that what a dead engine left behind can be told.

    Attributes:
        socket: Where the plugin is to listen.
        temporary: For its temporary files, which go with the directory.
    """

    def __init__(self) -> None:
        root = _root()
        _sweep(root)
        self._path, self._lock = _claimed(root)
        self.socket = self._path / "s"
        self.temporary = self._path / "tmp"
        self.temporary.mkdir(mode=0o700)

    def remove(self) -> None:
        """Remove it with all that is in it; safe to call twice."""
        if self._lock >= 0:
            rmtree(self._path, ignore_errors=True)
            os.close(self._lock)
            self._lock = -1


def _root() -> Path:
    root = tempfile.gettempdir()
    return Path(root if len(os.fsencode(root)) <= LONGEST - len(PREFIX) else "/tmp")  # noqa: S108 - mkdtemp is safe there


def _claimed(root: Path) -> tuple[Path, int]:
    """Make a directory and lock it; another engine that sweeps may take it for an abandoned one in between."""
    while True:
        path = Path(tempfile.mkdtemp(prefix=PREFIX, dir=root))
        with suppress(FileNotFoundError):
            lock = os.open(path / LOCK, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
            fcntl.flock(lock, fcntl.LOCK_EX)
            if (path / LOCK).exists():
                return path, lock
            os.close(lock)


def _sweep(root: Path) -> None:
    """Remove what plugins of engines that have died left behind."""
    for path in root.glob(f"{PREFIX}*"):
        with suppress(OSError):
            _remove_if_abandoned(path)


def _remove_if_abandoned(path: Path) -> None:
    found = path.lstat()
    if not stat.S_ISDIR(found.st_mode) or found.st_uid != os.geteuid():
        return
    lock = os.open(path / LOCK, os.O_RDWR | os.O_NOFOLLOW | os.O_CLOEXEC)
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        rmtree(path, ignore_errors=True)
    finally:
        os.close(lock)
