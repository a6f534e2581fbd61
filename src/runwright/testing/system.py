"""Fakes of time and of the files of a run: nothing waits, nothing is written."""

import asyncio
import selectors
from collections.abc import Callable, Coroutine
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, TypeVar

from runwright.core.errors import InternalError

_Value = TypeVar("_Value")

START = datetime(2026, 1, 1, tzinfo=UTC)
PATIENCE_SECONDS = 100_000.0


class FakeClock:
    """A clock that stands still while anything can be done, and then jumps to the next deadline.

    Everything that the event loop times goes by it: `sleep`, ``asyncio.sleep``, ``asyncio.timeout``, ``call_later``.

    Args:
        start: The instant at which it begins.
        patience: Seconds of its time after which a test that still waits is given up.
    """

    def __init__(self, start: datetime = START, patience: float = PATIENCE_SECONDS) -> None:
        self._start = start
        self._patience = patience
        self._passed = 0.0

    def now(self) -> datetime:
        """Return the current instant."""
        return self._start + timedelta(seconds=self._passed)

    def monotonic(self) -> float:
        """Return the seconds since the start."""
        return self._passed

    async def sleep(self, seconds: float) -> None:
        """Wait until the clock has been moved that far."""
        await asyncio.sleep(seconds)

    def advance(self, seconds: float) -> None:
        """Move the clock.

        Raises:
            InternalError: If patience has run out.
        """
        self._passed += seconds
        if self._passed > self._patience:
            raise InternalError(f"what was waited for has not happened in {self._patience:g} s of fake time")

    def run(self, main: Coroutine[Any, Any, _Value]) -> _Value:
        """Run a coroutine to its end on an event loop that goes by this clock.

        Raises:
            InternalError: If nothing is left that could happen, or patience has run out.
        """
        with asyncio.Runner(loop_factory=lambda: _Loop(self)) as runner:
            return runner.run(main)


class _Loop(asyncio.SelectorEventLoop):
    def __init__(self, clock: FakeClock) -> None:
        super().__init__(_Selector(clock))
        self._fake_clock = clock

    def time(self) -> float:
        return self._fake_clock.monotonic()


class _Selector(selectors.DefaultSelector):
    """Never waits: where the loop would, the clock jumps."""

    def __init__(self, clock: FakeClock) -> None:
        super().__init__()
        self._clock = clock

    def select(self, timeout: float | None = None) -> list[tuple[selectors.SelectorKey, int]]:
        ready = super().select(0)
        if not ready and timeout is None:
            raise InternalError("nothing is left that could happen: all wait for each other")
        if not ready and timeout:
            self._clock.advance(timeout)
        return ready


class SameLoop:
    """A loop beside the main one that is none: its work is a task of the loop that starts it, and goes by its clock.

    Attributes:
        task: The work, once it has begun.
    """

    def __init__(self) -> None:
        self.task: asyncio.Task[None] | None = None

    def start(self, work: Callable[[], Coroutine[Any, Any, None]]) -> None:
        """Begin the work."""
        self.task = asyncio.ensure_future(work())

    async def close(self) -> None:
        """Cancel the work and wait until it has ended; raises what it raised by itself."""
        task, self.task = self.task, None
        if task is not None:
            task.cancel()
            await asyncio.wait([task])
            if not task.cancelled():
                task.result()


class FakeWorkspaces:
    """Names directories without making them, and remembers whose were discarded.

    Args:
        root: Where they are said to be; if given, they are really made.

    Attributes:
        discarded: Ids of runs, in order.
        swept: How often leftovers were looked for.
    """

    def __init__(self, root: Path | None = None) -> None:
        self._root = root
        self.discarded: list[str] = []
        self.swept = 0

    def task_dir(self, run_id: str, task_id: str) -> Path:
        """Return the directory of one task of a run."""
        path = (self._root or Path("/nonexistent")) / run_id / task_id
        if self._root is not None:
            path.mkdir(parents=True, exist_ok=True)
        return path

    def discard(self, run_id: str) -> None:
        """Remember the run."""
        self.discarded.append(run_id)

    def sweep(self) -> None:
        """Count."""
        self.swept += 1
