"""Real virtual machines for tests."""

import os
import shutil
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from functools import cache
from pathlib import Path
from typing import Any

import pytest
from rooms import Rooms

from runwright.adapters.microvm.files import MicrovmOptions, missing_parts
from runwright.adapters.microvm.runtime import MicrovmRuntime
from runwright.adapters.process import WardenProcesses

FETCHED = Path(__file__).parents[2] / "build/guest"
"""Where `tools/fetch-guest-kernel` puts a kernel for the tests."""

MARK = b"-name\0runwright-"


@cache
def machine_fault() -> str:
    """Say why there are no virtual machines here; empty if there are."""
    if os.uname().machine != "x86_64":
        return "guests are x86-64"
    return "; ".join(missing_parts(MicrovmOptions(), FETCHED))


needs_machines = pytest.mark.skipif(bool(machine_fault()), reason=machine_fault())
needs_mke2fs = pytest.mark.skipif(not shutil.which("mke2fs"), reason="mke2fs is not installed")


def kernel() -> str:
    """Return the kernel to use; empty for the one that is found anyway."""
    own = FETCHED / "vmlinuz"
    return str(own) if own.exists() else ""


class Machines(Rooms):
    """Machines and a place for one; they are emulated, as not every machine can do better."""

    def __init__(self, folder: Path, name: str = "place") -> None:
        super().__init__("microvm", folder, name)

    @asynccontextmanager
    async def runtime(self, **options: Any) -> AsyncIterator[MicrovmRuntime]:
        processes = WardenProcesses()
        own = {key: options.pop(key) for key in ("is_root",) if key in options}
        chosen = MicrovmOptions(**{"kernel": kernel(), "accelerator": "tcg", **options})
        try:
            yield MicrovmRuntime(processes, self.folder / "w/vm", chosen, **own)
        finally:
            await processes.close()


def machines_of(folder: Path) -> list[int]:
    """Return the QEMUs whose files are below a directory."""
    found = []
    for process in Path("/proc").iterdir():
        try:
            is_machine = process.name.isdigit() and MARK in (process / "cmdline").read_bytes()
            if is_machine and (process / "cwd").readlink().is_relative_to(folder):
                found.append(int(process.name))
        except OSError:
            continue
    return found
