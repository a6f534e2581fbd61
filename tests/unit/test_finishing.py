"""Work that comes to its end, whatever becomes of those who wait for it."""

import asyncio

import pytest

from runwright.executors.finishing import finished


async def returned(value: int) -> int:
    return value


async def raised() -> int:
    raise ValueError("oops")


def test_results_and_errors_come_out() -> None:
    assert asyncio.run(finished(returned(3))) == 3
    with pytest.raises(ValueError, match="oops"):
        asyncio.run(finished(raised()))


@pytest.mark.parametrize("fails", [False, True])
def test_a_cancellation_waits_for_the_end(fails: bool) -> None:
    async def scenario() -> None:
        gate, ended = asyncio.Event(), asyncio.Event()

        async def work() -> None:
            await gate.wait()
            ended.set()
            if fails:
                raise ValueError("oops")

        waiting = asyncio.create_task(finished(work()))
        for _ in range(3):
            await asyncio.sleep(0)
            waiting.cancel()
        await asyncio.sleep(0)
        assert not waiting.done()
        gate.set()
        await asyncio.wait([waiting])
        assert waiting.cancelled()
        assert ended.is_set()

    asyncio.run(scenario())
