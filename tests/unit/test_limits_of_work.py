"""Time limits of work that is made of several parts."""

import asyncio

import pytest

from runwright.core.errors import TaskFailed
from runwright.engines.limits import limit_of, within
from runwright.testing import FakeClock


def test_the_parts_of_some_work_share_its_limit() -> None:
    async def scenario() -> None:
        limit = limit_of(5)
        assert await within(asyncio.sleep(3, "done"), limit) == "done"
        with pytest.raises(TaskFailed, match="took longer than its limit of 5 s") as caught:
            await within(asyncio.sleep(3), limit)
        assert (caught.value.failure.code, str(caught.value.__cause__)) == (
            "E_TIMEOUT",
            caught.value.failure.message,
        )
        assert clock.monotonic() == 5.0

    clock = FakeClock()
    clock.run(scenario())


def test_a_time_limit_of_the_work_itself_stays_what_it_is() -> None:
    async def work() -> None:
        raise TimeoutError("no answer")

    async def scenario() -> None:
        with pytest.raises(TimeoutError, match="no answer"):
            await within(work(), limit_of(5))

    FakeClock().run(scenario())


def test_work_that_does_not_let_itself_be_broken_off_is_late_all_the_same() -> None:
    async def stubborn() -> str:
        try:
            await asyncio.sleep(100)
        except asyncio.CancelledError:
            await asyncio.sleep(0)
        return "done"

    async def scenario() -> None:
        with pytest.raises(TaskFailed, match="took longer than its limit of 1 s") as caught:
            await within(stubborn(), limit_of(1.0))
        assert caught.value.failure.code == "E_TIMEOUT"

    FakeClock().run(scenario())
