"""Places of jobs in memory."""

from collections.abc import Callable
from pathlib import Path

from runwright.core.errors import Failure, TaskFailed
from runwright.core.job import JobFile
from runwright.core.job_paths import file_names, path_names
from runwright.ports.jobs import GivenJob, JobLimits, JobPlace


class MemorySpool:
    """Bytes in memory.

    Attributes:
        data: All of them.
        closed: True once it has been closed.
    """

    def __init__(self) -> None:
        self.data = bytearray()
        self.closed = False

    def append(self, data: bytes) -> None:
        """Add to the end."""
        self.data += data

    def read(self, offset: int, size: int) -> bytes:
        """Return at most `size` bytes from `offset` on."""
        return bytes(self.data[offset : offset + size])

    def close(self) -> None:
        """Remember that it is closed."""
        self.closed = True


class MemoryPlaces:
    """Workspaces as tables of files.

    Attributes:
        files: What was written, by name of the place and path.
        directories: What was made, likewise.
        notes: Small files that a step has left, by name of the place and name.
        used: Bytes that workspaces take.
        left: What can't be removed.
        live: Names of the places that there are.
        spools: Every spool, in order.
    """

    def __init__(self) -> None:
        self.files: dict[tuple[str, str], bytes] = {}
        self.directories: list[tuple[str, str]] = []
        self.notes: dict[tuple[str, str], bytes] = {}
        self.used = 0
        self.left: list[str] = []
        self.live: list[str] = []
        self.spools: list[MemorySpool] = []

    def make(self, given: GivenJob, limits: JobLimits, kill_grace: float) -> JobPlace:
        """Name a place."""
        name = f"boot-{given.job.id}-{given.attempt}"
        self.live.append(name)
        root = Path("/nonexistent") / name
        return JobPlace(
            name=name,
            workspace=root / "work",
            scratch=root / "scratch",
            limits=limits,
            docker_auth=given.job.docker_auth_config,
            kill_grace=kill_grace,
        )

    async def make_directory(self, place: JobPlace, path: str) -> None:
        """Remember a directory."""
        _check(path, path_names)
        self.directories.append((place.name, path))

    async def write(self, place: JobPlace, path: str, file: JobFile) -> int:
        """Remember a file."""
        _check(path, file_names)
        self.files[place.name, path] = file.content
        return 0o755 if file.content.startswith(b"#!") else 0o644

    async def take(self, place: JobPlace, name: str, limit: int) -> bytes | None:
        """Return a note and forget it."""
        return self.notes.pop((place.name, name), None)

    async def used_bytes(self, place: JobPlace, limit: int) -> int:
        """Return what it is set to."""
        return self.used

    def spool(self) -> MemorySpool:
        """Return an empty spool."""
        self.spools.append(MemorySpool())
        return self.spools[-1]

    async def remove(self, place: JobPlace) -> list[str]:
        """Forget a place."""
        self.live.remove(place.name)
        return list(self.left)

    async def sweep(self, is_alive: Callable[[str], bool]) -> list[str]:
        """Forget the places of the dead."""
        dead = [name for name in self.live if not is_alive(name)]
        self.live = [name for name in self.live if is_alive(name)]
        return [f"removed workspace {name}" for name in dead]


def _check(path: str, read: Callable[[str], object]) -> None:
    try:
        read(path)
    except ValueError as error:
        raise TaskFailed(Failure(code="E_PATH", message=f'"{path}" {error}')) from None
