"""The log of a job on its way to the server."""

import asyncio
from collections.abc import Awaitable, Callable, Coroutine
from typing import Any

import pytest

from runwright.core.errors import Failure, LeaseLost, Refused, RemoteError, TaskFailed
from runwright.core.job import Job
from runwright.core.job_wire import DequeueRequest, ExecutionLogEntry
from runwright.core.redact import Redactor
from runwright.engines import job_log
from runwright.engines.job_log import JobLog, LogDoors
from runwright.ports.jobs import GivenJob, OnOutput
from runwright.ports.system import Exit
from runwright.testing import FakeClock, MemoryPlaces, MemorySource
from runwright.testing.job_sources import SourceCall

SECRET = "hunter2hunter2"
BLANK_SECRET = "blank\N{NO-BREAK SPACE}"
"""Is not itself any more when blanks are taken off its end."""


class Rig:
    def __init__(self, **limits: int) -> None:
        self.clock = FakeClock()
        self.source = MemorySource(self.clock, lease_seconds=50_000.0)
        self.places = MemoryPlaces()
        self.limits = {"entry_bytes": 1 << 20, "job_bytes": 1 << 22, **limits}
        self.raised: BaseException | None = None

    def run(self, body: Callable[["Rig", JobLog], Coroutine[Any, Any, None]]) -> list[ExecutionLogEntry]:
        return self.clock.run(self._run(body))

    async def _run(
        self, body: Callable[["Rig", JobLog], Coroutine[Any, Any, None]]
    ) -> list[ExecutionLogEntry]:
        self.source.add(Job())
        given = await self.source.dequeue(DequeueRequest(executor_name="w", queues=("q",)))
        assert given is not None
        self.log = self.make(given)
        self.shipping = asyncio.ensure_future(self.log.ship())
        await body(self, self.log)
        self.log.close()
        try:
            await self.shipping
        except RemoteError as error:
            self.raised = error
        except LeaseLost as error:
            self.raised = error
        self.log.free()
        return self.source.jobs[1].log

    def make(self, given: GivenJob) -> JobLog:
        return JobLog(
            given,
            LogDoors(
                source=self.source,
                spool=self.places.spool,
                clock=self.clock,
                draw=lambda: 0.5,
                redactor=Redactor([SECRET, BLANK_SECRET]),
                **self.limits,
            ),
        )

    def calls(self, name: str) -> int:
        return sum(call.name == name for call in self.source.calls)


def says(*pieces: bytes, code: int = 0, seconds: float = 0.0) -> Callable[[OnOutput], Awaitable[Exit]]:
    async def work(on_output: OnOutput) -> Exit:
        for piece in pieces:
            on_output("stdout", piece)
            await asyncio.sleep(seconds)
        return Exit(code=code)

    return work


def test_an_entry_from_begin_to_end() -> None:
    async def body(rig: Rig, log: JobLog) -> None:
        assert await log.entry("step.x", ("run", SECRET), says(b"a\n", b"b\n", code=3, seconds=2.0)) == Exit(
            code=3
        )

    rig = Rig()
    (entry,) = rig.run(body)
    assert (entry.key, entry.command, entry.out) == ("step.x", ("run", "***"), "stdout: a\nstdout: b\n")
    assert (entry.exit_code, entry.duration_ms, entry.start_time) == (3, 4_000, rig.clock._start)
    assert all(spool.closed for spool in rig.places.spools)


def test_output_is_seen_while_it_comes() -> None:
    async def body(rig: Rig, log: JobLog) -> None:
        async def work(on_output: OnOutput) -> Exit:
            on_output("stdout", b"begun.")
            await asyncio.sleep(3)
            (entry,) = rig.source.jobs[1].log
            assert (entry.out, entry.exit_code) == ("stdout: begun.", None), "also a line without an end"
            return Exit(code=0)

        await log.entry("k", (), work)

    assert Rig().run(body)[0].out == "stdout: begun.\n"


def test_little_is_sent_once_a_second_and_much_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(job_log, "SEND_BYTES", 1_000)

    async def body(rig: Rig, log: JobLog) -> None:
        await log.entry("slow", (), says(*[b"x\n"] * 100, seconds=0.1))
        assert 9 <= rig.calls("update_entry") <= 12
        await log.entry("fast", (), says(*[b"y" * 600 + b"\n"] * 10, seconds=0.001))

    rig = Rig()
    slow, fast = rig.run(body)
    assert slow.out == "stdout: x\n" * 100
    assert fast.out == ("stdout: " + "y" * 600 + "\n") * 10
    assert rig.calls("update_entry") < 30


def test_text_is_not_cut_within_a_character(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(job_log, "SEND_BYTES", 10)

    async def body(rig: Rig, log: JobLog) -> None:
        await log.entry("k", (), says("ü€😀".encode() * 20))

    assert Rig().run(body)[0].out == "stdout: " + "ü€😀" * 20 + "\n"


def test_a_server_that_is_away_is_waited_for() -> None:
    def trouble(call: SourceCall) -> RemoteError | None:
        return RemoteError("nobody") if rig.clock.monotonic() < 100 and call.name != "dequeue" else None

    async def body(rig: Rig, log: JobLog) -> None:
        for number in range(3):
            await log.entry(f"k{number}", (), says(b"x\n"))

    rig = Rig()
    rig.source.trouble = trouble
    assert [entry.out for entry in rig.run(body)] == ["stdout: x\n"] * 3
    assert rig.calls("add_entry") < 40, "with pauses that grow"


def test_a_lost_answer_changes_nothing() -> None:
    seen: set[str] = set()

    def loss(call: SourceCall) -> RemoteError | None:
        if call.name in seen or call.name == "dequeue":
            return None
        seen.add(call.name)
        return RemoteError("cut off")

    async def body(rig: Rig, log: JobLog) -> None:
        await log.entry("k", (), says(b"once\n"))

    rig = Rig()
    rig.source.loss = loss
    assert [entry.out for entry in rig.run(body)] == ["stdout: once\n"]
    assert seen == {"add_entry", "update_entry"}


def test_commands_wait_for_a_server_that_lags_behind(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(job_log, "MOST_UNSENT", 3)
    begun: list[float] = []

    def trouble(call: SourceCall) -> RemoteError | None:
        return RemoteError("nobody") if rig.clock.monotonic() < 50 and call.name != "dequeue" else None

    async def body(rig: Rig, log: JobLog) -> None:
        for _ in range(5):
            await log.entry("k", (), says(b"x"))
            begun.append(rig.clock.monotonic())
        await log.last_entry("last", (), says(b"x"))

    rig = Rig()
    rig.source.trouble = trouble
    rig.run(body)
    assert [at >= 50 for at in begun] == [False, False, False, True, True]


def test_the_last_entry_does_not_wait(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(job_log, "MOST_UNSENT", 1)

    async def body(rig: Rig, log: JobLog) -> None:
        rig.source.trouble = lambda call: RemoteError("x") if rig.clock.monotonic() < 50 else None
        await log.entry("k", (), says(b"x"))
        await log.last_entry("last", (), says(b"x"))
        assert rig.clock.monotonic() < 1

    assert [entry.key for entry in Rig().run(body)] == ["k", "last"]


def test_a_lease_that_has_passed_on_ends_it() -> None:
    async def body(rig: Rig, log: JobLog) -> None:
        rig.source.jobs[1].attempt += 1
        await log.entry("k", (), says(b"x"))
        await log.entry("l", (), says(b"x"))

    rig = Rig()
    assert rig.run(body) == []
    assert isinstance(rig.raised, LeaseLost)
    assert all(spool.closed for spool in rig.places.spools), "also of what was never sent"


@pytest.mark.parametrize("call", ["add_entry", "update_entry"])
def test_what_the_server_refuses_is_told(call: str) -> None:
    async def body(rig: Rig, log: JobLog) -> None:
        await log.entry("k", (), says(b"x"))
        await log.entry("l", (), says(b"x"))

    rig = Rig()
    rig.source.trouble = lambda made: Refused("too large", 413) if made.name == call else None
    rig.run(body)
    assert (rig.raised, rig.log.refusal) == (None, "too large")


def test_how_a_command_ended_is_told_truly() -> None:
    async def fails(on_output: OnOutput) -> Exit:
        on_output("stderr", b"half a line")
        raise TaskFailed(Failure(code="E_X", message=f"it broke with {SECRET}"))

    async def body(rig: Rig, log: JobLog) -> None:
        with pytest.raises(TaskFailed):
            await log.entry("broken", (), fails)
        running = asyncio.ensure_future(log.entry("stopped", (), says(b"x\n", seconds=100)))
        await asyncio.sleep(1)
        running.cancel()
        with pytest.raises(asyncio.CancelledError):
            await running

    broken, stopped = Rig().run(body)
    assert (broken.exit_code, broken.out) == (
        -1,
        "stderr: half a line\nstderr: runwright: it broke with ***\n",
    )
    assert (stopped.exit_code, stopped.out) == (-1, "stdout: x\nstderr: runwright: stopped\n")
    assert stopped.duration_ms == 1_000


@pytest.mark.parametrize(
    ("data", "last"),
    [
        (b"", ""),
        (b"one\ntwo\n\n", "two"),
        (b"10%\r20%", "20%"),
        (f"it was {SECRET}\n".encode(), "it was ***"),
        (BLANK_SECRET.encode(), "***"),
        (b"x" * 5_000, ""),
        (b"x" * 5_000 + b"\nend", "end"),
    ],
)
def test_the_last_line_of_errors(data: bytes, last: str) -> None:
    async def work(on_output: OnOutput) -> Exit:
        on_output("stderr", data)
        return Exit(code=1)

    async def body(rig: Rig, log: JobLog) -> None:
        await log.entry("k", (), work)
        assert log.last_error == last

    Rig().run(body)


def test_the_output_of_one_and_of_all_commands_is_bounded() -> None:
    async def body(rig: Rig, log: JobLog) -> None:
        for number in range(10):
            await log.entry(f"k{number}", (), says(b"y" * 1_000))

    sizes = [len(entry.out) for entry in Rig(entry_bytes=100, job_bytes=500).run(body)]
    assert all(100 <= size <= 200 for size in sizes[:3])
    assert sum(sizes) < 1_500
    assert len(sizes) == 10
    assert sizes[-1] < 80, "the mark alone"


def test_a_long_command_is_cut(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(job_log, "LONGEST_COMMAND", 10)

    async def body(rig: Rig, log: JobLog) -> None:
        await log.entry("k", ("abc", "defghijklmn", "o"), says())

    assert Rig().run(body)[0].command == ("abc", "defghij...")


def test_a_spool_that_cannot_be_made_takes_no_place(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(job_log, "MOST_UNSENT", 1)

    def broken() -> Any:
        raise TaskFailed(Failure(code="E_WORKSPACE", message="full"))

    async def body(rig: Rig, log: JobLog) -> None:
        spool = rig.places.spool
        log._doors = LogDoors(
            **{name: getattr(log._doors, name) for name in log._doors.__struct_fields__} | {"spool": broken}
        )
        for _ in range(2):
            with pytest.raises(TaskFailed, match="full"):
                await log.entry("k", (), says())
        log._doors = LogDoors(
            **{name: getattr(log._doors, name) for name in log._doors.__struct_fields__} | {"spool": spool}
        )
        await log.entry("k", (), says())

    assert len(Rig().run(body)) == 1


def test_a_silent_command_costs_nothing() -> None:
    async def body(rig: Rig, log: JobLog) -> None:
        await log.entry("k", (), says(b"", seconds=100))

    rig = Rig()
    assert rig.run(body)[0].exit_code == 0
    assert rig.calls("update_entry") == 1
