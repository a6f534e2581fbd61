"""Hears that jobs have become ready, in this process or any other: LISTEN on a connection of its own."""

import select
import socket
import threading
from asyncio import Future, get_running_loop, to_thread
from collections.abc import Sequence
from contextlib import suppress

import psycopg

from runwright.adapters.postgres.address import Address
from runwright.adapters.postgres.connection import Connection, connect
from runwright.adapters.postgres.job_records import SQL
from runwright.core.errors import StoreError

_LISTEN = "LISTEN runwright_jobs"
_PAUSE_SECONDS = 0.5
"""Between two tries to get a lost connection back."""

_Waiter = tuple["Future[bool]", frozenset[str]]


class Bell:
    """Wakes those who wait for one of some queues. Its thread starts with the first of them.

    Once it listens, at first or again after its connection was lost, it looks for what it has missed.
    """

    def __init__(self, address: Address) -> None:
        self._address = address
        self._waiting: dict[int, _Waiter] = {}
        self._lock = threading.Lock()
        self._thread: threading.Thread | None = None
        self._stopped, self._stop = socket.socketpair()
        self._is_closed = False

    def expect(self, queues: Sequence[str]) -> "Future[bool]":
        """Return a future that completes when the bell rings for one of the queues; cancel it when done with it."""
        future: Future[bool] = get_running_loop().create_future()
        with self._lock:
            if self._is_closed:
                raise StoreError(f"{self._address.shown}: the store has been closed")
            self._waiting[id(future)] = (future, frozenset(queues))
            if self._thread is None:
                self._thread = threading.Thread(target=self._serve, name="runwright-bell", daemon=True)
                self._thread.start()
        return future

    def forget(self, future: "Future[bool]") -> None:
        """Ring for it no more."""
        with self._lock:
            self._waiting.pop(id(future), None)

    def ring(self, queues: frozenset[str] = frozenset()) -> None:
        """Wake those who wait for one of the queues; everybody if there is none."""
        with self._lock:
            woken = [
                future
                for future, theirs in self._waiting.values()
                if not queues or not queues.isdisjoint(theirs)
            ]
            for future in woken:
                del self._waiting[id(future)]
        for future in woken:
            with suppress(RuntimeError):  # the loop has been closed: nobody waits any more
                future.get_loop().call_soon_threadsafe(_wake, future)

    async def close(self) -> None:
        """Wake everybody, and end the thread; safe to call twice."""
        with self._lock:
            was_closed, self._is_closed = self._is_closed, True
            thread = self._thread
        if was_closed:
            return
        self._stop.close()
        if thread is not None:
            await to_thread(thread.join)
        self._stopped.close()
        self.ring()

    def _serve(self) -> None:
        while True:
            with suppress(psycopg.Error, StoreError), connect(self._address) as connection:
                self._listen(connection)
                return
            if self._is_stopped(_PAUSE_SECONDS):
                return

    def _listen(self, connection: Connection) -> None:
        """Ring until the bell is closed."""
        connection.execute(_LISTEN)
        self._ring_for_what_was_missed(connection)
        while not self._is_stopped(None, connection):
            heard = frozenset(notice.payload for notice in connection.notifies(timeout=0))
            if heard:
                self.ring(frozenset() if "" in heard else heard)

    def _ring_for_what_was_missed(self, connection: Connection) -> None:
        with self._lock:
            queues = {queue for _, theirs in self._waiting.values() for queue in theirs}
        ready = connection.execute(SQL["ready_queues"], (sorted(queues),)).fetchall()
        if ready:
            self.ring(frozenset(queue for (queue,) in ready))

    def _is_stopped(self, seconds: float | None, *others: Connection) -> bool:
        """Wait until the bell is closed, one of the connections has something to say, or time is up."""
        waiting = select.poll()
        for each in (self._stopped.fileno(), *(other.fileno() for other in others)):
            waiting.register(each, select.POLLIN)
        ready = waiting.poll(None if seconds is None else seconds * 1_000)
        return any(number == self._stopped.fileno() for number, _ in ready)


def _wake(future: "Future[bool]") -> None:
    if not future.done():
        future.set_result(True)
