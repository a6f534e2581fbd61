"""What an object of the library has under way, each in the event loop of its caller."""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Generic, TypeVar

from runwright.engines.course import Course, Courses

T = TypeVar("T")


class Underway(Generic[T]):
    """Executions that are under way; they can be stopped from any thread."""

    def __init__(self) -> None:
        self._loops: dict[Course, asyncio.AbstractEventLoop] = {}

    def stop(self, reason: str) -> None:
        """Stop all of them."""
        for course, loop in tuple(self._loops.items()):
            if _runs_here(loop):
                course.stop(reason)
            else:
                loop.call_soon_threadsafe(course.stop, reason)

    async def to_the_end(
        self, drive: Callable[[Course], Awaitable[T]], cancelled: Callable[[T | None], BaseException]
    ) -> T:
        """Drive something to its end, whatever becomes of the caller, and return what came of it.

        Args:
            drive: Drives it.
            cancelled: Makes the error that a cancelled caller gets, given what came of it, if anything did.
        """
        outcomes: list[T] = []

        async def driven(course: Course) -> None:
            self._loops[course] = asyncio.get_running_loop()
            try:
                outcomes.append(await drive(course))
            finally:
                del self._loops[course]

        try:
            await Courses(_nothing).to_the_end(driven)
        except asyncio.CancelledError as error:
            raise cancelled(outcomes[0] if outcomes else None) from error
        return outcomes[0]


def _runs_here(loop: asyncio.AbstractEventLoop) -> bool:
    try:
        return asyncio.get_running_loop() is loop
    except RuntimeError:
        return False


def _nothing() -> None:
    """Skip no grace: functions have none."""
