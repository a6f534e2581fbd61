"""A queue on fakes, and short words for what tests ask of it."""

from collections.abc import Callable, Coroutine
from itertools import count
from typing import Any

import msgspec

from runwright.core.errors import RunwrightError
from runwright.core.job import Job
from runwright.core.job_wire import DequeueRequest, SubmitRequest
from runwright.engines.queue import Queue, QueueOptions
from runwright.ports.jobs import GivenJob
from runwright.ports.sealing import Sealer
from runwright.testing.jobs import MemoryJobStore
from runwright.testing.system import FakeClock

STEPS = {"dockerSteps": [{"image": "alpine", "commands": ["true"]}]}


class ReversingSealer:
    """Seals by turning around, so that a test can see it."""

    def seal(self, data: bytes) -> bytes:
        return b"sealed:" + data[::-1]

    def unseal(self, data: bytes) -> bytes:
        assert data.startswith(b"sealed:")
        return data[7:][::-1]


class Bench:
    """A queue with its fakes.

    Attributes:
        errors: What was told to `on_error`.
    """

    def __init__(
        self,
        *,
        store: MemoryJobStore | None = None,
        sealer: Sealer | None = None,
        check: Any = None,
        **options: float,
    ) -> None:
        numbers = count(1)
        self.clock = FakeClock()
        self.store = store or MemoryJobStore()
        self.errors: list[RunwrightError] = []
        more = {} if check is None else {"check": check}
        self.queue = Queue(
            self.store,
            self.clock,
            sealer,
            lambda: f"{next(numbers):040x}",
            options=QueueOptions(**options),
            on_error=self.errors.append,
            **more,
        )

    def run(self, main: Callable[["Bench"], Coroutine[Any, Any, Any]]) -> Any:
        """Run a test on the fake clock."""
        return self.clock.run(main(self))

    async def submit(self, queue: str = "q", job: Any = None, **more: Any) -> int:
        """Submit a job and return its id."""
        raw = msgspec.Raw(msgspec.json.encode(STEPS if job is None else job))
        (job_id,) = await self.queue.submit([SubmitRequest(queue=queue, job=raw, **more)])
        return job_id

    async def dequeue(self, queue: str = "q", **more: Any) -> GivenJob | None:
        """Ask for a job as the worker ``w``."""
        return await self.queue.dequeue(DequeueRequest(**{"executor_name": "w", **more}), queue)

    async def given(self, queue: str = "q", **more: Any) -> GivenJob:
        """Return the job that there must be."""
        found = await self.dequeue(queue, **more)
        assert found is not None
        return found


def one_step(**more: Any) -> Job:
    """Return what `STEPS` is, decoded."""
    return msgspec.convert({**STEPS, **more}, Job)
