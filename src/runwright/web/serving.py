"""Serves the queue over HTTP until it is told to stop, then ends in good order."""

import asyncio
import contextlib
import logging
import resource
import signal
import socket
from collections.abc import Callable, Iterator
from pathlib import Path

import uvicorn
from msgspec import Struct

from runwright.core.errors import Problem, UsageError
from runwright.engines.queue import Queue
from runwright.web.app import build_app
from runwright.web.connection import HEADER_BYTES, IDLE_SECONDS, MOST_CONNECTIONS, BoundedConnection
from runwright.web.limits import BodyLimits

GRACE_SECONDS = 15
"""How long requests that are under way when the server is told to stop may take."""

BACKLOG = 1_024
SPARE_FILES = 200
"""Files of a server that are no connections."""


class ServeOptions(Struct, frozen=True, kw_only=True):
    """Where and how to serve.

    Attributes:
        host: Name or address to listen at.
        port: 0 lets the system choose.
        tls_cert: File with the certificate chain; None for plain HTTP.
        tls_key: File with its key.
        limits: Largest bodies.
    """

    host: str = "127.0.0.1"
    port: int = 0
    tls_cert: Path | None = None
    tls_key: Path | None = None
    limits: BodyLimits = BodyLimits()


async def serve(queue: Queue, options: ServeOptions, on_ready: Callable[[str], None]) -> None:
    """Serve a queue until SIGTERM or SIGINT; the caller closes its store.

    Args:
        queue: What is served. It is looked after as long as this runs.
        options: Where and how.
        on_ready: Called with the address once requests are answered.

    Raises:
        UsageError: If it can't listen there, or a file of TLS can't be used.
        StoreError: If the store can't be reached at the start.
    """
    await queue.tokens.check()
    _allow_connections()
    listener = _listener(options)
    server = _Server(_config(queue, options))
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, server.stop, queue)
    care = asyncio.ensure_future(queue.run())
    try:
        server.when_ready = lambda: on_ready(_address(options, listener))
        await server.serve([listener])
    finally:
        queue.close()
        care.cancel()
        await asyncio.wait([care])
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.remove_signal_handler(number)


def _allow_connections() -> None:
    """Let this process have a file for each connection, as far as the system lets it."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = MOST_CONNECTIONS + SPARE_FILES
    if hard != resource.RLIM_INFINITY:
        wanted = min(wanted, hard)
    if soft != resource.RLIM_INFINITY and soft < wanted:
        resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))


class _Server(uvicorn.Server):
    """Uvicorn, but for signals: those are ours."""

    when_ready: Callable[[], None]

    def stop(self, queue: Queue) -> None:
        """End: nothing more is accepted, what waits for jobs is told that there are none; the second time at once."""
        self.force_exit = self.should_exit
        self.should_exit = True
        queue.close()

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        """Begin to answer, and tell."""
        await super().startup(sockets)
        self.when_ready()

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        """Leave signals alone."""
        yield


def _config(queue: Queue, options: ServeOptions) -> uvicorn.Config:
    logging.getLogger("uvicorn.error").disabled = True  # errors are reported by the application, once
    config = uvicorn.Config(
        build_app(queue, options.limits),
        loop="asyncio",
        http=BoundedConnection,
        ws="none",
        lifespan="off",
        log_config=None,
        access_log=False,
        proxy_headers=False,
        server_header=False,
        timeout_keep_alive=int(IDLE_SECONDS),
        timeout_graceful_shutdown=GRACE_SECONDS,
        h11_max_incomplete_event_size=HEADER_BYTES,
        ssl_certfile=options.tls_cert,
        ssl_keyfile=None if options.tls_key is None else str(options.tls_key),
    )
    try:
        config.load()
    except OSError as error:
        advice = "give --tls-cert a certificate chain in PEM, and --tls-key its key"
        message = f"can't use the certificate: {error}"
        raise UsageError((Problem(message=message, suggestion=advice),)) from None
    return config


def _listener(options: ServeOptions) -> socket.socket:
    try:
        found = socket.getaddrinfo(options.host, options.port, type=socket.SOCK_STREAM)
        family, kind, protocol, _, address = found[0]
        listener = socket.socket(family, kind, protocol)
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind(address)
        listener.listen(BACKLOG)
    except OSError as error:
        message = f"can't listen at {options.host}:{options.port}: {error.strerror or error}"
        raise UsageError((Problem(message=message, suggestion="give --listen another HOST:PORT"),)) from None
    return listener


def _address(options: ServeOptions, listener: socket.socket) -> str:
    scheme = "https" if options.tls_cert is not None else "http"
    host, port = listener.getsockname()[:2]
    host = f"[{host}]" if ":" in host else host
    return f"{scheme}://{host}:{port}"
