"""Time whole processes in interleaved rounds: A B C A B C ..., so that noise falls on all alike."""

import json
import os
import resource
import select
import shutil
import signal
import sys
import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from statistics import median

ROOT = Path(__file__).resolve().parent.parent


@dataclass
class Entry:
    """One contestant of a workload.

    Attributes:
        name: What the table calls it.
        argv: The process to time; empty if it can't run, with the reason in `missing`.
        kind: ``floor``, ``peer``, ``runwright`` or ``theory`` (a computed time, in `seconds`).
        rounds: At most so many rounds, for the slow ones; None means all.
        tasks: How many tasks it runs, where that differs from the workload's.
        inner: The process prints ``{"seconds": ...}`` and that is the time, not the process's own.
        reset: Brings the directory back to its first state before each round, outside the time.
        slow: Takes part without a warm-up.
    """

    name: str
    argv: list[str] = field(default_factory=list)
    kind: str = "peer"
    cwd: Path = ROOT
    env: Mapping[str, str] = field(default_factory=dict)
    rounds: int | None = None
    tasks: int | None = None
    inner: bool = False
    reset: Callable[[], None] | None = None
    slow: bool = False
    missing: str = ""
    seconds: float | None = None
    timeout: float = 300.0


@dataclass
class Measured:
    """The samples of one entry: elapsed and processor seconds, peak resident memory in bytes."""

    entry: Entry
    elapsed: list[float] = field(default_factory=list)
    cpu: list[float] = field(default_factory=list)
    peak_bytes: list[int] = field(default_factory=list)
    problem: str = ""

    @property
    def median(self) -> float | None:
        """The middle elapsed time in seconds, None if there is none."""
        if self.entry.seconds is not None:
            return self.entry.seconds
        return median(self.elapsed) if self.elapsed else None

    @property
    def best(self) -> float | None:
        """The least elapsed time in seconds, None if there is none."""
        if self.entry.seconds is not None:
            return self.entry.seconds
        return min(self.elapsed) if self.elapsed else None


class Failed(Exception):
    """A measured process did not do its work."""


def child_env(home: Path, extra: Mapping[str, str] | None = None) -> dict[str, str]:
    """Return a small, equal environment for every contestant, with telemetry off."""
    env = {
        "PATH": os.environ.get("PATH", os.defpath),
        "HOME": str(home),
        "LANG": "C.UTF-8",
        "TMPDIR": os.environ.get("TMPDIR", "/tmp"),
        "DO_NOT_TRACK": "1",
        "NO_COLOR": "1",
    }
    return env | dict(extra or {})


def run_once(entry: Entry) -> tuple[float, float, int]:
    """Run the entry's process to its end; return elapsed and processor seconds and peak bytes.

    Raises:
        Failed: It ended with another code than 0, or not in time.
    """
    if entry.reset is not None:
        entry.reset()
    entry.cwd.mkdir(parents=True, exist_ok=True)
    out, err = entry.cwd / "bench.out", entry.cwd / "bench.err"
    program = shutil.which(entry.argv[0], path=entry.env.get("PATH")) or entry.argv[0]
    flags = os.O_WRONLY | os.O_CREAT | os.O_TRUNC
    files = [
        (os.POSIX_SPAWN_OPEN, 0, "/dev/null", os.O_RDONLY, 0),
        (os.POSIX_SPAWN_OPEN, 1, str(out), flags, 0o600),
        (os.POSIX_SPAWN_OPEN, 2, str(err), flags, 0o600),
    ]
    here = Path.cwd()
    os.chdir(entry.cwd)  # posix_spawn can't change directory, and a fork would measure this process too
    try:
        started = time.perf_counter()
        pid = os.posix_spawn(program, entry.argv, dict(entry.env), file_actions=files, setpgroup=0)
    finally:
        os.chdir(here)
    status, usage, elapsed = _wait(pid, started, entry.timeout)
    if status != 0:
        code = os.waitstatus_to_exitcode(status)
        raise Failed(f"exit code {code}: {_last_line(err) or _last_line(out)}")
    if entry.inner:
        elapsed = float(json.loads(_last_line(out))["seconds"])
    return (
        elapsed,
        usage.ru_utime + usage.ru_stime,
        usage.ru_maxrss * (1 if sys.platform == "darwin" else 1024),
    )


def _wait(pid: int, started: float, timeout: float) -> tuple[int, resource.struct_rusage, float]:
    fd = os.pidfd_open(pid)
    try:
        late = not select.select([fd], [], [], timeout)[0]
        elapsed = time.perf_counter() - started
        if late:
            os.killpg(pid, signal.SIGKILL)
        _, status, usage = os.wait4(pid, 0)
    finally:
        os.close(fd)
    if late:
        raise Failed(f"not done after {timeout:.0f} s")
    return status, usage, elapsed


def _last_line(path: Path) -> str:
    lines = path.read_text(errors="replace").split("\n")
    text = next((line.strip() for line in reversed(lines) if line.strip()), "")
    return text.replace(str(ROOT), ".").replace(str(Path.home()), "~")


def interleave(entries: Iterable[Entry], rounds: int, say: Callable[[str], None]) -> list[Measured]:
    """Measure all entries, round by round; the fast ones warm up once."""
    measured = [Measured(entry) for entry in entries]
    for one in measured:
        if one.entry.argv and not one.entry.slow and rounds > 1:
            _attempt(one, keep=False, say=say)
    for number in range(rounds):
        for one in measured:
            wanted = one.entry.rounds
            if one.entry.argv and not one.problem and (wanted is None or number < wanted):
                _attempt(one, keep=True, say=say)
    return measured


def _attempt(one: Measured, *, keep: bool, say: Callable[[str], None]) -> None:
    say(one.entry.name)
    try:
        elapsed, cpu, peak = run_once(one.entry)
    except (Failed, OSError, ValueError, KeyError) as error:
        one.problem = f"failed: {error}"[:160]
        return
    if keep:
        one.elapsed.append(elapsed)
        one.cpu.append(cpu)
        one.peak_bytes.append(peak)
