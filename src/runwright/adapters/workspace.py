"""Private directories of runs, each held by a lock that ends with its engine."""

import fcntl
import os
import shutil
from pathlib import Path
from urllib.parse import quote

from blake3 import blake3

LONGEST_NAME = 120
"""Longest readable directory name, in bytes; longer task ids are cut and told apart by digest."""


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
            shutil.rmtree(self._root / run_id, ignore_errors=True)
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
        lock = os.open(path / ".lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        fcntl.flock(lock, fcntl.LOCK_EX)
        return lock


def _remove_if_abandoned(path: Path) -> None:
    try:
        lock = os.open(path / ".lock", os.O_RDWR | os.O_CLOEXEC)
    except OSError:
        return
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        shutil.rmtree(path, ignore_errors=True)
    except OSError:
        pass  # its engine lives
    finally:
        os.close(lock)


def directory_name(task_id: str) -> str:
    """Return a file name for a task id; different ids have different names, and none climbs out."""
    name = quote(task_id, safe="[]=,@ ")
    name = name.replace(".", "%2E") if name.strip(".") == "" else name
    if name == ".lock":
        name = "%2Elock"
    if len(name) > LONGEST_NAME:
        name = f"{name[:LONGEST_NAME]}~{blake3(task_id.encode()).hexdigest(16)}"
    return name
