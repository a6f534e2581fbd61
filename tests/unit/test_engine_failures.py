"""What a failure does: the three policies, ignored failures, retries, limits of time, executors that misbehave."""

import asyncio

import pytest
from engine_bench import (
    CANCELLED,
    FAILED,
    SKIPPED,
    STRATEGIES,
    SUCCEEDED,
    Bench,
    fails,
    flow,
    prints,
    takes,
    turns,
)
from hypothesis import given
from hypothesis import strategies as st

from runwright.core.errors import Failure, RemoteError, TaskFailed
from runwright.core.events import ProgressKind, TaskEnded, TaskRetrying
from runwright.core.options import FailurePolicy, RunOptions, Strategy
from runwright.core.states import FINAL_TASK_STATES, RunState
from runwright.core.task import Result
from runwright.engines.workflow import REASON_LENGTH
from runwright.testing import Script

SPREAD = flow({"bad": "", "after": "bad", "good": "", "more": "good", "last": "more"})


@pytest.mark.parametrize(("strategy", "workers"), STRATEGIES)
def test_keep_going_runs_all_that_needs_no_failure(strategy: Strategy, workers: int) -> None:
    bench = Bench({"bad": fails(3)})
    seen = bench.execute(SPREAD, strategy, workers, failure_policy=FailurePolicy.KEEP_GOING)
    assert seen.state is RunState.FAILED
    assert seen.reason == 'task "bad" failed: exit status 3'
    assert seen.states() == {
        "bad": FAILED,
        "good": SUCCEEDED,
        "after": CANCELLED,
        "more": SUCCEEDED,
        "last": SUCCEEDED,
    }
    assert seen.rows["after"].reason == 'needs task "bad", which failed'
    assert seen.failure("bad").exit_code == 3


@pytest.mark.parametrize(("strategy", "workers"), STRATEGIES)
def test_by_default_nothing_new_starts(strategy: Strategy, workers: int) -> None:
    bench = Bench({"bad": fails(), "good": takes(5)})
    seen = bench.execute(flow({"bad": "", "good": "", "more": "good", "last": "more"}), strategy, workers)
    assert seen.state is RunState.FAILED
    good = SUCCEEDED if workers > 1 else CANCELLED
    assert seen.states() == {"bad": FAILED, "good": good, "more": CANCELLED, "last": CANCELLED}
    first = "more" if workers > 1 else "good"
    assert seen.rows[first].reason == 'the run stopped after task "bad" failed'
    assert seen.rows["last"].reason == 'needs task "more", which was cancelled'
    assert seen.rows["last"].attempts == 0
    assert bench.stopped() == [], "what runs may finish"


@pytest.mark.parametrize(("strategy", "workers"), STRATEGIES[1:])
def test_fail_fast_stops_running_siblings(strategy: Strategy, workers: int) -> None:
    bench = Bench({"bad": fails(seconds=1), "good": takes(1000)})
    workflow = flow({"bad": "", "good": "", "more": "good"})
    seen = bench.execute(workflow, strategy, workers, failure_policy=FailurePolicy.FAIL_FAST)
    assert seen.state is RunState.FAILED
    assert seen.states() == {"bad": FAILED, "good": CANCELLED, "more": CANCELLED}
    assert bench.stopped() == ["good"]
    assert seen.failure("good").code == "E_CANCELLED"
    assert seen.numbers("good") == [(1, CANCELLED)]


def test_fail_fast_in_the_turn_in_which_a_sibling_begins() -> None:
    bench = Bench()

    async def at_once(session: object, task: object) -> Result:
        raise TaskFailed(Failure(code="E_BAD", message="bad"))

    bench.functions.by_name["bad"] = at_once
    bench.scripts["b"] = takes(1000)
    workflow = flow({"a": {"executor": "call.bad"}, "b": "", "c": "", "d": ""})
    seen = bench.execute(workflow, Strategy.LEVELS, 4, failure_policy=FailurePolicy.FAIL_FAST)
    assert seen.states() == {"a": FAILED, "b": CANCELLED, "c": CANCELLED, "d": CANCELLED}


def test_fail_fast_holds_for_a_condition_that_can_not_be_evaluated() -> None:
    bench = Bench({"slow": takes(1000)})
    workflow = flow({"slow": "", "odd": {"condition": "nobody == 1"}})
    seen = bench.execute(workflow, Strategy.WORK_STEALING, 2, failure_policy=FailurePolicy.FAIL_FAST)
    assert seen.states() == {"slow": CANCELLED, "odd": FAILED}
    assert seen.failure("odd").code == "E_CONDITION"


def test_fail_fast_tells_what_runs_once() -> None:
    told = 0
    bench = Bench({"one": fails(seconds=1), "two": fails(seconds=2), "three": fails(seconds=3)})

    async def slow_to_stop(session: object, task: object) -> Result:
        nonlocal told
        while True:
            try:
                await asyncio.sleep(10)
                break
            except asyncio.CancelledError:
                told += 1
        raise asyncio.CancelledError

    bench.functions.by_name["slow"] = slow_to_stop
    workflow = flow({"one": "", "slow": {"executor": "call.slow"}})

    async def scenario() -> None:
        engine = bench.engine(Strategy.WORK_STEALING, 2)
        options = RunOptions(failure_policy=FailurePolicy.FAIL_FAST)
        running = asyncio.ensure_future(engine.execute(workflow, options))
        await asyncio.sleep(2)
        engine.stop("too")
        engine.stop("and again")
        await running

    bench.run(scenario())
    assert told == 1


@pytest.mark.parametrize(("strategy", "workers"), STRATEGIES)
@pytest.mark.parametrize("policy", list(FailurePolicy))
def test_an_ignored_failure_stays_and_stops_nobody(
    strategy: Strategy, workers: int, policy: FailurePolicy
) -> None:
    bench = Bench({"bad": fails(7)})
    workflow = flow({"bad": {"ignore_failure": True}, "after": "bad"})
    seen = bench.execute(workflow, strategy, workers, failure_policy=policy)
    assert seen.state is RunState.SUCCEEDED
    assert seen.states() == {"bad": FAILED, "after": SUCCEEDED}
    assert seen.rows["bad"].ignored
    assert seen.failure("bad").exit_code == 7


def test_a_skip_does_not_cascade() -> None:
    workflow = flow({"a": {"condition": "1 == 2"}, "b": "a", "c": {"needs": "b", "condition": "1 == 1"}})
    seen = Bench().execute(workflow)
    assert seen.states() == {"a": SKIPPED, "b": SUCCEEDED, "c": SUCCEEDED}
    assert "1 == 2" in seen.rows["a"].reason
    assert seen.state is RunState.SUCCEEDED


@pytest.mark.parametrize(("strategy", "workers"), STRATEGIES)
def test_always_failed_and_succeeded_look_at_dependencies(strategy: Strategy, workers: int) -> None:
    bench = Bench({"bad": fails()})
    workflow = flow(
        {
            "bad": "",
            "always": {"needs": "bad", "condition": "always()"},
            "failed": {"needs": "bad", "condition": "failed()"},
            "good": {"needs": "bad", "condition": "succeeded()"},
            "plain": "bad",
        }
    )
    seen = bench.execute(workflow, strategy, workers)
    assert seen.states() == {
        "bad": FAILED,
        "always": SUCCEEDED,
        "failed": SUCCEEDED,
        "good": SKIPPED,
        "plain": CANCELLED,
    }


# -- retries ---------------------------------------------------------------------------------------------------


def test_retries_back_off_up_to_their_limit() -> None:
    bench = Bench({"a": [fails(), fails(), fails(), fails(), Script()]})
    fields = {"retries": 4, "retry_delay": 10.0, "retry_backoff": 3.0, "retry_max_delay": 50.0}
    seen = bench.execute(flow({"a": fields}))
    assert seen.state is RunState.SUCCEEDED
    assert [event.delay for event in seen.events if type(event) is TaskRetrying] == [10, 30, 50, 50]
    assert bench.clock.monotonic() == pytest.approx(140, abs=1)
    assert seen.numbers("a") == [(n, FAILED) for n in range(1, 5)] + [(5, SUCCEEDED)]
    assert seen.rows["a"].attempts == 5


def test_jitter_is_drawn() -> None:
    delays = {}
    for draw in (0.0, 0.5, 1.0):
        bench = Bench({"a": [fails(), Script()]}, draw=draw)
        seen = bench.execute(flow({"a": {"retries": 1, "retry_delay": 10.0, "retry_jitter": 0.4}}))
        delays[draw] = next(event.delay for event in seen.events if type(event) is TaskRetrying)
    assert delays == {0.0: 6.0, 0.5: 8.0, 1.0: 10.0}


def test_only_the_exit_codes_that_were_named_are_retried() -> None:
    for code, attempts in ((75, 3), (1, 1)):
        bench = Bench({"a": fails(code)})
        seen = bench.execute(flow({"a": {"retries": 2, "retry_on": (75, 76)}}))
        assert seen.state is RunState.FAILED
        assert seen.rows["a"].attempts == attempts


def test_each_attempt_knows_its_number_and_has_its_own_log() -> None:
    bench = Bench({"a": [fails(stderr="one"), prints("two")]})
    seen = bench.execute(flow({"a": {"retries": 1}}))
    assert [command.env["RUNWRIGHT_ATTEMPT"] for command in bench.processes.ran] == ["1", "2"]
    assert [bench.logs.text(seen.id, "a", n) for n in (1, 2)] == [b"one", b"two"]


@pytest.mark.parametrize(("strategy", "workers"), STRATEGIES)
def test_others_run_while_one_waits_for_its_retry(strategy: Strategy, workers: int) -> None:
    bench = Bench({"a": [fails(), Script()]})
    seen = bench.execute(
        flow({"a": {"retries": 1, "retry_delay": 60.0}, "b": "a", "c": ""}), strategy, workers
    )
    assert seen.state is RunState.SUCCEEDED
    assert set(seen.states().values()) == {SUCCEEDED}
    assert bench.commands() == (["a", "a", "c", "b"] if workers == 1 else ["a", "c", "a", "b"])


def test_a_wait_for_a_retry_is_cut_short_by_a_stop() -> None:
    bench = Bench({"a": fails(5)})

    async def scenario() -> None:
        engine = bench.engine()
        workflow = flow({"a": {"retries": 3, "retry_delay": 5000.0}, "b": "a"})
        running = asyncio.ensure_future(engine.execute(workflow, RunOptions()))
        await asyncio.sleep(10)
        engine.stop("enough")
        seen = await bench.see(await running)
        assert seen.state is RunState.CANCELLED
        assert seen.states() == {"a": FAILED, "b": CANCELLED}
        assert seen.failure("a").exit_code == 5, "its last failure"
        assert seen.numbers("a") == [(1, FAILED)]

    bench.run(scenario())
    assert bench.clock.monotonic() < 20


def test_a_retry_that_was_reserved_and_does_not_begin_is_withdrawn() -> None:
    bench = Bench({"a": fails(5)})

    async def scenario() -> None:
        engine = bench.engine()
        running = asyncio.ensure_future(
            engine.execute(flow({"a": {"retries": 3, "retry_delay": 1.0}}), RunOptions())
        )
        await bench.processes.wait_running("a")
        bench.store.holding = True
        await asyncio.sleep(5)
        assert len(bench.commands()) == 1, "the second attempt is reserved, and that is not durable"
        engine.stop("enough")
        bench.store.holding = False
        bench.store.let_go()
        seen = await bench.see(await running)
        assert seen.numbers("a") == [(1, FAILED)]
        assert seen.rows["a"].attempts == 1
        assert seen.rows["a"].state is FAILED

    bench.run(scenario())


@pytest.mark.parametrize("field", ["pre", "post"])
def test_a_retry_runs_the_steps_again(field: str) -> None:
    bench = Bench({"step": [fails(), Script()]})
    seen = bench.execute(flow({"a": {field: ("step",), "retries": 1}}))
    assert seen.state is RunState.SUCCEEDED
    assert bench.commands() == (["step", "step", "a"] if field == "pre" else ["a", "step", "a", "step"])


# -- limits of time --------------------------------------------------------------------------------------------


def test_an_attempt_over_its_limit_is_stopped_and_retried() -> None:
    bench = Bench({"a": [takes(1000), takes(1)]})
    seen = bench.execute(flow({"a": {"timeout": 5.0, "retries": 1}}))
    assert seen.state is RunState.SUCCEEDED
    assert seen.numbers("a") == [(1, FAILED), (2, SUCCEEDED)]
    assert bench.stopped() == ["a"]
    failure = seen.attempts[0].failure
    assert failure is not None
    assert (failure.code, failure.message) == ("E_TIMEOUT", "took longer than its limit of 5 s")
    assert bench.clock.monotonic() == pytest.approx(6, abs=1)


def test_steps_count_towards_the_limit() -> None:
    bench = Bench({"before": takes(3), "a": takes(3)})
    seen = bench.execute(flow({"a": {"timeout": 5.0, "pre": ("before",)}}))
    assert seen.failure("a").code == "E_TIMEOUT"


def test_the_limit_of_the_run_cancels_it() -> None:
    bench = Bench({"a": takes(1000)})
    seen = bench.execute(flow({"a": "", "b": "a"}), timeout=7.0)
    assert seen.state is RunState.CANCELLED
    assert seen.reason == "run timeout: 7 s"
    assert seen.states() == {"a": CANCELLED, "b": CANCELLED}
    assert seen.rows["a"].reason == "run timeout: 7 s"
    assert seen.rows["b"].reason == 'needs task "a", which was cancelled'
    assert bench.stopped() == ["a"]
    assert bench.clock.monotonic() == pytest.approx(7, abs=1)


def test_a_run_within_its_limit_is_left_alone() -> None:
    bench = Bench({"a": takes(6)})
    assert bench.execute(flow("a"), timeout=7.0).state is RunState.SUCCEEDED


# -- executors that misbehave ----------------------------------------------------------------------------------


async def _cancel_itself(session: object, task: object) -> Result:
    raise asyncio.CancelledError


async def _time_out(session: object, task: object) -> Result:
    raise TimeoutError("of the socket")


async def _break(session: object, task: object) -> Result:
    raise ZeroDivisionError("oh")


async def _lose(session: object, task: object) -> Result:
    raise RemoteError("the far end is gone")


@pytest.mark.parametrize("limit", [0.0, 9.0])
@pytest.mark.parametrize(
    ("function", "code", "message"),
    [
        (_cancel_itself, "E_EXECUTOR", "cancelled it without being asked to"),
        (_time_out, "E_EXECUTOR", "TimeoutError: of the socket"),
        (_break, "E_EXECUTOR", "ZeroDivisionError: oh"),
        (_lose, "E_REMOTE", "the far end is gone"),
    ],
)
def test_whatever_an_executor_raises_is_a_failure(
    function: object, code: str, message: str, limit: float
) -> None:
    bench = Bench()
    bench.functions.by_name["odd"] = function  # type: ignore[assignment]
    seen = bench.execute(flow({"a": {"executor": "call.odd", "timeout": limit}, "b": "a"}))
    assert seen.state is RunState.FAILED
    assert seen.failure("a").code == code
    assert message in seen.failure("a").message
    assert seen.states()["b"] is CANCELLED


def test_an_unknown_executor_is_a_failure_of_the_task() -> None:
    seen = Bench().execute(flow({"a": {"executor": "nobody"}}))
    assert seen.failure("a").code == "E_NO_EXECUTOR"


def test_a_log_that_can_not_be_kept_fails_the_task() -> None:
    from runwright.core.errors import StoreError

    bench = Bench({"a": prints("x")})
    opened = bench.logs.open

    class Full:
        def __init__(self, log: object) -> None:
            self.log = log

        def write(self, stream: object, data: bytes) -> None: ...

        def close(self) -> None:
            raise StoreError("disk full")

    bench.logs.open = lambda *args: Full(opened(*args))  # type: ignore[assignment,return-value]
    seen = bench.execute(flow("a"))
    assert (seen.failure("a").code, seen.failure("a").message) == ("E_STORE", "disk full")


@pytest.mark.parametrize("when", ["open_session", "close_session"])
def test_an_executor_that_can_not_open_or_close_holds_no_lease(when: str) -> None:
    bench = Bench()

    async def broken(_: object) -> None:
        raise OSError("no room")

    setattr(bench.functions, when, broken)
    with pytest.raises(OSError, match="no room"):
        bench.execute(flow("a"))
    (lease,) = bench.store.released
    run = bench.run(bench.see(lease.run_id)).run
    assert run.owner is None
    assert run.state is (RunState.INTERRUPTED if when == "open_session" else RunState.SUCCEEDED)
    assert bench.workspaces.discarded == [run.id]


@pytest.mark.parametrize("value", [object(), "x" * 70_000])
def test_a_value_that_can_not_be_kept_fails_the_task(value: object) -> None:
    bench = Bench()

    async def give(session: object, task: object) -> Result:
        return Result(value=value)

    bench.functions.by_name["give"] = give
    seen = bench.execute(flow({"a": {"executor": "call.give", "retries": 1}}))
    assert seen.failure("a").code == "E_VALUE"


# -- all strategies agree --------------------------------------------------------------------------------------


@st.composite
def random_flows(draw: st.DrawFn) -> tuple[dict[str, dict[str, object]], dict[str, list[Script]]]:
    tasks: dict[str, dict[str, object]] = {}
    scripts = {}
    for number in range(draw(st.integers(1, 9))):
        key = f"t{number}"
        needs = draw(st.lists(st.sampled_from(sorted(tasks)), max_size=3, unique=True)) if tasks else []
        tasks[key] = {
            "needs": " ".join(needs),
            "condition": draw(
                st.sampled_from(["", "", "", "always()", "failed()", "succeeded()", "x == 1", "y == 1"])
            ),
            "ignore_failure": draw(st.sampled_from([False, False, True])),
            "retries": draw(st.integers(0, 2)),
            "retry_delay": draw(st.sampled_from([0.0, 1.5])),
            "timeout": 8.0,
        }
        ends = draw(st.lists(st.sampled_from([0, 0, 0, 1]), min_size=3, max_size=3))
        slow = draw(st.sampled_from([1, 1, 1, 1, 30]))
        scripts[key] = [fails(seconds=slow) if end else takes(slow) for end in ends]
    return tasks, scripts


@given(random_flows(), st.sampled_from([1, 2, 4]))
def test_the_same_workflow_has_the_same_outcome_in_all_strategies(
    made: tuple[dict[str, dict[str, object]], dict[str, list[Script]]], workers: int
) -> None:
    tasks, scripts = made
    found = []
    for strategy in Strategy:
        bench = Bench(scripts)
        seen = bench.execute(
            flow(tasks, variables={"x": "1"}),
            strategy,
            workers,
            failure_policy=FailurePolicy.KEEP_GOING,
        )
        assert all(state in FINAL_TASK_STATES for state in seen.states().values())
        assert all(attempt.ended_at for attempt in seen.attempts)
        outcome = {i: (row.state, row.attempts, row.failure, row.ignored) for i, row in seen.rows.items()}
        found.append((seen.state, outcome))
    assert found[0] == found[1] == found[2]


@given(
    random_flows(), st.sampled_from(list(FailurePolicy)), st.sampled_from(list(Strategy)), st.integers(0, 20)
)
def test_at_the_end_every_task_has_a_final_state_and_one_end(
    made: tuple[dict[str, dict[str, object]], dict[str, list[Script]]],
    policy: FailurePolicy,
    strategy: Strategy,
    stop_after: int,
) -> None:
    tasks, scripts = made
    bench = Bench(scripts)

    async def scenario() -> None:
        engine = bench.engine(strategy, 3)
        asyncio.get_running_loop().call_later(stop_after / 2, engine.stop, "enough")
        workflow = flow(tasks, variables={"x": "1"})
        seen = await bench.see(await engine.execute(workflow, RunOptions(failure_policy=policy)))
        assert all(state in FINAL_TASK_STATES for state in seen.states().values())
        assert all(attempt.ended_at for attempt in seen.attempts)
        ends = [event.task_id for event in seen.events if type(event) is TaskEnded]
        assert sorted(ends) == sorted(tasks)
        assert all(row.reason for row in seen.rows.values() if row.state in (CANCELLED, SKIPPED, FAILED))
        told = [
            e.task_id for e in bench.events if e.kind in (ProgressKind.TASK_DONE, ProgressKind.TASK_FAILED)
        ]
        assert told == ends
        assert bench.processes.running == []

    bench.run(scenario())


def test_a_crash_of_our_own_comes_out_and_hangs_nobody() -> None:
    bench = Bench({"a": takes(1000)})

    def broken_draw() -> float:
        raise ZeroDivisionError("our bug")

    async def scenario() -> None:
        engine = bench.engine(Strategy.WORK_STEALING, 2, draw=broken_draw)
        bench.scripts["b"] = fails()
        with pytest.raises(ZeroDivisionError):
            await engine.execute(flow({"a": "", "b": {"retries": 1}}), RunOptions())

    bench.run(scenario())
    assert bench.stopped() == ["a"]


def test_a_crash_while_deciding_comes_out_too() -> None:
    bench = Bench({"a": takes(1000)})

    async def scenario() -> None:
        engine = bench.engine(Strategy.WORK_STEALING, 2)
        running = asyncio.ensure_future(engine.execute(flow({"a": "", "b": ""}), RunOptions()))
        await bench.processes.wait_running("b")
        append = bench.store.append
        bench.store.append = lambda *_, **__: 1 / 0  # type: ignore[assignment,misc,return-value]
        await turns()
        bench.store.append = append  # type: ignore[method-assign]
        with pytest.raises(ZeroDivisionError):
            await running

    bench.run(scenario())
    assert bench.stopped() == ["a"]


def test_the_reason_of_a_run_is_bounded() -> None:
    seen = Bench().execute(flow({"a": {"cmd": "{{." + "x" * 600 + "}}"}}))
    assert seen.state is RunState.FAILED
    assert seen.reason.startswith('task "a" failed: undefined variable "xxx')
    assert len(seen.reason) == REASON_LENGTH < len(seen.rows["a"].reason)
