"""A disk that can lose power or fail, as a VFS of SQLite.

Writes reach the real files at once, as they reach the page cache of a system. What would be on the plate is kept apart:
only a sync moves writes there. A loss of power keeps a random part of what was not synced, sector by sector.
"""

import asyncio
import random
from collections.abc import Callable
from pathlib import Path

import apsw

SECTOR = 512


class Plate:
    """What is on the plate of one file, and the writes that are still on their way to it."""

    def __init__(self, content: bytes, exists: bool) -> None:
        self.content = bytearray(content)
        self.exists = exists
        self.pending: list[tuple[int, bytes | None]] = []

    def sync(self) -> None:
        for offset, data in self.pending:
            self._put(self.content, offset, data)
        self.pending = []
        self.exists = True

    def after_loss(self, dice: random.Random, keep: float) -> bytes | None:
        """Return what the file holds when the power is back, None if its name was not on the disk yet."""
        if not self.exists and dice.random() >= keep:
            return None
        content = bytearray(self.content)
        for offset, data in self.pending:
            if data is None:
                if dice.random() < keep:
                    self._put(content, offset, None)
                continue
            start = 0
            while start < len(data):
                end = start + SECTOR - (offset + start) % SECTOR
                if dice.random() < keep:
                    self._put(content, offset + start, data[start:end])
                start = end
        return bytes(content)

    @staticmethod
    def _put(content: bytearray, offset: int, data: bytes | None) -> None:
        if data is None:
            del content[offset:]
            return
        if len(content) < offset:
            content.extend(bytes(offset - len(content)))
        content[offset : offset + len(data)] = data


class Disk(apsw.VFS):
    """Stands in for the disk of every connection opened while it is the default.

    Args:
        on_operation: Called with the number of each write, truncation, sync or deletion before it happens; an exception
            from it is that operation's.
    """

    def __init__(self, on_operation: Callable[[int], None]) -> None:
        self.plates: dict[str, Plate] = {}
        self.operations = 0
        self._on_operation = on_operation
        super().__init__("faulty", "unix", makedefault=True)

    def step(self) -> None:
        self.operations += 1
        self._on_operation(self.operations)

    def after_loss(self, dice: random.Random) -> dict[str, bytes]:
        """Return the files by name as they are when the power is back."""
        keep = dice.choice((0.0, 0.5, 0.9, 1.0))
        found = {Path(name).name: plate.after_loss(dice, keep) for name, plate in self.plates.items()}
        return {name: content for name, content in found.items() if content is not None}

    def xOpen(self, name, flags):
        return _File(self, name, flags)

    def xDelete(self, name, syncdir):
        self.step()
        self.plates.pop(name, None)
        super().xDelete(name, syncdir)


class _File(apsw.VFSFile):
    def __init__(self, disk: Disk, name, flags) -> None:
        self._disk = disk
        path = name.filename() if isinstance(name, apsw.URIFilename) else name
        if path is None:
            self._plate = Plate(b"", False)  # a temporary file
        elif path not in disk.plates:
            real = Path(path)
            exists = real.exists()
            disk.plates[path] = Plate(real.read_bytes() if exists else b"", exists)
        if path is not None:
            self._plate = disk.plates[path]
        super().__init__("unix", name, flags)

    def xWrite(self, data, offset):
        self._disk.step()
        self._plate.pending.append((offset, bytes(data)))
        super().xWrite(data, offset)

    def xTruncate(self, size):
        self._disk.step()
        self._plate.pending.append((size, None))
        super().xTruncate(size)

    def xSync(self, flags):
        self._disk.step()
        self._plate.sync()


class Power:
    """Fails at one operation of the disk and stays off."""

    def __init__(self, dice: random.Random, fails_at: int) -> None:
        self.disk = Disk(self.operation)
        self.dice = dice
        self.fails_at = fails_at
        self.acknowledged = 0
        self.acknowledged_at_loss = 0
        self.files: dict[str, bytes] | None = None

    def operation(self, number: int) -> None:
        if number == self.fails_at:
            self.fail()
        if self.files is not None:
            raise apsw.IOError("the power is off")

    def fail(self) -> None:
        self.acknowledged_at_loss = self.acknowledged
        self.files = self.disk.after_loss(self.dice)

    def acknowledge(self, future: asyncio.Future) -> None:
        self.acknowledged += future.exception() is None
