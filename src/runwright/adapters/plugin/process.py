"""A plugin that runs: its process, its sessions, its health, and its end."""

import asyncio
import sys
from collections.abc import Callable, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

from runwright.adapters.plugin import plugin_pb2 as pb
from runwright.adapters.plugin.call import Call
from runwright.adapters.plugin.connection import EOF, Code, Connection, RpcError, parsed
from runwright.adapters.plugin.folder import PluginFolder
from runwright.adapters.plugin.limits import MESSAGE_BYTES, SOCKET, VERSIONS, PluginOptions, failed
from runwright.adapters.plugin.messages import Lie, stream_name, tail, to_failure
from runwright.adapters.plugin.schema import ArgsSchema
from runwright.adapters.waiting import retrieved, to_the_end
from runwright.core.errors import TaskFailed
from runwright.core.task import Result, SessionId, Task
from runwright.ports.executor import Session, Stream
from runwright.ports.system import Command, Exit, Processes

ERROR_BYTES = 8192
UNHEARD_BYTES = 64 << 10
NOTICE = 1.0
"""Seconds in which the end of a process shows after its connection has broken."""

NAME_CHARACTERS = 60


class PluginProcess:
    """One process of a plugin, from its start to its end.

    Args:
        argv: Program and arguments.
        cwd: Its working directory.
        processes: Starts it, and ends all that it starts.
        options: How it is treated.
        on_end: Called when nothing of it is left.

    Attributes:
        name: For messages.
        gone: Set once the process has ended, with all that it had started.
        was_useful: True if it has been given a task.
    """

    def __init__(
        self,
        argv: tuple[str, ...],
        cwd: str,
        processes: Processes,
        options: PluginOptions,
        on_end: Callable[["PluginProcess"], None],
    ) -> None:
        shown = " ".join(Path(part).name for part in argv)
        self.name = f"plugin {shown[:NAME_CHARACTERS].strip()}"
        self.options = options
        self.connection: Connection
        self.gone = asyncio.Event()
        self.was_useful = False
        self._processes = processes
        self._on_end = on_end
        self._folder = PluginFolder()
        self._fate = ""
        self._code = "E_PLUGIN_CRASHED"
        self._errors = b""
        self._unheard: list[tuple[Stream, bytes]] = []
        self._calls: dict[Call, asyncio.Task[Result]] = {}
        self._sessions: dict[SessionId, asyncio.Task[asyncio.Task[None]]] = {}
        self._schema = ArgsSchema("")
        self._watch: asyncio.Task[None] | None = None
        command = Command(argv=argv, cwd=cwd, env=self._environment(), kill_grace=options.kill_grace)
        self._life = asyncio.create_task(self._live(command))

    def _environment(self) -> Mapping[str, str]:
        return {SOCKET: str(self._folder.socket), "TMPDIR": str(self._folder.temporary)}

    async def start(self) -> None:
        """Wait until it has shaken hands.

        Raises:
            TaskFailed: With code ``E_PLUGIN_START`` or ``E_PLUGIN_VERSION``; then nothing of it is left.
        """
        limit = self.options.startup_timeout
        try:
            try:
                async with asyncio.timeout(limit):
                    await self._shake_hands()
            except TimeoutError:
                raise self._not_started(f"it did not answer within {limit:g} s") from None
        except BaseException:
            await to_the_end(self.end("it has not started well"))
            raise
        self._watch = asyncio.create_task(self._watch_health())

    async def execute(self, session: Session, task: Task) -> Result:
        """Execute a task of a session.

        Raises:
            TaskFailed: If the task has failed, or the plugin has failed it.
        """
        await self._open(session)
        self._schema.check(task.args, session, self.name)
        self.was_useful = True
        call = Call(self, session, task)
        pump = self._calls[call] = asyncio.create_task(call.run())
        self._pass_on(call)
        try:
            return await asyncio.shield(pump)
        except asyncio.CancelledError:
            await to_the_end(self._stopped(call, pump, task))
            raise
        finally:
            del self._calls[call]

    async def close_session(self, session: Session) -> None:
        """Close a session; a plugin that can't is ended.

        Raises:
            TaskFailed: What the plugin's executor reports.
        """
        opening = self._sessions.pop(session.id, None)
        if opening is None:
            return
        grace = self.options.stop_grace
        await asyncio.wait([opening], timeout=grace)
        if not opening.done():
            await self.end(f"session {session.id} was not opened, and is to be closed", "E_PLUGIN_HUNG")
            await _finished(opening)
            return
        if opening.exception() is not None:
            return
        try:
            reply = await self.connection.close_session(pb.CloseSessionRequest(session_id=session.id), grace)
        except (RpcError, Lie):
            await self.end(f"session {session.id} was not closed within {grace:g} s")
            return
        finally:
            await _left(opening.result())
        if reply.HasField("failure"):
            raise TaskFailed(to_failure(reply.failure, session))

    async def end(self, why: str = "it was ended", code: str = "E_PLUGIN_CRASHED") -> None:
        """End the process with all that it has started, and wait until nothing of it is left."""
        self._kill(why, code)
        if asyncio.current_task() not in self._calls.values():
            await asyncio.wait([self._life])
        else:
            await self.gone.wait()

    async def why(self, error: BaseException, session: Session) -> TaskFailed:
        """Return what has broken a call: the end of the process, if it ends now, or what gRPC says."""
        if isinstance(error, RpcError) and error.code() is Code.RESOURCE_EXHAUSTED:
            return failed("E_PLUGIN_LIMIT", f"{self.name}: a message takes more than {MESSAGE_BYTES} bytes")
        if await self._is_gone_within(NOTICE):
            errors = tail(self._errors.decode("utf-8", "replace"), session)
            return failed(self._code, session.redact(f"{self.name}: {self._fate}"), stderr_tail=errors)
        said = (
            f"{error.code().name}: {error.details()}" if isinstance(error, RpcError) else "it was broken off"
        )
        return failed("E_PLUGIN", session.redact(f"{self.name} broke the call off ({said})"[:1000]))

    # Its life

    async def _live(self, command: Command) -> None:
        try:
            ended = await self._processes.run(command, self._take)
            self._fate = self._fate or _told(ended)
        except asyncio.CancelledError:
            pass  # we have ended it, and `_fate` says why
        except TaskFailed as error:
            self._fate = self._fate or error.failure.message
        self.gone.set()
        if self._watch is not None:
            await asyncio.wait([self._watch])
        if self._calls:
            await asyncio.wait(self._calls.values(), timeout=NOTICE)
        for opening in self._sessions.values():
            await _finished(opening)
        if hasattr(self, "connection"):
            await self.connection.close()
        self._folder.remove()
        self._on_end(self)

    def _take(self, stream: Stream, data: bytes) -> None:
        """Put what it prints itself into the logs of the tasks that it executes; else keep the end for the next one."""
        if stream == "stderr":
            self._errors = (self._errors + data)[-ERROR_BYTES:]
        if self._calls:
            for call in self._calls:
                call.print(stream, data)
        else:
            self._unheard.append((stream, data))
            while sum(len(data) for _, data in self._unheard) > UNHEARD_BYTES:
                del self._unheard[0]

    def _pass_on(self, call: Call) -> None:
        unheard, self._unheard = self._unheard, []
        for stream, data in unheard:
            call.print(stream, data)

    async def _watch_health(self) -> None:
        """Look at its health until it has ended; a look is never broken off, as gRPC would clear up behind our back."""
        misses = 0
        limit = self.options.health_timeout
        while misses < 2:
            if await self._is_gone_within(self.options.health_interval if not misses else 0.0):
                return
            try:
                status = await self.connection.health(limit)
            except (RpcError, Lie):
                misses += 1
                continue
            misses = 0
            if status != "SERVING":
                self._kill(f"it says that its health is {status}", "E_PLUGIN_HUNG")
                return
        self._kill(f"it hangs: it did not answer for {2 * limit:g} s", "E_PLUGIN_HUNG")

    async def _is_gone_within(self, seconds: float) -> bool:
        with suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                await self.gone.wait()
        return self.gone.is_set()

    def _kill(self, why: str, code: str = "E_PLUGIN_CRASHED") -> None:
        if not self._fate and not self.gone.is_set():
            self._fate, self._code = why, code
            self._life.cancel()

    # Its start

    async def _shake_hands(self) -> None:
        while not self._folder.socket.exists():
            await asyncio.wait([self._life], timeout=0.005)
            self._require_life()
        self.connection = Connection(self._folder.socket)
        shaking = asyncio.create_task(self._handshake())
        try:
            await asyncio.wait([shaking, self._life], return_when=asyncio.FIRST_COMPLETED)
            if not shaking.done():
                self._require_life()
            await shaking
        finally:
            shaking.cancel()
            await asyncio.wait([shaking])
            retrieved(shaking)

    async def _handshake(self) -> None:
        request = pb.HandshakeRequest(versions=VERSIONS, engine_version=_version())
        try:
            reply = await self.connection.handshake(request)
        except RpcError as error:
            if error.code() is Code.UNIMPLEMENTED:
                raise self._other_version("a protocol that we don't know") from None
            raise self._not_started(
                f"the handshake failed ({error.code().name}: {error.details()})"
            ) from None
        except Lie as lie:
            raise self._not_started(f"the handshake failed: {lie}") from None
        if reply.version not in VERSIONS:
            raise self._other_version(f"version {reply.version} of the protocol")
        try:
            self._schema = ArgsSchema(reply.args_schema)
        except Lie as lie:
            raise failed("E_PLUGIN", f"{self.name} does not keep to the protocol: {lie}") from None
        if reply.name:
            self.name = f"plugin {reply.name[:NAME_CHARACTERS]}"

    def _require_life(self) -> None:
        if self._life.done() or self.gone.is_set():
            raise self._not_started(self._fate)

    def _other_version(self, what: str) -> TaskFailed:
        ours = ", ".join(map(str, VERSIONS))
        message = f"{self.name} speaks {what}, this Runwright version {ours}; install versions that fit"
        return failed("E_PLUGIN_VERSION", message)

    def _not_started(self, why: str) -> TaskFailed:
        errors = self._errors.decode("utf-8", "replace")
        return failed("E_PLUGIN_START", f"{self.name} has not started: {why}", stderr_tail=errors)

    # Its sessions

    async def _open(self, session: Session) -> None:
        """Open a session on it, once, and again if that has failed."""
        opening = self._sessions.get(session.id)
        if opening is None or (opening.done() and opening.exception() is not None):
            opening = self._sessions[session.id] = asyncio.create_task(self._opened(session))
            opening.add_done_callback(retrieved)
        await asyncio.shield(opening)

    async def _opened(self, session: Session) -> "asyncio.Task[None]":
        """Open a session; returns who listens to what is said in it."""
        source = str(session.source) if self.options.shared_files else ""
        request = pb.OpenSessionRequest(session_id=session.id, source=source, captures=session.captures)
        stream = self.connection.open_session(request)
        try:
            await self._read_opening(stream, session)
        except Lie as lie:
            raise failed("E_PLUGIN", f"{self.name} does not keep to the protocol: {lie}") from None
        except (RpcError, asyncio.CancelledError) as error:
            raise await self.why(error, session) from None
        return asyncio.create_task(self._listen(stream))

    async def _read_opening(self, stream: Any, session: Session) -> None:
        while (data := await stream.read()) is not EOF:
            message = parsed(pb.SessionMessage, data)
            kind = message.WhichOneof("kind")
            if kind == "opened":
                return
            if kind == "failure":
                raise TaskFailed(to_failure(message.failure, session))
            self._take(stream_name(message.log), message.log.data)
        raise Lie("it did not open the session")

    async def _listen(self, stream: Any) -> None:
        """Pass on what is said outside of tasks; a stream that breaks harms nobody."""
        with suppress(RpcError, Lie):
            while (data := await stream.read()) is not EOF:
                log = parsed(pb.SessionMessage, data).log
                self._take(stream_name(log), log.data)

    async def _stopped(self, call: Call, pump: "asyncio.Task[Result]", task: Task) -> None:
        """Wait until a call that is to be stopped has ended; a plugin that goes on with it is ended."""
        call.stop()
        grace = self.options.stop_grace
        await asyncio.wait([pump], timeout=grace)
        if not pump.done():
            await self.end(f"task {task.id} did not stop within {grace:g} s", "E_PLUGIN_HUNG")
            await asyncio.wait([pump])
        retrieved(pump)


async def _finished(opening: "asyncio.Task[asyncio.Task[None]]") -> None:
    await asyncio.wait([opening])
    if opening.exception() is None:
        await _left(opening.result())


async def _left(listening: "asyncio.Task[None]") -> None:
    """Wait until a session's stream has ended; one that should have and does not is broken off."""
    await asyncio.wait([listening], timeout=NOTICE)
    if not listening.done():
        listening.cancel()
        await asyncio.wait([listening])


def _told(exit_: Exit) -> str:
    return (
        f"it ended: killed by signal {exit_.signal}"
        if exit_.signal
        else f"it ended: exit status {exit_.code}"
    )


def _version() -> str:
    return str(sys.modules["runwright"].__version__)  # an import would be one upwards
