"""One run's events on their way to the store."""

import asyncio
from collections.abc import Callable, Sequence

from runwright.core.events import AnyEvent
from runwright.core.run import Lease
from runwright.ports.stores import RunStore


class Journal:
    """Writes one run's events under its lease, and notes the first write that fails.

    Args:
        store: Where events go.
        lease: The right to write them.

    Attributes:
        on_error: Called with what the store answers if it does not take an event.
    """

    def __init__(self, store: RunStore, lease: Lease) -> None:
        self._store = store
        self._lease = lease
        self.on_error: Callable[[Exception], None] = _ignore

    def append(self, events: Sequence[AnyEvent], *, lazy: bool = False) -> "asyncio.Future[None]":
        """Append events; the future completes when they are durable; a lazy one may take a moment longer."""
        future = asyncio.ensure_future(self._store.append(self._lease, events, lazy=lazy))
        future.add_done_callback(self._check)
        return future

    def hurry(self) -> None:
        """Say that something waits for what was appended."""
        self._store.hurry()

    def _check(self, future: "asyncio.Future[None]") -> None:
        if not future.cancelled() and (error := future.exception()) is not None:
            assert isinstance(error, Exception)
            self.on_error(error)


def _ignore(error: Exception) -> None:
    """Leave an error to whoever waits for the write."""
