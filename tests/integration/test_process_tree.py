"""Nothing a command starts outlives it, whatever the end; a bare process shows that the tests would see it."""

import asyncio
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import process_survivors as survivors
import pytest

from runwright.adapters.process import WardenProcesses
from runwright.ports.system import Command

ENGINE = Path(__file__).with_name("process_engine.py")
NAMES = list(survivors.ESCAPES)
pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="daemons can be found on Linux only")


@pytest.fixture
def folder(tmp_path: Path) -> Iterator[Path]:
    yield tmp_path
    survivors.kill_all_in(tmp_path)


def to_command(name: str, folder: Path, tail: str, grace: float = 0.2) -> Command:
    return Command(argv=("/bin/sh", "-c", survivors.script(name, tail)), cwd=str(folder), kill_grace=grace)


async def started(processes: WardenProcesses, command: Command) -> "asyncio.Task[object]":
    """Run a command in a task of its own and wait until it says that it is ready."""
    ready = asyncio.Event()
    task = asyncio.create_task(
        processes.run(command, lambda _stream, data: ready.set() if b"ready" in data else None)
    )
    async with asyncio.timeout(30):
        await ready.wait()
    return task


@pytest.mark.parametrize("name", NAMES)
def test_control_a_bare_process_leaves_survivors(folder: Path, name: str) -> None:
    leader = subprocess.Popen(
        ["/bin/sh", "-c", survivors.script(name, "exit 0")],
        cwd=folder,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    leader.wait(30)
    survivors.wait_until(lambda: bool(survivors.alive_in(folder)))
    survivors.kill_all_in(folder)


@pytest.mark.parametrize("name", NAMES)
def test_normal_end(folder: Path, name: str) -> None:
    async def scenario() -> float:
        processes = WardenProcesses()
        output = bytearray()
        try:
            start = time.monotonic()
            exit_ = await processes.run(
                to_command(name, folder, "exit 3"), lambda _stream, data: output.extend(data)
            )
            assert exit_.code == 3
            assert survivors.alive_in(folder) == []
            assert b"ready" in output
            assert b"late" not in output
            return time.monotonic() - start
        finally:
            await processes.close()

    assert asyncio.run(scenario()) < 10


@pytest.mark.parametrize("name", NAMES)
def test_cancel(folder: Path, name: str) -> None:
    async def scenario() -> None:
        processes = WardenProcesses()
        try:
            task = await started(processes, to_command(name, folder, "sleep 3600; sleep 3600"))
            assert survivors.alive_in(folder)
            start = time.monotonic()
            task.cancel()
            with pytest.raises(asyncio.CancelledError):
                await task
            assert survivors.alive_in(folder) == []
            assert time.monotonic() - start < 0.2 + 2
        finally:
            await processes.close()

    asyncio.run(scenario())


@pytest.mark.parametrize("name", NAMES)
def test_timeout(folder: Path, name: str) -> None:
    async def scenario() -> None:
        processes = WardenProcesses()
        try:
            task = await started(processes, to_command(name, folder, "while :; do sleep 1; done"))
            with pytest.raises(TimeoutError):
                async with asyncio.timeout(0.05):
                    await task
            assert survivors.alive_in(folder) == []
        finally:
            await processes.close()

    asyncio.run(scenario())


@pytest.mark.parametrize("name", NAMES)
def test_kill_9_of_the_engine(folder: Path, name: str) -> None:
    with subprocess.Popen(
        [sys.executable, str(ENGINE), str(folder), survivors.script(name, "sleep 3600; sleep 3600")],
        stdout=subprocess.PIPE,
    ) as engine:
        assert engine.stdout is not None
        assert engine.stdout.readline() == b"ready\n"
        assert survivors.alive_in(folder)
        helpers = survivors_of_warden(engine.pid)
        engine.send_signal(signal.SIGKILL)
        engine.wait(10)
        assert survivors.wait_until(lambda: not survivors.alive_in(folder), 2.0) < 2.0
        survivors.wait_until(lambda: not any(map(survivors.is_alive, helpers)), 2.0)


def survivors_of_warden(engine: int) -> list[int]:
    """The warden and its guards, which must go too."""
    wardens = survivors.children_of(engine)
    found = [*wardens, *(guard for warden in wardens for guard in survivors.children_of(warden))]
    assert len(found) == 2
    return found


def test_no_zombies_while_a_command_runs_and_after(folder: Path) -> None:
    orphans = "i=0; while [ $i -lt 50 ]; do (true &) ; i=$((i+1)); done; echo ready; exec sleep 3600"

    async def scenario() -> None:
        processes = WardenProcesses()
        task = await started(processes, Command(argv=("/bin/sh", "-c", orphans), cwd=str(folder)))
        assert processes._handle is not None
        warden = processes._handle.pid
        (guard,) = survivors.children_of(warden)
        survivors.wait_until(lambda: not survivors.zombies_below(guard))
        assert survivors.zombies_below(os.getpid()) == []
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        assert survivors.zombies_below(guard) == []
        await processes.close()
        assert warden not in survivors.children_of(os.getpid())

    asyncio.run(scenario())


def settled(folder: Path) -> list[int]:
    """Return the processes of a command once those that only fork and leave have left."""
    seen: list[list[int]] = [[]]

    def is_stable() -> bool:
        seen.append(survivors.alive_in(folder))
        return len(seen) > 5 and all(other == seen[-1] for other in seen[-5:])

    survivors.wait_until(is_stable)
    return seen[-1]


def test_other_commands_are_not_touched(folder: Path) -> None:
    async def scenario() -> None:
        processes = WardenProcesses()
        keep, stop = folder / "keep", folder / "stop"
        keep.mkdir()
        stop.mkdir()
        kept = await started(processes, to_command("double fork and setsid", keep, "sleep 3600"))
        stopped = await started(processes, to_command("double fork and setsid", stop, "sleep 3600"))
        before = settled(keep)
        stopped.cancel()
        await asyncio.wait([stopped])
        await processes.run(to_command("empty environment", stop, "exit 0"), lambda *_: None)
        assert survivors.alive_in(stop) == []
        assert sorted(survivors.alive_in(keep)) == sorted(before)
        kept.cancel()
        await asyncio.wait([kept])
        assert survivors.alive_in(keep) == []
        await processes.close()

    asyncio.run(scenario())


def test_close_ends_what_still_runs(folder: Path) -> None:
    async def scenario() -> None:
        processes = WardenProcesses()
        task = await started(
            processes, to_command("ignored signals", folder, "sleep 3600; sleep 3600", grace=60)
        )
        await processes.close()
        assert survivors.alive_in(folder) == []
        exit_ = await task
        assert getattr(exit_, "signal", None) == signal.SIGKILL
        await processes.close()

    asyncio.run(scenario())
