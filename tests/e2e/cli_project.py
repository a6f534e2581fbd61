"""A project in a directory of its own, and the installed command to work on it."""

import hashlib
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

RUNWRIGHT = Path(sys.executable).with_name("runwright")
PATIENCE = 60.0
"""Seconds after which something that should have happened counts as not happening."""


def environment(**more: str) -> dict[str, str]:
    """Return this process's environment without what changes how Runwright behaves."""
    kept = {
        name: value
        for name, value in os.environ.items()
        if not name.startswith("RUNWRIGHT") and name not in {"NO_COLOR", "COLUMNS", "PYTHONIOENCODING"}
    }
    return kept | {"TERM": "xterm", "LC_ALL": "C.UTF-8", **more}


def wait_until(condition: Callable[[], object], what: str) -> None:
    """Return as soon as the condition holds."""
    deadline = time.monotonic() + PATIENCE
    while not condition():
        assert time.monotonic() < deadline, f"not within {PATIENCE} s: {what}"
        time.sleep(0.02)


class Project:
    """A directory with workflows.

    Attributes:
        root: The directory.
    """

    def __init__(self, root: Path) -> None:
        self.root = root

    def write(self, name: str, text: str) -> Path:
        """Write a file."""
        path = self.root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
        return path

    def __call__(self, *words: str | Path, **env: str) -> subprocess.CompletedProcess[str]:
        """Run a command to its end."""
        return subprocess.run(
            [RUNWRIGHT, *words],
            cwd=self.root,
            env=environment(**env),
            stdin=subprocess.DEVNULL,
            capture_output=True,
            encoding="utf-8",
            check=False,
            timeout=PATIENCE * 2,
        )

    def json(self, *words: str) -> Any:
        """Run a command with ``--json`` and return what it printed."""
        done = self(*words, "--json")
        assert done.returncode == 0, done.stderr
        assert done.stderr == ""
        return json.loads(done.stdout)

    def start(self, *words: str, **options: Any) -> "subprocess.Popen[str]":
        """Start a command and return at once."""
        settings: dict[str, Any] = {
            "stdout": subprocess.PIPE,
            "stderr": subprocess.STDOUT,
            "env": environment(),
            **options,
        }
        return subprocess.Popen(
            [RUNWRIGHT, *words],
            cwd=self.root,
            stdin=subprocess.DEVNULL,
            encoding="utf-8",
            start_new_session=True,
            **settings,
        )

    def state(self) -> dict[str, str]:
        """Return every file and directory of the project, with mode, times and content digest."""
        found = {}
        for path in sorted(self.root.rglob("*")):
            info = path.lstat()
            content = hashlib.sha256(path.read_bytes()).hexdigest() if path.is_file() else ""
            found[str(path)] = f"{info.st_mode:o} {info.st_mtime_ns} {content}"
        return found

    def latest(self) -> dict[str, Any]:
        """Return the newest run."""
        found: dict[str, Any] = self.json("status", "latest")["run"]
        return found


def stop(process: "subprocess.Popen[str]") -> None:
    """End a command that a test has left."""
    if process.poll() is None:
        process.send_signal(signal.SIGKILL)
    process.wait()
    if process.stdout is not None:
        process.stdout.close()
