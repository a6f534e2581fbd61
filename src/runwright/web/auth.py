"""Who asks: tokens of workers and users, and tokens of leases."""

from msgspec import Struct
from starlette.requests import Request

from runwright.core.job_rows import TokenRole, TokenRow
from runwright.core.job_wire import JobId
from runwright.engines.queue import Queue
from runwright.engines.token_book import LeaseHolder
from runwright.web.limits import WrongTokens
from runwright.web.refusals import Refusal

WORKER_SCHEME = "token-executor"
LEASE_SCHEME = "Bearer"


class Credentials(Struct, frozen=True):
    """What an ``Authorization`` header says."""

    scheme: str
    token: str


def credentials(request: Request) -> Credentials:
    """Return what a request shows.

    Raises:
        Refusal: 401 if that is nothing, or not a scheme and a token.
    """
    header = request.headers.get("authorization", "")
    parts = header.split(" ")
    if len(parts) != 2 or not all(parts):
        what = "has no scheme and token" if header else "is missing"
        raise _unauthorized(f"the Authorization header {what}; write: Authorization: SCHEME TOKEN")
    scheme, token = parts
    for known in (WORKER_SCHEME, LEASE_SCHEME):
        if scheme.lower() == known.lower():
            return Credentials(known, token)
    raise _unauthorized(f"unknown scheme; use {WORKER_SCHEME} or {LEASE_SCHEME}")


def _unauthorized(message: str) -> Refusal:
    return Refusal(401, message, {"WWW-Authenticate": LEASE_SCHEME})


class Gate:
    """Lets requests through.

    Args:
        queue: Knows the tokens.
        wrong: Counts wrong ones.
    """

    def __init__(self, queue: Queue, wrong: WrongTokens) -> None:
        self._queue = queue
        self.wrong = wrong

    async def worker(self, request: Request) -> TokenRow:
        """Return whose token a worker shows.

        Raises:
            Refusal: 401 if it is none, 403 if it is no worker's, 429 after too many wrong ones.
        """
        shown = credentials(request)
        if shown.scheme != WORKER_SCHEME:
            raise _unauthorized(f"show a worker's token: Authorization: {WORKER_SCHEME} TOKEN")
        return self._in_role(await self._owner(request, shown.token, 401), TokenRole.WORKER)

    async def admin(self, request: Request) -> TokenRow:
        """Return whose token a user shows.

        Raises:
            Refusal: As for a worker.
        """
        shown = credentials(request)
        if shown.scheme != LEASE_SCHEME:
            raise _unauthorized(f"show an admin's token: Authorization: {LEASE_SCHEME} TOKEN")
        return self._in_role(await self._owner(request, shown.token, 401), TokenRole.ADMIN)

    def _in_role(self, row: TokenRow, role: TokenRole) -> TokenRow:
        if row.role is not role:
            advice = f"make one with `runwright tokens create NAME --role {role.value}`"
            raise Refusal(403, f"this is the token of a {row.role.value}, not of a {role.value}; {advice}")
        return row

    async def holder(self, request: Request) -> LeaseHolder | TokenRow:
        """Return whose token is shown for a job: that of a lease, or as old workers do, of the worker.

        Raises:
            Refusal: 401 if it is unknown, 403 if it is another job's or a wrong worker's, 400 if headers are missing.
        """
        shown = credentials(request)
        if shown.scheme == WORKER_SCHEME:
            return self._in_role(await self._owner(request, shown.token, 403), TokenRole.WORKER)
        job_id, worker = _job_headers(request)
        holder = await self._holder(request, shown.token)
        if holder.lease.job_id != job_id or holder.queue != request.path_params["queue"]:
            raise Refusal(403, "invalid token: it is another job's")
        if holder.worker != worker:
            raise Refusal(403, "invalid token: it is another worker's")
        return holder

    async def _owner(self, request: Request, token: str, status: int) -> TokenRow:
        is_hot = self.wrong.wait_seconds(_address(request)) > 0
        row = await self._queue.tokens.owner(token, may_wait=not is_hot)
        if row is not None:
            return row
        self._count(request)
        if is_hot:
            raise _too_many()
        headers = {"WWW-Authenticate": LEASE_SCHEME} if status == 401 else None
        raise Refusal(status, "invalid token: it is unknown, or has been revoked", headers)

    async def _holder(self, request: Request, token: str) -> LeaseHolder:
        tokens = self._queue.tokens
        if (known := tokens.remembered(token)) is not None:
            return known
        if self.wrong.wait_seconds(_address(request)) and not self.wrong.may_look():
            self._count(request)
            raise _too_many()
        holder = await tokens.holder(token)
        if holder is None:
            self._count(request)
            raise _unauthorized("invalid token: it is no lease's")
        return holder

    def _count(self, request: Request) -> None:
        self.wrong.count(_address(request))


def _too_many() -> Refusal:
    """Refuse what is not known; whoever has a good token that was made just now is let in soon."""
    return Refusal(429, "too many wrong tokens; try again later", {"Retry-After": "1"})


def _address(request: Request) -> str:
    return request.client.host if request.client is not None else ""


def _job_headers(request: Request) -> tuple[int, str]:
    text = request.headers.get("x-sourcegraph-job-id", "")
    worker = request.headers.get("x-sourcegraph-executor-name", "")
    if not (text.isascii() and text.isdecimal() and len(text) < 20):
        raise Refusal(400, "the header X-Sourcegraph-Job-ID must be the job's number")
    if not worker:
        raise Refusal(400, "the header X-Sourcegraph-Executor-Name must name the worker")
    return int(text), worker


async def lease_for(
    queue: Queue, who: LeaseHolder | TokenRow, name: str, job_id: JobId, worker: str
) -> LeaseHolder:
    """Return the lease under which a request writes to a job.

    Args:
        queue: Knows the leases.
        who: Whose token was shown.
        name: Queue that the path names.
        job_id: Job that the body names.
        worker: Worker that the body names.

    Raises:
        Refusal: 403 if the token is another job's, 404 if its worker does not hold the job.
    """
    if isinstance(who, LeaseHolder):
        if who.lease.job_id != job_id:
            raise Refusal(403, f"invalid token: the body names job {job_id}, which is another job")
        if who.worker != worker:
            raise unknown_job(job_id)
        return who
    number = int(job_id)
    lease = await queue.store.lease_of(number, worker, who.id) if 0 < number < 2**63 else None
    if lease is None or (await queue.store.job(number)).queue != name:
        raise unknown_job(job_id)
    return LeaseHolder(lease, name, worker)


def unknown_job(job_id: JobId) -> Refusal:
    """Return what is said of a job that the one who asks does not hold."""
    return Refusal(404, f"unknown job {job_id}: its lease has ended, or was never yours")
