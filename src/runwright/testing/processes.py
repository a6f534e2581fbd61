"""Fakes of the doors to processes and logs: scripted, in memory, without any wait of their own."""

import asyncio
from collections.abc import Awaitable, Callable, Iterator, Mapping
from pathlib import Path

from msgspec import Struct

from runwright.core.errors import TaskFailed
from runwright.ports.executor import Stream
from runwright.ports.system import Command, Exit, LogChunk


class Script(Struct, frozen=True, kw_only=True):
    """What a fake command does: writes, takes its time, waits for the gate if there is one, and ends.

    Attributes:
        output: Pieces of output, in order.
        exit: How it ends.
        seconds: How long it takes on the event loop's clock; until then it can be cancelled.
        gate: It ends only when this is set; until then it can be cancelled.
        work: Called and awaited before it ends, for what it does to the world.
        error: Raised in place of an end, for instance ``E_SPAWN``.
    """

    output: tuple[tuple[Stream, bytes], ...] = ()
    exit: Exit = Exit(code=0)
    seconds: float = 0.0
    gate: asyncio.Event | None = None
    work: Callable[[], Awaitable[None]] | None = None
    error: TaskFailed | None = None


def command_text(command: Command) -> str:
    """Return the command line given to the shell, or the arguments with spaces between them."""
    argv = command.argv
    return argv[2] if argv[:2] == ("/bin/sh", "-c") and len(argv) == 3 else " ".join(argv)


class FakeProcesses:
    """Plays scripts in place of processes and remembers what was asked of it.

    Attributes:
        ran: Every command, in the order of their starts.
        running: The texts of those that have not ended.
        cancelled: Every command that was stopped, in order.
        grace_skipped: True once somebody asked for it.
        hurried: For which groups, in order.
        closed: True once it has been closed.
    """

    def __init__(self, scripts: Mapping[str, Script] | Callable[[Command], Script] | None = None) -> None:
        """Play by a function, or by command text; what has no script succeeds in silence."""
        table = scripts if isinstance(scripts, Mapping) else {}
        self._script_of: Callable[[Command], Script] = (
            scripts if callable(scripts) else lambda command: table.get(command_text(command), Script())
        )
        self._changed = asyncio.Event()
        self.ran: list[Command] = []
        self.running: list[str] = []
        self.cancelled: list[Command] = []
        self.grace_skipped = False
        self.hurried: list[str] = []
        self.closed = False

    async def run(self, command: Command, on_output: Callable[[Stream, bytes], None]) -> Exit:
        """Play the script of a command."""
        script = self._script_of(command)
        text = command_text(command)
        self.ran.append(command)
        self.running.append(text)
        self._announce()
        try:
            return await _play(script, on_output)
        except asyncio.CancelledError:
            self.cancelled.append(command)
            raise
        finally:
            self.running.remove(text)
            self._announce()

    async def wait_running(self, text: str) -> None:
        """Wait until a command with this text runs."""
        while text not in self.running:
            await self._changed.wait()

    def skip_grace(self, group: str = "") -> None:
        """Remember that somebody asked, and for whom."""
        self.grace_skipped = True
        self.hurried.append(group)

    async def close(self) -> None:
        """Remember that it is closed."""
        self.closed = True

    def _announce(self) -> None:
        self._changed.set()
        self._changed = asyncio.Event()


async def _play(script: Script, on_output: Callable[[Stream, bytes], None]) -> Exit:
    if script.error is not None:
        raise script.error
    for stream, data in script.output:
        on_output(stream, data)
    await asyncio.sleep(script.seconds)
    if script.gate is not None:
        await script.gate.wait()
    if script.work is not None:
        await script.work()
    return script.exit


class MemoryLogs:
    """Logs as lists of pieces; a limit is noted, not applied.

    Attributes:
        chunks: The pieces of each log, by run id, task id and attempt.
        closed: The logs that have been closed, in order.
    """

    def __init__(self) -> None:
        self.chunks: dict[tuple[str, str, int], list[LogChunk]] = {}
        self.limits: dict[tuple[str, str, int], int] = {}
        self.closed: list[tuple[str, str, int]] = []

    def open(self, run_id: str, task_id: str, attempt: int, max_bytes: int) -> "MemoryLog":
        """Begin a log; it is there from its first byte."""
        key = (run_id, task_id, attempt)
        self.limits[key] = max_bytes
        return MemoryLog(self, key)

    def read(self, run_id: str, task_id: str, attempt: int, offset: int = 0) -> Iterator[LogChunk]:
        """Yield what there is from `offset` on."""
        for chunk in self.chunks.get((run_id, task_id, attempt), ()):
            if chunk.offset + len(chunk.data) > offset:
                start = max(chunk.offset, offset)
                yield LogChunk(start, chunk.stream, chunk.data[start - chunk.offset :])

    def path(self, run_id: str, task_id: str, attempt: int) -> Path:
        """Return a path at which there is nothing."""
        return Path("/nonexistent") / run_id / task_id / f"{attempt}.log"

    def text(self, run_id: str, task_id: str, attempt: int = 1) -> bytes:
        """Return all of a log."""
        return b"".join(chunk.data for chunk in self.read(run_id, task_id, attempt))


class MemoryLog:
    """One log of `MemoryLogs`."""

    def __init__(self, logs: MemoryLogs, key: tuple[str, str, int]) -> None:
        self._logs = logs
        self._key = key
        self._size = 0

    def write(self, stream: Stream, data: bytes) -> None:
        """Append a piece."""
        if data:
            self._logs.chunks.setdefault(self._key, []).append(LogChunk(self._size, stream, bytes(data)))
            self._size += len(data)

    def close(self) -> None:
        """Remember that it is closed."""
        if self._key not in self._logs.closed:
            self._logs.closed.append(self._key)
