"""The process door: what goes in, what comes out, and what happens when something breaks."""

import asyncio
import os
import signal
import subprocess
import sys
from collections.abc import Awaitable, Callable
from pathlib import Path

import process_survivors as survivors
import pytest

from runwright.adapters.logs import FileLogs
from runwright.adapters.process import WardenProcesses
from runwright.adapters.warden_start import start_warden
from runwright.core.errors import TaskFailed
from runwright.ports.executor import Stream
from runwright.ports.system import Command, Exit, process_group

GIANT = int(os.environ.get("RUNWRIGHT_GIANT_BYTES", str(1 << 30)))
linux_only = pytest.mark.skipif(sys.platform != "linux", reason="looks into /proc")


class Output:
    """Collects what a command writes."""

    def __init__(self) -> None:
        self.stdout = bytearray()
        self.stderr = bytearray()

    def __call__(self, stream: Stream, data: bytes) -> None:
        (self.stdout if stream == "stdout" else self.stderr).extend(data)


def using(scenario: Callable[[WardenProcesses], Awaitable[None]]) -> None:
    async def scope() -> None:
        processes = WardenProcesses()
        try:
            await scenario(processes)
        finally:
            await processes.close()

    asyncio.run(scope())


def sh(text: str, cwd: Path | str = "/", **more: object) -> Command:
    return Command(argv=("/bin/sh", "-c", text), cwd=str(cwd), **more)  # type: ignore[arg-type]


def run(command: Command) -> tuple[Exit, Output]:
    output = Output()
    exits: list[Exit] = []

    async def scenario(processes: WardenProcesses) -> None:
        exits.append(await processes.run(command, output))

    using(scenario)
    return exits[0], output


def failure_of(command: Command) -> TaskFailed:
    with pytest.raises(TaskFailed) as caught:
        run(command)
    return caught.value


def test_streams_are_apart_and_stdin_is_empty() -> None:
    exit_, output = run(sh("cat; echo out; echo err >&2; exit 3"))
    assert (exit_, bytes(output.stdout), bytes(output.stderr)) == (Exit(code=3), b"out\n", b"err\n")


@pytest.mark.parametrize("number", [signal.SIGSEGV, signal.SIGKILL, signal.SIGTERM])
def test_a_signal_is_told(number: signal.Signals) -> None:
    assert run(sh(f"kill -{number.value} $$"))[0] == Exit(code=128 + number, signal=number)


def test_bytes_pass_unchanged(tmp_path: Path) -> None:
    data = bytes(range(256)) * 4096
    (tmp_path / "data").write_bytes(data)
    _, output = run(sh("cat data; cat data >&2", tmp_path))
    assert output.stdout == data
    assert output.stderr == data


def test_large_arguments_arrive() -> None:
    argument = "ä" * (60 * 1024)
    _, output = run(Command(argv=("/bin/sh", "-c", 'printf %s "$1"', "sh", argument), cwd="/"))
    assert output.stdout.decode() == argument


def test_bytes_that_are_no_text_pass_in_arguments_and_environment() -> None:
    name = os.fsdecode(b"\xff\xfe")
    _, output = run(Command(argv=("/bin/sh", "-c", 'printf %s "$1$V"', "sh", name), cwd="/", env={"V": name}))
    assert output.stdout == b"\xff\xfe\xff\xfe"


def test_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("KEPT", "1")
    monkeypatch.setenv("GONE", "1")
    monkeypatch.setenv("CHANGED", "1")
    text = 'echo "$KEPT,$GONE,$CHANGED,$NEW"'
    _, output = run(sh(text, env={"CHANGED": "2", "NEW": "3"}, unset=("GONE", "NEVER")))
    assert output.stdout == b"1,,2,3\n"
    _, output = run(Command(argv=("/usr/bin/env",), cwd="/", env={"NEW": "3"}, clean_env=True))
    assert {line.partition(b"=")[0] for line in bytes(output.stdout).splitlines()} == {
        b"NEW",
        b"RUNWRIGHT_GUARD",
    }


def test_program_is_found_on_the_path_of_its_own_environment(tmp_path: Path) -> None:
    program = tmp_path / "hello"
    program.write_text("#!/bin/sh\necho hello\n")
    program.chmod(0o755)
    (tmp_path / "first").mkdir()
    (tmp_path / "first" / "hello").mkdir()
    path = f"/nonexistent:{tmp_path}/first:{tmp_path}"
    _, output = run(Command(argv=("hello",), cwd="/", env={"PATH": path}))
    assert output.stdout == b"hello\n"
    _, output = run(Command(argv=("./hello",), cwd=str(tmp_path)))
    assert output.stdout == b"hello\n"


def test_signals_and_descriptors_are_those_of_a_fresh_process() -> None:
    code = (
        "import os, signal; print(*[s.name for s in signal.valid_signals() if isinstance(s, signal.Signals)"
        " and signal.getsignal(s) == signal.SIG_IGN], signal.pthread_sigmask(0, []), sorted(map(int, os.listdir('/proc/self/fd'))),"
        " os.getsid(0) == os.getpid())"
    )
    argv = (sys.executable, "-I", "-S", "-c", code)
    _, output = run(Command(argv=argv, cwd="/"))
    assert output.stdout.decode().strip().endswith("set() [0, 1, 2, 3] True"), "3 is the listing itself"
    assert output.stdout.decode().split()[:2] == ["SIGPIPE", "SIGXFSZ"], "which its own Python ignores"


@pytest.mark.parametrize(
    ("command", "message"),
    [
        (Command(argv=("no-such-program",), cwd="/"), "command not found: no-such-program"),
        (Command(argv=("/no/such",), cwd="/"), "can't run /no/such: No such file or directory"),
        (Command(argv=("/etc/passwd",), cwd="/"), "can't run /etc/passwd: permission denied"),
        (Command(argv=("/",), cwd="/"), "can't run /: permission denied"),
        (sh("true", "/no/such"), "can't enter the working directory '/no/such': No such file or directory"),
        (sh("true", "/etc/passwd"), "can't enter the working directory '/etc/passwd': Not a directory"),
        (sh("true", "a\0b"), "can't enter the working directory 'a\\x00b': it holds a NUL byte"),
        (sh("true\0"), "a NUL byte or a name with '='"),
        (sh("true", env={"A=B": "1"}), "a NUL byte or a name with '='"),
        (sh("true", env={"A": "x" * (2 << 20)}), "arguments and environment together are too big"),
        (sh("#" + "x" * (256 << 10)), "arguments and environment together are too big"),
        (Command(argv=(), cwd="/"), "there is no command"),
    ],
)
def test_what_cannot_start_says_why(command: Command, message: str) -> None:
    error = failure_of(command)
    assert error.failure.code == "E_SPAWN"
    assert message in str(error)


@pytest.mark.parametrize(
    ("text", "message"),
    [("#!/no/such\n", "interpreter named in its first line"), ("\0\1", "neither a program nor")],
)
def test_a_script_that_cannot_start_says_why(tmp_path: Path, text: str, message: str) -> None:
    script = tmp_path / "script"
    script.write_text(text)
    script.chmod(0o755)
    assert message in str(failure_of(Command(argv=("./script",), cwd=str(tmp_path))))


def test_commands_after_a_failure_to_start_run() -> None:
    async def scenario(processes: WardenProcesses) -> None:
        for _ in range(3):
            with pytest.raises(TaskFailed):
                await processes.run(Command(argv=("no-such-program",), cwd="/"), Output())
            assert (await processes.run(sh("exit 4"), Output())).code == 4

    using(scenario)


def test_a_pipe_made_non_blocking_by_one_command_blocks_for_the_next() -> None:
    unblock = (sys.executable, "-I", "-S", "-c", "import os; os.set_blocking(1, False)")
    flood = sh("head -c 3000000 /dev/zero && echo done >&2")

    async def scenario(processes: WardenProcesses) -> None:
        await processes.run(Command(argv=unblock, cwd="/"), Output())
        output = Output()
        await processes.run(flood, output)
        assert (len(output.stdout), output.stderr) == (3_000_000, b"done\n")

    using(scenario)


def test_what_is_written_as_the_shell_ends_is_not_lost() -> None:
    text = "(sleep 0.02; echo behind) & echo first"
    assert run(sh(text))[1].stdout == b"first\nbehind\n"


def test_an_error_of_the_reader_stops_the_command(tmp_path: Path) -> None:
    def refuse(_stream: Stream, _data: bytes) -> None:
        raise OSError("disk full")

    async def scenario(processes: WardenProcesses) -> None:
        with pytest.raises(OSError, match="disk full"):
            await processes.run(sh("while :; do echo x; done", tmp_path), refuse)
        assert survivors.alive_in(tmp_path) == []
        assert await processes.run(sh("true"), refuse) == Exit(code=0)

    using(scenario)


def test_many_at_once_and_several_doors() -> None:
    async def scenario(processes: WardenProcesses) -> None:
        other = WardenProcesses(start_warden())
        doors = [processes, other] * 10
        outputs = [Output() for _ in doors]
        await asyncio.gather(
            *(
                door.run(sh(f"echo {n}; exit {n}"), output)
                for n, (door, output) in enumerate(zip(doors, outputs, strict=True))
            )
        )
        assert [bytes(output.stdout) for output in outputs] == [f"{n}\n".encode() for n in range(20)]
        await other.close()

    using(scenario)


def test_one_event_loop_after_another() -> None:
    processes = WardenProcesses()
    for number in range(3):
        output = Output()
        asyncio.run(processes.run(sh(f"echo {number}"), output))
        assert output.stdout == f"{number}\n".encode()
    asyncio.run(processes.close())


@linux_only
def test_no_descriptor_leaks() -> None:
    def count() -> int:
        return len(list(Path("/proc/self/fd").iterdir()))

    async def scenario(processes: WardenProcesses) -> None:
        await asyncio.gather(*(processes.run(sh("true"), Output()) for _ in range(4)))
        before = count()
        for _ in range(125):
            await asyncio.gather(*(processes.run(sh("true"), Output()) for _ in range(4)))
        assert count() == before

    at_first = count()
    using(scenario)
    assert count() == at_first


def test_cancellation_waits_for_the_grace_and_can_be_hastened(tmp_path: Path) -> None:
    text = (
        "trap 'echo stopping; sleep 0.1; echo stopped; exit 5' TERM; echo ready; while :; do sleep 0.01; done"
    )
    stubborn = "trap '' TERM; echo ready; while :; do sleep 0.01; done"

    async def scenario(processes: WardenProcesses) -> None:
        loop = asyncio.get_running_loop()
        output = Output()
        task = await started(processes, sh(text, tmp_path), output)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        assert output.stdout == b"ready\nstopping\nstopped\n"
        task = await started(processes, sh(stubborn, tmp_path, kill_grace=60.0), Output())
        start = loop.time()
        task.cancel()
        assert not await done_within(task, 0.2), "a second of sixty has not passed"
        task.cancel()
        assert not await done_within(task, 0.1), "asking again does not leave the process behind"
        processes.skip_grace()
        with pytest.raises(asyncio.CancelledError):
            await task
        task = await started(processes, sh(stubborn, tmp_path, kill_grace=60.0), Output())
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        assert loop.time() - start < 10
        assert survivors.alive_in(tmp_path) == []

    using(scenario)


def test_the_grace_of_one_group_alone_is_skipped(tmp_path: Path) -> None:
    stubborn = "trap '' TERM; echo ready; while :; do sleep 0.01; done"

    async def in_group(processes: WardenProcesses, group: str) -> "asyncio.Task[Exit]":
        before = process_group.set(group)
        try:
            return await started(processes, sh(stubborn, tmp_path, kill_grace=60.0), Output())
        finally:
            process_group.reset(before)

    async def scenario(processes: WardenProcesses) -> None:
        one, other = await in_group(processes, "one"), await in_group(processes, "other")
        one.cancel()
        other.cancel()
        assert not await done_within(one, 0.1)
        processes.skip_grace("one")
        with pytest.raises(asyncio.CancelledError):
            await one
        late = await in_group(processes, "one")
        late.cancel()
        with pytest.raises(asyncio.CancelledError):
            await late
        assert not await done_within(other, 0.1), "it has its grace"
        processes.skip_grace("other")
        with pytest.raises(asyncio.CancelledError):
            await other

    using(scenario)


async def started(processes: WardenProcesses, command: Command, output: Output) -> "asyncio.Task[Exit]":
    ready = asyncio.Event()

    def take(stream: Stream, data: bytes) -> None:
        output(stream, data)
        if b"ready" in output.stdout:
            ready.set()

    task = asyncio.create_task(processes.run(command, take))
    async with asyncio.timeout(30):
        await ready.wait()
    return task


async def done_within(task: "asyncio.Task[Exit]", seconds: float) -> bool:
    return bool((await asyncio.wait([task], timeout=seconds))[0])


def test_cancelled_as_it_starts(tmp_path: Path) -> None:
    async def scenario(processes: WardenProcesses) -> None:
        for _ in range(20):
            task = asyncio.create_task(processes.run(sh("sleep 3600", tmp_path), Output()))
            await asyncio.sleep(0)
            task.cancel()
            with pytest.raises(asyncio.CancelledError):
                await task
            assert survivors.alive_in(tmp_path) == []

    using(scenario)


def helpers_of(processes: WardenProcesses) -> tuple[int, list[int]]:
    assert processes._handle is not None
    return processes._handle.pid, survivors.children_of(processes._handle.pid)


@linux_only
def test_a_killed_guard_fails_its_command_alone(tmp_path: Path) -> None:
    async def scenario(processes: WardenProcesses) -> None:
        (tmp_path / "a").mkdir()
        hit = await started(
            processes, sh(survivors.script("empty environment", "sleep 3600"), tmp_path / "a"), Output()
        )
        _, (guard,) = helpers_of(processes)
        other = await started(processes, sh("echo ready; sleep 0.3; exit 7", tmp_path), Output())
        os.kill(guard, signal.SIGKILL)
        with pytest.raises(TaskFailed) as caught:
            await hit
        assert caught.value.failure.code == "E_SUPERVISOR"
        assert survivors.alive_in(tmp_path / "a") == []
        assert (await other).code == 7
        assert (await processes.run(sh("exit 8"), Output())).code == 8

    using(scenario)


@linux_only
def test_a_killed_warden_is_replaced(tmp_path: Path) -> None:
    async def scenario(processes: WardenProcesses) -> None:
        task = await started(processes, sh("echo ready; sleep 0.3; exit 7", tmp_path), Output())
        warden, _ = helpers_of(processes)
        os.kill(warden, signal.SIGKILL)
        survivors.wait_until(lambda: not survivors.is_alive(warden))
        assert (await processes.run(sh("exit 6"), Output())).code == 6
        assert (await task).code == 7
        assert survivors.zombies_below(os.getpid()) == []

    using(scenario)


@linux_only
def test_killed_warden_and_guard_leave_nothing_that_kept_its_environment(tmp_path: Path) -> None:
    async def scenario(processes: WardenProcesses) -> None:
        task = await started(
            processes, sh(survivors.script("double fork and setsid", "sleep 3600"), tmp_path), Output()
        )
        warden, guards = helpers_of(processes)
        for pid in (warden, *guards):
            os.kill(pid, signal.SIGKILL)
        with pytest.raises(TaskFailed) as caught:
            await task
        assert caught.value.failure.code == "E_SUPERVISOR"
        assert survivors.alive_in(tmp_path) == []
        assert (await processes.run(sh("exit 8"), Output())).code == 8

    using(scenario)


@linux_only
def test_idle_guards_that_die_are_passed_over(tmp_path: Path) -> None:
    async def scenario(processes: WardenProcesses) -> None:
        await processes.run(sh("true"), Output())
        _, (guard,) = helpers_of(processes)
        os.kill(guard, signal.SIGKILL)
        survivors.wait_until(lambda: not survivors.is_alive(guard))
        await asyncio.sleep(0.05)
        assert (await processes.run(sh("exit 8"), Output())).code == 8

    using(scenario)


@linux_only
def test_giant_output_on_one_line(tmp_path: Path) -> None:
    """In a process of its own, whose memory is its own."""
    limit = 16 << 20
    code = f"""
import asyncio, resource
from pathlib import Path
from runwright.adapters.logs import FileLogs
from runwright.adapters.process import WardenProcesses
from runwright.ports.system import Command
async def main():
    processes = WardenProcesses()
    log = FileLogs(Path({str(tmp_path)!r})).open("r", "t", 1, {limit})
    await processes.run(Command(argv=("/bin/sh", "-c", "true"), cwd="/"), log.write)
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    text = "echo head; head -c {GIANT} /dev/zero | tr '\\\\0' x; echo; echo tail"
    exit_ = await processes.run(Command(argv=("/bin/sh", "-c", text), cwd="/"), log.write)
    log.close()
    print(exit_.code, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before)
    await processes.close()
asyncio.run(main())
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    code_, growth_kib = map(int, done.stdout.split())
    assert code_ == 0
    assert growth_kib < 64 << 10
    text = FileLogs(tmp_path).path("r", "t", 1).read_bytes()
    assert len(text) <= limit + 64
    assert text.startswith(b"head\nxxx")
    assert text.endswith(b"xxx\ntail\n")
    assert f"\n[runwright: {GIANT + 11 - limit} bytes cut here]\n".encode() in text
