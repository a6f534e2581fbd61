"""Commands that try to outlive their task, and the detector that finds whatever they leave."""

import os
import signal
import sys
import time
from collections.abc import Callable
from pathlib import Path

ESCAPES = {
    "background child": "sleep 3600 & echo ready; {tail}",
    "background child holding stdout": "(sleep 3600; echo late) & echo ready; {tail}",
    "double fork": "(sh -c 'sleep 3600 & exec sleep 3600' &) ; echo ready; {tail}",
    "setsid": "setsid sleep 3600 </dev/null >/dev/null 2>&1 & echo ready; {tail}",
    "double fork and setsid": "(setsid sh -c 'sleep 3600 & sleep 3600' >/dev/null 2>&1 &) ; echo ready; {tail}",
    "nohup": "nohup sleep 3600 >/dev/null 2>&1 & echo ready; {tail}",
    "ignored signals": "trap '' TERM INT HUP; (trap '' TERM INT HUP; sleep 3600; sleep 3600) & echo ready; {tail}",
    "empty environment": "env -i PATH=\"$PATH\" setsid sh -c '(sleep 3600 &)' >/dev/null 2>&1 & echo ready; {tail}",
    "stopped child": "sleep 3600 & kill -STOP $!; echo ready; {tail}",
    "python daemon": (
        "{python} -c 'import os,time\n"
        "if os.fork(): os._exit(0)\n"
        "os.setsid()\n"
        "if os.fork(): os._exit(0)\n"
        "os.closerange(0, 3); os.environ.clear(); time.sleep(3600)'; echo ready; {tail}"
    ),
    "500 children": "i=0; while [ $i -lt 500 ]; do sleep 3600 & i=$((i+1)); done; echo ready; {tail}",
}
"""By name; `tail` is what the leader does at last. All mark their processes by the directory they run in."""


def script(name: str, tail: str) -> str:
    return ESCAPES[name].replace("{tail}", tail).replace("{python}", sys.executable)


def alive_in(folder: Path) -> list[int]:
    """Return the live processes whose working directory is `folder`: it is inherited, whatever a daemon does."""
    found = []
    for name in os.listdir("/proc"):  # noqa: PTH208
        if name.isdigit() and int(name) != os.getpid() and _is_in(name, folder):
            found.append(int(name))
    return found


def _is_in(pid: str, folder: Path) -> bool:
    try:
        return (
            Path(f"/proc/{pid}/cwd").readlink() == folder and state(int(pid)) != "Z" and not _is_helper(pid)
        )
    except OSError:
        return False


def _is_helper(pid: str) -> bool:
    """A guard stays in the directory of its last command."""
    return b"from warden.main import main" in Path(f"/proc/{pid}/cmdline").read_bytes()


def state(pid: int) -> str:
    return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]


def is_alive(pid: int) -> bool:
    """A zombie is not: whoever adopted it collects it in his own time."""
    try:
        return state(pid) != "Z"
    except OSError:
        return False


def children_of(pid: int) -> list[int]:
    return [int(child) for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]


def zombies_below(pid: int) -> list[int]:
    return [child for child in children_of(pid) if state(child) == "Z"]


def wait_until(condition: Callable[[], bool], seconds: float = 10.0) -> float:
    """Wait for a condition and return how long it took."""
    start = time.monotonic()
    while not condition():
        if time.monotonic() - start > seconds:
            raise AssertionError(f"not within {seconds} s")
        time.sleep(0.002)
    return time.monotonic() - start


def kill_all_in(folder: Path) -> None:
    while pids := alive_in(folder):
        for pid in pids:
            os.kill(pid, signal.SIGKILL)
        time.sleep(0.005)
