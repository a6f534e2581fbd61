"""The log of a job, from what its commands put out to the server.

Text waits on disk until the server has it, so a server that is away costs neither memory nor the job.
"""

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from contextlib import suppress
from datetime import datetime
from typing import TypeVar

from msgspec import Struct

from runwright.core.errors import Refused, RemoteError, TaskFailed
from runwright.core.job_output import JobOutput
from runwright.core.job_wire import ExecutionLogEntry
from runwright.core.redact import Redactor
from runwright.ports.executor import Stream
from runwright.ports.job_places import Spool
from runwright.ports.jobs import GivenJob, JobSource, OnOutput
from runwright.ports.system import Clock, Exit

T = TypeVar("T")

SEND_SECONDS = 1.0
"""Between two sendings of output that comes little by little."""

SEND_BYTES = 256 * 1024
"""Output that is sent at once, and at a time."""

MOST_UNSENT = 50
"""Entries that the server does not have in full; another command waits for it."""

LONGEST_COMMAND = 16 * 1024
"""Characters of a command that its entry shows: it is sent anew with each piece of output."""

TAIL_SHARE = 4
"""One part in so many of the output that is kept is its end."""

LAST_ERROR_BYTES = 4096
"""Of the end of standard error, where its last line is looked for."""

FIRST_PAUSE, LONGEST_PAUSE = 0.1, 5.0
UNKNOWN = -1


class LogDoors(Struct, frozen=True, kw_only=True):
    """What a log needs.

    Attributes:
        source: Takes it.
        spool: Returns a place where text can wait.
        clock: Time.
        draw: Random numbers in [0, 1).
        redactor: Knows what must not be shown.
        entry_bytes: Output of one command that is kept.
        job_bytes: Output of all commands that is kept.
    """

    source: JobSource
    spool: Callable[[], Spool]
    clock: Clock
    draw: Callable[[], float]
    redactor: Redactor
    entry_bytes: int
    job_bytes: int


class JobLog:
    """Keeps the entries of a job's log, one after another, and sends them in that order.

    Attributes:
        refusal: Why the server did not take a part of it; empty if it took everything.
        last_error: The last line on standard error of the command that has just ended.
    """

    def __init__(self, given: GivenJob, doors: LogDoors) -> None:
        self.refusal = ""
        self.last_error = ""
        self._given = given
        self._doors = doors
        self._left = doors.job_bytes
        self._entries: asyncio.Queue[_Entry | None] = asyncio.Queue()
        self._unsent = asyncio.Semaphore(MOST_UNSENT)

    async def entry(
        self, key: str, command: Sequence[str], work: Callable[[OnOutput], Awaitable[Exit]]
    ) -> Exit:
        """Run something as an entry of the log.

        Whatever its end is, the entry tells it: an exit code, or what kept it from having one.

        Raises:
            TaskFailed: What `work` raises.
        """
        await self._unsent.acquire()
        try:
            entry = self._begin(key, command)
        except BaseException:
            self._unsent.release()
            raise
        return await self._run(entry, work)

    async def last_entry(
        self, key: str, command: Sequence[str], work: Callable[[OnOutput], Awaitable[Exit]]
    ) -> Exit:
        """Run something as an entry that does not wait for the server: what takes the job down can't."""
        return await self._run(self._begin(key, command), work)

    async def _run(self, entry: "_Entry", work: Callable[[OnOutput], Awaitable[Exit]]) -> Exit:
        try:
            exit_ = await work(entry.take)
        except TaskFailed as error:
            entry.say(error.failure.message)
            raise
        except asyncio.CancelledError:
            entry.say("stopped")
            raise
        else:
            entry.exit_code = exit_.code
            return exit_
        finally:
            entry.end(self._doors.clock)
            self._left = max(0, self._left - entry.size)
            self.last_error = entry.last_error(self._doors.redactor)

    async def ship(self) -> None:
        """Send everything until the log has been closed.

        Raises:
            LeaseLost: If the server takes no more of this attempt.
        """
        while (entry := await self._entries.get()) is not None:
            try:
                await self._send(entry)
            except Refused as error:
                self.refusal = self.refusal or str(error)
            finally:
                entry.spool.close()
                self._unsent.release()

    def close(self) -> None:
        """Begin no more entries; `ship` ends when it has sent those there are."""
        self._entries.put_nowait(None)

    def free(self) -> None:
        """Let go of what will not be sent."""
        while not self._entries.empty():
            if entry := self._entries.get_nowait():
                entry.spool.close()

    def redacted(self, text: str) -> str:
        """Return a text without what must not be shown."""
        return self._doors.redactor.text(text)

    def _begin(self, key: str, command: Sequence[str]) -> "_Entry":
        size = min(self._doors.entry_bytes, self._left)
        output = JobOutput(self._doors.redactor, size - size // TAIL_SHARE, size // TAIL_SHARE)
        shown = _shortened([self.redacted(part) for part in command])
        entry = _Entry(self.redacted(key), shown, self._doors.clock, output, self._doors.spool())
        self._entries.put_nowait(entry)
        return entry

    async def _send(self, entry: "_Entry") -> None:
        """Begin an entry on the server, and add to it until it has ended there too."""
        number = await self._answered(lambda: self._doors.source.add_entry(self._given, entry.shown("")))
        sent, is_done = 0, False
        while not is_done:
            await self._news(entry, sent)
            piece = entry.piece(sent)
            size = len(piece.encode())
            is_done = entry.has_ended and sent + size >= entry.size
            await self._update(number, entry.shown(piece, is_done=is_done), sent)
            sent += size

    async def _update(self, number: int, shown: ExecutionLogEntry, offset: int) -> None:
        await self._answered(
            lambda: self._doors.source.update_entry(self._given, number, shown, offset),
        )

    async def _news(self, entry: "_Entry", sent: int) -> None:
        """Wait until there is much to send, or little that has waited for long."""
        entry.sent = sent
        while not entry.has_ended and entry.size - sent < SEND_BYTES:
            entry.bell.clear()
            with suppress(TimeoutError):
                async with asyncio.timeout(SEND_SECONDS):
                    await entry.bell.wait()
            entry.tick()
            if entry.size > sent:
                return

    async def _answered(self, call: Callable[[], Awaitable[T]]) -> T:
        """Make a call until the server answers; whoever waits for us knows how long that makes sense."""
        pause = FIRST_PAUSE
        while True:
            try:
                return await call()
            except Refused:
                raise
            except RemoteError:
                await self._doors.clock.sleep(pause * (0.5 + 0.5 * self._doors.draw()))
                pause = min(2 * pause, LONGEST_PAUSE)


class _Entry:
    """One entry, while its command runs and until the server has it.

    Attributes:
        size: Bytes of its text so far.
        sent: How many of them the server has, as far as it is known.
        has_ended: True when nothing more comes.
        exit_code: Of its command; `UNKNOWN` if that has none.
        bell: Set when there is something to do for whoever sends it.
    """

    def __init__(
        self, key: str, command: tuple[str, ...], clock: Clock, output: JobOutput, spool: Spool
    ) -> None:
        self.spool = spool
        self.size = 0
        self.sent = 0
        self.has_ended = False
        self.exit_code = UNKNOWN
        self.bell = asyncio.Event()
        self._key = key
        self._command = command
        self._started_at: datetime = clock.now()
        self._began = clock.monotonic()
        self._duration_ms = 0
        self._output = output
        self._errors = b""

    def take(self, stream: Stream, data: bytes) -> None:
        """Take output of the command."""
        if stream == "stderr":
            self._errors = (self._errors + data)[-LAST_ERROR_BYTES:]
        self._keep(self._output.take(stream, data))

    def say(self, message: str) -> None:
        """Add a line of ours."""
        before = "\n" if self._errors and not self._errors.endswith(b"\n") else ""
        line = f"{before}runwright: {message}\n"
        self._keep(self._output.take("stderr", line.encode("utf-8", "replace")))

    def last_error(self, redactor: Redactor) -> str:
        """Return the last line of standard error, if all of it is known; redacted before a part of a secret is cut off."""
        clean = redactor.bytes(self._errors).decode("utf-8", "replace")
        _, newline, last = clean.rstrip().rpartition("\n")
        is_whole = bool(newline) or len(self._errors) < LAST_ERROR_BYTES
        return last.rpartition("\r")[2].strip() if is_whole else ""

    def tick(self) -> None:
        """Have lines shown that have waited for their end for long."""
        if not self.has_ended:
            self._keep(self._output.tick())

    def end(self, clock: Clock) -> None:
        """Take note that nothing more comes."""
        self._duration_ms = round(1000 * (clock.monotonic() - self._began))
        try:
            self._keep(self._output.end())
        finally:
            self.has_ended = True
            self.bell.set()

    def piece(self, offset: int) -> str:
        """Return text that has not been sent; it never ends within a character."""
        return self.spool.read(offset, SEND_BYTES).decode("utf-8", "ignore")

    def shown(self, piece: str, *, is_done: bool = False) -> ExecutionLogEntry:
        """Return the entry as it is sent, with a piece of its text."""
        return ExecutionLogEntry(
            key=self._key,
            command=self._command,
            start_time=self._started_at,
            exit_code=self.exit_code if is_done else None,
            out=piece,
            duration_ms=self._duration_ms if is_done else None,
        )

    def _keep(self, text: bytes) -> None:
        if text:
            self.spool.append(text)
            self.size += len(text)
            if self.size - self.sent >= SEND_BYTES:
                self.bell.set()


def _shortened(command: Sequence[str]) -> tuple[str, ...]:
    """Return a command that is not too long to be sent again and again."""
    left = LONGEST_COMMAND
    shown: list[str] = []
    for part in command:
        if len(part) > left:
            return (*shown, part[:left] + "...")
        shown.append(part)
        left -= len(part)
    return tuple(shown)
