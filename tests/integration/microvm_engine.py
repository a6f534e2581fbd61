"""A worker to be killed: runs a script as a step in a machine, below the given directory.

Usage: microvm_engine.py FOLDER SCRIPT [--unguarded]
"""

import asyncio
import sys
from pathlib import Path

from machines import Machines
from rooms import script

from runwright.adapters.process import WardenProcesses
from runwright.ports.system import Command, Exit


async def unguarded(_self: WardenProcesses, command: Command, _on_output: object) -> Exit:
    """Run a command that nobody ends with us."""
    child = await asyncio.create_subprocess_exec(
        *command.argv,
        cwd=command.cwd,
        env={**command.env, "PATH": "/usr/sbin:/usr/bin:/sbin:/bin"},
        stdin=asyncio.subprocess.DEVNULL,
        start_new_session=True,
    )
    return Exit(code=await child.wait())


async def main(folder: Path, text: str) -> None:
    machines = Machines(folder)
    async with machines.room() as room:
        await room.run(script(text), lambda _stream, data: print(data.decode(), end="", flush=True))


if __name__ == "__main__":
    if "--unguarded" in sys.argv:
        WardenProcesses.run = unguarded  # type: ignore[method-assign]
    asyncio.run(main(Path(sys.argv[1]), sys.argv[2]))
