"""A way to PostgreSQL that loses answers: what a client sent arrives, and what came of it does not."""

import socket
import threading
from contextlib import suppress


class LosingProxy:
    """Passes bytes between clients and a server; `lose_next_answer` breaks a connection off instead.

    Args:
        port: Of the server, on loopback.
    """

    def __init__(self, port: int) -> None:
        self._server_port = port
        self._losing = threading.Semaphore(0)
        self.lost = 0
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port = self._listener.getsockname()[1]
        threading.Thread(target=self._accept, daemon=True).start()

    def lose_next_answer(self) -> None:
        """Break off the connection on which the server answers next, without passing the answer on."""
        self._losing.release()

    def close(self) -> None:
        """Take no more clients."""
        self._listener.close()

    def _accept(self) -> None:
        with suppress(OSError):
            while True:
                client, _ = self._listener.accept()
                server = socket.create_connection(("127.0.0.1", self._server_port))
                threading.Thread(target=self._pass, args=(client, server, False), daemon=True).start()
                threading.Thread(target=self._pass, args=(server, client, True), daemon=True).start()

    def _pass(self, source: socket.socket, target: socket.socket, is_answer: bool) -> None:
        with suppress(OSError):
            while data := source.recv(1 << 16):
                if is_answer and self._losing.acquire(blocking=False):
                    self.lost += 1
                    break
                target.sendall(data)
        for end in (source, target):
            with suppress(OSError):
                end.shutdown(socket.SHUT_RDWR)
            end.close()
