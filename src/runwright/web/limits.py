"""Bounds of what clients may send: size, time, and how often they may guess."""

import asyncio
from collections import OrderedDict
from ipaddress import ip_address

from msgspec import Struct
from starlette.requests import Request
from starlette.types import Receive

from runwright.ports.system import Clock
from runwright.web.refusals import ClientGone, Refusal

MIB = 1024 * 1024
LARGE_BYTES = 256 * 1024
"""Bodies above this are decoded in a thread."""

HELD_BYTES = 96 * MIB
"""All bodies that are held at a time."""

CHUNK_SECONDS = 15.0
"""How long a client may pause within a body."""

BODY_SECONDS = 30.0
"""How long a body may take, and a second more for each `SLOWEST_BYTES`."""

SLOWEST_BYTES = 64 * 1024
SEND_SECONDS = 60.0
"""How long a client may take no byte of an answer."""

UNREAD_BYTES = 64 * 1024
"""Bodies up to this are read even if the request has been refused, so that the connection can be used again."""

DRAIN_BYTES = 8 * MIB
DRAIN_SECONDS = 2.0
"""What is still read of a body that has been refused, so that its sender sees why."""

WRONG_TOKENS = 100
"""Wrong tokens from one address in `WRONG_SECONDS`."""

WRONG_TOKENS_OVERALL = 1_000
"""Wrong tokens from anywhere in `WRONG_SECONDS`."""

WRONG_SECONDS = 60.0
LOOKS_PER_SECOND = 20
"""How many unknown tokens of leases are looked up all the same: another server may have given them out."""

MOST_ADDRESSES = 10_000


class BodyLimits(Struct, frozen=True, kw_only=True):
    """Largest bodies.

    Attributes:
        submit_bytes: Of a job that is submitted.
        other_bytes: Of any other request.
    """

    submit_bytes: int = 64 * MIB
    other_bytes: int = 16 * MIB


class _Window(Struct):
    began_at: float
    count: int = 0


class WrongTokens:
    """Counts wrong tokens. Where there are too many, unknown ones are refused, nearly always without the store.

    Args:
        clock: Time.
    """

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._by_address: OrderedDict[str, _Window] = OrderedDict()
        self._all = _Window(clock.monotonic())
        self._looks = _Window(clock.monotonic())
        self.total = 0

    def count(self, address: str) -> None:
        """Count one."""
        self.total += 1
        self._current(self._all).count += 1
        name = network_of(address)
        window = self._by_address.setdefault(name, _Window(self._clock.monotonic()))
        self._current(window).count += 1
        self._by_address.move_to_end(name)
        if len(self._by_address) > MOST_ADDRESSES:
            self._by_address.popitem(last=False)

    def wait_seconds(self, address: str) -> float:
        """Return how long unknown tokens from there are refused yet; 0 if they are looked up."""
        mine = self._by_address.get(network_of(address))
        return max(
            self._left(self._all, WRONG_TOKENS_OVERALL),
            self._left(mine, WRONG_TOKENS) if mine is not None else 0.0,
        )

    def may_look(self) -> bool:
        """Return whether an unknown token may be looked up although there are too many wrong ones; counts it."""
        now = self._clock.monotonic()
        if now - self._looks.began_at >= 1:
            self._looks = _Window(now)
        self._looks.count += 1
        return self._looks.count <= LOOKS_PER_SECOND

    def _left(self, window: _Window, most: int) -> float:
        self._current(window)
        if window.count < most:
            return 0.0
        return window.began_at + WRONG_SECONDS - self._clock.monotonic()

    def _current(self, window: _Window) -> _Window:
        """Begin a window anew if it is over."""
        now = self._clock.monotonic()
        if now - window.began_at >= WRONG_SECONDS:
            window.began_at, window.count = now, 0
        return window


def network_of(address: str) -> str:
    """Return under which name an address is counted: itself, or for IPv6 its network of 64 bits."""
    try:
        found = ip_address(address.partition("%")[0])
    except ValueError:
        return address
    return address if found.version == 4 else str(int(found) >> 64)


class Bodies:
    """Reads the bodies of requests, and knows how much is held of all."""

    def __init__(self) -> None:
        self.held_bytes = 0
        self.large = asyncio.Lock()
        """Held while a large body is worked on: one at a time, since each costs some times its size."""

    async def read(self, request: Request, limit: int) -> bytearray:
        """Return the body of a request; the caller calls `release` with it.

        Raises:
            Refusal: 413 if it is larger than `limit`, 408 if it comes too slowly, 503 if too much is held already.
            ClientGone: If the client is.
        """
        told = request.headers.get("content-length", "0")
        if not told.isdecimal() or int(told) > limit:
            raise _too_large(limit)
        body = bytearray()
        try:
            await self._fill(request, body, limit)
        except BaseException:
            self.release(body)
            raise
        return body

    async def _fill(self, request: Request, body: bytearray, limit: int) -> None:
        loop = asyncio.get_running_loop()
        began = loop.time()
        while True:
            left = began + BODY_SECONDS + len(body) / SLOWEST_BYTES - loop.time()
            try:
                async with asyncio.timeout(min(CHUNK_SECONDS, left)):
                    message = await request.receive()
            except TimeoutError:
                raise Refusal(408, "the body came too slowly") from None
            if message["type"] == "http.disconnect":
                raise ClientGone
            self._hold(body, message.get("body", b""), limit)
            if not message.get("more_body", False):
                return

    def _hold(self, body: bytearray, chunk: bytes, limit: int) -> None:
        if len(body) + len(chunk) > limit:
            raise _too_large(limit)
        if self.held_bytes + len(chunk) > HELD_BYTES:
            raise Refusal(503, "too many large requests at a time; try again", {"Retry-After": "1"})
        body += chunk
        self.held_bytes += len(chunk)

    def release(self, body: bytearray) -> None:
        """Count a body as gone."""
        self.held_bytes -= len(body)


def _too_large(limit: int) -> Refusal:
    return Refusal(413, f"the body is larger than {limit:,} bytes")


async def drain(receive: Receive) -> None:
    """Read a little of a body that nobody wants, so that its sender gets the answer before the connection ends."""
    taken = 0
    try:
        async with asyncio.timeout(DRAIN_SECONDS):
            while taken < DRAIN_BYTES:
                message = await receive()
                taken += len(message.get("body", b""))
                if message["type"] == "http.disconnect" or not message.get("more_body", False):
                    return
    except TimeoutError:
        return
