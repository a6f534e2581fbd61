"""Children of a run's tasks: items of a list, and what executors ask for next."""

import asyncio
import json
from collections.abc import Mapping
from typing import Any

import pytest
from engine_bench import (
    CANCELLED,
    FAILED,
    OTHER,
    SUCCEEDED,
    Bench,
    Seen,
    fails,
    flow,
    handler,
    prints,
    takes,
    turns,
)

from runwright.core.children import fingerprint, items_of
from runwright.core.errors import TaskFailed
from runwright.core.events import ChildrenPlanned, TaskEnded, TaskStarted
from runwright.core.options import FailurePolicy, RunOptions, Strategy
from runwright.core.run import definition_key, node_of
from runwright.core.states import RunState, TaskRole, TaskState
from runwright.core.task import Result, Task, TaskId
from runwright.core.workflow import ItemFailures, Workflow
from runwright.ports.executor import Session
from runwright.testing import Script

EACH = {"needs": "list", "for_each": "{{.l}}", "argv": ("do", "{{.item}}")}


def mapped(**fields: Any) -> Any:
    return flow({"list": {"register": "l"}, "each": {**EACH, **fields}, "after": "each"})


def listing(text: str) -> Script:
    """Return a command that prints a list: an array as it is, or one of the words."""
    return prints(text if text[:1] == "[" else json.dumps(text.split()))


def bench(text: str, scripts: Mapping[str, Script | list[Script]] | None = None) -> Bench:
    return Bench({"list": listing(text), **(scripts or {})})


def children(seen: Seen) -> dict[str, TaskState]:
    return {row.id: row.state for row in seen.rows.values() if row.role is TaskRole.CHILD}


def task(name: str, *needs: str, executor: str = "call.leaf", **args: Any) -> Task:
    return Task(id=TaskId(name), executor=executor, dependencies=tuple(map(TaskId, needs)), args=args)


# -- lists -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "items"),
    [
        ("", []),
        ("a\n\n b \r\nc", ["a", " b ", "c"]),
        ("[]", []),
        (' ["a", 1, null, [2], {"k": "v"}]', ["a", 1, None, [2], {"k": "v"}]),
    ],
)
def test_lists(text: str, items: list[Any]) -> None:
    assert items_of(text) == items


@pytest.mark.parametrize("text", ["[1", "[1] 2", "[a]"])
def test_what_is_no_list(text: str) -> None:
    with pytest.raises(TaskFailed, match="no JSON array") as caught:
        items_of(text)
    assert caught.value.failure.code == "E_ITEMS"


@pytest.mark.parametrize(
    ("child", "node", "key"),
    [
        ("a.0", "a", "a"),
        ("a.0.x.y", "a", "a"),
        ("a[v=1.2].0", "a[v=1.2]", "a"),
        ("a[v=1.2]", "a[v=1.2]", "a"),
        ("a", "a", "a"),
        ("a.[x].1", "a", "a"),
    ],
)
def test_whose_child_it_is(child: str, node: str, key: str) -> None:
    assert node_of(child) == node
    assert definition_key(child, TaskRole.CHILD) == key


@pytest.mark.parametrize(("strategy", "workers"), [(Strategy.SEQUENTIAL, 1), (Strategy.WORK_STEALING, 3)])
def test_a_task_runs_once_for_each_item(strategy: Strategy, workers: int) -> None:
    text = '["one", "two words", {"name": "three", "n": 3}]'
    on = bench(text, {"do one": prints("1"), "do two words": prints("2")})
    workflow = mapped(register="all", env={"N": "{{.index}}-{{.item}}"})
    seen = on.execute(workflow, strategy, workers)
    assert seen.state is RunState.SUCCEEDED
    assert children(seen) == {"each.0": SUCCEEDED, "each.1": SUCCEEDED, "each.2": SUCCEEDED}
    assert on.command("do two words").env["N"] == "1-two words"
    assert on.command("do two words").env["RUNWRIGHT_TASK_ID"] == "each.1"
    assert seen.variables["all"] == '["1","2",""]'
    assert seen.rows["each"].value == ["1", "2", ""]
    row = seen.rows["each.1"]
    assert (row.key, row.level, row.attempts, row.value) == ("each", -1, 1, "2")
    assert seen.run.counts.total == 3
    assert on.commands()[-1] == "after"


def test_items_that_are_objects_show_their_fields() -> None:
    on = bench('[{"host": "a", "port": 1}, {"host": "b", "port": [2]}]')
    seen = on.execute(mapped(argv=("ping", "{{.item.host}}", "{{.item.port}}", "{{.index}}")))
    assert seen.state is RunState.SUCCEEDED
    assert on.commands()[1:3] == ["ping a 1 0", "ping b [2] 1"]
    assert seen.rows["each"].value is None, "nobody registers what commands print"


def test_an_empty_list_is_nothing_to_do() -> None:
    seen = bench("").execute(mapped(register="all"))
    assert seen.state is RunState.SUCCEEDED
    assert seen.variables["all"] == "[]"
    assert children(seen) == {}


def test_each_node_of_a_matrix_has_items_of_its_own() -> None:
    on = bench("x\ny")
    seen = on.execute(mapped(matrix={"os": ("a", "b")}, argv=("do", "{{.os}}", "{{.item}}")))
    assert set(children(seen)) == {f"each[os={os}].{n}" for os in "ab" for n in (0, 1)}
    assert {row.key for row in seen.rows.values() if row.role is TaskRole.CHILD} == {"each"}
    assert sorted(on.commands()[1:5]) == ["do a x", "do a y", "do b x", "do b y"]


def test_values_of_functions_are_a_list() -> None:
    on = bench("3\n4")

    async def square(session: Session, one: Task) -> Result:
        return Result(value=int(one.args["x"]) ** 2, variables={"X": one.args["x"]})

    on.functions.by_name["square"] = square
    each = {"needs": "list", "for_each": "{{.l}}", "executor": "call.square", "args": {"x": "{{.item}}"}}
    seen = on.execute(
        flow(
            {"list": {"register": "l"}, "each": each, "end": {"needs": "each", "cmd": "sum {{.each.value}}"}}
        )
    )
    assert seen.state is RunState.SUCCEEDED
    assert seen.variables["each.value"] == "[9,16]"
    assert (seen.variables["each.1.value"], seen.variables["each.1.X"]) == ("16", "4")


@pytest.mark.parametrize(("register", "code"), [("", None), ("all", "E_VALUE")])
def test_a_list_of_values_may_be_too_large(register: str, code: str | None) -> None:
    on = bench("1\n2")

    async def large(session: Session, one: Task) -> Result:
        return Result(value="x" * 40_000)

    on.functions.by_name["large"] = large
    each = {"needs": "list", "for_each": "{{.l}}", "executor": "call.large", "register": register}
    seen = on.execute(flow({"list": {"register": "l"}, "each": each}))
    assert seen.rows["each.0"].value == "x" * 40_000
    assert seen.rows["each"].value is None
    failure = seen.rows["each"].failure
    assert (failure and failure.code) == code


@pytest.mark.parametrize(
    ("text", "for_each", "code"),
    [("[1", "{{.l}}", "E_ITEMS"), ("x", "{{.nothing}}", "E_TEMPLATE")],
)
def test_a_list_that_is_none_fails_the_task_once(text: str, for_each: str, code: str) -> None:
    seen = bench(text).execute(mapped(for_each=for_each, retries=3))
    assert seen.states("each") == {"each": FAILED}
    assert seen.failure("each").code == code
    assert seen.rows["each"].attempts == 1


# -- limits ------------------------------------------------------------------------------------------------------


class Most:
    """An executor's function that counts how many of it run."""

    def __init__(self) -> None:
        self.running = self.most = 0

    async def __call__(self, session: Session, one: Task) -> Result:
        self.running += 1
        self.most = max(self.most, self.running)
        await turns(5)
        self.running -= 1
        return Result()


@pytest.mark.parametrize(
    ("workers", "pool", "most"), [(1, 0, 1), (3, 0, 3), (3, 2, 2), (3, 9, 3), (8, 0, 8), (8, 1, 1)]
)
def test_items_run_on_the_workers_and_within_the_pool(workers: int, pool: int, most: int) -> None:
    on = bench("\n".join("abcdefghij"))
    count = on.functions.by_name["count"] = Most()
    each = {"needs": "list", "for_each": "{{.l}}", "executor": "call.count", "pool": pool}
    seen = on.execute(flow({"list": {"register": "l"}, "each": each}), Strategy.WORK_STEALING, workers)
    assert seen.state is RunState.SUCCEEDED
    assert count.most == most


def test_children_and_tasks_share_the_workers() -> None:
    on = bench("\n".join("abcdef"))
    count = on.functions.by_name["count"] = Most()
    each = {"needs": "list", "for_each": "{{.l}}", "executor": "call.count"}
    others = {f"o{n}": {"needs": "list", "executor": "call.count"} for n in range(6)}
    workflow = flow({"list": {"register": "l"}, "each": each, "more": dict(each), **others})
    seen = on.execute(workflow, Strategy.WORK_STEALING, 3)
    assert seen.state is RunState.SUCCEEDED
    assert count.most == 3


# -- failures ----------------------------------------------------------------------------------------------------


def failing(policy: ItemFailures, **fields: Any) -> tuple[Bench, Seen]:
    on = bench("a\nb\nc", {"do b": fails(7, stderr="bad b"), "do a": prints("A")})
    return on, on.execute(mapped(item_failures=policy, register="all", **fields))


def test_after_a_failed_item_nothing_new_starts() -> None:
    _, seen = failing(ItemFailures.STOP)
    assert children(seen) == {"each.0": SUCCEEDED, "each.1": FAILED, "each.2": CANCELLED}
    assert seen.states("each", "after") == {"each": FAILED, "after": CANCELLED}
    failure = seen.failure("each")
    assert (failure.code, failure.exit_code, failure.stderr_tail) == ("E_CHILDREN", 7, "bad b")
    assert failure.message == '1 of 3 children failed; in task "each.1": exit status 7'
    assert seen.rows["each.2"].reason == "nothing more was started after a failure"
    assert seen.rows["each.2"].attempts == 0


def test_the_others_may_run_all_the_same() -> None:
    _, seen = failing(ItemFailures.CONTINUE)
    assert children(seen) == {"each.0": SUCCEEDED, "each.1": FAILED, "each.2": SUCCEEDED}
    assert seen.states("each") == {"each": FAILED}


def test_a_failed_item_may_be_left_out() -> None:
    _, seen = failing(ItemFailures.IGNORE)
    assert seen.state is RunState.SUCCEEDED
    assert children(seen) == {"each.0": SUCCEEDED, "each.1": FAILED, "each.2": SUCCEEDED}
    assert seen.rows["each.1"].ignored
    assert seen.variables["all"] == '["A",null,""]'


def test_items_are_tried_again_and_not_the_task() -> None:
    on = bench("a\nb", {"do a": [fails(), fails(), prints("x")], "do b": fails()})
    seen = on.execute(
        mapped(retries=2, retry_delay=5.0, item_failures=ItemFailures.CONTINUE), Strategy.WORK_STEALING, 2
    )
    assert children(seen) == {"each.0": SUCCEEDED, "each.1": FAILED}
    assert (seen.rows["each"].attempts, seen.rows["each.0"].attempts, seen.rows["each.1"].attempts) == (
        1,
        3,
        3,
    )
    assert seen.numbers("each.0") == [(1, FAILED), (2, FAILED), (3, SUCCEEDED)]
    assert {event.task_id for event in on.events if event.kind == "task_retrying"} == {"each.0", "each.1"}


def test_an_item_that_waits_for_another_attempt_holds_no_worker() -> None:
    on = bench("a\nb", {"do a": [fails(), prints("x")]})
    seen = on.execute(mapped(retries=1, retry_delay=100.0))
    assert seen.state is RunState.SUCCEEDED
    assert on.commands()[1:4] == ["do a", "do b", "do a"]


def test_the_time_limit_is_that_of_an_item() -> None:
    on = bench("a\nb\nc", {f"do {x}": takes(3.0) for x in "abc"} | {"do b": takes(10.0)})
    seen = on.execute(mapped(timeout=5.0, item_failures=ItemFailures.CONTINUE))
    assert children(seen) == {"each.0": SUCCEEDED, "each.1": FAILED, "each.2": SUCCEEDED}
    assert seen.failure("each.1").code == "E_TIMEOUT"


def test_a_handler_is_called_once_for_the_task() -> None:
    on = bench("a\nb", {"do a": fails(), "do b": fails()})
    workflow = flow(
        {
            "list": {"register": "l"},
            "each": {**EACH, "on_failure": "mend", "item_failures": ItemFailures.CONTINUE},
            "mend": handler(cmd="mend {{.failed_task}}"),
        }
    )
    on.execute(workflow)
    assert [one for one in on.commands() if one.startswith("mend")] == ["mend 'each'"]


@pytest.mark.parametrize("policy", [FailurePolicy.FINISH, FailurePolicy.FAIL_FAST, FailurePolicy.KEEP_GOING])
def test_when_another_task_fails(policy: FailurePolicy) -> None:
    on = bench(
        "a\nb\nc", {f"do {x}": takes(10.0) for x in "abc"} | {"bad": Script(seconds=15.0, exit=fails().exit)}
    )
    workflow = flow({"list": {"register": "l"}, "each": EACH, "bad": {"needs": "list"}})
    seen = on.execute(workflow, Strategy.WORK_STEALING, 2, failure_policy=policy)
    found = list(children(seen).values())
    if policy is FailurePolicy.KEEP_GOING:
        assert found == [SUCCEEDED] * 3
    elif policy is FailurePolicy.FINISH:
        assert found == [SUCCEEDED, SUCCEEDED, CANCELLED]
        assert seen.rows["each.2"].reason == 'the run stopped after task "bad" failed'
    else:
        assert found == [SUCCEEDED, CANCELLED, CANCELLED]
        assert on.stopped() == ["do b"]
    assert seen.states("each")["each"] is (SUCCEEDED if policy is FailurePolicy.KEEP_GOING else CANCELLED)


@pytest.mark.parametrize("failures", ItemFailures)
def test_fail_fast_ends_the_siblings_of_a_failed_child(failures: ItemFailures) -> None:
    scripts = {
        "do a": takes(50.0),
        "do b": Script(seconds=5.0, exit=fails().exit),
        "do c": [fails(), fails()],
    }
    on = bench("a b c d", scripts)
    workflow = mapped(retries=1, retry_delay=20.0, item_failures=failures)
    seen = on.execute(workflow, Strategy.WORK_STEALING, 3, failure_policy=FailurePolicy.FAIL_FAST)
    found = list(children(seen).values())
    if failures is ItemFailures.STOP:
        assert found == [CANCELLED, FAILED, FAILED, SUCCEEDED]
        assert seen.rows["each.0"].reason == "another child failed"
        assert on.stopped() == ["do a"]
    else:
        assert found == [SUCCEEDED, FAILED, FAILED, SUCCEEDED]
        assert on.stopped() == []
    assert seen.states("each")["each"] is (SUCCEEDED if failures is ItemFailures.IGNORE else FAILED)


def test_a_task_that_runs_after_failures_runs_all_its_items() -> None:
    on = bench("a b", {"bad": fails()})
    each = {**EACH, "needs": "list bad", "condition": "failed()"}
    seen = on.execute(flow({"list": {"register": "l"}, "bad": "list", "each": each}))
    assert children(seen) == {"each.0": SUCCEEDED, "each.1": SUCCEEDED}
    assert seen.states("each", "bad") == {"each": SUCCEEDED, "bad": FAILED}


@pytest.mark.parametrize("after", [5.0, 12.0])
def test_a_stopped_run_stops_its_items(after: float) -> None:
    on = bench("a\nb\nc", {"do a": [fails()], "do b": takes(50.0), "do c": takes(50.0)})

    async def scenario() -> Seen:
        engine = on.engine(Strategy.WORK_STEALING, 2)
        asyncio.get_running_loop().call_later(after, engine.stop, "enough")
        workflow = mapped(retries=5, retry_delay=10.0, item_failures=ItemFailures.CONTINUE)
        return await on.see(await engine.execute(workflow, RunOptions()))

    seen = on.run(scenario())
    assert seen.state is RunState.CANCELLED
    assert seen.rows["each.0"].state is FAILED
    assert children(seen)["each.1"] is CANCELLED
    assert seen.states("each", "after") == {"each": CANCELLED, "after": CANCELLED}
    assert all(row.state not in (TaskState.PENDING, TaskState.RUNNING) for row in seen.rows.values())


# -- durability --------------------------------------------------------------------------------------------------


def test_what_is_recorded_and_in_which_order() -> None:
    on = bench("a\nb")
    seen = on.execute(mapped())
    (planned,) = (event for event in seen.events if isinstance(event, ChildrenPlanned))
    assert (planned.task_id, planned.attempt, list(planned.children)) == ("each", 1, ["each.0", "each.1"])
    places = [seen.events.index(planned)]
    for child in ("each.0", "each.1"):
        places += [seen.position(TaskStarted, child), seen.position(TaskEnded, child)]
    places.append(seen.position(TaskEnded, "each"))
    assert places == sorted(places)


def test_a_child_starts_once_its_start_is_durable() -> None:
    on = bench("a")

    async def scenario() -> None:
        work = asyncio.create_task(on.engine().execute(mapped(), RunOptions()))
        await on.processes.wait_running("list")
        on.store.holding = True
        await turns(50)
        for _ in range(3):
            on.store.let_go()
            await turns(20)
            if any(
                isinstance(e, TaskStarted) and e.role is TaskRole.CHILD
                for one in on.store.held
                for e in one[0]
            ):
                break
        assert "do a" not in on.commands()
        on.store.holding = False
        on.store.let_go()
        await work
        assert "do a" in on.commands()

    on.run(scenario())


# -- resume ------------------------------------------------------------------------------------------------------


def test_a_resume_reuses_items_by_index_and_value() -> None:
    on = bench("a\nb\nc", {"do a": prints("A"), "do b": [fails(), prints("B")], "do c": prints("C")})
    first = on.execute(mapped(register="all", item_failures=ItemFailures.CONTINUE))
    seen = on.resume(first)
    assert seen.state is RunState.SUCCEEDED
    assert on.commands() == ["list", "do a", "do b", "do c", "do b", "after"]
    assert seen.variables["all"] == '["A","B","C"]'
    assert seen.rows["each.1"].attempts == 2
    assert seen.rows["each.0"].attempts == 1


def test_an_item_with_another_value_runs_again() -> None:
    on = Bench({"list": [listing("a b c"), listing("a x c d")], "do c": [fails(), prints("C")]})
    first = on.execute(mapped(item_failures=ItemFailures.CONTINUE, ignore_failure=False))
    seen = on.resume(first, start_from=("list",))
    assert seen.state is RunState.SUCCEEDED
    assert on.commands()[4:] == ["list", "do a", "do x", "do c", "do d", "after"], (
        "what depends on it starts anew"
    )


@pytest.mark.parametrize("how", ["from", "changed"])
def test_items_of_a_task_that_starts_anew_run_again(how: str) -> None:
    on = bench("a\nb", {"do b": [fails(), prints("B")]})
    first = on.execute(mapped())
    if how == "from":
        seen = on.resume(first, start_from=("each",))
    else:
        seen = on.resume(first, mapped(env={"NEW": "1"}))
    assert seen.state is RunState.SUCCEEDED
    assert on.commands() == ["list", "do a", "do b", "do a", "do b", "after"]


def after_a_crash(on: Bench, workflow: Workflow, during: str, **options: Any) -> tuple[Seen, Seen]:
    """Let an engine die while a command runs; return the run before and after its resume."""

    async def scenario() -> tuple[Seen, Seen]:
        dead = asyncio.ensure_future(on.engine(owner=OTHER).execute(workflow, RunOptions()))
        await on.processes.wait_running(during)
        on.alive[OTHER.host] = False
        await turns()
        before = await on.see(await on.store.find_run("latest"))
        seen = await on.see(await on.engine().resume(before.id, RunOptions(**options), None))
        dead.cancel()
        await asyncio.wait([dead])
        return before, seen

    return on.run(scenario())


def test_a_dead_engine_leaves_items_to_reuse() -> None:
    on = bench("a b c", {"do b": [takes(1000.0), prints("B")]})
    before, seen = after_a_crash(on, mapped(register="all"), "do b")
    assert before.state is RunState.INTERRUPTED
    assert children(before) == {"each.0": SUCCEEDED, "each.1": TaskState.RUNNING}
    assert seen.state is RunState.SUCCEEDED
    assert on.commands() == ["list", "do a", "do b", "do b", "do c", "after"]
    assert seen.variables["all"] == '["","B",""]'
    assert seen.numbers("each.1") == [(1, CANCELLED), (2, SUCCEEDED)]


def test_a_child_that_nobody_asks_for_again_has_an_end() -> None:
    on = Bench({"list": [listing("a b"), listing("a")], "do b": takes(1000.0)})
    _, seen = after_a_crash(on, mapped(), "do b", start_from=("list",))
    assert seen.state is RunState.SUCCEEDED
    assert (seen.rows["each.1"].state, seen.rows["each.1"].reason) == (CANCELLED, "the run was interrupted")


# -- follow-ups --------------------------------------------------------------------------------------------------


class Asks:
    """Functions that ask for what a table says, by the id of the task."""

    def __init__(self, on: Bench, table: dict[str, list[Task]]) -> None:
        self.table = table
        self.ran: list[str] = []
        self.failing: set[str] = set()
        on.functions.by_name.update({"leaf": self, "root": self})

    async def __call__(self, session: Session, one: Task) -> Result:
        self.ran.append(one.id)
        session.log(one.id).write("stdout", one.id.encode())
        await turns(1)
        if one.id in self.failing:
            from runwright.core.errors import Failure

            raise TaskFailed(Failure(code="E_X", message=f"no {one.id}"))
        return Result(value=one.id.upper(), followups=tuple(self.table.get(one.id, ())))


ROOT = flow({"root": {"executor": "call.root"}, "after": "root"})


def test_follow_ups_are_nodes_of_the_run() -> None:
    on = Bench()
    asks = Asks(
        on,
        {
            "root": [task("b", "a"), task("a", x=1)],
            "root.a": [task("deep")],
            "root.b": [task("sh", executor="shell", cmd="say")],
        },
    )
    seen = on.execute(ROOT, Strategy.WORK_STEALING, 2)
    assert seen.state is RunState.SUCCEEDED
    assert asks.ran == ["root", "root.a", "root.a.deep", "root.b"]
    assert on.commands() == ["say", "after"]
    assert on.command("say").env["RUNWRIGHT_TASK_ID"] == "root.b.sh"
    assert children(seen) == dict.fromkeys(["root.a", "root.a.deep", "root.b", "root.b.sh"], SUCCEEDED)
    assert seen.rows["root"].value == "ROOT"
    assert seen.variables["root.a.deep.value"] == "ROOT.A.DEEP"
    assert on.logs.text(seen.id, "root.a.deep") == b"root.a.deep"
    assert seen.position(TaskEnded, "root.a") < seen.position(TaskStarted, "root.b")
    roles = {event.task_id: event.role for event in on.events if event.task_id}
    assert roles["root.a.deep"] is TaskRole.CHILD


def test_a_task_fails_with_its_follow_ups() -> None:
    on = Bench()
    asks = Asks(on, {"root": [task("a"), task("b", "a"), task("c", "b")], "root.a": [task("x")]})
    asks.failing = {"root.a.x"}
    first = on.execute(ROOT)
    assert children(first) == {
        "root.a": CANCELLED,
        "root.a.x": FAILED,
        "root.b": CANCELLED,
        "root.c": CANCELLED,
    }
    assert first.failure("root").message == '1 of 4 children failed; in task "root.a.x": no root.a.x'
    assert first.rows["root.a"].reason.startswith("its own children")
    asks.failing.clear()
    asks.ran.clear()
    seen = on.resume(first)
    assert seen.state is RunState.SUCCEEDED
    assert asks.ran == ["root", "root.a", "root.a.x", "root.b", "root.c"]


def test_a_resume_reuses_follow_ups_that_are_asked_for_again() -> None:
    on = Bench()
    asks = Asks(on, {"root": [task("a", x=1), task("b", x=1), task("c", "a", "b")], "root.a": [task("x")]})
    asks.failing = {"root.c"}
    first = on.execute(ROOT)
    asks.failing.clear()
    asks.ran.clear()
    asks.table["root"][1] = task("b", x=2)
    seen = on.resume(first)
    assert seen.state is RunState.SUCCEEDED
    assert asks.ran == ["root", "root.b", "root.c"]
    assert seen.rows["root.a.x"].state is SUCCEEDED
    assert seen.variables["root.a.x.value"] == "ROOT.A.X"


@pytest.mark.parametrize(
    ("tasks", "message"),
    [
        ([task("a", "b")], 'depends on "{0}.b"'),
        ([task("cleanup")], 'can\'t be "cleanup"'),
        ([task("a", x=object())], "no plain data"),
    ],
)
@pytest.mark.parametrize("deep", [False, True])
def test_follow_ups_that_can_not_be_run(tasks: list[Task], message: str, deep: bool) -> None:
    on = Bench()
    Asks(on, {"root": [task("d")], "root.d": tasks} if deep else {"root": tasks})
    seen = on.execute(ROOT)
    parent = "root.d" if deep else "root"
    assert message.format(parent) in seen.failure(parent).message
    assert seen.failure(parent).code == "E_FOLLOWUPS"
    assert seen.states("root") == {"root": FAILED}


def test_an_item_may_ask_for_more() -> None:
    on = bench("a\nb")
    asks = Asks(on, {"each.0": [task("x")]})
    each = {"needs": "list", "for_each": "{{.l}}", "executor": "call.leaf"}
    seen = on.execute(flow({"list": {"register": "l"}, "each": each}))
    assert seen.rows["each"].value == ["EACH.0", "EACH.1"]
    assert asks.ran == ["each.0", "each.0.x", "each.1"]


@pytest.mark.parametrize("limit", [1, 4])
def test_many_follow_ups_to_a_great_depth(limit: int) -> None:
    on = Bench()

    async def chain(session: Session, one: Task) -> Result:
        left = one.args.get("left", 100)
        wide = 10 if one.id == "root" else 1
        more = tuple(task(str(n), executor="call.root", left=left - 1) for n in range(wide if left else 0))
        return Result(followups=more)

    on.functions.by_name["root"] = chain
    seen = on.execute(ROOT, Strategy.WORK_STEALING, limit)
    assert seen.state is RunState.SUCCEEDED
    assert len(children(seen)) == 1000


def test_a_fingerprint_is_of_what_is_to_be_done() -> None:
    same = [task("a", x={"p": 1, "q": 2}), task("b", x={"q": 2, "p": 1})]
    assert fingerprint(same[0]) == fingerprint(same[1])
    others = [task("a", x=1), task("a", "z", x={"p": 1, "q": 2}), task("a", executor="e", x={"p": 1, "q": 2})]
    assert len({fingerprint(one) for one in [*same, *others]}) == 4
