"""Handlers, pre, post and cleanup: when they run, what they are told, and that they change nothing else."""

import asyncio

import pytest
from engine_bench import (
    CANCELLED,
    FAILED,
    SKIPPED,
    SUCCEEDED,
    Bench,
    fails,
    flow,
    handler,
    prints,
    takes,
)

from runwright.core.errors import StoreError
from runwright.core.events import ProgressKind, RunEnded, TaskEnded, TaskRetrying, TaskStarted
from runwright.core.options import FailurePolicy, RunOptions, Strategy
from runwright.core.states import RunState, TaskRole
from runwright.core.task import Result
from runwright.testing import Script

TELL = ("tell", "{{.failed_task}}", "{{.exit_code}}", "{{.error_message}}")


def test_a_handler_runs_once_for_each_failing_task() -> None:
    bench = Bench({"a": fails(3, stderr="one\ntwo\n"), "b": fails(4, stderr="three")})
    workflow = flow(
        {
            "a": {"on_failure": "h"},
            "b": {"on_failure": "h"},
            "good": {"on_failure": "h"},
            "h": handler(argv=TELL),
        }
    )
    seen = bench.execute(workflow, failure_policy=FailurePolicy.KEEP_GOING)
    assert seen.state is RunState.FAILED
    assert bench.commands() == ["a", "tell a 3 one\ntwo", "b", "tell b 4 three", "good"]
    assert seen.states("h@a", "h@b") == {"h@a": SUCCEEDED, "h@b": SUCCEEDED}
    assert seen.rows["h@a"].role is TaskRole.HANDLER
    assert seen.run.counts.total == 3, "handlers are not counted"


def test_a_handler_is_told_of_the_message_where_there_is_no_output() -> None:
    bench = Bench({"a": takes(100)})
    workflow = flow({"a": {"on_failure": "h", "timeout": 2.0}, "h": handler(argv=TELL)})
    bench.execute(workflow)
    assert bench.commands()[-1] == "tell a  took longer than its limit of 2 s"


def test_what_a_handler_is_told_is_its_own() -> None:
    bench = Bench({"a": fails()})
    workflow = flow(
        {"a": {"on_failure": "h"}, "h": handler(), "b": {"needs": "a", "condition": 'failed_task == "a"'}},
    )
    seen = bench.execute(workflow, failure_policy=FailurePolicy.KEEP_GOING)
    assert not any("failed_task" in name for name in seen.variables)
    env = bench.command("h").env
    assert env["RUNWRIGHT_VAR_failed_task"] == env["RUNWRIGHT_VAR_FAILED_TASK"] == "a"
    assert env["RUNWRIGHT_TASK_ID"] == "h@a"
    assert "RUNWRIGHT_VAR_FAILED_TASK" not in bench.command("a").env


def test_a_handler_runs_after_the_last_attempt_and_while_others_go_on() -> None:
    bench = Bench({"a": fails(), "h": takes(5), "slow": takes(20)})
    workflow = flow({"a": {"on_failure": "h", "retries": 2}, "h": handler(), "slow": ""})
    seen = bench.execute(workflow, Strategy.WORK_STEALING, 2)
    assert bench.commands().count("a") == 3
    assert bench.commands().count("h") == 1
    ended = seen.rows["h@a"].ended_at
    slow = seen.rows["slow"].ended_at
    assert ended is not None
    assert slow is not None
    assert ended < slow


def test_an_ignored_failure_is_handled_too() -> None:
    bench = Bench({"a": fails()})
    seen = bench.execute(flow({"a": {"on_failure": "h", "ignore_failure": True}, "h": handler()}))
    assert seen.state is RunState.SUCCEEDED
    assert "h" in bench.commands()


def test_a_failed_condition_is_handled() -> None:
    bench = Bench()
    seen = bench.execute(
        flow({"a": {"on_failure": "h", "condition": "nobody == 1"}, "h": handler(argv=TELL)})
    )
    assert seen.states() == {"a": FAILED}
    assert "nobody" in bench.commands()[0]


def test_the_workflow_has_a_handler() -> None:
    bench = Bench({"a": fails(3, stderr="first"), "b": fails(4, stderr="second")})
    told = ("failed_dag", "failed_tasks", "failed_task", "exit_code", "error_message")
    tell = ("all", *(f"{{{{.{name}}}}}" for name in told))
    workflow = flow({"a": "", "b": "", "h": handler(argv=tell)}, name="flow", on_failure="h")
    seen = bench.execute(workflow, failure_policy=FailurePolicy.KEEP_GOING)
    assert bench.commands()[-1] == "all flow a b a 3 first"
    assert seen.rows["h@*"].state is SUCCEEDED


def test_the_workflows_handler_is_not_told_of_ignored_failures() -> None:
    bench = Bench({"a": fails(3, stderr="ignored"), "b": fails(4, stderr="real")})
    workflow = flow(
        {"a": {"ignore_failure": True}, "b": "a", "h": handler(argv=(*TELL, "{{.failed_tasks}}"))},
        on_failure="h",
    )
    bench.execute(workflow)
    assert bench.commands()[-1] == "tell b 4 real b"


def test_the_workflows_handler_does_not_run_when_all_is_well() -> None:
    bench = Bench()
    bench.execute(flow({"a": "", "h": handler()}, on_failure="h"))
    assert bench.commands() == ["a"]


@pytest.mark.parametrize("how", ["timeout", "stop"])
def test_handlers_and_cleanups_run_when_a_run_is_stopped(how: str) -> None:
    bench = Bench({"b": takes(1000)})
    workflow = flow(
        {
            "a": {"cleanup": ("undo",)},
            "b": {"needs": "a", "on_failure": "h", "cleanup": ("not this",)},
            "h": handler(argv=TELL),
            "all": handler(argv=("all", "{{.failed_tasks}}", "{{.error_message}}")),
        },
        on_failure="all",
    )

    async def scenario() -> None:
        engine = bench.engine()
        if how == "stop":
            asyncio.get_running_loop().call_later(9, engine.stop, "run timeout: 9 s")
        options = RunOptions(timeout=9.0 if how == "timeout" else 0.0)
        seen = await bench.see(await engine.execute(workflow, options))
        assert seen.state is RunState.CANCELLED
        assert seen.states("h@b", "all@*", "a.cleanup") == {
            "a.cleanup": SUCCEEDED,
            "h@b": SUCCEEDED,
            "all@*": SUCCEEDED,
        }

    bench.run(scenario())
    message = "run timeout: 9 s"
    assert bench.commands() == ["a", "b", f"tell b  {message}", f"all  {message}", "undo"]


def test_handlers_and_cleanups_are_bounded_in_time() -> None:
    bench = Bench({"b": fails(), "h": takes(10_000), "all": takes(10_000), "undo": takes(10_000)})
    workflow = flow(
        {
            "a": {"cleanup": ("undo", "more")},
            "b": {"needs": "a", "on_failure": "h"},
            "h": handler(),
            "all": handler(),
        },
        on_failure="all",
    )
    seen = bench.execute(workflow)
    assert seen.states("h@b", "all@*", "a.cleanup") == dict.fromkeys(("h@b", "all@*", "a.cleanup"), FAILED)
    assert seen.failure("a.cleanup").code == "E_TIMEOUT"
    assert bench.clock.monotonic() == pytest.approx(900, abs=1)
    assert bench.stopped() == ["h", "all", "undo"]


def test_a_handler_of_a_handler() -> None:
    bench = Bench({"a": fails(1), "h1": fails(2, stderr="worse")})
    workflow = flow({"a": {"on_failure": "h1"}, "h1": handler(on_failure="h2"), "h2": handler(argv=TELL)})
    seen = bench.execute(workflow)
    assert bench.commands() == ["a", "h1", "tell h1@a 2 worse"]
    assert seen.rows["h2@h1@a"].state is SUCCEEDED


def test_a_failing_handler_changes_nothing() -> None:
    bench = Bench({"a": fails(), "h": fails(9), "undo": fails(8)})
    workflow = flow(
        {
            "a": {"on_failure": "h", "ignore_failure": True},
            "b": {"needs": "a", "cleanup": ("undo",)},
            "h": handler(),
        }
    )
    seen = bench.execute(workflow)
    assert seen.state is RunState.SUCCEEDED
    assert seen.states() == {"a": FAILED, "b": SUCCEEDED}
    assert seen.failure("h@a").exit_code == 9
    assert seen.rows["h@a"].reason == "exit status 9"


def test_a_handler_is_retried_and_every_attempt_is_recorded() -> None:
    bench = Bench({"a": fails(), "h": [fails(5), prints("done")]})
    workflow = flow({"a": {"on_failure": "h"}, "h": handler(retries=1, retry_delay=30.0)})
    seen = bench.execute(workflow, print_output=True)
    assert seen.rows["h@a"].state is SUCCEEDED
    assert seen.numbers("h@a") == [(1, FAILED), (2, SUCCEEDED)]
    assert all(attempt.ended_at for attempt in seen.attempts)
    assert bench.clock.monotonic() == pytest.approx(30, abs=1)
    (retrying,) = [event for event in bench.events if event.kind is ProgressKind.TASK_RETRYING]
    assert (retrying.task_id, retrying.role, retrying.delay) == ("h@a", TaskRole.HANDLER, 30.0)
    (recorded,) = [event for event in seen.events if type(event) is TaskRetrying]
    assert recorded.role is TaskRole.HANDLER
    assert [e.output for e in bench.events if e.kind is ProgressKind.TASK_OUTPUT] == ["done"]


@pytest.mark.parametrize(
    ("condition", "state", "runs"),
    [
        ("exit_code == 3", SUCCEEDED, True),
        ("exit_code == 4", SKIPPED, False),
        ("failed()", SUCCEEDED, True),
        ("succeeded()", SKIPPED, False),
        ("nobody == 4", FAILED, False),
    ],
)
def test_a_handler_with_a_condition(condition: str, state: object, runs: bool) -> None:
    bench = Bench({"a": fails(3)})
    seen = bench.execute(flow({"a": {"on_failure": "h"}, "h": handler(condition=condition)}))
    assert seen.rows["h@a"].state is state
    assert seen.rows["h@a"].attempts == 0 + runs
    assert ("h" in bench.commands()) is runs


def test_a_handler_hands_on_variables() -> None:
    bench = Bench({"a": fails(), "h": prints("ticket 7\n")})
    workflow = flow(
        {"a": {"on_failure": "h"}, "h": handler(register="ticket"), "all": handler(cmd="see {{.ticket}}")},
        on_failure="all",
    )
    seen = bench.execute(workflow)
    assert seen.variables["ticket"] == "ticket 7"
    assert bench.commands()[-1] == "see 'ticket 7'"


def test_a_handler_begins_once_that_is_durable() -> None:
    bench = Bench({"a": fails(seconds=1)})

    async def scenario() -> None:
        engine = bench.engine()
        workflow = flow({"a": {"on_failure": "h"}, "h": handler()})
        running = asyncio.ensure_future(engine.execute(workflow, RunOptions()))
        await bench.processes.wait_running("a")
        bench.store.holding = True
        await asyncio.sleep(3)
        assert "h" not in bench.commands()
        bench.store.holding = False
        bench.store.let_go()
        await running
        assert "h" in bench.commands()

    bench.run(scenario())


# -- steps of a task -------------------------------------------------------------------------------------------


def test_pre_task_and_post_in_order_under_one_limit_and_one_log() -> None:
    bench = Bench({c: prints(f"{c};") for c in ("p1", "p2", "a", "q1", "q2")})
    seen = bench.execute(flow({"a": {"pre": ("p1", "p2"), "post": ("q1", "q2")}}))
    assert bench.commands() == ["p1", "p2", "a", "q1", "q2"]
    assert bench.logs.text(seen.id, "a") == b"p1;p2;a;q1;q2;"
    assert seen.numbers("a") == [(1, SUCCEEDED)]
    for text in bench.commands():
        assert bench.command(text).env["RUNWRIGHT_TASK_ID"] == "a"


@pytest.mark.parametrize(
    ("bad", "ran"),
    [("p1", ["p1"]), ("p2", ["p1", "p2"]), ("a", ["p1", "p2", "a"]), ("q1", ["p1", "p2", "a", "q1"])],
)
def test_a_failing_step_fails_the_task_and_skips_the_rest(bad: str, ran: list[str]) -> None:
    bench = Bench({bad: fails(6)})
    seen = bench.execute(flow({"a": {"pre": ("p1", "p2"), "post": ("q1", "q2"), "cleanup": ("u",)}}))
    assert seen.failure("a").exit_code == 6
    assert bench.commands() == ran, "what has not succeeded is not cleaned up"


def test_steps_around_a_function() -> None:
    bench = Bench()
    order = []

    async def work(session: object, task: object) -> Result:
        order.extend(bench.commands())
        return Result(value={"n": 1})

    bench.functions.by_name["work"] = work
    seen = bench.execute(flow({"a": {"executor": "call.work", "pre": ("p",), "post": ("q",)}}))
    assert (order, bench.commands()) == (["p"], ["p", "q"])
    assert seen.variables == {"a.value": '{"n":1}'}
    assert bench.command("p").env["RUNWRIGHT_TASK_ID"] == "a"


@pytest.mark.parametrize("bad", ["", "c"])
def test_cleanups_run_last_to_first_at_the_end(bad: str) -> None:
    bench = Bench({bad: fails()})
    workflow = flow(
        {k: {"needs": n, "cleanup": (f"undo {k}",)} for k, n in (("a", ""), ("b", "a"), ("c", "b"))}
    )
    seen = bench.execute(workflow)
    undone = ["undo b", "undo a"] if bad else ["undo c", "undo b", "undo a"]
    assert bench.commands() == ["a", "b", "c", *undone]
    assert seen.rows["a.cleanup"].role is TaskRole.CLEANUP
    assert seen.position(TaskEnded, "a.cleanup") < [type(e) for e in seen.events].index(RunEnded)


def test_all_commands_of_a_cleanup_run_whatever_becomes_of_each() -> None:
    bench = Bench({"u1": fails(4), "u2": fails(5)})
    seen = bench.execute(flow({"a": {"cleanup": ("u1", "u2", "u3")}}))
    assert bench.commands() == ["a", "u1", "u2", "u3"]
    assert seen.state is RunState.SUCCEEDED
    assert seen.failure("a.cleanup").exit_code == 4, "the first"


def test_a_cleanup_sees_what_its_task_saw() -> None:
    bench = Bench({"make": prints("/tmp/x")})
    workflow = flow(
        {
            "a": {
                "cmd": "make",
                "register": "dir",
                "matrix": {"os": ("linux",)},
                "cleanup": ("rm {{.dir}} {{.os}}",),
            }
        }
    )
    seen = bench.execute(workflow)
    assert bench.commands()[-1] == "rm '/tmp/x' 'linux'"
    assert seen.rows["a[os=linux].cleanup"].state is SUCCEEDED


def test_the_cleanup_may_have_the_limit_of_its_task() -> None:
    bench = Bench({"undo": takes(100)})
    seen = bench.execute(flow({"a": {"timeout": 5.0, "cleanup": ("undo",)}}))
    assert seen.failure("a.cleanup").message == "took longer than its limit of 5 s"


def test_a_log_of_a_cleanup_that_can_not_be_kept_changes_nothing() -> None:
    bench = Bench({"undo": prints("x")})
    opened = bench.logs.open

    class Full:
        def write(self, stream: object, data: bytes) -> None:
            raise StoreError("disk full")

        def close(self) -> None: ...

    def door(run_id: str, task_id: str, attempt: int, most: int) -> object:
        return Full() if task_id == "a.cleanup" else opened(run_id, task_id, attempt, most)

    bench.logs.open = door  # type: ignore[assignment]
    seen = bench.execute(flow({"a": {"cleanup": ("undo",)}}))
    assert seen.state is RunState.SUCCEEDED
    assert seen.failure("a.cleanup").code == "E_STORE"


def test_after_a_resume_what_its_cleanup_undid_runs_again() -> None:
    bench = Bench({"b": [fails(), Script()]})
    workflow = flow({"a": {"cleanup": ("undo",)}, "b": "a", "other": ""})
    first = bench.execute(workflow, failure_policy=FailurePolicy.KEEP_GOING)
    assert bench.commands() == ["a", "other", "b", "undo"]
    again = bench.resume(first)
    assert again.state is RunState.SUCCEEDED
    assert bench.commands()[4:] == ["a", "b", "undo"]
    assert again.numbers("a") == [(1, SUCCEEDED), (2, SUCCEEDED)]
    assert again.numbers("a.cleanup") == [(1, SUCCEEDED), (2, SUCCEEDED)]


def test_a_resume_cleans_up_what_a_dead_engine_could_not() -> None:
    from engine_bench import OTHER

    bench = Bench({"b": [takes(1000), Script()]})
    workflow = flow({"a": {"cleanup": ("undo a",)}, "a2": {"needs": "a", "cleanup": ("undo a2",)}, "b": "a2"})

    async def scenario() -> None:
        dead = asyncio.ensure_future(bench.engine(owner=OTHER).execute(workflow, RunOptions()))
        await bench.processes.wait_running("b")
        bench.alive[OTHER.host] = False
        (run_id,) = bench.store._logs
        seen = await bench.see(await bench.engine().resume(run_id, RunOptions(), None))
        assert seen.state is RunState.SUCCEEDED
        assert seen.numbers("a") == [(1, SUCCEEDED)], "it is reused"
        assert seen.numbers("b") == [(1, CANCELLED), (2, SUCCEEDED)]
        dead.cancel()
        await asyncio.wait([dead])

    bench.run(scenario())
    assert [text for text in bench.commands() if "undo" in text] == ["undo a2", "undo a"]


def test_handlers_have_their_events() -> None:
    bench = Bench({"a": fails()})
    seen = bench.execute(flow({"a": {"on_failure": "h"}, "h": handler()}))
    assert seen.position(TaskEnded, "a") < seen.position(TaskStarted, "h@a") < seen.position(TaskEnded, "h@a")
    roles = {event.task_id: event.role for event in bench.events if event.task_id}
    assert roles == {"a": TaskRole.TASK, "h@a": TaskRole.HANDLER}


def test_what_has_been_cleaned_up_is_not_cleaned_up_again() -> None:
    bench = Bench({"b": [fails(), Script()]})
    first = bench.execute(flow({"a": {"cleanup": ("undo",)}, "b": "a"}))
    again = bench.resume(first, only=("b",))
    assert again.state is RunState.SUCCEEDED
    assert bench.commands() == ["a", "b", "undo", "b"]
