"""A session on a plain directory, for tests of executors."""

from collections.abc import Iterable
from itertools import count
from pathlib import Path
from typing import Literal

from runwright.core.events import ProgressEvent
from runwright.core.file_names import safe_name
from runwright.core.redact import Redactor
from runwright.core.task import SessionId, TaskId
from runwright.ports.executor import Stream

_numbers = count(1)


class RecordedLog:
    """The output of one task, kept in memory behind the redactor."""

    def __init__(self, redactor: Redactor) -> None:
        self._redactor = redactor
        self._data: dict[Stream, bytearray] = {"stdout": bytearray(), "stderr": bytearray()}

    def write(self, stream: Stream, data: bytes) -> None:
        """Append bytes of one stream."""
        self._data[stream] += data

    def read(self, stream: Stream | Literal["both"] = "both") -> bytes:
        """Return what has come so far, without secrets; both streams are standard output first."""
        streams = tuple(self._data) if stream == "both" else (stream,)
        return b"".join(self._redactor.bytes(bytes(self._data[one])) for one in streams)


class LocalSession:
    """A session whose source tree and outputs are in one directory, and whose logs are in memory.

    Args:
        path: An existing directory; ``source`` and ``outputs`` are made in it.
        secrets: Texts that must appear nowhere.
        source: The tree that tasks read, if it is another one; several sessions may share it.
    """

    def __init__(self, path: Path, *, secrets: Iterable[str] = (), source: Path | None = None) -> None:
        self.id = SessionId(f"session-{next(_numbers)}")
        self.source = source or path / "source"
        self.source.mkdir(exist_ok=True)
        self.logs: dict[TaskId, RecordedLog] = {}
        self._outputs = path / "outputs"
        self.redactor = Redactor(secrets)
        self.captures = False
        self.told: list[ProgressEvent] = []

    def output_dir(self, task_id: TaskId) -> Path:
        """Return the directory for the files of one task, made on first use."""
        folder = self._outputs / self.id / safe_name(task_id)
        folder.mkdir(parents=True, exist_ok=True)
        return folder

    def log(self, task_id: TaskId) -> RecordedLog:
        """Return where a task's output goes, and where it can be read afterwards."""
        return self.logs.setdefault(task_id, RecordedLog(self.redactor))

    def redact(self, text: str) -> str:
        """Return `text` without any secret known to the session."""
        return self.redactor.text(text)

    def tell(self, event: ProgressEvent) -> None:
        """Remember what an inner run tells."""
        self.told.append(event)
