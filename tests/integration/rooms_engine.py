"""A worker to be killed: runs a script as a step in a room of the given kind, below the given directory.

Usage: rooms_engine.py KIND FOLDER SCRIPT [--no-helper]
"""

import asyncio
import sys
from pathlib import Path

from rooms import Rooms, run, script

from runwright.adapters import container_ledger
from runwright.ports.jobs import JobLimits


async def main(kind: str, folder: Path, text: str) -> None:
    rooms = Rooms(kind, folder)
    async with rooms.room(rooms.place(JobLimits(pids=100))) as room:
        said = await run(room, script(text))
    print(said.code, said.err, said.failure)


if __name__ == "__main__":
    if "--no-helper" in sys.argv:
        container_ledger.FileLedger._tell = lambda _self, _line: None  # type: ignore[method-assign]
    asyncio.run(main(sys.argv[1], Path(sys.argv[2]), sys.argv[3]))
