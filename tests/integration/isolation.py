"""Real sandboxes and container engines for tests."""

import os
import shutil
import subprocess
from functools import cache

import pytest


@cache
def bubblewrap_fault() -> str:
    """Say why there is no sandbox here; empty if there is one."""
    if not shutil.which("bwrap"):
        return "bubblewrap is not installed"
    command = ["bwrap", "--unshare-all", "--ro-bind", "/", "/", "--proc", "/proc", "true"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    return f"bubblewrap can't work here: {done.stderr.strip()}" if done.returncode else ""


needs_bubblewrap = pytest.mark.skipif(bool(bubblewrap_fault()), reason=bubblewrap_fault())
needs_root = pytest.mark.skipif(os.geteuid() != 0, reason="needs root")
