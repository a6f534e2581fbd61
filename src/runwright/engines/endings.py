"""Waits that outlast being asked to stop."""

import asyncio
from typing import Any


async def settled(task: "asyncio.Future[Any]", patience: float | None, hasty: float) -> None:
    """Wait until a task has ended, whatever its end is.

    Args:
        task: Cancelled when there is no more time for it, and then waited for.
        patience: Seconds that it may take; None for any time.
        hasty: Seconds that it may take from when we are asked to stop; only after that the cancellation comes out.
    """
    cancelled: asyncio.CancelledError | None = None
    while not task.done():
        try:
            done, _ = await asyncio.wait([task], timeout=patience)
        except asyncio.CancelledError as error:
            cancelled, patience = error, hasty
        else:
            if not done:
                task.cancel()
                patience = None
    if cancelled is not None:
        task.cancelled() or task.exception()  # nobody else hears it
        raise cancelled


async def stopped(*tasks: "asyncio.Future[Any]") -> None:
    """Cancel tasks and wait until each has ended; a cancellation of ours comes out then."""
    for task in tasks:
        task.cancel()
    cancelled: asyncio.CancelledError | None = None
    while waiting := [task for task in tasks if not task.done()]:
        try:
            await asyncio.wait(waiting)
        except asyncio.CancelledError as error:
            cancelled = error
    for task in tasks:
        if not task.cancelled():
            task.exception()  # nobody else hears it
    if cancelled is not None:
        raise cancelled
