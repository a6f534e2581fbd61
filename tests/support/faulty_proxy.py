"""A way to the queue's server that loses, delays, repeats and cuts what is said, and remembers what the server took."""

import asyncio
import json
import random
from collections import Counter
from collections.abc import Coroutine, Iterable
from contextlib import suppress
from enum import StrEnum
from typing import Any

from msgspec import Struct
from queue_history import VERDICTS, Word

CONNECT_SECONDS = 5.0
MOST_BYTES = 1 << 24


class Fault(StrEnum):
    """What becomes of a request."""

    NONE = "none"
    DROPPED = "request dropped"
    UNANSWERED = "answer dropped"
    DELAYED = "delayed"
    DOUBLED = "sent twice at once"
    REPLAYED = "sent again later"
    CUT = "request cut"
    ANSWER_CUT = "answer cut"


class Weather(Struct, frozen=True):
    """How bad the way is.

    Attributes:
        chance: Of each fault, for each request.
        faults: Which there are.
        longest: Seconds that something is held up, at most.
    """

    chance: float = 0.0
    faults: tuple[Fault, ...] = tuple(fault for fault in Fault if fault is not Fault.NONE)
    longest: float = 2.0


CALM = Weather()


class Message(Struct, frozen=True):
    """A request or an answer, byte for byte."""

    head: bytes
    body: bytes = b""

    @property
    def first_line(self) -> list[str]:
        """The words of its first line."""
        return self.head.split(b"\r\n", 1)[0].decode("latin-1").split(" ", 2)

    @property
    def headers(self) -> dict[str, str]:
        """Values by names in small letters."""
        lines = self.head.decode("latin-1").split("\r\n")[1:]
        return {
            name.strip().lower(): value.strip() for name, _, value in (line.partition(":") for line in lines)
        }

    @property
    def whole(self) -> bytes:
        """All its bytes."""
        return self.head + self.body


async def read_message(reader: asyncio.StreamReader, *, has_body: bool = True) -> Message:
    """Read a message with a length, or without a body.

    Raises:
        asyncio.IncompleteReadError: If it breaks off.
        ValueError: If it comes in a form that is not understood here.
    """
    head = Message(await reader.readuntil(b"\r\n\r\n"))
    if "transfer-encoding" in head.headers:
        raise ValueError(f"what is said in chunks is not passed on: {head.first_line}")
    size = int(head.headers.get("content-length", "0")) if has_body else 0
    return Message(head.head, await reader.readexactly(size)) if size else head


class FaultyProxy:
    """Passes requests to a server on loopback, one at a time for each connection.

    Args:
        port: Of the server.
        rng: Chooses the faults.

    Attributes:
        weather: How bad the way is; may be changed at any time.
        counts: How often each fault came about.
        leases: Token to job and attempt, as the server gave them.
        troubles: What should not have gone by.
    """

    def __init__(self, port: int, rng: random.Random) -> None:
        self.port = 0
        self.weather = CALM
        self.counts: Counter[Fault] = Counter()
        self.statuses: Counter[tuple[str, int]] = Counter()
        self.leases: dict[str, tuple[int, int]] = {}
        self.troubles: list[str] = []
        self._words: dict[tuple[int, int, str], bool] = {}
        self._server_port = port
        self._rng = rng
        self._listeners: list[asyncio.Server] = []
        self._tasks: set[asyncio.Task[Any]] = set()

    async def start(self, hosts: Iterable[str] = ("127.0.0.1",)) -> "FaultyProxy":
        """Listen at one port of each of these addresses."""
        for host in hosts:
            listener = await asyncio.start_server(self._accepted, host, self.port, limit=MOST_BYTES)
            self.port = listener.sockets[0].getsockname()[1]
            self._listeners.append(listener)
        return self

    async def close(self) -> None:
        """Listen no more, and break off what is on its way."""
        for listener in self._listeners:
            listener.close()
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    def words(self) -> list[Word]:
        """Return the last words on attempts that have reached the server."""
        return [Word(*place, is_accepted) for place, is_accepted in self._words.items()]

    def token_of(self, job_id: int, attempt: int) -> str:
        """Return the token of a lease."""
        return next(token for token, place in self.leases.items() if place == (job_id, attempt))

    # -- connections -------------------------------------------------------------------------------------------

    async def _accepted(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._tasks.add(task)
        try:
            with suppress(OSError, asyncio.IncompleteReadError):
                while await self._pass_one(reader, writer):
                    pass
        except (ValueError, asyncio.LimitOverrunError) as error:
            self.troubles.append(repr(error))
        except asyncio.CancelledError:
            pass  # it ends here: nobody waits for it but `close`
        finally:
            self._tasks.discard(task)
            writer.transport.abort()

    async def _pass_one(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> bool:
        """Pass one request on and its answer back; returns whether the connection may go on."""
        request = await read_message(reader)
        fault = self._draw()
        answer = await _while_wanted(reader, self._answered(request, fault))
        if answer is None:
            return False
        if fault is Fault.ANSWER_CUT:
            writer.write(self._part(answer.whole))
            await writer.drain()
            writer.close()
            return False
        writer.write(answer.whole)
        await writer.drain()
        return True

    def _draw(self) -> Fault:
        weather, number = self.weather, self._rng.random()
        index = int(number / weather.chance) if weather.chance else len(weather.faults)
        fault = weather.faults[index] if index < len(weather.faults) else Fault.NONE
        self.counts[fault] += 1
        return fault

    async def _answered(self, request: Message, fault: Fault) -> Message | None:
        """Return what the client is to get; None if that is a connection that ends."""
        if fault is Fault.DROPPED:
            return None
        if fault is Fault.CUT:
            await self._send_part(request)
            return None
        if fault is Fault.DELAYED:
            await asyncio.sleep(self._moment())
        if fault is Fault.DOUBLED:
            first, second = await asyncio.gather(self._send(request), self._send(request))
            return self._rng.choice([first or second, second or first])
        answer = await self._send(request)
        if fault is Fault.REPLAYED:
            self._spawn(self._send_later(request))
        return None if fault is Fault.UNANSWERED else answer

    def _moment(self) -> float:
        return self._rng.uniform(0.0, self.weather.longest)

    def _part(self, data: bytes) -> bytes:
        return data[: self._rng.randrange(len(data))]

    def _spawn(self, work: Coroutine[Any, Any, object]) -> None:
        task = asyncio.ensure_future(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    # -- the server's side -------------------------------------------------------------------------------------

    async def _send_later(self, request: Message) -> None:
        await asyncio.sleep(self._moment())
        await self._send(request)

    async def _send_part(self, request: Message) -> None:
        with suppress(OSError):
            _, writer = await self._connect()
            writer.write(self._part(request.whole))
            with suppress(OSError):
                await writer.drain()
            writer.close()

    async def _connect(self) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        async with asyncio.timeout(CONNECT_SECONDS):
            return await asyncio.open_connection("127.0.0.1", self._server_port, limit=MOST_BYTES)

    async def _send(self, request: Message) -> Message | None:
        """Send a request and return the whole answer; None if there is none."""
        try:
            reader, writer = await self._connect()
        except OSError:
            return None
        try:
            self._note(request, None)
            writer.write(request.whole)
            await writer.drain()
            answer = await read_message(reader)
            self._note(request, answer)
            return answer
        except (OSError, asyncio.IncompleteReadError):
            return None
        finally:
            writer.transport.abort()

    def _note(self, request: Message, answer: Message | None) -> None:
        """Keep what matters of a request that is sent, or has been answered."""
        route = request.first_line[1].rpartition("/")[2]
        status = int(answer.first_line[1]) if answer is not None else 0
        if answer is not None:
            self.statuses[route, status] += 1
            if status == 500:
                self.troubles.append(f"{request.first_line}: {answer.body[:500]!r}")
        if route == "dequeue" and answer is not None and status == 200:
            job = json.loads(answer.body)
            self.leases[job["token"]] = (job["id"], int(answer.headers["runwright-attempt"]))
        if route in VERDICTS:
            token = request.headers["authorization"].split(" ")[-1]
            place = (*self.leases[token], route)
            self._words[place] = self._words.get(place, False) or status == 204


async def _while_wanted(
    reader: asyncio.StreamReader, work: Coroutine[Any, Any, Message | None]
) -> Message | None:
    """Return what the work gives; if the client goes away first, nobody wants it any more."""
    task, gone = asyncio.ensure_future(work), asyncio.ensure_future(reader.read(1))
    try:
        await asyncio.wait({task, gone}, return_when=asyncio.FIRST_COMPLETED)
        return task.result() if task.done() else None
    finally:
        gone.cancel()
        task.cancel()
        await asyncio.gather(task, gone, return_exceptions=True)
