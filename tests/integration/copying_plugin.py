"""A plugin in Python whose tasks are commands in the source tree; whatever they leave in ``../outputs`` is an output."""

import asyncio
from pathlib import Path

from runwright import NoSessions, Result, Session, Task, serve


def files_of(folder: Path) -> list[str]:
    return [str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file()]


class Commands(NoSessions):
    async def execute(self, session: Session, task: Task) -> Result:
        process = await asyncio.create_subprocess_exec(
            "sh", "-c", task.args["cmd"], cwd=session.source, stdout=asyncio.subprocess.PIPE
        )
        out, _ = await process.communicate()
        folder = session.output_dir(task.id)
        return Result(outputs=tuple(files_of(folder)), value=out.decode())


serve(Commands())
