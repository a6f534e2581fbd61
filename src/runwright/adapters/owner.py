"""Who this process is, and whether another owner of a lease still lives."""

import os
from pathlib import Path

from runwright.core.run import Owner


def current_owner() -> Owner:
    """Return this process as the owner of leases."""
    pid = os.getpid()
    started = f"{process_started(pid)}@{process_space()}"
    return Owner(host=os.uname().nodename, boot_id=boot_id(), pid=pid, process_started=started)


def is_alive(owner: Owner) -> bool | None:
    """Tell whether the owner still lives: False only if that is certain, None if it can't be told from here."""
    if owner.host != os.uname().nodename or owner.boot_id != boot_id():
        return None
    own_space = process_space()
    if owner.process_started.partition("@")[2] != own_space:
        return None  # the same number is another process in another container
    started = process_started(owner.pid)
    if started is None:
        return None if _exists(owner.pid) else False
    return f"{started}@{own_space}" == owner.process_started


def boot_id() -> str:
    """Return what changes whenever the machine starts; empty where the system has no such thing."""
    try:
        return Path("/proc/sys/kernel/random/boot_id").read_bytes().decode().strip()
    except OSError:
        return ""


def process_space() -> str:
    """Return the name of the space in which process ids count; empty where the system has only one."""
    try:
        return str(Path("/proc/self/ns/pid").readlink())
    except OSError:
        return ""


def process_started(pid: int) -> str | None:
    """Return when a process started, in the system's own unit; None if there is no such process."""
    try:
        status = Path(f"/proc/{pid}/stat").read_bytes()
    except (FileNotFoundError, ProcessLookupError):
        return None if Path("/proc/self/stat").exists() else _started_by_ps(pid)
    # The name in parentheses may hold spaces and parentheses: count the fields from its end.
    fields = status.rpartition(b")")[2].split()
    # One that only waits to be reaped has ended: it is nobody's start any more.
    return "ended" if fields[0] == b"Z" else fields[19].decode()


def _started_by_ps(pid: int) -> str | None:
    import subprocess  # noqa: PLC0415 - only where there is no /proc; too slow to import on every start

    asked = subprocess.run(
        ["ps", "-o", "lstart=", "-p", str(pid)], capture_output=True, text=True, check=False
    )
    return asked.stdout.strip() or None


def _exists(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True
