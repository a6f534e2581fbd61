"""Heartbeats go on while the loop of the jobs is blocked, and what can't be stopped otherwise ends with the process."""

import asyncio
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec
import pytest
from served_queue import QueueServer, own_environment, wait_for

from runwright.adapters.clock import AwakeClock, SystemClock
from runwright.adapters.http.connection import Server
from runwright.adapters.http.job_source import HttpJobSource
from runwright.adapters.http.queue_api import HttpQueue
from runwright.adapters.side_loop import ThreadLoop
from runwright.core.job_rows import Verdict
from runwright.core.job_wire import HeartbeatRequest, SubmitRequest
from runwright.engines.job_run import JobEnd
from runwright.engines.worker import Worker, WorkerDoors, WorkerSettings
from runwright.ports.jobs import GivenJob, JobSource
from runwright.ports.system import SideLoop
from runwright.testing import SameLoop

LEASE = 1.5
JOB = msgspec.Raw(b'{"version": 2, "dockerSteps": [{"commands": ["true"]}]}')


@pytest.fixture
def server(tmp_path: Path) -> Iterator[QueueServer]:
    with QueueServer(tmp_path, "--lease", f"{LEASE}s") as running:
        yield running


async def block(given: GivenJob, source: JobSource) -> JobEnd:
    """Hold up the loop for three leases, as a careless extension would."""
    if given.attempt == 1:
        time.sleep(3 * LEASE)  # noqa: ASYNC251 - that is the fault
    return JobEnd(Verdict.COMPLETED)


async def worked(server: QueueServer, beside: SideLoop) -> dict[str, Any]:
    """Return a job after a worker whose loop it blocks."""
    where = Server(url=server.url)

    def source() -> HttpJobSource:
        return HttpJobSource(where, server.worker_token, "w", ("q",))

    doors = WorkerDoors(
        source=source(),
        open_pulse=source,
        beside=beside,
        clock=AwakeClock(),
        draw=lambda: 0.5,
        run=block,
        kill=lambda group: None,
        note=lambda jobs: None,
        say=print,
        abandon=lambda reason: None,
    )
    about = HeartbeatRequest(executor_name="w", boot_id="b")
    worker = Worker(WorkerSettings(queues=("q",), about=about, wait=0.5, poll=0.1), doors)
    api = HttpQueue(where, server.admin_token, SystemClock(), lambda: 0.5)
    number = await api.submit(SubmitRequest(queue="q", job=JOB))
    working = asyncio.create_task(worker.run())
    try:
        async with asyncio.timeout(60):
            while (job := await api.job(number))["state"] != "completed":  # noqa: ASYNC110 - a server is asked
                await asyncio.sleep(0.1)
        worker.stop("the test is over")
        await working
    finally:
        await api.close()
    return dict(job)


def test_a_job_keeps_its_lease_while_it_blocks_the_loop(server: QueueServer) -> None:
    job = asyncio.run(worked(server, ThreadLoop()))
    assert (job["attempt"], job["resets"]) == (1, 0)


def test_with_heartbeats_from_the_same_loop_it_would_lose_it(server: QueueServer) -> None:
    job = asyncio.run(worked(server, SameLoop()))
    assert job["attempt"] > 1


BLOCKED = """
import asyncio, os, sys, time
from runwright.adapters.clock import AwakeClock
from runwright.adapters.http.connection import Server
from runwright.adapters.http.job_source import HttpJobSource
from runwright.adapters.side_loop import ThreadLoop
from runwright.core.job_wire import HeartbeatRequest
from runwright.engines.worker import Worker, WorkerDoors, WorkerSettings
from runwright.wiring.worker import abandon

url, token = sys.argv[1:]
source = lambda: HttpJobSource(Server(url=url), token, "w", ("q",))

async def block(given, source):
    print("blocked", flush=True)
    time.sleep(600)

async def main():
    doors = WorkerDoors(
        source=source(), open_pulse=source, beside=ThreadLoop(), clock=AwakeClock(), draw=lambda: 0.5, run=block,
        kill=print, note=lambda jobs: None, say=print, abandon=abandon,
    )
    about = HeartbeatRequest(executor_name="w", boot_id="b")
    await Worker(WorkerSettings(queues=("q",), about=about, wait=0.5, poll=0.1), doors).run()

asyncio.run(main())
"""


def test_a_blocked_worker_that_can_not_renew_its_leases_ends_itself(
    server: QueueServer, tmp_path: Path
) -> None:
    async def submit() -> None:
        api = HttpQueue(Server(url=server.url), server.admin_token, SystemClock(), lambda: 0.5)
        await api.submit(SubmitRequest(queue="q", job=JOB))
        await api.close()

    asyncio.run(submit())
    with (tmp_path / "out").open("wb") as out:
        worker = subprocess.Popen(
            [sys.executable, "-c", BLOCKED, server.url, server.worker_token],
            env=own_environment(),
            stdout=out,
            stderr=out,
        )
    try:
        wait_for(lambda: b"blocked" in (tmp_path / "out").read_bytes(), "the job blocks its worker")
        os.kill(server.pid, signal.SIGSTOP)
        begun = time.monotonic()
        assert worker.wait(30) == -signal.SIGKILL
        assert time.monotonic() - begun < LEASE + 2.5
        assert b"can't be stopped before its lease ends" in (tmp_path / "out").read_bytes()
    finally:
        os.kill(server.pid, signal.SIGCONT)
        worker.kill()
        worker.wait()
