"""An engine to be killed: runs ``sh -c COMMAND`` in an isolation of the given kind, below the given directory.

Usage: isolation_engine.py KIND FOLDER COMMAND [--no-helper]
"""

import asyncio
import sys
from pathlib import Path

from hostile import ID, Jail

from runwright.adapters import container_ledger
from runwright.adapters.container_ledger import FileLedger
from runwright.adapters.owner import current_owner
from runwright.adapters.process import WardenProcesses
from runwright.core.task import Task
from runwright.testing.sessions import LocalSession


async def main(kind: str, folder: Path, command: str) -> None:
    jail = Jail(kind, folder)
    executor = jail.executor(WardenProcesses(), FileLedger(folder / "ledger", current_owner()))
    mount = {"source": ".", "target": "/shared", "writable": True}
    args = {"cmd": command, "mounts": [mount], **jail.common()}
    await executor.execute(LocalSession(folder), Task(id=ID, args=args))


if __name__ == "__main__":
    if "--no-helper" in sys.argv:
        container_ledger.FileLedger._tell = lambda _self, _line: None  # type: ignore[method-assign]
    asyncio.run(main(sys.argv[1], Path(sys.argv[2]), sys.argv[3]))
