"""The doors out of an engine: time, processes and the files of a run."""

from collections.abc import Callable, Coroutine, Iterator, Mapping
from contextvars import ContextVar
from datetime import datetime
from pathlib import Path
from typing import Any, Protocol, TypeVar

from msgspec import Struct, field

from runwright.ports.executor import LogWriter, Stream

T = TypeVar("T")


class Clock(Protocol):
    """Time as an engine sees it."""

    def now(self) -> datetime:
        """Return the current instant, aware and in UTC."""
        ...

    def monotonic(self) -> float:
        """Return seconds on a clock that never goes back."""
        ...

    async def sleep(self, seconds: float) -> None:
        """Wait that long."""
        ...


class Command(Struct, frozen=True, kw_only=True):
    """A process to start.

    Attributes:
        argv: Program (looked up on PATH of its environment) and arguments, at least one.
        env: Variables on top of the inherited environment, or all of them if `clean_env`.
        unset: Names taken out of the inherited environment.
        cwd: Working directory, absolute.
        kill_grace: Seconds between SIGTERM and SIGKILL when it is stopped.
    """

    argv: tuple[str, ...]
    cwd: str
    env: Mapping[str, str] = field(default_factory=dict)
    unset: tuple[str, ...] = ()
    clean_env: bool = False
    kill_grace: float = 10.0


class Exit(Struct, frozen=True, kw_only=True):
    """How a process ended.

    Attributes:
        code: Exit status, 128 + number if a signal ended it.
        signal: Number of that signal, or None.
    """

    code: int
    signal: int | None = None


process_group: ContextVar[str] = ContextVar("runwright_process_group", default="")
"""Which group the processes are of that are started from here on; empty for none."""


class Processes(Protocol):
    """Starts processes and makes sure that their whole tree ends with them."""

    async def run(self, command: Command, on_output: Callable[[Stream, bytes], None]) -> Exit:
        """Run one process to its end; its standard input is empty.

        When this returns or raises, the process and everything it started is gone, daemons included, and all
        its output has been passed to `on_output` in the order in which it was read.
        Cancelling the call sends SIGTERM to the whole tree, waits `kill_grace`, sends SIGKILL, waits until the tree
        is empty and only then lets the cancellation out.

        Raises:
            TaskFailed: If the process could not be started (``E_SPAWN``), or its supervisor died (``E_SUPERVISOR``).
        """
        ...

    def skip_grace(self, group: str = "") -> None:
        """Send SIGKILL at once to every tree that is being stopped, and to those stopped from now on.

        Args:
            group: Only to those of one `process_group`; empty for all.
        """
        ...

    async def close(self) -> None:
        """End everything that still runs and free the door; safe to call twice."""
        ...


class LogChunk(Struct, frozen=True):
    """A piece of a log: `offset` is where it stands in the whole log, in bytes."""

    offset: int
    stream: Stream
    data: bytes


class OpenLog(LogWriter, Protocol):
    """The log of an attempt while it runs."""

    def close(self) -> None:
        """Write out the tail, if the log was cut, and close the file; safe to call twice."""
        ...


class Logs(Protocol):
    """The logs of all attempts, one file each (mode 0600), written while the attempt runs."""

    def open(self, run_id: str, task_id: str, attempt: int, max_bytes: int) -> OpenLog:
        """Begin the log of an attempt; no file exists until its first byte."""
        ...

    def read(self, run_id: str, task_id: str, attempt: int, offset: int = 0) -> Iterator[LogChunk]:
        """Yield what is there now, from `offset` on, streams apart and in order; nothing if there is no log."""
        ...

    def path(self, run_id: str, task_id: str, attempt: int) -> Path:
        """Return where the text of that log is or would be."""
        ...


class Workspaces(Protocol):
    """Private directories (mode 0700) for the files that tasks of a run leave to each other."""

    def task_dir(self, run_id: str, task_id: str) -> Path:
        """Return the directory of one task of a run, made on first use."""
        ...

    def discard(self, run_id: str) -> None:
        """Remove everything of a run; does nothing if there is nothing."""
        ...

    def sweep(self) -> None:
        """Remove what runs whose engine has died left behind."""
        ...


class Threads(Protocol):
    """Calls plain functions where they don't hold up anything."""

    async def call(self, function: Callable[[], T]) -> T:
        """Call a function in a thread, always the same one, and return what it returns.

        A function can't be broken off. A call that is cancelled waits for the function as long as its grace allows, so
        that what comes next does not meet it; if it comes to its end, the call does so too, as if it had not been
        cancelled, and otherwise leaves it behind.
        """
        ...

    def close(self) -> None:
        """Let the thread end; safe to call twice."""
        ...


class SideLoop(Protocol):
    """Runs one coroutine where neither a busy event loop nor a function that blocks can hold it up."""

    def start(self, work: Callable[[], Coroutine[Any, Any, None]]) -> None:
        """Begin the work, beside everything else."""
        ...

    async def close(self) -> None:
        """Cancel the work and wait until it has ended; safe to call twice.

        Raises:
            Exception: What the work raised by itself.
        """
        ...
