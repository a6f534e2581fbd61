"""One task that a plugin executes, from our side."""

import asyncio
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any, Protocol

from runwright.adapters.plugin import plugin_pb2 as pb
from runwright.adapters.plugin.connection import EOF, Connection, RpcError, break_off, parsed
from runwright.adapters.plugin.files import FileTaker, check_outputs, file_chunks, find_inputs
from runwright.adapters.plugin.limits import RESULT_BYTES, PluginOptions, failed
from runwright.adapters.plugin.messages import Lie, from_task, stream_name, to_event, to_failure, to_result
from runwright.core.errors import StoreError, TaskFailed
from runwright.core.task import Result, Task
from runwright.ports.executor import Session, Stream


class Owner(Protocol):
    """The plugin, as one of its calls sees it."""

    name: str
    connection: Connection
    options: PluginOptions

    async def why(self, error: BaseException, session: Session) -> TaskFailed:
        """Return what has broken a call."""
        ...

    async def end(self, why: str, code: str) -> None:
        """End the plugin."""
        ...


class Call:
    """Executes a task; `run` ends when the plugin has, or when it has been ended.

    Args:
        owner: The plugin.
        session: Whose task; open on the plugin.
        task: What to execute.
    """

    def __init__(self, owner: Owner, session: Session, task: Task) -> None:
        self._owner = owner
        self._session = session
        self._task = task
        self._folder: Path | None = None
        self._files: FileTaker | None = None
        self._stopping = asyncio.Event()
        self._error: TaskFailed | None = None
        self._result: pb.Result | None = None
        self._bytes = 0
        self._last = ""
        self._is_sending = False

    def stop(self) -> None:
        """Ask the plugin to stop the task."""
        self._stopping.set()

    def print(self, stream: Stream, data: bytes) -> None:
        """Put something into the log of the task; a log that can't be written is reported by its session."""
        with suppress(StoreError):
            self._session.log(self._task.id).write(stream, data)

    async def run(self) -> Result:
        """Execute the task to its end.

        Raises:
            TaskFailed: If the task has failed, or the plugin has failed it.
        """
        inputs, start = self._prepare()
        stream = self._owner.connection.execute()
        writer = asyncio.create_task(self._write(stream, start, inputs))
        try:
            return await self._outcome(stream)
        except BaseException:
            if self._files is not None:
                self._files.discard()
            raise
        finally:
            break_off(stream)
            writer.cancel()
            await asyncio.wait([writer])

    def _prepare(self) -> tuple[list[str], pb.Start]:
        options, session = self._owner.options, self._session
        start = pb.Start(session_id=session.id, task=from_task(self._task))
        inputs: list[str] = []
        if options.shared_files:
            self._folder = session.output_dir(self._task.id)
            start.output_dir = str(self._folder)
        else:
            inputs = find_inputs(session.source, self._task.inputs)
            start.inputs_follow = True
        return inputs, start

    async def _outcome(self, stream: Any) -> Result:
        try:
            try:
                await self._read(stream)
                return self._finished()
            except (Lie, TaskFailed, StoreError):
                await self._calm(stream)
                raise
        except Lie as lie:
            message = f"{self._owner.name} does not keep to the protocol: {lie}"
            raise failed("E_PLUGIN", self._session.redact(message)) from None
        except (RpcError, asyncio.CancelledError) as error:  # the latter if the channel is closed below us
            found = await self._owner.why(error, self._session)
            if self._is_sending and found.failure.code == "E_PLUGIN":
                found = failed(
                    "E_PLUGIN", f"{self._owner.name} ended the call before it had taken all inputs"
                )
            raise found from None

    async def _read(self, stream: Any) -> None:
        while (data := await stream.read()) is not EOF:
            report = parsed(pb.Report, data)
            kind = report.WhichOneof("kind")
            if self._last:
                raise Lie(f"after its last report ({self._last}) comes another ({kind})")
            if kind is None:
                raise Lie("a report says nothing that is known")
            getattr(self, f"_take_{kind}")(getattr(report, kind))
        if not self._last:
            raise Lie("it ended the call without a result")

    def _take_log(self, log: pb.Log) -> None:
        self._session.log(self._task.id).write(stream_name(log), log.data)

    def _take_event(self, event: str) -> None:
        self._session.tell(to_event(event, self._task.id, self._session))

    def _take_output(self, chunk: pb.FileChunk) -> None:
        if self._owner.options.shared_files:
            raise Lie("it sends files although it shares ours")
        if self._files is None:
            self._folder = self._session.output_dir(self._task.id)
            self._files = FileTaker(self._folder, self._owner.options.output_bytes)
        self._files.take(chunk)

    def _take_result(self, part: pb.Result) -> None:
        self._bytes += part.ByteSize()
        if self._bytes > RESULT_BYTES:
            raise failed(
                "E_PLUGIN_LIMIT", f"{self._owner.name}: its result takes more than {RESULT_BYTES} bytes"
            )
        if self._result is None:
            self._result = part
        else:
            self._result.MergeFrom(part)
        self._last = "" if part.more else "a result"

    def _take_failure(self, failure: pb.Failure) -> None:
        self._last = "a failure"
        self._error = self._error or TaskFailed(to_failure(failure, self._session))

    def _take_stopped(self, _: pb.Stopped) -> None:
        self._last = "the word that it has stopped"
        if not self._stopping.is_set():
            raise Lie("it stopped the task without being asked to")
        self._error = self._error or failed("E_CANCELLED", "the task was stopped")

    def _finished(self) -> Result:
        if self._error is not None:
            raise self._error
        assert self._result is not None
        result = to_result(self._result, self._task.id)
        if self._owner.options.shared_files:
            assert self._folder is not None
            check_outputs(self._folder, result.outputs)
        else:
            self._check_sent(set(result.outputs))
        return result

    def _check_sent(self, outputs: set[str]) -> None:
        sent: set[str] = set()
        if self._files is not None:
            self._files.close()
            sent = self._files.taken
        if sent != outputs:
            raise Lie(f"it names other outputs than it sent: {sorted(sent ^ outputs)[0]!r}")

    async def _calm(self, stream: Any) -> None:
        """Have the plugin stop what it still does for the task; what it says meanwhile is not listened to."""
        self.stop()
        grace = self._owner.options.stop_grace
        try:
            async with asyncio.timeout(grace):
                while await stream.read() is not EOF:
                    pass
        except TimeoutError:
            await self._owner.end(f"task {self._task.id} did not stop within {grace:g} s", "E_PLUGIN_HUNG")
        except (RpcError, asyncio.CancelledError):
            pass  # the call is broken; that ends the task, too

    async def _write(self, stream: Any, start: pb.Start, inputs: list[str]) -> None:
        with suppress(RpcError, asyncio.InvalidStateError):  # whoever reads is told why
            await stream.write(pb.Order(start=start).SerializeToString())
            if start.inputs_follow:
                await self._send_inputs(stream, inputs)
            await self._stopping.wait()
            await stream.write(pb.Order(stop=pb.Stop()).SerializeToString())

    async def _send_inputs(self, stream: Any, inputs: list[str]) -> None:
        self._is_sending = True
        try:
            for chunk in self._chunks(inputs):
                if self._stopping.is_set():
                    return
                await stream.write(pb.Order(input=chunk).SerializeToString())
        except OSError as error:
            self._error = failed("E_INPUT", f"an input can't be read: {error}")
            self.stop()
            return
        await stream.write(pb.Order(inputs_end=pb.InputsEnd()).SerializeToString())
        self._is_sending = False

    def _chunks(self, inputs: list[str]) -> Iterator[pb.FileChunk]:
        for path in inputs:
            yield from file_chunks(self._session.source, path)
