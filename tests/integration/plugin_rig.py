"""A rogue plugin, and what tests of it need."""

import asyncio
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from runwright.adapters.plugin.limits import PluginOptions
from runwright.adapters.plugin.remote import Remote
from runwright.core.errors import Failure, TaskFailed
from runwright.core.task import Task, TaskId
from runwright.testing import LocalSession

ROGUE = Path(__file__).with_name("rogue_plugin.py")
QUICK = PluginOptions(stop_grace=1.0, kill_grace=0.2, health_interval=0.1, health_timeout=0.5)


class Rig:
    """An open session on a rogue plugin."""

    def __init__(self, remote: Remote, session: LocalSession) -> None:
        self.remote = remote
        self.session = session

    async def run(self, do: str, task: str = "task", inputs: tuple[str, ...] = (), **args: Any) -> Any:
        work = Task(id=TaskId(task), args={"do": do, **args}, inputs=inputs)
        return await self.remote.execute(self.session, work)

    async def failure(
        self, do: str, task: str = "task", inputs: tuple[str, ...] = (), **args: Any
    ) -> Failure:
        with pytest.raises(TaskFailed) as caught:
            await self.run(do, task, inputs, **args)
        return caught.value.failure

    async def told(self, *reports: dict[str, Any]) -> Failure:
        """Return the failure that comes of these reports."""
        return await self.failure("told", reports=list(reports))

    def logged(self, task: str = "task") -> bytes:
        return self.session.log(TaskId(task)).read()


@asynccontextmanager
async def rogue(
    folder: Path,
    how: str = "fair",
    options: PluginOptions = QUICK,
    secrets: tuple[str, ...] = (),
    **more: Any,
) -> AsyncIterator[Rig]:
    remote = Remote([sys.executable, str(ROGUE), how], options=options, **more)
    session = LocalSession(folder, secrets=secrets)
    before = asyncio.all_tasks()
    await remote.open_session(session)
    try:
        yield Rig(remote, session)
    finally:
        await remote.close_session(session.id)
        left = asyncio.all_tasks() - before
        assert not left, left
