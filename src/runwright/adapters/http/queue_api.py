"""The queue as those see it who submit jobs and steer them, over HTTP."""

from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from typing import Any, NoReturn
from urllib.parse import quote

import httpx2
import msgspec

from runwright.adapters.http.connection import Connection, Server, failure_of, message_of
from runwright.core.errors import (
    DefinitionError,
    JobHasEnded,
    JobNotFound,
    Problem,
    RemoteError,
)
from runwright.core.job_rows import JobFilter
from runwright.core.job_wire import SubmitRequest
from runwright.ports.system import Clock

Data = Mapping[str, Any]

FIRST_PAUSE = 0.5
LONGEST_PAUSE = 10.0
"""Seconds before a log that broke off is asked for again, at most."""

MOST_TRIES = 30
"""How often in a row a log that is followed is asked for again without an answer."""


class HttpQueue:
    """Speaks the API of our server; see `ports.queue_client.JobQueueClient`. Belongs to one event loop.

    Args:
        server: Which server.
        token: Of somebody who may submit and steer jobs.
        clock: Time.
        draw: Random numbers in [0, 1).
    """

    def __init__(self, server: Server, token: str, clock: Clock, draw: Callable[[], float]) -> None:
        self._connection = Connection(server, f"Bearer {token}")
        self._clock = clock
        self._draw = draw

    async def submit(self, ask: SubmitRequest) -> int:
        """Queue a job; returns its id. With an idempotency key it may be said again."""
        return int((await self._ask("POST", "/jobs", body=ask))["id"])

    async def job(self, job_id: int) -> Data:
        """Return a job with its state and its attempts."""
        return await self._ask("GET", f"/jobs/{job_id}")

    async def jobs(self, which: JobFilter) -> Sequence[Data]:
        """Return jobs, newest first."""
        asked = {name: value for name, value in msgspec.to_builtins(which).items() if value}
        return _listed(await self._ask("GET", "/jobs", params=asked), "jobs")

    async def log(self, job_id: int, attempt: int | None = None, tail: int | None = None) -> Sequence[Data]:
        """Return the entries of an attempt's log."""
        params = {} if tail is None else {"tail": tail}
        if attempt is not None:
            params |= {"attempt": attempt or "all"}  # type: ignore[dict-item]
        return _listed(await self._ask("GET", f"/jobs/{job_id}/logs", params=params), "entries")

    async def follow(self, job_id: int) -> AsyncIterator[Data]:
        """Yield what the log gains until the job has ended; what breaks off goes on where it was.

        Raises:
            RemoteError: If the server stays away.
        """
        told = _Told()
        tries, pause = 0, FIRST_PAUSE
        while True:
            try:
                async for news in self._news(job_id):
                    tries, pause = 0, FIRST_PAUSE
                    if (fresh := told.take(news)) is not None:
                        yield fresh
                    if told.is_over:
                        return
            except RemoteError as error:
                if type(error) is not RemoteError or tries >= MOST_TRIES:
                    raise
            tries += 1
            await self._clock.sleep(pause * (0.5 + 0.5 * self._draw()))
            pause = min(2 * pause, LONGEST_PAUSE)

    async def _news(self, job_id: int) -> AsyncIterator[Data]:
        """Yield what an answer says; first of all, nothing, to tell that there is one."""
        async with self._connection.stream(f"/api/jobs/{job_id}/logs", params={"follow": "true"}) as response:
            if response.status_code != 200:
                await response.aread()
                _refuse(response)
            yield {}
            async for line in response.aiter_lines():
                yield _decoded(line.encode())

    async def cancel(self, job_id: int, reason: str = "") -> Data:
        """Ask for a job to be stopped; returns it."""
        return await self._ask("POST", f"/jobs/{job_id}/cancel", body={"reason": reason})

    async def retry(self, job_id: int) -> Data:
        """Queue a job again; returns it."""
        return await self._ask("POST", f"/jobs/{job_id}/retry")

    async def queues(self) -> Sequence[Data]:
        """Return every queue with its counts."""
        return _listed(await self._ask("GET", "/queues"), "queues")

    async def set_queue(self, name: str, changes: Data) -> Data:
        """Change how a queue is served, and return how that is now."""
        return await self._ask("PUT", f"/queues/{quote(name, safe='')}", body=changes)

    async def workers(self) -> Sequence[Data]:
        """Return every worker that the server has heard of."""
        return _listed(await self._ask("GET", "/workers"), "workers")

    async def close(self) -> None:
        """Free the connections; safe to call twice."""
        await self._connection.close()

    async def _ask(self, method: str, path: str, *, body: Any = None, params: Any = None) -> Data:
        more: dict[str, Any] = {} if params is None else {"params": params}
        if body is not None:
            more |= {"content": msgspec.json.encode(body), "headers": {"Content-Type": "application/json"}}
        response = await self._connection.send(method, f"/api{path}", **more)
        if response.status_code not in {200, 201}:
            _refuse(response)
        return _decoded(response.content)


def _refuse(response: httpx2.Response) -> NoReturn:
    """Raise what an answer stands for that is not what was asked for."""
    message = message_of(response)
    if response.status_code == 404:
        raise JobNotFound(message)
    if response.status_code == 409:
        raise JobHasEnded(message)
    if response.status_code == 422 and (problems := _problems(response)):
        raise DefinitionError(problems)
    raise failure_of(response)


def _problems(response: httpx2.Response) -> tuple[Problem, ...]:
    try:
        found = msgspec.json.decode(response.content)["problems"]
        return tuple(
            Problem(
                message=str(each["message"]),
                path=tuple(part for part in str(each["path"]).split(".") if part),
                suggestion=str(each.get("suggestion", "")),
            )
            for each in found
        )
    except (msgspec.DecodeError, KeyError, TypeError, AttributeError):
        return ()


def _decoded(content: bytes) -> dict[str, Any]:
    try:
        return msgspec.json.decode(content, type=dict[str, Any])
    except msgspec.DecodeError as error:
        raise RemoteError(f"the server's answer can't be read: {error}") from None


def _listed(answer: Data, name: str) -> Sequence[Data]:
    try:
        return msgspec.convert(answer[name], list[dict[str, Any]])
    except (KeyError, msgspec.ValidationError):
        raise RemoteError(f'the server\'s answer has no list of "{name}"') from None


class _Told:
    """What of a log has been passed on, so that what comes again after a break is left out.

    Attributes:
        is_over: True once the job has ended.
    """

    def __init__(self) -> None:
        self.is_over = False
        self._seen: set[tuple[int, int, bool]] = set()
        self._sizes: dict[tuple[int, int], int] = {}

    def take(self, news: Data) -> Data | None:
        """Return what is new of a piece of news; None if all of it is known, or it only says that the server stops."""
        kind, where = news.get("kind"), (news.get("attempt", 0), news.get("entry", 0))
        if kind == "end":
            self.is_over = news.get("state") in {"completed", "failed", "canceled"}
            return news if self.is_over else None
        if kind == "entry":
            mark = (*where, news.get("exitCode") is not None)
            is_new = mark not in self._seen
            self._seen.add(mark)
            return news if is_new else None
        return self._output(news, where) if kind == "out" else None

    def _output(self, news: Data, where: tuple[int, int]) -> Data | None:
        data, offset = str(news.get("out", "")).encode(), int(news.get("offset", 0))
        known = self._sizes.get(where, 0)
        self._sizes[where] = max(known, offset + len(data))
        if known <= offset:
            return news
        rest = data[known - offset :]
        return {**news, "offset": known, "out": rest.decode("utf-8", "replace")} if rest else None
