"""One pool of connections to a server: addresses, certificates, time limits, and what answers mean."""

import asyncio
import ssl
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, NoReturn
from urllib.parse import urlsplit

import httpx2
import msgspec
from msgspec import Struct

from runwright.core.errors import Problem, Refused, RemoteError, UsageError

CONNECT_SECONDS = 5.0
"""How long a connection may take to come up."""

ANSWER_SECONDS = 15.0
"""How long an answer may take, beyond what the server was asked to wait."""

KEEP_SECONDS = 60.0
"""How long a connection is kept that nobody uses: longer than what is between two heartbeats."""

SILENCE_SECONDS = 60.0
"""How long an answer in lines may be silent; then its connection may have died without a word."""

MESSAGE_LENGTH = 500
"""Characters of a server's message that are kept."""

TEMPORARY = frozenset({408, 425, 429})
"""Statuses below 500 after which the same may be asked again."""


class Server(Struct, frozen=True, kw_only=True):
    """Which server, and how to trust it.

    Attributes:
        url: ``http://`` or ``https://``, host and port; a path before those of the protocol is kept.
        ca_file: Certificates to trust besides the system's, PEM.
    """

    url: str
    ca_file: Path | None = None


def checked_url(url: str) -> str:
    """Return the address of a server without a slash at its end.

    Raises:
        UsageError: If it is none.
    """
    try:
        parts = urlsplit(url)
        is_good = parts.scheme in {"http", "https"} and bool(parts.hostname) and parts.port != 0
    except ValueError:
        is_good = False
    if not is_good or parts.query or parts.fragment:
        message = f'"{_shown(url)}" is no address of a server'
        raise UsageError(
            (Problem(message=message, suggestion="write for instance https://queue.example.com"),)
        )
    if parts.username or parts.password:
        message = "the address of the server has a user or a password in it"
        raise UsageError((Problem(message=message, suggestion="give the token in a file: --token-file"),))
    return url.rstrip("/")


def _shown(url: str) -> str:
    """Return a wrong address as it may be shown: what stands before an @ may be a password."""
    return url.rpartition("@")[2][:MESSAGE_LENGTH]


def trusted(server: Server) -> ssl.SSLContext | bool:
    """Return how the server's certificate is looked at; nothing is loaded for plain HTTP.

    Raises:
        UsageError: If the file has no certificates.
    """
    if not server.url.startswith("https://"):
        return False
    context = httpx2.create_ssl_context()
    if server.ca_file is not None:
        try:
            context.load_verify_locations(cafile=server.ca_file)
        except (OSError, ssl.SSLError) as error:
            message = f"{server.ca_file} can't be used as certificates: {error.strerror or error}"
            raise UsageError((Problem(message=message, suggestion="give a PEM file"),)) from None
    return context


class Connection:
    """Requests to one server; belongs to one event loop.

    Redirects are not followed, so that no token goes where nobody sent it.

    Args:
        server: Which one.
        authorization: What to show where nothing else is said.
    """

    def __init__(self, server: Server, authorization: str) -> None:
        self._url = checked_url(server.url)
        self._client = httpx2.AsyncClient(
            base_url=self._url,
            headers={"Authorization": authorization, "User-Agent": "runwright"},
            verify=trusted(server),
            timeout=httpx2.Timeout(ANSWER_SECONDS, connect=CONNECT_SECONDS),
            limits=httpx2.Limits(keepalive_expiry=KEEP_SECONDS),
            follow_redirects=False,
        )

    async def post(
        self, path: str, body: Any, headers: Mapping[str, str] | None = None, wait: float = 0.0
    ) -> httpx2.Response:
        """Send a record as JSON and return the answer, whatever its status.

        Args:
            path: From the server's address on.
            body: A record or plain data.
            headers: Besides those of the connection.
            wait: Seconds that the server was asked to wait before it answers.

        Raises:
            RemoteError: If there is no answer.
        """
        content = msgspec.json.encode(body)
        more = {"Content-Type": "application/json", **(headers or {})}
        return await self.send("POST", path, wait, content=content, headers=more)

    async def send(self, method: str, path: str, wait: float = 0.0, **about: Any) -> httpx2.Response:
        """Send a request and return the answer, whatever its status.

        Raises:
            RemoteError: If there is no answer.
        """
        patience = httpx2.Timeout(ANSWER_SECONDS + wait, connect=CONNECT_SECONDS)
        try:
            async with asyncio.timeout(CONNECT_SECONDS + ANSWER_SECONDS + wait):
                return await self._client.request(method, path, timeout=patience, **about)
        except (TimeoutError, httpx2.HTTPError) as error:
            self._fail(error)

    @asynccontextmanager
    async def stream(self, path: str, **about: Any) -> AsyncIterator[httpx2.Response]:
        """Send a request whose answer comes in lines, for as long as it takes.

        Raises:
            RemoteError: If there is no answer, it breaks off, or nothing comes for `SILENCE_SECONDS`.
        """
        patience = httpx2.Timeout(ANSWER_SECONDS, connect=CONNECT_SECONDS, read=SILENCE_SECONDS)
        try:
            async with self._client.stream("GET", path, timeout=patience, **about) as response:
                yield response
        except httpx2.HTTPError as error:
            self._fail(error)

    async def close(self) -> None:
        """Free the connections; safe to call twice."""
        await self._client.aclose()

    def _fail(self, error: Exception) -> NoReturn:
        """Raise what became of a request without an answer; that nobody listens can be told from the rest."""
        is_refused = isinstance(error, httpx2.ConnectError) and _has_refusal(error)
        what = "nobody listens there" if is_refused else str(error) or "there was no answer in time"
        raise RemoteError(f"{self._url} can't be reached: {what}") from (
            ConnectionRefusedError(what) if is_refused else error
        )


def _has_refusal(error: BaseException | None) -> bool:
    while error is not None:
        if isinstance(error, ConnectionRefusedError):
            return True
        if isinstance(error, BaseExceptionGroup):
            return all(_has_refusal(each) for each in error.exceptions)
        error = error.__cause__ or error.__context__
    return False


def failure_of(response: httpx2.Response) -> RemoteError:
    """Return the error that an answer stands for which is not what was asked for."""
    status, message = response.status_code, message_of(response)
    if 300 <= status < 400:
        target = response.headers.get("location", "")[:MESSAGE_LENGTH]
        return RemoteError(f"the server sends us on to {target}, which is not followed; give that address")
    if 400 <= status < 500 and status not in TEMPORARY:
        return Refused(message, status)
    return RemoteError(f"{message} (status {status})")


def message_of(response: httpx2.Response) -> str:
    """Return what a server says of a request that it did not do, in one line."""
    try:
        found = msgspec.json.decode(response.content)
        text = str(found["error"])
    except (msgspec.DecodeError, KeyError, TypeError):
        text = response.text.strip() or response.reason_phrase
    return " ".join(text.split())[:MESSAGE_LENGTH] or f"status {response.status_code}"
