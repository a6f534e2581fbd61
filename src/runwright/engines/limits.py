"""Time limits of work that may be made of several parts."""

import asyncio
from collections.abc import Awaitable
from typing import TypeVar

from msgspec import Struct

from runwright.core.errors import Failure, TaskFailed

T = TypeVar("T")


class Limit(Struct, frozen=True):
    """Seconds that something may take, and the time of the event loop at which they are over."""

    seconds: float
    at: float


def limit_of(seconds: float) -> Limit:
    """Return the limit of something that begins now."""
    return Limit(seconds, asyncio.get_running_loop().time() + seconds)


async def within(work: Awaitable[T], limit: Limit) -> T:
    """Do a part of some work within its limit.

    Raises:
        TaskFailed: With code ``E_TIMEOUT``.
    """
    timer: asyncio.Timeout | None = None
    try:
        async with asyncio.timeout_at(limit.at) as timer:
            done = await work
    except TimeoutError:
        if timer is None or not timer.expired():
            raise
        raise _late(limit) from TimeoutError(_message(limit))
    if timer.expired():  # it could not be broken off, and has come to its end
        raise _late(limit) from TimeoutError(_message(limit))
    return done


def _late(limit: Limit) -> TaskFailed:
    return TaskFailed(Failure(code="E_TIMEOUT", message=_message(limit)))


def _message(limit: Limit) -> str:
    return f"took longer than its limit of {limit.seconds:g} s"
