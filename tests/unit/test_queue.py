"""The queue's engine on a fake store and a fake clock."""

import asyncio
from datetime import timedelta

import msgspec
import pytest
from queue_bench import STEPS, Bench, ReversingSealer

from runwright.core.errors import (
    ConflictError,
    DefinitionError,
    JobHasEnded,
    JobNotFound,
    LeaseLost,
    Problem,
    StoreError,
    UsageError,
)
from runwright.core.job_rows import (
    AttemptOutcome,
    Ended,
    JobFilter,
    JobLease,
    QueueSettings,
    Verdict,
)
from runwright.core.job_wire import (
    DequeueRequest,
    ExecutionLogEntry,
    HeartbeatRequest,
    QueueJobIds,
    SubmitRequest,
)
from runwright.core.states import JobState
from runwright.engines.queue import Queue
from runwright.testing.jobs import MemoryJobStore
from runwright.testing.system import FakeClock

SECRET = {**STEPS, "redactedValues": {"hunter22": "PW"}}


def beat(*ids: int | str, **more: object) -> HeartbeatRequest:
    return HeartbeatRequest(**{"executor_name": "w", "job_ids": ids, **more})


# -- submitting --------------------------------------------------------------------------------------------------


def test_a_job_is_kept_without_id_token_and_queue() -> None:
    async def main(bench: Bench) -> None:
        job_id = await bench.submit(job={**STEPS, "id": 7, "token": "t", "queue": "other"})
        document = msgspec.json.decode(await bench.store.payload(job_id))
        assert not {"id", "token", "queue"} & document.keys()
        assert document["version"] == 2
        assert (await bench.given()).job.docker_steps[0].image == "alpine"

    Bench().run(main)


def test_contents_of_files_arrive_whatever_version_they_were_submitted_in() -> None:
    async def main(bench: Bench) -> None:
        await bench.submit(job={"files": {"a": "plain", "b": {"content": "ä"}}})
        await bench.submit(job={"version": 2, "files": {"a": {"content": "AP8="}}})
        old, new = await bench.given(), await bench.given()
        assert {name: file.content for name, file in old.job.files.items()} == {
            "a": b"plain",
            "b": "ä".encode(),
        }
        assert new.job.files["a"].content == b"\x00\xff"

    Bench().run(main)


def test_everything_wrong_with_a_submission_is_told_at_once() -> None:
    async def main(bench: Bench) -> None:
        with pytest.raises(DefinitionError) as caught:
            await bench.submit(
                "bad queue!",
                {"dockerSteps": 3},
                priority=2_000_000,
                labels=["", "x" * 300],
                delay=-1.0,
                max_attempts=0,
                retry_delay=1e12,
                key="a\0b",
                idempotency_key="x" * 201,
            )
        paths = {problem.path for problem in caught.value.problems}
        assert paths == {
            ("queue",),
            ("priority",),
            ("labels",),
            ("delay",),
            ("max_attempts",),
            ("retry_delay",),
            ("key",),
            ("idempotency_key",),
            ("job",),
        }
        assert await bench.queue.jobs(JobFilter()) == []

    Bench().run(main)


def test_too_many_labels_are_refused_and_labels_are_put_in_order() -> None:
    async def main(bench: Bench) -> None:
        with pytest.raises(DefinitionError, match="65 labels"):
            await bench.submit(labels=[f"l{number}" for number in range(65)])
        job_id = await bench.submit(labels=["b", "a", "b"])
        assert (await bench.store.job(job_id)).labels == ("a", "b")
        assert (await bench.given(labels=("a", "b"))).labels == ("a", "b")

    Bench().run(main)


@pytest.mark.parametrize("job", ["text", [1], 3])
def test_a_job_that_is_no_object_is_refused(job: object) -> None:
    async def main(bench: Bench) -> None:
        with pytest.raises(DefinitionError, match="not an object"):
            await bench.submit(job=job)

    Bench().run(main)


def test_a_check_of_jobs_is_asked_and_its_paths_lead_into_the_job() -> None:
    async def main(bench: Bench) -> None:
        with pytest.raises(DefinitionError) as caught:
            await bench.submit()
        assert [problem.path for problem in caught.value.problems] == [("job", "commit")]

    Bench(check=lambda job: [Problem(message="no commit", path=("commit",))]).run(main)


def test_a_job_with_secrets_is_sealed_and_opened_for_its_worker() -> None:
    async def main(bench: Bench) -> None:
        auth = {"version": 2, "dockerAuthConfig": {"auths": {"r": {"auth": "dTpwYXNzd29yZA=="}}}}
        for job in (SECRET, auth):
            job_id = await bench.submit(job=job)
            payload = await bench.store.payload(job_id)
            assert payload.startswith(b"sealed:")
            assert (await bench.store.job(job_id)).sealed
        assert (await bench.given()).job.redacted_values == {"hunter22": "PW"}
        given = (await bench.given()).job
        assert given.docker_auth_config is not None
        assert given.docker_auth_config.auths["r"].auth == "dTpwYXNzd29yZA=="

    Bench(sealer=ReversingSealer()).run(main)


def test_a_job_with_secrets_is_refused_where_nothing_can_seal_it() -> None:
    async def main(bench: Bench) -> None:
        with pytest.raises(UsageError, match="no key"):
            await bench.submit(job=SECRET)
        await bench.submit(job={**STEPS, "redactedValues": {}, "dockerAuthConfig": {}, "version": 2})

    Bench().run(main)


def test_a_job_whose_labels_or_keys_hold_its_secret_is_refused() -> None:
    async def main(bench: Bench) -> None:
        with pytest.raises(DefinitionError) as caught:
            await bench.submit(job=SECRET, labels=["a", "of-hunter22"], key="hunter22", idempotency_key="i")
        assert [problem.path for problem in caught.value.problems] == [("labels",), ("key",)]
        assert "hunter22" not in caught.value.with_advice
        await bench.submit(job=SECRET, labels=["a"], key="k", idempotency_key="i")

    Bench(sealer=ReversingSealer()).run(main)


def test_a_job_that_cannot_be_opened_fails_and_the_next_one_is_given() -> None:
    async def main(bench: Bench) -> None:
        store = bench.store
        sealing = Bench(store=store, sealer=ReversingSealer())
        first = await sealing.submit(job=SECRET)
        second = await bench.submit()
        with pytest.raises(ConflictError, match="can't be shown"):
            await bench.queue.show(first)
        assert (await bench.given()).job.id == second
        row = await store.job(first)
        assert row.state is JobState.FAILED
        assert "can't open the job" in row.message
        assert len(bench.errors) == 1

    Bench().run(main)


# -- dequeuing ---------------------------------------------------------------------------------------------------


def test_a_given_job_says_what_its_worker_needs() -> None:
    async def main(bench: Bench) -> None:
        job_id = await bench.submit()
        given = await bench.given()
        assert (given.job.id, given.attempt, given.queue, given.lease_seconds) == (job_id, 1, "q", 25.0)
        assert given.job.queue == ""
        assert len(given.job.token) == 40
        holder = await bench.queue.tokens.holder(given.job.token)
        assert holder is not None
        assert (holder.lease, holder.queue, holder.worker) == (JobLease(job_id, 1), "q", "w")
        assert await bench.dequeue() is None

    Bench().run(main)


def test_where_several_queues_are_asked_the_job_names_its_own() -> None:
    async def main(bench: Bench) -> None:
        await bench.submit("b")
        given = await bench.given("", queues=("a", "b"))
        assert given.job.queue == given.queue == "b"
        assert await bench.dequeue("", queues=()) is None

    Bench().run(main)


def test_several_queues_take_turns() -> None:
    async def main(bench: Bench) -> None:
        for _ in range(4):
            await bench.submit("a")
            await bench.submit("b")
        taken = [(await bench.given("", queues=("a", "b", "a"))).queue for _ in range(4)]
        assert sorted(taken) == ["a", "a", "b", "b"]

    Bench().run(main)


def test_the_first_lease_is_half_as_long_as_the_others() -> None:
    async def main(bench: Bench) -> None:
        job_id = await bench.submit()
        await bench.given()
        begun = bench.queue.clock.now()
        assert (await bench.store.job(job_id)).lease_until == begun + timedelta(seconds=5)
        await bench.queue.heartbeat(beat(job_id), "q")
        assert (await bench.store.job(job_id)).lease_until == begun + timedelta(seconds=10)

    Bench(lease_seconds=10.0).run(main)


@pytest.mark.parametrize(
    ("ask", "queue", "path"),
    [
        ({"executor_name": ""}, "q", "executorName"),
        ({"executor_name": "a\nb"}, "q", "executorName"),
        ({"boot_id": "x" * 201}, "q", "bootId"),
        ({"version": "four"}, "q", "version"),
        ({"labels": ("",)}, "q", "labels"),
        ({}, "a/b", "queues"),
        ({"queues": ("",)}, "", "queues"),
        ({"queues": tuple("q" * 1_001)}, "", "queues"),
    ],
)
def test_a_request_for_a_job_that_is_wrong_is_refused(ask: dict, queue: str, path: str) -> None:
    async def main(bench: Bench) -> None:
        await bench.submit()
        with pytest.raises(DefinitionError) as caught:
            await bench.dequeue(queue, **ask)
        assert {problem.path for problem in caught.value.problems} == {(path,)}
        assert (await bench.store.job(1)).state is JobState.QUEUED

    Bench().run(main)


def test_a_dequeue_waits_for_a_job_as_long_as_it_may() -> None:
    async def main(bench: Bench) -> None:
        asking = asyncio.ensure_future(bench.dequeue(wait_seconds=30.0))
        await asyncio.sleep(7)
        job_id = await bench.submit()
        given = await asking
        assert given is not None
        assert given.job.id == job_id
        assert bench.clock.monotonic() == 7
        assert await bench.dequeue(wait_seconds=3.0) is None
        assert bench.clock.monotonic() == 10
        assert await bench.dequeue(wait_seconds=1e9) is None
        assert bench.clock.monotonic() == 70

    Bench().run(main)


class DeafStore(MemoryJobStore):
    """Never rings."""

    async def wait(self, queues: object, seconds: float) -> bool:
        await asyncio.sleep(seconds)
        return False


def test_a_dequeue_that_waits_looks_by_itself_too() -> None:
    async def main(bench: Bench) -> None:
        asking = asyncio.ensure_future(bench.dequeue(wait_seconds=30.0))
        await asyncio.sleep(1)
        await bench.submit()
        assert await asking is not None
        assert bench.clock.monotonic() == 5

    Bench(store=DeafStore()).run(main)


class LateStore(MemoryJobStore):
    """Submits a job between a look that finds nothing and the wait that would follow."""

    def __init__(self) -> None:
        super().__init__()
        self.looks = 0
        self.then = None

    async def exchange(self, *args: object) -> object:
        answer = await super().exchange(*args)
        self.looks += 1
        if self.looks == 1:
            await self.then()
        return answer


def test_a_job_that_comes_between_look_and_wait_is_not_missed() -> None:
    async def main(bench: Bench) -> None:
        bench.store.then = bench.submit
        assert await bench.dequeue(wait_seconds=30.0) is not None
        assert bench.clock.monotonic() == 0

    Bench(store=LateStore()).run(main)


def test_closing_ends_dequeues_that_wait() -> None:
    async def main(bench: Bench) -> None:
        asking = asyncio.ensure_future(bench.dequeue(wait_seconds=30.0))
        await asyncio.sleep(1)
        bench.queue.close()
        assert await asking is None
        assert bench.clock.monotonic() == 1

    Bench().run(main)


class SilentStore(MemoryJobStore):
    """Can't be listened to."""

    async def wait(self, queues: object, seconds: float) -> bool:
        raise StoreError("the bell is broken")


def test_a_bell_that_is_broken_is_told() -> None:
    async def main(bench: Bench) -> None:
        with pytest.raises(StoreError, match="bell"):
            await bench.dequeue(wait_seconds=30.0)

    Bench(store=SilentStore()).run(main)


class SlowStore(MemoryJobStore):
    """Takes a second to exchange."""

    fails = False

    async def exchange(self, *args: object) -> object:
        await asyncio.sleep(1)
        if self.fails:
            raise StoreError("lost")
        return await super().exchange(*args)


@pytest.mark.parametrize("fails", [False, True])
def test_a_job_claimed_for_somebody_who_has_gone_away_is_given_back(fails: bool) -> None:
    async def main(bench: Bench) -> None:
        job_id = await bench.submit()
        bench.store.fails = fails
        asking = asyncio.ensure_future(bench.dequeue())
        await asyncio.sleep(0.5)
        asking.cancel()
        with pytest.raises(asyncio.CancelledError):
            await asking
        assert (await bench.store.job(job_id)).state is JobState.QUEUED
        outcomes = [attempt.outcome for attempt in await bench.store.attempts(job_id)]
        assert outcomes == ([] if fails else [AttemptOutcome.HANDED_BACK])

    Bench(store=SlowStore()).run(main)


# -- heartbeats --------------------------------------------------------------------------------------------------


def test_a_heartbeat_tells_what_is_held_and_what_is_to_stop() -> None:
    async def main(bench: Bench) -> None:
        ids = [await bench.submit() for _ in range(3)]
        for _ in ids:
            await bench.given()
        await bench.queue.cancel(ids[1], "enough")
        answer = await bench.queue.heartbeat(beat("1", 2, "3-q", 99, "x", -1), "q")
        assert answer.known_ids == ("1", "2", "3")
        assert answer.cancel_ids == ("2",)
        other = await bench.queue.heartbeat(beat(1, boot_id="another"), "q")
        assert other.known_ids == ()

    Bench().run(main)


def test_a_heartbeat_for_several_queues_answers_with_their_names() -> None:
    async def main(bench: Bench) -> None:
        first, second = await bench.submit("a"), await bench.submit("b")
        await bench.given("", queues=("a", "b"))
        await bench.given("", queues=("a", "b"))
        groups = (
            QueueJobIds(queue_name="a", job_ids=(f"{first}-a", second)),
            QueueJobIds(queue_name="b", job_ids=(f"{second}-b",)),
            QueueJobIds(queue_name="c"),
        )
        many = beat(queue_names=("a", "b", "c"), job_ids_by_queue=groups)
        answer = await bench.queue.heartbeat(many)
        assert answer.known_ids == (f"{first}-a", f"{second}-b")
        (worker,) = await bench.queue.workers()
        assert worker.queues == ("a", "b", "c")

    Bench().run(main)


@pytest.mark.parametrize(
    ("ask", "queue", "path"),
    [
        ({"executor_name": ""}, "q", "executorName"),
        ({"job_ids": tuple(range(10_001))}, "q", "jobIds"),
        ({}, "", "queueNames"),
        ({"queue_names": ("q",) * 1_001}, "", "queueNames"),
        ({"queue_names": ("a b",)}, "", "queueNames"),
        ({"queue_names": ("a",), "job_ids_by_queue": (QueueJobIds(queue_name="b"),)}, "", "jobIdsByQueue"),
        ({"labels": ("\x00",)}, "q", "labels"),
        ({"slots": -1}, "q", "slots"),
    ],
)
def test_a_heartbeat_that_is_wrong_is_refused(ask: dict, queue: str, path: str) -> None:
    async def main(bench: Bench) -> None:
        with pytest.raises(DefinitionError) as caught:
            await bench.queue.heartbeat(beat(**ask), queue)
        assert {problem.path for problem in caught.value.problems} == {(path,)}

    Bench().run(main)


class ForgetfulStore(MemoryJobStore):
    """Can't keep what workers say."""

    async def note_worker(self, *_: object) -> None:
        raise StoreError("no room")


def test_a_heartbeat_is_good_though_its_worker_cannot_be_noted() -> None:
    async def main(bench: Bench) -> None:
        job_id = await bench.submit()
        await bench.given()
        answer = await bench.queue.heartbeat(beat(job_id), "q")
        assert answer.known_ids == (str(job_id),)
        assert [str(error) for error in bench.errors] == ["no room"]

    Bench(store=ForgetfulStore()).run(main)


# -- logs and verdicts -------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("verdict", "state"),
    [
        (Verdict.COMPLETED, JobState.COMPLETED),
        (Verdict.ERRORED, JobState.FAILED),
        (Verdict.FAILED, JobState.FAILED),
        (Verdict.HANDED_BACK, JobState.QUEUED),
    ],
)
def test_the_last_word_may_be_said_again_but_not_another(verdict: Verdict, state: JobState) -> None:
    async def main(bench: Bench) -> None:
        job_id = await bench.submit()
        await bench.given()
        lease = JobLease(job_id, 1)
        assert await bench.queue.finish(lease, verdict, "so it is") is Ended.ACCEPTED
        assert await bench.queue.finish(lease, verdict, "so it is") is Ended.REPEATED
        other = Verdict.FAILED if verdict is Verdict.COMPLETED else Verdict.COMPLETED
        assert await bench.queue.finish(lease, other) is Ended.REFUSED
        assert (await bench.store.job(job_id)).state is state

    Bench().run(main)


def test_what_is_said_under_a_lease_that_lapsed_is_refused() -> None:
    async def main(bench: Bench) -> None:
        job_id = await bench.submit()
        await bench.given()
        old = JobLease(job_id, 1)
        await bench.store.expire(bench.queue.clock.now() + timedelta(seconds=60))
        await bench.given()
        assert await bench.queue.finish(old, Verdict.COMPLETED) is Ended.REFUSED
        with pytest.raises(LeaseLost):
            await bench.queue.add_entry(old, ExecutionLogEntry(key="k"))
        with pytest.raises(LeaseLost):
            await bench.queue.update_entry(old, 1, ExecutionLogEntry(key="k"))

    Bench().run(main)


@pytest.mark.parametrize(
    ("entry", "offset", "path"),
    [
        (ExecutionLogEntry(key=""), None, "key"),
        (ExecutionLogEntry(key="k", exit_code=2**63), None, "exitCode"),
        (ExecutionLogEntry(key="k", duration_ms=-(2**63)), None, "durationMs"),
        (ExecutionLogEntry(key="k"), -1, "outOffset"),
    ],
)
def test_an_entry_that_is_wrong_is_refused(entry: ExecutionLogEntry, offset: int | None, path: str) -> None:
    async def main(bench: Bench) -> None:
        job_id = await bench.submit()
        await bench.given()
        with pytest.raises(DefinitionError) as caught:
            await bench.queue.update_entry(JobLease(job_id, 1), 1, entry, offset)
        assert {problem.path for problem in caught.value.problems} == {(path,)}

    Bench().run(main)


@pytest.mark.parametrize("number", [0, -1, 2, 2**63])
def test_an_entry_that_is_not_there_is_told(number: int) -> None:
    async def main(bench: Bench) -> None:
        job_id = await bench.submit()
        await bench.given()
        await bench.queue.add_entry(JobLease(job_id, 1), ExecutionLogEntry(key="k"))
        with pytest.raises(JobNotFound, match=f"no entry {number}"):
            await bench.queue.update_entry(JobLease(job_id, 1), number, ExecutionLogEntry(key="k"))

    Bench().run(main)


# -- users -------------------------------------------------------------------------------------------------------


def test_a_job_is_shown_with_its_attempts_and_without_its_secrets() -> None:
    async def main(bench: Bench) -> None:
        job_id = await bench.submit(job={**SECRET, "commit": "has hunter22 in it"})
        await bench.given()
        found = await bench.queue.show(job_id)
        assert found.row.state is JobState.PROCESSING
        assert [attempt.worker for attempt in found.attempts] == ["w"]
        assert found.document["commit"] == "has *** in it"
        assert b"hunter22" not in msgspec.json.encode(found.document)
        with pytest.raises(JobNotFound):
            await bench.queue.show(99)

    Bench(sealer=ReversingSealer()).run(main)


def test_jobs_are_canceled_and_tried_again() -> None:
    async def main(bench: Bench) -> None:
        job_id = await bench.submit()
        row = await bench.queue.cancel(job_id, "x" * 100_000 + "\0")
        assert row.state is JobState.CANCELED
        assert len(row.message) == 64 * 1024
        assert (await bench.queue.retry(job_id)).state is JobState.QUEUED
        with pytest.raises(JobHasEnded):
            await bench.queue.retry(job_id)

    Bench().run(main)


def test_changes_of_a_queue_leave_the_rest_as_it_is() -> None:
    async def main(bench: Bench) -> None:
        assert await bench.queue.set_queue("q", {"limit": 3}) == QueueSettings(name="q", limit=3)
        await bench.queue.set_queue("q", {"paused": True})
        ((row),) = await bench.queue.queues()
        assert row.settings == QueueSettings(name="q", limit=3, paused=True)
        for name, changes in (("a b", {}), ("q", {"limit": -1}), ("q", {"max_resets": 10**9})):
            with pytest.raises(DefinitionError):
                await bench.queue.set_queue(name, changes)

    Bench().run(main)


# -- life --------------------------------------------------------------------------------------------------------


def test_the_queue_looks_after_itself() -> None:
    async def main(bench: Bench) -> None:
        delayed = await bench.submit(delay=3.0)
        lost = await bench.submit()
        await bench.given()
        care = asyncio.ensure_future(bench.queue.run())
        given = await bench.dequeue(wait_seconds=20.0)
        assert given is not None
        assert given.job.id == delayed
        await asyncio.sleep(20)
        assert (await bench.store.job(lost)).resets == 1
        care.cancel()

    Bench().run(main)


def test_old_jobs_are_removed_unless_all_are_kept() -> None:
    async def main(bench: Bench) -> None:
        for _ in range(501):
            await bench.submit()
            given = await bench.given()
            await bench.queue.finish(JobLease(given.job.id, 1), Verdict.COMPLETED)
        fresh = await bench.submit()
        care = asyncio.ensure_future(bench.queue.run())
        await asyncio.sleep(432)
        assert len(await bench.queue.jobs(JobFilter(limit=1_000))) == 502
        await asyncio.sleep(864)
        care.cancel()
        left = [row.id for row in await bench.queue.jobs(JobFilter(limit=1_000))]
        assert left == ([fresh] if bench.queue.options.keep_days else list(range(502, 0, -1)))

    for keep_days in (0.01, 0.0):
        Bench(keep_days=keep_days).run(main)


class MoodyStore(MemoryJobStore):
    """Fails when told to."""

    mood = ""

    async def promote(self, now: object) -> int:
        if self.mood:
            raise StoreError(self.mood)
        return 0


def test_errors_of_the_store_are_told_once_each_and_care_goes_on() -> None:
    async def main(bench: Bench) -> None:
        care = asyncio.ensure_future(bench.queue.run())
        for mood in ("away", "away", "", "away", "full"):
            bench.store.mood = mood
            await asyncio.sleep(1)
        care.cancel()
        assert [str(error) for error in bench.errors] == ["away", "away", "full"]

    Bench(store=MoodyStore()).run(main)


def test_by_default_nobody_is_told_and_nothing_is_checked() -> None:
    clock = FakeClock()

    async def main() -> None:
        queue = Queue(SilentStore(), clock, None, lambda: "0" * 40)
        await queue.submit([SubmitRequest(queue="q", job=msgspec.Raw(b"{}"))])
        queue._on_error(StoreError("nobody hears"))
        assert await queue.dequeue(DequeueRequest(executor_name="w"), "q") is not None

    clock.run(main())


def test_the_clock_of_leases_does_not_go_back_with_the_machines() -> None:
    class Wavering(FakeClock):
        def now(self) -> object:
            return super().now() - timedelta(seconds=2 * self.monotonic())

    clock = Wavering()

    async def main() -> None:
        queue = Queue(MemoryJobStore(), clock, None, lambda: "")
        before = queue.clock.now()
        await queue.clock.sleep(5)
        assert queue.clock.now() == before + timedelta(seconds=5)
        assert clock.now() < before

    clock.run(main())
