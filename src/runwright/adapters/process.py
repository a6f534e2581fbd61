"""Processes, run by guards (see `adapters.warden`) and heard through pipes that last as long as the guard.

Each guard has one socket and two pipes whose reading ends are registered with the event loop once, not once for each
command: the guard tells when a command and all it started are gone, so nobody has to wait for the end of a pipe.
"""

import asyncio
import marshal
import os
import select
import socket
import sys
from collections.abc import Callable
from contextlib import suppress
from signal import SIGKILL
from typing import Any

from runwright.adapters.reports import failure, leaves_usable, to_exit
from runwright.adapters.warden_start import WardenHandle, start_warden
from runwright.ports.executor import Stream
from runwright.ports.system import Command, Exit, process_group

CHUNK = 1 << 16
DRAIN_CHUNKS = 1024
"""Most chunks read after the end of a command; more can only come from a process outside its tree."""

MARK = "RUNWRIGHT_GUARD"
REPORT_BYTES = 1 << 13
SUCCESS = Exit(code=0)
OnOutput = Callable[[Stream, bytes], None]


class WardenProcesses:
    """Runs commands under one warden, one guard for each that runs at the same time.

    An instance belongs to one event loop at a time, may serve several one after another, and must be closed.
    """

    def __init__(self, handle: WardenHandle | None = None) -> None:
        """Use a warden that has been started already, or start one when the first command comes."""
        self._handle = handle
        self._idle: list[_Guard] = []
        self._busy: set[_Guard] = set()
        self._hurried: set[str] = set()

    async def run(self, command: Command, on_output: OnOutput) -> Exit:
        """Run one process to its end, as `ports.system.Processes` says.

        An error raised by `on_output` stops the process like a cancellation, and comes out when it is gone.
        """
        if not command.argv:
            raise failure("E_SPAWN", "there is no command to run")
        guard = self._take_guard()
        guard.group = process_group.get()
        self._busy.add(guard)
        try:
            await guard.start(command, on_output)
            return guard.outcome(command)
        except asyncio.CancelledError:
            guard.stop(0.0 if self._hurried & {guard.group, ""} else command.kill_grace)
            await guard.wait_idle()
            raise
        finally:
            self._busy.discard(guard)
            if guard.usable:
                self._idle.append(guard)
            else:
                guard.close()

    def skip_grace(self, group: str = "") -> None:
        """Send SIGKILL at once to every tree of a group, or to all, that is being stopped or will be."""
        self._hurried.add(group)
        for guard in self._busy:
            if guard.stopping and group in {guard.group, ""}:
                guard.stop(0.0)

    async def close(self) -> None:
        """End everything that still runs, with SIGKILL, and free the door."""
        for guard in tuple(self._busy):
            guard.stop(0.0)
        for guard in tuple(self._busy):
            await guard.wait_idle()
        for guard in self._idle:
            guard.close()
        self._idle.clear()
        if self._handle is not None:
            handle, self._handle = self._handle, None
            os.close(handle.fd)
            await _wait_pid(handle.pid)

    def _take_guard(self) -> "_Guard":
        loop = asyncio.get_running_loop()
        while self._idle:
            guard = self._idle.pop()
            if guard.attach(loop):
                return guard
            guard.close()
        guard = self._new_guard()
        guard.attach(loop)
        return guard

    def _new_guard(self) -> "_Guard":
        """Ask the warden for a guard; a warden that has died is replaced."""
        if self._handle is not None:
            with suppress(ConnectionError):
                return _Guard(self._handle)
            os.close(self._handle.fd)
            _reap(self._handle.pid)
        try:
            self._handle = start_warden()
            return _Guard(self._handle)
        except OSError as error:
            raise failure("E_SPAWN", f"can't start the process helper: {error}") from error


class _Guard:
    """One guard, as the engine sees it: a command at a time."""

    def __init__(self, warden: WardenHandle) -> None:
        """Have the warden fork it; raises OSError if that is not possible."""
        self.mark = f"{MARK}={os.getpid()}-{os.urandom(8).hex()}"
        self.sock, self.out, self.err = _open_channels(warden)
        self.loop: asyncio.AbstractEventLoop | None = None
        self.usable = True
        self.backlog = b""
        self.report = b""
        self.waiter: asyncio.Future[None] | None = None
        self.on_output: OnOutput | None = None
        self.error: BaseException | None = None
        self.stopping = False
        self.group = ""
        self.unread = select.poll()
        self.unread.register(self.out, select.POLLIN)
        self.unread.register(self.err, select.POLLIN)
        name, _, value = self.mark.partition("=")
        self.send(({**_environment(), name: value}, {name: value}))

    def attach(self, loop: asyncio.AbstractEventLoop) -> bool:
        """Be heard by this loop; False if the guard has died meanwhile."""
        if self.loop is not loop:
            self.detach()
            self.loop = loop
            loop.add_reader(self.sock, self.read_report)
            loop.add_reader(self.out, self.read_output, self.out, "stdout")
            loop.add_reader(self.err, self.read_output, self.err, "stderr")
            if self.backlog:
                loop.add_writer(self.sock, self.flush)
        return self.usable

    def detach(self) -> None:
        """Be heard by no loop."""
        if self.loop is not None and not self.loop.is_closed():
            self.loop.remove_reader(self.sock)
            self.loop.remove_writer(self.sock)
            self.loop.remove_reader(self.out)
            self.loop.remove_reader(self.err)
        self.loop = None

    def close(self) -> None:
        """Let the guard go."""
        self.detach()
        for fd in (self.sock, self.out, self.err):
            os.close(fd)

    def start(self, command: Command, on_output: OnOutput) -> "asyncio.Future[None]":
        """Send a command off; the future is done when nothing of it is left."""
        assert self.loop is not None
        self.report = b""
        self.error = None
        self.stopping = False
        self.on_output = on_output
        self.waiter = self.loop.create_future()
        env = command.env if type(command.env) is dict else dict(command.env)
        self.send((command.argv, command.cwd, env, command.unset, command.clean_env))
        return self.waiter

    def outcome(self, command: Command) -> Exit:
        """Return how the command ended; raises what `on_output` raised."""
        if self.error is not None:
            raise self.error
        return SUCCESS if self.report == b"0\n" else to_exit(command, self.report.decode("utf-8", "replace"))

    def stop(self, grace: float) -> None:
        """Have the tree stopped; again with a shorter grace to hasten it."""
        self.stopping = True
        if not self.report:
            self.send((grace,))

    async def wait_idle(self) -> None:
        """Wait until nothing of the command is left, whatever else asks us to stop waiting."""
        while not self.report:
            if self.waiter is None or self.waiter.done():
                self.waiter = asyncio.get_running_loop().create_future()
            with suppress(asyncio.CancelledError):
                await asyncio.wait([self.waiter])

    def send(self, order: tuple[Any, ...]) -> None:
        """Send a frame without waiting; what the socket does not take now follows later.

        Raises:
            ValueError: If it holds what can't be sent.
        """
        frame = marshal.dumps(order)
        frame = len(frame).to_bytes(4, "little") + frame
        if self.backlog:
            self.backlog += frame
        else:
            self.backlog = self.write(frame)
            if self.backlog and self.loop is not None:
                self.loop.add_writer(self.sock, self.flush)

    def write(self, data: bytes) -> bytes:
        """Write what the socket takes and return the rest; the end of a dead guard shows when we read."""
        try:
            return data[os.write(self.sock, data) :]
        except BlockingIOError:
            return data
        except OSError:
            return b""

    def flush(self) -> None:
        """Send more of what is waiting."""
        self.backlog = self.write(self.backlog)
        if not self.backlog and self.loop is not None:
            self.loop.remove_writer(self.sock)

    def read_report(self) -> None:
        """Take the end of the command; called by the loop."""
        try:
            report = os.read(self.sock, REPORT_BYTES)
        except BlockingIOError:
            return
        except OSError:
            report = b""
        if report:
            self.usable = leaves_usable(report)
            self.finish(report)
        else:
            self.lose()

    def lose(self) -> None:
        """The guard has died: end what it had, unless the warden already did."""
        self.usable = False
        self.detach()
        if self.on_output is not None:
            _kill_marked(self.mark.encode())
            self.finish(b"?it was killed\n")

    def finish(self, report: bytes) -> None:
        """Pass on the last output and wake the caller."""
        if self.unread.poll(0):
            self.drain(self.out, "stdout")
            self.drain(self.err, "stderr")
        self.on_output = None
        self.report = report
        if self.waiter is not None and not self.waiter.done():
            self.waiter.set_result(None)

    def read_output(self, fd: int, stream: Stream) -> bool:
        """Pass on one chunk; called by the loop, so that a flood on one pipe starves nobody."""
        try:
            data = os.read(fd, CHUNK)
        except BlockingIOError:
            return False
        if not data:  # the guard has died; its socket says so too
            if self.loop is not None:
                self.loop.remove_reader(fd)
            return False
        if self.on_output is not None and self.error is None:
            self.deliver(self.on_output, stream, data)
        return True

    def deliver(self, on_output: OnOutput, stream: Stream, data: bytes) -> None:
        try:
            on_output(stream, data)
        except BaseException as error:  # it comes out of `run`
            self.error = error
            self.stop(0.0)

    def drain(self, fd: int, stream: Stream) -> None:
        """Pass on what is left in a pipe."""
        for _ in range(DRAIN_CHUNKS):
            if not self.read_output(fd, stream):
                return


def _open_channels(warden: WardenHandle) -> tuple[int, int, int]:
    """Return our ends of a new guard's socket, stdout and stderr; the warden gets the others."""
    ours, theirs = socket.socketpair()
    out, out_writer = os.pipe()
    err, err_writer = os.pipe()
    door = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM, 0, warden.fd)
    try:
        socket.send_fds(door, [b"+"], [theirs.fileno(), out_writer, err_writer])
    except BaseException:
        ours.close()
        os.close(out)
        os.close(err)
        raise
    finally:
        door.detach()
        theirs.close()
        os.close(out_writer)
        os.close(err_writer)
    fds = (ours.detach(), out, err)
    for fd in fds:
        os.set_blocking(fd, False)
    return fds


def _environment() -> dict[str, str]:
    """Return our environment as text in which every byte can be told, whatever the locale."""
    return {
        name.decode("utf-8", "surrogateescape"): value.decode("utf-8", "surrogateescape")
        for name, value in os.environb.items()
    }


def _kill_marked(mark: bytes) -> None:
    """Kill every process that carries the mark in its environment, until none is left."""
    if sys.platform != "linux":
        return
    while pids := [pid for pid in _all_pids() if _carries(pid, mark)]:
        for pid in pids:
            with suppress(OSError):
                os.kill(pid, SIGKILL)


def _all_pids() -> list[int]:
    return [int(name) for name in os.listdir("/proc") if name.isdigit()]  # noqa: PTH208


def _carries(pid: int, mark: bytes) -> bool:
    try:
        with open(f"/proc/{pid}/environ", "rb") as file:  # noqa: PTH123
            return mark in file.read().split(b"\0")
    except OSError:
        return False


def _reap(pid: int) -> bool:
    """Collect our child; True if it is gone."""
    try:
        return os.waitpid(pid, os.WNOHANG)[0] == pid
    except ChildProcessError:
        return True


async def _wait_pid(pid: int) -> None:
    """Wait until our child has ended, and collect it; a warden takes some milliseconds."""
    while not _reap(pid):  # noqa: ASYNC110 - nothing but the kernel knows
        await asyncio.sleep(0.001)
