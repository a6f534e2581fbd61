"""The worker: takes jobs from a queue, works on several at a time, and stops in good order."""

import asyncio
from collections.abc import Callable
from contextlib import suppress
from math import inf

from msgspec import Struct, structs

from runwright.core.duration import format_duration
from runwright.core.errors import Refused, RemoteError
from runwright.core.job_wire import DequeueRequest, HeartbeatRequest
from runwright.engines.heartbeats import Heartbeats, Pulse
from runwright.engines.job_run import JobEnd
from runwright.engines.lease_clock import HeldJob, HeldJobs
from runwright.engines.worker_job import JobDoors, RunJob, WorkedJob
from runwright.engines.worker_metrics import LOST, WorkerMetrics
from runwright.ports.jobs import GivenJob, JobSource
from runwright.ports.system import Clock, SideLoop

LONGEST_PAUSE = 30.0
"""Seconds between two tries to get a job from a server that does not answer, at most."""

QUIET_SECONDS = 60.0
"""How long a server that is not there yet is waited for without a word."""

LOOK_SECONDS = 1.0
"""How often a worker that stops looks whether its jobs have ended, whatever else wakes it."""

DRAINED = "the worker stops"


class WorkerSettings(Struct, frozen=True, kw_only=True):
    """What a worker is and how it works.

    Attributes:
        queues: Whose jobs it takes, at least one.
        slots: Jobs at a time.
        about: What it says of itself in heartbeats: name, boot id, labels, versions.
        version: Of the worker, as dequeues say it.
        heartbeat: Seconds between heartbeats, at most.
        margin: Seconds before the end of a lease at which a job is stopped, if the lease could not be renewed.
        drain: Seconds that jobs have to finish when the worker is asked to stop.
        max_jobs: Jobs after which it stops by itself; 0 for any number.
        max_active: Seconds after which it takes no more; 0 for any time.
        max_job_time: Seconds that a job may take; 0 for any time.
        poll: Seconds between two questions for a job, at least.
        wait: Seconds that the server may keep a question until a job comes.
    """

    queues: tuple[str, ...]
    about: HeartbeatRequest
    version: str = "dev"
    slots: int = 1
    heartbeat: float = 5.0
    margin: float = 8.0
    drain: float = 60.0
    max_jobs: int = 0
    max_active: float = 0.0
    max_job_time: float = 1_800.0
    poll: float = 1.0
    wait: float = 20.0


class WorkerDoors(Struct, frozen=True, kw_only=True):
    """What a worker needs.

    Attributes:
        source: The queue.
        open_pulse: Makes another connection to it, for the heartbeats; called in their loop.
        beside: Where heartbeats are sent from.
        clock: Time.
        draw: Random numbers in [0, 1).
        run: Runs a job, whose log goes to a source; cancelling it stops the job, takes it down and raises.
        kill: Has what is being stopped of a process group killed without its grace.
        note: Remembers which jobs there are, for who comes after a crash; called with each new set.
        say: Tells the worker's own log.
        abandon: Ends the process with all that it runs.
    """

    source: JobSource
    open_pulse: Callable[[], JobSource]
    beside: SideLoop
    clock: Clock
    draw: Callable[[], float]
    run: RunJob
    kill: Callable[[str], None]
    note: Callable[[tuple[GivenJob, ...]], None]
    say: Callable[[str], None]
    abandon: Callable[[str], None]


class Worker:
    """Works until it is told to stop, or has done what it was to do.

    Args:
        settings: What it is.
        doors: What it needs.
        on_ready: Called once, when the server has first answered.
    """

    def __init__(
        self, settings: WorkerSettings, doors: WorkerDoors, on_ready: Callable[[], None] = lambda: None
    ) -> None:
        self.metrics = WorkerMetrics()
        self._settings = settings
        self._doors = doors
        self._on_ready = on_ready
        self._jobs = HeldJobs(settings.margin, doors.clock.monotonic)
        self._working: dict[HeldJob, WorkedJob] = {}
        self._job_doors = JobDoors(
            run=doors.run,
            kill=doors.kill,
            source=doors.source,
            clock=doors.clock,
            draw=doors.draw,
            say=doors.say,
        )
        self._taken = 0
        self._stops = 0
        self._is_draining = False
        self._changed = asyncio.Event()
        self._is_answered = False
        self._refusal: Refused | None = None
        self._begun = 0.0
        self._troubles: set[str] = set()
        self._pulse: Heartbeats | None = None

    def stop(self, reason: str) -> None:
        """Take no more jobs and let those finish that run, as long as `drain` allows; a second call stops them at once."""
        self._stops += 1
        self._is_draining = True
        self._changed.set()
        self._doors.say(f"{reason}: no more jobs are taken; {len(self._jobs)} at work")

    async def run(self) -> None:
        """Work until the end; when this returns or raises, nothing of any job is left.

        Raises:
            Refused: If the server turns this worker down before it has answered once.
        """
        self._begun = self._now()
        self._pulse = Heartbeats(self._jobs, self._make_pulse(), asyncio.get_running_loop())
        self._doors.beside.start(self._pulse.run)
        try:
            if await self._is_welcome():
                self._on_ready()
                async with asyncio.TaskGroup() as jobs:
                    await self._take_jobs(jobs)
                    await self._finish()
        finally:
            await self._doors.beside.close()
            await self._doors.source.close()

    def _make_pulse(self) -> Pulse:
        doors = self._doors
        return Pulse(
            open=doors.open_pulse,
            compose=self._about,
            clock=doors.clock,
            draw=doors.draw,
            interval=self._settings.heartbeat,
            on_answer=self._on_answer,
            on_broken=self._on_broken,
            abandon=doors.abandon,
        )

    def _about(self) -> HeartbeatRequest:
        """Return what the worker says of itself; called in the loop of the heartbeats."""
        return structs.replace(
            self._settings.about,
            queue_names=self._settings.queues,
            slots=self._settings.slots,
            draining=self._is_draining,
            prometheus_metrics=self.metrics.text(self._settings.slots),
        )

    def _on_answer(self, error: RemoteError | None) -> None:
        if error is None:
            self._troubles.clear()
        elif isinstance(error, Refused) and not self._is_answered:
            self._refusal = error
        else:
            self._complain(error)
            return
        if not self._is_answered:
            self._is_answered = True
            self._changed.set()

    def _on_broken(self, error: Exception) -> None:
        """Stop at once: without heartbeats no lease holds."""
        self._stops += 1
        self.stop(f"no more heartbeats can be sent, which is a bug: {error!r}")

    def _complain(self, error: RemoteError) -> None:
        """Say what is wrong, once; and nothing of a server that is not there yet in the first minute."""
        is_absent = isinstance(error.__cause__, ConnectionRefusedError)
        is_early = not self._is_answered and self._now() - self._begun < QUIET_SECONDS
        if str(error) not in self._troubles and not (is_absent and is_early):
            self._troubles.add(str(error))
            self._doors.say(f"the server can't be asked, and is tried again: {error}")

    async def _is_welcome(self) -> bool:
        """Wait until the server has answered, or somebody wants this worker to stop."""
        while not self._is_answered and not self._is_draining:
            await self._wait(LONGEST_PAUSE)
        if self._refusal is not None:
            raise self._refusal
        return not self._is_draining

    # -- taking jobs -------------------------------------------------------------------------------------------

    async def _take_jobs(self, tasks: asyncio.TaskGroup) -> None:
        """Ask for jobs while there is a free slot; returns when no more are to be taken."""
        pause = self._settings.poll
        while not self._is_over():
            if len(self._working) >= self._settings.slots:
                await self._wait(self._time_left())
                continue
            begun = self._now()
            try:
                given = await self._ask()
            except RemoteError as error:
                self._complain(error)
                await self._wait(pause * (0.5 + 0.5 * self._doors.draw()))
                pause = min(2 * pause, LONGEST_PAUSE)
                continue
            pause = self._settings.poll
            if given is not None:
                self._begin(tasks, given)
            else:
                await self._wait(begun + self._settings.poll - self._now())
        self._is_draining = True

    def _is_over(self) -> bool:
        settings = self._settings
        is_full = 0 < settings.max_jobs <= self._taken
        return self._is_draining or is_full or self._time_left() <= 0

    def _time_left(self) -> float:
        limit = self._settings.max_active
        return self._begun + limit - self._now() if limit else LONGEST_PAUSE

    async def _ask(self) -> GivenJob | None:
        """Ask for a job; a stop, or the end of the time to take jobs, breaks the question off."""
        asking = asyncio.ensure_future(self._doors.source.dequeue(self._question()))
        asking.add_done_callback(lambda _: self._changed.set())
        try:
            while not asking.done() and not self._is_over():
                await self._wait(self._time_left())
        finally:
            asking.cancel()
            await asyncio.wait({asking})
        return None if asking.cancelled() else asking.result()

    def _question(self) -> DequeueRequest:
        about = self._settings.about
        return DequeueRequest(
            executor_name=about.executor_name,
            version=self._settings.version,
            queues=self._settings.queues,
            labels=about.labels,
            boot_id=about.boot_id,
            wait_seconds=min(self._settings.wait, max(self._time_left(), 0.0)),
        )

    def _begin(self, tasks: asyncio.TaskGroup, given: GivenJob) -> None:
        self._taken += 1
        held = self._jobs.hold(given)
        job = WorkedJob(held, self._job_doors, self._settings.max_job_time)
        self._working[held] = job
        self._note()
        assert self._pulse is not None
        self._pulse.hurry()
        tasks.create_task(self._work(held, job))

    # -- working on them ---------------------------------------------------------------------------------------

    async def _work(self, held: HeldJob, job: WorkedJob) -> None:
        begun = self._now()
        self.metrics.running += 1
        outcome = LOST
        try:
            self._doors.say(f"job {held.given.uid}: attempt {held.given.attempt} begins")
            end = await job.work()
            if end is not None and await job.report(end):
                outcome = end.verdict.value
                self._tell_end(held, end, self._now() - begun)
            else:
                self._doors.say(f"job {held.given.uid}: left to the server, its lease is over")
        finally:
            self.metrics.running -= 1
            self.metrics.count(outcome, self._now() - begun)
            self._jobs.drop(held)
            del self._working[held]
            self._note()
            self._changed.set()

    def _tell_end(self, held: HeldJob, end: JobEnd, seconds: float) -> None:
        detail = f": {end.message.splitlines()[0]}" if end.message else ""
        text = f"{end.verdict.value.replace('_', ' ')} after {format_duration(seconds)}{detail}"
        self._doors.say(f"job {held.given.uid}: {text}")

    def _note(self) -> None:
        try:
            self._doors.note(tuple(held.given for held in self._working))
        except OSError as error:
            self._doors.say(f"which jobs there are can't be noted: {error}")

    # -- stopping ----------------------------------------------------------------------------------------------

    async def _finish(self) -> None:
        """Let the jobs finish; once somebody wants the worker to stop, only as long as it may drain."""
        deadline = inf
        while self._working:
            if self._stops and deadline == inf:
                deadline = self._now() + self._settings.drain
            if self._stops > 1 or self._now() >= deadline:
                for job in self._working.values():
                    job.hand_back(DRAINED, at_once=self._stops > 1)
            await self._wait(max(deadline - self._now(), LOOK_SECONDS))

    async def _wait(self, seconds: float) -> None:
        """Wait until something has changed, or that long."""
        with suppress(TimeoutError):
            async with asyncio.timeout(max(0.0, min(seconds, LONGEST_PAUSE))):
                await self._changed.wait()
        self._changed.clear()

    def _now(self) -> float:
        return self._doors.clock.monotonic()
