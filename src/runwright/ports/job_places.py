"""Where jobs are worked on: directories, what is written into them, and their end."""

from collections.abc import Callable
from typing import Protocol

from runwright.core.job import JobFile
from runwright.ports.jobs import GivenJob, JobLimits, JobPlace


class Spool(Protocol):
    """Bytes that wait on disk, so that a server that does not answer costs no memory; nobody else can see them."""

    def append(self, data: bytes) -> None:
        """Add to the end."""
        ...

    def read(self, offset: int, size: int) -> bytes:
        """Return at most `size` bytes from `offset` on."""
        ...

    def close(self) -> None:
        """Let them go; safe to call twice."""
        ...


class JobPlaces(Protocol):
    """Makes, fills and removes the places where jobs are worked on.

    Paths are relative to the workspace and free of what `core.job_paths` refuses. Links in a workspace are never followed.
    """

    def make(self, given: GivenJob, limits: JobLimits, kill_grace: float) -> JobPlace:
        """Make the place of an attempt; the worker's boot id, ``-`` and more are its name.

        Raises:
            TaskFailed: With code ``E_WORKSPACE`` if it can't be made.
        """
        ...

    async def make_directory(self, place: JobPlace, path: str) -> None:
        """Make sure that there is a directory, and those above it.

        Raises:
            TaskFailed: With code ``E_PATH`` if something else is in the way, a link for instance.
        """
        ...

    async def write(self, place: JobPlace, path: str, file: JobFile) -> int:
        """Write a file, in the place of one that may be there; returns its mode, 0755 for a script and 0644 for others.

        Raises:
            TaskFailed: With code ``E_PATH`` if something else is in the way, a link for instance; ``E_WORKSPACE`` if it
                can't be written.
        """
        ...

    async def take(self, place: JobPlace, name: str, limit: int) -> bytes | None:
        """Return what a small file at the top of the workspace holds, and remove it; None if there is none.

        Raises:
            TaskFailed: With code ``E_PATH`` if it is no file, or larger than `limit` bytes.
        """
        ...

    async def used_bytes(self, place: JobPlace, limit: int) -> int:
        """Return how much disk the workspace takes; more than `limit` as soon as that is certain.

        A tree that is too large or too deep to be measured in a moment counts as more than any limit.
        """
        ...

    def spool(self) -> Spool:
        """Return an empty spool."""
        ...

    async def remove(self, place: JobPlace) -> list[str]:
        """Remove a place with all that is in it; returns a line for each thing that could not be removed."""
        ...

    async def sweep(self, is_alive: Callable[[str], bool]) -> list[str]:
        """Remove places whose worker has died; returns a line for each.

        Args:
            is_alive: Tells whether the place with this name is one that a living worker is at.
        """
        ...
