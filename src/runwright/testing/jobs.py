"""A `JobStore` in memory: the fake for tests, and the model that the stores on disk are compared with."""

import asyncio
from collections import Counter
from collections.abc import Iterator, Sequence
from datetime import datetime, timedelta

from msgspec import structs

from runwright.core.errors import JobHasEnded, JobNotFound
from runwright.core.job_rows import (
    NO_REASON,
    AttemptOutcome,
    Beat,
    BeatAnswer,
    Claim,
    Claimed,
    Ended,
    Ending,
    JobAttempt,
    JobFilter,
    JobLease,
    JobRow,
    LogRow,
    NewJob,
    QueueRow,
    QueueSettings,
    TokenHolder,
    WorkerRow,
    lapse_text,
    message_after,
    outcome_of,
    retry_delay_after,
    state_after,
    state_after_lapse,
)
from runwright.core.job_texts import ended_text, no_job_text
from runwright.core.job_wire import ExecutionLogEntry
from runwright.core.states import JobState
from runwright.testing.job_records import StoredAttempt, StoredJob, fresh_row, is_wanted, leased
from runwright.testing.job_tokens import MemoryTokens


class MemoryJobStore(MemoryTokens):
    """Keeps jobs in this process; obeys the same contract as the stores on disk, except that nothing is durable."""

    def __init__(self) -> None:
        super().__init__()
        self._jobs: dict[int, StoredJob] = {}
        self._last_id = 0
        self._queues: dict[str, QueueSettings] = {}
        self._workers: dict[str, WorkerRow] = {}
        self._bells: dict[asyncio.Event, frozenset[str]] = {}

    async def submit(self, jobs: Sequence[NewJob], now: datetime) -> list[int]:
        """Queue jobs; see `JobStore`."""
        self._check_open()
        turns: dict[tuple[str, int, str], int] = {}
        for job in jobs:
            place = job.queue, job.priority, job.key
            turns.setdefault(place, self._next_turn(*place))
        return [self._add(job, turns, now) for job in jobs]

    def _add(self, job: NewJob, turns: dict[tuple[str, int, str], int], now: datetime) -> int:
        known = (
            number for number, each in self._jobs.items() if each.idempotency_key == job.idempotency_key != ""
        )
        if (number := next(known, 0)) != 0:
            return number
        self._last_id += 1
        stored = StoredJob(fresh_row(self._last_id, job, now), job.payload, job.idempotency_key)
        stored.ready = job.delay <= 0
        stored.turn = turns[job.queue, job.priority, job.key]
        turns[job.queue, job.priority, job.key] += 1
        self._jobs[self._last_id] = stored
        self._ring([job.queue])
        return self._last_id

    def _next_turn(self, queue: str, priority: int, key: str) -> int:
        """Return the turn of a job that comes to wait.

        It is behind the jobs of its key, and not before those whose turn it is now: a key that was quiet gets no more
        than its share.
        """
        waiting = [
            job
            for job in self._jobs.values()
            if job.ready is not None and (job.row.queue, job.row.priority) == (queue, priority)
        ]
        behind = max((job.turn + 1 for job in waiting if job.row.key == key), default=0)
        return max(behind, min((job.turn for job in waiting if job.ready), default=0))

    def _wait_again(self, job: StoredJob, now: datetime, delay: timedelta | None = None) -> None:
        """Let a job wait, for as long as it is if there is a delay."""
        job.turn = self._next_turn(job.row.queue, job.row.priority, job.row.key)
        job.ready = delay is None
        job.set(available_at=now + (delay or timedelta()))
        self._ring([job.row.queue])

    async def exchange(
        self, endings: Sequence[Ending], claim: Claim | None, now: datetime
    ) -> tuple[list[Ended], list[Claimed]]:
        """End attempts and take further jobs; see `JobStore`."""
        self._check_open()
        became = dict.fromkeys(range(len(endings)), Ended.REFUSED)
        for place in sorted(became, key=lambda place: endings[place].lease.job_id):
            became[place] = self._end(endings[place], now)
        claimed = [] if claim is None else list(self._claimed(claim, now))
        return list(became.values()), claimed

    def _end(self, ending: Ending, now: datetime) -> Ended:
        job, number = self._jobs.get(ending.lease.job_id), ending.lease.attempt
        if job is None or not 1 <= number <= len(job.attempts):
            return Ended.REFUSED
        attempt = job.attempts[number - 1]
        if job.lease != ending.lease:
            return Ended.REPEATED if attempt.verdict is ending.verdict else Ended.REFUSED
        row, verdict = job.row, ending.verdict
        state = state_after(
            verdict,
            failures=row.failures,
            max_attempts=row.max_attempts,
            is_canceled=bool(row.cancel_reason),
        )
        attempt.end(now, outcome_of(verdict, state), ending.message, verdict)
        failures = row.failures + (state in (JobState.ERRORED, JobState.FAILED))
        job.end(state, message_after(state, ending.message, row.cancel_reason), now, failures=failures)
        if state is JobState.QUEUED:
            self._wait_again(job, now)
        if state is JobState.ERRORED:
            self._wait_again(job, now, retry_delay_after(failures, row.retry_delay))
        self._ring([row.queue])
        return Ended.ACCEPTED

    def _claimed(self, claim: Claim, now: datetime) -> Iterator[Claimed]:
        digests = list(claim.digests)
        for queue in claim.queues:
            while digests and (job := self._next(queue, claim.labels)) is not None:
                yield self._give(job, claim, digests.pop(0), now)

    def _next(self, queue: str, labels: Sequence[str]) -> StoredJob | None:
        settings = self._queues.get(queue, QueueSettings(name=queue))
        held = [job.row.key for job in self._held() if job.row.queue == queue]
        if settings.paused or 0 < settings.limit <= len(held):
            return None
        full = {key for key, count in Counter(held).items() if key and 0 < settings.key_limit <= count}
        found = [
            job
            for job in self._jobs.values()
            if job.ready
            and job.row.queue == queue
            and job.row.key not in full
            and set(job.row.labels) <= set(labels)
        ]
        return min(found, key=lambda job: (-job.row.priority, job.turn, job.row.id), default=None)

    def _give(self, job: StoredJob, claim: Claim, digest: bytes, now: datetime) -> Claimed:
        begun = max(now, job.row.available_at)
        job.set(
            state=JobState.PROCESSING,
            attempt=job.row.attempt + 1,
            started_at=begun,
            heartbeat_at=now,
            finished_at=None,
            lease_until=now + timedelta(seconds=claim.first_seconds),
            worker=claim.worker,
            message="",
        )
        job.ready, job.boot_id, job.token_id = None, claim.boot_id, claim.token_id
        row = job.row
        job.attempts.append(StoredAttempt(JobLease(row.id, row.attempt), claim.worker, begun, digest))
        return Claimed(
            job_id=row.id,
            queue=row.queue,
            attempt=row.attempt,
            payload=job.payload,
            sealed=row.sealed,
            digest=digest,
            labels=row.labels,
        )

    def _held(self) -> list[StoredJob]:
        return [job for job in self._jobs.values() if job.row.state is JobState.PROCESSING]

    async def heartbeat(self, beat: Beat, now: datetime) -> BeatAnswer:
        """Keep leases; see `JobStore`."""
        self._check_open()
        owner = beat.worker, beat.boot_id
        held = {job.row.id: job for job in self._held() if (job.row.worker, job.boot_id) == owner}
        known = [
            held[number]
            for number in sorted(set(beat.job_ids) & set(held))
            if beat.queue in ("", held[number].row.queue)
        ]
        for job in known:
            until = now + timedelta(seconds=beat.lease_seconds)
            job.set(heartbeat_at=now, lease_until=max(job.row.lease_until or until, until))
        return BeatAnswer(
            known=tuple(job.row.id for job in known),
            cancel=tuple(job.row.id for job in known if job.row.cancel_reason),
        )

    async def promote(self, now: datetime) -> int:
        """Make jobs ready; see `JobStore`."""
        self._check_open()
        due = [job for job in self._jobs.values() if job.ready is False and job.row.available_at <= now]
        for job in due:
            job.ready = True
        self._ring([job.row.queue for job in due])
        return len(due)

    async def expire(self, now: datetime) -> list[JobLease]:
        """End leases that have lapsed; see `JobStore`."""
        self._check_open()
        lapsed = [
            job for job in self._held() if job.row.lease_until is not None and job.row.lease_until <= now
        ]
        return [self._lapse(job, now) for job in lapsed]

    def _lapse(self, job: StoredJob, now: datetime) -> JobLease:
        row = job.row
        settings = self._queues.get(row.queue, QueueSettings(name=row.queue))
        state = state_after_lapse(
            resets=row.resets, max_resets=settings.max_resets, is_canceled=bool(row.cancel_reason)
        )
        message = message_after(state, lapse_text(row.worker, row.resets), row.cancel_reason)
        job.attempts[-1].end(now, AttemptOutcome.LOST, message, None)
        job.end(state, message, now, resets=row.resets + 1)
        if state is JobState.QUEUED:
            self._wait_again(job, now)
        self._ring([row.queue])
        return JobLease(row.id, row.attempt)

    async def wait(self, queues: Sequence[str], seconds: float) -> bool:
        """Wait for jobs; see `JobStore`."""
        self._check_open()
        bell = asyncio.Event()
        self._bells[bell] = frozenset(queues)
        try:
            await asyncio.wait_for(bell.wait(), seconds)
        except TimeoutError:
            return False
        else:
            return True
        finally:
            del self._bells[bell]

    def _ring(self, queues: Sequence[str]) -> None:
        for bell, wanted in self._bells.items():
            if not wanted.isdisjoint(queues):
                bell.set()

    async def holder(self, digest: bytes) -> TokenHolder | None:
        """Return whom a lease was given to; see `JobStore`."""
        self._check_open()
        for job in self._jobs.values():
            for attempt in job.attempts:
                if attempt.digest == digest:
                    return TokenHolder(
                        lease=attempt.lease,
                        queue=job.row.queue,
                        worker=attempt.shown.worker,
                        is_current=job.lease == attempt.lease,
                        outcome=attempt.shown.outcome,
                    )
        return None

    async def lease_of(self, job_id: int, worker: str, token_id: int) -> JobLease | None:
        """Return the lease of who shows its own token; see `JobStore`."""
        self._check_open()
        job = self._jobs.get(job_id)
        if job is None or (job.row.worker, job.token_id) != (worker, token_id):
            return None
        return job.lease

    async def add_entry(self, lease: JobLease, entry: ExecutionLogEntry, now: datetime) -> int:
        """Begin an entry of the log; see `JobStore`."""
        self._check_open()
        return self._job(lease.job_id, lease).add_entry(entry)

    async def update_entry(
        self, lease: JobLease, number: int, entry: ExecutionLogEntry, out_offset: int | None, now: datetime
    ) -> None:
        """Replace an entry of the log; see `JobStore`."""
        self._check_open()
        self._job(lease.job_id, lease).update_entry(number, entry, out_offset)

    async def cancel(self, job_id: int, reason: str, now: datetime) -> JobRow:
        """Ask for a job to be stopped; see `JobStore`."""
        self._check_open()
        job = self._job(job_id)
        if job.row.state in (JobState.COMPLETED, JobState.FAILED):
            raise JobHasEnded(ended_text(job_id, job.row.state, "be canceled"))
        if not job.row.cancel_reason:
            job.set(cancel_reason=reason or NO_REASON)
        if job.ready is not None:
            job.end(JobState.CANCELED, job.row.cancel_reason, now)
        return job.row

    async def retry(self, job_id: int, now: datetime) -> JobRow:
        """Queue a job again; see `JobStore`."""
        self._check_open()
        job = self._job(job_id)
        if job.row.state not in (JobState.ERRORED, JobState.FAILED, JobState.CANCELED):
            raise JobHasEnded(ended_text(job_id, job.row.state, "be queued again"))
        job.ready = None
        job.set(state=JobState.QUEUED, failures=0, resets=0, finished_at=None, cancel_reason="", message="")
        self._wait_again(job, now)
        return job.row

    async def job(self, job_id: int) -> JobRow:
        """Return a job; see `JobStore`."""
        self._check_open()
        return self._job(job_id).row

    async def payload(self, job_id: int) -> bytes:
        """Return the document of a job; see `JobStore`."""
        self._check_open()
        return self._job(job_id).payload

    async def jobs(self, which: JobFilter) -> list[JobRow]:
        """Return jobs, newest first; see `JobStore`."""
        self._check_open()
        rows = [job.row for job in self._jobs.values() if is_wanted(job, which)]
        return rows[::-1][: which.limit]

    async def attempts(self, job_id: int) -> list[JobAttempt]:
        """Return every attempt at a job; see `JobStore`."""
        self._check_open()
        return [attempt.shown for attempt in self._jobs[job_id].attempts] if job_id in self._jobs else []

    async def entries(self, job_id: int) -> list[LogRow]:
        """Return every entry of a job's log; see `JobStore`."""
        self._check_open()
        return self._jobs[job_id].listed_entries() if job_id in self._jobs else []

    async def output(self, job_id: int, attempt: int, number: int, offset: int, limit: int) -> bytes:
        """Return some of an entry's output; see `JobStore`."""
        self._check_open()
        entries = self._jobs[job_id].entries.get(attempt, []) if job_id in self._jobs else []
        return entries[number - 1].out[offset : offset + limit] if 1 <= number <= len(entries) else b""

    async def queues(self) -> list[QueueRow]:
        """Return every queue; see `JobStore`."""
        self._check_open()
        names = {job.row.queue for job in self._jobs.values()} | set(self._queues)
        return [self._queue(name) for name in sorted(names, key=str.encode)]

    def _queue(self, name: str) -> QueueRow:
        jobs = [job for job in self._jobs.values() if job.row.queue == name]
        return QueueRow(
            settings=self._queues.get(name, QueueSettings(name=name)),
            counts=dict(sorted(Counter(job.row.state for job in jobs).items())),
            oldest_at=min((job.row.available_at for job in jobs if job.ready), default=None),
        )

    async def set_queue(self, settings: QueueSettings) -> None:
        """Say how a queue is served; see `JobStore`."""
        self._check_open()
        self._queues[settings.name] = settings
        self._ring([settings.name])

    async def note_worker(self, worker: WorkerRow, now: datetime) -> None:
        """Keep what a worker says of itself; see `JobStore`."""
        self._check_open()
        known = self._workers.get(worker.name)
        first = known.first_seen_at if known else now
        self._workers[worker.name] = structs.replace(worker, first_seen_at=first, last_seen_at=now)

    async def workers(self) -> list[WorkerRow]:
        """Return every worker; see `JobStore`."""
        self._check_open()
        leases = Counter(job.row.worker for job in self._held())
        workers = sorted(self._workers.values(), key=lambda worker: worker.name.encode())
        return [structs.replace(worker, leases=leases[worker.name]) for worker in workers]

    async def prune(self, before: datetime, limit: int) -> int:
        """Remove jobs that ended long ago; see `JobStore`."""
        self._check_open()
        old = [
            number
            for number, job in self._jobs.items()
            if job.row.has_ended and job.row.finished_at is not None and job.row.finished_at < before
        ][:limit]
        for number in old:
            del self._jobs[number]
        return len(old)

    def _job(self, job_id: int, lease: JobLease | None = None) -> StoredJob:
        """Return a job; with a lease, only if that holds."""
        job = self._jobs.get(job_id)
        if lease is not None:
            return leased(job, lease)
        if job is None:
            raise JobNotFound(no_job_text(job_id))
        return job
