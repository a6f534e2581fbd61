"""What SQLite's errors mean to the user of a store."""

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
    for kinds, make, text in _TEXTS:
        if isinstance(error, kinds):
            return make(f"{path}: {text} ({error})")
    return StoreError(f"{path}: the store can't be used ({type(error).__name__}: {error})")


_TEXTS: tuple[tuple[tuple[type[Exception], ...], type[StoreError], str], ...] = (
    ((apsw.FullError,), StoreError, "the disk is full; free some space, then `runwright resume` the run"),
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
