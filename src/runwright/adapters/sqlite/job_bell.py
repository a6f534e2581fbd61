"""Who waits for jobs, and what wakes them: this process at once, others when it looks."""

import asyncio
from asyncio import AbstractEventLoop, Future, get_running_loop
from collections.abc import Awaitable, Callable, Collection, Iterable, Sequence
from contextlib import suppress
from threading import Lock

from runwright.core.errors import StoreError

LOOK_SECONDS = 0.5
"""How often one who waits looks for what other processes have written."""

Look = Callable[[Collection[str]], Awaitable[Iterable[str]]]
"""Returns those of some queues in which a job is ready, if another process has written since the last look."""


class Bell:
    """Wakes those who wait for jobs of a queue.

    Args:
        look: Finds what other processes have done.
    """

    def __init__(self, look: Look) -> None:
        self._look = look
        self._lock = Lock()
        self._waiting: dict[Future[None], frozenset[str]] = {}
        self._looking: dict[AbstractEventLoop, asyncio.Task[None]] = {}

    async def wait(self, queues: Sequence[str], seconds: float) -> bool:
        """Wait until one of the queues is rung for; False if that many seconds pass instead."""
        loop = get_running_loop()
        rung: Future[None] = loop.create_future()
        with self._lock:
            self._waiting[rung] = frozenset(queues)
        if loop not in self._looking:
            self._looking[loop] = loop.create_task(self._keep_looking(loop))
        try:
            await asyncio.wait([rung], timeout=seconds)
            return rung.done()
        finally:
            with self._lock:
                del self._waiting[rung]

    def ring(self, queues: Collection[str]) -> None:
        """Wake those who wait for one of these queues; may be called in any thread."""
        with self._lock:
            woken = [rung for rung, wanted in self._waiting.items() if not wanted.isdisjoint(queues)]
        for rung in woken:
            with suppress(RuntimeError):  # the loop has been closed: nobody waits any more
                rung.get_loop().call_soon_threadsafe(_resolve, rung)

    async def _keep_looking(self, loop: AbstractEventLoop) -> None:
        """Look for news of other processes as long as somebody waits in this loop."""
        try:
            while wanted := self._wanted(loop):
                self.ring(set(await self._look(wanted)))
                await asyncio.sleep(LOOK_SECONDS)
        except StoreError:
            return  # whoever waits learns of it with its next call
        finally:
            del self._looking[loop]

    def _wanted(self, loop: AbstractEventLoop) -> frozenset[str]:
        with self._lock:
            return frozenset().union(
                *(queues for rung, queues in self._waiting.items() if rung.get_loop() is loop)
            )

    async def close(self) -> None:
        """Look no more; those who wait in this loop are woken."""
        with self._lock:
            waiting = list(self._waiting)
        for rung in waiting:
            _resolve(rung)
        task = self._looking.get(get_running_loop())
        if task is not None:
            task.cancel()
            await asyncio.wait([task])


def _resolve(rung: "Future[None]") -> None:
    if not rung.done():
        rung.set_result(None)
