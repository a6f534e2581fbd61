"""The queue: what its server and callers in the same process share.

It decides with `core`, keeps everything in a `JobStore`, and holds nothing that matters: several may work on one store.
"""

import asyncio
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from typing import Any

from msgspec import Struct, structs

from runwright.core.errors import (
    ConflictError,
    JobNotFound,
    Problem,
    RunwrightError,
    StoreError,
    UsageError,
)
from runwright.core.job import Job
from runwright.core.job_mask import masked
from runwright.core.job_requests import (
    LARGEST_NUMBER,
    entry_problems,
    heartbeat_problems,
    job_numbers,
    message_text,
    settings_problems,
    settled_entry,
)
from runwright.core.job_rows import (
    Beat,
    Ended,
    Ending,
    JobAttempt,
    JobFilter,
    JobLease,
    JobRow,
    NewJob,
    QueueRow,
    QueueSettings,
    Verdict,
    WorkerRow,
)
from runwright.core.job_texts import no_entry_text
from runwright.core.job_wire import (
    DequeueRequest,
    ExecutionLogEntry,
    HeartbeatRequest,
    HeartbeatResponse,
    QueueJobIds,
    SubmitRequest,
)
from runwright.engines.hand_out import HandOut, refuse
from runwright.engines.job_logs import TAIL_BYTES, EntryView, JobLogs, News
from runwright.engines.queue_care import Care
from runwright.engines.steady import SteadyClock
from runwright.engines.submission import JobCheck, new_job, opened_job
from runwright.engines.token_book import TokenBook
from runwright.engines.worker_book import WorkerBook
from runwright.ports.jobs import GivenJob, JobStore
from runwright.ports.sealing import Sealer
from runwright.ports.system import Clock


class JobDetail(Struct, frozen=True, kw_only=True):
    """A job with its attempts and its document, whose secrets are masked."""

    row: JobRow
    attempts: list[JobAttempt]
    document: dict[str, Any]


class QueueOptions(Struct, frozen=True, kw_only=True):
    """How a queue is run.

    Attributes:
        lease_seconds: How long a lease holds after a heartbeat; half as long before the first.
        keep_days: How long jobs that have ended are kept; 0 for ever.
    """

    lease_seconds: float = 25.0
    keep_days: float = 30.0


def no_check(job: Job) -> tuple[Problem, ...]:
    """Find nothing wrong with a job."""
    return ()


async def change_queue(store: JobStore, name: str, changes: Mapping[str, Any]) -> QueueSettings:
    """Change how a queue is served, and return how that is now.

    Args:
        store: Where the queue is.
        name: Of the queue; it need not exist.
        changes: Fields of its `QueueSettings`; the others stay as they are.

    Raises:
        DefinitionError: If it can't have this name, or a bound is negative.
    """
    present = {row.settings.name: row.settings for row in await store.queues()}
    settings = structs.replace(present.get(name, QueueSettings(name=name)), **changes)
    refuse(settings_problems(settings))
    await store.set_queue(settings)
    return settings


class Queue:
    """Queues jobs, gives them to workers and takes what they say of them.

    Args:
        store: Where it all is.
        clock: Time.
        sealer: Encrypts jobs with secrets; without one they are refused.
        new_token: Returns a fresh random token for a lease.
        options: How it is run.
        check: Finds what is wrong with a job that is submitted.
        on_error: Told errors of the store that nobody else would learn of.
    """

    def __init__(
        self,
        store: JobStore,
        clock: Clock,
        sealer: Sealer | None,
        new_token: Callable[[], str],
        *,
        options: QueueOptions | None = None,
        check: JobCheck = no_check,
        on_error: Callable[[RunwrightError], None] = lambda error: None,
    ) -> None:
        self.options = options or QueueOptions()
        self.clock = SteadyClock(clock)
        self.store = store
        self.tokens = TokenBook(store, self.clock)
        self._sealer = sealer
        self._check = check
        self._on_error = on_error
        self._logs = JobLogs(store, self.clock)
        self._workers = WorkerBook(store, self.clock)
        self._hand_out = HandOut(
            store, self.clock, sealer, new_token, self.tokens, self.options.lease_seconds, on_error
        )
        self._care = Care(store, self.clock, self.options.keep_days, on_error)

    # -- users -------------------------------------------------------------------------------------------------

    async def submit(self, asks: Sequence[SubmitRequest]) -> list[int]:
        """Queue jobs, all or none, and return their ids; when this returns, they survive power loss.

        Raises:
            DefinitionError: With everything that is wrong with them.
        """
        return await self.enqueue([self.prepare(ask) for ask in asks])

    def prepare(self, ask: SubmitRequest) -> NewJob:
        """Return what is kept of a submission; for a large one this takes a while, and may be done in a thread.

        Raises:
            DefinitionError: With everything that is wrong with it.
        """
        return new_job(ask, self._check, self._sealer)

    async def enqueue(self, jobs: Sequence[NewJob]) -> list[int]:
        """Queue jobs that have been prepared, all or none, and return their ids."""
        return await self.store.submit(jobs, self.clock.now())

    async def show(self, job_id: int) -> JobDetail:
        """Return a job with its attempts and its document.

        Raises:
            JobNotFound: If there is none.
            ConflictError: If it was sealed with another key.
        """
        row = await self.store.job(job_id)
        attempts = await self.store.attempts(job_id)
        payload = await self.store.payload(job_id)
        try:
            job = opened_job(payload, self._sealer, is_sealed=row.sealed)
        except (StoreError, UsageError) as error:
            raise ConflictError(f"job {job_id} can't be shown: {error}") from None
        return JobDetail(row=row, attempts=attempts, document=masked(job))

    async def jobs(self, which: JobFilter) -> list[JobRow]:
        """Return jobs, newest first."""
        return await self.store.jobs(which)

    async def cancel(self, job_id: int, reason: str) -> JobRow:
        """Ask for a job to be stopped.

        Raises:
            JobNotFound: If there is none.
            JobHasEnded: If it has completed or failed.
        """
        row = await self.store.cancel(job_id, message_text(reason), self.clock.now())
        self._logs.stir(job_id)
        return row

    async def retry(self, job_id: int) -> JobRow:
        """Queue a job again that failed, was canceled or waits for its next attempt.

        Raises:
            JobNotFound: If there is none.
            JobHasEnded: If it is queued, processing or completed.
        """
        return await self.store.retry(job_id, self.clock.now())

    async def log(self, job_id: int, attempt: int | None = None, tail: int = TAIL_BYTES) -> list[EntryView]:
        """Return the log of an attempt: of the newest if it is None, of all if it is 0.

        Raises:
            JobNotFound: If there is no such job.
        """
        return await self._logs.read(job_id, attempt, tail)

    def follow(self, job_id: int, attempt: int | None = None) -> AsyncIterator[News]:
        """Yield a job's log as it grows, until the job has ended; `JobLogs.follow` says more."""
        return self._logs.follow(job_id, attempt)

    async def queues(self) -> list[QueueRow]:
        """Return every queue."""
        return await self.store.queues()

    async def set_queue(self, name: str, changes: Mapping[str, Any]) -> QueueSettings:
        """Change how a queue is served; `change_queue` says more."""
        return await change_queue(self.store, name, changes)

    async def workers(self) -> list[WorkerRow]:
        """Return every worker that was heard of."""
        return await self.store.workers()

    # -- workers -----------------------------------------------------------------------------------------------

    async def dequeue(self, ask: DequeueRequest, queue: str = "", token_id: int = 0) -> GivenJob | None:
        """Give a worker a job; `HandOut.dequeue` says more."""
        return await self._hand_out.dequeue(ask, queue, token_id)

    async def heartbeat(self, beat: HeartbeatRequest, queue: str = "") -> HeartbeatResponse:
        """Keep the leases of a worker, and tell it which of its jobs it holds and which it must stop.

        Args:
            beat: What the worker says.
            queue: Where its jobs are; empty if `beat` names the queues, and then ids come back as ``<id>-<queue>``.

        Raises:
            DefinitionError: With everything that is wrong with the request.
        """
        groups = (QueueJobIds(queue_name=queue, job_ids=beat.job_ids),) if queue else beat.job_ids_by_queue
        queues = (queue,) if queue else beat.queue_names
        refuse(heartbeat_problems(beat, groups, queues))
        answers = await asyncio.gather(*(self._beaten(beat, group) for group in groups if group.job_ids))
        await self._noted(beat, queues)
        form = "{}" if queue else "{}-{}"
        return HeartbeatResponse(
            known_ids=tuple(form.format(number, name) for name, known, _ in answers for number in known),
            cancel_ids=tuple(form.format(number, name) for name, _, cancel in answers for number in cancel),
        )

    async def _beaten(
        self, beat: HeartbeatRequest, group: QueueJobIds
    ) -> tuple[str, tuple[int, ...], tuple[int, ...]]:
        answer = await self.store.heartbeat(
            Beat(
                worker=beat.executor_name,
                boot_id=beat.boot_id,
                queue=group.queue_name,
                job_ids=job_numbers(group.job_ids),
                lease_seconds=self.options.lease_seconds,
            ),
            self.clock.now(),
        )
        return group.queue_name, answer.known, answer.cancel

    async def _noted(self, beat: HeartbeatRequest, queues: tuple[str, ...]) -> None:
        """Note what a worker says of itself; a heartbeat is good also if that can't be kept."""
        try:
            await self._workers.note(beat, queues)
        except StoreError as error:
            self._on_error(error)

    async def add_entry(self, lease: JobLease, entry: ExecutionLogEntry) -> int:
        """Begin an entry of a job's log; returns its number.

        Raises:
            DefinitionError: If something is wrong with it.
            LeaseLost: If the lease does not hold.
        """
        refuse(entry_problems(entry))
        number = await self.store.add_entry(lease, settled_entry(entry), self.clock.now())
        self._logs.stir(lease.job_id)
        return number

    async def update_entry(
        self, lease: JobLease, number: int, entry: ExecutionLogEntry, out_offset: int | None = None
    ) -> None:
        """Replace an entry of a job's log, or with an offset add to its output.

        Raises:
            DefinitionError: If something is wrong with it.
            LeaseLost: If the lease does not hold.
            JobNotFound: If there is no such entry.
            ConflictError: If bytes between are missing, or the output would grow above its limit.
        """
        refuse(entry_problems(entry, out_offset))
        if not 0 < number <= LARGEST_NUMBER:
            raise JobNotFound(no_entry_text(lease, number))
        await self.store.update_entry(lease, number, settled_entry(entry), out_offset, self.clock.now())
        self._logs.stir(lease.job_id)

    async def finish(self, lease: JobLease, verdict: Verdict, message: str = "") -> Ended:
        """Take a worker's last word on an attempt; the same word again is told apart, and changes nothing."""
        ending = Ending(lease=lease, verdict=verdict, message=message_text(message))
        (ended,), _ = await self.store.exchange([ending], None, self.clock.now())
        self._logs.stir(lease.job_id)
        return ended

    # -- life --------------------------------------------------------------------------------------------------

    async def run(self) -> None:
        """Look after the queue until cancelled: jobs become ready, leases lapse, old jobs are removed."""
        await self._care.run()

    def close(self) -> None:
        """End whatever waits for jobs or logs, with what there is; the store stays open."""
        self._hand_out.close()
        self._logs.close()
