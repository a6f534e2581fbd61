"""What SQLite's errors mean to the user of a store."""

import errno
import os
import time
from collections.abc import Callable
from typing import TypeVar

import apsw

from runwright.core.errors import StoreCorrupt, StoreError

BUSY_SECONDS = 60.0
"""How long a store waits for its turn to write before it gives up."""

_PAUSE = 0.005

T = TypeVar("T")


def explain(path: str, error: Exception) -> StoreError:
    """Return the error of the store that stands for one of SQLite or of the system."""
    if isinstance(error, apsw.CantOpenError) and os.path.isdir(path):  # noqa: PTH112 - a text, as all paths here
        return StoreError(f"{path}: {_BY_NUMBER[errno.EISDIR]}")
    if isinstance(error, OSError) and error.errno in _BY_NUMBER:
        return StoreError(f"{path}: {_BY_NUMBER[error.errno]} ({error})")
    for kinds, make, text in _TEXTS:
        if isinstance(error, kinds):
            return make(f"{path}: {text} ({error})")
    return StoreError(f"{path}: the store can't be used ({type(error).__name__}: {error})")


_FULL = "the disk is full; free some space, then `runwright resume` the run"
_FORBIDDEN = "you have no permission for it; mend the permissions, or keep the store elsewhere with --store"
_BY_NUMBER = {
    errno.ENOENT: "its directory can't be made there; name another place with --store",
    errno.ENOTDIR: "a part of this path is a file, not a directory; name another place with --store",
    errno.EISDIR: "this is a directory; name a file in it with --store",
    errno.EACCES: _FORBIDDEN,
    errno.EPERM: _FORBIDDEN,
    errno.EROFS: "its file system is read-only; keep the store elsewhere with --store, or mount it for writing",
    errno.ENOSPC: _FULL,
    errno.EDQUOT: "your quota of disk space is used up; free some space, then `runwright resume` the run",
    errno.ENAMETOOLONG: "this path is too long for its file system; name a shorter one with --store",
    errno.ELOOP: "a symbolic link in this path leads back to itself; name another place with --store",
    errno.EMFILE: "too many files are open; raise the limit (`ulimit -n`), or run fewer tasks at a time",
}
"""What to do about errors of the system that are no fault of the disk."""

_TEXTS: tuple[tuple[tuple[type[Exception], ...], type[StoreError], str], ...] = (
    ((apsw.FullError,), StoreError, _FULL),
    (
        (apsw.ReadOnlyError,),
        StoreError,
        "the store can't be written; check its permissions and its file system",
    ),
    (
        (apsw.CantOpenError, PermissionError),
        StoreError,
        "the store can't be opened; check that its directory exists and is yours",
    ),
    (
        (apsw.BusyError, apsw.LockedError),
        StoreError,
        f"another program has kept the store locked for {BUSY_SECONDS:g} s; end that program and try again",
    ),
    (
        (apsw.NotADBError,),
        StoreCorrupt,
        "this is not a Runwright store; name another file with --store",
    ),
    (
        (apsw.CorruptError,),
        StoreCorrupt,
        "the store is damaged; put back a backup, or move the file away to begin a new store",
    ),
    (
        (apsw.IOError, OSError),
        StoreError,
        "the disk failed; check it and the space left on it, then `runwright resume` the run",
    ),
)


def patiently(action: Callable[[], T]) -> T:
    """Do what may find the store locked, again and again until `BUSY_SECONDS` have passed.

    SQLite waits by itself in most places, but not where waiting could be a deadlock, for instance while another
    process creates the file or recovers it after a crash.
    """
    deadline = time.monotonic() + BUSY_SECONDS
    while True:
        try:
            return action()
        except (apsw.BusyError, apsw.LockedError):
            if time.monotonic() >= deadline:
                raise
            time.sleep(_PAUSE)
