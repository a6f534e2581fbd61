"""One thread for plain functions, so that what one of them opens, such as a database, another may use."""

import asyncio
from collections.abc import Callable
from contextvars import copy_context
from queue import SimpleQueue
from threading import Thread
from typing import Any, TypeVar

T = TypeVar("T")

GRACE_SECONDS = 10.0
"""How long a call that is cancelled waits for its function before it leaves it behind."""

_Job = tuple["asyncio.Future[Any]", Callable[[], Any]]


class OneThread:
    """Calls functions in a thread of its own, one after another.

    A function that is left behind keeps its thread, and the next call gets a new one; if it has not begun, it never does. The threads don't keep the process
    from ending.

    Args:
        grace: Seconds that a cancelled call waits for its function.
    """

    def __init__(self, grace: float = GRACE_SECONDS) -> None:
        self._grace = grace
        self._jobs: SimpleQueue[_Job | None] | None = None

    async def call(self, function: Callable[[], T]) -> T:
        """Call a function in the thread; see `Threads`."""
        answer: asyncio.Future[T] = asyncio.get_running_loop().create_future()
        context = copy_context()
        self._queue().put((answer, lambda: context.run(function)))
        try:
            return await asyncio.shield(answer)
        except asyncio.CancelledError:
            await self._wait_or_leave(answer)
            if answer.cancelled():
                raise
            return answer.result()  # nothing was broken off: what it has done counts

    def close(self) -> None:
        """Let the thread end once it is free; safe to call twice."""
        if self._jobs is not None:
            self._jobs.put(None)
            self._jobs = None

    async def _wait_or_leave(self, answer: "asyncio.Future[T]") -> None:
        """Wait for a function whose call was cancelled; who cancels once more has the grace skipped."""
        try:
            await asyncio.wait([answer], timeout=self._grace)
        finally:
            if answer.cancel():
                self.close()

    def _queue(self) -> "SimpleQueue[_Job | None]":
        if self._jobs is None:
            self._jobs = SimpleQueue()
            Thread(target=_serve, args=(self._jobs,), name="runwright-functions", daemon=True).start()
        return self._jobs


def _serve(jobs: "SimpleQueue[_Job | None]") -> None:
    while (job := jobs.get()) is not None:
        answer, function = job
        if answer.cancelled():
            continue  # it was left behind before it began
        value, error = None, None
        try:
            value = function()
        except BaseException as caught:
            error = caught
        try:
            answer.get_loop().call_soon_threadsafe(_resolve, answer, value, error)
        except RuntimeError:
            return  # the loop has been closed: nobody waits any more
        del job, answer, function, value, error  # nothing is kept while this waits


def _resolve(answer: "asyncio.Future[Any]", value: Any, error: BaseException | None) -> None:
    if answer.done():
        return
    if error is None:
        answer.set_result(value)
    elif isinstance(error, StopIteration):  # a future can't hold it
        answer.set_exception(RuntimeError(f"it raised {error!r}"))
    else:
        answer.set_exception(error)
