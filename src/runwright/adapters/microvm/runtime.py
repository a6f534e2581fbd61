"""Steps of jobs in virtual machines: one machine a job, and nothing shared with it but a copy of the workspace."""

import asyncio
import os
import posixpath
import shutil
import signal
import tempfile
from collections.abc import Awaitable, Callable
from contextlib import suppress
from math import ceil
from pathlib import Path

from runwright.adapters.microvm.disk import Disk, make_argv
from runwright.adapters.microvm.ext4 import ImageFault
from runwright.adapters.microvm.files import (
    MicrovmOptions,
    Parts,
    find_program,
    missing_parts,
    prepare_parts,
    search_path,
)
from runwright.adapters.microvm.machine import BOOT_SECONDS, Machine
from runwright.adapters.microvm.protocol import RUN, TOOLS, Setting, launcher
from runwright.adapters.microvm.qemu import KVM, NOBODY, Hardware, name_of, place_of, to_argv
from runwright.adapters.microvm.ticks import counter_khz
from runwright.adapters.waiting import in_thread
from runwright.core.check_fields import DENIED
from runwright.core.errors import Failure, TaskFailed
from runwright.core.rooms import HOME, SHELL, WORKSPACE, out_of_memory, shown_command, step_environment
from runwright.ports.executor import Stream
from runwright.ports.jobs import JobPlace, OnOutput, RoomLog, RoomStep
from runwright.ports.system import Command, Exit, Processes

PATH = f"/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin:{TOOLS}"
SYSTEM_BYTES = 128 << 20
"""Memory of a machine beside that of its steps and its first files."""

PROBE_SECONDS = 10.0
"""How long a machine may take to its first step while it is tried which accelerator works."""

FOLDER = "vm"
START, REMOVE = "setup.microvm.start", "teardown.microvm.remove"


class MicrovmRuntime:
    """Runs the steps of a job in a virtual machine of its own, which starts and ends with the room.

    The machine's disk is a copy of the workspace; what a step changes is carried over when it ends. The guest has a
    kernel and busybox, and what the options add; images of steps mean nothing to it.

    Args:
        processes: Starts QEMU, and ends it with us.
        folder: Where what machines are made of is kept; made if it is not there.
        options: What that is.
        is_root: True if QEMU must become somebody else; None if that depends on whether we are root.
    """

    name = "microvm"

    def __init__(
        self,
        processes: Processes,
        folder: Path,
        options: MicrovmOptions | None = None,
        is_root: bool | None = None,
    ) -> None:
        self._processes = processes
        self._folder = folder
        self._options = options or MicrovmOptions()
        self._is_root = os.geteuid() == 0 if is_root is None else is_root
        self._lock = asyncio.Lock()
        self._made: tuple[Parts, str] | None = None

    async def open(self, place: JobPlace, log: RoomLog) -> "MicrovmRoom":
        """Start a machine with a copy of the workspace.

        Raises:
            TaskFailed: With code ``E_MACHINE`` if it does not start, ``E_LIMIT`` if the workspace is too large for its
                disk.
        """
        parts, accelerator = await self._prepared()
        return await self._opened(place, log, parts, accelerator, BOOT_SECONDS)

    async def sweep(self, is_alive: Callable[[str], bool]) -> list[str]:
        """End machines whose worker has died; there are none unless who ends processes was killed as well."""
        return await in_thread(lambda _: _end_machines(self._folder.parent, is_alive))

    async def faults(self) -> list[str]:
        """Start a machine and tell what went wrong."""
        missing = missing_parts(self._options, self._folder)
        if os.uname().machine != "x86_64":
            missing.insert(
                0, f"guests are x86-64, and this machine is {os.uname().machine}; use another runtime"
            )
        if missing:
            return missing
        try:
            parts, accelerator = await self._prepared()
            await self._try(parts, accelerator, BOOT_SECONDS)
        except TaskFailed as error:
            return [error.failure.message]
        return []

    async def _prepared(self) -> tuple[Parts, str]:
        """Return what machines are made of, and the accelerator; both found out once."""
        async with self._lock:
            if self._made is None:
                try:
                    parts = await in_thread(lambda _: prepare_parts(self._options, self._folder))
                except (OSError, ValueError) as error:
                    raise failed("E_MACHINE", f"no virtual machine can be made: {error}") from None
                self._made = (parts, await self._accelerator(parts))
            return self._made

    async def _accelerator(self, parts: Parts) -> str:
        """Return the accelerator to use; which one works here is remembered until this machine or QEMU changes."""
        if self._options.accelerator != "auto":
            return self._options.accelerator
        if not os.access(KVM, os.R_OK | os.W_OK):
            return "tcg"
        note = self._folder / "accelerator"
        state = self._state()
        with suppress(OSError, ValueError):
            known, name = note.read_text().split("\n")
            if known == state:
                return name
        name = "kvm"
        try:
            await self._try(parts, name, PROBE_SECONDS)
        except TaskFailed:
            name = "tcg"
        note.write_text(f"{state}\n{name}")
        return name

    def _state(self) -> str:
        qemu = Path(find_program(self._options.qemu) or self._options.qemu)
        return f"{os.uname().release} {qemu} {qemu.stat().st_mtime_ns} {self._is_root}"

    async def _try(self, parts: Parts, accelerator: str, seconds: float) -> None:
        """Start a machine with an empty workspace, and end it."""
        with tempfile.TemporaryDirectory(prefix="probe-", dir=self._folder) as folder:
            place = JobPlace(
                name=f"probe-{os.getpid()}", workspace=Path(folder, "work"), scratch=Path(folder, "scratch")
            )
            place.workspace.mkdir()
            place.scratch.mkdir()
            room = await self._opened(place, _unlogged, parts, accelerator, seconds)
            await room.close()

    async def _opened(
        self, place: JobPlace, log: RoomLog, parts: Parts, accelerator: str, seconds: float
    ) -> "MicrovmRoom":
        room = MicrovmRoom(
            self._processes, place, log, self._hardware(place, parts, accelerator), self._setting(place)
        )
        try:
            await log(START, room.argv, lambda on_output: room.start(parts, seconds, on_output))
        except BaseException:
            await room.discard()
            raise
        return room

    def _setting(self, place: JobPlace) -> Setting:
        limits = place.limits
        return Setting(
            memory_bytes=limits.memory_bytes or self._options.memory_bytes,
            pids=limits.pids,
            cpus=limits.cpus,
            network=limits.network,
        )

    def _hardware(self, place: JobPlace, parts: Parts, accelerator: str) -> Hardware:
        limits = place.limits
        own = SYSTEM_BYTES + 2 * parts.size_bytes
        return Hardware(
            name=name_of(place.name),
            qemu=self._options.qemu,
            accelerator=accelerator,
            memory_bytes=own + (limits.memory_bytes or self._options.memory_bytes),
            processors=ceil(limits.cpus) or os.cpu_count() or 1,
            network=limits.network,
            disk_bytes=limits.disk_bytes or self._options.disk_bytes,
            is_root=self._is_root,
            counter_khz=counter_khz(),
        )


class MicrovmRoom:
    """A machine, and its disk.

    Attributes:
        argv: QEMU's command line.
    """

    def __init__(
        self, processes: Processes, place: JobPlace, log: RoomLog, hardware: Hardware, setting: Setting
    ) -> None:
        self._processes = processes
        self._place = place
        self._log = log
        self._hardware = hardware
        self._setting = setting
        self._folder = place.scratch / FOLDER
        self._owner = NOBODY if hardware.is_root else -1
        self.argv = to_argv(hardware)
        self._machine: Machine | None = Machine(processes, self.argv, self._folder, self._owner)
        self._disk = Disk(self._folder / "disk", place.workspace, hardware.disk_bytes)

    def command(self, step: RoomStep) -> tuple[str, ...]:
        """Return the command line as it was asked for."""
        return shown_command(step.script, step.argv)

    async def start(self, parts: Parts, seconds: float, on_output: OnOutput) -> Exit:
        """Make the disk and boot; says when the machine is ready."""
        assert self._machine is not None
        began = asyncio.get_running_loop().time()
        await self._make_disk(parts)
        await self._machine.start(self._setting, seconds)
        took = asyncio.get_running_loop().time() - began
        hardware = self._hardware
        text = (
            f"a machine with {hardware.processors} processors and {self._setting.memory_bytes >> 20} MiB for the steps "
            f"is ready after {took:.1f} s ({hardware.accelerator})\n"
        )
        on_output("stdout", text.encode())
        return Exit(code=0)

    async def run(self, step: RoomStep, on_output: OnOutput) -> Exit:
        """Run a step in the guest and carry over what it has changed.

        Raises:
            TaskFailed: With code ``E_MACHINE`` if the machine has ended; ``E_RESULTS`` if what it leaves can't be carried
                over; ``E_ARGS`` if the step's environment can't be.
        """
        _check(step)
        if self._machine is None:
            raise failed("E_MACHINE", "the virtual machine has been removed")
        env = {"PATH": PATH, **step_environment(step.env, WORKSPACE, HOME)}
        folder = posixpath.normpath(posixpath.join(WORKSPACE, step.dir))
        started = launcher(folder, env, _command(step))
        ending = await self._machine.run(started, step.script, on_output, self._place.kill_grace)
        await self._fetch()
        if ending.killed:
            on_output("stderr", out_of_memory(self._setting.memory_bytes, is_certain=True).encode())
        return Exit(code=ending.code)

    async def close(self) -> None:
        """End the machine and remove its files; safe to call twice, and after a cancellation."""
        if self._machine is not None:
            await self._log(REMOVE, ("kill", self._hardware.name), self._remove)

    async def discard(self) -> None:
        """End the machine and remove its files, without a word."""
        machine, self._machine = self._machine, None
        if machine is not None:
            try:
                await machine.kill()
            finally:
                shutil.rmtree(self._folder, ignore_errors=True)

    async def _remove(self, on_output: OnOutput) -> Exit:
        await self.discard()
        if told := self._disk.told():
            on_output("stdout", told.encode())
        return Exit(code=0)

    async def _make_disk(self, parts: Parts) -> None:
        self._folder.mkdir(mode=0o700)
        for name, source in (("kernel", parts.kernel), ("initramfs", parts.initramfs)):
            _place(source, self._folder / name)
        image = self._folder / "disk"
        image.touch(mode=0o600)
        os.truncate(image, self._hardware.disk_bytes)
        said = bytearray()
        argv = make_argv(str(image), self._place.workspace)
        command = Command(argv=argv, cwd="/", env={"PATH": search_path()}, clean_env=True, kill_grace=0.0)
        exit_ = await self._processes.run(command, lambda _stream, data: said.extend(data[-4096:]))
        if exit_.code:
            text = said.decode("utf-8", "replace").strip()
            size = self._hardware.disk_bytes
            raise failed("E_LIMIT", f"the workspace can't be put on a disk of {size} bytes: {text}")
        await self._guarded("E_MACHINE", self._disk.prepare)
        if self._owner >= 0:
            for path in (self._folder, image):
                os.chown(path, self._owner, self._owner)

    async def _fetch(self) -> None:
        await self._guarded("E_RESULTS", self._disk.fetch)

    async def _guarded(self, code: str, work: Callable[[], None]) -> None:
        try:
            await in_thread(lambda _: work())
        except ImageFault as fault:
            raise failed(code, f"the disk of the machine can't be read: {fault}") from None
        except OSError as error:
            raise failed(code, f"the workspace can't be brought up to date: {error}") from None


def failed(code: str, message: str) -> TaskFailed:
    """Return the failure of a step that can't be run."""
    return TaskFailed(Failure(code=code, message=message))


def _command(step: RoomStep) -> tuple[str, ...]:
    """Return what runs a step; the shell goes by its name, so that its complaints are those of every room."""
    name = step.key or "step"
    if step.argv:
        return (SHELL[0], "-c", 'exec "$@"', name, *step.argv)
    return (*SHELL, "-c", f". {RUN}/script", name)


def _check(step: RoomStep) -> None:
    for name in step.env:
        if name.upper() in DENIED:
            raise failed("E_ARGS", f"{name!r} can't be set: it makes programs load foreign code")
        if not name or "=" in name:
            raise failed("E_ARGS", f"{name!r} can't be the name of an environment variable")
    if any("\0" in text for text in (*step.env, *step.env.values(), *step.argv, step.dir)):
        raise failed("E_ARGS", "a variable or an argument of the step holds a NUL")


def _place(source: Path, target: Path) -> None:
    """Have a file in another directory, without a copy of it where that is possible."""
    try:
        os.link(source, target)
    except OSError:
        shutil.copyfile(source, target)
        target.chmod(0o444)


def _end_machines(home: Path, is_alive: Callable[[str], bool]) -> list[str]:
    """Kill the machines below a directory whose place is at no living worker's; return a line for each."""
    told = []
    for process in Path("/proc").iterdir():
        name = _machine_name(process, home) if process.name.isdigit() else ""
        if name and not is_alive(place_of(name)):
            with suppress(OSError):
                os.kill(int(process.name), signal.SIGKILL)
                told.append(f"ended the virtual machine {name}")
    return told


def _machine_name(process: Path, home: Path) -> str:
    """Return the name of the machine that a process is; empty if it is none of this directory."""
    with suppress(OSError, ValueError):
        words = (process / "cmdline").read_bytes().decode("utf-8", "replace").split("\0")
        name = words[words.index("-name") + 1]
        if place_of(name) and (process / "cwd").readlink().is_relative_to(home):
            return name
    return ""


async def _unlogged(
    _key: str, _command: tuple[str, ...], work: Callable[[OnOutput], Awaitable[Exit]]
) -> Exit:
    return await work(_unheard)


def _unheard(_stream: Stream, _data: bytes) -> None:
    """Take output of which nobody wants to know."""
