"""`serve`: what executors in Python make of their sessions and tasks, and how their faults are told."""

import asyncio
import sys
from pathlib import Path
from typing import Any

import pytest
from plugin_rig import QUICK, Rig

from runwright.adapters.plugin.remote import Remote
from runwright.core.errors import TaskFailed
from runwright.core.task import TaskId
from runwright.testing import LocalSession

CLUMSY = Path(__file__).with_name("clumsy_plugin.py")


def with_clumsy(folder: Path, work: Any, how: str = "", **more: Any) -> None:
    async def run() -> None:
        remote = Remote([sys.executable, str(CLUMSY), how], **more)
        session = LocalSession(folder)
        await remote.open_session(session)
        try:
            await work(Rig(remote, session))
        finally:
            await remote.close_session(session.id)

    asyncio.run(run())


@pytest.mark.parametrize(
    ("do", "code", "message"),
    [
        ("nothing", "E_EXECUTOR", "the executor gave no Result"),
        ("large", "E_PLUGIN_LIMIT", "hand on what is large as a file"),
        ("odd", "E_OUTPUT", "the value is not plain data"),
        ("unknown", "E_NO_EXECUTOR", "no executor at all"),
        ("raises", "E_EXECUTOR", "ValueError: just so"),
        ("worse", "E_EXECUTOR", "Worse"),
        ("missing", "E_EXECUTOR", "AttributeError"),
    ],
)
def test_faults_of_an_executor(do: str, code: str, message: str, tmp_path: Path) -> None:
    async def work(rig: Rig) -> None:
        failure = await rig.failure(do)
        assert (failure.code, message in failure.message) == (code, True), failure
        assert (await rig.run("fine")).value == ["as it is", False, False]

    with_clumsy(tmp_path, work)


@pytest.mark.parametrize("shared_files", [True, False])
def test_outputs_that_lead_out_are_found_on_either_side(shared_files: bool, tmp_path: Path) -> None:
    async def work(rig: Rig) -> None:
        failure = await rig.failure("escapes")
        assert failure.code == ("E_PLUGIN" if shared_files else "E_OUTPUT")
        assert "is no path below a directory" in failure.message

    with_clumsy(tmp_path, work, shared_files=shared_files)


def test_sessions_that_can_t_be_opened_or_closed(tmp_path: Path) -> None:
    async def opening(rig: Rig) -> None:
        for _ in range(2):
            assert (await rig.failure("fine")).message == "ValueError: can't open"

    with_clumsy(tmp_path, opening, "opening")

    async def closing(rig: Rig) -> None:
        await rig.run("fine")

    with pytest.raises(TaskFailed, match="can't close"):
        with_clumsy(tmp_path, closing, "closing")


def test_events_and_followups_arrive(tmp_path: Path) -> None:
    async def work(rig: Rig) -> None:
        await rig.run("tells")
        assert [(event.run_id, event.within) for event in rig.session.told] == [("inner", ("task",))]
        assert [task.id for task in (await rig.run("fine", "other")).followups] == ["next"]

    with_clumsy(tmp_path, work)


def test_what_is_logged_for_nobody_is_in_the_log_of_the_next_task(tmp_path: Path) -> None:
    async def work(rig: Rig) -> None:
        waiting = asyncio.create_task(rig.run("waits"))
        async with asyncio.timeout(10):
            while not {b"waiting\n", b"session is open\n"} <= set(rig.logged().splitlines(keepends=True)):  # noqa: ASYNC110 - the log is no event
                await asyncio.sleep(0.01)
        waiting.cancel()
        await asyncio.wait([waiting])
        assert waiting.cancelled()

    with_clumsy(tmp_path, work)


def test_an_executor_that_computes_is_not_taken_for_one_that_hangs(tmp_path: Path) -> None:
    async def work(rig: Rig) -> None:
        assert (await rig.run("blocks", seconds=2.5)).value == "done"

    with_clumsy(tmp_path, work, options=QUICK)


def test_one_that_computes_and_does_not_stop_is_ended(tmp_path: Path) -> None:
    async def work(rig: Rig) -> None:
        work = asyncio.create_task(rig.run("blocks", seconds=3600))
        async with asyncio.timeout(10):
            while b"session is open" not in rig.logged():  # noqa: ASYNC110 - the log is no event
                await asyncio.sleep(0.01)
        work.cancel()
        await asyncio.wait([work])
        assert work.cancelled()
        assert (await rig.run("fine")).value
        assert TaskId("task") in rig.session.logs

    with_clumsy(tmp_path, work, options=QUICK)
