"""An engine to be killed: runs the command given as arguments in the directory given first."""

import asyncio
import sys

from runwright.adapters.process import WardenProcesses
from runwright.ports.system import Command


async def main() -> None:
    processes = WardenProcesses()
    command = Command(argv=("/bin/sh", "-c", sys.argv[2]), cwd=sys.argv[1])
    await processes.run(command, lambda _stream, data: print(data.decode(), end="", flush=True))
    print("ended", flush=True)
    await asyncio.sleep(3600)


asyncio.run(main())
