"""The one contract: who runs a task, and the scope in which it does."""

from contextlib import AbstractContextManager
from pathlib import Path
from typing import Literal, Protocol, runtime_checkable

from msgspec import Struct

from runwright.core.events import ProgressEvent
from runwright.core.redact import Redactor
from runwright.core.task import Result, SessionId, Task, TaskId

Stream = Literal["stdout", "stderr"]


class LogWriter(Protocol):
    """Where the output of one attempt goes, as it comes; already behind the redactor."""

    def write(self, stream: Stream, data: bytes) -> None:
        """Append bytes of one stream; never blocks on anything but the disk, and keeps no more than a chunk."""
        ...


class Session(Protocol):
    """The scope in which an executor is open.

    Attributes:
        id: Unique in the process.
        source: The tree that tasks read; they must not write in it.
        redactor: Knows the session's secrets.
        captures: True if whoever watches the session wants to be told what its tasks print.
    """

    id: SessionId
    source: Path
    redactor: Redactor
    captures: bool

    def output_dir(self, task_id: TaskId) -> Path:
        """Return the directory for the files of one task, made on first use."""
        ...

    def log(self, task_id: TaskId) -> LogWriter:
        """Return where this task's output goes."""
        ...

    def redact(self, text: str) -> str:
        """Return `text` without any secret known to the session."""
        ...

    def tell(self, event: ProgressEvent) -> None:
        """Tell whoever watches the session what happens in a run that is the work of one of its tasks."""
        ...


@runtime_checkable
class Executor(Protocol):
    """Runs tasks.

    A failure is a `TaskFailed` (or another `ExecutionError`); cancellation is asyncio's, is never swallowed, and
    what the task had started is gone when it comes out.
    """

    async def open_session(self, session: Session) -> None:
        """Make ready for tasks of this session; called once before any of them."""
        ...

    async def execute(self, session: Session, task: Task) -> Result:
        """Run one task to its end.

        Raises:
            ExecutionError: If the task did not succeed.
        """
        ...

    async def close_session(self, session_id: SessionId) -> None:
        """Free what the session took; when it returns nothing started on its behalf still runs."""
        ...


class Decision(Struct, frozen=True):
    """Why a task ran, or need not.

    Attributes:
        reason: In one line.
        details: What changed, a line each.
        spared: True if it did not run.
    """

    reason: str
    details: tuple[str, ...] = ()
    spared: bool = False


@runtime_checkable
class Reuse(Protocol):
    """What an executor can do besides, if it may spare tasks."""

    def at_once(self, session: Session, task: Task) -> Result | None:
        """Return the result of a task that need not run, if nothing has to be done for it; takes microseconds.

        Between two calls in one turn of the event loop files are taken not to change, once `sweep` has been entered.
        """
        ...

    def sweep(self) -> AbstractContextManager[None]:
        """Return a scope of such calls; nothing may be awaited in it."""
        ...

    def decision(self, session_id: SessionId, task_id: TaskId) -> Decision | None:
        """Return why a task that has just ended ran, or did not have to; None if nothing was decided about it."""
        ...


class NoSessions:
    """Mixin for executors that keep nothing between tasks."""

    async def open_session(self, session: Session) -> None:
        """Do nothing: there is nothing to make ready."""

    async def close_session(self, session_id: SessionId) -> None:
        """Do nothing: there is nothing to free."""
