"""What runs beside the main loop goes on while that one is blocked."""

import asyncio
import threading
import time

import pytest

from runwright.adapters.clock import AwakeClock
from runwright.adapters.side_loop import ThreadLoop


def test_it_goes_on_while_the_main_loop_is_blocked() -> None:
    seen: list[str] = []
    enough = threading.Event()

    async def work() -> None:
        while True:
            seen.append(threading.current_thread().name)
            if len(seen) == 5:
                enough.set()
            await asyncio.sleep(0.01)

    async def main() -> None:
        side = ThreadLoop()
        side.start(work)
        assert enough.wait(30), "nothing but the other thread can set it while this one waits"
        await side.close()
        await side.close()
        count = len(seen)
        await asyncio.sleep(0.05)
        assert len(seen) == count

    asyncio.run(main())
    assert set(seen) == {"runwright-heartbeats"}
    assert not any(thread.name == "runwright-heartbeats" for thread in threading.enumerate())


def test_an_error_comes_out_at_the_end() -> None:
    async def work() -> None:
        raise LookupError("nobody is there")

    async def main() -> None:
        side = ThreadLoop()
        side.start(work)
        with pytest.raises(LookupError, match="nobody"):
            await side.close()
        await side.close()

    asyncio.run(main())


def test_what_was_never_started_is_closed_at_once() -> None:
    asyncio.run(ThreadLoop().close())


def test_the_clock_that_runs_while_the_machine_sleeps_never_goes_back() -> None:
    clock = AwakeClock()
    first = clock.monotonic()
    assert clock.monotonic() >= first
    assert abs(clock.monotonic() - time.clock_gettime(time.CLOCK_BOOTTIME)) < 5
