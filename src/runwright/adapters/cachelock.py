"""One at a time for a key: a lock file that names its owner and ends with it."""

import asyncio
import fcntl
import os
from contextlib import suppress
from functools import cache
from pathlib import Path
from types import TracebackType

import msgspec

from runwright.adapters.cachefiles import CacheFiles
from runwright.adapters.owner import current_owner

SHORTEST_WAIT, LONGEST_WAIT = 0.005, 0.25
"""Seconds between two tries; other processes can't wake us."""


class Flight:
    """Holds the lock of a key while the outcome is made.

    The kernel frees the lock of a process that dies, so what it left is taken over at once. Where the file system has
    no locks nobody waits: then the work may be done twice, and the outcome is the same.

    Args:
        path: The lock file; what it holds is for people.
        files: Makes it.
    """

    def __init__(self, path: Path, files: CacheFiles) -> None:
        self._path = path
        self._files = files
        self._handle: int | None = None

    async def __aenter__(self) -> None:
        wait = SHORTEST_WAIT
        while not self._taken():
            await asyncio.sleep(wait)
            wait = min(2 * wait, LONGEST_WAIT)

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._handle is not None:
            self._path.unlink(missing_ok=True)
            os.close(self._handle)
            self._handle = None

    def _taken(self) -> bool:
        """Try to take the lock; return False if somebody holds it."""
        try:
            self._files.prepare()
            handle = self._files.create(self._path, 0)
        except OSError:
            return True  # what can't be written to is not shared either
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            os.close(handle)
            return False
        except OSError:
            os.close(handle)
            return True
        if not _is_same(handle, self._path):
            os.close(handle)  # its last owner removed it after we had opened it
            return self._taken()
        self._handle = handle
        with suppress(OSError):
            if os.fstat(
                handle
            ).st_size:  # left by one that died; some file systems make us pay for each truncation
                os.ftruncate(handle, 0)
            os.write(handle, _owner(os.getpid()))
        return True


@cache
def _owner(pid: int) -> bytes:
    """Return what the lock files of this process say."""
    assert pid == os.getpid()
    return msgspec.json.encode(current_owner())


def _is_same(handle: int, path: Path) -> bool:
    try:
        named = path.stat()
    except FileNotFoundError:
        return False
    held = os.fstat(handle)
    return (held.st_ino, held.st_dev) == (named.st_ino, named.st_dev)
