"""A way to a server on loopback that keeps every byte that goes over it."""

import re
import socket
import threading
from collections.abc import Iterator
from contextlib import suppress

PIECE = 1 << 16
LENGTH = re.compile(rb"\r\ncontent-length: *(\d+)", re.IGNORECASE)


class Conversation:
    """One connection.

    Attributes:
        asked: What the client has said.
        told: What the server has said.
    """

    def __init__(self) -> None:
        self.asked = bytearray()
        self.told = bytearray()


class WireTap:
    """Passes connections on.

    Args:
        port: Of the server.

    Attributes:
        url: Where clients find it.
        conversations: All that there have been.
    """

    def __init__(self, port: int) -> None:
        self.conversations: list[Conversation] = []
        self._server_port = port
        self._listener = socket.create_server(("127.0.0.1", 0))
        self._open: list[socket.socket] = []
        self.url = f"http://127.0.0.1:{self._listener.getsockname()[1]}"
        threading.Thread(target=self._accept, daemon=True).start()

    @property
    def asked(self) -> bytes:
        """Everything that clients have said."""
        return b"\n".join(bytes(each.asked) for each in self.conversations)

    @property
    def told(self) -> bytes:
        """Everything that the server has said."""
        return b"\n".join(bytes(each.told) for each in self.conversations)

    def answers_to(self, path: bytes) -> tuple[bytes, bytes]:
        """Return the bodies of the answers to requests whose path ends so, and all else that the server has said."""
        chosen, rest = [], []
        for each in self.conversations:
            requests = [head.split(b" ", 2)[1] for head, _ in _messages(bytes(each.asked))]
            for request, (head, body) in zip(requests, _messages(bytes(each.told)), strict=False):
                rest.append(head)
                (chosen if request.endswith(path) else rest).append(body)
        return b"\n".join(chosen), b"\n".join(rest)

    def close(self) -> None:
        """Pass nothing on any more."""
        for one in (self._listener, *self._open):
            with suppress(OSError):
                one.shutdown(socket.SHUT_RDWR)
            one.close()

    def _accept(self) -> None:
        with suppress(OSError):
            while True:
                client, _ = self._listener.accept()
                self._open.append(client)
                try:
                    server = socket.create_connection(("127.0.0.1", self._server_port))
                except OSError:
                    client.close()
                    continue
                self._open.append(server)
                self._join(client, server)

    def _join(self, client: socket.socket, server: socket.socket) -> None:
        one = Conversation()
        self.conversations.append(one)
        for ends in ((client, server, one.asked), (server, client, one.told)):
            threading.Thread(target=_pump, args=ends, daemon=True).start()


def _pump(source: socket.socket, target: socket.socket, record: bytearray) -> None:
    with suppress(OSError):
        while data := source.recv(PIECE):
            record += data
            target.sendall(data)
    with suppress(OSError):
        target.shutdown(socket.SHUT_WR)


def _messages(data: bytes) -> Iterator[tuple[bytes, bytes]]:
    """Yield the messages on a connection, head and body; the last one may have been broken off."""
    at = 0
    while at < len(data):
        end = data.find(b"\r\n\r\n", at)
        head = data[at : end if end >= 0 else len(data)]
        assert b"transfer-encoding" not in head.lower(), "what has no length is not understood here"
        size = LENGTH.search(head)
        at += len(head) + 4
        body = data[at : at + int(size[1])] if size else b""
        yield head, body
        at += len(body)
