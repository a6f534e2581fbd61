"""The queue's server and its store, put together."""

import os
import sys
from collections.abc import AsyncIterator, Callable
from contextlib import ExitStack, asynccontextmanager
from pathlib import Path

from msgspec import Struct

from runwright.adapters.project import state_location
from runwright.core.errors import Problem, RunwrightError, UsageError
from runwright.core.tokens import TOKEN_PREFIX
from runwright.ports.jobs import JobStore
from runwright.wiring.job_stores import open_job_store

TYPE_CHECKING = False
if TYPE_CHECKING:
    from runwright.engines.queue import Queue

KEY_FILE = "server.key"
LEASE_TOKEN_BYTES = 20
OWN_TOKEN_BYTES = 32


class Serving(Struct, frozen=True, kw_only=True):
    """How to serve.

    Attributes:
        store: URL or path of the store; None for the project's own.
        host: Where to listen.
        port: 0 lets the system choose.
        lease_seconds: How long a lease holds after a heartbeat.
        keep_days: How long jobs that have ended are kept; 0 for ever.
        key_file: Key with which jobs with secrets are sealed; None for the one beside the store.
        tls_cert: File with a certificate chain; None for plain HTTP.
        tls_key: File with its key.
        max_body: Size of the largest job, in bytes; None for the default.
    """

    store: str | None = None
    host: str = "127.0.0.1"
    port: int = 0
    lease_seconds: float = 25.0
    keep_days: float = 30.0
    key_file: Path | None = None
    tls_cert: Path | None = None
    tls_key: Path | None = None
    max_body: int | None = None


@asynccontextmanager
async def opened_jobs(store: str | None = None, *, only_reads: bool = False) -> AsyncIterator[JobStore]:
    """Open the job queue of a project for as long as the block runs.

    Args:
        store: As for `open_job_store`.
        only_reads: Nothing is made for it: in the place of a store that is not there, an empty one is opened.
    """
    with ExitStack() as held:
        where = state_location(store)
        if only_reads and not where.is_server and not where.database.exists():
            from tempfile import TemporaryDirectory

            store = f"{held.enter_context(TemporaryDirectory(prefix='runwright-'))}/none.db"
        jobs = open_job_store(store)
        try:
            yield jobs
        finally:
            await jobs.close()


def key_file(store: str | None) -> Path:
    """Return where the key is with which jobs of a store are sealed: beside it, or in the project for one elsewhere."""
    return state_location(store).work_dir.parent / KEY_FILE


def new_lease_token() -> str:
    """Return a fresh token of a lease."""
    return os.urandom(LEASE_TOKEN_BYTES).hex()


def new_token() -> str:
    """Return a fresh token for a worker or a user."""
    from base64 import urlsafe_b64encode

    return TOKEN_PREFIX + urlsafe_b64encode(os.urandom(OWN_TOKEN_BYTES)).decode("ascii").rstrip("=")


def make_queue(
    store: JobStore,
    key: Path,
    *,
    lease_seconds: float = 25.0,
    keep_days: float = 30.0,
    only_reads: bool = False,
) -> "Queue":
    """Return the queue on a store that is open; if it `only_reads`, a key that is not there is not made."""
    from runwright.adapters.clock import SystemClock
    from runwright.adapters.sealer import open_sealer
    from runwright.core.job_check import check_job
    from runwright.engines.queue import Queue, QueueOptions

    return Queue(
        store,
        SystemClock(),
        None if only_reads and not key.exists() else open_sealer(key),
        new_lease_token,
        options=QueueOptions(lease_seconds=lease_seconds, keep_days=keep_days),
        check=check_job,
        on_error=_tell,
    )


def _tell(error: RunwrightError) -> None:
    print(f"runwright: {error}", file=sys.stderr, flush=True)  # noqa: T201 - the server's log


async def serve_queue(how: Serving, on_ready: Callable[[str], None]) -> None:
    """Serve the queue of a store over HTTP until SIGTERM or SIGINT.

    Args:
        how: Where and how.
        on_ready: Called with the address once requests are answered.

    Raises:
        UsageError: If a library is missing, it can't listen there, or a file can't be used.
        StoreError: If the store can't be opened.
    """
    try:
        from runwright.web.limits import BodyLimits
        from runwright.web.serving import ServeOptions, serve
    except ImportError as error:
        message = f"what serves HTTP is not installed: {error.name} is missing"
        raise UsageError((Problem(message=message, suggestion="pip install 'runwright[server]'"),)) from None
    limits = BodyLimits() if how.max_body is None else BodyLimits(submit_bytes=how.max_body)
    options = ServeOptions(
        host=how.host, port=how.port, tls_cert=how.tls_cert, tls_key=how.tls_key, limits=limits
    )
    store = open_job_store(how.store)
    try:
        key = how.key_file or key_file(how.store)
        queue = make_queue(store, key, lease_seconds=how.lease_seconds, keep_days=how.keep_days)
        await serve(queue, options, on_ready)
    finally:
        await store.close()
