"""Tasks of an executor that does nothing, in a plugin or in this process: ``plugin_runwright.py COUNT SLOTS here|plugin``.

Without arguments it is the plugin.
"""

import asyncio
import json
import sys
import tempfile
import time
from pathlib import Path

from benchmarks.programs.plugin_echo import in_slots
from runwright import NoSessions, Remote, Result, Task, serve
from runwright.testing import LocalSession


class Nothing(NoSessions):
    async def execute(self, session, task):
        return Result(value=task.args["number"])


async def measure(count, slots, where):
    executor = Nothing() if where == "here" else Remote([sys.executable, __file__])
    with tempfile.TemporaryDirectory() as folder:
        session = LocalSession(Path(folder))
        await executor.open_session(session)

        async def one(number):
            result = await executor.execute(session, Task(id=f"task-{number}", args={"number": number}))
            assert result.value == number

        await one(-1)
        started = time.perf_counter()
        await in_slots(count, slots, one)
        seconds = time.perf_counter() - started
        await executor.close_session(session.id)
    return seconds


if __name__ == "__main__":
    if len(sys.argv) == 1:
        serve(Nothing())
    else:
        count = int(sys.argv[1])
        seconds = asyncio.run(measure(count, int(sys.argv[2]), sys.argv[3]))
        print(json.dumps({"seconds": seconds, "tasks": count}))
