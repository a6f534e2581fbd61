"""The session of one run: where its tasks read, write and log."""

from collections.abc import Callable
from functools import partial
from pathlib import Path

from runwright.core.events import PROGRESS_OUTPUT_BYTES, ProgressEvent
from runwright.core.redact import RedactingStream, Redactor
from runwright.core.task import SessionId, TaskId
from runwright.ports.executor import LogWriter, Stream
from runwright.ports.system import Logs, OpenLog, Workspaces


def _nobody(event: ProgressEvent) -> None:
    """Tell nobody."""


class AttemptLog:
    """The log of one attempt, behind the redactor; keeps the beginning of the output if it is asked to.

    Args:
        begin: Opens the log; called with the first byte, because most commands of a graph say nothing.
        redactor: Knows the run's secrets.
        capture: Keep the beginning of the output.
    """

    def __init__(self, begin: Callable[[], OpenLog], redactor: Redactor, *, capture: bool) -> None:
        self._begin = begin
        self._log: OpenLog | None = None
        self._streams: dict[Stream, RedactingStream] = {}
        self._redactor = redactor
        self._capture = capture
        self.captured = bytearray()
        self.truncated = False

    def write(self, stream: Stream, data: bytes) -> None:
        """Append bytes of one stream."""
        if self._redactor:
            data = self._stream(stream).feed(data)
        self._put(stream, data)

    def close(self) -> None:
        """Put out what the redactor held back, and close the log."""
        for stream, redacting in self._streams.items():
            self._put(stream, redacting.flush())
        if self._log is not None:
            self._log.close()

    def _stream(self, stream: Stream) -> RedactingStream:
        if stream not in self._streams:
            self._streams[stream] = self._redactor.stream()
        return self._streams[stream]

    def _put(self, stream: Stream, data: bytes) -> None:
        if not data:
            return
        if self._log is None:
            self._log = self._begin()
        self._log.write(stream, data)
        if self._capture:
            room = PROGRESS_OUTPUT_BYTES - len(self.captured)
            self.captured += data[:room]
            self.truncated = self.truncated or len(data) > room


class RunSession:
    """What executors see of a run.

    Args:
        run_id: Also the session's id.
        source: Directory in which tasks run unless they say otherwise.
        logs: Where logs go.
        workspaces: Where output directories are.
        redactor: Knows the run's secrets.
        capture: Keep the beginning of each attempt's output for `task_output` events.
        tell: Told what happens in runs that are the work of a task of this one.
    """

    def __init__(
        self,
        run_id: str,
        source: Path,
        logs: Logs,
        workspaces: Workspaces,
        redactor: Redactor,
        *,
        capture: bool,
        tell: Callable[[ProgressEvent], None] = _nobody,
    ) -> None:
        self.id = SessionId(run_id)
        self.tell = tell
        self.source = source
        self.redactor = redactor
        self._logs = logs
        self._workspaces = workspaces
        self.captures = capture
        self._attempts: dict[str, tuple[str, int, int]] = {}
        self._open: dict[str, AttemptLog] = {}

    def begin(self, row_id: str, attempt: int, max_bytes: int) -> None:
        """Say where the output of a task goes from here on."""
        self._attempts[row_id] = (row_id, attempt, max_bytes)

    def alias(self, task_id: str, row_id: str) -> None:
        """Send the output of a part of a task, such as its ``pre``, to the task's own log."""
        self._attempts[task_id] = self._attempts[row_id]

    def end(self, row_id: str) -> AttemptLog | None:
        """Close the log of a task's attempt; returns it if anything was logged."""
        self._attempts.pop(row_id, None)
        log = self._open.pop(row_id, None)
        if log is not None:
            log.close()
        return log

    def output_dir(self, task_id: TaskId) -> Path:
        """Return the directory for the files of one task."""
        return self._workspaces.task_dir(self.id, task_id)

    def log(self, task_id: TaskId) -> LogWriter:
        """Return where a task's output goes; its log begins with the first byte."""
        row_id, attempt, max_bytes = self._attempts[task_id]
        log = self._open.get(row_id)
        if log is None:
            begin = partial(self._logs.open, self.id, row_id, attempt, max_bytes)
            log = self._open[row_id] = AttemptLog(begin, self.redactor, capture=self.captures)
        return log

    def redact(self, text: str) -> str:
        """Return `text` without any secret of the run."""
        return self.redactor.text(text)
