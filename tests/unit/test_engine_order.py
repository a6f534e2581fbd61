"""What starts when: nothing before what it needs is durable, everything else at once; the order of events."""

import asyncio

import pytest
from engine_bench import CANCELLED, OTHER, OWNER, STRATEGIES, SUCCEEDED, Bench, flow, takes, turns

from runwright.core.errors import LeaseLost, RunIsActive, StoreError
from runwright.core.events import (
    AttemptsReserved,
    RunEnded,
    RunStarted,
    TaskEnded,
    TaskStarted,
)
from runwright.core.options import RunOptions, Strategy
from runwright.core.states import RunState
from runwright.core.task import Result
from runwright.testing import Script

DIAMOND = flow({"a": "", "b": "a", "c": "a", "d": "b c"})


@pytest.mark.parametrize(("strategy", "workers"), STRATEGIES)
def test_a_diamond_runs_in_order(strategy: Strategy, workers: int) -> None:
    bench = Bench()
    seen = bench.execute(DIAMOND, strategy, workers)
    assert seen.state is RunState.SUCCEEDED
    assert bench.commands() == ["a", "b", "c", "d"]
    assert set(seen.states().values()) == {SUCCEEDED}
    assert (seen.run.strategy, seen.run.workers) == (strategy, workers)


def test_the_log_of_a_run_in_order() -> None:
    seen = Bench().execute(flow({"a": "", "b": "a"}), workers=2)
    assert [type(event) for event in seen.events] == [
        RunStarted,
        AttemptsReserved,
        TaskStarted,
        TaskEnded,
        AttemptsReserved,
        TaskStarted,
        TaskEnded,
        RunEnded,
    ]
    assert seen.position(TaskEnded, "a") < seen.position(AttemptsReserved, "b")


def test_a_body_starts_only_once_its_reservation_is_durable() -> None:
    bench = Bench()

    async def scenario() -> None:
        bench.store.holding = True
        running = asyncio.ensure_future(bench.engine().execute(flow("a"), RunOptions()))
        await turns()
        assert bench.commands() == []
        assert len(bench.store.held) == 1
        bench.store.holding = False
        bench.store.let_go()
        await turns()
        assert bench.commands() == ["a"], "the control: it starts once the commit is through"
        await running

    bench.run(scenario())


def test_dependents_wait_for_the_commit_and_others_do_not() -> None:
    gate = asyncio.Event()
    bench = Bench({"b1": Script(gate=gate)})
    workflow = flow({"a1": "", "a2": "a1", "b1": "", "b2": "", "b3": "", "b4": ""})

    async def scenario() -> None:
        running = asyncio.ensure_future(
            bench.engine(Strategy.WORK_STEALING, 2).execute(workflow, RunOptions())
        )
        await bench.processes.wait_running("b1")
        bench.store.holding = True
        await turns(50)
        assert "a2" not in bench.commands(), "the success of a1 is not durable"
        assert {"b2", "b3", "b4"} <= set(bench.commands()), "they wait for nobody's disk"
        bench.store.holding = False
        bench.store.let_go()
        await turns()
        assert "a2" in bench.commands()
        gate.set()
        assert (await running).state is RunState.SUCCEEDED

    bench.run(scenario())


def test_no_more_at_a_time_than_workers() -> None:
    most = 0
    bench = Bench({f"t{n}": takes(1 + n % 3) for n in range(40)})

    def look(_: object) -> None:
        nonlocal most
        most = max(most, len(bench.processes.running) + 1)

    bench.on_command = look
    bench.execute(flow([f"t{n}" for n in range(40)]), Strategy.WORK_STEALING, 7)
    assert most == 7


def test_levels_wait_for_the_slowest_and_work_stealing_does_not() -> None:
    workflow = flow({"fast": "", "slow": "", "next": "fast"})
    starts = {}
    for strategy in (Strategy.LEVELS, Strategy.WORK_STEALING):
        bench = Bench({"fast": takes(1), "slow": takes(10), "next": takes(1)})
        row = bench.execute(workflow, strategy, 2).rows["next"]
        assert row.started_at is not None
        starts[strategy] = (row.started_at - bench.clock._start).total_seconds()
    assert starts[Strategy.LEVELS] == pytest.approx(10)
    assert starts[Strategy.WORK_STEALING] == pytest.approx(1)


@pytest.mark.parametrize("error", [LeaseLost("passed on"), StoreError("disk full")])
def test_a_run_that_can_not_be_recorded_stops_what_runs_and_says_so(error: Exception) -> None:
    bench = Bench({"a": takes(1000), "b": takes(1)})

    async def scenario() -> None:
        running = asyncio.ensure_future(
            bench.engine(Strategy.WORK_STEALING, 2).execute(flow({"a": "", "b": "", "c": "b"}), RunOptions())
        )
        await bench.processes.wait_running("a")
        bench.store.holding = True
        await asyncio.sleep(2)
        bench.store.refuse(error)
        with pytest.raises(type(error), match=str(error)):
            await running

    bench.run(scenario())
    assert bench.stopped() == ["a"]
    assert bench.processes.running == []
    assert "c" not in bench.commands()
    assert len(bench.store.released) == 1
    assert bench.workspaces.discarded


def test_a_body_does_not_start_when_its_reservation_fails() -> None:
    bench = Bench({"y": takes(1)})
    workflow = flow({"x": {"executor": "call.x"}, "y": {}, "z": "y", "zz": "y"})

    async def scenario() -> None:
        go = asyncio.Event()

        async def x(session: object, task: object) -> Result:
            await go.wait()
            return Result()

        bench.functions.by_name["x"] = x
        engine = bench.engine(Strategy.WORK_STEALING, 2)
        running = asyncio.ensure_future(engine.execute(workflow, RunOptions()))
        await bench.processes.wait_running("y")
        bench.store.holding = True
        await asyncio.sleep(2)
        assert bench.store.held, "z is reserved"
        asyncio.get_running_loop().call_soon(
            go.set
        )  # a worker becomes free and the loop is going to look for work
        await go.wait()
        bench.store.refuse(StoreError("disk full"))  # and before it has looked, the answer is there
        with pytest.raises(StoreError):
            await running

    bench.run(scenario())
    assert bench.commands() == ["y"]


def test_a_second_engine_is_refused_while_one_drives() -> None:
    bench = Bench({"a": takes(100)})

    async def scenario() -> None:
        running = asyncio.ensure_future(bench.engine().execute(flow("a"), RunOptions()))
        await bench.processes.wait_running("a")
        (run_id,) = bench.store._logs
        with pytest.raises(RunIsActive, match="here"):
            await bench.engine(owner=OTHER).resume(run_id, RunOptions(), None)
        assert (await running).state is RunState.SUCCEEDED, "the first one has not noticed"

    bench.run(scenario())


def test_a_run_of_a_dead_engine_passes_on_and_its_writes_are_refused() -> None:
    bench = Bench({"a": [takes(1000), takes(1)]})

    async def scenario() -> None:
        first = asyncio.ensure_future(bench.engine(owner=OTHER).execute(flow("a"), RunOptions()))
        await bench.processes.wait_running("a")
        bench.alive[OTHER.host] = False
        (run_id,) = bench.store._logs
        run = await bench.engine().resume(run_id, RunOptions(), None)
        assert run.state is RunState.SUCCEEDED
        seen = await bench.see(run)
        assert seen.numbers("a") == [(1, CANCELLED), (2, SUCCEEDED)]
        with pytest.raises(LeaseLost):
            await first
        assert (await bench.see(run)).events == seen.events, "nothing was written under the stale token"

    bench.run(scenario())
    assert bench.stopped() == ["a"]


def test_the_lease_is_renewed_while_a_task_runs() -> None:
    bench = Bench({"a": takes(100)})
    seen = bench.execute(flow("a"))
    assert seen.state is RunState.SUCCEEDED
    assert bench.store.renewed == 12, "every eight seconds or so"
    assert seen.run.owner is None


def test_two_runs_at_once_do_not_disturb_each_other() -> None:
    bench = Bench({"a": takes(10)})

    async def scenario() -> None:
        engine = bench.engine()
        runs = await asyncio.gather(*(engine.execute(flow("ab"), RunOptions()) for _ in range(3)))
        assert {run.state for run in runs} == {RunState.SUCCEEDED}
        assert len({run.id for run in runs}) == 3

    bench.run(scenario())
    assert bench.clock.monotonic() == pytest.approx(10, abs=1)


def test_an_empty_workflow_succeeds() -> None:
    seen = Bench().execute(flow(()))
    assert seen.state is RunState.SUCCEEDED
    assert seen.rows == {}


def test_lease_and_workspace_are_given_back() -> None:
    bench = Bench()
    seen = bench.execute(flow("a"))
    assert bench.workspaces.discarded == [seen.id]
    assert [lease.run_id for lease in bench.store.released] == [seen.id]
    assert seen.run.owner is None
    assert OWNER.host not in bench.alive
