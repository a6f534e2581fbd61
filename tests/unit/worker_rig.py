"""A worker on fakes: a queue in memory, jobs that are scripts, a clock that jumps."""

import asyncio
from collections.abc import Callable, Coroutine
from typing import Any, TypeVar

from msgspec import structs

from runwright.core.errors import RemoteError
from runwright.core.job_rows import Verdict
from runwright.core.job_wire import HeartbeatRequest
from runwright.engines.job_run import JobEnd
from runwright.engines.worker import Worker, WorkerDoors, WorkerSettings
from runwright.ports.jobs import GivenJob, JobSource
from runwright.ports.system import process_group
from runwright.testing import FakeClock, MemorySource, SameLoop
from runwright.testing.job_sources import SourceCall

_Value = TypeVar("_Value")

LEASE = 24.0
DONE = JobEnd(Verdict.COMPLETED)


class Play:
    """What a job does: it takes its time, and then a stop takes its time, unless it is killed, and even then.

    Attributes:
        started: When it began, on the clock.
        ended: When nothing of it was left.
    """

    def __init__(
        self,
        seconds: float = 1.0,
        end: JobEnd | Exception = DONE,
        *,
        stop_seconds: float = 0.0,
        dying_seconds: float = 0.0,
    ) -> None:
        self.seconds = seconds
        self.end = end
        self.stop_seconds = stop_seconds
        self.dying_seconds = dying_seconds
        self.started: list[float] = []
        self.ended: list[float] = []


class Rig:
    """A worker, its queue, and what it has done.

    Attributes:
        plays: What each job does, by id; others take a second and complete.
        killed: Which process groups were killed, and when.
        said: The worker's log.
        abandoned: Why the worker wanted to end its process.
        noted: The ids of the jobs at each change.
    """

    def __init__(
        self, *, lease: float = LEASE, open_pulse: Callable[[], JobSource] | None = None, **settings: Any
    ) -> None:
        self.clock = FakeClock()
        self.source = MemorySource(self.clock, lease)
        self.side = SameLoop()
        self.plays: dict[int, Play] = {}
        self.killed: list[tuple[str, float]] = []
        self.kill_bells: dict[str, asyncio.Event] = {}
        self.said: list[str] = []
        self.abandoned: list[str] = []
        self.noted: list[list[int]] = []
        self.ready_at: float | None = None
        self.settings = WorkerSettings(
            queues=("q",), about=HeartbeatRequest(executor_name="w", boot_id="b"), **settings
        )
        self.doors = WorkerDoors(
            source=self.source,
            open_pulse=open_pulse or (lambda: self.source),
            beside=self.side,
            clock=self.clock,
            draw=lambda: 0.5,
            run=self._play,
            kill=self._kill,
            note=lambda jobs: self.noted.append([given.job.id for given in jobs]),
            say=self.said.append,
            abandon=self.abandoned.append,
        )
        self.worker = Worker(self.settings, self.doors, self._ready)

    def add(self, play: Play | None = None, **about: Any) -> int:
        """Queue a job."""
        number = self.source.add(**about)
        if play is not None:
            self.plays[number] = play
        return number

    def run(self, main: Coroutine[Any, Any, _Value]) -> _Value:
        """Run a test on the clock."""
        return self.clock.run(main)

    def run_with(self, script: Callable[[], Coroutine[Any, Any, None]]) -> None:
        """Run the worker while a script goes on; then stop the worker and let it finish."""

        async def main() -> None:
            running = asyncio.create_task(self.worker.run())
            await script()
            if not running.done():
                self.worker.stop("the test is over")
            await running

        self.run(main())

    async def until(self, condition: Callable[[], bool], patience: float = 600.0) -> None:
        """Wait until something is so."""
        async with asyncio.timeout(patience):
            while not condition():  # noqa: ASYNC110 - the clock is fake
                await asyncio.sleep(0.05)

    def fail(self, *names: str, lost: bool = False) -> None:
        """Have calls fail from now on; with `lost`, after they have done their work. No names: none fails."""

        def trouble(call: SourceCall) -> RemoteError | None:
            return RemoteError("no answer") if call.name in names else None

        self.source.trouble, self.source.loss = (
            (lambda call: None, trouble) if lost else (trouble, lambda call: None)
        )

    def with_settings(self, **changes: Any) -> WorkerSettings:
        """Return the settings, changed."""
        return structs.replace(self.settings, **changes)

    def _ready(self) -> None:
        self.ready_at = self.clock.monotonic()

    async def _play(self, given: GivenJob, source: JobSource) -> JobEnd:
        play = self.plays.setdefault(given.job.id, Play())
        killed = self.kill_bells.setdefault(process_group.get(), asyncio.Event())
        play.started.append(self.clock.monotonic())
        try:
            await asyncio.sleep(play.seconds)
        except asyncio.CancelledError:
            try:
                async with asyncio.timeout(play.stop_seconds):
                    await killed.wait()
                    await asyncio.sleep(play.dying_seconds)
            except TimeoutError:
                pass
            raise
        finally:
            play.ended.append(self.clock.monotonic())
        if isinstance(play.end, Exception):
            raise play.end
        return play.end

    def _kill(self, group: str) -> None:
        self.killed.append((group, self.clock.monotonic()))
        self.kill_bells[group].set()
