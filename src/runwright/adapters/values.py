"""Values of tasks as files, each named by the digest of its content."""

import asyncio
import os
import re
from contextlib import suppress
from itertools import count
from pathlib import Path

from blake3 import blake3

from runwright.core.errors import StoreCorrupt, StoreError

DIGEST = r"[0-9a-f]{64}"

_numbers = count()


class DirectoryValues:
    """Keeps ``root/ab/abcdef...``, for its owner alone; a file appears whole and on the disk, or not at all.

    Args:
        root: Absolute path; made on first use.
    """

    def __init__(self, root: Path) -> None:
        self._root = root

    async def put(self, data: bytes) -> str:
        """Keep bytes and return their digest."""
        return await asyncio.to_thread(self._put, data)

    async def get(self, digest: str) -> bytes:
        """Return the bytes of a digest, once they have been found to be unaltered."""
        return await asyncio.to_thread(self._get, digest)

    def _put(self, data: bytes) -> str:
        digest = _digest(data)
        path = self._path(digest)
        try:
            if not _holds(path, data):
                self._write(path, data)
        except OSError as error:
            raise StoreError(f"a value can't be kept in {path.parent}: {error.strerror or error}") from error
        return digest

    def _write(self, path: Path, data: bytes) -> None:
        made = [folder for folder in (self._root, path.parent) if not folder.is_dir()]
        self._root.mkdir(mode=0o700, parents=True, exist_ok=True)
        path.parent.mkdir(mode=0o700, exist_ok=True)
        temporary = path.with_name(f".{path.name}-{os.getpid()}-{next(_numbers)}")
        try:
            handle = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
            with os.fdopen(handle, "wb") as file:
                file.write(data)
                file.flush()
                os.fsync(file.fileno())
            temporary.replace(path)
        except BaseException:
            with suppress(OSError):
                temporary.unlink()
            raise
        for folder in (path.parent, *(new.parent for new in made)):
            _sync(folder)

    def _get(self, digest: str) -> bytes:
        path = self._path(digest)
        try:
            data = path.read_bytes()
        except FileNotFoundError:
            raise StoreCorrupt(
                f"the value {digest} is gone: there is no file {path}; run its task again"
            ) from None
        except OSError as error:
            raise StoreError(f"the value {path} can't be read: {error.strerror or error}") from error
        if _digest(data) != digest:
            raise StoreCorrupt(f"the value {path} has been altered; remove the file, and run its task again")
        return data

    def _path(self, digest: str) -> Path:
        if not re.fullmatch(DIGEST, digest):
            raise StoreCorrupt(f"{digest!r} is no digest of a value")
        return self._root / digest[:2] / digest


def _digest(data: bytes) -> str:
    return blake3(data).hexdigest()


def _holds(path: Path, data: bytes) -> bool:
    """Tell whether a file holds just these bytes; one that was damaged is written anew."""
    try:
        return path.stat().st_size == len(data) and path.read_bytes() == data
    except FileNotFoundError:
        return False


def _sync(folder: Path) -> None:
    handle = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
