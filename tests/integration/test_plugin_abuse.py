"""A plugin that lies, floods, hangs, crashes or speaks another version fails its task, and nothing else."""

import asyncio
import os
import signal
import time
from pathlib import Path
from typing import Any

import pytest
from msgspec import structs
from plugin_rig import QUICK, rogue

from runwright.adapters.plugin import call as calls
from runwright.adapters.plugin import connection
from runwright.adapters.plugin.limits import RESULT_BYTES, PluginOptions
from runwright.core.errors import TaskFailed, UnopenedSession, UsageError
from runwright.core.task import Task, TaskId

PATIENT = PluginOptions()
RESULT = {"result": {"taskId": "task", "value": "1"}}


@pytest.mark.parametrize(
    ("how", "code", "message"),
    [
        ("exits", "E_PLUGIN_START", "has not started: it ended: exit status 7"),
        ("version", "E_PLUGIN_VERSION", "speaks version 2 of the protocol, this Runwright version 1"),
        ("service", "E_PLUGIN_VERSION", "speaks a protocol that we don't know"),
        ("garbage-handshake", "E_PLUGIN_START", "HandshakeReply can't be read"),
        ("schema-text", "E_PLUGIN", "its schema is none"),
        ("schema-kind", "E_PLUGIN", "its schema is none"),
        ("schema-large", "E_PLUGIN", "its schema takes 262146 bytes"),
        ("session-fails", "E_MINE", "no session today"),
        ("session-garbage", "E_PLUGIN", "SessionMessage can't be read"),
        ("session-silent", "E_PLUGIN", "it did not open the session"),
    ],
)
def test_a_plugin_that_can_t_be_used(how: str, code: str, message: str, tmp_path: Path) -> None:
    async def check() -> None:
        async with rogue(tmp_path, how) as rig:
            for _ in range(2):  # each task tries anew
                failure = await rig.failure("ok")
                assert (failure.code, message in failure.message) == (code, True), failure
            if how == "exits":
                assert failure.stderr_tail == "no licence\n"

    asyncio.run(check())


@pytest.mark.parametrize("how", ["deaf", "not-grpc"])
def test_a_plugin_that_does_not_answer_in_time(how: str, tmp_path: Path) -> None:
    async def check() -> None:
        async with rogue(tmp_path, how, structs.replace(QUICK, startup_timeout=1.0)) as rig:
            failure = await rig.failure("ok")
            assert failure.code == "E_PLUGIN_START"
            assert "did not answer within 1 s" in failure.message or "handshake failed" in failure.message

    asyncio.run(check())


def test_what_a_plugin_says_before_it_starts_is_masked(tmp_path: Path) -> None:
    async def check() -> None:
        async with rogue(tmp_path, "exits", secrets=("licence",)) as rig:
            for _ in range(2):
                assert (await rig.failure("ok")).stderr_tail == "no ***\n"

    asyncio.run(check())


def test_a_program_that_is_not_there(tmp_path: Path) -> None:
    from runwright.adapters.plugin.remote import Remote
    from runwright.testing import LocalSession

    async def check() -> None:
        remote, session = Remote(["no-such-program-at-all"]), LocalSession(tmp_path)
        await remote.open_session(session)
        with pytest.raises(TaskFailed) as caught:
            await remote.execute(session, Task(id=TaskId("t")))
        await remote.close_session(session.id)
        assert caught.value.failure.code == "E_PLUGIN_START"
        assert "no-such-program-at-all" in caught.value.failure.message
        with pytest.raises(UnopenedSession):
            await remote.execute(session, Task(id=TaskId("t")))

    asyncio.run(check())
    for wrong in ("one text", [], [""]):
        with pytest.raises(UsageError, match="program and arguments"):
            Remote(wrong)


LIES: list[tuple[tuple[dict[str, Any], ...], str]] = [
    ((), "it ended the call without a result"),
    (({},), "a report says nothing that is known"),
    ((RESULT, RESULT), r"after its last report \(a result\) comes another \(result\)"),
    ((RESULT, {"log": {"data": "eA=="}}), r"comes another \(log\)"),
    (({"result": {"taskId": "other"}},), "the result is for task 'other', not for 'task'"),
    (({"result": {"taskId": "task", "value": "{"}},), "the value can't be read as JSON"),
    (({"result": {"taskId": "task", "value": "[" * 100_000}},), "the value can't be read as JSON"),
    (({"result": {"taskId": "task", "variables": {"a b": "1"}}},), "'a b' can't be the name of a variable"),
    (({"result": {"taskId": "task", "followups": [{"args": "{}"}]}},), "a task has no id"),
    (({"result": {"taskId": "task", "followups": [{"id": "x", "args": "[]"}]}},), "are no table"),
    (({"result": {"taskId": "task", "more": True}},), "it ended the call without a result"),
    (({"log": {"stream": 7, "data": "eA=="}}, RESULT), "there is no output stream 7"),
    (({"event": "{"}, RESULT), "an event is wrong"),
    (
        ({"event": '{"kind": "run_done", "run_id": "x", "at": "2026-01-01T00:00:00Z"}'}, RESULT),
        "not from within",
    ),
    (({"output": {"path": "x", "last": True}}, RESULT), "it sends files although it shares ours"),
    (({"stopped": {}},), "it stopped the task without being asked to"),
]


@pytest.mark.parametrize(("reports", "message"), LIES, ids=[message for _, message in LIES])
def test_a_lie_is_a_failure_of_its_task(
    reports: tuple[dict[str, Any], ...], message: str, tmp_path: Path
) -> None:
    async def check() -> None:
        async with rogue(tmp_path) as rig:
            other = asyncio.create_task(rig.run("ok", "other", seconds=0.3, value="fine"))
            with pytest.raises(TaskFailed, match=message) as caught:
                await rig.run("told", reports=list(reports))
            assert caught.value.failure.code == "E_PLUGIN"
            assert (await other).value == "fine", "the plugin's other tasks go on"
            assert (await rig.run("told", reports=[RESULT])).value == 1, "the control: the truth is believed"

    asyncio.run(check())


def test_what_is_no_message_at_all(tmp_path: Path) -> None:
    async def check() -> None:
        async with rogue(tmp_path) as rig:
            failure = await rig.failure("garbage")
            assert (failure.code, "Report can't be read" in failure.message) == ("E_PLUGIN", True)
            failure = await rig.failure("abort")
            assert (failure.code, "a bug of the plugin" in failure.message) == ("E_PLUGIN", True)
            assert (await rig.run("ok")).value == 1

    asyncio.run(check())


def test_failures_are_masked_and_cut(tmp_path: Path) -> None:
    secret = "correct-horse-battery"
    cut = secret[8:] + "\n" + "line\n" * 900

    async def check() -> None:
        async with rogue(tmp_path, secrets=(secret,)) as rig:
            failure = await rig.told(
                {"failure": {"code": "E_MINE", "message": secret, "exitCode": 3, "signal": 9}}
            )
            assert (failure.code, failure.exit_code, failure.signal) == ("E_MINE", 3, 9)
            assert secret not in failure.message
            failure = await rig.told(
                {"failure": {"code": "not one", "message": "x" * 9999, "stderrTail": cut}}
            )
            assert (failure.code, len(failure.message)) == ("E_PLUGIN", 4096)
            assert "battery" not in failure.stderr_tail
            assert failure.stderr_tail.endswith("line\n")
            assert (await rig.told({"failure": {}})).message == "the plugin does not say why"

    asyncio.run(check())


ESCAPES = {
    "/etc/passwd": "is no path below a directory",
    "../secret": "is no path below a directory",
    "a/../../secret": "is no path below a directory",
    "./plain": "is no path below a directory",
    "": "is no path below a directory",
    "link": "is no plain file",
    "up/passwd": "is not there",
    "missing": "is not there",
    "x" * 300: "can't be the path of a file",
    "nul\0": "can't be the path of a file",
}


@pytest.mark.parametrize("name", ESCAPES)
def test_outputs_that_are_none(name: str, tmp_path: Path) -> None:
    async def check() -> None:
        async with rogue(tmp_path) as rig:
            failure = await rig.failure("outputs", names=["plain", name])
            assert (failure.code, ESCAPES[name] in failure.message) == ("E_PLUGIN", True), failure

    asyncio.run(check())


def test_control_outputs_that_nobody_checks_are_believed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(calls, "check_outputs", lambda folder, outputs: None)

    async def check() -> None:
        async with rogue(tmp_path) as rig:
            assert (await rig.run("outputs", names=["../secret"])).outputs == ("../secret",)

    asyncio.run(check())


def test_a_result_that_is_too_large(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    async def check() -> None:
        async with rogue(tmp_path, options=PATIENT) as rig:
            failure = await rig.failure("large_value", mib=64)
            assert (failure.code, "more than 4194304 bytes" in failure.message) == ("E_PLUGIN_LIMIT", True)
            failure = await rig.failure("many_parts", mib=70)
            assert (failure.code, f"more than {RESULT_BYTES} bytes" in failure.message) == (
                "E_PLUGIN_LIMIT",
                True,
            )
            await rig.run("many_parts", mib=2)

    with pytest.raises(
        TaskFailed, match="can't be the path"
    ):  # two parts are put together, and then looked at
        asyncio.run(check())

    monkeypatch.setattr(connection, "CHANNEL_OPTIONS", (("grpc.max_receive_message_length", -1),))

    async def control() -> None:
        async with rogue(tmp_path, options=PATIENT) as rig:
            assert len((await rig.run("large_value", mib=48)).value) == 48 << 20

    asyncio.run(control())


def test_arguments_that_are_too_large_or_no_data(tmp_path: Path) -> None:
    async def check() -> None:
        async with rogue(tmp_path) as rig:
            failure = await rig.failure("ok", value="x" * (3 << 20))
            assert (failure.code, "bytes; the most is" in failure.message) == ("E_ARGS", True)
            failure = await rig.failure("ok", value=object())
            assert (failure.code, "not plain data" in failure.message) == ("E_ARGS", True)

    asyncio.run(check())


def test_a_crash_fails_its_tasks_and_the_plugin_is_back_within_a_second(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("ROGUE_STARTS", str(tmp_path / "starts"))

    async def check() -> None:
        async with rogue(tmp_path) as rig:
            await rig.run("ok", "first")
            for _ in range(3):
                failure = await rig.failure("crash")
                crashed = time.time()
                assert (failure.code, "killed by signal 9" in failure.message) == ("E_PLUGIN_CRASHED", True)
                assert failure.stderr_tail == "Segmentation fault, or so\n"
                assert (await rig.run("ok", "next")).value == 1
            began = float((tmp_path / "starts").read_text().splitlines()[-1].split()[0])
            assert began - crashed < 1.0
            assert b"last words\n" in rig.logged()

    asyncio.run(check())


def test_a_crash_without_a_task_is_seen_and_the_plugin_is_back_before_it_is_asked(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    starts = tmp_path / "starts"
    monkeypatch.setenv("ROGUE_STARTS", str(starts))

    async def check() -> None:
        async with rogue(tmp_path) as rig:
            await rig.run("ok")
            os.kill(int(starts.read_text().split()[1]), signal.SIGKILL)
            async with asyncio.timeout(10):
                while len(starts.read_text().splitlines()) < 2:  # noqa: ASYNC110 - only the file tells
                    await asyncio.sleep(0.01)
            assert (await rig.run("ok")).value == 1
            assert len(starts.read_text().splitlines()) == 2

    asyncio.run(check())


@pytest.mark.parametrize(
    ("do", "message"), [("freeze", "it hangs: it did not answer for 1 s"), ("sicken", "NOT_SERVING")]
)
def test_a_plugin_that_hangs_is_ended_and_started_again(do: str, message: str, tmp_path: Path) -> None:
    async def check() -> None:
        async with rogue(tmp_path) as rig:
            failure = await rig.failure(do)
            assert (failure.code, message in failure.message) == ("E_PLUGIN_HUNG", True), failure
            assert (await rig.run("ok")).value == 1

    asyncio.run(check())


def test_control_a_plugin_whose_health_nobody_watches_hangs_on(tmp_path: Path) -> None:
    async def check() -> None:
        async with rogue(tmp_path, options=structs.replace(QUICK, health_interval=3600.0)) as rig:
            work = asyncio.create_task(rig.run("freeze"))
            assert await asyncio.wait([work], timeout=3) == (set(), {work})
            work.cancel()
            await asyncio.wait([work])
            assert work.cancelled()

    asyncio.run(check())


def test_a_plugin_without_the_health_service_is_well(tmp_path: Path) -> None:
    async def check() -> None:
        async with rogue(tmp_path, "no-health") as rig:
            assert (await rig.run("ok", seconds=0.5)).value == 1

    asyncio.run(check())


def test_a_task_that_does_not_stop_takes_its_plugin_with_it(tmp_path: Path) -> None:
    async def check() -> None:
        async with rogue(tmp_path) as rig:
            other = asyncio.create_task(rig.failure("ok", "other", seconds=60))
            work = asyncio.create_task(rig.run("hang"))
            async with asyncio.timeout(10):
                while b"going on" not in rig.logged():  # noqa: ASYNC110 - the log is no event
                    await asyncio.sleep(0.01)
            work.cancel()
            with pytest.raises(asyncio.CancelledError):
                await work
            failure = await other
            assert (failure.code, "task task did not stop within 1 s" in failure.message) == (
                "E_PLUGIN_HUNG",
                True,
            )
            assert (await rig.run("ok")).value == 1

    asyncio.run(check())


def test_a_session_that_is_never_opened(tmp_path: Path) -> None:
    async def check() -> None:
        async with rogue(tmp_path, "session-hangs") as rig:
            work = [asyncio.create_task(rig.run("ok", f"task-{number}")) for number in range(2)]
            assert await asyncio.wait(work, timeout=2) == (set(), set(work))
            for one in work:
                one.cancel()
            await asyncio.wait(work)
            assert all(one.cancelled() for one in work)

    asyncio.run(check())


@pytest.mark.parametrize("how", ["close-hangs", "close-half", "close-fails"])
def test_a_session_that_is_not_closed(how: str, tmp_path: Path) -> None:
    async def check() -> None:
        async with rogue(tmp_path, how) as rig:
            await rig.run("ok")

    if how != "close-fails":
        asyncio.run(check())
    else:
        with pytest.raises(TaskFailed, match="not closed"):
            asyncio.run(check())


def test_what_a_plugin_prints_itself_is_in_the_log_of_its_tasks(tmp_path: Path) -> None:
    async def check() -> None:
        async with rogue(tmp_path, "session-says") as rig:
            await rig.run("ok", "first", seconds=0.6)
            assert rig.logged("first") == b"up and running\nfrom the session\n"
            await rig.run("ok", "second")
            assert rig.logged("second") == b""

    asyncio.run(check())
