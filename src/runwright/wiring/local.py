"""A session on a plain directory, for programs that call executors themselves."""

import os
from collections.abc import Callable, Iterable
from copy import copy
from pathlib import Path
from types import TracebackType
from typing import Literal

from runwright.adapters.ids import new_id
from runwright.core.events import ProgressEvent
from runwright.core.file_names import safe_name
from runwright.core.redact import RedactingStream, Redactor
from runwright.core.task import SessionId, TaskId
from runwright.ports.executor import Stream

FOLDER = ".runwright-sessions"
APPEND = os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW
STREAMS: tuple[Stream, ...] = ("stdout", "stderr")


class LocalSession:
    """A session whose tasks read a directory, and whose outputs and logs are kept below it.

    They are in ``.runwright-sessions/<session id>/outputs/<task>/`` and ``.../logs/<task>.stdout`` and ``.stderr``;
    nobody else can read them. They stay when the session ends, until somebody removes them. Characters
    of a task id that a file name should not have are percent-encoded. One session is used in one thread.

    Args:
        path: The tree that tasks read; made if it is missing.
        secrets: Texts that must appear nowhere.
        state: Directory for outputs and logs of sessions, if they are to be kept elsewhere.
        listener: Told what happens in runs that are the work of tasks of this session.
    """

    def __init__(
        self,
        path: str | os.PathLike[str],
        *,
        secrets: Iterable[str] = (),
        state: str | os.PathLike[str] | None = None,
        listener: Callable[[ProgressEvent], None] | None = None,
    ) -> None:
        self.id = SessionId(new_id())
        self.source = Path(path).absolute()
        self.source.mkdir(parents=True, exist_ok=True)
        self.redactor = Redactor(secrets)
        self.captures = False
        self._own = Path(state or self.source / FOLDER).absolute() / self.id
        self._listener = listener
        self._logs: dict[TaskId, LocalLog] = {}

    def output_dir(self, task_id: TaskId) -> Path:
        """Return the directory for the files of one task, made on first use."""
        folder = self._own / "outputs" / safe_name(task_id)
        _make(self._own, folder)
        return folder

    def log(self, task_id: TaskId) -> "LocalLog":
        """Return where a task's output goes, and where it can be read at any time."""
        log = self._logs.get(task_id)
        if log is None:
            log = self._logs[task_id] = LocalLog(self._own, safe_name(task_id), self.redactor)
        return log

    def redact(self, text: str) -> str:
        """Return `text` without any secret known to the session."""
        return self.redactor.text(text)

    def tell(self, event: ProgressEvent) -> None:
        """Hand on to the listener what happens in a run that is the work of a task."""
        if self._listener is not None:
            self._listener(event)

    def close(self) -> None:
        """Write out the ends of logs that were held back because a secret might begin there; safe to call twice."""
        for log in self._logs.values():
            log.close()

    def __enter__(self) -> "LocalSession":
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()


class LocalLog:
    """The output of one task in two files, behind the redactor; no file is open between two writes.

    Args:
        root: Directory of the session.
        name: Of the files, without their endings.
        redactor: Knows the session's secrets.
    """

    def __init__(self, root: Path, name: str, redactor: Redactor) -> None:
        self._root = root
        self._name = name
        self._redactors: dict[Stream, RedactingStream] = {}
        if redactor:
            self._redactors = {stream: redactor.stream() for stream in STREAMS}

    def path(self, stream: Stream) -> Path:
        """Return the file of a stream; it exists from its first byte on."""
        return self._root / "logs" / f"{self._name}.{stream}"

    def write(self, stream: Stream, data: bytes) -> None:
        """Append bytes of one stream."""
        redactor = self._redactors.get(stream)
        self._append(stream, data if redactor is None else redactor.feed(data))

    def read(self, stream: Stream | Literal["both"] = "both") -> bytes:
        """Return what has come so far, without secrets; both streams are standard output first."""
        return b"".join(map(self._read, STREAMS if stream == "both" else (stream,)))

    def close(self) -> None:
        """Write out what the redactor held back."""
        for stream, redactor in self._redactors.items():
            self._append(stream, redactor.flush())

    def _read(self, stream: Stream) -> bytes:
        path = self.path(stream)
        written = path.read_bytes() if path.exists() else b""
        redactor = self._redactors.get(stream)
        return written if redactor is None else written + copy(redactor).flush()

    def _append(self, stream: Stream, data: bytes) -> None:
        if not data:
            return
        path = self.path(stream)
        _make(self._root, path.parent)
        with os.fdopen(os.open(path, APPEND, 0o600), "ab") as file:
            file.write(data)


def _make(root: Path, folder: Path) -> None:
    """Make a directory of a session below the session's own, which nobody else can enter."""
    if not folder.is_dir():
        root.mkdir(mode=0o700, parents=True, exist_ok=True)
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
