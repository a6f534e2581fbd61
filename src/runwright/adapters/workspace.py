"""Private directories of runs, each held by a lock that ends with its engine."""

import fcntl
import os
from pathlib import Path

from runwright.core.file_names import safe_name

LOCK = ".lock"


class DirectoryWorkspaces:
    """Keeps ``root/<run id>/<task id>/``.

    The lock file of a run is held open by its engine, so `sweep` can tell what a dead engine left behind from what
    is in use, on this machine.

    Args:
        root: Absolute path; made on first use.
    """

    def __init__(self, root: Path) -> None:
        self._root = root
        self._locks: dict[str, int] = {}

    def task_dir(self, run_id: str, task_id: str) -> Path:
        """Return the directory of one task of a run, made on first use."""
        if run_id not in self._locks:
            self._locks[run_id] = self._claim(run_id)
        path = self._root / run_id / directory_name(task_id)
        path.mkdir(mode=0o700, exist_ok=True)
        return path

    def discard(self, run_id: str) -> None:
        """Remove everything of a run; does nothing if there is nothing."""
        lock = self._locks.pop(run_id, None)
        if lock is not None:
            _remove(self._root / run_id)
            os.close(lock)

    def sweep(self) -> None:
        """Remove what runs whose engine has died left behind."""
        if not self._root.is_dir():
            return
        for path in self._root.iterdir():
            if path.name not in self._locks:
                _remove_if_abandoned(path)

    def _claim(self, run_id: str) -> int:
        path = self._root / run_id
        self._root.mkdir(mode=0o700, parents=True, exist_ok=True)
        path.mkdir(mode=0o700, exist_ok=True)
        lock = os.open(path / LOCK, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        fcntl.flock(lock, fcntl.LOCK_EX)
        return lock


def _remove_if_abandoned(path: Path) -> None:
    try:
        lock = os.open(path / LOCK, os.O_RDWR | os.O_CLOEXEC)
    except OSError:
        return
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        _remove(path)
    except OSError:
        pass  # its engine lives
    finally:
        os.close(lock)


def _remove(folder: Path) -> None:
    """Remove a directory with all that is in it; what can't be removed stays."""
    try:
        for name in os.listdir(folder):  # noqa: PTH208 - mostly empty directories and the lock
            path = folder / name
            (path.unlink if name == LOCK else path.rmdir)()
        folder.rmdir()
    except OSError:
        from shutil import rmtree  # noqa: PLC0415 - it takes 2 ms to load

        rmtree(folder, ignore_errors=True)


def directory_name(task_id: str) -> str:
    """Return a file name for a task id; different ids have different names, and none climbs out."""
    name = safe_name(task_id)
    return "%2Elock" if name == LOCK else name
