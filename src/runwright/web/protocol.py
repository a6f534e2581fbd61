"""The workers' side: paths, bodies and statuses of the executor protocol."""

import asyncio
import json
from collections.abc import Coroutine
from typing import Any, TypeVar

from msgspec import structs
from starlette.requests import Request
from starlette.responses import Response

from runwright.core.job import Job, encode_job
from runwright.core.job_requests import document_version, job_numbers
from runwright.core.job_rows import Ended, Verdict
from runwright.core.job_wire import (
    AddExecutionLogEntryRequest,
    CanceledJobsRequest,
    DequeueRequest,
    HandBackRequest,
    HeartbeatRequest,
    HeartbeatResponse,
    MarkCompleteRequest,
    MarkErroredRequest,
    UpdateExecutionLogEntryRequest,
)
from runwright.engines.token_book import LeaseHolder
from runwright.ports.jobs import GivenJob
from runwright.web.auth import lease_for, unknown_job
from runwright.web.endpoint import Access, Call, Endpoint
from runwright.web.refusals import JSON, ClientGone, json_answer

T = TypeVar("T")

BASE = "/.executors"


async def ping(call: Call) -> Response:
    """Say that the token is good."""
    return Response(b"ok", media_type="text/plain")


async def dequeue(call: Call) -> Response:
    """Give a job of the queue that the path names."""
    return await _dequeued(call, call.path("queue"))


async def dequeue_any(call: Call) -> Response:
    """Give a job of one of the queues that the body names."""
    return await _dequeued(call, "")


async def _dequeued(call: Call, queue: str) -> Response:
    ask: DequeueRequest = call.body
    began = call.queue.clock.monotonic()
    asking = call.queue.dequeue(ask, queue, getattr(call.who, "id", 0))
    given = await (while_wanted(call.request, asking) if ask.wait_seconds > 0 else asking)
    if given is None:
        return Response(status_code=204)
    call.services.metrics.dequeued(call.queue.clock.monotonic() - began)
    return _job_answer(given, document_version(ask.version))


def _job_answer(given: GivenJob, version: int) -> Response:
    headers = {
        "Runwright-Attempt": str(given.attempt),
        "Runwright-Lease-Seconds": f"{given.lease_seconds:g}",
        "Runwright-Queue": given.queue,
        "Runwright-Labels": json.dumps(given.labels),  # in ASCII, as headers are
    }
    return Response(encode_job(given.job, version), 200, headers, JSON)


async def while_wanted(request: Request, work: Coroutine[Any, Any, T]) -> T:
    """Return what `work` returns; if the client goes away first, the work is cancelled.

    Raises:
        ClientGone: If it has.
    """
    task, gone = asyncio.ensure_future(work), asyncio.ensure_future(_disconnected(request))
    try:
        await asyncio.wait({task, gone}, return_when=asyncio.FIRST_COMPLETED)
        if task.done():
            return task.result()
        raise ClientGone
    finally:
        gone.cancel()
        if not task.done():
            task.cancel()
            await asyncio.wait({task})


async def _disconnected(request: Request) -> None:
    while (await request.receive())["type"] != "http.disconnect":
        pass


async def heartbeat(call: Call) -> Response:
    """Keep leases on jobs of one queue."""
    return json_answer(await call.queue.heartbeat(call.body, call.path("queue")))


async def heartbeat_any(call: Call) -> Response:
    """Keep leases on jobs of several queues."""
    return json_answer(await call.queue.heartbeat(call.body))


async def canceled(call: Call) -> Response:
    """Tell which jobs are to be stopped, as before heartbeats told; it keeps leases, too."""
    ask: CanceledJobsRequest = call.body
    beat = HeartbeatRequest(executor_name=ask.executor_name, job_ids=ask.known_job_ids)
    answer = await call.queue.heartbeat(beat, call.path("queue"))
    return json_answer(job_numbers(answer.cancel_ids))


async def add_entry(call: Call) -> Response:
    """Begin an entry of a job's log."""
    holder = await _holder(call)
    return json_answer(await call.queue.add_entry(holder.lease, call.body))


async def update_entry(call: Call) -> Response:
    """Replace an entry of a job's log, or add to its output."""
    holder = await _holder(call)
    body: UpdateExecutionLogEntryRequest = call.body
    await call.queue.update_entry(holder.lease, body.entry_id, body, body.out_offset)
    return Response(status_code=204)


async def complete(call: Call) -> Response:
    """Take it that a job has succeeded."""
    return await _finished(call, Verdict.COMPLETED, "")


async def errored(call: Call) -> Response:
    """Take it that a job has failed and may be tried again."""
    return await _finished(call, Verdict.ERRORED, call.body.error_message)


async def failed(call: Call) -> Response:
    """Take it that a job has failed for good."""
    return await _finished(call, Verdict.FAILED, call.body.error_message)


async def hand_back(call: Call) -> Response:
    """Take a job back that its worker will not finish."""
    return await _finished(call, Verdict.HANDED_BACK, call.body.reason)


async def _finished(call: Call, verdict: Verdict, message: str) -> Response:
    holder = await _holder(call)
    if await call.queue.finish(holder.lease, verdict, message) is Ended.REFUSED:
        raise unknown_job(holder.lease.job_id)
    return Response(status_code=204)


async def _holder(call: Call) -> LeaseHolder:
    assert call.who is not None
    body = call.body
    return await lease_for(call.queue, call.who, call.path("queue"), body.job_id, body.executor_name)


def _worker_route(path: str, handler: Any, summary: str, body: Any, answers: Any) -> Endpoint:
    return Endpoint(
        method="POST",
        path=BASE + path,
        access=Access.WORKER,
        handler=handler,
        summary=summary,
        body=body,
        answers=answers,
    )


def _job_route(name: str, handler: Any, summary: str, body: Any, answers: Any) -> Endpoint:
    route = _worker_route(f"/queue/{{queue}}/{name}", handler, summary, body, answers)
    return structs.replace(route, access=Access.LEASE, refusals=(404, 409, 413))


DONE = {204: ("It is done.", None)}
GIVEN = {200: ("A job.", Job), 204: ("There is none now.", None)}
KNOWN = {200: ("What the worker holds, and what it must stop.", HeartbeatResponse)}

ENDPOINTS = (
    Endpoint(
        method="GET",
        path=f"{BASE}/test/auth",
        access=Access.WORKER,
        handler=ping,
        summary="Say that a worker's token is good",
        answers={200: ("The text `ok`.", str)},
        media="text/plain",
    ),
    _worker_route("/queue/dequeue", dequeue_any, "Get a job of several queues", DequeueRequest, GIVEN),
    _worker_route("/queue/heartbeat", heartbeat_any, "Keep jobs of several queues", HeartbeatRequest, KNOWN),
    _worker_route("/queue/{queue}/dequeue", dequeue, "Get a job", DequeueRequest, GIVEN),
    _worker_route("/queue/{queue}/heartbeat", heartbeat, "Keep jobs", HeartbeatRequest, KNOWN),
    _worker_route(
        "/queue/{queue}/canceled",
        canceled,
        "Learn which jobs to stop, as early workers do",
        CanceledJobsRequest,
        {200: ("Numbers of jobs.", tuple[int, ...])},
    ),
    _job_route(
        "addExecutionLogEntry",
        add_entry,
        "Begin an entry of a job's log",
        AddExecutionLogEntryRequest,
        {200: ("Its number.", int)},
    ),
    _job_route(
        "updateExecutionLogEntry",
        update_entry,
        "Replace an entry of a job's log, or add to its output",
        UpdateExecutionLogEntryRequest,
        DONE,
    ),
    _job_route("markComplete", complete, "Say that a job has succeeded", MarkCompleteRequest, DONE),
    _job_route("markErrored", errored, "Say that a job has failed", MarkErroredRequest, DONE),
    _job_route("markFailed", failed, "Say that a job has failed for good", MarkErroredRequest, DONE),
    _job_route("handBack", hand_back, "Give a job back unfinished", HandBackRequest, DONE),
)
