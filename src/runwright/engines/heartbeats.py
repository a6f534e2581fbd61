"""The heartbeats of a worker, sent from a loop of their own, so that nothing that its jobs do can hold them up."""

import asyncio
from collections.abc import Callable, Mapping
from contextlib import suppress

from msgspec import Struct, structs

from runwright.core.errors import RemoteError
from runwright.core.job_wire import HeartbeatRequest, HeartbeatResponse, QueueJobIds
from runwright.engines.lease_clock import HeldJob, HeldJobs
from runwright.ports.jobs import JobSource
from runwright.ports.system import Clock

LEASE_PARTS = 4
"""Heartbeats in one lease, at least: two may be lost."""

RETRY_SECONDS = 1.0
"""How soon a heartbeat that was not answered is sent again; less if the leases are short."""

LEAST_PATIENCE = 1.0
"""Seconds that an answer may take, at least."""

LOOK_SECONDS = 0.5
"""How often this loop sees whether the other one does its duty."""

NEGLECT_SECONDS = 1.0
"""How long the other loop may leave a job running whose lease is about to end."""


class Pulse(Struct, frozen=True, kw_only=True):
    """What heartbeats need.

    Attributes:
        open: Makes the connection; called in the loop that sends.
        compose: Returns what the worker says of itself, without its jobs.
        clock: Time, the same for both loops.
        draw: Random numbers in [0, 1).
        interval: Seconds between two heartbeats.
        on_answer: Told in the main loop of each answer, with None, or of the error instead.
        on_broken: Told in the main loop of an error after which no more heartbeats are sent.
        abandon: Ends the process, with all that it runs: for a worker whose main loop no longer stops its jobs.
    """

    open: Callable[[], JobSource]
    compose: Callable[[], HeartbeatRequest]
    clock: Clock
    draw: Callable[[], float]
    interval: float
    on_answer: Callable[[RemoteError | None], None]
    on_broken: Callable[[Exception], None]
    abandon: Callable[[str], None]


class Heartbeats:
    """Keeps the leases of the jobs that are held, and carries back what the server says of them.

    Args:
        jobs: What is held.
        pulse: What this needs.
        main: The loop of the jobs.
    """

    def __init__(self, jobs: HeldJobs, pulse: Pulse, main: asyncio.AbstractEventLoop) -> None:
        self._jobs = jobs
        self._pulse = pulse
        self._main = main
        self._own: tuple[asyncio.AbstractEventLoop, asyncio.Event] | None = None
        self._neglected: dict[HeldJob, float] = {}

    def hurry(self) -> None:
        """Have the next heartbeat sent now; may be called from any thread."""
        if self._own is not None:
            loop, bell = self._own
            with suppress(RuntimeError):  # it has ended
                loop.call_soon_threadsafe(bell.set)

    async def run(self) -> None:
        """Send heartbeats until this is cancelled."""
        bell = asyncio.Event()
        self._own = (asyncio.get_running_loop(), bell)
        try:
            async with asyncio.TaskGroup() as both:
                both.create_task(self._beat_on(bell))
                both.create_task(self._watch())
        except Exception as error:
            self._tell(self._pulse.on_broken, error)
            raise

    async def _beat_on(self, bell: asyncio.Event) -> None:
        source = self._pulse.open()
        try:
            while True:
                bell.clear()
                next_at = await self._one(source)
                with suppress(TimeoutError):
                    async with asyncio.timeout(max(0.0, next_at - self._pulse.clock.monotonic())):
                        await bell.wait()
        finally:
            await source.close()

    async def _one(self, source: JobSource) -> float:
        """Send a heartbeat; returns when the next one is due."""
        begun = self._pulse.clock.monotonic()
        interval = min(self._pulse.interval, self._jobs.shortest_lease() / LEASE_PARTS)
        error = await self._beat(source, begun, max(interval, LEAST_PATIENCE))
        self._tell(self._pulse.on_answer, error)
        if error is None:
            return begun + interval
        pause = min(interval, RETRY_SECONDS) * (0.5 + 0.5 * self._pulse.draw())
        return self._pulse.clock.monotonic() + pause

    async def _beat(self, source: JobSource, now: float, patience: float) -> RemoteError | None:
        """Send one heartbeat and act on its answer; returns what went wrong."""
        jobs = self._jobs.now()
        try:
            async with asyncio.timeout(patience):
                answer = await source.heartbeat(self._request(jobs))
        except TimeoutError:
            return RemoteError(f"a heartbeat was not answered within {patience:g} s")
        except RemoteError as error:
            return error
        self._heed(jobs, answer, now)
        return None

    def _request(self, jobs: Mapping[str, HeldJob]) -> HeartbeatRequest:
        about = self._pulse.compose()
        by_queue: dict[str, list[int | str]] = {name: [] for name in about.queue_names}
        for held in jobs.values():
            by_queue.setdefault(held.given.queue, []).append(held.given.job.id)
        ids = tuple(QueueJobIds(queue_name=name, job_ids=tuple(found)) for name, found in by_queue.items())
        return structs.replace(about, job_ids_by_queue=ids)

    def _heed(self, jobs: Mapping[str, HeldJob], answer: HeartbeatResponse, sent_at: float) -> None:
        known, cancel = set(answer.known_ids), set(answer.cancel_ids)
        for uid, held in jobs.items():
            if uid in cancel:
                self._tell(held.ask_to_stop, "canceled")
            if uid in known:
                held.renew(sent_at)
                self._tell(held.changed.set)
            elif uid not in cancel:
                self._tell(held.lose)

    def _tell(self, function: Callable[..., None], *arguments: object) -> None:
        with suppress(RuntimeError):  # the worker has ended
            self._main.call_soon_threadsafe(function, *arguments)

    async def _watch(self) -> None:
        """See that jobs whose leases end are stopped; if the main loop can't, end the process before they do."""
        while True:
            await self._pulse.clock.sleep(LOOK_SECONDS)
            now = self._pulse.clock.monotonic()
            due = [held for held in self._jobs.now().values() if now >= held.kill_at and not held.is_settled]
            self._neglected = {held: self._neglected.get(held, now) for held in due}
            for held, since in self._neglected.items():
                if now - since >= NEGLECT_SECONDS:
                    self._pulse.abandon(f"job {held.given.uid} can't be stopped before its lease ends")
