"""The floor of plugins: one call of bare gRPC a task, to a process that answers at once.

``plugin_echo.py COUNT SLOTS`` measures; without arguments it is the process that answers. A call has two streams, as that of
a plugin has, and carries a message each way.
"""

import asyncio
import json
import os
import sys
import tempfile
import time

import grpc
import grpc.aio

MESSAGE = b"x" * 60


async def answer(orders, _):
    async for order in orders:
        yield order
        return


async def serve():
    server = grpc.aio.server()
    handlers = {"Echo": grpc.stream_stream_rpc_method_handler(answer)}
    server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler("echo.Echo", handlers),))
    server.add_insecure_port(f"unix:{os.environ['ECHO_SOCKET']}")
    await server.start()
    print("up", flush=True)
    await server.wait_for_termination()


async def call(method):
    stream = method()
    await stream.write(MESSAGE)
    assert await stream.read() == MESSAGE
    assert await stream.read() is grpc.aio.EOF


async def measure(count, slots):
    with tempfile.TemporaryDirectory() as folder:
        socket = f"{folder}/s"
        env = os.environ | {"ECHO_SOCKET": socket}
        server = await asyncio.create_subprocess_exec(sys.executable, __file__, env=env, stdout=-1)
        await server.stdout.readline()
        async with grpc.aio.insecure_channel(f"unix:{socket}") as channel:
            method = channel.stream_stream("/echo.Echo/Echo")
            await call(method)
            started = time.perf_counter()
            await in_slots(count, slots, lambda _: call(method))
            seconds = time.perf_counter() - started
        server.kill()
        await server.wait()
    return seconds


async def in_slots(count, slots, work):
    """Do `work` for each number, so many at a time."""
    numbers = iter(range(count))

    async def slot():
        for number in numbers:
            await work(number)

    async with asyncio.TaskGroup() as group:
        for _ in range(slots):
            group.create_task(slot())


if __name__ == "__main__":
    if len(sys.argv) == 1:
        asyncio.run(serve())
    else:
        count = int(sys.argv[1])
        print(json.dumps({"seconds": asyncio.run(measure(count, int(sys.argv[2]))), "tasks": count}))
