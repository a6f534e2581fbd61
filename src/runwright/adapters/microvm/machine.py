"""A machine that runs: QEMU behind the Processes door, and the agent at the other end of three lines."""

import asyncio
import os
from collections.abc import Callable
from pathlib import Path

from runwright.adapters.microvm.files import search_path
from runwright.adapters.microvm.lines import PIECE_BYTES, Line, Lines
from runwright.adapters.microvm.protocol import (
    READY,
    AgentFault,
    Ending,
    Marked,
    Setting,
    mark_of,
    read_ending,
    setup_order,
    step_order,
)
from runwright.adapters.microvm.qemu import LINES
from runwright.core.errors import Failure, TaskFailed
from runwright.ports.executor import Stream
from runwright.ports.jobs import OnOutput
from runwright.ports.system import Command, Exit, Processes

BOOT_SECONDS = 60.0
"""How long a machine may take to its first step."""

ANSWER_SECONDS = 2.0
"""How long an agent may take to end a step at once."""

CONSOLE_BYTES = 4096
STREAMS: tuple[Stream, Stream] = ("stdout", "stderr")


class Machine:
    """One guest from its start to its end; it runs a step at a time.

    Args:
        processes: Runs QEMU.
        argv: QEMU's command line.
        folder: Its working directory, with all its files.
        owner: User that QEMU runs as; -1 for our own.
    """

    def __init__(self, processes: Processes, argv: tuple[str, ...], folder: Path, owner: int) -> None:
        env = {"PATH": search_path()}
        self._command = Command(argv=argv, cwd=str(folder), env=env, clean_env=True, kill_grace=0.0)
        self._processes = processes
        self._doors = Lines(folder, LINES, owner)
        self._lines: list[Line] = []
        self._console = b""
        self._complaints = b""
        self._life: asyncio.Task[Exit] | None = None

    async def start(self, setting: Setting, seconds: float = BOOT_SECONDS) -> None:
        """Boot, and return when the agent waits for steps.

        Raises:
            TaskFailed: If it does not get that far; the machine has ended then.
        """
        await self._doors.open()
        self._life = asyncio.create_task(self._processes.run(self._command, self._hear))
        booting = asyncio.create_task(self._boot(setting))
        try:
            async with asyncio.timeout(seconds):
                await asyncio.wait({booting, self._life}, return_when=asyncio.FIRST_COMPLETED)
                if not booting.done():
                    raise await self._death("it ended before it was ready")
                booting.result()
        except TimeoutError:
            await self.kill()
            raise self._failure(f"it was not ready after {seconds:g} s") from None
        except (AgentFault, OSError) as error:
            await self.kill()
            raise self._failure(f"its agent does not answer: {error}") from None
        except BaseException:
            await self.kill()
            raise
        finally:
            booting.cancel()

    async def run(self, launcher: str, script: str, on_output: OnOutput, grace: float) -> Ending:
        """Run one step to its end; nothing of it is left when this returns or raises.

        A cancellation sends SIGTERM to the step, SIGKILL after `grace` seconds, and ends the machine if that does not
        help; another one ends the machine at once.

        Raises:
            TaskFailed: If the machine has ended.
        """
        work = asyncio.ensure_future(self._step(launcher, script, on_output))
        try:
            return await asyncio.shield(work)
        except asyncio.CancelledError:
            await self._stop(work, grace)
            raise

    async def kill(self) -> None:
        """End the machine at once; safe to call twice, and whoever is asked to stop waits all the same."""
        self._doors.close()
        cancelled: asyncio.CancelledError | None = None
        while self._life is not None and not self._life.done():
            self._life.cancel()
            try:
                await asyncio.wait([self._life])
            except asyncio.CancelledError as error:
                cancelled = error
        if cancelled is not None:
            raise cancelled

    async def _boot(self, setting: Setting) -> None:
        self._lines = await self._doors.connected()
        self._say(setup_order(setting))
        line = await self._answer()
        if line != READY.encode():
            raise AgentFault(f"instead of being ready it said {line!r}")

    async def _step(self, launcher: str, script: str, on_output: OnOutput) -> Ending:
        nonce = os.urandom(16).hex()
        delivery = _Delivery(on_output, self._halt)
        self._say(step_order(nonce, launcher, script))
        try:
            async with asyncio.TaskGroup() as group:
                for stream, (reader, _) in zip(STREAMS, self._lines[1:], strict=True):
                    group.create_task(_pass_on(reader, mark_of(nonce), stream, delivery))
                answer = group.create_task(self._answer())
            ending = read_ending(answer.result(), nonce)
        except* (AgentFault, OSError) as faults:
            fault = faults.exceptions[0]
        else:
            delivery.raise_error()
            return ending
        raise await self._death(f"its agent is not to be trusted: {fault}")

    async def _stop(self, work: "asyncio.Future[Ending]", grace: float) -> None:
        try:
            for order, patience in ((b"term\n", grace), (b"kill\n", ANSWER_SECONDS)):
                if patience > 0 and not work.done():
                    self._say(order)
                    await asyncio.wait([work], timeout=patience)
        finally:
            if not work.done():
                await self.kill()
                await asyncio.wait([work])
            if not work.cancelled():
                work.exception()

    def _halt(self) -> None:
        self._say(b"kill\n")

    def _say(self, order: bytes) -> None:
        self._lines[0][1].write(order)

    async def _answer(self) -> bytes:
        """Return the agent's next line.

        Raises:
            AgentFault: If it is too long, or the machine ends.
        """
        try:
            line = await self._lines[0][0].readuntil(b"\n")
        except asyncio.IncompleteReadError:
            raise AgentFault("the machine has ended") from None
        except asyncio.LimitOverrunError:
            raise AgentFault("it says more than an answer") from None
        return line[:-1]

    def _hear(self, stream: Stream, data: bytes) -> None:
        if stream == "stdout":
            self._console = (self._console + data)[-CONSOLE_BYTES:]
        else:
            self._complaints = (self._complaints + data)[-CONSOLE_BYTES:]

    async def _death(self, text: str) -> TaskFailed:
        """End what may still run, and return the failure that tells of it."""
        assert self._life is not None
        await asyncio.wait([self._life], timeout=0.2)  # what it says of its own end is worth more
        has_ended = self._life.done()
        await self.kill()
        if has_ended and not self._life.cancelled() and (error := self._life.exception()) is not None:
            return error if isinstance(error, TaskFailed) else self._failure(f"{text}: {error}")
        return self._failure("it has ended by itself" if has_ended else text)

    def _failure(self, text: str) -> TaskFailed:
        said = [part.decode("utf-8", "replace").strip() for part in (self._complaints, self._console)]
        last = "\n".join(part for part in said if part)
        quoted = f"; the last that it said:\n{last}" if last else ""
        return TaskFailed(Failure(code="E_MACHINE", message=f"the virtual machine failed: {text}{quoted}"))


class _Delivery:
    """Hands output over; after an error of who takes it the step is ended, and the rest has no hearer."""

    def __init__(self, on_output: OnOutput, halt: Callable[[], None]) -> None:
        self._on_output = on_output
        self._halt = halt
        self._error: BaseException | None = None

    def take(self, stream: Stream, data: bytes) -> None:
        if self._error is not None or not data:
            return
        try:
            self._on_output(stream, data)
        except BaseException as error:  # it comes out of `run`
            self._error = error
            self._halt()

    def raise_error(self) -> None:
        if self._error is not None:
            raise self._error


async def _pass_on(reader: asyncio.StreamReader, mark: bytes, stream: Stream, delivery: _Delivery) -> None:
    """Pass on output until its mark.

    Raises:
        AgentFault: If the line ends without one.
    """
    marked = Marked(mark)
    while not marked.is_done:
        data = await reader.read(PIECE_BYTES)
        delivery.take(stream, marked.take(data) if data else marked.rest())
        if not data:
            raise AgentFault("the machine has ended")
