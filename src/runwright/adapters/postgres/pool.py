"""Links for code that is async: each is used by one thread, so a query keeps nobody else waiting."""

import threading
from asyncio import Future, get_running_loop, to_thread
from collections.abc import Callable
from contextlib import suppress
from queue import SimpleQueue
from typing import Any, TypeVar

from runwright.adapters.postgres.address import Address
from runwright.adapters.postgres.connection import PATIENCE_SECONDS, Link, Work
from runwright.core.errors import InternalError, RunwrightError, StoreError

T = TypeVar("T")
_Job = tuple["Future[Any]", Callable[[Link], Any]]


class Pool:
    """Does work on a few connections, which are opened when they are needed.

    Args:
        address: Of the database; bring its tables up to date first, with `Link.open`.
        size: Most connections.
        read_only: Have the server refuse every write.
        patience: Seconds to wait for a server that was lost.
    """

    def __init__(
        self, address: Address, size: int = 1, read_only: bool = False, patience: float = PATIENCE_SECONDS
    ) -> None:
        self._address = address
        self._size = size
        self._read_only = read_only
        self._patience = patience
        self._jobs: SimpleQueue[_Job | None] = SimpleQueue()
        self._links: list[Link] = []
        self._threads: list[threading.Thread] = []
        self._busy = 0
        self._lock = threading.Lock()
        self._closed = False

    async def run(self, work: Work[T]) -> T:
        """Do work on a connection; see `Link.run`.

        Raises:
            StoreError: If the store can't be used.
        """
        return await self.ask(lambda link: link.run(work))

    async def transaction(self, work: Work[T]) -> T:
        """Do work in one transaction; see `Link.run`."""
        return await self.ask(lambda link: link.transaction(work))

    async def ask(self, question: Callable[[Link], T]) -> T:
        """Call a function with a link, in that link's thread."""
        if self._closed:
            raise StoreError(f"{self._address.shown}: the store has been closed")
        answer: Future[T] = get_running_loop().create_future()
        self._jobs.put((answer, question))
        self._start_if_needed()
        return await answer

    async def close(self) -> None:
        """End the work that was begun, and close the connections; safe to call twice."""
        self._closed = True
        for _ in self._threads:
            self._jobs.put(None)
        threads, self._threads = self._threads, []
        for link in self._links:
            link.give_up()
        for thread in threads:
            await to_thread(thread.join)
        for link in self._links:
            link.close()

    def _start_if_needed(self) -> None:
        with self._lock:
            self._busy += 1
            if self._busy <= len(self._threads) or len(self._threads) >= self._size:
                return
            link = Link(self._address, self._read_only, self._patience)
            self._links.append(link)
            thread = threading.Thread(
                target=self._serve, args=(link,), name="runwright-postgres", daemon=True
            )
            self._threads.append(thread)
        thread.start()

    def _serve(self, link: Link) -> None:
        while (job := self._jobs.get()) is not None:
            answer, question = job
            found, error = None, None
            try:
                found = question(link)
            except Exception as caught:
                error = _named(caught)
            with self._lock:
                self._busy -= 1
            with suppress(RuntimeError):  # the loop has been closed: nobody waits any more
                answer.get_loop().call_soon_threadsafe(_resolve, answer, found, error)
            del job, answer, question, found, error  # nothing is kept while this waits


def _named(error: Exception) -> Exception:
    """Return an error as those who wait may see it: what is none of ours is our bug."""
    if isinstance(error, RunwrightError | InternalError):
        return error
    bug = InternalError(f"the store failed: {error!r}")
    bug.__cause__ = error
    return bug


def _resolve(answer: "Future[Any]", found: object, error: Exception | None) -> None:
    if answer.done():
        return  # the caller was cancelled
    if error is None:
        answer.set_result(found)
    else:
        answer.set_exception(error)
