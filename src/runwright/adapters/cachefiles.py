"""The files of a cache in a directory: where they are, how they come there, and who may read them."""

import os
from collections.abc import Iterator
from contextlib import suppress
from itertools import count
from pathlib import Path

from runwright.core.cacheentry import Entry, unseal

PRIVATE_DIR, PRIVATE_FILE, GROUP_FILE = 0o700, 0o600, 0o640
FOLDERS = ("entries", "blobs", "trees", "locks", "tmp")

_numbers = count(1)


class CacheFiles:
    """The files below one directory.

    Everything is private to its owner, unless the group may read the directory itself.

    Args:
        root: Absolute path; made with the first file.
    """

    def __init__(self, root: Path) -> None:
        self.root = root
        self._file_mode = PRIVATE_FILE
        self._folder_mode = PRIVATE_DIR
        self._is_ready = False

    def path(self, folder: str, name: str) -> Path:
        """Return where an entry or a blob is."""
        return self.root / folder / name[:2] / name[2:]

    def names(self, folder: str) -> Iterator[str]:
        """Yield the names in ``entries`` or ``blobs``."""
        for first in _listed(self.root / folder):
            for rest in _listed(self.root / folder / first):
                yield first + rest

    def entry(self, key: str) -> Entry | None:
        """Return what is kept under a key; None if there is nothing, or if it is damaged."""
        try:
            entry = unseal(self.path("entries", key).read_bytes())
        except OSError:
            return None
        return entry if entry is not None and entry.key == key else None

    def prepare(self) -> None:
        """Make the directories, and learn who may read them.

        Raises:
            OSError: If they can't be made.
        """
        if self._is_ready:
            return
        self.root.mkdir(mode=PRIVATE_DIR, parents=True, exist_ok=True)
        mode = self.root.stat().st_mode
        if mode & 0o040:
            self._file_mode, self._folder_mode = GROUP_FILE, mode & 0o2770
        for name in FOLDERS:
            self.make_folder(self.root / name)
        self._is_ready = True

    def make_folder(self, folder: Path) -> None:
        """Make a directory that those can read who can read the cache."""
        try:
            folder.mkdir(mode=PRIVATE_DIR)
        except FileExistsError:
            return
        if self._folder_mode != PRIVATE_DIR:
            folder.chmod(self._folder_mode)

    def create(self, path: Path, flags: int = os.O_EXCL) -> int:
        """Open a file for reading and writing, made now if it must be; returns its descriptor."""
        handle = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | flags, PRIVATE_FILE)
        if self._file_mode != PRIVATE_FILE:
            with suppress(OSError):  # somebody else's
                os.fchmod(handle, self._file_mode)
        return handle

    def temporary(self) -> Path:
        """Return a name that nobody else uses for a file that is not complete yet."""
        self.prepare()
        return self.root / "tmp" / f"{os.uname().nodename}-{os.getpid()}-{next(_numbers)}"

    def place(self, target: Path, data: bytes) -> None:
        """Give a file its content, whole or not at all."""
        temporary = self.temporary()
        handle = self.create(temporary)
        try:
            write_all(handle, data)
            self.settle(temporary, target)
        except BaseException:
            temporary.unlink(missing_ok=True)
            raise
        finally:
            os.close(handle)

    def settle(self, temporary: Path, target: Path) -> None:
        """Give a complete file its name."""
        try:
            temporary.replace(target)
        except FileNotFoundError:
            self.make_folder(target.parent)
            temporary.replace(target)


def write_all(handle: int, data: bytes) -> None:
    """Write bytes, however many the system takes at a time."""
    view = memoryview(data)
    while view:
        view = view[os.write(handle, view) :]


def _listed(folder: Path) -> list[str]:
    try:
        return os.listdir(folder)  # noqa: PTH208 - names are all that is needed
    except OSError:
        return []
