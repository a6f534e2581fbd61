"""A queue in memory, as a worker sees it."""

import asyncio
from collections.abc import Callable
from datetime import datetime

from msgspec import Struct, structs

from runwright.core.errors import ConflictError, JobNotFound, LeaseLost, RemoteError
from runwright.core.job import Job
from runwright.core.job_wire import (
    DequeueRequest,
    ExecutionLogEntry,
    HeartbeatRequest,
    HeartbeatResponse,
)
from runwright.ports.jobs import GivenJob
from runwright.ports.system import Clock


class MemoryJob:
    """A job of a `MemorySource`.

    Attributes:
        job: Its document.
        queue: Where it waits.
        attempt: Of the newest attempt; 0 before the first.
        lease_until: When its lease lapses, on the clock of the source; None if nobody has one.
        is_canceled: Somebody wants it stopped.
        verdict: ``completed``, ``errored`` or ``failed`` once it has one.
        message: What came with that.
        said: Every word that was accepted, in order: a verdict, or ``handed back``.
        log: Entries of the newest attempt.
    """

    def __init__(self, job: Job, queue: str, labels: tuple[str, ...]) -> None:
        self.job = job
        self.queue = queue
        self.labels = labels
        self.attempt = 0
        self.worker: tuple[str, str] = ("", "")
        self.lease_until: float | None = None
        self.is_canceled = False
        self.verdict = ""
        self.message = ""
        self.said: list[str] = []
        self.log: list[ExecutionLogEntry] = []


class SourceCall(Struct, frozen=True):
    """A call of a `MemorySource`: what was asked, and of which job (0 for none)."""

    name: str
    job_id: int = 0


class MemorySource:
    """Gives out jobs under leases, and takes what workers say of them.

    Several workers may share it: it tells them apart by what they say of themselves.

    Args:
        clock: Time.
        lease_seconds: How long a lease holds after a heartbeat; half as long before the first.
        trouble: Asked before each call; an error that it returns is raised in place of the answer.
        loss: Asked after each call; an error that it returns is raised although the call has done its work.

    Attributes:
        jobs: By id.
        calls: Every call, in order.
        beats: Every heartbeat that was answered.
    """

    def __init__(
        self,
        clock: Clock,
        lease_seconds: float = 24.0,
        trouble: Callable[[SourceCall], RemoteError | None] = lambda call: None,
        loss: Callable[[SourceCall], RemoteError | None] = lambda call: None,
    ) -> None:
        self.jobs: dict[int, MemoryJob] = {}
        self.calls: list[SourceCall] = []
        self.beats: list[HeartbeatRequest] = []
        self.trouble = trouble
        self.loss = loss
        self._clock = clock
        self._lease_seconds = lease_seconds
        self._added = asyncio.Event()

    def add(self, job: Job | None = None, queue: str = "q", labels: tuple[str, ...] = ()) -> int:
        """Queue a job; returns its id."""
        number = len(self.jobs) + 1
        self.jobs[number] = MemoryJob(structs.replace(job or Job(), id=number), queue, labels)
        self.ring()
        return number

    def cancel(self, job_id: int) -> None:
        """Ask for a job to be stopped."""
        self.jobs[job_id].is_canceled = True

    def ring(self) -> None:
        """Have those look again who wait for a job."""
        self._added.set()

    async def dequeue(self, ask: DequeueRequest) -> GivenJob | None:
        """Give out the oldest job that waits, or wait for one."""
        self._come(call := SourceCall("dequeue"))
        until = self._clock.monotonic() + ask.wait_seconds
        while (found := self._take(ask)) is None and (left := until - self._clock.monotonic()) > 0:
            try:
                async with asyncio.timeout(min(left, self._lease_seconds / 2)):
                    await self._added.wait()
            except TimeoutError:
                continue
        self._go(call)
        return found

    async def heartbeat(self, beat: HeartbeatRequest) -> HeartbeatResponse:
        """Keep leases, by worker and boot id."""
        self._come(call := SourceCall("heartbeat"))
        known, cancel = [], []
        for group in beat.job_ids_by_queue:
            for number in group.job_ids:
                job = self.jobs.get(int(number))
                if (
                    job is not None
                    and self._is_held(job)
                    and job.worker == (beat.executor_name, beat.boot_id)
                ):
                    job.lease_until = self._clock.monotonic() + self._lease_seconds
                    known.append(f"{number}-{group.queue_name}")
                    cancel += known[-1:] if job.is_canceled else []
        self._go(call)
        self.beats.append(beat)
        return HeartbeatResponse(known_ids=tuple(known), cancel_ids=tuple(cancel))

    async def add_entry(self, given: GivenJob, entry: ExecutionLogEntry) -> int:
        """Begin an entry; the same key and start time again are the same entry."""
        self._come(call := SourceCall("add_entry", given.job.id))
        log = self._held(given).log
        same = [number for number, old in enumerate(log, 1) if _name(old) == _name(entry)]
        if not same:
            log.append(entry)
        self._go(call)
        return same[0] if same else len(log)

    async def update_entry(
        self, given: GivenJob, entry_id: int, entry: ExecutionLogEntry, out_offset: int | None = None
    ) -> None:
        """Replace an entry, or with an offset add to its output."""
        self._come(call := SourceCall("update_entry", given.job.id))
        log = self._held(given).log
        if not 0 < entry_id <= len(log):
            raise JobNotFound(f"there is no entry {entry_id}")
        before = log[entry_id - 1].out.encode()
        if out_offset is not None:
            if out_offset > len(before):
                raise ConflictError(f"{len(before)} bytes are there, not {out_offset}")
            kept = before[:out_offset] + entry.out.encode()
            entry = structs.replace(entry, out=max(kept, before, key=len).decode())
        log[entry_id - 1] = entry
        self._go(call)

    async def complete(self, given: GivenJob) -> None:
        """End a job that has succeeded."""
        self._close(SourceCall("complete", given.job.id), given, "completed", "")

    async def errored(self, given: GivenJob, message: str, *, is_final: bool) -> None:
        """End a job that has failed."""
        call = SourceCall("errored", given.job.id)
        self._close(call, given, "failed" if is_final else "errored", message)

    async def hand_back(self, given: GivenJob, reason: str) -> None:
        """Queue a job again."""
        self._come(call := SourceCall("hand_back", given.job.id))
        job = self._held(given)
        job.lease_until = None
        job.said.append("handed back")
        job.message = reason
        self.ring()
        self._go(call)

    async def close(self) -> None:
        """Remember nothing of it: there is nothing to free."""

    def _take(self, ask: DequeueRequest) -> GivenJob | None:
        waiting = (job for job in self.jobs.values() if not job.verdict and not self._is_held(job))
        job = next(
            (job for job in waiting if job.queue in ask.queues and {*job.labels} <= {*ask.labels}), None
        )
        if job is None:
            self._added.clear()
            return None
        job.attempt += 1
        job.worker = (ask.executor_name, ask.boot_id)
        job.lease_until = self._clock.monotonic() + self._lease_seconds / 2
        job.log = []
        document = structs.replace(job.job, token=f"token-{job.job.id}-{job.attempt}", version=2)
        return GivenJob(
            job=document,
            queue=job.queue,
            attempt=job.attempt,
            lease_seconds=self._lease_seconds,
            labels=job.labels,
        )

    def _close(self, call: SourceCall, given: GivenJob, verdict: str, message: str) -> None:
        self._come(call)
        job = self.jobs[given.job.id]
        if job.attempt != given.attempt or job.verdict != verdict:  # else it is said again
            self._held(given)
            job.verdict, job.message, job.lease_until = verdict, message, None
            job.said.append(verdict)
        self._go(call)

    def _is_held(self, job: MemoryJob) -> bool:
        return job.lease_until is not None and self._clock.monotonic() < job.lease_until

    def _held(self, given: GivenJob) -> MemoryJob:
        job = self.jobs[given.job.id]
        if not self._is_held(job) or job.attempt != given.attempt:
            raise LeaseLost(f"unknown job {given.job.id}")
        return job

    def _come(self, call: SourceCall) -> None:
        self.calls.append(call)
        if error := self.trouble(call):
            raise error

    def _go(self, call: SourceCall) -> None:
        if error := self.loss(call):
            raise error


def _name(entry: ExecutionLogEntry) -> tuple[str, datetime | None]:
    return entry.key, entry.start_time
