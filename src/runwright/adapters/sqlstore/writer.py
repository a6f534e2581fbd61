"""The one thread that writes: it takes everything that waits, writes it in one transaction, and answers all at once.

The thread shares the interpreter lock with the engine's loop, and a database's library gives the lock up around every
step of a statement; with a busy loop each of them can cost a switch interval (5 ms) to get it back. So a batch is one
statement per run, and its answers wake each loop once.
"""

import threading
from abc import ABC, abstractmethod
from asyncio import AbstractEventLoop, Future, get_running_loop
from collections.abc import Callable, Sequence
from contextlib import suppress
from queue import Empty, SimpleQueue
from typing import Any, Generic, TypeVar

from runwright.adapters.sqlstore.batches import Append, RunBatch
from runwright.adapters.sqlstore.records import Head
from runwright.core.errors import InternalError, LeaseLost, RunwrightError, StoreError
from runwright.core.events import AnyEvent
from runwright.core.lease import lost_text
from runwright.core.run import Lease

LINGER_SECONDS = 0.02
"""Longest that a commit nobody waits for is put off; a commit costs about as much as ten events."""

_MOST_TRIES = 100

C = TypeVar("C")


class Stale(Exception):
    """A run's token or head is not the one that a batch expects."""


class Refused(Exception):
    """The database is sound, but does not take what was to be written."""


class Unusable(Exception):
    """The database can't be used any more; every later write is refused, too."""

    def __init__(self, refusal: StoreError) -> None:
        self.refusal = refusal
        super().__init__(str(refusal))


class Call(Generic[C]):
    """Any other write that waits; without an action it ends the thread."""

    __slots__ = ("action", "future")
    lazy = False

    def __init__(self, future: "Future[Any]", action: "Callable[[C], Any] | None") -> None:
        self.future = future
        self.action = action


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


class Writer(ABC, Generic[C]):
    """Owns the connection that writes, from its first use on in a thread of its own.

    Args:
        place: How messages name the store.
    """

    def __init__(self, place: str) -> None:
        self._place = place
        self._queue: SimpleQueue[Append | Call[C]] = SimpleQueue()
        self._thread: threading.Thread | None = None
        self._starting = threading.Lock()
        self._haste = threading.Lock()
        self._haste.acquire()
        self._closed = False
        self._broken: StoreError | None = None
        self._heads: dict[str, Head] = {}
        self._answers = Answers()

    @abstractmethod
    def transact(self, action: Callable[[C], Any]) -> Any:
        """Do an action in a transaction of its own."""

    @abstractmethod
    def write_batches(self, batches: list[RunBatch], heads: list[Head]) -> None:
        """Write all or none in one commit, so that the logs have these new ends.

        Raises:
            Stale: If one of them does not continue its run.
            Refused: If the database does not take what is in them.
        """

    @abstractmethod
    def read_head(self, lease: Lease) -> Head:
        """Return the end of a run's log.

        Raises:
            LeaseLost: If the lease is stale.
        """

    @abstractmethod
    def explain(self, error: Exception) -> Exception:
        """Return what stands for a vendor's error; `Unusable` if nothing more can be written."""

    @abstractmethod
    def free(self) -> None:
        """Close the connection; it is not used any more."""

    def append(self, lease: Lease, events: Sequence[AnyEvent], *, lazy: bool) -> "Future[None]":
        """Queue events; the future completes when they are durable."""
        future: Future[None] = get_running_loop().create_future()
        self._put(Append(future, lease, events, lazy))
        return future

    def hurry(self) -> None:
        """Wake the thread if it puts a commit off."""
        with suppress(RuntimeError):  # it has been woken already
            self._haste.release()

    def call(self, action: Callable[[C], Any]) -> "Future[Any]":
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
        self.free()

    def remember(self, run_id: str, head: Head) -> None:
        """Note the end of a run's log, as just written; called by actions in the thread."""
        self._heads[run_id] = head

    def forget(self, run_id: str) -> None:
        """Drop what is known of a run's log, as its lease changes; called by actions in the thread."""
        self._heads.pop(run_id, None)

    def _put(self, job: Append | Call[C]) -> None:
        if self._closed:
            job.future.set_exception(StoreError(f"{self._place}: the store has been closed"))
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

    def _take(self) -> list[Append | Call[C]]:
        jobs = [self._queue.get()]
        if jobs[0].lazy:
            self._haste.acquire(timeout=LINGER_SECONDS)
        # Before the queue is emptied, not after: then nobody who is in haste goes unheard.
        self._haste.acquire(blocking=False)
        with suppress(Empty):
            while True:
                jobs.append(self._queue.get_nowait())
        return jobs

    def _perform(self, job: Call[C]) -> None:
        """Do one action in its transaction and answer it."""
        try:
            result = None
            if job.action is not None:
                self._check_usable()
                result = self.transact(job.action)
            self._answers.add(job.future, result)
        except Exception as error:
            self._heads.clear()
            self._answers.add(job.future, error=self._translate(error))
        self._answers.send()

    def _check_usable(self) -> None:
        if self._broken is not None:
            raise self._broken

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
            self._check_usable()
            batches, refused = self._plan(appends)
            try:
                self._write_and_note(batches)
            except Stale:
                self._heads.clear()  # a lease has passed on since its head was read: look again
            except (Refused, TypeError, ValueError, RecursionError) as error:
                if len(appends) == 1:
                    raise StoreError(f"{self._place}: these events can't be stored ({error})") from error
                return [self._write_alone(append) for append in appends]
            else:
                done: list[tuple[Append, Exception | None]] = [(a, None) for b in batches for a in b.appends]
                return done + refused
        raise StoreError(
            f"{self._place}: the store changes all the time under this process; is the same lease used twice?"
        )

    def _write_alone(self, append: Append) -> tuple[Append, Exception | None]:
        """Write one call of a batch that the database refused, so that only the guilty one fails."""
        try:
            return self._write([append])[0]
        except StoreError as error:
            return append, error

    def _write_and_note(self, batches: list[RunBatch]) -> None:
        if batches:
            heads = [batch.seal() for batch in batches]
            self.write_batches(batches, heads)
            self._heads.update(zip((batch.run_id for batch in batches), heads, strict=True))

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
            head = self.read_head(lease)
            self._heads[lease.run_id] = head
        if head.token != lease.token:
            raise LeaseLost(lost_text(lease.run_id, lease.token))
        return head

    def _translate(self, error: Exception) -> Exception:
        """Return the error for those who wait; one that makes the store unusable also refuses every later write."""
        if isinstance(error, RunwrightError | InternalError):
            return error
        explained = error if isinstance(error, Unusable) else self.explain(error)
        if isinstance(explained, Unusable):
            self._broken = explained.refusal
            return explained.refusal
        return explained
