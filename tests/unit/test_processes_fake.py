"""The fakes keep the promises of the doors they stand for."""

import asyncio

from runwright.adapters.clock import SystemClock
from runwright.ports.system import Command, Exit
from runwright.testing import FakeProcesses, MemoryLogs, Script


def test_scripts_by_text_and_the_rest_succeeds() -> None:
    async def scenario() -> None:
        fake = FakeProcesses(
            {"make it": Script(output=(("stderr", b"e"), ("stdout", b"o")), exit=Exit(code=2))}
        )
        seen: list[tuple[str, bytes]] = []
        command = Command(argv=("/bin/sh", "-c", "make it"), cwd="/")
        assert await fake.run(command, lambda *piece: seen.append(piece)) == Exit(code=2)
        assert seen == [("stderr", b"e"), ("stdout", b"o")]
        assert await fake.run(Command(argv=("ls", "-l"), cwd="/"), lambda *_: None) == Exit(code=0)
        fake.skip_grace()
        await fake.close()
        assert (len(fake.ran), fake.grace_skipped, fake.closed) == (2, True, True)

    asyncio.run(scenario())


def test_a_gate_holds_a_command() -> None:
    async def scenario() -> None:
        gate = asyncio.Event()
        fake = FakeProcesses(lambda _command: Script(gate=gate))
        running = asyncio.create_task(fake.run(Command(argv=("x",), cwd="/"), lambda *_: None))
        await fake.wait_running("x")
        assert not running.done()
        gate.set()
        assert await running == Exit(code=0)

    asyncio.run(scenario())


def test_memory_logs() -> None:
    logs = MemoryLogs()
    log = logs.open("r", "t", 1, 10)
    log.write("stdout", b"abc")
    log.write("stderr", b"")
    log.write("stderr", b"de")
    log.close()
    log.close()
    assert [(c.offset, c.stream, c.data) for c in logs.read("r", "t", 1, 1)] == [
        (1, "stdout", b"bc"),
        (3, "stderr", b"de"),
    ]
    assert logs.text("r", "t") == b"abcde"
    assert list(logs.read("r", "u", 1)) == []
    assert logs.closed == [("r", "t", 1)]
    assert not logs.path("r", "t", 1).exists()


def test_the_clock_of_the_machine() -> None:
    clock = SystemClock()
    assert clock.now().utcoffset() is not None
    before = clock.monotonic()
    asyncio.run(clock.sleep(0.0))
    assert clock.monotonic() >= before
