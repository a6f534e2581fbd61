"""Reading a store, in a thread of its own and without a trace on the disk."""

from asyncio import Future, get_running_loop
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from queue import SimpleQueue
from threading import Thread
from typing import Any, TypeVar

import apsw
from msgspec import DecodeError

from runwright.adapters.sqlite.connection import check_version, migrate, newest_version, schema_version
from runwright.adapters.sqlite.errors import explain, patiently
from runwright.core.errors import StoreCorrupt, StoreError

_BUSY_MS = 5_000
_MOST_TRIES = 50

T = TypeVar("T")
Query = Callable[[apsw.Connection], T]
_Question = tuple["Future[Any]", Callable[[apsw.Connection], Any], Any]


class Reader:
    """Runs queries on a connection that can't write.

    A store that this process also writes keeps one connection open. A store opened for reading only gets a new one for
    each query, because how to open it without touching its directory depends on what is there at that moment.
    """

    def __init__(self, path: str, shared: bool) -> None:
        self._path = path
        self._shared = shared
        self._closed = False
        self._connection: apsw.Connection | None = None
        self._queue: SimpleQueue[_Question | None] = SimpleQueue()
        self._thread: Thread | None = None

    async def run(self, query: Query[T], missing: T) -> T:
        """Return what the query finds, or `missing` if there is no store yet.

        Raises:
            StoreError: If the store can't be read.
        """
        if self._closed:
            raise StoreError(f"{self._path}: the store has been closed")
        answer: Future[T] = get_running_loop().create_future()
        self._queue.put((answer, query, missing))
        if self._thread is None:  # of our own, because the library's pool takes 5 ms to load
            self._thread = Thread(target=self._serve, name="runwright-reader", daemon=True)
            self._thread.start()
        return await answer

    def _serve(self) -> None:
        while (question := self._queue.get()) is not None:
            answer, query, missing = question
            found, error = None, None
            try:
                found = self.run_here(query, missing)
            except Exception as caught:
                error = caught
            with suppress(RuntimeError):  # the loop has been closed: nobody waits any more
                answer.get_loop().call_soon_threadsafe(_resolve, answer, found, error)
            del question, answer, query, missing, found, error  # nothing is kept while this waits

    def run_here(self, query: Query[T], missing: T) -> T:
        """Do the same in the calling thread."""
        try:
            if not self._shared:
                return patiently(lambda: read_untouched(self._path, query, missing))
            if self._connection is None:
                self._connection = _open(self._path, "?mode=ro")
            connection = self._connection
            return patiently(lambda: query(connection))
        except (apsw.Error, OSError) as error:
            raise explain(self._path, error) from error
        except DecodeError as error:
            text = f"what is stored can't be read ({error}); `runwright audit --verify` tells which run"
            raise StoreCorrupt(f"{self._path}: {text}") from error

    async def close(self) -> None:
        """End the thread and close the connection."""
        self._closed = True
        if self._thread is not None:
            self._queue.put(None)
            self._thread.join()
            self._thread = None
        if self._connection is not None:
            self._connection.close()


def _resolve(answer: "Future[Any]", found: object, error: Exception | None) -> None:
    if answer.done():
        return  # the caller was cancelled
    if error is None:
        answer.set_result(found)
    else:
        answer.set_exception(error)


def read_untouched(path: str, query: Query[T], missing: T) -> T:
    """Run a query so that no file of the store's directory changes or appears.

    While the write-ahead log is empty the file holds everything, and SQLite may take it as immutable: it then makes
    no lock and no shared memory. A writer may come between; then what was read is not used and read again.
    """
    for _ in range(_MOST_TRIES):
        before = _fingerprint(path)
        if before is None:
            return missing
        immutable = not before[-1]
        try:
            found = _read_once(path, query, missing, "?immutable=1" if immutable else "?mode=ro")
        except apsw.Error:
            if not immutable or _fingerprint(path) == before:
                raise
            continue
        if not immutable or _fingerprint(path) == before:
            return found
    return _read_once(path, query, missing, "?mode=ro")


def _read_once(path: str, query: Query[T], missing: T, how: str) -> T:
    connection = _open(path, how)
    try:
        version = schema_version(connection)
        check_version(version, newest_version(), path)
        if not version:  # whoever makes the file has not come any further yet
            return missing
        if version < newest_version():
            return _read_old(path, connection, query)
        return query(connection)
    finally:
        connection.close()


def _read_old(path: str, connection: apsw.Connection, query: Query[T]) -> T:
    """Run a query on a copy in memory that is brought to the newest version: reading must not migrate the file."""
    copy = apsw.Connection(":memory:")
    try:
        with copy.backup("main", connection, "main") as backup:
            backup.step()
        migrate(copy, path)
        return query(copy)
    finally:
        copy.close()


def _open(path: str, how: str) -> apsw.Connection:
    address = "file:" + _quoted(str(Path(path).absolute())) + how
    connection = apsw.Connection(address, flags=apsw.SQLITE_OPEN_READONLY | apsw.SQLITE_OPEN_URI)
    connection.set_busy_timeout(_BUSY_MS)
    connection.config(apsw.SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, 1)
    return connection


def _quoted(path: str) -> str:
    return path.replace("%", "%25").replace("?", "%3f").replace("#", "%23")


def _fingerprint(path: str) -> tuple[int, int, int, int] | None:
    """Return what changes when somebody writes; the size of the write-ahead log stands last."""
    try:
        status = Path(path).stat()
    except FileNotFoundError:
        return None
    try:
        log_size = Path(path + "-wal").stat().st_size
    except FileNotFoundError:
        log_size = 0
    return status.st_ino, status.st_mtime_ns, status.st_size, log_size
