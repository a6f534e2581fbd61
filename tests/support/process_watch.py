"""What somebody else on the machine sees of processes: their arguments, and the environment of those that let them.

Run as a program it looks until its standard input closes, writes what it has not seen before to standard output, and a
byte to standard error after each time that it has looked at every process.
"""

import os
import select
import subprocess
import sys
import time
from pathlib import Path

SOMEBODY = 65533
"""A user who runs nothing else: steps of workers that are root run as *nobody*."""

PAUSE_SECONDS = 0.005
PATIENCE = 60.0


class ProcessWatch:
    """Somebody who looks at all processes, again and again.

    Where we are not root it can only look as ourselves, and then at arguments alone.

    Args:
        folder: Where it writes what it sees.
    """

    def __init__(self, folder: Path) -> None:
        self._seen, self._rounds = folder / "seen", folder / "rounds"
        is_root = os.geteuid() == 0
        become = ("setpriv", f"--reuid={SOMEBODY}", f"--regid={SOMEBODY}", "--clear-groups", "--")
        become = become if is_root else ()
        source = Path(__file__).read_text() + "\nlook()\n"
        with self._seen.open("wb") as out, self._rounds.open("wb") as rounds:
            self._process = subprocess.Popen(
                [*become, _python(become), "-I", "-c", source, "all" if is_root else "arguments"],
                cwd="/",
                stdin=subprocess.PIPE,
                stdout=out,
                stderr=rounds,
            )
        self.wait_rounds()

    def wait_rounds(self, count: int = 3) -> None:
        """Wait until it has looked at everything that there is now."""
        goal, deadline = self._rounds.stat().st_size + count, time.monotonic() + PATIENCE
        while self._rounds.stat().st_size < goal:
            assert self._process.poll() is None, self._rounds.read_text()
            assert time.monotonic() < deadline, "nobody looks at the processes"
            time.sleep(0.01)

    @property
    def seen(self) -> bytes:
        """Everything that it has seen."""
        return self._seen.read_bytes()

    def close(self) -> None:
        """Look no more."""
        assert self._process.stdin is not None
        self._process.stdin.close()
        self._process.wait(PATIENCE)


def _python(become: tuple[str, ...]) -> str:
    """Return an interpreter that the other user can run."""
    for program in (sys.executable, os.path.realpath(sys.executable), "/usr/bin/python3"):
        done = subprocess.run([*become, program, "-I", "-c", ""], capture_output=True, cwd="/", check=False)
        if done.returncode == 0:
            return program
    raise FileNotFoundError("there is no Python that another user can run")


def look() -> None:
    """Look at all processes until standard input closes."""
    names = ("cmdline", "environ") if sys.argv[1] == "all" else ("cmdline",)
    known: set[int] = set()
    while not select.select([0], [], [], PAUSE_SECONDS)[0]:
        for entry in os.scandir("/proc"):
            for name in names if entry.name.isdigit() else ():
                try:
                    with open(f"/proc/{entry.name}/{name}", "rb") as file:  # noqa: PTH123 - as fast as can be
                        data = file.read()
                except OSError:
                    continue
                if data and hash(data) not in known:
                    known.add(hash(data))
                    os.write(1, data + b"\0\n")
        os.write(2, b".")
