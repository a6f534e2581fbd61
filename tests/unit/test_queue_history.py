"""The checker of histories, by histories that are good and such as no queue may have."""

from datetime import UTC, datetime, timedelta

import pytest
from msgspec import structs
from queue_history import History, JobHistory, Word, crowds, outcome_counts, violations

from runwright.core.job_rows import AttemptOutcome, JobAttempt, JobRow, QueueSettings
from runwright.core.states import JobState

START = datetime(2026, 1, 1, tzinfo=UTC)
COMPLETED, LOST, ERRORED = AttemptOutcome.COMPLETED, AttemptOutcome.LOST, AttemptOutcome.ERRORED
ROUTES = {COMPLETED: "markComplete", ERRORED: "markErrored", AttemptOutcome.FAILED: "markFailed"}


def at(seconds):
    return START + timedelta(seconds=seconds)


def row(job_id=1, state=JobState.COMPLETED, **fields):
    usual = {
        "queue": "q",
        "priority": 0,
        "labels": (),
        "key": "",
        "attempt": 1,
        "failures": 0,
        "resets": 0,
        "max_attempts": 1,
        "retry_delay": 1.0,
        "queued_at": START,
        "available_at": START,
        "started_at": None,
        "heartbeat_at": None,
        "finished_at": None,
        "lease_until": None,
        "worker": "w",
        "cancel_reason": "",
        "message": "",
        "sealed": False,
    }
    return JobRow(**{**usual, **fields, "id": job_id, "state": state})


def job(*outcomes, job_id=1, begins=0, state=JobState.COMPLETED, expected=None, **fields):
    """Return a job whose attempts took a second each, one after another."""
    attempts = [
        JobAttempt(
            job_id=job_id,
            number=number,
            worker="w",
            started_at=at(begins + number),
            ended_at=at(begins + number + 1),
            outcome=outcome,
        )
        for number, outcome in enumerate(outcomes, 1)
    ]
    fields = {"attempt": len(attempts), "failures": outcomes.count(ERRORED), **fields}
    return JobHistory(
        row=row(job_id, state, **fields),
        attempts=attempts,
        expected=frozenset(expected or {state}),
    )


def history(*jobs, effects=None, words=None, queues=()):
    """Return the history of jobs whose workers did and said what they should."""
    attempts = [attempt for each in jobs for attempt in each.attempts]
    said = [each for each in attempts if each.outcome in ROUTES]
    if effects is None:
        effects = {(each.job_id, each.number): 1 for each in attempts}
    if words is None:
        words = [Word(each.job_id, each.number, ROUTES[each.outcome], True) for each in said]
    return History(jobs=jobs, effects=effects, words=words, queues=queues)


def changed(one, which, **fields):
    """Return a job with one attempt changed."""
    attempts = [structs.replace(a, **fields) if a.number == which else a for a in one.attempts]
    return structs.replace(one, attempts=attempts)


@pytest.mark.parametrize(
    "good",
    [
        history(),
        history(job(COMPLETED)),
        history(job(LOST, AttemptOutcome.HANDED_BACK, COMPLETED)),
        history(job(ERRORED, COMPLETED, max_attempts=2)),
        history(job(ERRORED, LOST, ERRORED, state=JobState.FAILED, max_attempts=2)),
        history(job(AttemptOutcome.FAILED, state=JobState.FAILED, failures=1)),
        history(job(LOST, AttemptOutcome.CANCELED, state=JobState.CANCELED)),
        history(
            job(AttemptOutcome.CANCELED, state=JobState.CANCELED), words=[Word(1, 1, "markFailed", True)]
        ),
        history(job(state=JobState.CANCELED)),
        history(job(LOST, COMPLETED), effects={(1, 2): 1}),
        history(
            job(LOST, COMPLETED), words=[Word(1, 2, "markComplete", True), Word(1, 1, "markComplete", False)]
        ),
        history(
            job(COMPLETED), job(COMPLETED, job_id=2, begins=1), queues=[QueueSettings(name="q", limit=1)]
        ),
    ],
)
def test_a_history_as_it_should_be_is_accepted(good):
    assert violations(good) == []


TWICE = history(job(COMPLETED), job(COMPLETED, job_id=2, begins=0.5))


@pytest.mark.parametrize(
    ("bad", "told"),
    [
        (history(job(LOST, state=JobState.QUEUED)), "has not ended: queued"),
        (history(job(state=JobState.ERRORED)), "has not ended: errored"),
        (history(job(COMPLETED, expected={JobState.FAILED})), "is completed, not failed"),
        (history(job(COMPLETED, lease_until=START)), "has ended, and somebody holds it"),
        (history(job(LOST, COMPLETED, attempt=3)), "3 attempts were begun, and these are recorded: [1, 2]"),
        (history(changed(job(LOST, COMPLETED), 1, number=4)), "2 attempts were begun"),
        (history(changed(job(LOST, COMPLETED), 1, ended_at=None)), "attempt 1 has not ended"),
        (history(changed(job(LOST, COMPLETED), 1, outcome=None)), "attempt 1 has not ended"),
        (history(changed(job(COMPLETED), 1, ended_at=START)), "attempt 1 ended before it began"),
        (
            history(changed(job(LOST, COMPLETED), 2, started_at=at(1.5))),
            "attempt 2 began 0.5 s before attempt 1 ended",
        ),
        (history(job(COMPLETED, COMPLETED)), "2 attempts have completed"),
        (history(job(COMPLETED, LOST)), "went on after an attempt had completed"),
        (history(job(LOST)), "is completed, and 0 attempts have completed"),
        (history(job(COMPLETED, state=JobState.CANCELED)), "is canceled, and 1 attempts have completed"),
        (history(job(ERRORED, COMPLETED, max_attempts=2, failures=0)), "counts 0 failures of 1"),
        (
            history(job(ERRORED, ERRORED, state=JobState.FAILED)),
            "has failed 2 times, and was to be tried 1 times",
        ),
        (
            history(job(AttemptOutcome.FAILED, COMPLETED, failures=1, max_attempts=2)),
            "went on after an attempt had failed for good",
        ),
        (history(job(LOST, state=JobState.FAILED)), "has failed, and its last attempt did not"),
        (history(job(COMPLETED), effects={}), "attempt 1 is completed without having been worked on"),
        (history(job(COMPLETED), effects={(1, 1): 2}), "attempt 1 was worked on 2 times"),
        (
            history(job(COMPLETED), effects={(1, 1): 1, (1, 2): 1}),
            "attempt 2 was worked on, and is not recorded",
        ),
        (history(job(COMPLETED), words=[]), "attempt 1 is completed, and its worker has not said so"),
        (
            history(job(COMPLETED), words=[Word(1, 1, "markErrored", False)]),
            "attempt 1 is completed, and its worker has not said so",
        ),
        (
            history(
                job(LOST, COMPLETED),
                words=[Word(1, 1, "markComplete", True), Word(1, 2, "markComplete", True)],
            ),
            "markComplete of attempt 1 was accepted, which is lost",
        ),
        (
            history(
                job(COMPLETED), words=[Word(1, 1, "markComplete", True), Word(1, 1, "markErrored", True)]
            ),
            "markErrored of attempt 1 was accepted, which is completed",
        ),
        (
            history(
                job(COMPLETED), words=[Word(1, 1, "markComplete", True), Word(2, 1, "markErrored", True)]
            ),
            "job 2: markErrored of attempt 1 was accepted, which is not recorded",
        ),
        (
            history(*TWICE.jobs, queues=[QueueSettings(name="q", limit=1)]),
            "queue q: 2 jobs for 0.5 s from 00:00:01.500000 on, and the limit is 1",
        ),
        (
            history(
                *(structs.replace(each, row=structs.replace(each.row, key="k")) for each in TWICE.jobs),
                queues=[QueueSettings(name="q", key_limit=1)],
            ),
            "queue q, key k: 2 jobs for 0.5 s",
        ),
    ],
)
def test_a_history_as_it_may_not_be_is_found(bad, told):
    assert [text for text in violations(bad) if told in text], violations(bad)


def test_limits_of_other_queues_and_keys_do_not_count():
    queues = [QueueSettings(name="other", limit=1), QueueSettings(name="q", limit=2, key_limit=1)]
    assert violations(history(*TWICE.jobs, queues=queues)) == []


def test_outcomes_are_counted():
    assert outcome_counts(history(job(LOST, COMPLETED), job(COMPLETED, job_id=2))) == {
        "completed": 2,
        "lost": 1,
    }


def test_too_many_at_one_moment_are_found():
    queues = [QueueSettings(name="a", limit=1), QueueSettings(name="b", key_limit=1)]
    held = [
        row(1, JobState.PROCESSING, queue="a"),
        row(2, JobState.COMPLETED, queue="a"),
        row(3, JobState.PROCESSING, queue="b", key="x"),
        row(4, JobState.PROCESSING, queue="b", key="y"),
        row(5, JobState.PROCESSING, queue="b"),
        row(6, JobState.PROCESSING, queue="b"),
    ]
    assert list(crowds(held, queues)) == []
    more = [row(7, JobState.PROCESSING, queue="a"), row(8, JobState.PROCESSING, queue="b", key="x")]
    assert list(crowds([*held, *more], queues)) == [
        "queue a: 2 jobs are held, and its limit is 1",
        "queue b: 2 jobs of key x are held, and its limit is 1",
    ]
