"""Control groups of Linux, of both versions, wherever they may be made."""

import os
from contextlib import suppress
from itertools import count
from pathlib import Path

from runwright.adapters.owner import process_started

PREFIX = "runwright-"
ENTRANCE = "cgroup.procs"
SUBTREE = "cgroup.subtree_control"
CPU_PERIOD = 100_000
"""Microseconds of which a bound of CPU allows a share."""

_numbers = count(1)


class LinuxControlGroups:
    """Makes a group below the process's own, or below the nearest one above it in which that is possible.

    Version 1 has a tree for each controller, version 2 one for all. Groups that a killed process left are removed when
    the next one is made beside them.

    Args:
        mounts: The table of mounts, as in ``/proc/self/mountinfo``.
        memberships: The groups of this process, as in ``/proc/self/cgroup``.
    """

    def __init__(
        self,
        mounts: Path = Path("/proc/self/mountinfo"),
        memberships: Path = Path("/proc/self/cgroup"),
    ) -> None:
        self._mounts = mounts
        self._memberships = memberships

    def make(self, memory_bytes: int, pids: int, cpus: float = 0.0) -> "LinuxControlGroup":
        """Make a group with these bounds; 0 means none. What can't be bounded here is told by the group."""
        group = LinuxControlGroup()
        bounds = {"memory": memory_bytes, "pids": pids, "cpu": round(cpus * CPU_PERIOD)}
        wanted = {controller: limit for controller, limit in bounds.items() if limit}
        if wanted:
            _fill(group, wanted, self._trees())
        return group

    def sweep(self) -> None:
        """Remove the groups that processes left which have died."""
        for own in self._trees().values():
            for folder in (own, *own.parents):
                if not _is_open(folder):
                    break
                _sweep(folder)

    def _trees(self) -> dict[str, Path]:
        """Return our own group by controller; that of version 2 has the empty name."""
        try:
            mounted = _mounted(self._mounts.read_text())
            lines = self._memberships.read_text().splitlines()
        except OSError:
            return {}
        found = {}
        for line in lines:
            _, controllers, path = line.split(":", 2)
            for controller in controllers.split(","):
                if controller in mounted:
                    root, place = mounted[controller]
                    found[controller] = _inside(root, place, path)
        return found


class LinuxControlGroup:
    """One group, which is a directory in each tree that takes part."""

    def __init__(self) -> None:
        self.entrances: list[str] = []
        self.holds_memory = False
        self.holds_pids = False
        self.holds_cpus = False
        self._folders: list[Path] = []
        self._counter: Path | None = None

    def bound_v1(self, controller: str, folder: Path | None, limit: int) -> None:
        """Set one bound in a directory of version 1; nothing if it could not be made."""
        if folder is None:
            return
        self._add(folder)
        with suppress(OSError):
            if controller == "memory":
                (folder / "memory.limit_in_bytes").write_text(str(limit))
                with suppress(OSError):  # absent where the kernel does not account for swap
                    (folder / "memory.memsw.limit_in_bytes").write_text(str(limit))
                self._counter = folder / "memory.oom_control"
                self.holds_memory = True
            elif controller == "pids":
                (folder / "pids.max").write_text(str(limit))
                self.holds_pids = True
            else:
                (folder / "cpu.cfs_period_us").write_text(str(CPU_PERIOD))
                (folder / "cpu.cfs_quota_us").write_text(str(limit))
                self.holds_cpus = True

    def bound_v2(self, controller: str, folder: Path | None, limit: int) -> None:
        """Set one bound in a directory of version 2; nothing if it could not be made."""
        if folder is None:
            return
        self._add(folder)
        with suppress(OSError):
            text = f"{limit} {CPU_PERIOD}" if controller == "cpu" else str(limit)
            (folder / f"{controller}.max").write_text(text)
            if controller == "memory":
                with suppress(OSError):
                    (folder / "memory.swap.max").write_text("0")
                self._counter = folder / "memory.events"
                self.holds_memory = True
            elif controller == "pids":
                self.holds_pids = True
            else:
                self.holds_cpus = True

    def ran_out_of_memory(self) -> bool:
        """Tell whether the kernel has killed one of its processes because of the bound."""
        if self._counter is None:
            return False
        try:
            lines = self._counter.read_text().splitlines()
        except OSError:
            return False
        return any(line.startswith("oom_kill ") and line != "oom_kill 0" for line in lines)

    def remove(self) -> None:
        """Take the group away; its processes must have ended."""
        for folder in self._folders:
            with suppress(OSError):
                folder.rmdir()
        self._folders.clear()

    def _add(self, folder: Path) -> None:
        if folder not in self._folders:
            self._folders.append(folder)
            self.entrances.append(str(folder / ENTRANCE))


def _fill(group: LinuxControlGroup, wanted: dict[str, int], trees: dict[str, Path]) -> None:
    name = f"{PREFIX}{os.getpid()}-{process_started(os.getpid())}-{next(_numbers)}"
    for controller, limit in wanted.items():
        if controller in trees:
            group.bound_v1(controller, _make_v1(trees[controller], name), limit)
        elif "" in trees:
            group.bound_v2(controller, _make_v2(trees[""], name, controller), limit)


def _mounted(table: str) -> dict[str, tuple[str, Path]]:
    """Return the root and the place of the tree of each controller; that of version 2 has the empty name."""
    found: dict[str, tuple[str, Path]] = {}
    for line in table.splitlines():
        before, _, after = line.partition(" - ")
        root, place = before.split(" ")[3:5]
        kind, _, options = after.split(" ", 2)
        if kind == "cgroup":
            found.update((option, (root, Path(place))) for option in options.split(","))
        elif kind == "cgroup2":
            found[""] = (root, Path(place))
    return found


def _inside(root: str, place: Path, path: str) -> Path:
    """Return where a group is to be found; a container sees its own group as the root of the tree."""
    inside = path.removeprefix(root) if root != "/" else path
    folder = place / inside.lstrip("/")
    return folder if folder.is_dir() else place


def _make_v1(own: Path, name: str) -> Path | None:
    return _made(own, name) if _is_open(own) else None


def _make_v2(own: Path, name: str, controller: str) -> Path | None:
    """Make a group where its parent hands the controller on, or can be made to."""
    parent = own
    while _is_open(parent):
        if _hands_on(parent, controller):
            return _made(parent, name)
        parent = parent.parent
    return None


def _hands_on(parent: Path, controller: str) -> bool:
    with suppress(OSError):
        if controller not in (parent / SUBTREE).read_text().split():
            (parent / SUBTREE).write_text(f"+{controller}")  # refused if the group has processes of its own
        return controller in (parent / SUBTREE).read_text().split()
    return False


def _is_open(folder: Path) -> bool:
    return os.access(folder, os.W_OK) and os.access(folder / ENTRANCE, os.W_OK)


def _made(parent: Path, name: str) -> Path | None:
    _sweep(parent)
    with suppress(OSError):
        (parent / name).mkdir(exist_ok=True)
        return parent / name
    return None


def _sweep(parent: Path) -> None:
    """Remove the groups of processes that have died; one that still holds processes stays."""
    for path in parent.glob(f"{PREFIX}*-*-*"):
        pid, started = path.name.removeprefix(PREFIX).split("-")[:2]
        if pid.isdigit() and process_started(int(pid)) != started:
            with suppress(OSError):
                path.rmdir()
