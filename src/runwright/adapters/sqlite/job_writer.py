"""The one thread that writes to the queue: what waits goes into one transaction, and so shares a commit."""

import threading
from asyncio import Future, get_running_loop
from collections.abc import Callable
from contextlib import suppress
from queue import Empty, SimpleQueue
from typing import Any

import apsw

from runwright.adapters.failpoints import failpoint
from runwright.adapters.sqlite.connection import rollback
from runwright.adapters.sqlite.errors import explain, patiently
from runwright.adapters.sqlstore.writer import Answers
from runwright.core.errors import InternalError, RunwrightError, StoreError

MOST_CALLS = 128
"""Calls that share a commit, so that the first of them does not wait for ever more others."""

Action = Callable[[apsw.Connection], Any]
"""Writes something and returns its result. What it refuses with a `RunwrightError` it refuses before it writes."""


class Call:
    """An action that waits; without one it ends the thread."""

    __slots__ = ("action", "error", "future", "result")

    def __init__(self, future: "Future[Any]", action: Action | None) -> None:
        self.future = future
        self.action = action
        self.result: Any = None
        self.error: Exception | None = None

    def perform(self, connection: apsw.Connection) -> None:
        """Do it and keep its result, or what it refused."""
        self.result = self.error = None
        try:
            if self.action is not None:
                self.result = self.action(connection)
        except RunwrightError as error:
            self.error = error


class JobWriter:
    """Owns the connection that writes, from its first use on in a thread of its own.

    Args:
        path: How messages name the store.
        connection: What is written to.
        after_commit: Called in the thread when something has become durable, before anybody is answered.
    """

    def __init__(self, path: str, connection: apsw.Connection, after_commit: Callable[[], None]) -> None:
        self._path = path
        self._connection = connection
        self._after_commit = after_commit
        self._queue: SimpleQueue[Call] = SimpleQueue()
        self._lock = threading.Lock()
        self._thread: threading.Thread | None = None
        self._closed = False
        self._broken: StoreError | None = None

    def call(self, action: Action) -> "Future[Any]":
        """Queue an action; the future has its result when that is durable.

        Raises:
            StoreError: If the store has been closed.
        """
        with self._lock:
            if self._closed:
                raise StoreError(f"{self._path}: the store has been closed")
            future = self._put(action)
            if self._thread is None:
                self._thread = threading.Thread(target=self._serve, name="runwright-jobs", daemon=True)
                self._thread.start()
            return future

    def _put(self, action: Action | None) -> "Future[Any]":
        future: Future[Any] = get_running_loop().create_future()
        self._queue.put(Call(future, action))
        return future

    async def close(self) -> None:
        """Wait until everything queued is durable, end the thread and close the connection; safe to call twice."""
        with self._lock:
            was_closed, self._closed = self._closed, True
        if was_closed:
            return
        if self._thread is not None:
            await self._put(None)
            self._thread.join()
        try:
            self._connection.close()
        except apsw.Error:  # what was acknowledged is safe in the log even if it can't be moved into the file
            self._connection.close(True)

    def _serve(self) -> None:
        calls: list[Call] = []
        while not calls or calls[-1].action is not None:
            calls = self._take()
            answers = Answers()
            self._write([call for call in calls if call.action is not None])
            for call in calls:
                answers.add(call.future, call.result, call.error)
            answers.send()

    def _take(self) -> list[Call]:
        calls = [self._queue.get()]
        with suppress(Empty):
            while len(calls) < MOST_CALLS and calls[-1].action is not None:
                calls.append(self._queue.get_nowait())
        return calls

    def _write(self, calls: list[Call]) -> None:
        """Do all in one transaction; if that fails, each alone, so that only the guilty one does."""
        if not calls:
            return
        try:
            if self._broken is not None:
                raise self._broken
            patiently(lambda: self._in_transaction(calls))
        except Exception as error:
            if len(calls) == 1 or not _is_about_one(error):
                self._refuse(calls, error)
                return
            for call in calls:
                self._write([call])

    def _in_transaction(self, calls: list[Call]) -> None:
        connection = self._connection
        connection.execute("BEGIN IMMEDIATE")
        try:
            for call in calls:
                call.perform(connection)
            failpoint("store.before_commit")
            connection.execute("COMMIT")
            failpoint("store.after_commit")
        except BaseException:
            rollback(connection)
            raise
        self._after_commit()

    def _refuse(self, calls: list[Call], error: Exception) -> None:
        refusal = self._translate(error)
        for call in calls:
            call.result, call.error = None, refusal

    def _translate(self, error: Exception) -> Exception:
        """Return the error for those who wait; one of the disk also refuses every later write."""
        if isinstance(error, RunwrightError):
            return error
        if isinstance(error, UnicodeError | OverflowError):
            return StoreError(f"{self._path}: this can't be stored ({error})")
        if not isinstance(error, apsw.Error | OSError):
            return InternalError(f"the writer of the store failed: {error!r}")
        refusal = explain(self._path, error)
        refusal.__cause__ = error
        if not isinstance(error, apsw.BusyError | apsw.ConstraintError):
            self._broken = refusal
        return refusal


def _is_about_one(error: Exception) -> bool:
    """Tell whether an error is about what one call writes, not about the disk."""
    return isinstance(error, apsw.ConstraintError) or not isinstance(
        error, RunwrightError | apsw.Error | OSError
    )
