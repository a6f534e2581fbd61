"""The gRPC server of a plugin.

It has a thread and a loop of its own, so that the plugin answers about its health while its executor computes, and so
that an executor that prints faster than Runwright reads can be made to wait.
"""

import asyncio
import signal
import threading
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine
from contextlib import suppress
from typing import Any

import msgspec
from grpc_health.v1 import health, health_pb2, health_pb2_grpc
from msgspec import Struct

from runwright.adapters.plugin import plugin_pb2 as pb
from runwright.adapters.plugin.connection import SERVICE
from runwright.adapters.plugin.hosting import Hosted, Inbox
from runwright.adapters.plugin.limits import SERVER_OPTIONS, VERSIONS
from runwright.adapters.plugin.outbox import Outbox
from runwright.adapters.plugin.quiet import grpc
from runwright.core.task import SessionId
from runwright.ports.executor import Executor


class Server:
    """Serves one executor.

    Args:
        executor: Executes the tasks.
        socket: Where to listen.
        name: Of the plugin.
        version: Of the plugin.
        args: Record of the arguments of its tasks; None if it takes whatever comes.
    """

    def __init__(
        self, executor: Executor, socket: str, name: str, version: str, args: type[Struct] | None
    ) -> None:
        self._executor = executor
        self._socket = socket
        self._name = name
        self._version = version
        self._schema = "" if args is None else msgspec.json.encode(msgspec.json.schema(args)).decode()

    def run(self) -> None:
        """Serve until SIGTERM or SIGINT."""
        asyncio.run(self._main())

    async def _main(self) -> None:
        loop = asyncio.get_running_loop()
        stopping = asyncio.Event()
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, stopping.set)
        hosted = Hosted(self._executor)
        door = _Door(hosted, loop, self._handshake)
        thread = threading.Thread(target=door.run, args=(self._socket, stopping.set), daemon=True)
        thread.start()
        await stopping.wait()
        await asyncio.to_thread(door.stop)
        await hosted.close()
        await asyncio.to_thread(thread.join)

    def _handshake(self, request: pb.HandshakeRequest) -> pb.HandshakeReply:
        version = next((one for one in request.versions if one in VERSIONS), VERSIONS[0])
        return pb.HandshakeReply(
            version=version, name=self._name, plugin_version=self._version, args_schema=self._schema
        )


class _Door:
    """The thread that speaks gRPC."""

    def __init__(
        self,
        hosted: Hosted,
        work: asyncio.AbstractEventLoop,
        shake: Callable[[pb.HandshakeRequest], pb.HandshakeReply],
    ) -> None:
        self._hosted = hosted
        self._work = work
        self._shake = shake
        self._up = threading.Event()
        self._loop: asyncio.AbstractEventLoop
        self._down: asyncio.Event

    def run(self, socket: str, on_end: Callable[[], None]) -> None:
        """Serve until `stop`; the whole life of the thread."""
        try:
            asyncio.run(self._serve(socket))
        finally:
            self._up.set()
            with suppress(RuntimeError):
                self._work.call_soon_threadsafe(on_end)

    def stop(self) -> None:
        """End all calls, and what they do, from another thread."""
        self._up.wait()
        with suppress(AttributeError, RuntimeError):  # it has not come up, or is down already
            self._loop.call_soon_threadsafe(self._down.set)

    async def _serve(self, socket: str) -> None:
        self._loop, self._down = asyncio.get_running_loop(), asyncio.Event()
        server = grpc.aio.server(options=SERVER_OPTIONS)
        server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler(SERVICE, self._handlers()),))
        healthy = health.aio.HealthServicer()
        health_pb2_grpc.add_HealthServicer_to_server(healthy, server)
        await healthy.set("", health_pb2.HealthCheckResponse.SERVING)
        server.add_insecure_port(f"unix:{socket}")
        await server.start()
        self._up.set()
        await self._down.wait()
        await server.stop(grace=None)

    def _handlers(self) -> dict[str, Any]:
        return {
            "Handshake": grpc.unary_unary_rpc_method_handler(
                self._handshake, pb.HandshakeRequest.FromString, pb.HandshakeReply.SerializeToString
            ),
            "OpenSession": grpc.unary_stream_rpc_method_handler(
                self._open_session, pb.OpenSessionRequest.FromString, pb.SessionMessage.SerializeToString
            ),
            "Execute": grpc.stream_stream_rpc_method_handler(
                self._execute, pb.Order.FromString, pb.Report.SerializeToString
            ),
            "CloseSession": grpc.unary_unary_rpc_method_handler(
                self._close_session, pb.CloseSessionRequest.FromString, pb.CloseSessionReply.SerializeToString
            ),
        }

    async def _handshake(self, request: pb.HandshakeRequest, _: Any) -> pb.HandshakeReply:
        return self._shake(request)

    async def _open_session(self, request: pb.OpenSessionRequest, _: Any) -> AsyncIterator[Any]:
        outbox = Outbox()
        self._begin(self._hosted.open_session(request, outbox))
        try:
            while (message := await outbox.get()) is not None:
                yield message
        finally:
            outbox.close()

    async def _close_session(self, request: pb.CloseSessionRequest, _: Any) -> pb.CloseSessionReply:
        reply: pb.CloseSessionReply = await self._begin(
            self._hosted.close_session(SessionId(request.session_id))
        )
        return reply

    async def _execute(self, orders: AsyncIterator[pb.Order], _: Any) -> AsyncIterator[Any]:
        first = await anext(orders)
        outbox, inbox = Outbox(), Inbox(self._work, is_complete=not first.start.inputs_follow)
        work = _Work(self._work, self._hosted.execute(first.start, inbox, outbox))
        listening = asyncio.create_task(_listen(orders, inbox, work))
        try:
            while (message := await outbox.get()) is not None:
                yield message
        finally:
            inbox.end()
            work.stop()
            outbox.close()
            listening.cancel()

    def _begin(self, work: Coroutine[Any, Any, Any]) -> Awaitable[Any]:
        return asyncio.wrap_future(asyncio.run_coroutine_threadsafe(work, self._work))


class _Work:
    """A coroutine in the other loop, which can be stopped from this one."""

    def __init__(self, loop: asyncio.AbstractEventLoop, work: Coroutine[Any, Any, None]) -> None:
        self._loop = loop
        self._task: asyncio.Task[None] | None = None
        self._is_stopped = False
        self._call(self._start, work)

    def stop(self) -> None:
        """Cancel it, once."""
        if not self._is_stopped:
            self._is_stopped = True
            self._call(self._cancel)

    def _call(self, function: Callable[..., None], *args: Any) -> None:
        with suppress(RuntimeError):  # the loop has ended, and all its work with it
            self._loop.call_soon_threadsafe(function, *args)

    def _start(self, work: Coroutine[Any, Any, None]) -> None:
        self._task = self._loop.create_task(work)

    def _cancel(self) -> None:
        """Cancel it after its first step: one that never began could not tell what came of it."""
        if self._task is not None:
            self._loop.call_soon(self._task.cancel)


async def _listen(orders: AsyncIterator[pb.Order], inbox: Inbox, work: _Work) -> None:
    with suppress(Exception):  # a call that breaks is ended by whoever writes to it
        async for order in orders:
            kind = order.WhichOneof("kind")
            if kind == "input":
                await inbox.put(order.input)
            elif kind == "inputs_end":
                await inbox.put(None)
            elif kind == "stop":
                inbox.end()
                work.stop()
