"""What a queue has done, from three witnesses, and whether it may have done that.

The store tells of jobs and their attempts, the jobs themselves leave a line wherever they were at work, and the proxy
between workers and server hears every word. Where they don't agree, a promise is broken.
"""

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from datetime import datetime
from itertools import pairwise

from msgspec import Struct

from runwright.core.job_rows import AttemptOutcome, JobAttempt, JobRow, QueueSettings
from runwright.core.states import JobState

VERDICTS = {
    "markComplete": AttemptOutcome.COMPLETED,
    "markErrored": AttemptOutcome.ERRORED,
    "markFailed": AttemptOutcome.FAILED,
    "handBack": AttemptOutcome.HANDED_BACK,
}
"""What an attempt is whose worker says that."""

FAILURES = (AttemptOutcome.ERRORED, AttemptOutcome.FAILED)
SAID = (AttemptOutcome.COMPLETED, *FAILURES)
"""Outcomes that nobody but the worker can bring about."""


class Word(Struct, frozen=True):
    """A last word on an attempt as it went by.

    Attributes:
        attempt: Whose token it showed.
        route: Of the protocol.
        is_accepted: True if the server has answered that it took it.
    """

    job_id: int
    attempt: int
    route: str
    is_accepted: bool


class JobHistory(Struct, frozen=True, kw_only=True):
    """A job at its end.

    Attributes:
        expected: States in which it may end.
        must_work: True if each attempt that completes or fails has left a line.
    """

    row: JobRow
    attempts: Sequence[JobAttempt]
    expected: frozenset[JobState]
    must_work: bool = True


class History(Struct, frozen=True, kw_only=True):
    """All that was seen.

    Attributes:
        effects: How many lines there are of each attempt, by job and number.
        words: Last words, in any order.
        queues: How they were served the whole time.
    """

    jobs: Sequence[JobHistory]
    effects: Mapping[tuple[int, int], int]
    words: Sequence[Word]
    queues: Sequence[QueueSettings] = ()


def violations(history: History) -> list[str]:
    """Return what must not have been, in words; nothing if all is well."""
    return [*_in_jobs(history), *_strange_effects(history), *_false_words(history), *_above_limits(history)]


def _in_jobs(history: History) -> Iterator[str]:
    words = {(word.job_id, word.attempt, VERDICTS[word.route]) for word in history.words}
    for job in history.jobs:
        for found in (_end(job), _numbers(job), _overlaps(job), _outcomes(job)):
            yield from (f"job {job.row.id}: {text}" for text in found)
        for attempt in job.attempts:
            place = (attempt.job_id, attempt.number)
            told = f"job {job.row.id}: attempt {attempt.number} is {attempt.outcome}"
            if attempt.outcome in SAID and (*place, attempt.outcome) not in words:
                yield f"{told}, and its worker has not said so"
            if job.must_work and attempt.outcome in SAID and not history.effects.get(place):
                yield f"{told} without having been worked on"


def _end(job: JobHistory) -> Iterator[str]:
    row = job.row
    if not row.has_ended:
        yield f"has not ended: {row.state}"
    elif row.state not in job.expected:
        yield f"is {row.state}, not {' or '.join(sorted(job.expected))}: {row.message}"
    if row.lease_until is not None:
        yield "has ended, and somebody holds it"


def _numbers(job: JobHistory) -> Iterator[str]:
    numbers = [attempt.number for attempt in job.attempts]
    if numbers != list(range(1, job.row.attempt + 1)):
        yield f"{job.row.attempt} attempts were begun, and these are recorded: {numbers}"
    for attempt in job.attempts:
        if attempt.ended_at is None or attempt.outcome is None:
            yield f"attempt {attempt.number} has not ended"
        elif attempt.ended_at < attempt.started_at:
            yield f"attempt {attempt.number} ended before it began"


def _overlaps(job: JobHistory) -> Iterator[str]:
    for before, after in pairwise(job.attempts):
        if before.ended_at is not None and after.started_at < before.ended_at:
            late = (before.ended_at - after.started_at).total_seconds()
            yield f"attempt {after.number} began {late:g} s before attempt {before.number} ended"


def _outcomes(job: JobHistory) -> Iterator[str]:
    """Find last words beyond the one that ends a job."""
    outcomes = [attempt.outcome for attempt in job.attempts]
    completed = outcomes.count(AttemptOutcome.COMPLETED)
    failures = sum(outcomes.count(outcome) for outcome in FAILURES)
    if completed != (job.row.state is JobState.COMPLETED):
        yield f"is {job.row.state}, and {completed} attempts have completed"
    if completed and outcomes[-1] is not AttemptOutcome.COMPLETED:
        yield "went on after an attempt had completed"
    if failures != job.row.failures:
        yield f"counts {job.row.failures} failures of {failures}"
    if failures > job.row.max_attempts:
        yield f"has failed {failures} times, and was to be tried {job.row.max_attempts} times"
    if AttemptOutcome.FAILED in outcomes[:-1]:
        yield "went on after an attempt had failed for good"
    if job.row.state is JobState.FAILED and outcomes[-1:] not in ([outcome] for outcome in FAILURES):
        yield f"has failed, and its last attempt did not: {job.row.message}"


def _strange_effects(history: History) -> Iterator[str]:
    known = {(attempt.job_id, attempt.number) for job in history.jobs for attempt in job.attempts}
    for (job_id, number), times in sorted(history.effects.items()):
        if (job_id, number) not in known:
            yield f"job {job_id}: attempt {number} was worked on, and is not recorded"
        if times > 1:
            yield f"job {job_id}: attempt {number} was worked on {times} times"


def _false_words(history: History) -> Iterator[str]:
    """Find last words that were taken from somebody whose attempt ended otherwise."""
    outcomes = {(each.job_id, each.number): each.outcome for job in history.jobs for each in job.attempts}
    for word in history.words:
        meant = VERDICTS[word.route]
        became = outcomes.get((word.job_id, word.attempt))
        may_be = {meant} if meant is AttemptOutcome.COMPLETED else {meant, AttemptOutcome.CANCELED}
        if word.is_accepted and became not in may_be:
            told = f"job {word.job_id}: {word.route} of attempt {word.attempt} was accepted"
            yield f"{told}, which is {became or 'not recorded'}"


def _above_limits(history: History) -> Iterator[str]:
    for queue in history.queues:
        jobs = [job for job in history.jobs if job.row.queue == queue.name]
        if queue.limit:
            for text in excesses(jobs, queue.limit):
                yield f"queue {queue.name}: {text}"
        for key in sorted({job.row.key for job in jobs if job.row.key} if queue.key_limit else ()):
            for text in excesses((job for job in jobs if job.row.key == key), queue.key_limit):
                yield f"queue {queue.name}, key {key}: {text}"


def excesses(jobs: Iterable[JobHistory], limit: int) -> Iterator[str]:
    """Find spans in which more attempts ran than may; one may begin when another ends."""
    changes: list[tuple[datetime, bool, str]] = []
    for attempt in (attempt for job in jobs for attempt in job.attempts):
        name = f"{attempt.job_id}.{attempt.number}"
        changes.append((attempt.started_at, True, name))
        if attempt.ended_at is not None:
            changes.append((attempt.ended_at, False, name))
    running: set[str] = set()
    since: datetime | None = None
    for at, begins, name in sorted(changes):
        if since is not None:
            span = f"{(at - since).total_seconds():g} s from {since:%H:%M:%S.%f} on"
            yield f"{len(running)} jobs for {span}, and the limit is {limit}: {sorted(running)}"
        running = running | {name} if begins else running - {name}
        since = at if len(running) > limit else None


def outcome_counts(history: History) -> Counter[str]:
    """Return how many attempts ended how."""
    return Counter(str(attempt.outcome) for job in history.jobs for attempt in job.attempts)


def crowds(rows: Iterable[JobRow], queues: Iterable[QueueSettings]) -> Iterator[str]:
    """Find queues and keys of which more jobs are worked on at this moment than may be."""
    held = [row for row in rows if row.state is JobState.PROCESSING]
    by_queue = Counter(row.queue for row in held)
    by_key = Counter((row.queue, row.key) for row in held if row.key)
    for queue in queues:
        if queue.limit and by_queue[queue.name] > queue.limit:
            yield f"queue {queue.name}: {by_queue[queue.name]} jobs are held, and its limit is {queue.limit}"
        for (name, key), count in by_key.items():
            if name == queue.name and queue.key_limit and count > queue.key_limit:
                yield f"queue {name}: {count} jobs of key {key} are held, and its limit is {queue.key_limit}"
