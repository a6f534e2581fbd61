"""An engine that a plugin floods; prints how much memory that took, in MiB.

``flood MIB`` and ``print_much MIB`` give the log to a file, as a run does; ``keep MIB`` keeps it all in memory.
"""

import asyncio
import re
import sys
import tempfile
from pathlib import Path
from types import SimpleNamespace

from plugin_rig import rogue

HOW, MIB = sys.argv[1], int(sys.argv[2])


def peak() -> float:
    """Return the most memory this program has had; that of its parent at the fork, which getrusage tells, does not count."""
    status = Path("/proc/self/status").read_text()
    return int(re.search(r"VmHWM:\s+(\d+)", status)[1]) / 1024  # type: ignore[index]


async def main() -> None:
    seen, kept = [0], []
    with tempfile.TemporaryDirectory() as folder:
        async with rogue(Path(folder)) as rig:
            await rig.run("ok", "warm")

            def write(stream: str, data: bytes) -> None:
                seen[0] += len(data)
                if HOW == "keep":
                    kept.append(data)

            rig.session.log = lambda task_id: SimpleNamespace(write=write)  # type: ignore[method-assign]
            before = peak()
            other = asyncio.create_task(rig.run("ok", "other", seconds=0.2))
            await rig.run("print_much" if HOW == "print_much" else "flood", mib=MIB)
            await other
            print(f"{peak() - before:.0f} {seen[0] >> 20}")


asyncio.run(main())
