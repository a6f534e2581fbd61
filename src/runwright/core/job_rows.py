"""Jobs as a store keeps them, and what their states become; every store and its fake decide with these."""

from datetime import datetime, timedelta
from enum import StrEnum

from msgspec import Struct

from runwright.core.states import FINAL_JOB_STATES, JobState

LONGEST_RETRY_DELAY = 3_600.0
"""Seconds that the delay before another attempt may grow to."""

MAX_JOB_OUTPUT_BYTES = 1 << 30
"""Most output of a job that is kept, over all its attempts."""

NO_REASON = "no reason was given"
"""Stands for the reason of a cancel that comes without one, since a reason is what tells that a job is to be stopped."""


class Verdict(StrEnum):
    """What a worker says when it stops working on a job.

    `ERRORED` may be tried again, `FAILED` not. `HANDED_BACK` is none of its attempts' business: the worker had to stop.
    """

    COMPLETED = "completed"
    ERRORED = "errored"
    FAILED = "failed"
    HANDED_BACK = "handed_back"


class AttemptOutcome(StrEnum):
    """How an attempt at a job ended; `LOST` is a lease that lapsed."""

    COMPLETED = "completed"
    ERRORED = "errored"
    FAILED = "failed"
    CANCELED = "canceled"
    HANDED_BACK = "handed_back"
    LOST = "lost"


class NewJob(Struct, frozen=True, kw_only=True):
    """A job that is submitted.

    Attributes:
        queue: Name of its queue; a queue exists as soon as something is in it.
        payload: The document, JSON of version 2 without id and token; encrypted if `sealed`.
        sealed: True if the payload holds secrets and is encrypted.
        priority: In [-1,000,000, 1,000,000]; the higher, the sooner.
        labels: What a worker must offer, sorted, each once.
        key: Jobs of one key share the queue's limit for keys, and keys take turns; empty for none.
        delay: Seconds before it may start.
        max_attempts: From 1.
        retry_delay: Seconds before the second attempt; see `retry_delay_after`.
        idempotency_key: If a job with it is there, no other is made; empty for none.
    """

    queue: str
    payload: bytes
    sealed: bool = False
    priority: int = 0
    labels: tuple[str, ...] = ()
    key: str = ""
    delay: float = 0.0
    max_attempts: int = 1
    retry_delay: float = 10.0
    idempotency_key: str = ""


class JobRow(Struct, frozen=True, kw_only=True):
    """A job as it stands in the store.

    Attributes:
        id: From 1, over all queues; also the job's id on the wire.
        attempt: Number of the newest attempt; 0 if there was none. It only grows, so it is the lease's fencing token.
        failures: Attempts that ended in failure since it was submitted or retried.
        resets: Leases that lapsed since then.
        available_at: Not given to a worker before.
        finished_at: When its last attempt ended or it was canceled; None while it is queued or processing.
        lease_until: When the lease lapses; None if nobody has one.
        cancel_reason: Why it is to be stopped; empty if nobody asked.
        message: Why it failed or was canceled.
        worker: Who has it, or had it last.
    """

    id: int
    queue: str
    state: JobState
    priority: int
    labels: tuple[str, ...]
    key: str
    attempt: int
    failures: int
    resets: int
    max_attempts: int
    retry_delay: float
    queued_at: datetime
    available_at: datetime
    started_at: datetime | None
    heartbeat_at: datetime | None
    finished_at: datetime | None
    lease_until: datetime | None
    worker: str
    cancel_reason: str
    message: str
    sealed: bool

    @property
    def has_ended(self) -> bool:
        """True if nothing more happens to it unless a user asks for it."""
        return self.state in FINAL_JOB_STATES


class JobLease(Struct, frozen=True):
    """The right to write to a job: it holds as long as that attempt is the newest and the job is `processing`."""

    job_id: int
    attempt: int


class JobAttempt(Struct, frozen=True, kw_only=True):
    """One attempt at a job.

    Attributes:
        number: From 1.
        outcome: None while it runs.
    """

    job_id: int
    number: int
    worker: str
    started_at: datetime
    ended_at: datetime | None = None
    outcome: AttemptOutcome | None = None
    message: str = ""


class Claim(Struct, frozen=True, kw_only=True):
    """Asks for jobs.

    Attributes:
        queues: Where to look, in that order.
        worker: Name of who asks.
        boot_id: Tells a worker that has been started again from what it was before.
        token_id: Of the worker's own token; 0 in process.
        labels: What the worker offers.
        digests: SHA-256 of the tokens of the leases, one for each job that may be given: so many at most.
        lease_seconds: How long a lease holds from its last heartbeat.
        first_seconds: How long it holds until its first heartbeat: an answer that is lost on its way is found by it.
    """

    queues: tuple[str, ...]
    worker: str
    digests: tuple[bytes, ...]
    boot_id: str = ""
    token_id: int = 0
    labels: tuple[str, ...] = ()
    lease_seconds: float = 25.0
    first_seconds: float = 12.0


class Claimed(Struct, frozen=True, kw_only=True):
    """A job that has been given to a worker.

    Attributes:
        digest: Which of the digests of the claim is its token's.
        labels: What the job asks a worker to offer.
    """

    job_id: int
    queue: str
    attempt: int
    payload: bytes
    sealed: bool
    digest: bytes
    labels: tuple[str, ...] = ()

    @property
    def lease(self) -> JobLease:
        """The right to write to it."""
        return JobLease(self.job_id, self.attempt)


class Ending(Struct, frozen=True, kw_only=True):
    """A worker's last word on an attempt."""

    lease: JobLease
    verdict: Verdict
    message: str = ""


class Ended(StrEnum):
    """What became of a last word: a repeated one had been accepted before, a refused one has no lease."""

    ACCEPTED = "accepted"
    REPEATED = "repeated"
    REFUSED = "refused"


class TokenHolder(Struct, frozen=True, kw_only=True):
    """Whom the token of a lease was given to.

    Attributes:
        is_current: True if the lease still holds.
        outcome: How that attempt ended, if it has.
    """

    lease: JobLease
    queue: str
    worker: str
    is_current: bool
    outcome: AttemptOutcome | None = None


class Beat(Struct, frozen=True, kw_only=True):
    """Keeps leases of one worker.

    Attributes:
        queue: Which queue the jobs are in; empty for any.
        job_ids: What the worker is at.
    """

    worker: str
    boot_id: str = ""
    queue: str = ""
    job_ids: tuple[int, ...] = ()
    lease_seconds: float = 25.0


class BeatAnswer(Struct, frozen=True, kw_only=True):
    """Which of the jobs of a beat the worker holds, and which of those it must stop."""

    known: tuple[int, ...] = ()
    cancel: tuple[int, ...] = ()


class LogRow(Struct, frozen=True, kw_only=True):
    """An entry of a job's log, without its output.

    Attributes:
        entry: Number within its attempt, from 1.
        size_bytes: Of its output so far.
    """

    job_id: int
    attempt: int
    entry: int
    key: str
    command: tuple[str, ...]
    started_at: datetime | None
    exit_code: int | None
    duration_ms: int | None
    size_bytes: int


class JobFilter(Struct, frozen=True, kw_only=True):
    """Which jobs to list, newest first; every field narrows.

    Attributes:
        idempotency_key: With it there is one job at most, and no other field counts.
        below: Ids below this one, for the next page; 0 for all.
        limit: Most to return, from 1.
    """

    queue: str = ""
    state: JobState | None = None
    key: str = ""
    worker: str = ""
    idempotency_key: str = ""
    below: int = 0
    limit: int = 100


class QueueSettings(Struct, frozen=True, kw_only=True):
    """How a queue is served.

    Attributes:
        paused: No job of it is given out.
        limit: Most jobs of it at a time; 0 for any number.
        key_limit: Most jobs of one key at a time; 0 for any number. Jobs without a key are not bounded by it.
        max_resets: How often a job whose lease lapsed is queued again before it counts as failed.
    """

    name: str
    paused: bool = False
    limit: int = 0
    key_limit: int = 0
    max_resets: int = 3


class QueueRow(Struct, frozen=True, kw_only=True):
    """A queue with its counts.

    Attributes:
        counts: Jobs by state; states without jobs are left out.
        oldest_at: Since when the oldest job that could start has waited; None if none could.
    """

    settings: QueueSettings
    counts: dict[JobState, int]
    oldest_at: datetime | None = None


class WorkerRow(Struct, frozen=True, kw_only=True):
    """What a worker last said of itself.

    Attributes:
        versions: Of programs, by name.
        leases: Jobs that it holds.
        metrics: In the text format of Prometheus, as it sent them.
    """

    name: str
    boot_id: str = ""
    queues: tuple[str, ...] = ()
    labels: tuple[str, ...] = ()
    slots: int = 0
    draining: bool = False
    os: str = ""
    architecture: str = ""
    versions: dict[str, str] = {}
    metrics: str = ""
    leases: int = 0
    first_seen_at: datetime | None = None
    last_seen_at: datetime | None = None


class TokenRole(StrEnum):
    """What a token lets its holder do: take jobs, or submit and steer them."""

    WORKER = "worker"
    ADMIN = "admin"


class TokenRow(Struct, frozen=True, kw_only=True):
    """A token that was made for a worker or a user; the token itself is nowhere, only its SHA-256.

    Attributes:
        id: From 1.
        digest: Its SHA-256.
    """

    id: int
    name: str
    role: TokenRole
    created_at: datetime
    digest: bytes
    revoked_at: datetime | None = None


def state_after(verdict: Verdict, *, failures: int, max_attempts: int, is_canceled: bool) -> JobState:
    """Return what a job becomes by a worker's verdict.

    Args:
        verdict: What the worker says.
        failures: Attempts that had failed before this one.
        max_attempts: How many there may be.
        is_canceled: Somebody has asked for the job to be stopped; work that is complete counts all the same.
    """
    if verdict is Verdict.COMPLETED:
        return JobState.COMPLETED
    if is_canceled:
        return JobState.CANCELED
    if verdict is Verdict.HANDED_BACK:
        return JobState.QUEUED
    may_retry = verdict is Verdict.ERRORED and failures + 1 < max_attempts
    return JobState.ERRORED if may_retry else JobState.FAILED


def message_after(state: JobState, said: str, cancel_reason: str) -> str:
    """Return a job's message after a worker's last word: a job that is queued again or complete has none."""
    if state is JobState.CANCELED:
        return cancel_reason
    return said if state in (JobState.ERRORED, JobState.FAILED) else ""


def state_after_lapse(*, resets: int, max_resets: int, is_canceled: bool) -> JobState:
    """Return what a job becomes whose lease has lapsed for the ``resets + 1``-th time."""
    if is_canceled:
        return JobState.CANCELED
    return JobState.QUEUED if resets < max_resets else JobState.FAILED


def lapse_text(worker: str, resets: int) -> str:
    """Say why a job whose leases lapsed too often has failed."""
    times = "once" if resets == 0 else f"{resets + 1} times"
    return f"its worker was lost {times}, the last time {worker}; raise the queue's max_resets to allow more"


def retry_delay_after(failures: int, retry_delay: float) -> timedelta:
    """Return how long a job waits after its ``failures``-th failure, from 1: each wait is twice the one before."""
    grown = retry_delay * 2.0 ** min(failures - 1, 40)
    return timedelta(seconds=min(grown, LONGEST_RETRY_DELAY))


def outcome_of(verdict: Verdict, state: JobState) -> AttemptOutcome:
    """Return how an attempt ended, from what its worker said and what the job became."""
    return AttemptOutcome.CANCELED if state is JobState.CANCELED else AttemptOutcome(verdict.value)
