"""The processes below this one: who they are and how they are told to end."""

import _signal  # type: ignore[import-not-found]  # the module signal takes 5 ms to load
import os
import sys

HAS_PROC = sys.platform == "linux"
PR_SET_CHILD_SUBREAPER = 36
SIGKILL: int = _signal.SIGKILL


def send(pid: int, number: int) -> bool:
    """Send a signal to a process, or to a group if `pid` is negative; False if we may not."""
    try:
        os.kill(pid, number)
    except PermissionError:
        return False
    except ProcessLookupError:
        pass
    return True


def children() -> list[int]:
    """Return our own children, zombies included."""
    me = os.getpid()
    try:
        with open(f"/proc/self/task/{me}/children", "rb", buffering=0) as file:  # noqa: PTH123 - no pathlib here
            return [int(pid) for pid in file.readall().split()]
    except OSError:
        return [pid for pid, (parent, _) in processes().items() if parent == me]


def groups_below() -> set[int]:
    """Return the process groups of all our descendants.

    A signal to a group reaches a child that one of its members is forking right now; signals to single processes
    would miss it.
    """
    below: dict[int, list[tuple[int, int]]] = {}
    for pid, (parent, group) in processes().items():
        below.setdefault(parent, []).append((pid, group))
    found = below.get(os.getpid(), [])
    for pid, _ in found:
        found.extend(below.get(pid, ()))
    return {group for _, group in found} - {os.getpgrp()}


def processes() -> dict[int, tuple[int, int]]:
    """Return the parent and the group of every process."""
    if not HAS_PROC:
        return _processes_by_ps()
    found = {}
    for name in os.listdir("/proc"):  # noqa: PTH208
        if name.isdigit():
            try:
                with open(f"/proc/{name}/stat", "rb", buffering=0) as file:  # noqa: PTH123
                    _, parent, group = file.read(512).rpartition(b")")[2].split(None, 3)[:3]
                    found[int(name)] = (int(parent), int(group))
            except OSError:
                continue
    return found


def _processes_by_ps() -> dict[int, tuple[int, int]]:
    from subprocess import run  # noqa: PLC0415 - only where there is no /proc

    lines = run(["ps", "-A", "-o", "pid=,ppid=,pgid="], capture_output=True, check=False).stdout.splitlines()
    return {int(pid): (int(parent), int(group)) for pid, parent, group in (line.split() for line in lines)}


def become_subreaper() -> None:
    """Make orphans below us our children; nothing happens where the system has no such thing."""
    if not HAS_PROC:
        return
    try:
        import _ctypes  # noqa: PLC0415 - a tenth of the start time of ctypes

        library = _ctypes.dlopen(None, 0)  # type: ignore[arg-type]
        prctl = _ctypes.dlsym(library, "prctl")
        _ctypes.call_function(prctl, (PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0))
    except (ImportError, AttributeError):
        import ctypes  # noqa: PLC0415

        ctypes.CDLL(None).prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)
