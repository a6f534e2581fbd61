"""The application: each endpoint behind its gate, each error as JSON."""

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from typing import Any

import msgspec
from starlette.applications import Starlette
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
from runwright.web.limits import SEND_SECONDS, Bodies, BodyLimits, WrongTokens, drain
from runwright.web.metrics import Metrics
from runwright.web.openapi import describe
from runwright.web.refusals import ClientGone, Refusal, refusal_answer

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
            if "connection" in answer.headers:
                answer = Lingering(answer, request)
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


class Lingering(Response):
    """An answer after which the connection ends; what its client is still sending is read for a moment."""

    def __init__(self, answer: Response, request: Request) -> None:
        super().__init__(answer.body, answer.status_code, dict(answer.headers))
        self._request = request

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Send the answer whole, read on, and only then say that it is over."""
        await send({"type": "http.response.start", "status": self.status_code, "headers": self.raw_headers})
        await send({"type": "http.response.body", "body": self.body, "more_body": True})
        await drain(self._request)
        await send({"type": "http.response.body", "body": b"", "more_body": False})


class Patient:
    """Ends answers that nobody takes.

    Args:
        app: What answers.
    """

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request."""

        async def timed(message: Message) -> None:
            async with asyncio.timeout(SEND_SECONDS):
                await send(message)

        await self._app(scope, receive, timed)
