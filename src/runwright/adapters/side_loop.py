"""An event loop in a thread of its own, for what must go on whatever the main loop does."""

import asyncio
from collections.abc import Callable, Coroutine
from concurrent.futures import Future
from contextlib import suppress
from threading import Thread
from typing import Any

JOIN_SECONDS = 10.0
"""How long the thread may take to end once its work has ended; it does not keep the process from ending."""


class ThreadLoop:
    """Runs one coroutine on an event loop in a thread; see `ports.system.SideLoop`."""

    def __init__(self) -> None:
        self._ended: Future[None] | None = None
        self._loop: asyncio.AbstractEventLoop | None = None
        self._task: asyncio.Task[None] | None = None
        self._thread: Thread | None = None

    def start(self, work: Callable[[], Coroutine[Any, Any, None]]) -> None:
        """Begin the work in the thread."""
        ready: Future[None] = Future()
        self._ended = Future()
        self._thread = Thread(
            target=self._serve, args=(work, ready, self._ended), name="runwright-heartbeats", daemon=True
        )
        self._thread.start()
        ready.result()

    async def close(self) -> None:
        """Cancel the work and wait until it has ended; raises what it raised by itself."""
        if self._ended is None or self._thread is None:
            return
        ended, self._ended = self._ended, None
        assert self._loop is not None
        assert self._task is not None
        with suppress(RuntimeError):  # the loop has ended by itself
            self._loop.call_soon_threadsafe(self._task.cancel)
        try:
            await asyncio.shield(asyncio.wrap_future(ended))
        finally:
            self._thread.join(JOIN_SECONDS)

    def _serve(
        self, work: Callable[[], Coroutine[Any, Any, None]], ready: "Future[None]", ended: "Future[None]"
    ) -> None:
        try:
            with asyncio.Runner() as runner:
                self._loop = runner.get_loop()
                runner.run(self._run(work, ready, ended))
        finally:
            if not ended.done():
                ended.set_result(None)

    async def _run(
        self, work: Callable[[], Coroutine[Any, Any, None]], ready: "Future[None]", ended: "Future[None]"
    ) -> None:
        """Do the work, and keep how it ended for whoever closes this."""
        self._task = asyncio.create_task(work())
        ready.set_result(None)
        await asyncio.wait([self._task])
        error = None if self._task.cancelled() else self._task.exception()
        if error is not None:
            ended.set_exception(error)
