"""The application: each endpoint behind its gate, each error as JSON."""

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from typing import Any

import msgspec
from starlette.applications import Starlette
from starlette.datastructures import Headers
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from runwright.core.job_requests import decode
from runwright.engines.queue import Queue
from runwright.web import api, protocol
from runwright.web.auth import Gate
from runwright.web.endpoint import Access, Call, Endpoint, Services
from runwright.web.limits import SEND_SECONDS, UNREAD_BYTES, Bodies, BodyLimits, WrongTokens, drain
from runwright.web.metrics import Metrics
from runwright.web.openapi import describe
from runwright.web.refusals import ClientGone, Refusal, refusal_answer, report

ENDPOINTS = (*api.ENDPOINTS, *protocol.ENDPOINTS)
Handler = Callable[[Request], Awaitable[Response]]
GONE = 499
"""Status under which requests are counted whose client went away."""


def build_app(queue: Queue, limits: BodyLimits | None = None) -> ASGIApp:
    """Return the ASGI application of a queue.

    Args:
        queue: What it serves; the caller runs and closes it.
        limits: Largest bodies.
    """
    wrong = WrongTokens(queue.clock)
    services = Services(
        queue=queue,
        metrics=Metrics(queue, wrong),
        bodies=Bodies(),
        limits=limits or BodyLimits(),
        description=msgspec.json.encode(describe(ENDPOINTS)),
        followers=set(),
    )
    gate = Gate(queue, wrong)
    by_path: dict[str, dict[str, Handler]] = {}
    for endpoint in ENDPOINTS:
        by_path.setdefault(endpoint.path, {})[endpoint.method] = _handler(endpoint, gate, services)
    routes = [Route(path, _by_method(handlers), methods=list(handlers)) for path, handlers in by_path.items()]
    app = Starlette(routes=routes, exception_handlers={HTTPException: _lost(services)})
    app.router.redirect_slashes = False
    return Patient(app)


def _by_method(handlers: Mapping[str, Handler]) -> Handler:
    """Return what answers all methods of a path; HEAD is GET without its body."""

    async def handle(request: Request) -> Response:
        return await handlers["GET" if request.method == "HEAD" else request.method](request)

    return handle


def _handler(endpoint: Endpoint, gate: Gate, services: Services) -> Callable[[Request], Awaitable[Response]]:
    """Return what answers the requests of an endpoint: always something, and never an exception."""

    async def handle(request: Request) -> Response:
        try:
            answer = await _answer(endpoint, gate, services, request)
        except ClientGone:
            answer = Response(status_code=GONE)
        except Exception as error:
            answer = refusal_answer(error)
        services.metrics.count(endpoint.path, answer.status_code)
        return answer

    return handle


async def _answer(endpoint: Endpoint, gate: Gate, services: Services, request: Request) -> Response:
    """Look at the token before anything else, so that nobody without one makes work."""
    who = await _who(endpoint.access, gate, request)
    query = None
    if endpoint.query is not None:
        query = msgspec.convert(dict(request.query_params), endpoint.query, strict=False)
    if endpoint.body is None:
        return await endpoint.handler(Call(services, request, query=query, who=who))
    limit = services.limits.submit_bytes if endpoint.is_submit else services.limits.other_bytes
    data = await services.bodies.read(request, limit)
    try:
        body = _decoded(endpoint, data)
        return await endpoint.handler(Call(services, request, body, query, who))
    finally:
        services.bodies.release(data)


async def _who(access: Access, gate: Gate, request: Request) -> Any:
    match access:
        case Access.OPEN:
            return None
        case Access.ADMIN:
            return await gate.admin(request)
        case Access.WORKER:
            return await gate.worker(request)
        case Access.LEASE:
            return await gate.holder(request)


def _decoded(endpoint: Endpoint, data: bytearray) -> Any:
    """Return the record that a body is.

    Raises:
        Refusal: 400 if the body is empty though it must not be.
        DecodeError: If it is none.
    """
    if not data:
        if endpoint.body_optional:
            return None
        raise Refusal(400, "the body is empty; send JSON")
    if endpoint.access is Access.ADMIN:
        return msgspec.json.decode(data, type=endpoint.body)
    return decode(data, endpoint.body)


def _lost(services: Services) -> Callable[[Request, Exception], Response]:
    """Return what answers requests for what is not there."""

    def handle(request: Request, error: Exception) -> Response:
        answer = refusal_answer(error)
        services.metrics.count("", answer.status_code)
        return answer

    return handle


class Patient:
    """Bounds what the application does not see: answers that nobody takes, and bodies that nobody wants.

    A large body that has not been read when the answer begins is not read at all: the connection ends, after a moment
    in which its sender may see why.

    Args:
        app: What answers.
    """

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request."""
        exchange = _Exchange(receive, send, is_large=_is_large(scope))
        try:
            await self._app(scope, exchange.receive, exchange.send)
        except Exception as error:
            if not exchange.is_given_up:
                report(error)
            raise


def _is_large(scope: Scope) -> bool:
    headers = Headers(scope=scope)
    length = headers.get("content-length", "0")
    return "transfer-encoding" in headers or not length.isdecimal() or int(length) > UNREAD_BYTES


class _Exchange:
    """One request and its answer.

    Attributes:
        is_given_up: True once its client has taken nothing of the answer for too long.
    """

    def __init__(self, receive: Receive, send: Send, *, is_large: bool) -> None:
        self._receive = receive
        self._send = send
        self._is_unread = is_large
        self._lingers = False
        self.is_given_up = False

    async def receive(self) -> Message:
        """Return more of the request."""
        message = await self._receive()
        if not message.get("more_body", False):
            self._is_unread = False
        return message

    async def send(self, message: Message) -> None:
        """Send some of the answer."""
        if message["type"] == "http.response.start" and self._is_unread:
            self._lingers = True
            message["headers"] = [*message.get("headers", ()), (b"connection", b"close")]
        if self._lingers and message["type"] == "http.response.body" and not message.get("more_body", False):
            await self._timed({**message, "more_body": True})
            await drain(self._receive)
            message = {"type": "http.response.body", "body": b"", "more_body": False}
        await self._timed(message)

    async def _timed(self, message: Message) -> None:
        try:
            async with asyncio.timeout(SEND_SECONDS):
                await self._send(message)
        except TimeoutError:
            self.is_given_up = True
            raise
