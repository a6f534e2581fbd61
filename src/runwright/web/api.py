"""The users' side: submit jobs, look at them, steer them."""

import asyncio
from collections.abc import AsyncIterator, Sequence
from datetime import datetime
from typing import Annotated, Any

import msgspec
from msgspec import UNSET, Meta, Struct, UnsetType, structs
from starlette.responses import Response, StreamingResponse

from runwright.core.errors import JobNotFound
from runwright.core.job_requests import LARGEST_ID
from runwright.core.job_rows import JobAttempt, JobFilter, JobRow, QueueRow, QueueSettings, WorkerRow
from runwright.core.job_wire import SubmitRequest
from runwright.core.states import JobState
from runwright.engines.job_logs import LOG_BYTES, TAIL_BYTES, EntryView, News
from runwright.web.endpoint import Access, Call, Endpoint
from runwright.web.limits import LARGE_BYTES
from runwright.web.metrics import CONTENT_TYPE
from runwright.web.refusals import Refusal, json_answer

MOST_FOLLOWERS = 200
"""Logs that are followed at a time."""

MOST_LISTED = 1_000
"""Jobs in one answer."""


class Submitted(Struct, frozen=True):
    """The id of a job that was submitted."""

    id: int


class JobView(JobRow, frozen=True, kw_only=True):
    """A job with its attempts and its document.

    Attributes:
        attempts: Oldest first.
        job: The document, version 2, with secrets masked.
    """

    attempts: Sequence[JobAttempt]
    job: dict[str, Any]


class JobList(Struct, frozen=True):
    """Jobs, newest first."""

    jobs: Sequence[JobRow]


class ListQuery(Struct, frozen=True, kw_only=True):
    """Which jobs to list; `below` is the id after which the next page begins, `idempotency_key` names one job at most."""

    queue: str = ""
    state: JobState | None = None
    key: str = ""
    worker: str = ""
    idempotency_key: str = ""
    below: Annotated[int, Meta(ge=0, le=LARGEST_ID)] = 0
    limit: Annotated[int, Meta(ge=1, le=MOST_LISTED)] = 100


class LogQuery(Struct, frozen=True, kw_only=True):
    """Which part of a log: `attempt` is a number, `all`, or empty for the newest; `tail` is bytes of each entry."""

    attempt: Annotated[str, Meta(pattern="^(all|[1-9][0-9]{0,8})?$")] = ""
    tail: Annotated[int, Meta(ge=0, le=LOG_BYTES)] = TAIL_BYTES
    follow: bool = False


class LogAnswer(Struct, frozen=True):
    """The entries of a log."""

    entries: Sequence[EntryView]


class CancelRequest(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Why a job is to be stopped."""

    reason: str = ""


class QueueView(Struct, frozen=True, kw_only=True):
    """A queue: how it is served, and what is in it."""

    name: str
    paused: bool
    limit: int
    key_limit: int
    max_resets: int
    counts: dict[str, int]
    oldest_at: datetime | None


class QueueList(Struct, frozen=True):
    """Every queue, by name."""

    queues: Sequence[QueueView]


class QueueChange(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """How a queue is to be served; what is left out stays as it is."""

    paused: bool | UnsetType = UNSET
    limit: int | UnsetType = UNSET
    key_limit: int | UnsetType = UNSET
    max_resets: int | UnsetType = UNSET


class WorkerView(Struct, frozen=True, kw_only=True):
    """A worker, as it last said of itself."""

    name: str
    queues: Sequence[str]
    labels: Sequence[str]
    slots: int
    leases: int
    draining: bool
    os: str
    architecture: str
    versions: dict[str, str]
    first_seen_at: datetime | None
    last_seen_at: datetime | None


class WorkerList(Struct, frozen=True):
    """Every worker that was heard of, by name."""

    workers: Sequence[WorkerView]


class Health(Struct, frozen=True):
    """The server works, and reaches its store."""

    status: str = "ok"


async def submit(call: Call) -> Response:
    """Queue a job."""
    ask: SubmitRequest = call.body
    if len(ask.job) <= LARGE_BYTES:
        (job_id,) = await call.queue.submit([ask])
    else:
        async with call.services.bodies.large:
            job = await asyncio.to_thread(call.queue.prepare, ask)
            (job_id,) = await call.queue.enqueue([job])
    return json_answer(Submitted(job_id), 201, {"Location": f"/api/jobs/{job_id}"})


async def list_jobs(call: Call) -> Response:
    """List jobs."""
    query: ListQuery = call.query
    return json_answer(JobList(await call.queue.jobs(JobFilter(**structs.asdict(query)))))


async def show(call: Call) -> Response:
    """Show a job."""
    found = await call.queue.show(_job_id(call))
    view = JobView(**structs.asdict(found.row), attempts=found.attempts, job=found.document)
    return json_answer(view)


async def logs(call: Call) -> Response:
    """Show the log of a job, or follow it."""
    query: LogQuery = call.query
    attempt = {"": None, "all": 0}[query.attempt] if query.attempt in ("", "all") else int(query.attempt)
    job_id = _job_id(call)
    if query.follow:
        await call.queue.store.job(job_id)
        return _followed(call, call.queue.follow(job_id, attempt))
    return json_answer(LogAnswer(await call.queue.log(job_id, attempt, query.tail)))


def _followed(call: Call, news: AsyncIterator[News]) -> Response:
    followers = call.services.followers
    if len(followers) >= MOST_FOLLOWERS:
        raise Refusal(503, f"{MOST_FOLLOWERS} logs are followed already; try again", {"Retry-After": "10"})

    async def lines() -> AsyncIterator[bytes]:
        mark = object()
        followers.add(mark)
        try:
            async for one in news:
                yield msgspec.json.encode(one) + b"\n"
        finally:
            followers.discard(mark)

    return StreamingResponse(lines(), media_type="application/x-ndjson")


async def cancel(call: Call) -> Response:
    """Ask for a job to be stopped."""
    reason = call.body.reason if call.body is not None else ""
    name = getattr(call.who, "name", "")
    return json_answer(await call.queue.cancel(_job_id(call), reason or f"canceled by {name}"))


async def retry(call: Call) -> Response:
    """Queue a job again."""
    return json_answer(await call.queue.retry(_job_id(call)))


async def list_queues(call: Call) -> Response:
    """List queues."""
    return json_answer(QueueList([_queue_view(row) for row in await call.queue.queues()]))


async def set_queue(call: Call) -> Response:
    """Change how a queue is served."""
    change: QueueChange = call.body
    given = {name: value for name, value in structs.asdict(change).items() if value is not UNSET}
    return json_answer(await call.queue.set_queue(call.path("queue"), given))


async def list_workers(call: Call) -> Response:
    """List workers."""
    return json_answer(WorkerList([_worker_view(row) for row in await call.queue.workers()]))


async def health(call: Call) -> Response:
    """Say that the server works."""
    await call.queue.tokens.check()
    return json_answer(Health())


async def metrics(call: Call) -> Response:
    """Tell the metrics."""
    return Response(await call.services.metrics.text(), media_type=CONTENT_TYPE)


async def description(call: Call) -> Response:
    """Tell what can be asked for."""
    return Response(call.services.description, media_type="application/json")


def _job_id(call: Call) -> int:
    text = call.path("id")
    number = int(text) if text.isascii() and text.isdecimal() and len(text) < 20 else 0
    if not 0 < number <= LARGEST_ID:
        raise JobNotFound(f"there is no job {text[:100]}")
    return number


def _queue_view(row: QueueRow) -> QueueView:
    counts = {state.value: count for state, count in row.counts.items()}
    return QueueView(**structs.asdict(row.settings), counts=counts, oldest_at=row.oldest_at)


def _worker_view(row: WorkerRow) -> WorkerView:
    return WorkerView(**{name: getattr(row, name) for name in WorkerView.__struct_fields__})


def _admin(
    method: str, path: str, handler: Any, summary: str, answers: dict[int, tuple[str, Any]], **more: Any
) -> Endpoint:
    return Endpoint(
        method=method,
        path=f"/api{path}",
        access=Access.ADMIN,
        handler=handler,
        summary=summary,
        answers=answers,
        **more,
    )


def _open(path: str, handler: Any, summary: str, kind: Any, media: str = "application/json") -> Endpoint:
    return Endpoint(
        method="GET",
        path=path,
        access=Access.OPEN,
        handler=handler,
        summary=summary,
        answers={200: ("What was asked for.", kind)},
        media=media,
    )


THE_JOB = {200: ("The job.", JobRow)}

ENDPOINTS = (
    _admin(
        "POST",
        "/jobs",
        submit,
        "Submit a job",
        {201: ("Its id.", Submitted)},
        body=SubmitRequest,
        is_submit=True,
    ),
    _admin("GET", "/jobs", list_jobs, "List jobs", {200: ("Jobs.", JobList)}, query=ListQuery),
    _admin("GET", "/jobs/{id}", show, "Show a job", {200: ("The job.", JobView)}, refusals=(404, 409)),
    _admin(
        "GET",
        "/jobs/{id}/logs",
        logs,
        "Show the log of a job, or follow it",
        {200: ("The log; if it is followed, lines of JSON until the job has ended.", LogAnswer)},
        query=LogQuery,
        refusals=(404,),
    ),
    _admin(
        "POST",
        "/jobs/{id}/cancel",
        cancel,
        "Ask for a job to be stopped",
        THE_JOB,
        body=CancelRequest,
        body_optional=True,
        refusals=(404, 409),
    ),
    _admin("POST", "/jobs/{id}/retry", retry, "Queue a job again", THE_JOB, refusals=(404, 409)),
    _admin("GET", "/queues", list_queues, "List queues", {200: ("Queues.", QueueList)}),
    _admin(
        "PUT",
        "/queues/{queue}",
        set_queue,
        "Change how a queue is served",
        {200: ("How it is served now.", QueueSettings)},
        body=QueueChange,
    ),
    _admin("GET", "/workers", list_workers, "List workers", {200: ("Workers.", WorkerList)}),
    _open("/healthz", health, "Tell whether the server works", Health),
    _open("/metrics", metrics, "Tell the metrics, in the text format of Prometheus", str, "text/plain"),
    _open("/openapi.json", description, "Tell what can be asked for", dict),
)
