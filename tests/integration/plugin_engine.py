"""An engine whose plugin runs a command that goes on; it is killed while it waits."""

import asyncio
import sys
from pathlib import Path

from runwright.adapters.plugin.remote import Remote
from runwright.core.task import Task, TaskId
from runwright.testing import LocalSession

folder = Path(sys.argv[1])
SERVER = Path(__file__).parents[1] / "contract/plugin_server.py"


async def main() -> None:
    remote, session = Remote([sys.executable, str(SERVER), "shell"]), LocalSession(folder)
    await remote.open_session(session)
    command = f"(setsid sh -c 'echo $$ >> {folder}/pids; sleep 600' &) ; echo $$ >> {folder}/pids; sleep 600"
    await remote.execute(session, Task(id=TaskId("long"), args={"cmd": command}))


asyncio.run(main())
