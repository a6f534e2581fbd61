"""A few workers and one job after another, for faults that are staged one by one."""

import asyncio
import json
import random
import time
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from pathlib import Path

import msgspec
from faulty_proxy import FaultyProxy, read_message
from msgspec import structs
from queue_chaos import seen
from queue_fleet import Fleet, Member, until
from queue_history import History

from runwright.adapters.clock import SystemClock
from runwright.adapters.http.connection import Server
from runwright.adapters.http.queue_api import HttpQueue
from runwright.core.job_rows import JobAttempt, JobRow
from runwright.core.job_wire import SubmitRequest
from runwright.core.states import JobState
from runwright.ports.jobs import JobStore
from runwright.wiring.job_stores import open_job_store

QUEUE = "q"
BODIES = {
    "addExecutionLogEntry": {"key": "stale"},
    "updateExecutionLogEntry": {"key": "stale", "entryId": 1, "out": "stdout: stale\n"},
    "markErrored": {"errorMessage": "stale"},
    "markFailed": {"errorMessage": "stale"},
    "handBack": {"reason": "stale"},
    "markComplete": {},
}
"""All that a worker can say of a job, with something to say."""


class Scene:
    """A server with a proxy before it, and workers.

    Args:
        fleet: Which; the server runs.
        proxy: Passes everything on, unless it is told otherwise.
        store: Of the server, beside it.
    """

    def __init__(self, fleet: Fleet, proxy: FaultyProxy, store: JobStore) -> None:
        self.fleet = fleet
        self.proxy = proxy
        self.store = store
        self.gate = fleet.folder / "open"
        self._jobs: list[int] = []

    def add_worker(self, name: str, *options: str) -> Member:
        """Start a worker."""
        worker = self.fleet.add_worker(name, self.proxy.port, [QUEUE], *options)
        worker.start()
        return worker

    async def submit(self) -> int:
        """Submit a job that waits until the gate is open, and then leaves its line; returns its id."""
        waits = f"until [ -e {self.gate} ]; do sleep 0.02; done"
        job = {"dockerSteps": [{"commands": [waits, f'echo "$PWD" >> {self.fleet.folder}/journal']}]}
        server = Server(url=f"http://127.0.0.1:{self.proxy.port}")
        queue = HttpQueue(server, self.fleet.admin, SystemClock(), random.random)
        try:
            ask = SubmitRequest(queue=QUEUE, job=msgspec.Raw(msgspec.json.encode(job)))
            self._jobs.append(await queue.submit(ask))
        finally:
            await queue.close()
        return self._jobs[-1]

    async def is_worked_on(self, job_id: int, attempt: int, worker: str = "") -> float:
        """Wait until a step of an attempt runs; returns how many seconds that took."""
        return await until(
            lambda: (job_id, attempt) in self.fleet.at_work(worker), f"attempt {attempt} runs at {worker}"
        )

    async def is_with_another(self, job_id: int, worker: str) -> float:
        """Wait until a step of a job runs at another worker; returns how many seconds that took."""
        others = [member.name for member in self.fleet.workers if member.name != worker]
        return await until(
            lambda: [one for other in others for one, _ in self.fleet.at_work(other) if one == job_id],
            f"job {job_id} runs at another worker than {worker}",
        )

    async def attempts_until(self, job_id: int, number: int, outcome: str) -> None:
        """Wait until an attempt has ended in some way."""
        deadline = time.monotonic() + 60
        while [a.outcome for a in await self.store.attempts(job_id)][number - 1 : number] != [outcome]:
            assert time.monotonic() < deadline, f"attempt {number} is not {outcome}"
            await asyncio.sleep(0.05)

    async def says(self, worker: str, job_id: int, attempt: int, route: str) -> int:
        """Say something of a job with the token of an attempt; returns the status of the answer."""
        body = json.dumps({"executorName": worker, "jobId": job_id, **BODIES[route]}).encode()
        lines = [
            f"POST /.executors/queue/{QUEUE}/{route} HTTP/1.1",
            f"Host: 127.0.0.1:{self.proxy.port}",
            f"Authorization: Bearer {self.proxy.token_of(job_id, attempt)}",
            f"X-Sourcegraph-Job-ID: {job_id}",
            f"X-Sourcegraph-Executor-Name: {worker}",
            "Content-Type: application/json",
            f"Content-Length: {len(body)}",
        ]
        reader, writer = await asyncio.open_connection("127.0.0.1", self.proxy.port)
        writer.write("\r\n".join([*lines, "", ""]).encode() + body)
        answer = await read_message(reader)
        writer.close()
        return int(answer.first_line[1])

    async def record(self, job_id: int) -> tuple[JobRow, Sequence[JobAttempt], Sequence[object]]:
        """Return what the store holds of a job, without what each heartbeat changes."""
        row = structs.replace(await self.store.job(job_id), heartbeat_at=None, lease_until=None)
        return row, await self.store.attempts(job_id), await self.store.entries(job_id)

    async def end(self) -> History:
        """Let all jobs and processes end; returns what was seen."""
        self.gate.touch()
        deadline = time.monotonic() + 60
        while not all([(await self.store.job(job_id)).has_ended for job_id in self._jobs]):
            assert time.monotonic() < deadline, "a job does not end"
            await asyncio.sleep(0.05)
        for member in (*self.fleet.workers, self.fleet.server):
            assert await member.end() == 0
        await until(lambda: not self.fleet.left_behind(), "nothing is left behind", 10.0)
        completed = frozenset({JobState.COMPLETED})
        return await seen(self.fleet, self.store, self.proxy, dict.fromkeys(self._jobs, completed))


@asynccontextmanager
async def staged(
    folder: Path, store: str, *, networks: Sequence[str] = (), **protections: bool
) -> AsyncIterator[Scene]:
    """Set a scene, and clear it away at the end.

    Args:
        folder: For everything.
        store: URL of the store.
        networks: Workers that are to have one of their own.
        protections: As of `Fleet`.
    """
    fleet = Fleet(folder, store, **protections)
    proxy = FaultyProxy(fleet.port, random.Random(0))
    opened = open_job_store(store)
    try:
        for name in networks:
            fleet.plug(name)
        await proxy.start(["127.0.0.1", *(network.host for network in fleet.networks.values())])
        await fleet.serve()
        yield Scene(fleet, proxy, opened)
    finally:
        fleet.close()
        await proxy.close()
        await opened.close()
