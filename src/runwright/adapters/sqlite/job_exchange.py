"""How jobs come to wait, are given out and come back, as functions of the connection that writes.

What a call may refuse it refuses before it writes: others share its transaction.
"""

from collections.abc import Iterable, Sequence
from datetime import datetime, timedelta
from operator import itemgetter
from typing import Any

import apsw
from msgspec import json

from runwright.adapters.sqlite.job_records import (
    SQL,
    each,
    label_set,
    label_text,
    micros,
    rows,
    settings_of,
    value,
)
from runwright.core.job_rows import (
    AttemptOutcome,
    Claim,
    Claimed,
    Ended,
    Ending,
    JobLease,
    NewJob,
    QueueSettings,
    Verdict,
    lapse_text,
    message_after,
    outcome_of,
    retry_delay_after,
    state_after,
    state_after_lapse,
)
from runwright.core.states import JobState

_MOST_PASSED_OVER = 1_000
"""Jobs of full keys that are passed over before each key is asked for its first jobs instead."""

_FAILURES = (JobState.ERRORED, JobState.FAILED)
_WAITING = (JobState.QUEUED, JobState.ERRORED)

_Candidate = tuple[int, str, int, int]
"""A job that is ready: id, key, negated priority, turn."""

Woken = set[str]
"""Queues in which a job may have become ready."""


def submit(connection: apsw.Connection, woken: Woken, jobs: Sequence[NewJob], now: datetime) -> list[int]:
    """Queue jobs; those submitted together take their turns from what waited before them."""
    turns = {
        place: value(connection, "next_turn", place)
        for place in {(job.queue, job.priority, job.key) for job in jobs}
    }
    woken.update(job.queue for job in jobs)
    return [_add(connection, job, turns, now) for job in jobs]


def _add(
    connection: apsw.Connection, job: NewJob, turns: dict[tuple[str, int, str], int], now: datetime
) -> int:
    if job.idempotency_key:
        known = value(connection, "find_idempotent", (job.idempotency_key,))
        if known is not None:
            return int(known)
    place = job.queue, job.priority, job.key
    number: int = value(connection, "submit", _new_row(job, turns[place], now))
    turns[place] += 1
    connection.execute(SQL["submit_payload"], (number, job.payload))
    return number


def _new_row(job: NewJob, turn: int, now: datetime) -> tuple[Any, ...]:
    return (
        job.queue,
        job.delay <= 0,
        job.priority,
        turn,
        label_text(job.labels),
        job.key,
        job.max_attempts,
        job.retry_delay,
        micros(now),
        micros(now + timedelta(seconds=job.delay)),
        job.sealed,
        job.idempotency_key,
    )


def wait_again(
    connection: apsw.Connection, woken: Woken, job_id: int, now: datetime, delay: timedelta | None = None
) -> None:
    """Let a job wait that somebody had, for as long as it is if there is a delay."""
    queue, priority, key = rows(connection, "place_of", (job_id,))[0]
    turn = value(connection, "next_turn", (queue, priority, key))
    until = micros(now + (delay or timedelta()))
    connection.execute(SQL["wait_again"], (job_id, delay is None, turn, until))
    if delay is None:
        woken.add(queue)


def exchange(
    connection: apsw.Connection, woken: Woken, endings: Sequence[Ending], claim: Claim | None, now: datetime
) -> tuple[list[Ended], list[Claimed]]:
    """End attempts and take further jobs."""
    became = _end(connection, woken, endings, now) if endings else []
    return became, [] if claim is None else _claim(connection, claim, now)


def _end(connection: apsw.Connection, woken: Woken, endings: Sequence[Ending], now: datetime) -> list[Ended]:
    said: dict[JobLease, Ending] = {}
    for word in endings:
        said.setdefault(word.lease, word)
    found = rows(connection, "held_jobs", (_listed(list({lease.job_id for lease in said})),))
    held = [row for row in found if JobLease(row[0], row[1]) in said]
    if held:
        _end_held(connection, woken, said, held, now)
        limited = {name for (name,) in rows(connection, "limited_queues")}
        woken |= limited.intersection(row[2] for row in held)
    if len(held) == len(endings):
        return [Ended.ACCEPTED] * len(endings)
    return _answers(connection, endings, {JobLease(*row[:2]) for row in held})


def _end_held(
    connection: apsw.Connection,
    woken: Woken,
    said: dict[JobLease, Ending],
    held: Iterable[Sequence[Any]],
    now: datetime,
) -> None:
    completed, attempts, jobs, waits, at = [], [], [], [], micros(now)
    for job_id, attempt, _, worker, digest, started_at, failures, max_attempts, delay, reason in held:
        word = said[JobLease(job_id, attempt)]
        verdict, text = word.verdict, word.message
        if verdict is Verdict.COMPLETED and not text:
            completed.append((job_id, attempt, at))  # most are such, and their attempts stay where they are
            continue
        state = state_after(verdict, failures=failures, max_attempts=max_attempts, is_canceled=bool(reason))
        outcome = outcome_of(verdict, state)
        attempts.append((job_id, attempt, worker, digest, started_at, at, verdict, outcome, text))
        failed = failures + (state in _FAILURES)
        ended_at = None if state is JobState.QUEUED else at
        jobs.append((job_id, attempt, state, failed, 0, message_after(state, text, reason), ended_at))
        if state in _WAITING:
            waits.append((job_id, None if state is JobState.QUEUED else retry_delay_after(failed, delay)))
    each(connection, "complete_job", completed)
    each(connection, "end_attempt", attempts)
    each(connection, "end_job", jobs)
    for job_id, pause in sorted(waits, key=itemgetter(0)):  # the older ones first
        wait_again(connection, woken, job_id, now, pause)


def _answers(connection: apsw.Connection, endings: Sequence[Ending], ended: set[JobLease]) -> list[Ended]:
    """Tell what became of last words, if some were not accepted."""
    became = []
    for word in endings:
        lease = word.lease
        if lease in ended:
            ended.discard(lease)  # said once more, it is a repetition
            became.append(Ended.ACCEPTED)
            continue
        verdict = value(connection, "verdict", (lease.job_id, lease.attempt))
        became.append(Ended.REPEATED if verdict == word.verdict else Ended.REFUSED)
    return became


def _claim(connection: apsw.Connection, claim: Claim, now: datetime) -> list[Claimed]:
    given: list[Claimed] = []
    until = micros(now + timedelta(seconds=claim.first_seconds))
    owner = (micros(now), until, claim.worker, claim.boot_id, claim.token_id)
    for queue in claim.queues:
        digests = claim.digests[len(given) :]
        if not digests:
            break
        chosen = _choose(connection, queue, frozenset(claim.labels), len(digests))
        offered = rows(connection, "offered", (_listed(chosen),))
        given_now = [_claimed(row, digest) for row, digest in zip(offered, digests, strict=False)]
        each(connection, "give", [(job.job_id, job.digest, *owner) for job in given_now])
        given += given_now
    return given


def _listed(numbers: Sequence[int]) -> str:
    """Return numbers as JSON: one query for all of them is cheaper than one for each."""
    return json.encode(numbers).decode()


def _claimed(row: Sequence[Any], digest: bytes) -> Claimed:
    job_id, queue, attempt, payload, sealed, labels = row
    return Claimed(
        job_id=job_id,
        queue=queue,
        attempt=attempt,
        payload=payload,
        sealed=bool(sealed),
        digest=digest,
        labels=label_set(labels),
    )


def _choose(connection: apsw.Connection, queue: str, offered: frozenset[str], most: int) -> list[int]:
    """Return the ids of the first jobs of a queue that a worker with these labels may have."""
    settings = _settings(connection, queue)
    if settings.limit:
        most = min(most, settings.limit - value(connection, "held", (queue,)))
    if settings.paused or most <= 0:
        return []
    sets = _label_sets(connection, queue, offered)
    if settings.key_limit:
        return _choose_within_keys(connection, settings, sets, most)
    return [job[0] for job in _first_ready(connection, queue, sets, most)]


def _settings(connection: apsw.Connection, queue: str) -> QueueSettings:
    for row in rows(connection, "settings", (queue,)):
        return settings_of(row)
    return QueueSettings(name=queue)


def _label_sets(connection: apsw.Connection, queue: str, offered: frozenset[str]) -> list[str]:
    """Return the sets of labels among the jobs that are ready which a worker satisfies."""
    if not offered:
        return ["[]"]
    return [
        text for (text,) in rows(connection, "label_sets", (queue,)) if offered.issuperset(label_set(text))
    ]


def _first_ready(connection: apsw.Connection, queue: str, sets: Sequence[str], most: int) -> list[_Candidate]:
    found: list[Any] = []
    for labels in sets:
        found += rows(connection, "first_ready", (queue, labels, most))
    return found if len(sets) == 1 else sorted(found, key=_order)[:most]


def _order(job: Sequence[Any]) -> tuple[int, int, int]:
    job_id, _, unimportance, turn = job
    return unimportance, turn, job_id


def _choose_within_keys(
    connection: apsw.Connection, settings: QueueSettings, sets: Sequence[str], most: int
) -> list[int]:
    """Do the same where jobs of a key are limited: first in the order of all jobs, then by key."""
    held = dict(rows(connection, "held_by_key", (settings.name,)))
    window = most + _MOST_PASSED_OVER
    candidates = _first_ready(connection, settings.name, sets, window)
    chosen = _with_room(candidates, held, settings.key_limit, most)
    if len(chosen) < most and len(candidates) == window:
        candidates = _first_of_keys(connection, settings, sets, held, most)
        chosen = _with_room(candidates, held, settings.key_limit, most)
    return chosen


def _with_room(
    candidates: Iterable[_Candidate], held: dict[str, int], key_limit: int, most: int
) -> list[int]:
    """Return those of some jobs that their keys have room for."""
    counts, chosen = dict(held), []
    for job_id, key, _, _ in candidates:
        if not key or counts.get(key, 0) < key_limit:
            counts[key] = counts.get(key, 0) + 1
            chosen.append(job_id)
            if len(chosen) == most:
                break
    return chosen


def _first_of_keys(
    connection: apsw.Connection,
    settings: QueueSettings,
    sets: Sequence[str],
    held: dict[str, int],
    most: int,
) -> list[_Candidate]:
    """Return the first jobs of every key that has room."""
    texts = label_text(sets)
    found: list[Any] = []
    for (key,) in rows(connection, "waiting_keys", (settings.name,)):
        room = min(most, settings.key_limit - held.get(key, 0)) if key else most
        if room > 0:
            found += rows(connection, "first_of_key", (settings.name, key, texts, room))
    return sorted(found, key=_order)


def promote(connection: apsw.Connection, woken: Woken, now: datetime) -> int:
    """Make jobs ready whose time has come."""
    queues = rows(connection, "promote", (micros(now),))
    woken.update(queue for (queue,) in queues)
    return len(queues)


def expire(connection: apsw.Connection, woken: Woken, now: datetime) -> list[JobLease]:
    """End leases that have lapsed, those of older jobs first."""
    lapsed, at = rows(connection, "lapsed", (micros(now),)), micros(now)
    for job_id, attempt, queue, worker, digest, started_at, failures, resets, reason in lapsed:
        bound = _settings(connection, queue).max_resets
        state = state_after_lapse(resets=resets, max_resets=bound, is_canceled=bool(reason))
        message = message_after(state, lapse_text(worker, resets), reason)
        lost = (job_id, attempt, worker, digest, started_at, at, None, AttemptOutcome.LOST, message)
        connection.execute(SQL["end_attempt"], lost)
        ended_at = None if state is JobState.QUEUED else at
        connection.execute(SQL["end_job"], (job_id, attempt, state, failures, 1, message, ended_at))
        if state is JobState.QUEUED:
            wait_again(connection, woken, job_id, now)
        woken.add(queue)
    return [JobLease(job_id, attempt) for job_id, attempt, *_ in lapsed]
