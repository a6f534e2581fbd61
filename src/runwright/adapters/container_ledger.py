"""Which containers of ours there are, on disk and told to a helper, so that none outlives a killed engine."""

import asyncio
import os
import sys
from contextlib import suppress
from pathlib import Path

import msgspec
from msgspec import Struct

from runwright.adapters.owner import boot_id, is_alive
from runwright.core.containers import LABEL, is_leaving, list_argv, remove_argv
from runwright.core.errors import TaskFailed
from runwright.core.run import Owner
from runwright.ports.executor import Stream
from runwright.ports.system import Command, Processes

GOODBYE = b"bye\n"
ANSWER_SECONDS = 10.0
"""How long an engine may take to answer a sweep, for which a run waits."""

HELPER = Path(__file__).with_name("container_reaper.py")


class Entry(Struct, frozen=True, kw_only=True):
    """One container: who removes it, its name, and the process that had it made."""

    engine: str
    name: str
    owner: Owner


class FileLedger:
    """Keeps a file for each container that may exist, and starts a helper with the first.

    The helper lives outside the engine's tree of processes. When the engine dies without a goodbye, the helper removes its
    containers at once. If the helper was killed too, the files tell the next engine; see `sweep_containers`.

    Args:
        folder: Of the files; there only while there are any.
        owner: This process.
    """

    def __init__(self, folder: Path, owner: Owner) -> None:
        self._folder = folder
        self._owner = owner
        self._helper: tuple[int, int] | None = None
        self._told: set[str] = set()

    @property
    def owner(self) -> str:
        """Name of this process: host, boot, process id and start."""
        return owner_text(self._owner)

    def enter(self, engine: str, name: str) -> None:
        """Remember a container that is about to be made."""
        data = msgspec.json.encode(Entry(engine=engine, name=name, owner=self._owner))
        while True:
            self._folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            with suppress(FileNotFoundError):  # another engine has just removed the empty directory
                (self._folder / name).write_bytes(data)
                break
        if engine not in self._told:
            self._tell(f"{engine}\n".encode())
            self._told.add(engine)

    def leave(self, name: str) -> None:
        """Forget a container that has been removed, whoever entered it."""
        forget(self._folder / name)

    def abandoned(self) -> list[tuple[str, str]]:
        """Return what processes entered that have died: the engine's program and the container's name."""
        return [
            (engine, path.name) for (engine, _), paths in _abandoned(self._folder).items() for path in paths
        ]

    def close(self) -> None:
        """Let the helper go; safe to call twice."""
        if self._helper is None:
            return
        self._tell(GOODBYE)
        pid, fd = self._helper
        self._helper = None
        self._told.clear()
        os.close(fd)
        with suppress(ChildProcessError):
            os.waitpid(pid, 0)

    def _tell(self, line: bytes) -> None:
        if self._helper is None:
            self._helper = _start_helper(self.owner)
        with suppress(BrokenPipeError):  # it was killed; the files are left
            os.write(self._helper[1], line)


def _start_helper(owner: str) -> tuple[int, int]:
    """Start the helper in a session of its own; return its process id and what it listens to."""
    reader, writer = os.pipe()
    try:
        pid = os.posix_spawn(
            sys.executable,
            [sys.executable, "-I", "-S", str(HELPER), LABEL, owner],
            os.environ,
            file_actions=[
                (os.POSIX_SPAWN_DUP2, reader, 0),
                (os.POSIX_SPAWN_OPEN, 1, os.devnull, os.O_WRONLY, 0),
                (os.POSIX_SPAWN_OPEN, 2, os.devnull, os.O_WRONLY, 0),
            ],
            setsid=sys.platform == "linux",
            setsigmask=(),
        )
    except BaseException:
        os.close(writer)
        raise
    finally:
        os.close(reader)
    return pid, writer


def owner_text(owner: Owner) -> str:
    """Return the name of a process as it stands in labels."""
    return f"{owner.host}:{owner.boot_id}:{owner.pid}:{owner.process_started}"


def forget(path: Path) -> None:
    """Remove a file, and its directory if it was the last."""
    with suppress(OSError):
        path.unlink(missing_ok=True)
        path.parent.rmdir()


async def sweep_containers(folder: Path, processes: Processes, patience: float = ANSWER_SECONDS) -> None:
    """Remove the containers of engines that have died; what can't be removed is left for the next time.

    Args:
        folder: Of the files.
        processes: Runs the engine's program.
        patience: Seconds that each engine may take.
    """
    for (engine, owner), paths in _abandoned(folder).items():
        with suppress(TimeoutError):
            async with asyncio.timeout(patience):
                is_done = await _remove_all(engine, owner, processes)
            for path in paths if is_done else ():
                forget(path)


def _abandoned(folder: Path) -> dict[tuple[str, str], list[Path]]:
    """Return the files of owners that have died, by the engine's program and the owner."""
    found: dict[tuple[str, str], list[Path]] = {}
    for path in sorted(folder.iterdir()) if folder.is_dir() else ():
        entry = _read(path)
        if entry is not None and _is_dead(entry.owner):
            found.setdefault((entry.engine, owner_text(entry.owner)), []).append(path)
    return found


def _read(path: Path) -> Entry | None:
    try:
        return msgspec.json.decode(path.read_bytes(), type=Entry)
    except (OSError, msgspec.DecodeError):
        return None


def _is_dead(owner: Owner) -> bool:
    """Tell whether an owner has certainly died: here, or before this machine started."""
    if owner.host != os.uname().nodename:
        return False
    return owner.boot_id != boot_id() or is_alive(owner) is False


async def _remove_all(engine: str, owner: str, processes: Processes) -> bool:
    """Remove all containers with the label of an owner; False if the engine does not do it."""
    try:
        status, names, _ = await _asked(list_argv(engine, owner), processes)
        if status:
            return False
        if not names:
            return True
        status, _, errors = await _asked(remove_argv(engine, *names.split()), processes)
        return not status or is_leaving(errors)
    except TaskFailed:
        return False


async def _asked(argv: tuple[str, ...], processes: Processes) -> tuple[int, str, str]:
    """Return the status of a command, and what it printed and complained of."""
    said: dict[Stream, bytearray] = {"stdout": bytearray(), "stderr": bytearray()}
    command = Command(argv=argv, cwd="/", kill_grace=0.0)
    exit_ = await processes.run(command, lambda stream, data: said[stream].extend(data))
    printed, errors = (said[stream].decode("utf-8", "replace") for stream in said)
    return exit_.code, printed, errors
