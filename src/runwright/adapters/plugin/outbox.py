"""Messages on their way from the thread of an executor to a stream of gRPC, which has a thread of its own."""

import asyncio
import threading
from collections import deque

from google.protobuf.message import Message

ROOM_BYTES = 1 << 20
"""What may be on its way; whoever writes more waits, as for a disk."""


class Outbox:
    """A queue between two threads; made in the loop of the reader.

    It ends with `finish`, or with `close` if nobody reads any more.
    """

    def __init__(self) -> None:
        self._loop = asyncio.get_running_loop()
        self._ready = asyncio.Event()
        self._messages: deque[tuple[Message, int]] = deque()
        self._room = threading.Condition()
        self._size = 0
        self._is_finished = False
        self._is_closed = False

    def put(self, message: Message) -> None:
        """Add a message; waits while too much is on its way. What nobody reads any more is dropped."""
        size = message.ByteSize()
        with self._room:
            while self._size > ROOM_BYTES and not self._is_closed:
                self._room.wait()
            if self._is_closed:
                return
            self._messages.append((message, size))
            self._size += size
        self._wake()

    def finish(self) -> None:
        """Say that no more messages come."""
        self._is_finished = True
        self._wake()

    def close(self) -> None:
        """Say that nobody reads any more."""
        with self._room:
            self._is_closed = True
            self._room.notify_all()

    async def get(self) -> Message | None:
        """Return the next message; None after the last one."""
        while not self._messages:
            if self._is_finished:
                return None
            self._ready.clear()
            if not self._messages and not self._is_finished:
                await self._ready.wait()
        with self._room:
            message, size = self._messages.popleft()
            self._size -= size
            self._room.notify_all()
        return message

    def _wake(self) -> None:
        if not self._loop.is_closed():
            self._loop.call_soon_threadsafe(self._ready.set)
