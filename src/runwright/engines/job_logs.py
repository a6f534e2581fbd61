"""Logs of jobs: what is there, and what comes."""

import asyncio
import codecs
from collections.abc import AsyncIterator, Sequence
from datetime import datetime

from msgspec import Struct

from runwright.core.job_rows import JobRow, LogRow
from runwright.core.states import JobState
from runwright.ports.jobs import JobStore
from runwright.ports.system import Clock

TAIL_BYTES = 1024 * 1024
"""How much of the end of each entry is shown unless more is asked for."""

LOG_BYTES = 16 * 1024 * 1024
"""How much output one answer holds, and the tail of one entry at most."""

CHUNK_BYTES = 64 * 1024
LOOK_SECONDS = 1.0
"""How often a log that is followed is looked at, if nobody on this server has added to it."""


class EntryView(Struct, frozen=True, kw_only=True, rename="camel"):
    """An entry of a job's log as users see it.

    Attributes:
        attempt: Which attempt it belongs to, from 1.
        entry: Its number in the attempt, from 1.
        exit_code: None until it has ended.
        duration_ms: Likewise.
        out: The end of its output.
        size_bytes: Of all its output.
        truncated: True if `out` is not all of it.
    """

    attempt: int
    entry: int
    key: str
    command: tuple[str, ...]
    start_time: datetime | None
    exit_code: int | None
    duration_ms: int | None
    out: str
    size_bytes: int
    truncated: bool


class EntryNews(Struct, frozen=True, kw_only=True, rename="camel", tag="entry", tag_field="kind"):
    """An entry has begun, or has ended if it has an exit code."""

    attempt: int
    entry: int
    key: str
    command: tuple[str, ...]
    start_time: datetime | None
    exit_code: int | None
    duration_ms: int | None


class OutNews(Struct, frozen=True, kw_only=True, rename="camel", tag="out", tag_field="kind"):
    """More output of an entry; `offset` is where it stands, in bytes."""

    attempt: int
    entry: int
    offset: int
    out: str


class EndNews(Struct, frozen=True, kw_only=True, rename="camel", tag="end", tag_field="kind"):
    """The job has come to an end, or the server has: then `state` is not a final one."""

    state: JobState
    attempt: int
    message: str


News = EntryNews | OutNews | EndNews


class JobLogs:
    """Reads the logs of jobs.

    Args:
        store: Where they are.
        clock: Time.
    """

    def __init__(self, store: JobStore, clock: Clock) -> None:
        self._store = store
        self._clock = clock
        self._bells: dict[int, set[asyncio.Event]] = {}
        self._closing = False

    async def read(self, job_id: int, attempt: int | None = None, tail: int = TAIL_BYTES) -> list[EntryView]:
        """Return the entries of an attempt, of the newest if it is None, of all if it is 0.

        Raises:
            JobNotFound: If there is no such job.
        """
        row = await self._store.job(job_id)
        entries = _of_attempt(await self._store.entries(job_id), row.attempt if attempt is None else attempt)
        left, found = LOG_BYTES, []
        for entry in reversed(entries):
            view, used = await self._view(entry, min(tail, left))
            left -= used
            found.append(view)
        return found[::-1]

    async def _view(self, entry: LogRow, tail: int) -> tuple[EntryView, int]:
        offset = max(0, entry.size_bytes - tail)
        limit = entry.size_bytes - offset
        data = (
            await self._store.output(entry.job_id, entry.attempt, entry.entry, offset, limit)
            if limit
            else b""
        )
        view = EntryView(
            attempt=entry.attempt,
            entry=entry.entry,
            key=entry.key,
            command=entry.command,
            start_time=entry.started_at,
            exit_code=entry.exit_code,
            duration_ms=entry.duration_ms,
            out=_text(data) if offset else data.decode("utf-8", "replace"),
            size_bytes=entry.size_bytes,
            truncated=offset > 0,
        )
        return view, len(data)

    def stir(self, job_id: int) -> None:
        """Tell those who follow the log of a job that there is more of it."""
        for bell in self._bells.get(job_id, ()):
            bell.set()

    def close(self) -> None:
        """End all that is followed."""
        self._closing = True
        for job_id in self._bells:
            self.stir(job_id)

    async def follow(self, job_id: int, attempt: int | None = None) -> AsyncIterator[News]:
        """Yield what is in the log of a job and what is added to it, until the job has ended.

        Args:
            job_id: Which job.
            attempt: Only this one; None for the newest there is and those that come, 0 for all.

        Raises:
            JobNotFound: If there is no such job.
        """
        row = await self._store.job(job_id)
        followed = _Followed(self._store, job_id, row.attempt if attempt is None else 0, attempt or 0)
        bell = asyncio.Event()
        self._bells.setdefault(job_id, set()).add(bell)
        try:
            while True:
                bell.clear()
                row = await self._store.job(job_id)
                async for news in followed.more():
                    yield news
                if self._closing or followed.is_over(row):
                    break
                await self._rung(bell)
            yield EndNews(state=row.state, attempt=row.attempt, message=row.message)
        finally:
            self._unhang(job_id, bell)

    async def _rung(self, bell: asyncio.Event) -> None:
        try:
            async with asyncio.timeout(LOOK_SECONDS):
                await bell.wait()
        except TimeoutError:
            return

    def _unhang(self, job_id: int, bell: asyncio.Event) -> None:
        bells = self._bells[job_id]
        bells.discard(bell)
        if not bells:
            del self._bells[job_id]


class _Followed:
    """What has been told of a log."""

    def __init__(self, store: JobStore, job_id: int, least: int, only: int) -> None:
        self._store = store
        self._job_id = job_id
        self._least = least
        self._only = only
        self._told: dict[tuple[int, int], _Told] = {}

    def is_over(self, row: JobRow) -> bool:
        """Return whether nothing more will come, by a row that was read before the last look."""
        return row.has_ended or 0 < self._only < row.attempt

    async def more(self) -> AsyncIterator[News]:
        """Yield what has been added since the last call."""
        for entry in await self._store.entries(self._job_id):
            if entry.attempt < self._least or (self._only and entry.attempt != self._only):
                continue
            told = self._told.setdefault((entry.attempt, entry.entry), _Told())
            if told.is_new:
                yield _news(entry, is_begun=True)
                told.is_new = False
            async for news in self._output(entry, told):
                yield news
            if entry.exit_code is not None and not told.has_ended:
                told.has_ended = True
                yield _news(entry, is_begun=False)

    async def _output(self, entry: LogRow, told: "_Told") -> AsyncIterator[News]:
        while told.offset < entry.size_bytes:
            data = await self._store.output(
                entry.job_id, entry.attempt, entry.entry, told.offset, CHUNK_BYTES
            )
            if not data:
                return
            at, text = told.take(data)
            if text:
                yield OutNews(attempt=entry.attempt, entry=entry.entry, offset=at, out=text)


class _Told:
    """What has been told of an entry; a character that is cut waits in the decoder for its end."""

    def __init__(self) -> None:
        self.is_new = True
        self.has_ended = False
        self.offset = 0
        self.decoder = codecs.getincrementaldecoder("utf-8")("replace")

    def take(self, data: bytes) -> tuple[int, str]:
        """Return where the text of further bytes begins, and that text."""
        at = self.offset - len(self.decoder.getstate()[0])
        self.offset += len(data)
        return at, self.decoder.decode(data)


def _of_attempt(entries: Sequence[LogRow], attempt: int) -> list[LogRow]:
    return [entry for entry in entries if attempt in (0, entry.attempt)]


def _news(entry: LogRow, *, is_begun: bool) -> EntryNews:
    return EntryNews(
        attempt=entry.attempt,
        entry=entry.entry,
        key=entry.key,
        command=entry.command,
        start_time=entry.started_at,
        exit_code=None if is_begun else entry.exit_code,
        duration_ms=None if is_begun else entry.duration_ms,
    )


def _text(data: bytes) -> str:
    """Return the text of the end of an output, without the half character that it may begin with."""
    start = 0
    while start < min(3, len(data)) and data[start] & 0xC0 == 0x80:
        start += 1
    return data[start:].decode("utf-8", "replace")
