"""The executor whose tasks are executed by a plugin."""

import asyncio
import os
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from msgspec import structs

from runwright.adapters.plugin.limits import PluginOptions, require_grpc
from runwright.adapters.waiting import retrieved, to_the_end
from runwright.core.errors import Failure, TaskFailed, UnopenedSession, UsageError
from runwright.core.task import Result, SessionId, Task
from runwright.ports.executor import Session, Stream
from runwright.ports.system import Command, Exit, Processes

if TYPE_CHECKING:
    from runwright.adapters.plugin.process import PluginProcess

YOUNG = 1.0
"""A plugin that ends sooner, and without a task, is started again only when it is needed."""


class Remote:
    """Has tasks executed by a plugin, a program of its own that speaks gRPC.

    The plugin is started with the first task, serves all sessions that are open, is started again when it has ended
    or hangs, and is ended when the last session is closed. Then nothing of it is left, nor after the end of this
    process, whatever that was. `serve` is the other side for plugins in Python.

    Args:
        command: Program and arguments.
        cwd: Working directory of the plugin; the current one by default.
        processes: Starts it; None for a door of its own.
        options: How it is treated.
        startup_timeout: Seconds it has for its start, if not as the options say.
        shared_files: Whether it sees the files of this machine, if not as the options say.

    Raises:
        UsageError: If the command is empty, or the extra ``grpc`` is not installed.
    """

    def __init__(
        self,
        command: Sequence[str],
        *,
        cwd: str | os.PathLike[str] | None = None,
        processes: Processes | None = None,
        options: PluginOptions | None = None,
        startup_timeout: float | None = None,
        shared_files: bool | None = None,
    ) -> None:
        if isinstance(command, str) or not command or not command[0]:
            raise UsageError(
                'a plugin is given as its program and arguments: Remote(["program", "argument"])'
            )
        require_grpc()
        given = {"startup_timeout": startup_timeout, "shared_files": shared_files}
        changes = {name: value for name, value in given.items() if value is not None}
        self._options = structs.replace(options or PluginOptions(), **changes)
        self._argv = tuple(command)
        self._cwd = str(Path(cwd or ".").absolute())
        self._processes = processes
        self._sessions: dict[SessionId, Session] = {}
        self._starting: asyncio.Task[PluginProcess] | None = None
        self._born = 0.0

    async def open_session(self, session: Session) -> None:
        """Take a session; the plugin opens it with its first task."""
        self._sessions[session.id] = session

    async def execute(self, session: Session, task: Task) -> Result:
        """Have the plugin execute a task.

        Raises:
            UnopenedSession: If the session is not open.
            TaskFailed: As the plugin reports; ``E_PLUGIN_START`` or ``E_PLUGIN_VERSION`` if it can't be used,
                ``E_PLUGIN_CRASHED`` or ``E_PLUGIN_HUNG`` if it ended or was ended meanwhile, ``E_PLUGIN_LIMIT`` if it
                says too much, ``E_PLUGIN`` if it does not keep to the protocol.
        """
        if session.id not in self._sessions:
            raise UnopenedSession(session.id)
        try:
            plugin = await self._plugin()
        except TaskFailed as error:  # the plugin started for all sessions, but this one knows its secrets
            raise TaskFailed(_masked(error.failure, session)) from None
        return await plugin.execute(session, task)

    async def close_session(self, session_id: SessionId) -> None:
        """Close a session on the plugin, and end the plugin with the last one.

        Raises:
            TaskFailed: What the plugin's executor reports about the closing.
        """
        session = self._sessions.pop(session_id, None)
        if session is not None:
            await to_the_end(self._close(session))

    async def _close(self, session: Session) -> None:
        try:
            starting = self._starting
            if (
                starting is not None
                and starting.done()
                and not starting.cancelled()
                and not starting.exception()
            ):
                await starting.result().close_session(session)
        finally:
            if not self._sessions:
                await self._stop()

    async def _plugin(self) -> "PluginProcess":
        starting = self._starting
        if starting is None or (
            starting.done() and (starting.exception() or starting.result().gone.is_set())
        ):
            starting = self._start()
        return await asyncio.shield(starting)

    def _start(self) -> "asyncio.Task[PluginProcess]":
        self._born = asyncio.get_running_loop().time()
        self._starting = asyncio.create_task(self._started())
        self._starting.add_done_callback(retrieved)
        return self._starting

    async def _started(self) -> "PluginProcess":
        from runwright.adapters.plugin.process import PluginProcess  # noqa: PLC0415 - gRPC takes 100 ms to load

        processes = self._processes or _OwnProcesses()
        plugin = PluginProcess(self._argv, self._cwd, processes, self._options, self._ended)
        await plugin.start()
        return plugin

    def _ended(self, plugin: "PluginProcess") -> None:
        """Start the plugin again if it is missed; not if it ends whenever it has started."""
        starting = self._starting
        is_ours = starting is not None and starting.done() and not starting.cancelled()
        if not is_ours or starting is None or starting.exception() or starting.result() is not plugin:
            return
        age = asyncio.get_running_loop().time() - self._born
        if self._sessions and (plugin.was_useful or age >= YOUNG):
            self._start()

    async def _stop(self) -> None:
        starting, self._starting = self._starting, None
        if starting is None:
            return
        if not starting.done():
            starting.cancel()
            await asyncio.wait([starting])
        if not starting.cancelled() and not starting.exception():
            await starting.result().end()


def _masked(failure: Failure, session: Session) -> Failure:
    from runwright.adapters.plugin.messages import tail  # noqa: PLC0415 - gRPC takes 100 ms to load

    return structs.replace(
        failure, message=session.redact(failure.message), stderr_tail=tail(failure.stderr_tail, session)
    )


class _OwnProcesses:
    """A door for one process, closed after it."""

    def __init__(self) -> None:
        from runwright.adapters.process import WardenProcesses  # noqa: PLC0415 - most are given a door

        self._door = WardenProcesses()
        self.skip_grace = self._door.skip_grace
        self.close = self._door.close

    async def run(self, command: Command, on_output: Callable[[Stream, bytes], None]) -> Exit:
        """Run the process, and close the door."""
        try:
            return await self._door.run(command, on_output)
        finally:
            await self._door.close()
