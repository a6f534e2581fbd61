"""A worker takes jobs, keeps their leases, and stops in good order."""

import asyncio
from collections.abc import Callable
from math import inf

import pytest
from worker_rig import LEASE, Play, Rig

from runwright.core.errors import LeaseLost, Refused, RemoteError
from runwright.core.job import Job
from runwright.core.job_rows import Verdict
from runwright.core.job_wire import (
    DequeueRequest,
    ExecutionLogEntry,
    HeartbeatRequest,
    HeartbeatResponse,
)
from runwright.engines.job_run import JobEnd
from runwright.engines.lease_clock import HeldJob
from runwright.engines.leased_source import LeasedSource
from runwright.engines.worker_job import WorkedJob
from runwright.ports.jobs import GivenJob
from runwright.testing import FakeClock, MemorySource
from runwright.testing.job_sources import SourceCall


def words(rig: Rig, number: int = 1) -> list[str]:
    return rig.source.jobs[number].said


def test_jobs_are_worked_on_to_their_verdicts() -> None:
    rig = Rig(slots=2)
    rig.add()
    rig.add(Play(end=JobEnd(Verdict.ERRORED, "step 1 failed\nwith more")))
    rig.add(Play(end=JobEnd(Verdict.FAILED, "bad document")))

    async def script() -> None:
        await rig.until(lambda: all(job.verdict for job in rig.source.jobs.values()))

    rig.run_with(script)
    assert [job.verdict for job in rig.source.jobs.values()] == ["completed", "errored", "failed"]
    assert rig.source.jobs[2].message == "step 1 failed\nwith more"
    assert any("errored after 1s: step 1 failed" in line for line in rig.said)
    assert max(len(jobs) for jobs in rig.noted) == 2, "two slots"
    assert rig.noted[-1] == []
    metrics = rig.worker.metrics.text(2)
    assert 'jobs_total{outcome="completed"} 1' in metrics
    assert 'job_seconds_bucket{le="1.0"} 3' in metrics or 'job_seconds_bucket{le="5.0"} 3' in metrics
    assert "runwright_worker_running 0" in metrics


def test_a_job_begins_only_when_its_lease_is_confirmed() -> None:
    rig = Rig()

    async def script() -> None:
        await rig.until(lambda: rig.ready_at is not None)
        rig.fail("heartbeat")
        rig.add()
        await rig.until(lambda: rig.source.jobs[1].attempt == 1)
        await asyncio.sleep(5)
        assert not rig.plays, "nobody knows whether the lease holds"
        rig.fail()
        await rig.until(lambda: words(rig) == ["completed"])

    rig.run_with(script)


def test_a_job_whose_lease_is_never_confirmed_never_begins() -> None:
    rig = Rig()

    async def script() -> None:
        await rig.until(lambda: rig.ready_at is not None)
        rig.fail("heartbeat")
        rig.add()
        await rig.until(lambda: rig.source.jobs[1].attempt == 2, 10 * LEASE)
        assert not rig.plays
        rig.fail()
        await rig.until(lambda: words(rig) == ["completed"])

    rig.run_with(script)
    assert not rig.abandoned


def test_a_job_is_stopped_before_a_lease_ends_that_cannot_be_renewed() -> None:
    rig = Rig(heartbeat=5.0, margin=8.0)
    play = Play(seconds=1_000, stop_seconds=100)
    rig.add(play)

    async def script() -> None:
        await rig.until(lambda: bool(play.started))
        await asyncio.sleep(7)
        rig.fail("heartbeat", "dequeue", "hand_back", "errored", "complete")
        lease_until = rig.source.jobs[1].lease_until
        assert lease_until is not None
        await rig.until(lambda: bool(play.ended))
        assert lease_until - 8 < play.ended[0] < lease_until, "it had its grace, but not beyond its lease"
        await asyncio.sleep(30)

    rig.run_with(script)
    assert rig.killed[0][0] == "1-q-1"
    assert words(rig) == []
    assert not rig.abandoned


@pytest.mark.parametrize("since", [7.0, 7.2, 7.4, 7.6, 7.8])
def test_a_job_is_killed_before_its_lease_ends_also_if_that_is_short(since: float) -> None:
    rig = Rig(lease=3.0)
    play = Play(seconds=1_000, stop_seconds=100)
    rig.add(play)

    async def script() -> None:
        await rig.until(lambda: bool(play.started))
        await asyncio.sleep(since)
        rig.fail("heartbeat", "dequeue", "hand_back", "errored", "complete")
        lease_until = rig.source.jobs[1].lease_until
        assert lease_until is not None
        await rig.until(lambda: bool(play.ended))
        assert lease_until - 1 < play.ended[0] < lease_until
        await asyncio.sleep(30)

    rig.run_with(script)
    assert not rig.abandoned


def test_a_job_that_was_stopped_out_of_touch_is_handed_back_if_the_server_comes_back() -> None:
    rig = Rig()
    play = Play(seconds=1_000)
    rig.add(play)

    async def script() -> None:
        await rig.until(lambda: bool(play.started))
        rig.fail("heartbeat")
        await rig.until(lambda: bool(play.ended))
        await rig.until(lambda: words(rig) == ["handed back"])
        play.seconds = 1
        rig.fail()
        await rig.until(lambda: words(rig) == ["handed back", "completed"])

    rig.run_with(script)


def test_a_job_that_the_server_does_not_know_any_more_is_killed_and_nothing_is_said() -> None:
    rig = Rig()
    play = Play(seconds=1_000, stop_seconds=100)
    rig.add(play)

    async def script() -> None:
        await rig.until(lambda: bool(play.started))
        rig.source.jobs[1].worker = ("somebody else", "")
        await rig.until(lambda: bool(play.ended), 6)

    rig.run_with(script)
    assert words(rig) == []
    assert [group for group, _ in rig.killed] == ["1-q-1"]
    assert any("left to the server" in line for line in rig.said)


def test_a_job_is_canceled_by_the_server_and_has_its_grace() -> None:
    rig = Rig()
    play = Play(seconds=1_000, stop_seconds=3)
    rig.add(play)

    async def script() -> None:
        await rig.until(lambda: bool(play.started))
        rig.source.cancel(1)
        await rig.until(lambda: words(rig) == ["failed"], 10)

    rig.run_with(script)
    assert rig.source.jobs[1].message == "canceled"
    assert not rig.killed


def test_a_job_to_cancel_that_the_answer_does_not_call_known_is_not_renewed() -> None:
    rig = Rig()
    play = Play(seconds=1_000)
    rig.add(play)
    plain = rig.source.heartbeat

    async def odd(beat: HeartbeatRequest) -> HeartbeatResponse:
        answer = await plain(beat)
        if play.started and answer.known_ids:
            return HeartbeatResponse(cancel_ids=answer.known_ids)
        return answer

    rig.source.heartbeat = odd  # type: ignore[method-assign]

    async def script() -> None:
        await rig.until(lambda: words(rig) == ["failed"], 10)

    rig.run_with(script)


def test_a_job_that_takes_too_long_is_errored_with_a_text_that_people_understand() -> None:
    rig = Rig(max_job_time=90.0)
    rig.add(Play(seconds=1_000))

    async def script() -> None:
        await rig.until(lambda: words(rig) == ["errored"])

    rig.run_with(script)
    assert "longer than the 1m30s" in rig.source.jobs[1].message


def test_without_a_limit_a_job_may_take_its_time() -> None:
    rig = Rig(max_job_time=0.0)
    rig.add(Play(seconds=10_000))

    async def script() -> None:
        await rig.until(lambda: words(rig) == ["completed"], 11_000)

    rig.run_with(script)


@pytest.mark.parametrize(
    ("play", "said", "call"),
    [
        (Play(), "completed", "complete"),
        (Play(end=JobEnd(Verdict.ERRORED, "no")), "errored", "errored"),
    ],
)
def test_a_verdict_is_repeated_until_it_is_answered(play: Play, said: str, call: str) -> None:
    rig = Rig()
    rig.add(play)

    async def script() -> None:
        await rig.until(lambda: bool(play.started))
        rig.fail(call)
        await asyncio.sleep(60)
        assert words(rig) == [], "heartbeats keep the lease, so there is time"
        rig.fail()
        await rig.until(lambda: words(rig) == [said])

    rig.run_with(script)
    assert rig.source.calls.count(SourceCall(call, 1)) > 5


def test_a_verdict_whose_answer_was_lost_ends_with_the_lease() -> None:
    rig = Rig()
    rig.add()

    async def script() -> None:
        await rig.until(lambda: bool(rig.plays.get(1) and rig.plays[1].started))
        rig.fail("complete", lost=True)
        await rig.until(lambda: rig.noted[-1] == [], 10)

    rig.run_with(script)
    assert words(rig) == ["completed"]


def test_a_verdict_that_is_never_answered_is_given_up_with_the_lease() -> None:
    rig = Rig()
    rig.add()

    async def script() -> None:
        await rig.until(lambda: bool(rig.plays.get(1) and rig.plays[1].started))
        rig.fail("complete", "heartbeat", "dequeue")
        await rig.until(lambda: rig.noted[-1] == [], 2 * LEASE)

    rig.run_with(script)
    assert words(rig) == []
    assert not rig.abandoned, "nothing of the job runs any more: the worker has no reason to end"


def test_a_verdict_that_hangs_is_broken_off_at_the_end_of_the_lease() -> None:
    rig = Rig()
    rig.add()

    async def hang(given: object) -> None:
        await asyncio.sleep(10_000)

    rig.source.complete = hang  # type: ignore[assignment]

    async def script() -> None:
        await rig.until(lambda: bool(rig.plays.get(1) and rig.plays[1].ended))
        rig.fail("heartbeat", "dequeue")
        await rig.until(lambda: rig.noted[-1] == [], 2 * LEASE)

    rig.run_with(script)
    assert not rig.abandoned


@pytest.mark.parametrize("error", [LeaseLost("unknown job 1"), Refused("bad", 400)])
def test_a_verdict_that_is_turned_down_is_not_repeated(error: RemoteError | LeaseLost) -> None:
    rig = Rig()
    rig.add()

    async def refuse(given: object) -> None:
        rig.source.calls.append(SourceCall("complete", 1))
        raise error

    rig.source.complete = refuse  # type: ignore[assignment]

    async def script() -> None:
        await rig.until(lambda: SourceCall("complete", 1) in rig.source.calls)
        rig.source.jobs[1].verdict = "somebody else's"
        await asyncio.sleep(10)

    rig.run_with(script)
    assert rig.source.calls.count(SourceCall("complete", 1)) == 1
    assert any("refused its verdict" in line for line in rig.said) == isinstance(error, Refused)


def test_a_job_run_that_hears_of_the_lost_lease_ends_in_silence() -> None:
    rig = Rig()
    rig.add(Play(end=LeaseLost("unknown job 1")))

    async def script() -> None:
        await rig.until(lambda: bool(rig.plays[1].ended))
        rig.source.jobs[1].verdict = "somebody else's"
        await rig.until(lambda: rig.noted[-1] == [])

    rig.run_with(script)
    assert words(rig) == []


def test_a_bug_in_a_job_run_is_a_failed_attempt_whose_details_stay_here() -> None:
    rig = Rig()
    rig.add(Play(end=LookupError("token-1-1 is a secret")))

    async def script() -> None:
        await rig.until(lambda: words(rig) == ["errored"])

    rig.run_with(script)
    assert "LookupError" in rig.source.jobs[1].message
    assert "secret" not in rig.source.jobs[1].message
    assert any("is a secret" in line for line in rig.said)


# -- after the process stood still -------------------------------------------------------------------------------


def test_after_it_stood_still_for_two_leases_it_kills_at_once_and_says_nothing() -> None:
    rig = Rig()
    play = Play(seconds=1_000, stop_seconds=100)
    rig.add(play)

    async def script() -> None:
        await rig.until(lambda: bool(play.started))
        before = len(rig.source.calls)
        rig.clock.advance(2 * LEASE)  # no loop has had a turn
        stopped_at = rig.clock.monotonic()
        rig.source.trouble = lambda call: RemoteError("no answer") if call.name == "heartbeat" else None
        await rig.until(lambda: bool(play.ended), 5)
        assert play.ended[0] - stopped_at <= 1.0
        after = [call.name for call in rig.source.calls[before:] if call.job_id]
        assert after == []
        rig.fail()
        play.seconds = 0
        await rig.until(lambda: words(rig) == ["completed"])

    rig.run_with(script)
    assert rig.source.jobs[1].attempt == 2


def test_what_takes_long_to_die_is_killed_once() -> None:
    rig = Rig()
    play = Play(seconds=1_000, stop_seconds=100, dying_seconds=5)
    rig.add(play)

    async def script() -> None:
        await rig.until(lambda: bool(play.started))
        rig.source.jobs[1].worker = ("somebody else", "")
        await rig.until(lambda: bool(play.ended), 15)

    rig.run_with(script)
    assert len(rig.killed) == 1


def test_an_answer_that_comes_after_the_lease_was_lost_does_not_bring_it_back() -> None:
    held = HeldJob(GivenJob(job=Job(id=1), queue="q"), 8.0, 100.0)
    held.lose()
    held.renew(105.0)
    assert not held.may_write(106.0)
    assert not held.is_confirmed


def test_a_second_attempt_at_the_same_job_ends_the_first() -> None:
    rig = Rig(slots=2)
    play = Play(seconds=1_000, stop_seconds=100)
    rig.add(play)

    async def script() -> None:
        await rig.until(lambda: bool(play.started))
        rig.source.jobs[1].lease_until = 0.0  # taken for lost, and given to this worker again
        rig.source.ring()
        await rig.until(lambda: len(play.started) == 2)
        await rig.until(lambda: rig.killed != [])
        assert [group for group, _ in rig.killed] == ["1-q-1"]
        assert rig.noted[-1] == [1]
        rig.source.cancel(1)
        await rig.until(lambda: words(rig) == ["failed"])

    rig.run_with(script)


# -- stopping ----------------------------------------------------------------------------------------------------


def test_a_stop_lets_jobs_finish_and_tells_the_server() -> None:
    rig = Rig(drain=60.0)
    play = Play(seconds=30)
    rig.add(play)

    async def script() -> None:
        await rig.until(lambda: bool(play.started))
        rig.add()
        rig.worker.stop("SIGTERM")
        await rig.until(lambda: words(rig) == ["completed"])

    rig.run_with(script)
    assert rig.source.jobs[2].attempt == 0
    assert rig.source.beats[-1].draining
    assert not rig.source.beats[0].draining


def test_jobs_that_do_not_finish_while_it_drains_are_handed_back() -> None:
    rig = Rig(drain=20.0)
    play = Play(seconds=1_000, stop_seconds=2)
    rig.add(play)

    async def script() -> None:
        await rig.until(lambda: bool(play.started))
        rig.worker.stop("SIGTERM")
        begun = rig.clock.monotonic()
        await rig.until(lambda: words(rig) == ["handed back"])
        assert 22 <= rig.clock.monotonic() - begun < 24

    rig.run_with(script)
    assert rig.source.jobs[1].message == "the worker stops"
    assert not rig.killed


def test_a_second_stop_skips_drain_and_grace() -> None:
    rig = Rig(drain=600.0)
    play = Play(seconds=1_000, stop_seconds=100)
    rig.add(play)

    async def script() -> None:
        await rig.until(lambda: bool(play.started))
        rig.worker.stop("SIGTERM")
        rig.worker.stop("SIGTERM again")
        await rig.until(lambda: words(rig) == ["handed back"], 3)

    rig.run_with(script)
    assert len(rig.killed) == 1


def test_a_job_that_has_not_begun_is_handed_back_by_a_stop() -> None:
    rig = Rig(drain=0.0)

    async def script() -> None:
        await rig.until(lambda: rig.ready_at is not None)
        rig.fail("heartbeat")
        rig.add()
        await rig.until(lambda: rig.source.jobs[1].attempt == 1)
        rig.worker.stop("SIGTERM")
        await rig.until(lambda: words(rig) == ["handed back"], 5)

    rig.run_with(script)
    assert not rig.plays


def test_a_worker_that_is_cancelled_takes_its_jobs_down() -> None:
    rig = Rig()
    play = Play(seconds=1_000, stop_seconds=100)
    rig.add(play)

    async def main() -> None:
        running = asyncio.create_task(rig.worker.run())
        await rig.until(lambda: bool(play.started))
        running.cancel()
        with pytest.raises(asyncio.CancelledError):
            await running

    rig.run(main())
    assert play.ended
    assert rig.side.task is None


def test_a_number_of_jobs_is_enough() -> None:
    rig = Rig(max_jobs=2, slots=5)
    for _ in range(3):
        rig.add()
    rig.run(rig.worker.run())
    assert [job.verdict for job in rig.source.jobs.values()] == ["completed", "completed", ""]


def test_after_a_time_no_more_jobs_are_taken_but_those_there_are_finish() -> None:
    rig = Rig(max_active=50.0)
    rig.add(Play(seconds=100))
    rig.add()
    rig.run(rig.worker.run())
    assert [job.verdict for job in rig.source.jobs.values()] == ["completed", ""]

    idle = Rig(max_active=50.0)
    idle.run(idle.worker.run())
    assert 50 <= idle.clock.monotonic() < 52


# -- the server --------------------------------------------------------------------------------------------------


def test_a_server_that_is_not_there_yet_is_waited_for_in_silence() -> None:
    rig = Rig()

    def absent(call: SourceCall) -> RemoteError:
        error = RemoteError("nobody listens at 127.0.0.1:1")
        error.__cause__ = ConnectionRefusedError()
        return error

    rig.source.trouble = absent

    async def script() -> None:
        await asyncio.sleep(30)
        assert rig.said == []
        assert rig.ready_at is None
        await asyncio.sleep(60)
        assert len(rig.said) == 1, "after a minute it is worth a word, and one is enough"
        rig.fail()
        await rig.until(lambda: rig.ready_at is not None, 5)

    rig.run_with(script)


def test_other_troubles_are_told_at_once() -> None:
    rig = Rig()
    rig.fail("heartbeat")

    async def script() -> None:
        await rig.until(lambda: len(rig.said) == 1, 2)
        assert "no answer" in rig.said[0]
        rig.worker.stop("SIGTERM")

    rig.run_with(script)
    assert rig.ready_at is None


def test_a_worker_that_is_turned_down_ends() -> None:
    rig = Rig()
    rig.source.trouble = lambda call: Refused("this token is not known", 401)
    with pytest.raises(Refused, match="token"):
        rig.run(rig.worker.run())


def test_a_token_that_is_revoked_later_is_told_and_tried_again() -> None:
    rig = Rig()

    async def script() -> None:
        await rig.until(lambda: rig.ready_at is not None)
        rig.source.trouble = lambda call: Refused("this token is not known", 401)
        await rig.until(lambda: rig.said != [])
        rig.fail()
        rig.add()
        await rig.until(lambda: words(rig) == ["completed"])

    rig.run_with(script)


def test_questions_back_off_while_the_server_is_away() -> None:
    rig = Rig()

    async def script() -> None:
        await rig.until(lambda: rig.ready_at is not None)
        rig.fail("dequeue")
        before = rig.source.calls.count(SourceCall("dequeue"))
        await asyncio.sleep(600)
        asked = rig.source.calls.count(SourceCall("dequeue")) - before
        assert 20 <= asked <= 40
        rig.fail()
        rig.add()
        await rig.until(lambda: words(rig) == ["completed"], 40)

    rig.run_with(script)


def test_a_server_that_does_not_keep_questions_is_not_asked_without_a_pause() -> None:
    rig = Rig(wait=0.0, poll=2.0)

    async def script() -> None:
        await asyncio.sleep(100)

    rig.run_with(script)
    assert 45 <= rig.source.calls.count(SourceCall("dequeue")) <= 52


def test_what_can_not_be_noted_is_told() -> None:
    rig = Rig(max_jobs=1)

    def fail(jobs: object) -> None:
        raise OSError("no space left")

    rig.worker._doors = type(rig.doors)(
        **{name: getattr(rig.doors, name) for name in rig.doors.__struct_fields__} | {"note": fail}
    )
    rig.add()
    rig.run(rig.worker.run())
    assert words(rig) == ["completed"]
    assert any("no space left" in line for line in rig.said)


# -- heartbeats --------------------------------------------------------------------------------------------------


def test_short_leases_have_more_heartbeats() -> None:
    rig = Rig(lease=4.0, heartbeat=5.0)
    rig.add(Play(seconds=60))

    async def script() -> None:
        await rig.until(lambda: words(rig) == ["completed"])

    rig.run_with(script)
    assert len(rig.source.beats) >= 50


def test_a_heartbeat_that_is_not_answered_is_followed_by_another() -> None:
    rig = Rig()
    rig.add(Play(seconds=60))
    plain = rig.source.heartbeat
    hung = 0

    async def sometimes(beat: HeartbeatRequest) -> HeartbeatResponse:
        nonlocal hung
        hung += 1
        if hung % 3 == 2:
            await asyncio.sleep(1_000)
        return await plain(beat)

    rig.source.heartbeat = sometimes  # type: ignore[method-assign]

    async def script() -> None:
        await rig.until(lambda: words(rig) == ["completed"])

    rig.run_with(script)
    assert any("not answered within 5 s" in line for line in rig.said)


def test_heartbeats_name_every_queue_and_its_jobs() -> None:
    rig = Rig()
    rig.add(Play(seconds=20), job=Job(commit="1"))

    async def script() -> None:
        await rig.until(lambda: words(rig) == ["completed"])

    rig.run_with(script)
    busy = [beat for beat in rig.source.beats if beat.job_ids_by_queue[0].job_ids]
    assert busy[0].job_ids_by_queue[0].queue_name == "q"
    assert busy[0].job_ids_by_queue[0].job_ids == (1,)
    assert busy[0].slots == 1
    assert "runwright_worker_slots 1" in busy[0].prometheus_metrics


def test_a_bug_in_the_heartbeats_stops_the_worker_and_comes_out() -> None:
    rig = Rig(drain=600.0)
    play = Play(seconds=1_000, stop_seconds=50)
    rig.add(play)

    async def main() -> None:
        running = asyncio.create_task(rig.worker.run())
        await rig.until(lambda: bool(play.started))

        async def broken(beat: HeartbeatRequest) -> HeartbeatResponse:
            raise LookupError("a bug")

        rig.source.heartbeat = broken  # type: ignore[method-assign]
        with pytest.raises(ExceptionGroup) as caught:
            await running
        assert caught.group_contains(LookupError, match="a bug")

    rig.run(main())
    assert words(rig) == ["handed back"]


def test_a_main_loop_that_leaves_a_job_running_is_ended_with_it() -> None:
    rig = Rig()
    play = Play(seconds=1_000)
    rig.add(play)

    async def script() -> None:
        await rig.until(lambda: bool(play.started))
        job = next(iter(rig.worker._working.values()))
        job._look = lambda now: None  # type: ignore[method-assign]
        lease_until = rig.source.jobs[1].lease_until
        assert lease_until is not None
        rig.fail("heartbeat")
        await rig.until(lambda: rig.abandoned != [])
        assert rig.clock.monotonic() < lease_until
        del job._look

    rig.run_with(script)


def test_without_that_watch_a_blocked_loop_would_keep_its_job_beyond_the_lease(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    from runwright.engines.heartbeats import Heartbeats

    async def blind(self: Heartbeats) -> None:
        await asyncio.sleep(10_000)

    monkeypatch.setattr(Heartbeats, "_watch", blind)
    with pytest.raises(TimeoutError):
        test_a_main_loop_that_leaves_a_job_running_is_ended_with_it()


def test_without_the_lease_clock_a_job_would_outlive_its_lease(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("stop_at", "kill_at", "end_at"):
        monkeypatch.setattr(HeldJob, name, property(lambda held: inf))
    with pytest.raises((AssertionError, TimeoutError)):
        test_a_job_is_stopped_before_a_lease_ends_that_cannot_be_renewed()


def test_without_asking_first_a_job_would_begin_whose_lease_nobody_knows(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(HeldJob, "is_confirmed", property(lambda held: True))
    with pytest.raises(AssertionError, match="nobody knows"):
        test_a_job_begins_only_when_its_lease_is_confirmed()


def test_without_the_kill_a_job_would_have_its_grace_after_the_worker_stood_still(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(WorkedJob, "_kill", lambda job: setattr(job._held, "is_settled", True))
    with pytest.raises((AssertionError, TimeoutError)):
        test_after_it_stood_still_for_two_leases_it_kills_at_once_and_says_nothing()


def test_a_message_after_the_end_of_a_loop_is_dropped() -> None:
    from runwright.engines.heartbeats import Heartbeats
    from runwright.engines.lease_clock import HeldJobs

    rig = Rig()
    loop = asyncio.new_event_loop()
    loop.close()
    beats = Heartbeats(HeldJobs(1.0, rig.clock.monotonic), rig.worker._make_pulse(), loop)
    beats.hurry()  # it has not begun
    told: list[Callable[[], None]] = []
    beats._tell(told.append)
    assert told == []


def test_what_a_job_says_after_its_lease_is_not_passed_on() -> None:
    clock = FakeClock()
    memory = MemorySource(clock)
    number = memory.add()

    async def test() -> None:
        given = await memory.dequeue(DequeueRequest(executor_name="w", queues=("q",)))
        assert given is not None
        held = HeldJob(given, 8.0, clock.monotonic())
        source = LeasedSource(memory, held, clock.monotonic)
        entry = ExecutionLogEntry(key="one")
        assert await source.add_entry(given, entry) == 1
        await source.update_entry(given, 1, entry)
        assert await source.heartbeat(HeartbeatRequest()) == HeartbeatResponse()
        assert await source.dequeue(DequeueRequest()) is None
        clock.advance(LEASE)
        before = len(memory.calls)
        for said in (
            lambda: source.add_entry(given, entry),
            lambda: source.update_entry(given, 1, entry),
            lambda: source.complete(given),
            lambda: source.errored(given, "", is_final=True),
            lambda: source.hand_back(given, ""),
        ):
            with pytest.raises(LeaseLost):
                await said()
        assert len(memory.calls) == before
        await source.close()

    clock.run(test())
    assert memory.jobs[number].log
