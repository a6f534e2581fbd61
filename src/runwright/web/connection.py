"""Connections of the HTTP server that are bounded where uvicorn's own are not."""

import asyncio
from typing import Any

import h11
import msgspec
from uvicorn.protocols.http.h11_impl import H11Protocol

from runwright.web.refusals import JSON, ErrorAnswer

HEADER_SECONDS = 10.0
"""How long the head of a request may take, from its first byte or from the begin of the connection."""

HEADER_BYTES = 32 * 1024
"""Size of the head of a request."""

IDLE_SECONDS = 75.0
"""How long a connection is kept between two requests."""

MOST_CONNECTIONS = 2_000
"""Beyond this, the connection that has waited longest for the head of a request ends."""


class BoundedConnection(H11Protocol):
    """One connection: the head of a request comes soon, or never."""

    _head_timer: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Begin to wait for a request; if there are too many connections, an idle one makes room."""
        super().connection_made(transport)
        self._await_head()
        if len(self.connections) > MOST_CONNECTIONS:
            self._make_room()

    def connection_lost(self, exc: Exception | None) -> None:
        """Stop waiting."""
        self._stop_waiting()
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        """Take what has come; it must become the head of a request in time."""
        if self._is_idle() and self._head_timer is None:
            self._await_head()
        super().data_received(data)
        if not self._is_idle():
            self._stop_waiting()

    def _is_idle(self) -> bool:
        return self.cycle is None or self.cycle.response_complete

    def _await_head(self) -> None:
        self._head_timer = self.loop.call_later(HEADER_SECONDS, self._too_slow)

    def _stop_waiting(self) -> None:
        if self._head_timer is not None:
            self._head_timer.cancel()
            self._head_timer = None

    def _too_slow(self) -> None:
        self._head_timer = None
        if self._is_idle() and not self.transport.is_closing():
            if self.conn.trailing_data[0]:
                self._refuse(408, "the head of the request came too slowly")
            self.transport.close()

    def _make_room(self) -> None:
        waiting: Any = (each for each in self.connections if isinstance(each, BoundedConnection))
        idle = [each for each in waiting if each is not self and each._is_idle()]
        with_timer = [each for each in idle if each._head_timer is not None]
        for victim in sorted(with_timer, key=_deadline)[:1] or idle[:1] or [self]:
            victim.transport.abort()

    def send_400_response(self, msg: str) -> None:
        """Refuse what is no HTTP, or has a head that is too large."""
        if self.cycle is not None and not self.cycle.response_complete:
            self.cycle.disconnected = True
            self.cycle.message_event.set()
        if self.conn.our_state in (h11.IDLE, h11.SEND_RESPONSE):
            self._refuse(400, "this is no HTTP/1.1 request, or its head is too large")
        self.transport.close()

    def _refuse(self, status: int, message: str) -> None:
        body = msgspec.json.encode(ErrorAnswer(error=message))
        headers = [
            (b"content-type", JSON.encode()),
            (b"content-length", str(len(body)).encode()),
            (b"connection", b"close"),
        ]
        for event in (
            h11.Response(status_code=status, headers=headers, reason=b""),
            h11.Data(data=body),
            h11.EndOfMessage(),
        ):
            self.transport.write(self.conn.send(event) or b"")


def _deadline(connection: BoundedConnection) -> float:
    assert connection._head_timer is not None
    return connection._head_timer.when()
