"""Writes to the queue: calls that come at the same time share a trip to the server and a commit.

A few lanes, each a link with a thread of its own, take what waits: whatever came while all were busy goes together.
"""

import logging
import os
import threading
from asyncio import Future, get_running_loop, to_thread
from collections.abc import Callable, Sequence
from contextlib import suppress
from datetime import datetime
from queue import Empty, SimpleQueue
from typing import Any
from uuid import uuid4

import psycopg
from msgspec import structs
from psycopg.conninfo import conninfo_to_dict, make_conninfo

from runwright.adapters.failpoints import failpoint
from runwright.adapters.postgres.address import Address
from runwright.adapters.postgres.connection import Connection, Link
from runwright.adapters.postgres.job_records import SQL, submitted
from runwright.adapters.sqlstore.writer import Answers
from runwright.core.errors import InternalError, RunwrightError, StoreError
from runwright.core.job_rows import NewJob

PATIENCE_SECONDS = 30.0
"""How long the queue waits for a server that was lost before it gives up."""

LANES = 2
"""Connections that write."""

MOST_CALLS = 128
"""Calls that share a commit, so that the first of them does not wait for ever more others."""

Rows = list[tuple[Any, ...]]

_PLANS = (
    "enable_seqscan=off",
    "enable_bitmapscan=off",
    "enable_hashjoin=off",
    "enable_mergejoin=off",
    "plan_cache_mode=force_generic_plan",
)
"""What is written is found by an index, row by row; a plan made while the tables were small must not say otherwise."""

_SHUTDOWN = "57P"
"""How the SQLSTATE of a server begins that ends its connections."""

_TOO_LARGE = "54"
"""How the SQLSTATE begins of what is larger than PostgreSQL can store."""

_REFUSALS = (psycopg.DataError, psycopg.IntegrityError, psycopg.ProgrammingError, psycopg.NotSupportedError)
"""Errors that are about what is written: nothing of the batch was, and each call of it may be tried alone."""


logging.getLogger("psycopg").addHandler(logging.NullHandler())  # what it warns of is dealt with here


class Statement:
    """A call that is one statement.

    Args:
        query: The statement.
        parameters: Gives its parameters; told whether it may have been executed before.
        read: Makes the call's result of its rows; may raise the call's error.
        claims_from: Queues that it claims from.
    """

    __slots__ = ("claims_from", "future", "parameters", "query", "read", "was_sent")

    def __init__(
        self,
        query: str,
        parameters: Callable[[bool], Sequence[Any]],
        read: Callable[[Rows], Any],
        claims_from: Sequence[str] = (),
    ) -> None:
        self.future: Future[Any] = get_running_loop().create_future()
        self.query = query
        self.parameters = parameters
        self.read = read
        self.claims_from = claims_from
        self.was_sent = False

    def send(self, connection: Connection) -> "psycopg.Cursor[tuple[Any, ...]]":
        """Have it executed; its rows may come later."""
        was_sent, self.was_sent = self.was_sent, True
        cursor = connection.cursor(binary=True)
        return cursor.execute(self.query, self.parameters(was_sent), prepare=True)

    def answer(self, rows: Rows, answers: Answers) -> None:
        """Hand over the result."""
        try:
            answers.add(self.future, self.read(rows))
        except RunwrightError as error:
            answers.add(self.future, error=error)

    def fail(self, error: Exception, answers: Answers) -> None:
        """Hand over an error."""
        answers.add(self.future, error=error)


class Submission:
    """A call that queues jobs; those of one batch become one statement."""

    __slots__ = ("future", "jobs", "now")

    def __init__(self, jobs: Sequence[NewJob], now: datetime) -> None:
        self.future: Future[list[int]] = get_running_loop().create_future()
        self.jobs = jobs
        self.now = now

    def fail(self, error: Exception, answers: Answers) -> None:
        """Hand over an error."""
        answers.add(self.future, error=error)


class _Submissions:
    """The statement of some submissions. Its id lets it be made again though it may have been executed."""

    claims_from: Sequence[str] = ()

    def __init__(self, calls: list[Submission]) -> None:
        self._calls = calls
        self._id = uuid4()

    def send(self, connection: Connection) -> "psycopg.Cursor[tuple[Any, ...]]":
        asked, payloads = submitted((call.jobs, call.now) for call in self._calls)
        return connection.execute(SQL["submit"], (self._id, asked, payloads), prepare=True)

    def answer(self, rows: Rows, answers: Answers) -> None:
        ids = iter(rows[0][0])
        for call in self._calls:
            answers.add(call.future, [next(ids) for _ in call.jobs])


class Action:
    """A call that gets a transaction of its own.

    Args:
        work: Done on the connection; told whether it may have been done before, under a connection that was lost.
    """

    __slots__ = ("_was_sent", "future", "work")

    def __init__(self, work: "Callable[[Connection, bool], Any]") -> None:
        self.future: Future[Any] = get_running_loop().create_future()
        self.work = work
        self._was_sent = False

    def run(self, connection: Connection) -> Any:
        """Do the work."""
        was_sent, self._was_sent = self._was_sent, True
        return self.work(connection, was_sent)

    def fail(self, error: Exception, answers: Answers) -> None:
        """Hand over an error."""
        answers.add(self.future, error=error)


Call = Statement | Submission | Action


class JobWriter:
    """Takes calls from any thread with a loop, and completes their futures when what they wrote is durable."""

    def __init__(self, address: Address, lanes: int = LANES, patience: float = PATIENCE_SECONDS) -> None:
        self._shown = address.shown
        self._queue: SimpleQueue[Call | None] = SimpleQueue()
        planned = structs.replace(address, url=_with_plans(address.url))
        self._links = [Link(planned, patience=patience) for _ in range(lanes)]
        self._threads: list[threading.Thread] = []
        self._lock = threading.Lock()
        self._closed = False

    def put(self, call: Call) -> "Future[Any]":
        """Queue a call; the future has its result.

        Raises:
            StoreError: If the store has been closed.
        """
        with self._lock:
            if self._closed:
                raise StoreError(f"{self._shown}: the store has been closed")
            self._queue.put(call)
            if not self._threads:
                self._start()
        return call.future

    async def close(self) -> None:
        """Wait until everything queued is durable, then end the threads and close the connections."""
        with self._lock:
            self._closed = True
            threads, self._threads = self._threads, []
        for _ in threads:
            self._queue.put(None)
        for thread in threads:
            await to_thread(thread.join)
        for link in self._links:
            link.close()

    def _start(self) -> None:
        for link in self._links:
            thread = threading.Thread(target=self._serve, args=(link,), name="runwright-jobs", daemon=True)
            self._threads.append(thread)
            thread.start()

    def _serve(self, link: Link) -> None:
        while calls := self._take():
            answers = Answers()
            for action in [call for call in calls if isinstance(call, Action)]:
                _act(link, action, answers)
            _write(link, [call for call in calls if not isinstance(call, Action)], answers)
            answers.send()

    def _take(self) -> list[Call]:
        """Wait for calls; none come any more if there are none in the list."""
        calls: list[Call] = []
        call = self._queue.get()
        with suppress(Empty):
            while call is not None:
                calls.append(call)
                if len(calls) == MOST_CALLS:
                    return calls
                call = self._queue.get_nowait()
            if calls:
                self._queue.put(None)  # the end was meant for a lane that has nothing left to do
        return calls


def _with_plans(url: str) -> str:
    """Return the connection string with settings that make plans what they must be."""
    asked = conninfo_to_dict(url)
    options = str(asked.get("options") or os.environ.get("PGOPTIONS", ""))
    asked["options"] = " ".join([options, *(f"-c {setting}" for setting in _PLANS)]).strip()
    return make_conninfo(**asked)  # type: ignore[arg-type]


def _act(link: Link, action: Action, answers: Answers) -> None:
    try:
        answers.add(action.future, link.transaction(action.run))
    except Exception as error:
        action.fail(_translated(error), answers)


def _write(link: Link, calls: Sequence[Statement | Submission], answers: Answers) -> None:
    """Execute calls together; if one is refused, each alone, so that only the guilty one fails."""
    if not calls:
        return
    parts = _parts(calls)
    try:
        found = link.run(lambda connection: _send(connection, parts))
    except Exception as error:
        if len(calls) > 1 and _is_refusal(error):
            for call in calls:
                _write(link, [call], answers)
            return
        for call in calls:
            call.fail(_translated(error), answers)
        return
    for part, rows in zip(parts, found, strict=True):
        part.answer(rows, answers)


def _parts(calls: Sequence[Statement | Submission]) -> list[Statement | _Submissions]:
    submissions = [call for call in calls if isinstance(call, Submission)]
    statements: list[Statement | _Submissions] = [call for call in calls if isinstance(call, Statement)]
    return [_Submissions(submissions), *statements] if submissions else statements


def _send(connection: Connection, parts: Sequence[Statement | _Submissions]) -> list[Rows]:
    """Execute statements in one transaction and one trip; return the rows of each."""
    failpoint("store.before_commit")
    try:
        if len(parts) == 1:  # one statement is a transaction by itself
            found = [parts[0].send(connection).fetchall()]
        else:
            found = _send_together(connection, parts)
    except psycopg.OperationalError as error:
        if error.sqlstate is None or error.sqlstate.startswith(_SHUTDOWN):
            connection.close()  # it is broken, though a pipeline may not have noticed
        raise
    failpoint("store.after_commit")
    return found


def _send_together(connection: Connection, parts: Sequence[Statement | _Submissions]) -> list[Rows]:
    with connection.pipeline(), connection.transaction():
        _lock(connection, parts)
        cursors = [part.send(connection) for part in parts]
    return [cursor.fetchall() for cursor in cursors]


def _lock(connection: Connection, parts: Sequence[Statement | _Submissions]) -> None:
    """Take the locks of all claims in one order, lest two lanes wait for each other."""
    queues = {queue for part in parts for queue in part.claims_from}
    if queues:
        connection.execute(SQL["lock"], (sorted(queues),), prepare=True)


def _is_refusal(error: Exception) -> bool:
    cause = error.__cause__
    is_too_large = isinstance(cause, psycopg.Error) and str(cause.sqlstate).startswith(_TOO_LARGE)
    return isinstance(error, ValueError) or isinstance(cause, _REFUSALS) or is_too_large


def _translated(error: Exception) -> Exception:
    if isinstance(error, RunwrightError | InternalError):
        return error
    refusal: Exception
    if isinstance(error, ValueError):
        refusal = StoreError(f"this can't be stored ({error})")
    else:
        refusal = InternalError(f"the store failed: {error!r}")
    refusal.__cause__ = error
    return refusal
