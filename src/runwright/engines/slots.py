"""A number of places for work that may wait for other work of the same kind, without deadlock."""

import asyncio
from collections.abc import AsyncIterator, Callable, Hashable
from contextlib import asynccontextmanager
from contextvars import ContextVar, Token


class Slots:
    """A number of places; who waits longest comes first.

    What holds a place and waits for work that needs one itself lends its own place out for that time; see `lent`.

    Args:
        limit: How many, at least 1.
    """

    def __init__(self, limit: int) -> None:
        self._free = limit
        self._waiting: dict[Hashable, Callable[[], None]] = {}

    @property
    def is_free(self) -> bool:
        """True if there is a place."""
        return self._free > 0

    def take(self) -> "Held | None":
        """Return a place, or None if all are taken."""
        if not self._free:
            return None
        self._free -= 1
        return Held(self)

    def call(self, who: Hashable, wake: Callable[[], None]) -> None:
        """Have a function called when there is a place again; once, and only the first of one asker."""
        self._waiting.setdefault(who, wake)

    def forget(self, who: Hashable) -> None:
        """Call an asker no more."""
        self._waiting.pop(who, None)

    @asynccontextmanager
    async def held(self) -> AsyncIterator[None]:
        """Hold a place."""
        await self.acquire()
        held = Held(self)
        before = held.enter()
        try:
            yield
        finally:
            _held.reset(before)
            held.release()

    @asynccontextmanager
    async def lent(self) -> AsyncIterator[None]:
        """Lend out the place on which the caller runs, if it runs on one of these, with those it has taken since."""
        own = self._places_of_caller()
        if not own:
            yield
            return
        before = _held.set(own[0].outer)
        for held in own:
            held.lend()
        try:
            yield
        except asyncio.CancelledError:
            for held in own:
                held.lose()  # who is cancelled must not wait for a place to end on
            raise
        except BaseException:
            await _take_back(own)
            raise
        else:
            await _take_back(own)
        finally:
            _held.reset(before)

    def _places_of_caller(self) -> "list[Held]":
        """Return the places from the caller's own of these on, in the order in which they were taken."""
        found: list[Held] = []
        held = _held.get()
        while held is not None:
            found.append(held)
            if held.slots is self:
                return found[::-1]
            held = held.outer
        return []

    async def acquire(self) -> None:
        """Wait for a place, and take it."""
        if self._free:
            self._free -= 1
            return
        gate: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._waiting[gate] = lambda: self._pass_to(gate)
        try:
            await gate
        except asyncio.CancelledError:
            self.forget(gate)
            if not gate.cancelled():
                self.give_back()
            raise

    def give_back(self) -> None:
        """Give a place to whoever waits for one."""
        self._free += 1
        while self._free and self._waiting:
            self._waiting.pop(next(iter(self._waiting)))()

    def _pass_to(self, gate: "asyncio.Future[None]") -> None:
        if not gate.done():
            self._free -= 1
            gate.set_result(None)


class Held:
    """A place that somebody has; `outer` is the one on which the work stands that this one is a part of."""

    def __init__(self, slots: Slots) -> None:
        self.slots = slots
        self.outer: Held | None = None
        self._is_here = True
        self._is_over = False
        self._borrowers = 0

    def enter(self) -> "Token[Held | None]":
        """Say that the running task, from here on, runs on this place."""
        self.outer = _held.get()
        return _held.set(self)

    def lend(self) -> None:
        """Give the place away until `take_back`; several may have it lent at once."""
        self._borrowers += 1
        self._give_away()

    async def take_back(self) -> None:
        """Wait for a place again, once nothing that it was lent for is left."""
        self.lose()
        if not self._borrowers and not self._is_over:
            await self.slots.acquire()
            self._is_here = True
            self._give_away_if_over()

    def lose(self) -> None:
        """Go on without a place."""
        self._borrowers -= 1

    def release(self) -> None:
        """Give the place back for good."""
        self._is_over = True
        self._give_away()

    def _give_away_if_over(self) -> None:
        if self._is_over:
            self._give_away()

    def _give_away(self) -> None:
        if self._is_here:
            self._is_here = False
            self.slots.give_back()


async def _take_back(places: list[Held]) -> None:
    """Wait for places in the order in which all take them, so that nobody waits in a circle."""
    for number, held in enumerate(places):
        try:
            await held.take_back()
        except asyncio.CancelledError:
            for other in places[number + 1 :]:
                other.lose()
            raise


_held: ContextVar[Held | None] = ContextVar("runwright_slot", default=None)
