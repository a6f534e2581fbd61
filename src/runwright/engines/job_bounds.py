"""Bounds of what a job does: how long, and how much disk its workspace takes."""

import asyncio
from collections.abc import Callable, Coroutine
from typing import Any

from runwright.core.duration import format_duration
from runwright.engines.endings import stopped
from runwright.engines.job_tools import failed
from runwright.ports.job_places import JobPlaces
from runwright.ports.jobs import JobPlace
from runwright.ports.system import Clock, Exit

Work = Callable[[], Coroutine[Any, Any, Exit]]

LOOK_SECONDS = 1.0
"""Between two looks at the size of a workspace."""

LOOK_SHARE = 10
"""A look that takes long is followed by a pause so many times as long."""


async def within_time(work: Work, seconds: float) -> Exit:
    """Do something, but no longer than it may take.

    Args:
        work: What is done; it is cancelled when its time is over.
        seconds: 0 for any time.

    Raises:
        TaskFailed: With code ``E_TIMEOUT``.
    """
    try:
        async with asyncio.timeout(seconds or None):
            return await work()
    except TimeoutError:
        message = f"the step took longer than the {format_duration(seconds)} that this worker allows"
        raise failed("E_TIMEOUT", message) from None


class DiskBound:
    """The most disk that a workspace may take.

    Args:
        places: Measures it.
        place: Whose workspace.
        clock: Time.
    """

    def __init__(self, places: JobPlaces, place: JobPlace, clock: Clock) -> None:
        self._places = places
        self._place = place
        self._clock = clock
        self._limit = place.limits.disk_bytes

    async def hold(self, work: Work) -> Exit:
        """Do something while the workspace is watched; when it is too large, that is cancelled.

        Raises:
            TaskFailed: With code ``E_DISK``.
        """
        if not self._limit:
            return await work()
        working = asyncio.ensure_future(work())
        watching = asyncio.ensure_future(self._overrun())
        try:
            await asyncio.wait([working, watching], return_when=asyncio.FIRST_COMPLETED)
            is_over = not working.done()
        finally:
            await stopped(working, watching)
        if is_over or await self._is_over():
            raise failed("E_DISK", self._message())
        return working.result()

    async def _overrun(self) -> None:
        """Return when the workspace is too large."""
        pause = LOOK_SECONDS
        while True:
            await self._clock.sleep(pause)
            began = self._clock.monotonic()
            if await self._is_over():
                return
            pause = max(LOOK_SECONDS, LOOK_SHARE * (self._clock.monotonic() - began))

    async def _is_over(self) -> bool:
        return await self._places.used_bytes(self._place, self._limit) > self._limit

    def _message(self) -> str:
        return (
            f"the workspace takes more than the {self._limit:,} bytes of disk that this worker allows, "
            "or has too many files to tell"
        )
