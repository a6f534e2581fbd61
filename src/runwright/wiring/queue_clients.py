"""Clients of a job queue: over HTTP, or on its store where that can be reached."""

import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

from runwright.core.errors import Problem, UsageError
from runwright.ports.queue_client import JobQueueClient

SERVER, TOKEN_FILE = "RUNWRIGHT_SERVER", "RUNWRIGHT_TOKEN_FILE"
MOST_TOKEN_BYTES = 4096


def read_token(path: Path) -> str:
    """Return the token in a file: its last line that is not empty.

    Raises:
        UsageError: If the file can't be read, or holds none.
    """
    try:
        with path.open("rb") as file:
            text = file.read(MOST_TOKEN_BYTES).decode()
    except (OSError, UnicodeDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else "it is no text"
        advice = "write what `runwright tokens create` prints into it"
        message = f"the token can't be read from {path}: {reason}"
        raise UsageError((Problem(message=message, suggestion=advice),)) from None
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    if not lines or not lines[-1].isascii() or " " in lines[-1]:
        message = f"there is no token in {path}"
        raise UsageError((Problem(message=message, suggestion="put the token on a line of its own"),))
    return lines[-1]


def connect(server: str, token_file: str, base: Path | None = None, ca_file: str = "") -> JobQueueClient:
    """Return a client of a server; the caller closes it.

    Args:
        server: Its address; empty for what the environment says.
        token_file: File with a token of role admin, relative to `base`; empty for what the environment says.
        base: Directory; the current one if it is None.
        ca_file: File with certificates to trust; empty for the system's alone.

    Raises:
        UsageError: If the address is wrong, the token can't be read, or the extra is not installed.
    """
    try:
        from runwright.adapters.http.connection import Server
        from runwright.adapters.http.queue_api import HttpQueue
    except ImportError as error:
        message = f"what speaks HTTP is not installed: {error.name} is missing"
        raise UsageError((Problem(message=message, suggestion="pip install 'runwright[worker]'"),)) from None
    from runwright.adapters.clock import SystemClock
    from runwright.adapters.ids import draw

    file = token_file or os.environ.get(TOKEN_FILE, "")
    if not file:
        advice = f"create one with `runwright tokens create NAME --role admin`, and name its file or set {TOKEN_FILE}"
        raise UsageError((Problem(message="a server needs a token", suggestion=advice),))
    token = read_token((base or Path.cwd()) / file)
    address = Server(url=server or os.environ.get(SERVER, ""), ca_file=Path(ca_file) if ca_file else None)
    return HttpQueue(address, token, SystemClock(), draw)


@asynccontextmanager
async def opened_queue(
    server: str, token_file: str, ca_file: str, store: str | None, *, only_reads: bool = False
) -> AsyncIterator[JobQueueClient]:
    """Open a queue: over HTTP if a server is named, here or in the environment, else on its store.

    Args:
        server: Address of the server; empty for what the environment says.
        token_file: File with a token for it.
        ca_file: File with certificates to trust.
        store: URL or path of the store, which wins over the environment; None for the project's own.
        only_reads: Nothing is written: a queue that is not there is an empty one.
    """
    if server or (store is None and os.environ.get(SERVER)):
        client = connect(server, token_file, None, ca_file)
        try:
            yield client
        finally:
            await client.close()
        return
    from runwright.engines.local_queue import LocalQueue
    from runwright.wiring.server import key_file, make_queue, opened_jobs

    async with opened_jobs(store, only_reads=only_reads) as jobs:
        queue = make_queue(jobs, key_file(store), only_reads=only_reads)
        try:
            yield LocalQueue(queue)
        finally:
            queue.close()
