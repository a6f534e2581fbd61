"""The directory of a worker: who it is after a restart, what it is at, and that nobody else is there."""

import fcntl
import os
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path

import msgspec
from msgspec import Struct

from runwright.core.errors import ConflictError, StoreError
from runwright.ports.jobs import GivenJob

LOCK, IDENTITY, JOBS = "worker.lock", "worker.id", "worker.jobs"
ID_BYTES = 4
"""Random bytes in the identity of a directory, and in what a start adds to it."""


class LeftJob(Struct, frozen=True, kw_only=True):
    """A job that a worker was at.

    Attributes:
        since: When it was noted.
    """

    id: int
    queue: str
    attempt: int
    since: datetime


class WorkerHome:
    """A worker's directory, held until it is closed or the process ends.

    Attributes:
        path: Absolute.
        boot_id: Of this start: what the directory is known by, then what this start is known by, in hexadecimal.
        left: What the worker before this one was at, if it died.
    """

    def __init__(self, path: Path, lock: int, identity: str, left: tuple[LeftJob, ...]) -> None:
        self.path = path
        self.boot_id = identity + os.urandom(ID_BYTES).hex()
        self.left = left
        self._identity = identity
        self._lock: int | None = lock
        self._since: dict[tuple[int, int], datetime] = {}

    @classmethod
    def open(cls, path: Path) -> "WorkerHome":
        """Take a directory, made if it is not there (mode 0700).

        Raises:
            ConflictError: If another worker has it.
            StoreError: If it can't be used.
        """
        path = path.absolute()
        try:
            path.mkdir(mode=0o700, parents=True, exist_ok=True)
            lock = os.open(path / LOCK, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        except OSError as error:
            raise StoreError(f"{path} can't be a worker's directory: {error.strerror}") from None
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            return cls(path, lock, _identity(path / IDENTITY), _left(path / JOBS))
        except BlockingIOError:
            os.close(lock)
            message = f"another worker uses {path}; give each one its own --work-dir"
            raise ConflictError(message) from None
        except OSError as error:
            os.close(lock)
            raise StoreError(f"{path} can't be a worker's directory: {error.strerror}") from None

    def is_alive(self, place: str) -> bool:
        """Tell whether a place belongs to this worker, or to one that this directory knows nothing of."""
        return place.startswith(self.boot_id) or not place.startswith(self._identity)

    def note(self, jobs: Sequence[GivenJob]) -> None:
        """Write down which jobs there are; each call replaces the one before.

        Raises:
            OSError: If that is not possible.
        """
        now = datetime.now(UTC)
        self._since = {
            (each.job.id, each.attempt): self._since.get((each.job.id, each.attempt), now) for each in jobs
        }
        rows = [
            LeftJob(
                id=each.job.id,
                queue=each.queue,
                attempt=each.attempt,
                since=self._since[each.job.id, each.attempt],
            )
            for each in jobs
        ]
        _write(self.path / JOBS, msgspec.json.encode(rows))

    def close(self) -> None:
        """Let the directory go; safe to call twice."""
        if self._lock is not None:
            os.close(self._lock)
            self._lock = None


def _identity(path: Path) -> str:
    """Return what a directory is known by, made on first use."""
    try:
        text = path.read_text(encoding="ascii").strip()
        if len(bytes.fromhex(text)) == ID_BYTES:
            return text
    except (FileNotFoundError, ValueError):
        pass
    text = os.urandom(ID_BYTES).hex()
    _write(path, text.encode())
    return text


def _left(path: Path) -> tuple[LeftJob, ...]:
    try:
        return msgspec.json.decode(path.read_bytes(), type=tuple[LeftJob, ...])
    except (FileNotFoundError, msgspec.DecodeError):
        return ()


def _write(path: Path, data: bytes) -> None:
    """Replace a file at once, so that a crash leaves the old one or the new one."""
    new = path.with_name(path.name + ".new")
    handle = os.open(new, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600)
    try:
        os.write(handle, data)
    finally:
        os.close(handle)
    new.replace(path)
