"""The lines between a worker and a machine: sockets in the machine's directory, which QEMU connects to as it starts."""

import asyncio
import os
import socket
from collections.abc import Callable, Sequence
from pathlib import Path

PIECE_BYTES = 1 << 16

Line = tuple[asyncio.StreamReader, asyncio.StreamWriter]


class Lines:
    """Sockets that wait for one connection each.

    Args:
        folder: Where they are.
        names: Of the sockets.
        owner: User who may connect; -1 for our own.
    """

    def __init__(self, folder: Path, names: Sequence[str], owner: int) -> None:
        self._folder = folder
        self._names = names
        self._owner = owner
        self._servers: list[asyncio.Server] = []
        self._lines: dict[str, asyncio.Future[Line]] = {}

    async def open(self) -> None:
        """Begin to wait."""
        loop = asyncio.get_running_loop()
        for name in self._names:
            self._lines[name] = loop.create_future()
            door = _door(self._folder, name, self._owner)
            self._servers.append(
                await asyncio.start_unix_server(self._taker(name), sock=door, limit=PIECE_BYTES)
            )

    async def connected(self) -> list[Line]:
        """Return all lines, once each is connected."""
        return [await self._lines[name] for name in self._names]

    def close(self) -> None:
        """Cut all lines; safe to call twice."""
        for server in self._servers:
            server.close()
        for line in self._lines.values():
            if line.done() and not line.cancelled():
                line.result()[1].close()
            line.cancel()

    def _taker(self, name: str) -> Callable[[asyncio.StreamReader, asyncio.StreamWriter], None]:
        def take(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            line = self._lines[name]
            if line.done():
                writer.close()
            else:
                line.set_result((reader, writer))

        return take


def _door(folder: Path, name: str, owner: int) -> socket.socket:
    """Return a socket that is bound in a directory, however long its path is."""
    place = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    door = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        door.bind(f"/proc/self/fd/{place}/{name}")
        os.chmod(name, 0o600, dir_fd=place)
        if owner >= 0:
            os.chown(name, owner, owner, dir_fd=place)
    except BaseException:
        door.close()
        raise
    finally:
        os.close(place)
    return door
