"""A job from its document to its verdict, on fakes: the order, the failures, and that nothing is left."""

import asyncio
import gc
from collections.abc import Callable, Mapping
from typing import Any

import pytest

from runwright.core.checkout import GitAccess
from runwright.core.errors import Failure, LeaseLost, Refused, RemoteError, TaskFailed
from runwright.core.job import decode_job
from runwright.core.job_rows import Verdict
from runwright.core.job_steps import JobStep, job_steps, next_index
from runwright.core.job_wire import DequeueRequest, ExecutionLogEntry
from runwright.core.rooms import shown_command
from runwright.engines.endings import settled, stopped
from runwright.engines.job_run import JobEnd, run_job
from runwright.engines.job_tools import JobSettings, JobTools, redactor_of
from runwright.ports.jobs import JobLimits, JobPlace, OnOutput, Room, RoomLog, RoomStep
from runwright.ports.system import Command, Exit
from runwright.testing import FakeClock, FakeProcesses, MemoryPlaces, MemorySource, Script

SECRET = "hunter2hunter2"
Act = Callable[["Rig", OnOutput], Any]


class FakeRoom:
    def __init__(self, rig: "Rig") -> None:
        self._rig = rig

    def command(self, step: RoomStep) -> tuple[str, ...]:
        return shown_command(step.script, step.argv)

    async def run(self, step: RoomStep, on_output: OnOutput) -> Exit:
        self._rig.ran.append(step)
        act = self._rig.acts.get(step.key)
        if act is None:
            return Exit(code=0)
        try:
            found = act(self._rig, on_output)
            exit_ = await found if asyncio.iscoroutine(found) else found
            return exit_ if isinstance(exit_, Exit) else Exit(code=exit_ or 0)
        finally:
            self._rig.ended.append(step.key)

    async def close(self) -> None:
        self._rig.ended.append("room")
        await self._rig.on_close()


async def nothing() -> None:
    return


class Rig:
    """A job on fakes.

    Attributes:
        acts: What steps do, by key of the log; others succeed in silence.
        ran: Every step, in order.
        ended: Keys of the steps that have ended, and ``room``.
    """

    name = "fake"

    def __init__(self, acts: Mapping[str, Act] | None = None, **settings: Any) -> None:
        self.clock = FakeClock()
        self.source = MemorySource(self.clock, lease_seconds=50_000.0)
        self.places = MemoryPlaces()
        self.processes = FakeProcesses()
        self.settings = JobSettings(**settings)
        self.acts = dict(acts or {})
        self.ran: list[RoomStep] = []
        self.ended: list[str] = []
        self.on_close: Callable[[], Any] = nothing
        self.opening: TaskFailed | None = None

    async def open(self, place: JobPlace, log: RoomLog) -> Room:
        if self.opening:
            raise self.opening
        return FakeRoom(self)

    async def sweep(self, is_alive: Callable[[str], bool]) -> list[str]:
        return []

    async def faults(self) -> list[str]:
        return []

    @property
    def log(self) -> list[ExecutionLogEntry]:
        return self.source.jobs[1].log

    @property
    def keys(self) -> list[str]:
        return [entry.key for entry in self.log]

    def run(
        self, beside: Callable[["Rig", "asyncio.Future[JobEnd]"], Any] | None = None, **document: Any
    ) -> JobEnd:
        return self.clock.run(self._run(beside, document))

    async def _run(self, beside: Any, document: dict[str, Any]) -> JobEnd:
        self.source.add(decode_job(document))
        given = await self.source.dequeue(DequeueRequest(executor_name="w", queues=("q",)))
        assert given is not None
        tools = JobTools(
            source=self.source,
            runtime=self,
            places=self.places,
            processes=self.processes,
            clock=self.clock,
            draw=lambda: 0.5,
            settings=self.settings,
        )
        running = asyncio.ensure_future(run_job(given, tools))
        other = asyncio.ensure_future(beside(self, running)) if beside else None
        try:
            return await running
        finally:
            if other:
                await other
            assert self.places.live == []
            assert all(spool.closed for spool in self.places.spools)


def steps(*keys: str) -> list[dict[str, Any]]:
    return [{"key": key, "commands": ["x"]} for key in keys]


ALL = {
    "repositoryName": "org/x",
    "commit": "main",
    "repositoryDirectory": "src",
    "files": {"b": {"content": "Yg=="}, "a": {"content": ""}},
    "version": 2,
    "dockerSteps": [{"image": "i", "commands": ["one", "two"], "dir": "d", "env": ["A=1", "A=2"]}],
    "cliSteps": [{"key": "c", "command": ["x", "y"]}],
}


def test_everything_in_order() -> None:
    git = GitAccess(url="https://git.example.com/{repository}", env={"PATH": "/bin"})
    rig = Rig(git=git, cli_command=("src", "-v"), kill_grace=3.0)
    assert rig.run(**ALL) == JobEnd(Verdict.COMPLETED)
    assert rig.keys[-4:] == ["setup.fs.extras", "step.docker.0", "step.src.c", "teardown.fs"]
    assert len(rig.keys) == 10
    assert rig.ran == [
        RoomStep(key="step.docker.0", script="one\ntwo\n", image="i", dir="d", env={"A": "2"}),
        RoomStep(key="step.src.c", argv=("src", "-v", "x", "y")),
    ]
    assert rig.places.directories == [("boot-1-1", path) for path in ("src", "d", "")]
    assert rig.places.files == {("boot-1-1", "a"): b"", ("boot-1-1", "b"): b"b"}
    fetch: Command = rig.processes.ran[3]
    assert (fetch.cwd, fetch.clean_env, fetch.kill_grace) == ("/nonexistent/boot-1-1/work", True, 3.0)
    assert fetch.env["GIT_ALLOW_PROTOCOL"] == "https"
    assert rig.ended == ["room"]


def test_a_job_without_steps_needs_no_room() -> None:
    rig = Rig()
    assert rig.run(files={"a": {"content": ""}}).verdict is Verdict.COMPLETED
    assert (rig.keys, rig.ended) == (["setup.fs.extras", "teardown.fs"], [])


def test_a_step_that_fails_is_the_last() -> None:
    def fails(rig: Rig, on_output: OnOutput) -> int:
        on_output("stderr", f"no {SECRET}\n".encode())
        return 3

    rig = Rig({"step.docker.b": fails})
    end = rig.run(dockerSteps=steps("a", "b", "c"), redactedValues={SECRET: "${X}"})
    assert end == JobEnd(Verdict.ERRORED, "step.docker.b failed with exit code 3: no ${X}")
    assert rig.keys == ["step.docker.a", "step.docker.b", "teardown.fs"]


def test_git_that_fails() -> None:
    rig = Rig(git=GitAccess(url="https://h/{repository}"))
    rig.processes = FakeProcesses(
        lambda command: Script(exit=Exit(code=128)) if "fetch" in command.argv else Script()
    )
    end = rig.run(repositoryName="x", commit="main", dockerSteps=steps("a"))
    assert end == JobEnd(Verdict.ERRORED, "setup.git.fetch failed with exit code 128")


@pytest.mark.parametrize(
    ("document", "verdict", "message"),
    [
        ({"files": {f"../{number}": {} for number in range(12)}}, Verdict.FAILED, "and 2 more"),
        ({"repositoryName": "x", "commit": "main"}, Verdict.FAILED, "--git-url"),
        ({"cliSteps": [{"command": ["x"]}]}, Verdict.ERRORED, "--cli-command"),
    ],
)
def test_what_can_not_be_done(document: dict[str, Any], verdict: Verdict, message: str) -> None:
    end = Rig().run(**document)
    assert (end.verdict, message in end.message) == (verdict, True), end


@pytest.mark.parametrize(("code", "verdict"), [("E_ARGS", Verdict.FAILED), ("E_PULL", Verdict.ERRORED)])
def test_a_room_that_can_not_be_made(code: str, verdict: Verdict) -> None:
    rig = Rig()
    rig.opening = TaskFailed(Failure(code=code, message=f"no room for {SECRET}"))
    end = rig.run(dockerSteps=steps("a"), redactedValues={SECRET: ""})
    assert end == JobEnd(verdict, "no room for ***")
    assert rig.keys == ["teardown.fs"]


def test_a_step_chooses_the_next() -> None:
    def choose(rig: Rig, on_output: OnOutput) -> int:
        rig.places.notes["boot-1-1", ".runwright-next"] = b"last\n"
        return 0

    rig = Rig({"step.docker.step.0.pre": choose})
    assert rig.run(dockerSteps=steps("step.0.pre", "b", "last")).verdict is Verdict.COMPLETED
    assert rig.keys == ["step.docker.step.0.pre", "step.docker.last", "teardown.fs"]
    assert rig.log[0].out == "stdout: runwright: goes on with step last\n"
    rig = Rig()
    assert rig.run(dockerSteps=steps("step.0.pre", "b")).verdict is Verdict.COMPLETED
    assert rig.keys[1] == "step.docker.b"
    end = Rig({"step.docker.step.0.pre": choose}).run(dockerSteps=steps("step.0.pre", "b"))
    assert (end.verdict, "no later step" in end.message) == (Verdict.ERRORED, True)


def test_which_step_is_next() -> None:
    document = {"dockerSteps": steps("a", "b"), "cliSteps": [{"command": ["x"]}]}
    found = job_steps(decode_job(document))
    assert [step.log_key for step in found] == ["step.docker.a", "step.docker.b", "step.src.0"]
    assert [next_index(found, 0, wish) for wish in ("", "b", "0")] == [1, 1, 2]
    with pytest.raises(ValueError, match="no later step"):
        next_index(found, 1, "a")
    assert JobStep(name="step.10.pre", log_key="").may_choose
    assert not JobStep(name="step.x.pre", log_key="").may_choose


async def sleeps(rig: Rig, on_output: OnOutput) -> int:
    on_output("stdout", b"begun\n")
    await asyncio.sleep(1_000)
    return 0


def test_a_step_that_takes_too_long() -> None:
    rig = Rig({"step.docker.a": sleeps}, step_seconds=60.0)
    end = rig.run(dockerSteps=steps("a"))
    assert end == JobEnd(Verdict.ERRORED, "the step took longer than the 1m that this worker allows")
    assert (rig.log[0].exit_code, rig.log[0].duration_ms) == (-1, 60_000)
    assert "took longer" in rig.log[0].out


@pytest.mark.parametrize("seconds", [0, 1_000])
def test_a_workspace_that_grows_too_large(seconds: int) -> None:
    async def grows(rig: Rig, on_output: OnOutput) -> int:
        await asyncio.sleep(min(seconds, 5))
        rig.places.used = 2_000
        await asyncio.sleep(seconds)
        return 0

    rig = Rig({"step.docker.a": grows}, limits=JobLimits(disk_bytes=1_000))
    end = rig.run(dockerSteps=steps("a", "b"))
    assert (end.verdict, "1,000 bytes of disk" in end.message) == (Verdict.ERRORED, True)
    assert rig.log[0].exit_code == -1
    assert rig.clock.monotonic() < 10
    assert rig.ended == ["step.docker.a", "room"]


def test_a_workspace_that_does_not_is_left_alone() -> None:
    rig = Rig({"step.docker.a": sleeps}, limits=JobLimits(disk_bytes=1_000))
    assert rig.run(dockerSteps=steps("a")).verdict is Verdict.COMPLETED


def test_a_step_that_can_not_be_run_within_a_bound() -> None:
    def fails(rig: Rig, on_output: OnOutput) -> int:
        raise TaskFailed(Failure(code="E_SPAWN", message="no such program"))

    end = Rig({"step.docker.a": fails}, limits=JobLimits(disk_bytes=1_000)).run(dockerSteps=steps("a"))
    assert end == JobEnd(Verdict.ERRORED, "no such program")


def canceller(times: int = 1, after: float = 10.0) -> Any:
    async def beside(rig: Rig, running: "asyncio.Future[JobEnd]") -> None:
        await asyncio.sleep(after)
        for _ in range(times):
            running.cancel()
            await asyncio.sleep(0.5)

    return beside


@pytest.mark.parametrize("times", [1, 4])
@pytest.mark.parametrize("disk", [0, 1_000])
def test_a_job_that_is_stopped_is_taken_down_and_its_log_is_sent(times: int, disk: int) -> None:
    async def slow_end(rig: Rig, on_output: OnOutput) -> int:
        try:
            return await sleeps(rig, on_output)
        finally:
            on_output("stdout", b"cleaning up\n")

    rig = Rig({"step.docker.a": slow_end}, limits=JobLimits(disk_bytes=disk))

    async def closes_slowly() -> None:
        await asyncio.sleep(3)
        rig.ended.append("closed")

    rig.on_close = closes_slowly
    with pytest.raises(asyncio.CancelledError):
        rig.run(canceller(times), dockerSteps=steps("a", "b"))
    assert rig.keys == ["step.docker.a", "teardown.fs"]
    assert rig.log[0].out == "stdout: begun\nstdout: cleaning up\nstderr: runwright: stopped\n"
    assert (rig.log[0].exit_code, rig.log[1].exit_code) == (-1, 0)
    assert rig.ended == ["step.docker.a", "room", "closed"]


def test_the_log_of_a_stopped_job_is_not_waited_for_without_end() -> None:
    rig = Rig({"step.docker.a": sleeps})

    async def beside(rig: Rig, running: "asyncio.Future[JobEnd]") -> None:
        await asyncio.sleep(10)
        rig.source.trouble = lambda call: RemoteError("nobody")
        running.cancel()

    with pytest.raises(asyncio.CancelledError):
        rig.run(beside, dockerSteps=steps("a"))
    assert rig.clock.monotonic() == pytest.approx(15.0)


def test_a_job_that_is_stopped_while_its_log_is_sent() -> None:
    rig = Rig()

    async def beside(rig: Rig, running: "asyncio.Future[JobEnd]") -> None:
        rig.source.trouble = lambda call: RemoteError("nobody")
        await asyncio.sleep(100)
        assert not running.done(), "a server that is away is waited for"
        running.cancel()

    with pytest.raises(asyncio.CancelledError):
        rig.run(beside, dockerSteps=steps("a"))
    assert rig.clock.monotonic() == pytest.approx(105.0)


def test_a_lease_that_has_passed_on_stops_the_job() -> None:
    async def loses(rig: Rig, on_output: OnOutput) -> int:
        rig.source.jobs[1].attempt += 1
        return await sleeps(rig, on_output)

    rig = Rig({"step.docker.a": loses})
    with pytest.raises(LeaseLost):
        rig.run(dockerSteps=steps("a", "b"))
    assert rig.clock.monotonic() < 5
    assert rig.ended == ["step.docker.a", "room"]


def test_a_log_that_the_server_refuses() -> None:
    rig = Rig()
    rig.source.trouble = lambda call: Refused("too large") if call.name == "add_entry" else None
    assert rig.run(dockerSteps=steps("a")) == JobEnd(
        Verdict.ERRORED, "the server did not take all of the log: too large"
    )
    rig = Rig({"step.docker.a": lambda rig, on_output: 1})
    rig.source.trouble = lambda call: Refused("too large") if call.name == "add_entry" else None
    assert rig.run(dockerSteps=steps("a")).message.startswith("step.docker.a failed")


def test_what_is_left_is_told() -> None:
    async def hangs() -> None:
        await asyncio.sleep(1_000)

    async def breaks() -> None:
        raise TaskFailed(Failure(code="E_X", message="it does not go"))

    for on_close, line in ((hangs, "was not down within 30 s"), (breaks, "it does not go")):
        rig = Rig()
        rig.places.left = ["work/x: Device or resource busy"]
        rig.on_close = on_close
        assert rig.run(dockerSteps=steps("a")).verdict is Verdict.COMPLETED
        assert rig.log[-1].exit_code == 1
        assert line in rig.log[-1].out
        assert "Device or resource busy" in rig.log[-1].out


def test_what_is_known_to_be_secret() -> None:
    document = {
        "token": "token-of-the-lease",
        "redactedValues": {"hunter2": "${A}"},
        "dockerAuthConfig": {"auths": {"h": {"auth": "dXNlcjpzd29yZGZpc2g="}}},
    }
    settings = JobSettings(secrets=("worker-token",), git=GitAccess(password="git-password"))
    redactor = redactor_of(decode_job(document), settings)
    said = "token-of-the-lease hunter2 swordfish dXNlcjpzd29yZGZpc2g= worker-token git-password plain"
    assert redactor.text(said) == "*** ${A} *** *** *** *** plain"


def test_waits_outlast_a_cancellation() -> None:
    async def scenario() -> list[float]:
        loop = asyncio.get_running_loop()
        times = []
        for patience, hasty, cancel_at in ((5.0, 5.0, None), (None, 3.0, 1.0), (2.0, 3.0, 1.0)):
            begun = loop.time()
            endless = asyncio.ensure_future(asyncio.sleep(1_000))
            waiting = asyncio.ensure_future(settled(endless, patience, hasty))
            if cancel_at is not None:
                await asyncio.sleep(cancel_at)
                waiting.cancel()
            await asyncio.gather(waiting, return_exceptions=True)
            assert endless.cancelled()
            assert waiting.cancelled() is (cancel_at is not None)
            times.append(loop.time() - begun)
        return times

    assert FakeClock().run(scenario()) == pytest.approx([5.0, 4.0, 4.0])


def test_a_failure_that_comes_with_a_cancellation_is_not_told_of_as_if_nobody_had_heard_it() -> None:
    async def fails() -> None:
        await asyncio.sleep(2)
        raise LeaseLost("gone")

    async def scenario() -> list[object]:
        told: list[object] = []
        asyncio.get_running_loop().set_exception_handler(lambda _, context: told.append(context))
        waiting = asyncio.ensure_future(settled(asyncio.ensure_future(fails()), None, 5.0))
        await asyncio.sleep(1)
        waiting.cancel()
        await asyncio.wait([waiting])
        assert waiting.cancelled()
        del waiting
        gc.collect()
        return told

    assert FakeClock().run(scenario()) == []


def test_tasks_are_stopped_however_often_that_is_broken_off() -> None:
    async def stubborn() -> None:
        try:
            await asyncio.sleep(1_000)
        finally:
            await asyncio.sleep(5)

    async def fails() -> None:
        raise ValueError

    async def scenario() -> None:
        tasks = [asyncio.ensure_future(stubborn()), asyncio.ensure_future(fails())]
        await asyncio.sleep(1)
        stopping = asyncio.ensure_future(stopped(*tasks))
        for _ in range(2):
            await asyncio.sleep(1)
            stopping.cancel()
        with pytest.raises(asyncio.CancelledError):
            await stopping
        assert all(task.done() for task in tasks)

    FakeClock().run(scenario())
