"""The live view: seven kinds of events, all of them, in order."""

import asyncio

import pytest
from engine_bench import FAILED, SKIPPED, SUCCEEDED, Bench, Seen, fails, flow, handler, prints, takes

from runwright.core.events import PROGRESS_OUTPUT_BYTES, ProgressEvent, ProgressKind
from runwright.core.options import RunOptions, Strategy
from runwright.core.states import RunState, TaskRole
from runwright.testing import Script

Kind = ProgressKind


def test_there_are_seven_kinds_and_a_run_can_show_them_all_in_order() -> None:
    bench = Bench({"a": [fails(stderr="no"), prints("yes")], "b": fails()})
    workflow = flow(
        {"a": {"retries": 1, "retry_delay": 2.0}, "b": "a", "c": {"needs": "", "condition": "1 == 2"}}
    )
    seen = bench.execute(workflow, print_output=True)
    told = [(event.kind, event.task_id, event.attempt) for event in bench.events]
    assert told == [
        (Kind.RUN_STARTED, "", 0),
        (Kind.TASK_STARTED, "a", 1),
        (Kind.TASK_OUTPUT, "a", 1),
        (Kind.TASK_RETRYING, "a", 1),
        (Kind.TASK_STARTED, "a", 2),
        (Kind.TASK_OUTPUT, "a", 2),
        (Kind.TASK_DONE, "a", 2),
        (Kind.TASK_DONE, "c", 0),
        (Kind.TASK_STARTED, "b", 1),
        (Kind.TASK_FAILED, "b", 1),
        (Kind.RUN_DONE, "", 0),
    ]
    assert {kind for kind, _, _ in told} == set(Kind)
    assert {event.run_id for event in bench.events} == {seen.id}


def test_what_the_events_say() -> None:
    bench = Bench({"a": [fails(3), prints("hi")]})
    workflow = flow({"a": {"retries": 1, "retry_delay": 2.0}, "s": {"condition": "1 == 2"}}, name="flow")
    seen = bench.execute(workflow, print_output=True)
    by_kind = {event.kind: event for event in bench.events}
    started, done = by_kind[Kind.RUN_STARTED], by_kind[Kind.RUN_DONE]
    assert (started.task_name, started.total, started.run_state) == ("flow", 2, RunState.RUNNING)
    assert (done.run_state, done.error) == (RunState.SUCCEEDED, "")
    retrying = by_kind[Kind.TASK_RETRYING]
    assert (retrying.delay, retrying.error) == (2.0, "exit status 3")
    assert by_kind[Kind.TASK_OUTPUT].output == "hi"
    ends = {event.task_id: event for event in bench.events if event.kind is Kind.TASK_DONE}
    assert (ends["a"].state, ends["s"].state) == (SUCCEEDED, SKIPPED)
    assert "1 == 2" in ends["s"].error
    instants = [event.at for event in bench.events]
    assert instants == sorted(instants)
    assert all(at.utcoffset() is not None for at in instants)
    assert seen.rows["a"].ended_at == ends["a"].at


def test_a_failed_run_says_why() -> None:
    bench = Bench({"a": fails()})
    bench.execute(flow({"a": {"on_failure": "h"}, "h": handler()}))
    assert [event.kind for event in bench.events][-3:] == [Kind.TASK_STARTED, Kind.TASK_DONE, Kind.RUN_DONE]
    failed = next(event for event in bench.events if event.kind is Kind.TASK_FAILED)
    assert (failed.state, failed.error) == (FAILED, "exit status 1")
    assert bench.events[-1].error == 'task "a" failed: exit status 1'
    assert [event.role for event in bench.events if event.task_id == "h@a"] == [TaskRole.HANDLER] * 2


def test_output_is_told_only_if_it_is_asked_for() -> None:
    bench = Bench({"a": prints("hi")})
    bench.execute(flow("a"))
    assert Kind.TASK_OUTPUT not in {event.kind for event in bench.events}


@pytest.mark.parametrize("extra", [-1, 0, 1])
def test_output_is_cut_at_64_kib(extra: int) -> None:
    half = PROGRESS_OUTPUT_BYTES // 2
    pieces = (("stdout", b"o" * half), ("stderr", b"e" * (half + extra)), ("stdout", b""))
    bench = Bench({"a": Script(output=pieces)})  # type: ignore[arg-type]
    seen = bench.execute(flow("a"), print_output=True)
    (event,) = [event for event in bench.events if event.kind is Kind.TASK_OUTPUT]
    assert len(event.output) == PROGRESS_OUTPUT_BYTES + min(extra, 0)
    assert event.output.startswith("oo")
    assert event.truncated is (extra > 0)
    assert len(bench.logs.text(seen.id, "a")) == PROGRESS_OUTPUT_BYTES + extra, "the log has all of it"


def test_output_that_is_no_text_is_shown_as_well_as_it_can_be() -> None:
    bench = Bench({"a": Script(output=(("stdout", b"\xffok"),))})
    bench.execute(flow("a"), print_output=True)
    assert [e.output for e in bench.events if e.kind is Kind.TASK_OUTPUT] == ["\ufffdok"]


def test_a_listener_of_the_run_takes_the_place_of_the_engines() -> None:
    bench = Bench()
    own: list[ProgressEvent] = []
    bench.execute(flow("a"), progress=own.append)
    assert len(own) == 4
    assert bench.events == []


def test_nobody_has_to_listen() -> None:
    from runwright.engines.workflow import WorkflowEngine

    bench = Bench({"a": [fails(stderr="x"), Script()]})
    engine = WorkflowEngine(bench.doors())
    workflow = flow({"a": {"retries": 1}, "b": "a"})
    assert bench.run(engine.execute(workflow, RunOptions(print_output=True))).state is RunState.SUCCEEDED


def test_a_listener_that_fails_reaches_no_task_and_comes_out_at_the_end() -> None:
    told: list[ProgressKind] = []

    def broken(event: ProgressEvent) -> None:
        told.append(event.kind)
        raise ZeroDivisionError(event.kind)

    bench = Bench()

    async def scenario() -> Seen:
        with pytest.raises(ZeroDivisionError, match="run_started"):
            await bench.engine().execute(flow({"a": "", "b": "a"}), RunOptions(progress=broken))
        return await bench.see(next(iter(bench.store._logs)))

    seen = bench.run(scenario())
    assert seen.state is RunState.SUCCEEDED
    assert seen.run.owner is None
    assert len(told) == 6, "it is told everything nevertheless"


def test_events_come_before_the_next_thing_is_done() -> None:
    bench = Bench({"a": takes(3)})
    order: list[str] = []
    bench.on_command = lambda command: order.append(f"body {command.env['RUNWRIGHT_TASK_ID']}")
    listener = lambda event: order.append(f"{event.kind} {event.task_id}".strip())  # noqa: E731
    bench.execute(flow({"a": "", "b": "a"}), Strategy.WORK_STEALING, 2, progress=listener)
    assert order == [
        "run_started",
        "task_started a",
        "body a",
        "task_done a",
        "task_started b",
        "body b",
        "task_done b",
        "run_done",
    ]


def test_the_end_is_told_once_it_is_durable() -> None:
    bench = Bench()

    async def scenario() -> None:
        running = asyncio.ensure_future(bench.engine().execute(flow("a"), RunOptions()))
        await bench.processes.wait_running("a")
        bench.store.holding = True
        await asyncio.sleep(3)
        assert bench.events[-1].kind is Kind.TASK_DONE
        bench.store.holding = False
        bench.store.let_go()
        await running
        assert bench.events[-1].kind is Kind.RUN_DONE

    bench.run(scenario())
