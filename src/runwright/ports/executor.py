"""The one contract: who runs a task, and the scope in which it does."""

from pathlib import Path
from typing import Literal, Protocol, runtime_checkable

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


class NoSessions:
    """Mixin for executors that keep nothing between tasks."""

    async def open_session(self, session: Session) -> None:
        """Do nothing: there is nothing to make ready."""

    async def close_session(self, session_id: SessionId) -> None:
        """Do nothing: there is nothing to free."""
