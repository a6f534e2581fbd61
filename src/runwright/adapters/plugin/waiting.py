"""Work that goes on to its end whatever asks us to stop waiting for it."""

import asyncio
from collections.abc import Coroutine
from typing import Any, TypeVar

T = TypeVar("T")


async def to_the_end(work: Coroutine[Any, Any, T]) -> T:
    """Wait for some work; a cancellation comes out once it has ended.

    Args:
        work: Must end by itself, and soon.
    """
    task = asyncio.ensure_future(work)
    cancelled: asyncio.CancelledError | None = None
    while not task.done():
        try:
            await asyncio.wait([task])
        except asyncio.CancelledError as error:
            cancelled = error
    if cancelled is not None:
        retrieved(task)
        raise cancelled
    return task.result()


def retrieved(task: "asyncio.Future[Any]") -> None:
    """Look at the error of a task that nobody else may ask for."""
    if not task.cancelled():
        task.exception()
