"""Places for work: who gets one, who lends one, and that none is lost or made up."""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

import pytest

from runwright.engines.slots import Slots


def free(slots: Slots) -> int:
    """Return how many places there are right now, by taking them all and giving them back."""
    taken = []
    while (held := slots.take()) is not None:
        taken.append(held)
    for held in taken:
        held.release()
        held.release()
    return len(taken)


def run(main: Callable[[], Awaitable[Any]]) -> Any:
    async def bounded() -> Any:
        async with asyncio.timeout(10):
            return await main()

    return asyncio.run(bounded())


async def turns(number: int = 5) -> None:
    for _ in range(number):
        await asyncio.sleep(0)


def test_who_waits_longest_comes_first() -> None:
    async def main() -> list[int]:
        slots, order = Slots(1), []
        first = slots.take()
        assert first is not None
        assert not slots.is_free

        async def work(number: int) -> None:
            async with slots.held():
                order.append(number)
                await asyncio.sleep(0)

        tasks = [asyncio.create_task(work(number)) for number in range(4)]
        await turns()
        assert order == []
        first.release()
        await asyncio.gather(*tasks)
        assert free(slots) == 1
        return order

    assert run(main) == [0, 1, 2, 3]


def test_an_asker_is_called_once_and_may_be_forgotten() -> None:
    async def main() -> list[str]:
        slots, called = Slots(1), []
        for _ in range(2):
            held = slots.take()
            assert held is not None
            for who in "abab":
                slots.call(who, lambda who=who: called.append(who))
            slots.forget("b")
            held.release()
        return called

    assert run(main) == ["a", "a"]


@pytest.mark.parametrize("passed", [True, False])
def test_a_place_that_was_passed_to_who_is_cancelled_is_passed_on(passed: bool) -> None:
    async def main() -> None:
        slots = Slots(1)
        held = slots.take()
        assert held is not None
        waiting = [asyncio.create_task(slots.acquire()) for _ in range(2)]
        await turns()
        if passed:
            held.release()
            waiting[0].cancel()
        else:
            waiting[0].cancel()
            held.release()
        await waiting[1]
        assert waiting[0].cancelled()
        slots.give_back()
        assert free(slots) == 1

    run(main)


def test_a_lent_place_comes_back_after_an_error() -> None:
    async def borrow(slots: Slots) -> None:
        async with slots.lent():
            assert free(slots) == 1
            raise ValueError("inside")

    async def main() -> None:
        slots = Slots(1)
        async with slots.held():
            with pytest.raises(ValueError, match="inside"):
                await borrow(slots)
            assert free(slots) == 0
        assert free(slots) == 1

    run(main)


def test_only_who_runs_on_a_place_lends_one() -> None:
    async def main() -> None:
        slots, other = Slots(1), Slots(1)
        async with other.held(), slots.lent():
            assert free(slots) == 1
            assert free(other) == 0

    run(main)


def test_a_place_lent_to_several_comes_back_after_the_last() -> None:
    async def main() -> None:
        slots = Slots(1)
        gates = [asyncio.Event(), asyncio.Event()]

        async def borrow(gate: asyncio.Event) -> None:
            async with slots.lent():
                await gate.wait()

        async with slots.held():
            borrowers = [asyncio.create_task(borrow(gate)) for gate in gates]
            await turns()
            gates[0].set()
            await borrowers[0]
            assert free(slots) == 1
            gates[1].set()
            await borrowers[1]
            assert free(slots) == 0
        assert free(slots) == 1

    run(main)


def test_who_outlives_the_work_it_belongs_to_takes_no_place_back() -> None:
    async def main() -> None:
        slots, gate = Slots(1), asyncio.Event()

        async def borrow() -> None:
            async with slots.lent():
                await gate.wait()

        async with slots.held():
            left = asyncio.create_task(borrow())
            await turns()
        gate.set()
        await left
        assert free(slots) == 1

    run(main)


def test_work_that_ends_while_its_place_is_on_the_way_back_keeps_none() -> None:
    async def main() -> None:
        slots, gate = Slots(1), asyncio.Event()

        async def borrow() -> None:
            async with slots.lent():
                await gate.wait()

        async with slots.held():
            left = asyncio.create_task(borrow())
            await turns()
            taken = slots.take()
            assert taken is not None
            gate.set()
            await turns()
        taken.release()
        await left
        assert free(slots) == 1

    run(main)


def test_a_cancellation_on_the_way_back_loses_no_place() -> None:
    """Two layers of places: the outer one is waited for first, and the inner one is not asked for any more."""

    async def main() -> None:
        outer, inner, gate = Slots(1), Slots(1), asyncio.Event()

        async def work() -> None:
            async with outer.held(), inner.held(), outer.lent():
                await gate.wait()

        one = asyncio.create_task(work())
        await turns()
        assert (free(outer), free(inner)) == (1, 1)
        taken = outer.take()
        assert taken is not None
        gate.set()
        await turns()
        one.cancel()
        with pytest.raises(asyncio.CancelledError):
            await one
        taken.release()
        assert (free(outer), free(inner)) == (1, 1)

    run(main)
