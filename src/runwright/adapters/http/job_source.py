"""The queue as a worker sees it, over HTTP."""

from typing import Any, TypeVar

import httpx2
import msgspec
from msgspec import structs

from runwright.adapters.http.connection import Connection, Server, failure_of, message_of
from runwright.core.errors import LeaseLost, RemoteError
from runwright.core.job import decode_job
from runwright.core.job_wire import (
    AddExecutionLogEntryRequest,
    DequeueRequest,
    ExecutionLogEntry,
    HandBackRequest,
    HeartbeatRequest,
    HeartbeatResponse,
    MarkCompleteRequest,
    MarkErroredRequest,
    UpdateExecutionLogEntryRequest,
)
from runwright.ports.jobs import GivenJob

T = TypeVar("T")

BASE = "/.executors"
PASSED_ON = frozenset({401, 403, 404, 409})
"""Statuses of the routes of a job which say that its lease is not this worker's any more."""


class _Known(msgspec.Struct, rename="camel"):
    """An answer to a heartbeat as other servers may write it: lists may be null, ids numbers."""

    known_ids: tuple[int | str, ...] | None = None
    cancel_ids: tuple[int | str, ...] | None = None


class HttpJobSource:
    """Speaks the executor protocol; belongs to one event loop.

    Args:
        server: Which server.
        token: Of the worker.
        name: Of the worker.
        queues: Which queues; the paths of the protocol are others for one than for several.
    """

    def __init__(self, server: Server, token: str, name: str, queues: tuple[str, ...]) -> None:
        self._connection = Connection(server, f"token-executor {token}")
        self._token = token
        self._name = name
        self._queues = queues
        self._prefix = f"{BASE}/queue/{queues[0]}" if len(queues) == 1 else f"{BASE}/queue"

    async def check(self) -> None:
        """Find out whether the server takes the token.

        Raises:
            Refused: If it does not.
            RemoteError: If it can't be reached.
        """
        response = await self._connection.send("GET", f"{BASE}/test/auth")
        if response.status_code != 200:
            raise failure_of(response)

    async def dequeue(self, ask: DequeueRequest) -> GivenJob | None:
        """Ask for a job; None if none came in the time that `ask` allows."""
        response = await self._connection.post(f"{self._prefix}/dequeue", ask, wait=ask.wait_seconds)
        if response.status_code == 204:
            return None
        if response.status_code != 200:
            raise failure_of(response)
        return self._given(response)

    def _given(self, response: httpx2.Response) -> GivenJob:
        try:
            job = decode_job(msgspec.json.decode(response.content, type=dict[str, Any]))
            about = response.headers
            return GivenJob(
                job=job,
                queue=about.get("Runwright-Queue") or job.queue or self._queues[0],
                attempt=int(about.get("Runwright-Attempt", "1")),
                lease_seconds=float(about.get("Runwright-Lease-Seconds", "25")),
                labels=msgspec.json.decode(about.get("Runwright-Labels", "[]"), type=tuple[str, ...]),
            )
        except (msgspec.DecodeError, ValueError) as error:
            raise RemoteError(f"the server gave a job that can't be read: {error}") from None

    async def heartbeat(self, beat: HeartbeatRequest) -> HeartbeatResponse:
        """Say what the worker is at; ids come back as ``<id>-<queue>``, however the server writes them."""
        response = await self._connection.post(f"{self._prefix}/heartbeat", self._form(beat))
        if response.status_code != 200:
            raise failure_of(response)
        found = _read(response, _Known)
        return HeartbeatResponse(
            known_ids=tuple(self._uid(each) for each in found.known_ids or ()),
            cancel_ids=tuple(self._uid(each) for each in found.cancel_ids or ()),
        )

    def _form(self, beat: HeartbeatRequest) -> HeartbeatRequest:
        """Return a heartbeat as the path wants it: with one queue, its jobs stand alone."""
        if len(self._queues) > 1:
            return beat
        ids = tuple(number for group in beat.job_ids_by_queue for number in group.job_ids)
        return structs.replace(beat, version="V2", job_ids=ids, queue_names=(), job_ids_by_queue=())

    def _uid(self, wire_id: int | str) -> str:
        return f"{wire_id}-{self._queues[0]}" if len(self._queues) == 1 else str(wire_id)

    async def add_entry(self, given: GivenJob, entry: ExecutionLogEntry) -> int:
        """Begin an entry of the job's log; returns its id."""
        body = AddExecutionLogEntryRequest(
            **structs.asdict(entry), executor_name=self._name, job_id=given.job.id
        )
        response = await self._tell(given, "addExecutionLogEntry", body)
        return _read(response, int)

    async def update_entry(
        self, given: GivenJob, entry_id: int, entry: ExecutionLogEntry, out_offset: int | None = None
    ) -> None:
        """Replace an entry, or with an offset add to its output."""
        body = UpdateExecutionLogEntryRequest(
            **structs.asdict(entry),
            executor_name=self._name,
            job_id=given.job.id,
            entry_id=entry_id,
            out_offset=out_offset,
        )
        await self._tell(given, "updateExecutionLogEntry", body)

    async def complete(self, given: GivenJob) -> None:
        """Say that the job has succeeded."""
        body = MarkCompleteRequest(executor_name=self._name, job_id=given.job.id)
        await self._tell(given, "markComplete", body)

    async def errored(self, given: GivenJob, message: str, *, is_final: bool) -> None:
        """Say that the job has failed; if `is_final` it is not tried again."""
        body = MarkErroredRequest(executor_name=self._name, job_id=given.job.id, error_message=message)
        await self._tell(given, "markFailed" if is_final else "markErrored", body)

    async def hand_back(self, given: GivenJob, reason: str) -> None:
        """Give the job back, unfinished."""
        body = HandBackRequest(executor_name=self._name, job_id=given.job.id, reason=reason)
        await self._tell(given, "handBack", body)

    async def close(self) -> None:
        """Free the connections; safe to call twice."""
        await self._connection.close()

    async def _tell(self, given: GivenJob, what: str, body: Any) -> httpx2.Response:
        """Write to a job under its lease; a server that gave no token for it knows the worker's own."""
        headers = {
            "X-Sourcegraph-Job-ID": str(given.job.id),
            "X-Sourcegraph-Executor-Name": self._name,
            "Authorization": f"Bearer {given.job.token}"
            if given.job.token
            else f"token-executor {self._token}",
        }
        response = await self._connection.post(f"{BASE}/queue/{given.queue}/{what}", body, headers)
        if response.status_code in PASSED_ON:
            raise LeaseLost(message_of(response))
        if response.status_code not in {200, 204}:
            raise failure_of(response)
        return response


def _read(response: httpx2.Response, kind: type[T]) -> T:
    try:
        return msgspec.json.decode(response.content, type=kind)
    except msgspec.DecodeError as error:
        raise RemoteError(f"the server's answer can't be read: {error}") from None
