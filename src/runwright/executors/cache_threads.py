"""Work with files of any size from an event loop."""

import asyncio
from collections.abc import Callable
from math import inf
from typing import Any, TypeVar

from runwright.executors.cache_files import Budget, TooMuch

T = TypeVar("T")

IN_PASSING_BYTES = 4 << 20
"""Files up to this size, all together, are read in the event loop; a thread is for more."""


async def in_passing(read: Callable[[Budget], T]) -> T:
    """Read files here if they are small, in a thread if not."""
    try:
        return read(Budget(IN_PASSING_BYTES))
    except TooMuch:
        return await in_thread(lambda: read(Budget(inf)), large=True)


async def in_thread(work: Callable[[], T], *, large: bool) -> T:
    """Do something in a thread if it takes long; a cancellation waits for it, because nothing can break it off."""
    if not large:
        return work()
    future = asyncio.get_running_loop().run_in_executor(None, work)
    try:
        return await asyncio.shield(future)
    except asyncio.CancelledError:
        await _ended(future)
        raise


async def _ended(future: "asyncio.Future[Any]") -> None:
    while not future.done():
        try:
            await asyncio.wait([future])
        except asyncio.CancelledError:
            continue
    future.exception()
