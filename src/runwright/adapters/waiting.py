"""Work that goes on to its end whatever asks us to stop waiting for it."""

import asyncio
from collections.abc import Callable, Coroutine
from threading import Event
from typing import Any, TypeVar

T = TypeVar("T")


def _nothing() -> None:
    """Let the work go on as it does."""


async def to_the_end(work: Coroutine[Any, Any, T], on_cancel: Callable[[], None] = _nothing) -> T:
    """Wait for some work; a cancellation comes out once it has ended.

    Args:
        work: Must end by itself, and soon.
        on_cancel: Called when we are asked to stop, to make the work end sooner.
    """
    task = asyncio.ensure_future(work)
    cancelled: asyncio.CancelledError | None = None
    while not task.done():
        try:
            await asyncio.wait([task])
        except asyncio.CancelledError as error:
            cancelled = error
            on_cancel()
    if cancelled is not None:
        retrieved(task)
        raise cancelled
    return task.result()


async def in_thread(work: Callable[[Event], T]) -> T:
    """Do something in a thread; a cancellation comes out once that has ended, so that what comes next does not meet it.

    Args:
        work: Called with what is set when it should give up.
    """
    stop = Event()
    return await to_the_end(asyncio.to_thread(work, stop), stop.set)


def retrieved(task: "asyncio.Future[Any]") -> None:
    """Look at the error of a task that nobody else may ask for."""
    if not task.cancelled():
        task.exception()
