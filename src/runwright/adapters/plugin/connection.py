"""The calls that a plugin answers, over one channel; what comes back is bytes until we have looked at it."""

import asyncio
import inspect
from pathlib import Path
from typing import Any, TypeVar
from weakref import WeakSet

from google.protobuf.message import DecodeError, Message
from grpc_health.v1 import health_pb2

from runwright.adapters.plugin import plugin_pb2 as pb
from runwright.adapters.plugin.limits import CHANNEL_OPTIONS
from runwright.adapters.plugin.messages import Lie
from runwright.adapters.plugin.quiet import grpc

SERVICE = pb.DESCRIPTOR.services_by_name["Plugin"].full_name
CLEARING = 2.0
"""Most seconds that gRPC is given to clear up behind calls."""

LINGERING = 0.1
"""The same where tasks of other channels, which go on, can't be told from those of this one."""

_open: "WeakSet[Connection]" = WeakSet()

M = TypeVar("M", bound=Message)

EOF = grpc.aio.EOF
RpcError = grpc.aio.AioRpcError
Code = grpc.StatusCode
SERVING = health_pb2.HealthCheckResponse.SERVING
HEALTH_NAMES = health_pb2.HealthCheckResponse.ServingStatus


class Connection:
    """A channel to a plugin.

    Args:
        socket: Where it listens.
    """

    def __init__(self, socket: Path) -> None:
        self._channel = grpc.aio.insecure_channel(f"unix:{socket}", options=CHANNEL_OPTIONS)
        self._handshake = self._channel.unary_unary(f"/{SERVICE}/Handshake", bytes)
        self._open = self._channel.unary_stream(f"/{SERVICE}/OpenSession", bytes)
        self._execute = self._channel.stream_stream(f"/{SERVICE}/Execute", bytes)
        self._close = self._channel.unary_unary(f"/{SERVICE}/CloseSession", bytes)
        self._check = self._channel.unary_unary("/grpc.health.v1.Health/Check", bytes)
        _open.add(self)
        self._beginnings: set[asyncio.Task[None]] = set()

    async def handshake(self, request: pb.HandshakeRequest) -> pb.HandshakeReply:
        """Agree on a version; waits until the plugin listens."""
        call = self._handshake(request.SerializeToString(), wait_for_ready=True)
        return parsed(pb.HandshakeReply, await call)

    def open_session(self, request: pb.OpenSessionRequest) -> Any:
        """Begin a session's stream."""
        return self._open(request.SerializeToString())

    def execute(self) -> Any:
        """Begin an execution's streams."""
        call = self._execute()
        beginning = getattr(call, "_preparation", None)
        if isinstance(beginning, asyncio.Task):
            self._beginnings.add(beginning)
            beginning.add_done_callback(self._beginnings.discard)
        return call

    async def close_session(self, request: pb.CloseSessionRequest, limit: float) -> pb.CloseSessionReply:
        """Close a session."""
        return parsed(pb.CloseSessionReply, await self._close(request.SerializeToString(), timeout=limit))

    async def health(self, limit: float) -> str:
        """Return the status that the plugin has in its own eyes; ``SERVING`` is the good one.

        A plugin without the health service is served by any answer at all.
        """
        try:
            answer = await self._check(b"", timeout=limit)
        except RpcError as error:
            if error.code() in (Code.UNIMPLEMENTED, Code.NOT_FOUND):
                return "SERVING"
            raise
        status = parsed(health_pb2.HealthCheckResponse, answer).status
        return str(HEALTH_NAMES.Name(status)) if status in HEALTH_NAMES.values() else str(status)

    async def close(self) -> None:
        """Break off what is under way, close the channel, and wait until gRPC has cleared up behind broken calls."""
        await self._channel.close()
        if self._beginnings:
            await asyncio.wait(self._beginnings, timeout=CLEARING)
        _open.discard(self)
        if left := [task for task in asyncio.all_tasks() if _is_of_grpc(task)]:
            await asyncio.wait(left, timeout=LINGERING if _open else CLEARING)


def break_off(call: Any) -> None:
    """Cancel a call, unless it has ended.

    gRPC takes a call for ended when we could not write to it any more, and then no longer cancels it. The other side may
    still be writing, and would wait for ever for somebody who reads; so what is below is cancelled, too.
    """
    call.cancel()
    below = getattr(call, "_cython_call", None)
    if below is not None:
        below.cancel("nobody listens any more")


def _is_of_grpc(task: "asyncio.Task[Any]") -> bool:
    """Tell whether a task is one that gRPC has made for itself: those run no coroutine of Python."""
    return not inspect.iscoroutine(task.get_coro())


def parsed(kind: type[M], data: bytes) -> M:
    """Return the message that some bytes are.

    Raises:
        Lie: If they are none.
    """
    try:
        return kind.FromString(data)
    except DecodeError as error:
        raise Lie(f"a message of type {kind.__name__} can't be read: {error}") from None
