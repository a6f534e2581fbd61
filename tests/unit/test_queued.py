"""Tasks as jobs: what is submitted, what comes back, and what becomes of both when one of them is stopped."""

# ruff: noqa: ASYNC110 - the queue tells by its answers what has happened, and no event can

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path
from typing import Any

import msgspec
import pytest
from queue_bench import Bench, ReversingSealer

from runwright.core.errors import Failure, Refused, RemoteError, TaskFailed
from runwright.core.job import Job
from runwright.core.job_rows import JobFilter, Verdict
from runwright.core.job_wire import DequeueRequest, ExecutionLogEntry, HeartbeatRequest
from runwright.core.log_lines import LineReader
from runwright.core.states import JobState
from runwright.core.task import Result, Task, TaskId
from runwright.engines.local_queue import LocalQueue
from runwright.executors.queued import Queued
from runwright.ports.jobs import GivenJob
from runwright.testing import LocalSession

ARGS = {"queue": "q", "server": "http://queue", "token_file": "token"}


class Watched(LocalQueue):
    """Counts who has begun to follow a job."""

    followers = 0

    async def follow(self, job_id: int) -> AsyncIterator[Any]:
        self.followers += 1
        async for news in super().follow(job_id):
            yield news


class World:
    """A queue, the executor on it, and the hands of a worker."""

    def __init__(self, folder: Path, **client: Any) -> None:
        self.bench = Bench(sealer=ReversingSealer())
        self.folder = folder
        self.asked: list[tuple[str, str]] = []
        self.client = client.get("client") or Watched(self.bench.queue)
        self.executor = Queued(
            self.connect, stop_seconds=client.get("stop_seconds", 5.0), pauses=client.get("pauses", ())
        )

    def connect(self, server: str, token_file: str) -> Any:
        self.asked.append((server, token_file))
        return self.client

    async def take(self) -> GivenJob:
        given = await self.bench.queue.dequeue(DequeueRequest(executor_name="w", version="dev"), "q")
        while given is None:
            await asyncio.sleep(0)
            given = await self.bench.queue.dequeue(DequeueRequest(executor_name="w", version="dev"), "q")
        return given

    async def print(self, given: GivenJob, key: str, out: str, exit_code: int = 0) -> None:
        lease = await self.lease(given)
        entry = ExecutionLogEntry(key=key, command=("sh",))
        number = await self.bench.queue.add_entry(lease, entry)
        half = len(out) // 2
        for offset, piece in ((0, out[:half]), (half, out[half:])):
            ended = ExecutionLogEntry(key=key, command=("sh",), out=piece, exit_code=exit_code, duration_ms=1)
            await self.bench.queue.update_entry(lease, number, ended, offset)

    async def lease(self, given: GivenJob) -> Any:
        lease = await self.bench.store.lease_of(given.job.id, "w", 0)
        assert lease is not None
        return lease

    async def end(self, given: GivenJob, verdict: Verdict, message: str = "") -> None:
        await self.bench.queue.finish(await self.lease(given), verdict, message)


def run(
    folder: Path,
    work: Callable[[World, LocalSession, Callable[..., Awaitable[Result]]], Awaitable[Any]],
    secrets: tuple[str, ...] = (),
    **client: Any,
) -> Any:
    async def scenario() -> Any:
        world = World(folder, **client)
        session = LocalSession(folder, secrets=secrets)
        await world.executor.open_session(session)

        async def execute(inputs: tuple[str, ...] = (), outputs: tuple[str, ...] = (), **args: Any) -> Result:
            task = Task(id=TaskId("t"), args={**ARGS, **args}, inputs=inputs, outputs=outputs)
            return await world.executor.execute(session, task)

        try:
            async with asyncio.timeout(20):
                return await work(world, session, execute)
        finally:
            await world.executor.close_session(session.id)

    return asyncio.run(scenario())


def test_a_task_is_a_job_and_its_log_comes_back(tmp_path: Path) -> None:
    async def work(world: World, session: LocalSession, execute: Any) -> None:
        task = asyncio.create_task(
            execute(
                cmd="make all", image="gcc", env={"A": "1"}, labels=["big"], priority=3, working_dir="sub"
            )
        )
        while not (jobs := await world.bench.queue.jobs(JobFilter())):
            await asyncio.sleep(0)
        (row,) = jobs
        assert (row.queue, row.labels, row.priority, row.key) == ("q", ("big",), 3, session.id)
        ask = DequeueRequest(executor_name="w", version="dev", labels=("big",))
        given = await world.bench.queue.dequeue(ask, "q")
        assert given is not None
        (step,) = given.job.docker_steps
        assert (step.key, step.image, step.commands, step.dir, step.env) == (
            "task",
            "gcc",
            ("make all",),
            "sub",
            ("A=1",),
        )
        await world.print(given, "setup.git.init", "stdout: not of a step\n")
        await world.print(given, "step.docker.task", "stdout: one\nstderr: oh\nstdout: last\n")
        await world.end(given, Verdict.COMPLETED)
        result = await task
        assert result.value == "last"
        assert session.log(TaskId("t")).read() == b"one\nlast\noh\n", (
            "a log of tests has the streams one after the other"
        )

    run(tmp_path, work)


def test_arguments_become_words_and_inputs_become_files(tmp_path: Path) -> None:
    async def work(world: World, session: LocalSession, execute: Any) -> None:
        (session.source / "in").mkdir()
        (session.source / "in" / "a.bin").write_bytes(b"\xff\x00")
        task = asyncio.create_task(execute(argv=["echo", "a b", "$x"], inputs=("in",)))
        given = await world.take()
        assert given.job.docker_steps[0].commands == ("echo 'a b' '$x'",)
        assert {path: file.content for path, file in given.job.files.items()} == {"in/a.bin": b"\xff\x00"}
        await world.end(given, Verdict.COMPLETED)
        assert (await task).value == ""

    run(tmp_path, work)


def test_a_whole_job_is_passed_on(tmp_path: Path) -> None:
    async def work(world: World, session: LocalSession, execute: Any) -> None:
        whole = {"dockerSteps": [{"key": "k", "image": "i", "commands": ["a", "b"]}], "commit": "abc"}
        task = asyncio.create_task(execute(job={**whole, "repositoryName": "r"}))
        given = await world.take()
        assert isinstance(given.job, Job)
        assert (given.job.repository_name, given.job.docker_steps[0].commands) == ("r", ("a", "b"))
        await world.end(given, Verdict.COMPLETED)
        await task

    run(tmp_path, work)


def test_secrets_travel_with_what_is_to_stand_in_their_place(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DEPLOY_KEY", "key-of-deploy")

    async def work(world: World, session: LocalSession, execute: Any) -> None:
        task = asyncio.create_task(
            execute(cmd="deploy pass-of-run", secrets=["DEPLOY_KEY", "NOT_THERE"], env={"B": "x"})
        )
        given = await world.take()
        assert set(given.job.docker_steps[0].env) == {"B=x", "DEPLOY_KEY=key-of-deploy"}
        assert given.job.redacted_values["key-of-deploy"] == "${DEPLOY_KEY}"
        assert given.job.redacted_values["pass-of-run"] == "***"
        row = await world.bench.store.job(given.job.id)
        assert row.sealed, "what holds secrets is encrypted in the store"
        await world.print(given, "step.docker.task", "stdout: pass-of-run key-of-deploy\n", 1)
        await world.end(given, Verdict.ERRORED, "pass-of-run leaked")
        with pytest.raises(TaskFailed) as caught:
            await task
        assert "pass-of-run" not in str(caught.value)
        assert b"pass-of-run" not in session.log(TaskId("t")).read()

    run(tmp_path, work, secrets=("pass-of-run",))


@pytest.mark.parametrize(
    ("verdict", "code", "text"),
    [(Verdict.FAILED, "E_JOB", "job 1 of queue q failed: it broke"), (Verdict.ERRORED, "E_JOB", "it broke")],
)
def test_a_job_that_fails_is_a_task_that_fails(
    tmp_path: Path, verdict: Verdict, code: str, text: str
) -> None:
    async def work(world: World, session: LocalSession, execute: Any) -> Failure:
        task = asyncio.create_task(execute(cmd="x"))
        given = await world.take()
        await world.print(given, "step.docker.task", "stderr: bad luck\n", 7)
        await world.end(given, verdict, "it broke")
        with pytest.raises(TaskFailed) as caught:
            await task
        return caught.value.failure

    failure = run(tmp_path, work)
    assert (failure.code, failure.exit_code, failure.stderr_tail) == (code, 7, "bad luck\n")
    assert text in failure.message


def test_a_job_that_somebody_cancels(tmp_path: Path) -> None:
    async def work(world: World, session: LocalSession, execute: Any) -> str:
        task = asyncio.create_task(execute(cmd="x"))
        while not await world.bench.queue.jobs(JobFilter()):
            await asyncio.sleep(0)
        await world.bench.queue.cancel(1, "no longer needed")
        with pytest.raises(TaskFailed) as caught:
            await task
        assert caught.value.failure.code == "E_JOB_CANCELED"
        return caught.value.failure.message

    assert run(tmp_path, work) == "job 1 of queue q canceled: no longer needed"


def test_a_task_that_is_cancelled_cancels_its_job_and_waits_for_its_end(tmp_path: Path) -> None:
    async def work(world: World, session: LocalSession, execute: Any) -> None:
        task = asyncio.create_task(execute(cmd="x"))
        given = await world.take()
        task.cancel()
        beat = HeartbeatRequest(executor_name="w", job_ids=(given.job.id,))
        while not (await world.bench.queue.heartbeat(beat, "q")).cancel_ids:
            await asyncio.sleep(0)
        assert not task.done(), "the worker has not stopped it yet"
        await world.end(given, Verdict.FAILED, "stopped")
        with pytest.raises(asyncio.CancelledError):
            await task
        row = await world.bench.store.job(given.job.id)
        assert (row.state, row.message) == (JobState.CANCELED, "its task was stopped")

    run(tmp_path, work)


def test_a_job_that_nobody_stops_holds_up_its_task_for_a_while_only(tmp_path: Path) -> None:
    async def work(world: World, session: LocalSession, execute: Any) -> None:
        task = asyncio.create_task(execute(cmd="x"))
        await world.take()
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task

    run(tmp_path, work, stop_seconds=0.05)


def test_a_closed_session_ends_the_job(tmp_path: Path) -> None:
    async def work(world: World, session: LocalSession, execute: Any) -> None:
        task = asyncio.create_task(execute(cmd="x"))
        while not await world.bench.queue.jobs(JobFilter()):
            await asyncio.sleep(0)
        await world.executor.close_session(session.id)
        with pytest.raises(TaskFailed, match="session was closed"):
            await task
        assert (await world.bench.store.job(1)).state is JobState.CANCELED
        await world.executor.open_session(session)

    run(tmp_path, work)


@pytest.mark.parametrize("has_ended", [False, True])
def test_an_attempt_takes_over_the_job_of_one_whose_engine_died(tmp_path: Path, has_ended: bool) -> None:
    async def work(world: World, session: LocalSession, execute: Any) -> None:
        first = {"RUNWRIGHT_ATTEMPT": "1"}
        died = asyncio.create_task(execute(cmd="x", env=first))
        given = await world.take()
        await world.print(given, "step.docker.task", "stdout: before\n")
        if has_ended:
            await world.end(given, Verdict.COMPLETED)
            await died
        again = asyncio.create_task(execute(cmd="x", env={"RUNWRIGHT_ATTEMPT": "2"}))
        if has_ended:
            given = await world.take()
            assert given.job.id == 2, "what has ended is not taken over"
        else:
            while world.client.followers < 2:
                await asyncio.sleep(0)
            await world.print(given, "step.docker.1", "stdout: after\n")
        await world.end(given, Verdict.COMPLETED)
        assert (await again).value == ("" if has_ended else "after")
        await died
        assert len(await world.bench.queue.jobs(JobFilter())) == (2 if has_ended else 1)

    run(tmp_path, work)


def test_a_job_outlives_more_than_one_engine(tmp_path: Path) -> None:
    async def work(world: World, session: LocalSession, execute: Any) -> None:
        died = [asyncio.create_task(execute(cmd="x", env={"RUNWRIGHT_ATTEMPT": "1"}))]
        given = await world.take()
        for attempt in ("2", "3"):
            died.append(asyncio.create_task(execute(cmd="x", env={"RUNWRIGHT_ATTEMPT": attempt})))
            while world.client.followers < int(attempt):
                await asyncio.sleep(0)
        await world.end(given, Verdict.COMPLETED)
        await asyncio.gather(*died)
        assert len(await world.bench.queue.jobs(JobFilter())) == 1

    run(tmp_path, work)


def test_a_task_that_is_cancelled_while_it_submits_leaves_no_job(tmp_path: Path) -> None:
    class Slow(Watched):
        gate = asyncio.Event()

        async def submit(self, ask: Any) -> int:
            job_id = await super().submit(ask)
            await self.gate.wait()
            return job_id

    async def work(world: World, session: LocalSession, execute: Any) -> None:
        world.client = Slow(world.bench.queue)
        task = asyncio.create_task(execute(cmd="x"))
        while not await world.bench.queue.jobs(JobFilter()):
            await asyncio.sleep(0)
        task.cancel()
        world.client.gate.set()
        with pytest.raises(asyncio.CancelledError):
            await task
        assert (await world.bench.store.job(1)).state is JobState.CANCELED

    run(tmp_path, work)


@pytest.mark.parametrize("failures", [1, 2])
def test_a_queue_that_is_away_for_a_while_is_asked_again(tmp_path: Path, failures: int) -> None:
    class Flaky(Watched):
        left = failures

        async def submit(self, ask: Any) -> int:
            job_id = await super().submit(ask)
            if self.left:
                self.left -= 1
                raise RemoteError("the answer was lost")
            return job_id

    async def work(world: World, session: LocalSession, execute: Any) -> None:
        world.client = Flaky(world.bench.queue)
        task = asyncio.create_task(execute(cmd="x"))
        if failures == 2:
            with pytest.raises(TaskFailed, match="the answer was lost"):
                await task
            return
        await world.end(await world.take(), Verdict.COMPLETED)
        await task
        assert len(await world.bench.queue.jobs(JobFilter())) == 1, "what came is not submitted twice"

    run(tmp_path, work, pauses=(0.0,))


def test_a_queue_that_refuses_is_not_asked_again(tmp_path: Path) -> None:
    class Closed(Watched):
        asked = 0

        async def submit(self, ask: Any) -> int:
            self.asked += 1
            raise Refused("it is unknown", 401)

    async def work(world: World, session: LocalSession, execute: Any) -> None:
        world.client = Closed(world.bench.queue)
        with pytest.raises(TaskFailed, match="it is unknown"):
            await execute(cmd="x")
        assert world.client.asked == 1

    run(tmp_path, work, pauses=(0.0, 0.0))


@pytest.mark.parametrize(
    ("args", "code", "text"),
    [
        ({"cmd": "x", "argv": ["y"]}, "E_ARGS", "exactly one of"),
        ({}, "E_ARGS", "exactly one of"),
        ({"job": {}, "cmd": "x"}, "E_ARGS", "is a whole job"),
        ({"cmd": "x", "queue": ""}, "E_ARGS", "queue"),
        ({"cmd": "x", "working_dir": "../x"}, "E_ARGS", "working_dir"),
        ({"cmd": "x", "env": {"a b": "c"}}, "E_ARGS", "can't be the name"),
        ({"cmd": "x", "outputs": ("o",)}, "E_ARGS", "do not come back"),
        ({"cmd": "x", "inputs": ("nothing",)}, "E_INPUT", "nothing"),
        ({"cmd": "x", "queue": "no such name!"}, "E_ARGS", "executor queued: "),
    ],
)
def test_what_can_not_be_a_job(tmp_path: Path, args: dict[str, Any], code: str, text: str) -> None:
    async def work(world: World, session: LocalSession, execute: Any) -> None:
        with pytest.raises(TaskFailed) as caught:
            await execute(**args)
        assert caught.value.failure.code == code
        assert text in caught.value.failure.message

    run(tmp_path, work)


def test_inputs_that_a_job_can_not_carry(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("runwright.executors.queued.LARGEST_FILES", 3)

    async def work(world: World, session: LocalSession, execute: Any) -> None:
        (session.source / "f").write_bytes(b"1234")
        with pytest.raises(TaskFailed, match="more than a job can carry"):
            await execute(cmd="x", inputs=("f",))

    run(tmp_path, work)


def test_a_queue_that_can_not_be_reached(tmp_path: Path) -> None:
    class Away:
        async def submit(self, ask: Any) -> int:
            raise RemoteError("no answer from http://queue")

        async def close(self) -> None:
            return

    async def work(world: World, session: LocalSession, execute: Any) -> None:
        with pytest.raises(TaskFailed) as caught:
            await execute(cmd="x")
        assert (caught.value.failure.code, str(caught.value)) == ("E_QUEUE", "no answer from http://queue")
        with pytest.raises(TaskFailed):
            await execute(cmd="y")
        assert world.asked == [("http://queue", "token")], "one connection serves the session"

    run(tmp_path, work, client=Away())


def test_a_log_that_breaks_off(tmp_path: Path) -> None:
    class Closing(LocalQueue):
        async def follow(self, job_id: int) -> Any:
            yield {"kind": "end", "state": "queued", "attempt": 0, "message": ""}

    async def work(world: World, session: LocalSession, execute: Any) -> None:
        world.client = Closing(world.bench.queue)
        with pytest.raises(TaskFailed, match="is still queued"):
            await execute(cmd="x")

    run(tmp_path, work)


def test_the_local_client_answers_with_plain_data(tmp_path: Path) -> None:
    async def work(world: World, session: LocalSession, execute: Any) -> None:
        client = LocalQueue(world.bench.queue)
        task = asyncio.create_task(execute(cmd="x"))
        given = await world.take()
        await world.print(given, "step.docker.task", "stdout: out\n")
        await world.end(given, Verdict.FAILED, "no")
        with pytest.raises(TaskFailed):
            await task
        (entry,) = await client.log(1)
        assert (entry["out"], entry["exitCode"]) == ("stdout: out\n", 0)
        assert (await client.log(1, 0, 3))[0]["out"] == "ut\n"
        assert (await client.job(1))["attempts"][0]["outcome"] == "failed"
        assert (await client.retry(1))["state"] == "queued"
        (queue,) = await client.queues()
        assert (queue["name"], queue["counts"]) == ("q", {"queued": 1})
        assert await client.workers() == []
        assert (await client.cancel(1, "enough"))["message"] == "enough"
        msgspec.json.encode([await client.job(1), queue])
        await client.close()

    run(tmp_path, work)


@pytest.mark.parametrize("size", [1, 2, 3, 7, 100])
def test_lines_are_read_in_pieces_of_any_size(size: int) -> None:
    text = "stdout: one\nstderr: two\n\nstdout: \nplain\nstd\nstderr: open"
    reader, found = LineReader(), {"stdout": b"", "stderr": b""}
    for start in range(0, len(text), size):
        for stream, data in reader.feed(text[start : start + size]):
            found[stream] += data
    for stream, data in reader.flush():
        found[stream] += data
    assert found == {"stdout": b"one\n\n\nplain\nstd\n", "stderr": b"two\nopen"}


def test_a_mark_that_is_left_alone_is_text() -> None:
    reader = LineReader()
    assert list(reader.feed("std")) == []
    assert list(reader.flush()) == [("stdout", b"std")]
    assert list(reader.flush()) == []
