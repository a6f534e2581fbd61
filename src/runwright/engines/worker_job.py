"""One job of a worker: from its confirmed lease to the last word on it."""

import asyncio
from collections.abc import Awaitable, Callable
from contextlib import suppress
from enum import StrEnum

from msgspec import Struct

from runwright.core.duration import format_duration
from runwright.core.errors import LeaseLost, Refused, RemoteError
from runwright.core.job_rows import Verdict
from runwright.engines.job_run import JobEnd
from runwright.engines.lease_clock import HeldJob
from runwright.engines.leased_source import LeasedSource
from runwright.ports.jobs import GivenJob, JobSource
from runwright.ports.system import Clock, process_group

LOOK_SECONDS = 1.0
"""How often a job's lease is looked at, whatever else wakes its watcher."""

LONGEST_PAUSE = 5.0
"""Seconds between two tries to deliver the last word on a job, at most."""

FIRST_PAUSE = 0.25


RunJob = Callable[[GivenJob, JobSource], Awaitable[JobEnd]]


class Cause(StrEnum):
    """Why a job was stopped before its end."""

    LOST = "its lease has passed on"
    OUT_OF_TOUCH = "the server could not be reached before its lease ended"
    CANCELED = "canceled"
    OVERTIME = "it took too long"
    DRAINED = "the worker stops"


class JobDoors(Struct, frozen=True, kw_only=True):
    """What working on a job needs.

    Attributes:
        run: Runs the job, whose log goes to a source; cancelling it stops the job, takes it down and raises.
        kill: Has what is being stopped of a process group killed without its grace.
        source: Takes the last word on it.
        clock: Time.
        draw: Random numbers in [0, 1).
        say: Tells the worker's own log.
    """

    run: RunJob
    kill: Callable[[str], None]
    source: JobSource
    clock: Clock
    draw: Callable[[], float]
    say: Callable[[str], None]


class WorkedJob:
    """Runs a job for as long as its lease holds, and nobody wants it stopped.

    Args:
        held: The job.
        doors: What working on it needs.
        max_seconds: How long it may take; 0 for any time.
    """

    def __init__(self, held: HeldJob, doors: JobDoors, max_seconds: float) -> None:
        self._held = held
        self._doors = doors
        self._source = LeasedSource(doors.source, held, doors.clock.monotonic)
        self._max_seconds = max_seconds
        self._group = f"{held.given.uid}-{held.given.attempt}"
        self._task: asyncio.Task[JobEnd] | None = None
        self._cause: Cause | None = None
        self._handing_back = ""
        self._is_hasty = False
        self._is_killed = False
        self._limit_at = 0.0

    def hand_back(self, reason: str, *, at_once: bool) -> None:
        """Have the job stopped and given back; `at_once` skips its grace."""
        self._handing_back = self._handing_back or reason
        self._is_hasty = self._is_hasty or at_once
        self._held.changed.set()

    async def work(self) -> JobEnd | None:
        """Work on the job; returns how it ended, None if nobody wants to know."""
        self._held.is_settled = True
        if not await self._is_confirmed():
            return None
        self._held.is_settled = False
        self._limit_at = self._now() + self._max_seconds if self._max_seconds else float("inf")
        self._start()
        try:
            await self._watch()
        except asyncio.CancelledError:
            await self._abort()
            raise
        self._held.is_settled = True
        return self._end()

    async def report(self, end: JobEnd) -> bool:
        """Deliver the last word, again and again until it is answered or the lease has ended; tells whether it was."""
        pause = FIRST_PAUSE
        while self._held.may_write(self._now()):
            try:
                async with asyncio.timeout(self._held.end_at - self._now()):
                    await self._send(end)
                return True
            except LeaseLost:
                return False
            except Refused as error:
                self._doors.say(f"job {self._held.given.uid}: the server refused its verdict: {error}")
                return False
            except (RemoteError, TimeoutError):
                await self._doors.clock.sleep(pause * (0.5 + 0.5 * self._doors.draw()))
                pause = min(2 * pause, LONGEST_PAUSE)
        return False

    async def _send(self, end: JobEnd) -> None:
        given, source = self._held.given, self._source
        if end.verdict is Verdict.COMPLETED:
            await source.complete(given)
        elif end.verdict is Verdict.HANDED_BACK:
            await source.hand_back(given, end.message)
        else:
            await source.errored(given, end.message, is_final=end.verdict is Verdict.FAILED)

    async def _is_confirmed(self) -> bool:
        """Wait until a heartbeat has shown that the lease is this worker's; only then may anything of the job start."""
        held = self._held
        while not held.is_confirmed and held.may_write(self._now()) and not self._handing_back:
            await self._changed(held.end_at)
        if self._handing_back and held.may_write(self._now()):
            await self.report(JobEnd(Verdict.HANDED_BACK, self._handing_back))
            return False
        return held.is_confirmed and held.may_write(self._now())

    def _start(self) -> None:
        before = process_group.set(self._group)
        try:
            self._task = asyncio.ensure_future(self._doors.run(self._held.given, self._source))
        finally:
            process_group.reset(before)
        self._task.add_done_callback(lambda _: self._held.changed.set())

    async def _watch(self) -> None:
        """Stop the job when it has to be; returns when nothing of it is left."""
        assert self._task is not None
        while not self._task.done():
            now = self._now()
            self._look(now)
            held = self._held
            turns = (held.stop_at, held.kill_at, held.end_at, self._limit_at)
            await self._changed(min((at for at in turns if at > now), default=now + LOOK_SECONDS))

    def _look(self, now: float) -> None:
        held = self._held
        if held.is_lost or now >= held.end_at:
            self._stop(Cause.LOST if held.is_lost else Cause.OUT_OF_TOUCH)
            self._kill()
        elif now >= held.kill_at:
            self._stop(Cause.OUT_OF_TOUCH)
            self._kill()
        elif now >= held.stop_at:
            self._stop(Cause.OUT_OF_TOUCH)
        if held.cancel_reason:
            self._stop(Cause.CANCELED)
        if now >= self._limit_at:
            self._stop(Cause.OVERTIME)
        if self._handing_back:
            self._stop(Cause.DRAINED)
            if self._is_hasty:
                self._kill()

    def _stop(self, cause: Cause) -> None:
        """Tell the job to stop, once; of several causes the first counts, but that the lease is gone."""
        assert self._task is not None
        if self._cause is None:
            self._doors.say(f"job {self._held.given.uid}: stopping: {cause.value}")
            self._task.cancel()
        if self._cause is None or cause is Cause.LOST:
            self._cause = cause

    def _kill(self) -> None:
        self._held.is_settled = True
        if not self._is_killed:
            self._is_killed = True
            self._doors.kill(self._group)

    async def _abort(self) -> None:
        """End the job because this worker itself is being taken down."""
        assert self._task is not None
        self._task.cancel()
        self._kill()
        await asyncio.gather(self._task, return_exceptions=True)

    def _end(self) -> JobEnd | None:
        """Return what to say of a job of which nothing is left."""
        assert self._task is not None
        if self._cause is Cause.LOST:
            with suppress(asyncio.CancelledError):
                self._task.exception()  # else it would be shown as never looked at
            return None
        try:
            return self._task.result()
        except asyncio.CancelledError:
            return self._stopped()
        except LeaseLost:
            return None
        except Exception as error:
            self._doors.say(f"job {self._held.given.uid}: {type(error).__name__}: {error}")
            return JobEnd(
                Verdict.ERRORED, f"the worker failed: {type(error).__name__}; its own log says more"
            )

    def _stopped(self) -> JobEnd:
        if self._cause is Cause.CANCELED:
            return JobEnd(Verdict.FAILED, self._held.cancel_reason)
        if self._cause is Cause.OVERTIME:
            limit = format_duration(self._max_seconds)
            return JobEnd(Verdict.ERRORED, f"the job took longer than the {limit} that this worker allows")
        return JobEnd(Verdict.HANDED_BACK, self._handing_back or (self._cause or Cause.DRAINED).value)

    async def _changed(self, until: float) -> None:
        """Wait until something has changed, or that time."""
        with suppress(TimeoutError):
            async with asyncio.timeout(max(0.0, min(until - self._now(), LOOK_SECONDS))):
                await self._held.changed.wait()
        self._held.changed.clear()

    def _now(self) -> float:
        return self._doors.clock.monotonic()
