"""Runs on their way: each is driven by a task of its own, which a cancelled caller stops and waits for."""

import asyncio
from collections.abc import Callable, Coroutine
from typing import Any, Protocol, TypeVar

CALLER_GONE = "the caller cancelled it"
"""Why a run stops whose caller is cancelled."""

T = TypeVar("T")


class Driver(Protocol):
    """What drives one run."""

    def stop(self, reason: str) -> None:
        """Start nothing more, and bring what runs to its end."""
        ...


class Course:
    """One run on its way, from before it is recorded; it can be stopped at any time.

    Attributes:
        reason: Why it was stopped; empty while it was not.
    """

    def __init__(self, reason: str) -> None:
        self.reason = reason
        self._driver: Driver | None = None

    def stop(self, reason: str) -> None:
        """Stop the run, now or as soon as it is driven."""
        self.reason = reason
        if self._driver is not None:
            self._driver.stop(reason)

    def steer(self, driver: Driver) -> None:
        """Let a driver be stopped from here on, at once if that was asked for already."""
        self._driver = driver
        if self.reason:
            driver.stop(self.reason)


class Courses:
    """The runs that one engine drives.

    Args:
        skip_grace: Ends at once what is being stopped.
    """

    def __init__(self, skip_grace: Callable[[], None]) -> None:
        self._skip_grace = skip_grace
        self._courses: set[Course] = set()
        self._stop_reason = ""

    def stop(self, reason: str) -> None:
        """Stop all runs, those to come too; the second call skips the grace of what is being stopped."""
        if self._stop_reason:
            self._skip_grace()
        self._stop_reason = reason
        for course in tuple(self._courses):
            course.stop(reason)

    async def to_the_end(self, drive: Callable[[Course], Coroutine[Any, Any, T]]) -> T:
        """Drive one run to its end; being cancelled stops it first."""
        course = Course(self._stop_reason)
        self._courses.add(course)
        driving = asyncio.ensure_future(drive(course))
        try:
            return await asyncio.shield(driving)
        except asyncio.CancelledError:
            await self._stop_and_wait(course, driving)
            raise
        finally:
            self._courses.discard(course)

    async def _stop_and_wait(self, course: Course, driving: "asyncio.Future[T]") -> None:
        """Stop one run and wait for its end; who cancels once more has its grace skipped."""
        while not driving.done():
            if course.reason == CALLER_GONE:
                self._skip_grace()
            course.stop(CALLER_GONE)
            try:
                await asyncio.wait([driving])
            except asyncio.CancelledError:
                continue
        if not driving.cancelled():
            driving.exception()
