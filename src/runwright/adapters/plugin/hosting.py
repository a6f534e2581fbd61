"""An executor inside a plugin: its sessions and its tasks, in the loop of the main thread."""

import asyncio
import tempfile
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from shutil import rmtree

import msgspec
from google.protobuf.message import Message
from msgspec import structs

from runwright.adapters.plugin import plugin_pb2 as pb
from runwright.adapters.plugin.files import FileTaker, file_chunks, parts
from runwright.adapters.plugin.limits import LOG_BYTES, MESSAGE_BYTES, failed
from runwright.adapters.plugin.messages import STREAMS, Lie, from_failure, from_result, to_task
from runwright.adapters.plugin.outbox import Outbox
from runwright.core.errors import Failure, RunwrightError, TaskFailed
from runwright.core.events import ProgressEvent
from runwright.core.redact import Redactor
from runwright.core.task import Result, SessionId, Task, TaskId
from runwright.ports.executor import Executor, LogWriter, Stream

INPUT_BYTES = 1 << 40
UNSAFE = str.maketrans({"/": "%2F", "\0": "%00"})


class _Log:
    def __init__(self, outbox: Outbox, message: type[pb.Report] | type[pb.SessionMessage]) -> None:
        self._outbox = outbox
        self._message = message

    def write(self, stream: Stream, data: bytes) -> None:
        for start in range(0, len(data), LOG_BYTES):
            log = pb.Log(stream=STREAMS[stream], data=data[start : start + LOG_BYTES])
            self._outbox.put(self._message(log=log))


class PluginSession:
    """A session as the plugin's executor sees it; secrets stay with the engine, which masks them."""

    def __init__(self, request: pb.OpenSessionRequest, outbox: Outbox) -> None:
        self.id = SessionId(request.session_id)
        self.folder = Path(tempfile.mkdtemp(prefix="session-"))
        self.source = Path(request.source) if request.source else self._made("source")
        self.redactor = Redactor(())
        self.captures = request.captures
        self.outbox = outbox
        self.running: dict[TaskId, TaskSession] = {}

    def output_dir(self, task_id: TaskId) -> Path:
        """Return the directory for the files of one task."""
        running = self.running.get(task_id)
        return running.outputs if running is not None else self._made(f"outputs/{task_id.translate(UNSAFE)}")

    def log(self, task_id: TaskId) -> LogWriter:
        """Return where a task's output goes; that of a task that we were not given goes to those of the session."""
        running = self.running.get(task_id)
        return _Log(self.outbox, pb.SessionMessage) if running is None else running.log(task_id)

    def redact(self, text: str) -> str:
        """Return the text as it is."""
        return text

    def tell(self, event: ProgressEvent) -> None:
        """Tell what happens in a run that is the work of a task."""
        running = self.running.get(TaskId(event.within[0])) if event.within else None
        if running is not None:
            running.tell(event)

    def _made(self, name: str) -> Path:
        path = self.folder / name
        path.mkdir(mode=0o700, parents=True, exist_ok=True)
        return path


class TaskSession:
    """The session as it is handed on with one task: with the inputs and outputs of that task."""

    def __init__(self, session: PluginSession, start: pb.Start, outbox: Outbox) -> None:
        self.id = session.id
        self.redactor = session.redactor
        self.captures = session.captures
        self.task_id = TaskId(start.task.id)
        self.is_sent = not start.output_dir
        self.folder = Path(tempfile.mkdtemp(prefix="task-")) if self.is_sent else None
        self.source = self._made("source") or session.source
        self.outputs = self._made("outputs") or Path(start.output_dir)
        self._session = session
        self._outbox = outbox

    def output_dir(self, task_id: TaskId) -> Path:
        """Return the directory for the files of one task."""
        return self.outputs if task_id == self.task_id else self._session.output_dir(task_id)

    def log(self, task_id: TaskId) -> LogWriter:
        """Return where a task's output goes."""
        return _Log(self._outbox, pb.Report) if task_id == self.task_id else self._session.log(task_id)

    def redact(self, text: str) -> str:
        """Return the text as it is."""
        return text

    def tell(self, event: ProgressEvent) -> None:
        """Tell what happens in a run that is the work of the task."""
        self._outbox.put(pb.Report(event=msgspec.json.encode(event).decode()))

    def discard(self) -> None:
        """Remove the files that were sent and made."""
        if self.folder is not None:
            rmtree(self.folder, ignore_errors=True)

    def _made(self, name: str) -> Path | None:
        if self.folder is None:
            return None
        path = self.folder / name
        path.mkdir(mode=0o700)
        return path


class Hosted:
    """The executor, for the side that speaks gRPC; its coroutines run in the executor's loop.

    Args:
        executor: Executes the tasks.
    """

    def __init__(self, executor: Executor) -> None:
        self._executor = executor
        self._sessions: dict[SessionId, PluginSession] = {}

    async def open_session(self, request: pb.OpenSessionRequest, outbox: Outbox) -> None:
        """Open a session; what came of it is the first message in its outbox."""
        session = PluginSession(request, outbox)
        try:
            await self._executor.open_session(session)
        except Exception as error:
            rmtree(session.folder, ignore_errors=True)
            outbox.put(pb.SessionMessage(failure=from_failure(_failure(error))))
            outbox.finish()
            return
        self._sessions[session.id] = session
        outbox.put(pb.SessionMessage(opened=pb.Opened()))

    async def close_session(self, session_id: SessionId) -> pb.CloseSessionReply:
        """Close a session."""
        session = self._sessions.pop(session_id, None)
        if session is None:
            return pb.CloseSessionReply()
        try:
            await self._executor.close_session(session_id)
        except Exception as error:
            return pb.CloseSessionReply(failure=from_failure(_failure(error)))
        finally:
            rmtree(session.folder, ignore_errors=True)
            session.outbox.finish()
        return pb.CloseSessionReply()

    async def close(self) -> None:
        """Close all sessions."""
        for session_id in tuple(self._sessions):
            await self.close_session(session_id)

    async def execute(self, start: pb.Start, inputs: "Inbox", outbox: Outbox) -> None:
        """Execute a task; the last message in its outbox says what came of it."""
        last: Message
        try:
            async with self._task_session(start, outbox) as session:
                task = to_task(start.task)
                await inputs.take_into(session.source)
                result = await self._executor.execute(session, task)
                last = _reported(session, result, task, outbox)
        except asyncio.CancelledError:
            last = pb.Report(stopped=pb.Stopped())
        except Exception as error:
            last = pb.Report(failure=from_failure(_failure(error)))
        await inputs.drain()
        outbox.put(last)
        outbox.finish()

    @asynccontextmanager
    async def _task_session(self, start: pb.Start, outbox: Outbox) -> AsyncIterator[TaskSession]:
        session = self._sessions.get(SessionId(start.session_id))
        if session is None:
            raise failed("E_SESSION", f'session "{start.session_id}" is not open')
        view = TaskSession(session, start, outbox)
        session.running[view.task_id] = view
        try:
            yield view
        finally:
            session.running.pop(view.task_id, None)
            view.discard()


class Inbox:
    """The files that come with a task: pieces from the thread of gRPC for the loop of the executor."""

    def __init__(self, loop: asyncio.AbstractEventLoop, *, is_complete: bool) -> None:
        self._loop = loop
        self._is_complete = is_complete
        self._chunks: asyncio.Queue[pb.FileChunk | None] = asyncio.Queue(maxsize=1)

    def put(self, chunk: pb.FileChunk | None) -> "asyncio.Future[None]":
        """Add a piece from the other thread, or None after the last one; done once there is room for another."""
        return asyncio.wrap_future(asyncio.run_coroutine_threadsafe(self._chunks.put(chunk), self._loop))

    async def take_into(self, folder: Path) -> None:
        """Write all files into a directory."""
        taker = FileTaker(folder, INPUT_BYTES)
        try:
            while (chunk := await self._next()) is not None:
                taker.take(chunk)
        except BaseException:
            taker.discard()
            raise
        taker.close()

    async def drain(self) -> None:
        """Take what is still to come, and drop it: Runwright can't be told anything before it has sent all."""
        while await self._next() is not None:
            pass

    def end(self) -> None:
        """Say, from the other thread, that nothing more comes."""
        with suppress(RuntimeError):  # the loop has ended, and all its work with it
            self._loop.call_soon_threadsafe(self._end)

    def _end(self) -> None:
        while not self._chunks.empty():
            self._chunks.get_nowait()
        self._chunks.put_nowait(None)

    async def _next(self) -> pb.FileChunk | None:
        if self._is_complete:
            return None
        chunk = await self._chunks.get()
        self._is_complete = chunk is None
        return chunk


def _reported(session: TaskSession, result: Result, task: Task, outbox: Outbox) -> pb.Report:
    """Send the files of a result and all its parts but the last, which is returned."""
    if not isinstance(result, Result):
        raise failed("E_EXECUTOR", f"the executor gave no Result, but {result!r}"[:1000])
    if session.is_sent:
        for output in dict.fromkeys(result.outputs):
            parts(output)
            for chunk in file_chunks(session.outputs, output):
                outbox.put(pb.Report(output=chunk))
        result = structs.replace(result, outputs=tuple(dict.fromkeys(result.outputs)))
    reports = [pb.Report(result=part) for part in from_result(task.id, result)]
    if any(report.ByteSize() > MESSAGE_BYTES for report in reports):
        message = f"the result takes more than {MESSAGE_BYTES} bytes; hand on what is large as a file"
        raise failed("E_PLUGIN_LIMIT", message)
    for report in reports[:-1]:
        outbox.put(report)
    return reports[-1]


def _failure(error: Exception) -> Failure:
    if isinstance(error, TaskFailed):
        return error.failure
    if isinstance(error, Lie):
        return Failure(code="E_OUTPUT", message=str(error))
    if isinstance(error, RunwrightError):
        return Failure(code=error.code, message=str(error))
    with suppress(Exception):
        return Failure(code="E_EXECUTOR", message=f"{type(error).__name__}: {error}")
    return Failure(code="E_EXECUTOR", message=type(error).__name__)
