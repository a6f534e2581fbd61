"""What every `JobStore` does with leases and last words; one suite for the stores on disk and for the fake."""

import pytest
from job_samples import (
    at,
    check,
    claim,
    digest,
    end,
    ending,
    log_entry,
    new_job,
    take,
    take_all,
)

from runwright.core.errors import JobHasEnded, LeaseLost
from runwright.core.job_rows import (
    NO_REASON,
    AttemptOutcome,
    Beat,
    BeatAnswer,
    Ended,
    JobLease,
    QueueSettings,
    TokenHolder,
    Verdict,
    lapse_text,
)
from runwright.core.states import JobState

__all__ = ["check"]


async def state_of(store, job_id=1):
    """Return the state of a job."""
    return (await store.job(job_id)).state


async def outcomes(store, job_id=1):
    """Return how the attempts at a job ended."""
    return [attempt.outcome for attempt in await store.attempts(job_id)]


@pytest.mark.parametrize(
    ("verdict", "state", "message", "failures"),
    [
        (Verdict.COMPLETED, JobState.COMPLETED, "", 0),
        (Verdict.ERRORED, JobState.ERRORED, "boom \x07", 1),
        (Verdict.FAILED, JobState.FAILED, "boom \x07", 1),
        (Verdict.HANDED_BACK, JobState.QUEUED, "", 0),
    ],
)
def test_a_last_word_ends_the_attempt_and_its_lease(check, verdict, state, message, failures):
    async def work(store):
        await store.submit([new_job(max_attempts=2)], at())
        given = await take(store, now=1)
        assert await end(store, given, verdict, "boom \x07", now=3) is Ended.ACCEPTED
        row = await store.job(1)
        assert (row.state, row.message, row.failures, row.resets) == (state, message, failures, 0)
        assert (row.attempt, row.worker, row.started_at, row.lease_until) == (1, "w1", at(1), None)
        assert row.finished_at == (None if state is JobState.QUEUED else at(3))
        (attempt,) = await store.attempts(1)
        assert (attempt.ended_at, attempt.message) == (at(3), "boom \x07")
        assert attempt.outcome.value == verdict.value
        assert (await take(store) is not None) == (state is JobState.QUEUED)

    check(work)


@pytest.mark.parametrize("verdict", list(Verdict))
def test_a_last_word_said_again_is_known_and_another_one_refused(check, verdict):
    async def work(store):
        await store.submit([new_job(max_attempts=2)], at())
        given = await take(store)
        assert await end(store, given, verdict, "why", now=1) is Ended.ACCEPTED
        before = await store.job(1), await store.attempts(1)
        for other in Verdict:
            expected = Ended.REPEATED if other is verdict else Ended.REFUSED
            assert await end(store, given, other, "changed", now=2) is expected
        assert (await store.job(1), await store.attempts(1)) == before

    check(work)


def test_several_last_words_are_answered_in_their_order(check):
    async def work(store):
        ids = await store.submit([new_job() for _ in range(3)], at())
        _, given = await store.exchange([], claim(most=3), at())
        words = [
            ending(given[2]),
            ending(JobLease(99, 1)),
            ending(given[0], Verdict.FAILED),
            ending(given[2]),
            ending(given[0], Verdict.ERRORED),
            ending(JobLease(given[1].job_id, 2)),
            ending(JobLease(given[1].job_id, 0)),
        ]
        became, _ = await store.exchange(words, None, at(1))
        assert became == [
            Ended.ACCEPTED,
            Ended.REFUSED,
            Ended.ACCEPTED,
            Ended.REPEATED,
            Ended.REFUSED,
            Ended.REFUSED,
            Ended.REFUSED,
        ]
        assert [await state_of(store, number) for number in ids] == ["failed", "processing", "completed"]

    check(work)


def test_a_stale_lease_writes_nothing(check):
    async def work(store):
        await store.submit([new_job()], at())
        stale = await take(store)
        await store.add_entry(stale.lease, log_entry(out="old"), at())
        await store.expire(at(100))
        current = await take(store, now=100, worker="w2")
        assert current.lease == JobLease(1, 2)
        assert await end(store, stale, now=101) is Ended.REFUSED
        with pytest.raises(LeaseLost, match="attempt 1"):
            await store.add_entry(stale.lease, log_entry(), at(101))
        with pytest.raises(LeaseLost, match="attempt 1"):
            await store.update_entry(stale.lease, 1, log_entry(out="more"), None, at(101))
        assert (await store.job(1)).state is JobState.PROCESSING
        assert await store.output(1, 1, 1, 0, 100) == b"old"
        assert await end(store, current, now=102) is Ended.ACCEPTED

    check(work)


def test_an_error_is_tried_again_after_growing_waits_until_attempts_run_out(check):
    async def work(store):
        await store.submit([new_job(max_attempts=4, retry_delay=10.0)], at())
        now = 0.0
        for wait in (10.0, 20.0, 40.0):
            assert (
                await end(store, await take(store, now=now), Verdict.ERRORED, "no", now=now) is Ended.ACCEPTED
            )
            row = await store.job(1)
            assert (row.state, row.available_at) == (JobState.ERRORED, at(now + wait))
            assert await store.promote(at(now + wait - 0.001)) == 0
            assert await take(store, now=now) is None
            now += wait
            assert await store.promote(at(now)) == 1
            assert await state_of(store) is JobState.ERRORED
        last = await take(store, now=now)
        row = await store.job(1)
        assert (row.attempt, row.failures, row.message, row.finished_at) == (4, 3, "", None)
        assert await end(store, last, Verdict.ERRORED, "no", now=now) is Ended.ACCEPTED
        assert ((await store.job(1)).failures, await state_of(store)) == (4, JobState.FAILED)
        assert await outcomes(store) == [AttemptOutcome.ERRORED] * 4

    check(work)


def test_a_job_that_is_handed_back_comes_again_and_counts_no_failure(check):
    async def work(store):
        first, second = await store.submit([new_job(key="a"), new_job(key="b")], at())
        given = await take(store)
        assert await end(store, given, Verdict.HANDED_BACK, "draining", now=2) is Ended.ACCEPTED
        row = await store.job(first)
        assert (row.state, row.available_at, row.failures, row.resets) == (JobState.QUEUED, at(2), 0, 0)
        assert await take_all(store, now=2) == [first, second]
        assert (await store.job(first)).attempt == 2

    check(work)


def test_the_first_lease_is_short_and_a_heartbeat_makes_it_whole(check):
    async def work(store):
        await store.submit([new_job(), new_job()], at())
        await store.exchange([], claim(most=2, lease_seconds=25.0, first_seconds=12.0), at())
        assert await store.heartbeat(
            Beat(worker="w1", job_ids=(1,), lease_seconds=25.0), at(10)
        ) == BeatAnswer(known=(1,))
        row = await store.job(1)
        assert (row.heartbeat_at, row.lease_until) == (at(10), at(35))
        assert await store.expire(at(11.999999)) == []
        assert await store.expire(at(12)) == [JobLease(2, 1)]
        assert await store.expire(at(34.999999)) == []
        assert await store.expire(at(35)) == [JobLease(1, 1)]
        assert await store.expire(at(99)) == []

    check(work)


def test_a_heartbeat_that_comes_late_makes_no_lease_shorter(check):
    async def work(store):
        await store.submit([new_job()], at())
        await store.exchange([], claim(), at())
        for second in (10, 4):
            beat = Beat(worker="w1", job_ids=(1,), lease_seconds=25.0)
            assert (await store.heartbeat(beat, at(second))).known == (1,)
        assert (await store.job(1)).lease_until == at(35)
        assert await store.expire(at(34)) == []

    check(work)


def test_an_attempt_that_was_asked_for_before_the_last_one_ended_begins_after_it(check):
    async def work(store):
        await store.submit([new_job()], at())
        await take(store, now=1)
        assert await store.expire(at(60)) == [JobLease(1, 1)]
        await take(store, now=50)
        first, second = await store.attempts(1)
        assert first.ended_at == second.started_at == (await store.job(1)).started_at == at(60)

    check(work)


def test_a_heartbeat_keeps_only_what_that_worker_holds_there(check):
    async def work(store):
        await store.submit([new_job(), new_job(), new_job("docs"), new_job(), new_job()], at())
        await take_all(store, "builds", "docs", most=3, boot_id="boot")
        await take_all(store, most=1, worker="w2", boot_id="boot")
        mine = dict.fromkeys(await take_all(store, "docs", boot_id="boot"))
        everything = (5, 4, 3, 2, 2, 1, 77)

        async def known(**changes):
            beat = Beat(worker="w1", boot_id="boot", job_ids=everything, lease_seconds=50.0)
            changed = Beat(**({name: getattr(beat, name) for name in beat.__struct_fields__} | changes))
            return set((await store.heartbeat(changed, at(1))).known)

        held = {number for number in range(1, 6) if (await store.job(number)).worker == "w1"} | set(mine)
        assert await known() == held
        assert await known(queue="docs") == {3}
        assert await known(boot_id="another") == set()
        assert await known(boot_id="") == set()
        assert await known(worker="w3") == set()
        assert await known(job_ids=(2,)) == {2}
        assert await known(job_ids=()) == set()
        assert await end(store, JobLease(2, 1)) is Ended.ACCEPTED
        assert await known() == held - {2}

    check(work)


def test_a_lease_that_lapses_puts_the_job_back_until_there_were_too_many(check):
    async def work(store):
        await store.submit([new_job()], at())
        await store.set_queue(QueueSettings(name="builds", max_resets=2))
        for attempt in (1, 2, 3):
            now = attempt * 100.0
            assert (await take(store, now=now)).attempt == attempt
            assert await store.expire(at(now + 12)) == [JobLease(1, attempt)]
            row = await store.job(1)
            assert (row.resets, row.failures, row.lease_until) == (attempt, 0, None)
        assert (row.state, row.message) == (JobState.FAILED, lapse_text("w1", 2))
        assert row.finished_at == at(312)
        attempts = await store.attempts(1)
        assert [each.outcome for each in attempts] == [AttemptOutcome.LOST] * 3
        assert [each.message for each in attempts] == ["", "", lapse_text("w1", 2)]
        assert await end(store, JobLease(1, 3), now=313) is Ended.REFUSED

    check(work)


def test_a_lapse_by_default_is_forgiven_three_times(check):
    async def work(store):
        await store.submit([new_job()], at())
        for attempt in (1, 2, 3, 4):
            await take(store, now=attempt * 100.0)
            await store.expire(at(attempt * 100.0 + 50))
            assert await state_of(store) is (JobState.QUEUED if attempt < 4 else JobState.FAILED)

    check(work)


def test_an_attempt_may_end_after_its_lease_as_long_as_nobody_has_noticed(check):
    async def work(store):
        await store.submit([new_job()], at())
        given = await take(store)
        assert await end(store, given, now=1_000) is Ended.ACCEPTED
        assert await store.expire(at(1_000)) == []

    check(work)


def test_the_token_of_a_lease_leads_to_it_also_after_its_end(check):
    async def work(store):
        await store.submit([new_job(), new_job()], at())
        _, given = await store.exchange([], claim(digests=(digest(1), digest(2))), at())
        lease = given[0].lease
        holder = TokenHolder(lease=lease, queue="builds", worker="w1", is_current=True)
        assert await store.holder(digest(1)) == holder
        await store.expire(at(100))
        await store.exchange([], claim(digests=(digest(3),), worker="w2"), at(100))
        assert await store.holder(digest(1)) == TokenHolder(
            lease=lease, queue="builds", worker="w1", is_current=False, outcome=AttemptOutcome.LOST
        )
        assert (await store.holder(digest(2))).outcome is AttemptOutcome.LOST
        again = await store.holder(digest(3))
        assert (again.lease, again.worker, again.is_current) == (JobLease(1, 2), "w2", True)
        await end(store, again.lease, now=101)
        again = await store.holder(digest(3))
        assert (again.is_current, again.outcome) == (False, AttemptOutcome.COMPLETED)

    check(work)


@pytest.mark.parametrize("said", ["", "all went well"])
def test_an_attempt_that_completes_its_job_is_known_whatever_was_said(check, said):
    async def work(store):
        await store.submit([new_job(max_attempts=2)], at())
        _, (first,) = await store.exchange([], claim(digests=(digest(1),)), at())
        await end(store, first, Verdict.ERRORED, "no", now=1)
        await store.promote(at(100))
        _, (second,) = await store.exchange([], claim(digests=(digest(2),), worker="w2"), at(100))
        for became in (Ended.ACCEPTED, Ended.REPEATED):
            assert await end(store, second, message=said, now=105) is became
        assert await end(store, second, Verdict.FAILED, now=106) is Ended.REFUSED
        assert [(await store.holder(digest(number))).outcome for number in (1, 2)] == [
            AttemptOutcome.ERRORED,
            AttemptOutcome.COMPLETED,
        ]
        known = [(each.number, each.worker, each.ended_at, each.message) for each in await store.attempts(1)]
        assert known == [(1, "w1", at(1), "no"), (2, "w2", at(105), said)]
        assert (await store.job(1)).message == ""

    check(work)


def test_an_old_worker_is_known_by_its_own_token(check):
    async def work(store):
        await store.submit([new_job()], at())
        given = await take(store, token_id=4)
        assert await store.lease_of(1, "w1", 4) == given.lease
        assert await store.lease_of(1, "w2", 4) is None
        assert await store.lease_of(1, "w1", 5) is None
        assert await store.lease_of(2, "w1", 4) is None
        await end(store, given)
        assert await store.lease_of(1, "w1", 4) is None

    check(work)


def test_a_job_nobody_works_on_is_canceled_at_once(check):
    async def work(store):
        await store.submit([new_job(), new_job(delay=60.0), new_job(max_attempts=2)], at())
        assert await take_all(store) == [1, 3]
        await end(store, JobLease(1, 1), Verdict.HANDED_BACK)
        await end(store, JobLease(3, 1), Verdict.ERRORED)
        for number in (1, 2, 3):
            row = await store.cancel(number, "not needed", at(5))
            assert row == await store.job(number)
            assert (row.state, row.finished_at) == (JobState.CANCELED, at(5))
            assert (row.cancel_reason, row.message) == ("not needed", "not needed")
        assert await store.promote(at(3_600)) == 0
        assert await take_all(store) == []

    check(work)


def test_a_job_that_is_worked_on_is_canceled_by_its_worker(check):
    async def work(store):
        await store.submit([new_job(max_attempts=9)], at())
        given = await take(store)
        row = await store.cancel(1, "", at(1))
        assert (row.state, row.cancel_reason) == (JobState.PROCESSING, NO_REASON)
        assert (await store.cancel(1, "another", at(2))).cancel_reason == NO_REASON
        answer = await store.heartbeat(Beat(worker="w1", job_ids=(1,)), at(2))
        assert answer == BeatAnswer(known=(1,), cancel=(1,))
        assert await end(store, given, Verdict.ERRORED, "stopped", now=3) is Ended.ACCEPTED
        row = await store.job(1)
        assert (row.state, row.message, row.failures) == (JobState.CANCELED, NO_REASON, 0)
        (attempt,) = await store.attempts(1)
        assert (attempt.outcome, attempt.message) == (AttemptOutcome.CANCELED, "stopped")
        assert await store.cancel(1, "again", at(4)) == row
        assert await end(store, given, Verdict.ERRORED, "stopped", now=5) is Ended.REPEATED
        assert await end(store, given, Verdict.COMPLETED, now=5) is Ended.REFUSED

    check(work)


@pytest.mark.parametrize("verdict", [Verdict.COMPLETED, Verdict.FAILED, Verdict.HANDED_BACK])
def test_work_that_is_complete_counts_though_it_was_to_be_stopped(check, verdict):
    async def work(store):
        await store.submit([new_job()], at())
        given = await take(store)
        await store.cancel(1, "stop", at(1))
        assert await end(store, given, verdict, "said", now=2) is Ended.ACCEPTED
        completed = verdict is Verdict.COMPLETED
        row = await store.job(1)
        assert row.state is (JobState.COMPLETED if completed else JobState.CANCELED)
        assert row.message == ("" if completed else "stop")
        assert await outcomes(store) == [AttemptOutcome.COMPLETED if completed else AttemptOutcome.CANCELED]

    check(work)


def test_a_job_to_be_stopped_whose_worker_is_lost_is_canceled(check):
    async def work(store):
        await store.submit([new_job()], at())
        given = await take(store)
        await store.cancel(1, "stop", at(1))
        assert await store.expire(at(100)) == [given.lease]
        row = await store.job(1)
        assert (row.state, row.message, row.finished_at) == (JobState.CANCELED, "stop", at(100))
        assert await outcomes(store) == [AttemptOutcome.LOST]

    check(work)


def test_what_has_ended_well_or_badly_can_not_be_canceled(check):
    async def work(store):
        await store.submit([new_job(), new_job()], at())
        await end(store, await take(store), Verdict.COMPLETED)
        await end(store, await take(store), Verdict.FAILED)
        with pytest.raises(JobHasEnded, match="job 1 is completed"):
            await store.cancel(1, "", at(1))
        with pytest.raises(JobHasEnded, match="job 2 is failed"):
            await store.cancel(2, "", at(1))

    check(work)


def test_a_retry_queues_a_job_again_with_all_its_attempts_before_it(check):
    async def work(store):
        await store.submit([new_job(max_attempts=2)], at())
        await take(store)
        await store.expire(at(50))
        await end(store, await take(store, now=50), Verdict.ERRORED, "boom", now=51)
        row = await store.retry(1, at(60))
        assert row == await store.job(1)
        assert (row.state, row.failures, row.resets, row.message) == (JobState.QUEUED, 0, 0, "")
        assert (row.available_at, row.finished_at, row.attempt) == (at(60), None, 2)
        third = await take(store, now=60)
        assert third.attempt == 3
        await end(store, third, Verdict.FAILED, now=61)
        assert (await store.retry(1, at(62))).state is JobState.QUEUED
        await store.cancel(1, "no", at(63))
        row = await store.retry(1, at(64))
        assert (row.state, row.cancel_reason, row.message) == (JobState.QUEUED, "", "")
        assert (await take(store, now=64)).attempt == 4
        assert len(await store.attempts(1)) == 4

    check(work)


def test_what_is_queued_running_or_complete_can_not_be_retried(check):
    async def work(store):
        await store.submit([new_job()], at())
        for state in ("queued", "processing", "completed"):
            with pytest.raises(JobHasEnded, match=f"job 1 is {state}"):
                await store.retry(1, at(1))
            if state == "queued":
                given = await take(store)
            elif state == "processing":
                await end(store, given)

    check(work)


def test_a_canceled_job_can_be_retried_and_completed(check):
    async def work(store):
        await store.submit([new_job()], at())
        given = await take(store)
        await store.cancel(1, "stop", at(1))
        await end(store, given, Verdict.FAILED, now=2)
        await store.retry(1, at(3))
        again = await take(store, now=3)
        assert (await store.heartbeat(Beat(worker="w1", job_ids=(1,)), at(4))).cancel == ()
        assert await end(store, again, now=5) is Ended.ACCEPTED
        assert await state_of(store) is JobState.COMPLETED
        assert await outcomes(store) == [AttemptOutcome.CANCELED, AttemptOutcome.COMPLETED]

    check(work)
