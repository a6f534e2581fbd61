"""Cached tasks in the engine: spared without an attempt, told with their reasons, and what that means for the rest."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from engine_bench import STRATEGIES, SUCCEEDED, Bench, Seen, fails, flow, prints
from msgspec.structs import replace

from runwright.core.advice import warnings
from runwright.core.check import check_workflow
from runwright.core.events import AttemptsReserved, TaskEnded, TaskStarted
from runwright.core.options import RunOptions, Strategy
from runwright.core.states import RunState
from runwright.core.task import CacheUse, Result, Task, TaskId
from runwright.core.workflow import TaskType, Workflow
from runwright.engines.driver import MOST_SPARED
from runwright.engines.prepare import Doors
from runwright.executors.cache import Cache
from runwright.ports.executor import Session
from runwright.ports.system import Command
from runwright.testing import MemoryCache


class CachedBench(Bench):
    """A bench whose executor is a cache around the router, in a real directory."""

    def __init__(self, folder: Path, *arguments: Any, **options: Any) -> None:
        super().__init__(*arguments, root=folder / "work", **options)
        self.tree = folder / "tree"
        self.tree.mkdir(exist_ok=True)
        self.cache = MemoryCache()

    def doors(self, **changed: Any) -> Doors:
        doors = super().doors(**changed)
        executor = Cache(doors.executor, lambda _: self.cache, scope="w")
        return replace(doors, executor=executor, directory=str(self.tree))

    def write(self, name: str, text: str) -> None:
        (self.tree / name).write_text(text)

    def again(self, workflow: Workflow, **options: Any) -> tuple[Seen, list[str]]:
        """Execute a workflow; returns what is seen of it and the commands that ran."""
        before = len(self.processes.ran)
        seen = self.execute(workflow, **options)
        return seen, self.commands()[before:]


COMPILE = {"cmd": "cc", "cache": True, "inputs": ("a.c",)}


def end(seen: Seen, task_id: str) -> TaskEnded:
    return next(event for event in seen.events if isinstance(event, TaskEnded) and event.task_id == task_id)


def starts(seen: Seen) -> list[str]:
    return [event.task_id for event in seen.events if isinstance(event, TaskStarted)]


def test_a_task_that_is_up_to_date_takes_no_attempt(tmp_path: Path) -> None:
    bench = CachedBench(tmp_path, {"cc": prints("1.2\n")})
    bench.write("a.c", "x")
    workflow = flow({"a": {**COMPILE, "register": "version"}, "b": {"cmd": "use {{.version}}", "needs": "a"}})
    first, ran = bench.again(workflow)
    assert ran == ["cc", "use '1.2'"]
    assert (first.rows["a"].reason, first.rows["b"].reason) == ("not in the cache", "")
    assert not end(first, "a").spared
    second, ran = bench.again(workflow)
    assert ran == ["use '1.2'"]
    assert second.state is RunState.SUCCEEDED
    row = second.rows["a"]
    assert (row.state, row.reason, row.attempts, row.value) == (SUCCEEDED, "up to date", 0, "1.2")
    assert end(second, "a").spared
    assert starts(second) == ["b"]
    assert not any(isinstance(event, AttemptsReserved) and "a" in event.attempts for event in second.events)
    told = [(event.task_id, event.error) for event in bench.events if event.kind == "task_done"]
    assert told[-2:] == [("a", "up to date"), ("b", "")]


def test_what_changed_is_told(tmp_path: Path) -> None:
    bench = CachedBench(tmp_path)
    bench.write("a.c", "x")
    bench.again(flow({"a": COMPILE}))
    bench.write("a.c", "y")
    seen, ran = bench.again(flow({"a": {**COMPILE, "cmd": "cc -g"}}))
    assert ran == ["cc -g"]
    details = ('argument cmd changed from "" to "-g"', "input a.c changed")
    assert end(seen, "a").details == details
    assert seen.rows["a"].reason == f"{details[0]}, and 1 more"


def test_what_is_restored_needs_an_attempt_but_no_command(tmp_path: Path) -> None:
    def make(command: Command) -> None:
        bench.write("out", "made")

    bench = CachedBench(tmp_path, on_command=make)
    workflow = flow({"a": {**COMPILE, "outputs": ("out",), "cleanup": ("undo",)}})
    _, ran = bench.again(workflow)
    assert ran == ["cc", "undo"]
    (bench.tree / "out").unlink()
    seen, ran = bench.again(workflow)
    assert ran == []
    assert (bench.tree / "out").read_text() == "made"
    assert (seen.rows["a"].reason, seen.rows["a"].attempts) == ("restored from the cache", 1)
    assert end(seen, "a").details == ("output out is missing",)
    assert bench.again(workflow)[1] == []


@pytest.mark.parametrize(("strategy", "workers"), STRATEGIES)
def test_many_are_found_in_turn(tmp_path: Path, strategy: Strategy, workers: int) -> None:
    bench = CachedBench(tmp_path)
    number = MOST_SPARED + 50
    tasks: dict[str, Any] = {f"t{n}": {"cmd": f"c{n}", "cache": True} for n in range(number)}
    tasks["last"] = {"cmd": "last", "needs": " ".join(tasks)}
    bench.execute(flow(tasks), strategy, workers)
    before = len(bench.processes.ran)
    seen = bench.execute(flow(tasks), strategy, workers)
    assert bench.commands()[before:] == ["last"]
    assert seen.run.counts.succeeded == number + 1


def test_a_failure_is_tried_again(tmp_path: Path) -> None:
    bench = CachedBench(tmp_path, {"cc": [fails(), prints("1")]})
    seen, _ = bench.again(flow({"a": COMPILE}))
    assert seen.state is RunState.FAILED
    seen, ran = bench.again(flow({"a": COMPILE}))
    assert (seen.rows["a"].reason, ran) == ("its last attempt did not succeed", ["cc"])


def test_a_resume_reuses_what_was_spared(tmp_path: Path) -> None:
    bench = CachedBench(tmp_path, {"b": [fails(), prints("1")]})
    workflow = flow({"a": COMPILE, "b": "a"})
    bench.again(flow({"a": COMPILE}))
    failed, ran = bench.again(workflow)
    assert ran == ["b"]

    async def plan() -> Any:
        return await bench.engine().plan_resume(failed.id, RunOptions(), None)

    assert bench.run(plan()).reuse == {"a": "did not have to run"}
    assert bench.resume(failed).state is RunState.SUCCEEDED


def test_a_cache_can_be_passed_over(tmp_path: Path) -> None:
    bench = CachedBench(tmp_path)
    bench.again(flow({"a": COMPILE}))
    seen, ran = bench.again(flow({"a": COMPILE}), no_cache=True)
    assert (ran, seen.rows["a"].reason) == (["cc"], "asked to run, whatever the cache holds")
    assert bench.again(flow({"a": COMPILE}))[1] == []


def test_other_tasks_and_pre_and_post_are_not_cached(tmp_path: Path) -> None:
    bench = CachedBench(tmp_path)
    workflow = flow({"a": {"pre": ("before",), "post": ("after",)}, "b": COMPILE})
    for expected in (["before", "a", "after", "cc"], ["before", "a", "after"]):
        assert bench.again(workflow)[1] == expected
    assert len(bench.cache.entries) == 1


def test_without_a_cache_the_key_means_nothing(tmp_path: Path) -> None:
    bench = Bench()
    for _ in range(2):
        assert bench.execute(flow({"a": COMPILE})).rows["a"].reason == ""
    assert bench.commands() == ["cc", "cc"]


@pytest.mark.parametrize(
    ("value", "runs"), [("1", []), ("2", ["make $RUNWRIGHT_VAR_LEVEL"])], ids=["same", "other"]
)
def test_a_variable_that_the_command_names_counts(tmp_path: Path, value: str, runs: list[str]) -> None:
    bench = CachedBench(tmp_path)
    workflow = flow(
        {"a": {"cmd": "make $RUNWRIGHT_VAR_LEVEL", "cache": True}}, variables={"level": "1", "other": "1"}
    )
    bench.again(workflow)
    _, ran = bench.again(workflow, variables={"level": value, "other": "2"})
    assert ran == runs


def test_the_environment_that_is_declared_counts(tmp_path: Path) -> None:
    bench = CachedBench(tmp_path)

    def workflow(of_task: str, of_flow: str) -> Workflow:
        return flow({"a": {**COMPILE, "env": {"CC": of_task}}}, env={"LANG": of_flow})

    bench.again(workflow("gcc", "C"))
    assert bench.again(workflow("gcc", "C"))[1] == []
    assert bench.again(workflow("clang", "C"))[1] == ["cc"]
    seen, ran = bench.again(workflow("clang", "de"))
    assert (ran, seen.rows["a"].reason) == (["cc"], 'variable LANG changed from "C" to "de"')


def test_placeholders_stand_for_themselves_in_inputs_and_outputs(tmp_path: Path) -> None:
    def make(command: Command) -> None:
        bench.write(f"{command.argv[-1].split()[-1]}.o", "made")

    bench = CachedBench(tmp_path, on_command=make)
    matrix = {"f": ("x", "a*")}
    task = {"argv": ("cc", "{{.f}}"), "cache": True, "matrix": matrix}
    workflow = flow({"a": {**task, "inputs": ("{{.f}}.c",), "outputs": ("{{.f}}.o",)}})
    for name in ("x", "a*", "ab"):
        bench.write(f"{name}.c", name)
    bench.again(workflow)
    entries = [bench.cache.entry(key) for key in bench.cache.entries]
    assert sorted((*e.account.inputs, *(o.path for o in e.outputs)) for e in entries if e) == [
        ("a*.c", "a*.o"),
        ("x.c", "x.o"),
    ]
    bench.write("ab.c", "other")
    assert bench.again(workflow)[1] == []
    bench.write("a*.c", "other")
    assert len(bench.again(workflow)[1]) == 1


@pytest.mark.parametrize("fault", ["template", "taken", "secret"])
def test_what_is_wrong_with_a_spared_task_is_found_by_its_attempt(tmp_path: Path, fault: str) -> None:
    bench = CachedBench(tmp_path, {"cc": prints("1.2")}, environ={"TOKEN": "tok-1.2"})
    bench.again(flow({"a": {**COMPILE, "register": "version"}}))
    inputs = ("{{.nothing}}",) if fault == "template" else ("a.c",)
    task = {**COMPILE, "register": "version", "inputs": inputs}
    if fault == "taken":
        seen, _ = bench.again(flow({"b": {"register": "version"}, "a": {**task, "needs": "b"}}))
        assert "already set" in seen.failure("a").message
    elif fault == "template":
        seen, _ = bench.again(flow({"a": task}))
        assert seen.failure("a").code == "E_TEMPLATE"
    else:
        bench.scripts["cc2"] = prints("tok-1.2")
        seen, _ = bench.again(flow({"a": {**task, "cmd": "cc2"}}, secrets=("TOKEN",)))
        assert seen.failure("a").code == "E_SECRET"
        assert not any(b"tok-1.2" in data for data in bench.cache.entries.values())


def test_values_of_functions_are_replayed(tmp_path: Path) -> None:
    bench = CachedBench(tmp_path)
    calls: list[str] = []

    async def work(session: Session, task: Task) -> Result:
        calls.append(task.id)
        return Result(value={"rows": 3}, variables={"n": "3"})

    bench.functions.by_name["work"] = work
    workflow = flow(
        {"a": {"executor": "call.work", "cache": True}, "b": {"cmd": "use {{.a.n}}", "needs": "a"}}
    )
    for _ in range(2):
        seen, ran = bench.again(workflow)
        assert (seen.rows["a"].value, ran) == ({"rows": 3}, ["use '3'"])
    assert calls == ["a"]


@pytest.mark.parametrize("no_cache", [False, True])
def test_what_a_cached_task_asks_for_is_cached_unless_it_says_no(tmp_path: Path, no_cache: bool) -> None:
    bench = CachedBench(tmp_path)
    calls: list[str] = []

    async def work(session: Session, task: Task) -> Result:
        calls.append(task.id)
        more = Task(id=TaskId("more"), executor="shell", args={"cmd": "more"}, cache=CacheUse.OFF)
        leaf = Task(id=TaskId("leaf"), executor="call.leaf", args={"n": 1})
        return Result(value=1, followups=(more, leaf))

    async def leaf(session: Session, task: Task) -> Result:
        calls.append(task.id)
        return Result(value=task.args["n"])

    bench.functions.by_name |= {"work": work, "leaf": leaf}
    workflow = flow({"a": {"executor": "call.work", "cache": True, "cleanup": ("undo",)}, "b": "a"})
    first, ran = bench.again(workflow)
    assert (ran, calls) == (["more", "b", "undo"], ["a", "a.leaf"])
    assert (first.rows["a"].reason, first.rows["a.leaf"].reason) == ("not in the cache", "not in the cache")
    again, ran = bench.again(workflow, no_cache=no_cache)
    assert ran == ["more", "b", "undo"], "what wants no cache runs, and is taken down too"
    assert calls[2:] == (["a", "a.leaf"] if no_cache else [])
    assert end(again, "a").spared is end(again, "a.leaf").spared is not no_cache
    assert again.rows["a.more"].reason == "", "nothing was decided about it"
    assert (again.rows["a"].value, again.rows["a.leaf"].value, again.rows["a"].attempts) == (1, 1, 1)
    assert {row.id: row.state for row in again.rows.values()} == dict.fromkeys(
        ["a", "b", "a.more", "a.leaf", "a.cleanup"], SUCCEEDED
    )
    assert len(bench.cache.entries) == 2


def test_what_an_uncached_task_asks_for_is_not_cached(tmp_path: Path) -> None:
    bench = CachedBench(tmp_path)

    async def work(session: Session, task: Task) -> Result:
        return Result(followups=(Task(id=TaskId("more"), executor="shell", args={"cmd": "more"}),))

    bench.functions.by_name["work"] = work
    workflow = flow({"a": {"executor": "call.work"}, "b": {"cache": True}})
    assert bench.again(workflow)[1] == ["more", "b"]
    assert bench.again(workflow)[1] == ["more"]


def test_items_are_cached_each_by_itself(tmp_path: Path) -> None:
    bench = CachedBench(tmp_path)

    def mapped(items: str) -> Workflow:
        return flow({"a": {"cmd": "cc {{.item}}", "for_each": items, "cache": True, "register": "made"}})

    first, ran = bench.again(mapped("x\ny"))
    assert ran == ["cc 'x'", "cc 'y'"]
    assert first.rows["a.0"].reason == "not in the cache"
    again, ran = bench.again(mapped("x\ny"))
    assert (ran, again.rows["a"].value) == ([], first.rows["a"].value)
    assert (end(again, "a.1").spared, again.rows["a.1"].reason) == (True, "up to date")
    _, ran = bench.again(mapped("x\nz"))
    assert ran == ["cc 'z'"], "only the item that has changed"
    _, ran = bench.again(mapped("x\nz"), no_cache=True)
    assert ran == ["cc 'x'", "cc 'z'"]


def test_a_task_that_had_no_items_before_is_not_taken_for_them(tmp_path: Path) -> None:
    bench = CachedBench(tmp_path)
    alone = {"cmd": "cc all", "cache": True}
    assert bench.again(flow({"a": alone}))[1] == ["cc all"]
    mapped, ran = bench.again(flow({"a": {**alone, "for_each": "x\ny"}}))
    assert {"a.0", "a.1"} <= mapped.rows.keys(), "it has items, though its command was cached without them"
    assert ran == [], "what items do is the same, and so is its key"


CASES: list[tuple[dict[str, Any], Callable[[str], bool]]] = [
    ({"pre": ("x",)}, lambda text: '"pre" would run without it' in text),
    ({"post": ("x",)}, lambda text: '"post" would run without it' in text),
    ({"for_each": "x", "outputs": ("out",)}, lambda text: "the output of every item" in text),
    ({"type": TaskType.FORENSIC}, lambda text: "can't be cached" in text),
    (
        {"cmd": None, "executor": "python", "args": {"function": "m:f", "pickle": True}},
        lambda text: "a cache can't replay what is pickled" in text,
    ),
    ({"outputs": ("../x",)}, lambda text: "leads out of" in text),
    ({"outputs": ("/x",)}, lambda text: "is absolute" in text),
    ({"outputs": ("",)}, lambda text: "is empty" in text),
    ({"inputs": ("{{.nope}}",)}, lambda text: "nope" in text),
    ({"outputs": ("{{.nope}}",)}, lambda text: "nope" in text),
]


@pytest.mark.parametrize(("fields", "is_told"), CASES)
def test_faults_of_cached_tasks_are_found_by_the_check(
    fields: dict[str, Any], is_told: Callable[[str], bool]
) -> None:
    workflow = flow({"a": {**COMPILE, **fields}, "b": {}})
    assert any(is_told(problem.message) for problem in check_workflow(workflow))


def test_advice() -> None:
    told = [one.message for one in warnings(flow({"a": {"cache": True}}))]
    assert [text.partition(",")[0] for text in told] == [
        'task "a" is cached without inputs',
        'task "a" is cached without outputs',
    ]
    good = {"cache": True, "inputs": ("a",)}
    function = {**good, "cmd": None, "executor": "python", "args": {"function": "m:f"}}
    assert (
        warnings(flow({"a": {**good, "outputs": ("b",)}, "b": {**good, "register": "c"}, "c": function}))
        == []
    )
