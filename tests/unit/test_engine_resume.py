"""Resuming: what is reused, what runs again and why, what carries over, and when it is refused."""

import asyncio

import pytest
from engine_bench import (
    CANCELLED,
    FAILED,
    OTHER,
    SKIPPED,
    SUCCEEDED,
    Bench,
    Seen,
    fails,
    flow,
    prints,
    takes,
    turns,
)
from msgspec import structs

from runwright.core.errors import DefinitionError, RunIsActive, RunNotFound, UsageError
from runwright.core.events import RunResumed
from runwright.core.options import FailurePolicy, ResumePlan, RunOptions, Strategy
from runwright.core.states import RunState
from runwright.core.workflow import Workflow
from runwright.testing import FakeClock, Script

CHAIN = flow({"a": "", "b": "a", "c": "b"})


def plan(bench: Bench, run: Seen, current: Workflow | None = None, **options: object) -> ResumePlan:
    return bench.run(bench.engine().plan_resume(run.id, RunOptions(**options), current))  # type: ignore[arg-type]


def resumed(seen: Seen) -> RunResumed:
    return next(event for event in reversed(seen.events) if type(event) is RunResumed)


def test_a_failed_run_continues_where_it_failed() -> None:
    bench = Bench({"b": [fails(), Script()]})
    first = bench.execute(CHAIN)
    assert first.states() == {"a": SUCCEEDED, "b": FAILED, "c": CANCELLED}
    said = plan(bench, first)
    assert said.reuse == {"a": "succeeded in attempt 1"}
    assert said.redo == {"b": "failed: exit status 1", "c": 'cancelled: needs task "b", which failed'}
    again = bench.resume(first)
    assert again.id == first.id
    assert again.state is RunState.SUCCEEDED
    assert bench.commands() == ["a", "b", "b", "c"]
    assert again.numbers("b") == [(1, FAILED), (2, SUCCEEDED)]
    assert again.run.resume_count == 1
    event = resumed(again)
    assert (event.from_state, event.reused, event.redo) == (RunState.FAILED, 1, said.redo)


def test_planning_a_resume_writes_nothing() -> None:
    bench = Bench({"b": fails()})
    first = bench.execute(CHAIN)
    plan(bench, first)
    assert bench.run(bench.see(first.id)).events == first.events


def test_a_cancelled_run_continues() -> None:
    bench = Bench({"b": [takes(1000), Script()]})
    first = bench.execute(CHAIN, timeout=5.0)
    assert first.state is RunState.CANCELLED
    again = bench.resume(first, timeout=50.0)
    assert again.state is RunState.SUCCEEDED
    assert bench.commands() == ["a", "b", "b", "c"]
    assert again.numbers("b") == [(1, CANCELLED), (2, SUCCEEDED)]


def test_an_interrupted_run_continues_and_says_so() -> None:
    bench = Bench({"b": [takes(1000), Script()]})

    async def scenario() -> None:
        dead = asyncio.ensure_future(bench.engine(owner=OTHER).execute(CHAIN, RunOptions()))
        await bench.processes.wait_running("b")
        bench.alive[OTHER.host] = False
        run = await bench.store.find_run("latest")
        assert run.state is RunState.INTERRUPTED
        said = await bench.engine().plan_resume(run.id, RunOptions(), None)
        assert said.redo == {"b": "was interrupted in attempt 1", "c": "had not started"}
        seen = await bench.see(await bench.engine().resume(run.id[:8], RunOptions(), None))
        assert seen.state is RunState.SUCCEEDED
        assert resumed(seen).from_state is RunState.INTERRUPTED
        dead.cancel()
        await asyncio.wait([dead])

    bench.run(scenario())


def test_a_run_that_succeeded_is_refused() -> None:
    bench = Bench()
    first = bench.execute(CHAIN)
    for call in (bench.engine().resume, bench.engine().plan_resume):
        with pytest.raises(UsageError, match="has succeeded") as caught:
            bench.run(call(first.id, RunOptions(), None))
        assert caught.value.problems[0].suggestion == "start a new run of w"


def test_a_run_that_succeeded_while_we_waited_for_its_lease_is_refused() -> None:
    bench = Bench({"b": [fails(), Script()]})
    first = bench.execute(CHAIN)
    take = bench.store.take_lease

    async def scenario() -> None:
        async def late(*args: object) -> object:
            bench.store.take_lease = take  # type: ignore[method-assign]
            await bench.engine().resume(first.id, RunOptions(), None)
            return await take(*args)  # type: ignore[arg-type]

        bench.store.take_lease = late  # type: ignore[assignment,method-assign]
        with pytest.raises(UsageError, match="has succeeded"):
            await bench.engine().resume(first.id, RunOptions(), None)
        assert (await bench.store.find_run(first.id)).owner is None

    bench.run(scenario())


def test_a_run_that_was_resumed_meanwhile_is_continued_from_there() -> None:
    bench = Bench({"b": [fails(), fails(), Script()]})
    changed = flow({"a": {"cmd": "a2"}, "b": "a", "c": "b"})
    first = bench.execute(CHAIN)
    take = bench.store.take_lease

    async def scenario() -> None:
        async def late(*args: object) -> object:
            bench.store.take_lease = take  # type: ignore[method-assign]
            await bench.engine().resume(first.id, RunOptions(), changed)
            return await take(*args)  # type: ignore[arg-type]

        bench.store.take_lease = late  # type: ignore[assignment,method-assign]
        seen = await bench.see(await bench.engine().resume(first.id, RunOptions(), changed))
        assert seen.state is RunState.SUCCEEDED
        assert seen.run.resume_count == 2

    bench.run(scenario())
    assert bench.commands() == ["a", "b", "a2", "b", "b", "c"], "a2 has run once"


def test_a_run_that_is_not_there_or_pending_is_refused() -> None:
    bench = Bench()
    with pytest.raises(RunNotFound):
        bench.run(bench.engine().resume("0000", RunOptions(), None))
    first = bench.execute(flow({"a": {"condition": "nobody == 1"}}))

    async def scenario() -> None:
        find = bench.store.find_run

        async def found(prefix: str) -> object:
            return structs.replace(await find(prefix), state=RunState.PENDING)

        bench.store.find_run = found  # type: ignore[assignment,method-assign]
        with pytest.raises(UsageError, match="is pending and can't be resumed"):
            await bench.engine().resume(first.id, RunOptions(), None)

    bench.run(scenario())


def test_what_changed_runs_again_with_all_that_follows() -> None:
    bench = Bench({"d": [fails(), Script()]})
    before = flow({"a": "", "b": "a", "c": "b", "d": "", "e": ""})
    first = bench.execute(before, failure_policy=FailurePolicy.KEEP_GOING)
    after = flow({"a": "", "b": {"needs": "a", "cmd": "b2"}, "c": "b", "d": "", "f": ""})
    said = plan(bench, first, after)
    assert said.reuse == {"a": "succeeded in attempt 1"}
    assert said.redo == {
        "b": "its cmd changed",
        "c": "depends on a task that runs again",
        "d": "failed: exit status 1",
        "f": "is new",
    }
    assert (said.added, said.removed, said.changed) == (("f",), ("e",), {"b": ("cmd",)})
    again = bench.resume(first, after)
    assert again.state is RunState.SUCCEEDED
    assert sorted(bench.commands()[5:]) == ["b2", "c", "d", "f"]
    assert again.run.definition != first.run.definition
    assert again.rows.keys() == {"a", "b", "c", "d", "f"}


def test_pinned_keeps_the_definition() -> None:
    bench = Bench({"b": [fails(), Script()]})
    first = bench.execute(CHAIN)
    again = bench.resume(first, flow({"a": {"cmd": "a2"}, "b": "a"}), pinned=True)
    assert bench.commands() == ["a", "b", "b", "c"]
    assert again.run.definition == first.run.definition


def test_from_runs_a_task_and_what_follows() -> None:
    bench = Bench({"c": [fails(), Script()]})
    first = bench.execute(
        flow({"a": "", "b": "a", "c": "b", "x": ""}), failure_policy=FailurePolicy.KEEP_GOING
    )
    assert plan(bench, first, start_from=("b",)).redo["b"] == "named by --from"
    bench.resume(first, start_from=("b",))
    assert bench.commands()[4:] == ["b", "c"]


def test_only_runs_one_task_and_leaves_the_run_unfinished() -> None:
    bench = Bench({"b": [fails(), Script(), Script()]})
    first = bench.execute(CHAIN)
    part = bench.resume(first, only=("b",))
    assert (part.state, part.reason) == (
        RunState.CANCELLED,
        "some tasks were left out by --only and have not run",
    )
    assert part.states() == {"a": SUCCEEDED, "b": SUCCEEDED, "c": CANCELLED}
    assert part.rows["c"].reason == "left out by --only"
    whole = bench.resume(part)
    assert whole.state is RunState.SUCCEEDED
    assert bench.commands() == ["a", "b", "b", "c"]


def test_a_new_run_of_one_task_alone() -> None:
    bench = Bench()
    seen = bench.execute(
        flow({"a": "", "b": {"needs": "a", "matrix": {"os": ("x", "y")}}}), only=("b[os=y]",)
    )
    assert seen.states() == {"a": SKIPPED, "b[os=x]": SKIPPED, "b[os=y]": SUCCEEDED}
    assert seen.rows["a"].reason == "left out by --only"
    assert seen.state is RunState.SUCCEEDED
    assert bench.commands() == ["b"]


@pytest.mark.parametrize("options", [{"only": ("nobody",)}, {"start_from": ("nobody",)}])
def test_names_of_no_task_are_refused_and_the_lease_is_given_back(options: dict[str, tuple[str]]) -> None:
    bench = Bench({"b": fails()})
    first = bench.execute(CHAIN)
    with pytest.raises(DefinitionError, match="nobody"):
        bench.resume(first, **options)
    assert bench.run(bench.see(first.id)).events == first.events
    assert bench.run(bench.see(first.id)).run.owner is None


def test_options_carry_over_and_can_be_overridden() -> None:
    bench = Bench({"bad": [fails(), fails(), Script()]})
    workflow = flow({"bad": "", "say": {"needs": "", "argv": ("say", "{{.x}}", "{{.y}}")}, "end": "bad"})
    given = {"x": "1", "y": "1"}
    first = bench.execute(
        workflow,
        Strategy.LEVELS,
        3,
        failure_policy=FailurePolicy.KEEP_GOING,
        variables=given,
        clean_env=True,
        directory="/elsewhere",
    )
    again = bench.resume(first, variables={"y": "2"}, start_from=("say",))
    assert again.states() == {"bad": FAILED, "say": SUCCEEDED, "end": CANCELLED}
    assert bench.commands()[2:] == ["bad", "say 1 2"]
    assert (again.run.strategy, again.run.workers) == ("levels", 3)
    assert bench.command("bad").clean_env
    assert bench.command("bad").cwd == "/elsewhere"
    assert again.variables["y"] == "2"
    third = bench.resume(again, variables={"x": "3"}, start_from=("say",))
    assert bench.commands()[-2:] in (["say 3 2", "end"], ["end", "say 3 2"])
    assert third.state is RunState.SUCCEEDED


def test_strategy_and_workers_can_be_chosen_anew() -> None:
    bench = Bench({"a": [fails(), fails(), fails(), Script()]})
    first = bench.execute(flow("a"), Strategy.LEVELS, 3)

    async def resume(strategy: Strategy | None, workers: int | None) -> tuple[str, int]:
        run = await bench.engine(strategy, workers).resume(first.id, RunOptions(), None)
        return run.strategy, run.workers

    assert bench.run(resume(None, 8)) == ("levels", 8)
    assert bench.run(resume(Strategy.WORK_STEALING, None)) == ("work-stealing", 8)
    assert bench.run(resume(Strategy.SEQUENTIAL, 4)) == ("sequential", 1)


def test_registered_values_are_there_again() -> None:
    bench = Bench({"a": prints("v1\n"), "b v1": [fails(), Script()]})
    first = bench.execute(flow({"a": {"register": "v"}, "b": {"needs": "a", "argv": ("b", "{{.v}}")}}))
    again = bench.resume(first)
    assert bench.commands() == ["a", "b v1", "b v1"]
    assert bench.processes.ran[-1].env["RUNWRIGHT_VAR_V"] == "v1"
    assert again.state is RunState.SUCCEEDED


def test_what_runs_again_forgets_what_it_had_registered() -> None:
    bench = Bench({"a": [prints("v1\n"), prints("v2\n")], "b v1": fails()})
    first = bench.execute(flow({"a": {"register": "v"}, "b": {"needs": "a", "argv": ("b", "{{.v}}")}}))
    again = bench.resume(first, start_from=("a",))
    assert bench.commands() == ["a", "b v1", "a", "b v2"]
    assert again.variables["v"] == "v2"


def test_retries_begin_anew_and_numbers_go_on() -> None:
    bench = Bench({"a": [fails(), fails(), fails(), Script()]})
    first = bench.execute(flow({"a": {"retries": 1}}))
    assert first.rows["a"].attempts == 2
    again = bench.resume(first)
    assert again.numbers("a") == [(1, FAILED), (2, FAILED), (3, FAILED), (4, SUCCEEDED)]


def test_two_who_resume_at_once() -> None:
    bench = Bench({"b": [fails(), takes(10)]})
    first = bench.execute(CHAIN)

    async def scenario() -> None:
        found = await asyncio.gather(
            bench.engine().resume(first.id, RunOptions(), None),
            bench.engine(owner=OTHER).resume(first.id, RunOptions(), None),
            return_exceptions=True,
        )
        assert {type(one).__name__ for one in found} == {"Run", "RunIsActive"}

    bench.run(scenario())
    assert bench.commands() == ["a", "b", "b", "c"]
    assert RunIsActive.exit_status == 1


def test_cancelled_at_any_turn_a_resume_leaves_the_run_whole_and_nobodys() -> None:
    async def cancelled_after(number: int) -> RunState | None:
        bench = Bench({"b": [fails(), Script()]})
        run = await bench.engine().execute(CHAIN, RunOptions())
        task = asyncio.ensure_future(bench.engine().resume(run.id, RunOptions(), None))
        await turns(number)
        if task.done():
            return None
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        seen = await bench.see(run)
        assert seen.run.owner is None
        assert all(attempt.ended_at for attempt in seen.attempts)
        return seen.state

    states = []
    while (state := FakeClock().run(cancelled_after(len(states)))) is not None:
        states.append(state)
    assert len(states) > 10
    assert set(states) == {RunState.FAILED, RunState.CANCELLED, RunState.SUCCEEDED}


def test_a_matrix_is_resumed_node_by_node() -> None:
    bench = Bench({"t x": [fails(), Script()]})
    workflow = flow({"t": {"argv": ("t", "{{.m}}"), "matrix": {"m": ("w", "x", "y")}}, "u": "t"})
    first = bench.execute(workflow, failure_policy=FailurePolicy.KEEP_GOING)
    assert first.states() == {"t[m=w]": SUCCEEDED, "t[m=x]": FAILED, "t[m=y]": SUCCEEDED, "u": CANCELLED}
    bench.resume(first)
    assert bench.commands() == ["t w", "t x", "t y", "t x", "u"]
