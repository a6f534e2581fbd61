"""Places of jobs as directories of the worker."""

import os
import stat
import tempfile
from collections.abc import Callable
from contextlib import suppress
from datetime import datetime
from pathlib import Path
from threading import Event

from runwright.adapters.job_trees import folder, kind_of, path_failure, remove_tree, used_bytes
from runwright.adapters.waiting import in_thread
from runwright.core.errors import Failure, TaskFailed
from runwright.core.job import JobFile
from runwright.core.job_paths import file_names, path_names
from runwright.ports.jobs import GivenJob, JobLimits, JobPlace

WORKSPACE, SCRATCH = "work", "scratch"
FRESH = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
READ = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
SCRIPT_MARK = b"#!"
FIRST_YEAR = 1970


class DirectoryPlaces:
    """Keeps ``root/NAME/work`` and ``root/NAME/scratch`` for each attempt, mode 0700.

    Args:
        root: Absolute; made on first use, and nobody else's.
        boot_id: Of the worker since its start; begins the name of each place.
    """

    def __init__(self, root: Path, boot_id: str) -> None:
        self._root = root
        self._boot_id = boot_id

    def make(self, given: GivenJob, limits: JobLimits, kill_grace: float) -> JobPlace:
        """Make the place of an attempt.

        Raises:
            TaskFailed: With code ``E_WORKSPACE`` if it can't be made.
        """
        base = f"{self._boot_id}-{given.job.id}-{given.attempt}"
        try:
            name = self._claim(base)
        except OSError as error:
            raise _failure(f"the workspace can't be made: {error.strerror}") from error
        return JobPlace(
            name=name,
            workspace=self._root / name / WORKSPACE,
            scratch=self._root / name / SCRATCH,
            limits=limits,
            docker_auth=given.job.docker_auth_config,
            kill_grace=kill_grace,
        )

    async def make_directory(self, place: JobPlace, path: str) -> None:
        """Make sure that there is a directory, and those above it.

        Raises:
            TaskFailed: With code ``E_PATH`` if something else is in the way; ``E_WORKSPACE`` if it can't be made.
        """
        await in_thread(lambda _: _make_directory(place.workspace, path))

    async def write(self, place: JobPlace, path: str, file: JobFile) -> int:
        """Write a file anew, so that no other name of what was there leads to it; returns its mode.

        Raises:
            TaskFailed: With code ``E_PATH`` if something else is in the way; ``E_WORKSPACE`` if it can't be written.
        """
        return await in_thread(lambda _: _write(place.workspace, path, file))

    async def take(self, place: JobPlace, name: str, limit: int) -> bytes | None:
        """Return what a small file at the top of the workspace holds, and remove it; None if there is none.

        Raises:
            TaskFailed: With code ``E_PATH`` if it is no file, or larger than `limit` bytes.
        """
        return await in_thread(lambda _: _take(place.workspace, name, limit))

    async def used_bytes(self, place: JobPlace, limit: int) -> int:
        """Return how much disk the workspace takes; more than `limit` as soon as that is certain."""
        return await in_thread(lambda stop: used_bytes(place.workspace, limit, stop))

    def spool(self) -> "FileSpool":
        """Return an empty spool, in a file without a name."""
        self._root.mkdir(mode=0o700, parents=True, exist_ok=True)
        return FileSpool(self._root)

    async def remove(self, place: JobPlace) -> list[str]:
        """Remove a place with all that is in it; returns a line for each thing that could not be removed."""
        return await in_thread(lambda stop: remove_tree(self._root / place.name, stop))

    async def sweep(self, is_alive: Callable[[str], bool]) -> list[str]:
        """Remove places whose worker has died; returns a line for each."""
        return await in_thread(lambda stop: self._sweep(is_alive, stop))

    def _claim(self, base: str) -> str:
        """Make a directory of that name; a number follows it if there is one, as ids of jobs repeat among queues."""
        self._root.mkdir(mode=0o700, parents=True, exist_ok=True)
        name, number = base, 1
        while True:
            try:
                (self._root / name).mkdir(mode=0o700)
                break
            except FileExistsError:
                number += 1
                name = f"{base}-{number}"
        for part in (WORKSPACE, SCRATCH):
            (self._root / name / part).mkdir(mode=0o700)
        return name

    def _sweep(self, is_alive: Callable[[str], bool], stop: Event) -> list[str]:
        lines: list[str] = []
        if not self._root.is_dir():
            return lines
        for path in sorted(self._root.iterdir()):
            if path.is_dir() and not is_alive(path.name):
                left = remove_tree(path, stop)
                lines.append(
                    f"workspace {path.name}: {'; '.join(left)}" if left else f"removed workspace {path.name}"
                )
        return lines


class FileSpool:
    """Bytes in a file that has no name, so it is gone when the worker is, however that ends."""

    def __init__(self, root: Path) -> None:
        self._file = tempfile.TemporaryFile(dir=root, buffering=0)  # noqa: SIM115 - it outlives this call

    def append(self, data: bytes) -> None:
        """Add to the end.

        Raises:
            TaskFailed: With code ``E_WORKSPACE`` if the disk is full.
        """
        try:
            while data:
                data = data[self._file.write(data) :]
        except OSError as error:
            raise _failure(f"output can't be kept on the worker's disk: {error.strerror}") from error

    def read(self, offset: int, size: int) -> bytes:
        """Return at most `size` bytes from `offset` on."""
        return os.pread(self._file.fileno(), size, offset)

    def close(self) -> None:
        """Let them go; safe to call twice."""
        self._file.close()


def _failure(message: str) -> TaskFailed:
    return TaskFailed(Failure(code="E_WORKSPACE", message=message))


def _checked(path: str, read: Callable[[str], tuple[str, ...]]) -> tuple[str, ...]:
    try:
        return read(path)
    except ValueError as error:
        raise path_failure(path, str(error)) from None


def _make_directory(workspace: Path, path: str) -> None:
    try:
        with folder(workspace, _checked(path, path_names), make=True):
            pass
    except OSError as error:
        raise _failure(f'directory "{path}" can\'t be made: {error.strerror}') from error


def _write(workspace: Path, path: str, file: JobFile) -> int:
    *above, name = _checked(path, file_names)
    mode = 0o755 if file.content.startswith(SCRIPT_MARK) else 0o644
    try:
        with folder(workspace, above, make=True) as parent:
            kind = kind_of(parent, name)
            if kind not in ("a file", "nothing"):
                raise path_failure(path, f"can't be written: {kind} is there")
            _put(parent, name, file, mode)
    except OSError as error:
        raise _failure(f'"{path}" can\'t be written: {error.strerror}') from error
    return mode


def _put(parent: int, name: str, file: JobFile, mode: int) -> None:
    """Write a new file and move it to its place."""
    fresh = f".{os.urandom(8).hex()}"
    descriptor = os.open(fresh, FRESH, 0o600, dir_fd=parent)
    try:
        with os.fdopen(descriptor, "wb") as out:
            out.write(file.content)
            out.flush()
            os.fchmod(descriptor, mode)
            if file.modified_at is not None and file.modified_at.year >= FIRST_YEAR:
                os.utime(descriptor, ns=_nanoseconds(file.modified_at))
        os.rename(fresh, name, src_dir_fd=parent, dst_dir_fd=parent)
    except BaseException:
        with suppress(OSError):
            os.unlink(fresh, dir_fd=parent)
        raise


def _nanoseconds(at: datetime) -> tuple[int, int]:
    whole = round(at.timestamp() * 1_000_000) * 1_000
    return whole, whole


def _take(workspace: Path, name: str, limit: int) -> bytes | None:
    try:
        with folder(workspace, ()) as top:
            descriptor = os.open(name, READ, dir_fd=top)
            with os.fdopen(descriptor, "rb") as file:
                if not stat.S_ISREG(os.fstat(descriptor).st_mode):
                    raise path_failure(name, "is no plain file")
                data = file.read(limit + 1)
            os.unlink(name, dir_fd=top)
    except FileNotFoundError:
        return None
    except OSError as error:
        raise path_failure(name, f"can't be read: {error.strerror}") from error
    if len(data) > limit:
        raise path_failure(name, f"has more than {limit:,} bytes")
    return data
