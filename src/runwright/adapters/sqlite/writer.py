"""The one thread that writes: it takes everything that waits, writes it in one transaction, and answers all at once.

The thread shares the interpreter lock with the engine's loop, and SQLite gives the lock up around every step of a
statement; with a busy loop each of them can cost a switch interval (5 ms) to get it back. So a batch is one statement
per run, and its answers wake each loop once.
"""

import threading
from asyncio import AbstractEventLoop, Future, get_running_loop
from collections.abc import Callable, Sequence
from contextlib import suppress
from queue import Empty, SimpleQueue
from typing import Any

import apsw

from runwright.adapters.failpoints import failpoint
from runwright.adapters.sqlite.connection import rollback
from runwright.adapters.sqlite.errors import explain, patiently
from runwright.adapters.sqlite.records import SQL, Head, batch_parameters
from runwright.core.chain import canonical, links
from runwright.core.errors import InternalError, LeaseLost, RunwrightError, StoreError
from runwright.core.events import AnyEvent
from runwright.core.lease import lost_text
from runwright.core.project import Changes
from runwright.core.run import Lease

Action = Callable[[apsw.Connection], Any]
"""What to do in a transaction of its own."""

LINGER_SECONDS = 0.02
"""Longest that a commit nobody waits for is put off; a commit costs about as much as ten events."""

_MOST_TRIES = 100

_REFUSALS = (apsw.ConstraintError, apsw.SQLError, TypeError, ValueError, RecursionError)
"""Errors that are about what is written, not about the disk."""

_STALE = "stale lease"
"""What the batch's trigger says if the run's token or head is not the expected one."""


class Append:
    """A call of `append` that waits for its commit."""

    __slots__ = ("events", "future", "lazy", "lease")

    def __init__(self, future: "Future[None]", lease: Lease, events: Sequence[AnyEvent], lazy: bool) -> None:
        self.future = future
        self.lazy = lazy
        self.lease = lease
        self.events = events


class Call:
    """Any other write that waits; without an action it ends the thread."""

    __slots__ = ("action", "future")
    lazy = False

    def __init__(self, future: "Future[Any]", action: Action | None) -> None:
        self.future = future
        self.action = action


class RunBatch:
    """The events of one run that go into one commit."""

    __slots__ = ("appends", "bodies", "changes", "head", "run_id")

    def __init__(self, run_id: str, head: Head) -> None:
        self.run_id = run_id
        self.head = head
        self.changes = Changes(head.seq)
        self.bodies: list[bytes] = []
        self.appends: list[Append] = []

    def add(self, events: Sequence[AnyEvent]) -> None:
        """Take in the events of one call, all or none of them.

        Raises:
            StoreError: If one of them has no JSON.
        """
        try:
            bodies = canonical(events)
        except (TypeError, ValueError, RecursionError) as error:
            raise StoreError(f"an event of run {self.run_id} can't be written as JSON ({error})") from error
        self.bodies += bodies
        self.changes.extend(events)

    def write(self, connection: apsw.Connection) -> Head:
        """Write everything in one statement; return the new end of the log."""
        head = self.head
        hashes = links(head.hash, head.seq + 1, self.run_id, self.bodies)
        connection.execute(SQL["write_batch"], batch_parameters(head, self.bodies, hashes, self.changes))
        return Head(head.key, head.token, head.seq + len(hashes), hashes[-1] if hashes else head.hash)


class Answers:
    """Results on their way to the loops that wait for them."""

    def __init__(self) -> None:
        self._waiting: dict[AbstractEventLoop, list[tuple[Future[Any], Any, Exception | None]]] = {}

    def add(self, future: "Future[Any]", result: Any = None, error: Exception | None = None) -> None:
        """Keep a result until `send`."""
        self._waiting.setdefault(future.get_loop(), []).append((future, result, error))

    def send(self) -> None:
        """Wake each loop once."""
        for loop, results in self._waiting.items():
            try:
                loop.call_soon_threadsafe(_resolve, results)
            except RuntimeError:
                continue  # the loop has been closed: nobody waits any more
        self._waiting = {}


def _resolve(results: "list[tuple[Future[Any], Any, Exception | None]]") -> None:
    for future, result, error in results:
        if future.done():
            continue  # the caller was cancelled; what it wrote stands
        if error is None:
            future.set_result(result)
        else:
            future.set_exception(error)


class Writer:
    """Owns the connection that writes, from its first use on in a thread of its own."""

    def __init__(self, path: str, connection: apsw.Connection) -> None:
        self._path = path
        self._connection = connection
        self._queue: SimpleQueue[Append | Call] = SimpleQueue()
        self._thread: threading.Thread | None = None
        self._starting = threading.Lock()
        self._haste = threading.Lock()
        self._haste.acquire()
        self._closed = False
        self._broken: StoreError | None = None
        self._heads: dict[str, Head] = {}
        self._answers = Answers()

    def append(self, lease: Lease, events: Sequence[AnyEvent], *, lazy: bool) -> "Future[None]":
        """Queue events; the future completes when they are durable."""
        future: Future[None] = get_running_loop().create_future()
        self._put(Append(future, lease, events, lazy))
        return future

    def hurry(self) -> None:
        """Wake the thread if it puts a commit off."""
        with suppress(RuntimeError):  # it has been woken already
            self._haste.release()

    def call(self, action: Action) -> "Future[Any]":
        """Queue an action that gets a transaction of its own; the future has its result."""
        future: Future[Any] = get_running_loop().create_future()
        self._put(Call(future, action))
        return future

    async def close(self) -> None:
        """Wait until everything queued is durable, end the thread and close the connection."""
        if self._closed:
            return
        thread = self._thread
        if thread is not None:
            future: Future[None] = get_running_loop().create_future()
            self._put(Call(future, None))
            self._closed = True
            await future
            thread.join()
        self._closed = True
        with suppress(
            apsw.Error
        ):  # what was acknowledged is safe in the log even if it can't be moved into the file
            self._connection.close()

    def remember(self, run_id: str, head: Head) -> None:
        """Note the end of a run's log, as just written; called by actions in the thread."""
        self._heads[run_id] = head

    def forget(self, run_id: str) -> None:
        """Drop what is known of a run's log, as its lease changes; called by actions in the thread."""
        self._heads.pop(run_id, None)

    def _put(self, job: Append | Call) -> None:
        if self._closed:
            job.future.set_exception(StoreError(f"{self._path}: the store has been closed"))
            return
        self._queue.put(job)
        if not job.lazy:
            self.hurry()
        if self._thread is None:
            self._start()

    def _start(self) -> None:
        with self._starting:
            if self._thread is None:
                self._thread = threading.Thread(target=self._serve, name="runwright-store", daemon=True)
                self._thread.start()

    def _serve(self) -> None:
        ended = False
        while not ended:
            appends: list[Append] = []
            for job in self._take():
                if isinstance(job, Append):
                    appends.append(job)
                    continue
                self._commit(appends)
                appends = []
                ended = job.action is None
                self._perform(job)
            self._commit(appends)

    def _take(self) -> list[Append | Call]:
        jobs = [self._queue.get()]
        if jobs[0].lazy:
            self._haste.acquire(timeout=LINGER_SECONDS)
        # Before the queue is emptied, not after: then nobody who is in haste goes unheard.
        self._haste.acquire(blocking=False)
        with suppress(Empty):
            while True:
                jobs.append(self._queue.get_nowait())
        return jobs

    def _perform(self, job: Call) -> None:
        """Do one action in its transaction and answer it."""
        try:
            result = None if job.action is None else patiently(lambda: self._in_transaction(job.action))  # type: ignore[arg-type]
            self._answers.add(job.future, result)
        except Exception as error:
            self._heads.clear()
            self._answers.add(job.future, error=self._translate(error))
        self._answers.send()

    def _in_transaction(self, action: Action) -> Any:
        if self._broken is not None:
            raise self._broken
        connection = self._connection
        connection.execute("BEGIN IMMEDIATE")
        try:
            result = action(connection)
            failpoint("store.before_commit")
            connection.execute("COMMIT")
            failpoint("store.after_commit")
        except BaseException:
            rollback(connection)
            raise
        return result

    def _commit(self, appends: list[Append]) -> None:
        """Write the events of many calls in one commit and answer them all."""
        if not appends:
            return
        try:
            for append, refusal in self._write(appends):
                self._answers.add(append.future, error=refusal)
        except Exception as error:
            self._heads.clear()
            refusal = self._translate(error)
            for append in appends:
                self._answers.add(append.future, error=refusal)
        self._answers.send()

    def _write(self, appends: list[Append]) -> list[tuple[Append, Exception | None]]:
        """Write what may be written; return each call with the error that it alone gets."""
        for _ in range(_MOST_TRIES):
            if self._broken is not None:
                raise self._broken
            batches, refused = self._plan(appends)
            try:
                patiently(lambda batches=batches: self._write_batches(batches))  # type: ignore[misc]
            except _REFUSALS as error:
                if _STALE in str(error):
                    self._heads.clear()  # a lease has passed on since its head was read: look again
                    continue
                if len(appends) == 1:
                    raise StoreError(f"{self._path}: these events can't be stored ({error})") from error
                return [self._write_alone(append) for append in appends]
            else:
                done: list[tuple[Append, Exception | None]] = [(a, None) for b in batches for a in b.appends]
                return done + refused
        raise StoreError(
            f"{self._path}: the store changes all the time under this process; is the same lease used twice?"
        )

    def _write_alone(self, append: Append) -> tuple[Append, Exception | None]:
        """Write one call of a batch that SQLite refused, so that only the guilty one fails."""
        try:
            return self._write([append])[0]
        except StoreError as error:
            return append, error

    def _write_batches(self, batches: list[RunBatch]) -> None:
        """Write all or none, and note the new ends of the logs."""
        if not batches:
            return
        failpoint("store.before_commit")
        alone = len(batches) == 1  # one statement is a transaction by itself
        heads = [batches[0].write(self._connection)] if alone else self._write_together(batches)
        failpoint("store.after_commit")
        self._heads.update(zip((batch.run_id for batch in batches), heads, strict=True))

    def _write_together(self, batches: list[RunBatch]) -> list[Head]:
        self._connection.execute("BEGIN IMMEDIATE")
        try:
            heads = [batch.write(self._connection) for batch in batches]
            self._connection.execute("COMMIT")
        except BaseException:
            rollback(self._connection)
            raise
        return heads

    def _plan(self, appends: list[Append]) -> tuple[list[RunBatch], list[tuple[Append, Exception | None]]]:
        """Sort the calls by run; those whose lease is stale or whose events have no JSON are refused."""
        batches: dict[str, RunBatch] = {}
        refused: list[tuple[Append, Exception | None]] = []
        for append in appends:
            run_id = append.lease.run_id
            try:
                batch = batches.get(run_id)
                if batch is None or batch.head.token != append.lease.token:
                    head = self._head(append.lease)
                    batch = batches.setdefault(run_id, RunBatch(run_id, head))
                batch.add(append.events)
                batch.appends.append(append)
            except (LeaseLost, StoreError) as error:
                refused.append((append, error))
        return list(batches.values()), refused

    def _head(self, lease: Lease) -> Head:
        """Return the end of the run's log; the lease is checked again as the batch is written."""
        head = self._heads.get(lease.run_id)
        if head is None:
            head = read_head(self._connection, lease)
            self._heads[lease.run_id] = head
        if head.token != lease.token:
            raise LeaseLost(lost_text(lease.run_id, lease.token))
        return head

    def _translate(self, error: Exception) -> Exception:
        """Return the error for those who wait; one of the disk also refuses every later write."""
        if isinstance(error, RunwrightError | InternalError):
            return error
        if not isinstance(error, apsw.Error | OSError):
            return InternalError(f"the writer of the store failed: {error!r}")
        refusal = explain(self._path, error)
        refusal.__cause__ = error
        if not isinstance(error, apsw.BusyError | apsw.ConstraintError):
            self._broken = refusal
        return refusal


def read_head(connection: apsw.Connection, lease: Lease) -> Head:
    """Return the end of a run's log.

    Raises:
        LeaseLost: If the lease is stale.
    """
    for key, token, held, seq, digest in connection.execute(SQL["head"], {"id": lease.run_id}):
        if held and token == lease.token:
            return Head(key, token, seq, digest)
    raise LeaseLost(lost_text(lease.run_id, lease.token))
