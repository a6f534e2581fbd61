"""A plugin that does what a task tells it, on the wire itself: most of it is against the protocol.

The first argument says how it begins: ``fair``, or a fault.
"""

import asyncio
import inspect
import json
import os
import signal
import socket
import sys
import time
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import grpc
import grpc.aio

from runwright.adapters.plugin import plugin_pb2 as pb

HOW = sys.argv[1] if len(sys.argv) > 1 else "fair"
SOCKET = os.environ["RUNWRIGHT_PLUGIN_SOCKET"]
SERVICE = "runwright.plugin.v1.Plugin"
PIECE = b"x" * 65535 + b"\n"

closed = asyncio.Event()
health = {"answer": b"\x08\x01"}


async def handshake(request: bytes, _: Any) -> bytes:
    version = 2 if HOW == "version" else 1
    schema = {"schema-text": "{", "schema-kind": '{"type": 3}', "schema-large": '"' + "x" * (1 << 18) + '"'}
    if HOW == "garbage-handshake":
        return b"\xff\xff"
    return pb.HandshakeReply(version=version, args_schema=schema.get(HOW, "")).SerializeToString()


async def open_session(request: bytes, _: Any) -> AsyncIterator[bytes]:
    if HOW == "session-fails":
        failure = pb.Failure(code="E_MINE", message="no session today")
        yield pb.SessionMessage(failure=failure).SerializeToString()
        return
    if HOW == "session-garbage":
        yield b"\xff"
        return
    if HOW == "session-hangs":
        await asyncio.Event().wait()
    if HOW == "session-silent":
        return
    yield pb.SessionMessage(opened=pb.Opened()).SerializeToString()
    if HOW == "session-says":
        await asyncio.sleep(0.3)
        yield pb.SessionMessage(log=pb.Log(data=b"from the session\n")).SerializeToString()
    await (asyncio.Event() if HOW == "close-half" else closed).wait()


async def close_session(request: bytes, _: Any) -> bytes:
    if HOW == "close-hangs":
        await asyncio.Event().wait()
    if HOW == "close-fails":
        closed.set()
        return pb.CloseSessionReply(
            failure=pb.Failure(code="E_MINE", message="not closed")
        ).SerializeToString()
    closed.set()
    return b""


async def check(request: bytes, _: Any) -> bytes:
    return health["answer"]


async def execute(orders: AsyncIterator[bytes], _: Any) -> AsyncIterator[bytes]:
    start = pb.Order.FromString(await anext(orders)).start
    while HOW != "hasty" and start.inputs_follow:
        if pb.Order.FromString(await anext(orders)).WhichOneof("kind") == "inputs_end":
            break
    args = json.loads(start.task.args)
    fair = pb.Result(task_id=start.task.id, value=json.dumps(args.get("value", 1)))
    async for report in DEEDS[args["do"]](args, start, fair, orders):
        yield report if isinstance(report, bytes) else report.SerializeToString()


def log(data: bytes, stream: int = 0) -> pb.Report:
    return pb.Report(log=pb.Log(stream=stream, data=data))


async def ok(args: Any, start: Any, fair: Any, orders: Any) -> AsyncIterator[Any]:
    if args.get("seconds"):
        await asyncio.sleep(args["seconds"])
    yield pb.Report(result=fair)


async def told(args: Any, start: Any, fair: Any, orders: Any) -> AsyncIterator[Any]:
    """Say whatever the task says, as JSON of reports."""
    from google.protobuf.json_format import ParseDict

    for report in args["reports"]:
        yield ParseDict(report, pb.Report())


async def garbage(args: Any, start: Any, fair: Any, orders: Any) -> AsyncIterator[Any]:
    yield b"\xff\xff\xff"
    yield pb.Report(result=fair)


async def flood(args: Any, start: Any, fair: Any, orders: Any) -> AsyncIterator[Any]:
    for _ in range(args["mib"] * 16):
        yield log(PIECE)
    yield pb.Report(result=fair)


async def print_much(args: Any, start: Any, fair: Any, orders: Any) -> AsyncIterator[Any]:
    def work() -> None:
        for _ in range(args["mib"] * 16):
            os.write(1, PIECE)

    await asyncio.to_thread(work)
    yield pb.Report(result=fair)


async def large_value(args: Any, start: Any, fair: Any, orders: Any) -> AsyncIterator[Any]:
    fair.value = json.dumps("x" * (args["mib"] << 20))
    yield pb.Report(result=fair)


async def many_parts(args: Any, start: Any, fair: Any, orders: Any) -> AsyncIterator[Any]:
    names = ["x" * 1000] * 1000
    for _ in range(args["mib"]):
        yield pb.Report(result=pb.Result(task_id=start.task.id, outputs=names, more=True))
    yield pb.Report(result=fair)


async def outputs(args: Any, start: Any, fair: Any, orders: Any) -> AsyncIterator[Any]:
    folder = Path(start.output_dir)
    (folder / "plain").write_text("fine")
    (folder / "link").symlink_to("/etc/passwd")
    (folder / "up").symlink_to("/etc")
    fair.outputs.extend(args["names"])
    yield pb.Report(result=fair)


async def send(args: Any, start: Any, fair: Any, orders: Any) -> AsyncIterator[Any]:
    for path, data, last in args["files"]:
        yield pb.Report(output=pb.FileChunk(path=path, data=data.encode() * args.get("times", 1), last=last))
    fair.outputs.extend(args["names"])
    yield pb.Report(result=fair)


async def crash(args: Any, start: Any, fair: Any, orders: Any) -> AsyncIterator[Any]:
    yield log(b"last words\n")
    sys.stderr.write("Segmentation fault, or so\n")
    sys.stderr.flush()
    await asyncio.sleep(0.05)
    os.kill(os.getpid(), signal.SIGKILL)


async def hang(args: Any, start: Any, fair: Any, orders: Any) -> AsyncIterator[Any]:
    yield log(b"going on\n")
    while True:
        try:
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            continue


async def freeze(args: Any, start: Any, fair: Any, orders: Any) -> AsyncIterator[Any]:
    yield log(b"going to sleep\n")
    await asyncio.sleep(0.05)
    os.kill(os.getpid(), signal.SIGSTOP)
    yield pb.Report(result=fair)


async def sicken(args: Any, start: Any, fair: Any, orders: Any) -> AsyncIterator[Any]:
    health["answer"] = b"\x08\x02"
    await asyncio.Event().wait()
    yield b""


async def abort(args: Any, start: Any, fair: Any, orders: Any) -> AsyncIterator[Any]:
    raise ValueError("a bug of the plugin")
    yield b""


DEEDS = {name: globals()[name] for name in globals().copy() if inspect.isasyncgenfunction(globals()[name])}


def note_start(path: Path) -> None:
    with path.open("a") as file:
        file.write(f"{time.time()} {os.getpid()}\n")


async def main() -> None:
    server = grpc.aio.server(options=[("grpc.max_send_message_length", -1)])
    handlers = {
        "Handshake": grpc.unary_unary_rpc_method_handler(handshake),
        "OpenSession": grpc.unary_stream_rpc_method_handler(open_session),
        "Execute": grpc.stream_stream_rpc_method_handler(execute),
        "CloseSession": grpc.unary_unary_rpc_method_handler(close_session),
    }
    service = "runwright.plugin.v9.Plugin" if HOW == "service" else SERVICE
    generic = grpc.method_handlers_generic_handler
    server.add_generic_rpc_handlers((generic(service, handlers),))
    if HOW != "no-health":
        checks = {"Check": grpc.unary_unary_rpc_method_handler(check)}
        server.add_generic_rpc_handlers((generic("grpc.health.v1.Health", checks),))
    server.add_insecure_port(f"unix:{SOCKET}")
    await server.start()
    if log_file := os.environ.get("ROGUE_STARTS"):
        note_start(Path(log_file))
    await server.wait_for_termination()


if HOW == "exits":
    sys.stderr.write("no licence\n")
    sys.exit(7)
if HOW == "deaf":
    time.sleep(3600)
if HOW == "not-grpc":
    door = socket.socket(socket.AF_UNIX)
    door.bind(SOCKET)
    door.listen()
    while True:
        door.accept()[0].sendall(b"HTTP/1.1 200 OK\r\n\r\n")
print("up and running")
sys.stdout.flush()
asyncio.run(main())
