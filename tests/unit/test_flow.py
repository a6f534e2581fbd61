"""Workflows built in code: what calls make of the graph, and that the record is the one of a file."""

import asyncio
from pathlib import Path
from typing import Any

import pytest

from runwright import Engine, RunOptions, Workflow, load_workflow
from runwright.core.errors import DefinitionError, UsageError
from runwright.core.reference import Reference
from runwright.core.task import Result
from runwright.executors.inside import body, is_inside
from runwright.wiring.flow import Workflow as Flow

flow = Workflow("etl")


@flow.task(retries=2, retry_delay="1s", inputs=("rows/*.csv",), tags=("io",))
def extract(day: str, *, limit: int | None = None) -> list[int]:
    return [int(day[-2:]), limit or 0]


@flow.task
async def load(rows: list[int], into: str = "table") -> int:
    return sum(rows)


@flow.task(mode="thread", condition="succeeded()", pickle=True)
def report(*counts: int, **names: Any) -> str:
    return f"{counts} {names}"


load(extract(flow.param("day", "2026-01-02"), limit=5))

TWIN = """
name = "etl"
[variables]
day = "2026-01-02"
[tasks.extract]
executor = "python"
retries = 2
retry_delay = "1s"
inputs = ["rows/*.csv"]
tags = ["io"]
args = { function = "test_flow:extract", kwargs = { day = "{{.day}}", limit = 5 } }
[tasks.load]
executor = "python"
depends_on = ["extract"]
args = { function = "test_flow:load", kwargs = { rows = "{{.extract.value}}" } }
"""


whole = Workflow("whole")


@whole.task(pickle=True, mode="process")
def in_process(value: Any) -> Any:
    return Result(value=value, variables={"name": "p"})


@whole.task
async def in_loop(value: Any) -> Any:
    return Result(value=value, variables={"name": "l"})


@whole.task
async def size_of(value: Any, name: str) -> int:
    return len(value) + len(name)


for each in (in_process, in_loop):
    size_of(each("x" * 70_000), whole.text(f"{{{{.{each.function.__name__}.name}}}}"))


def not_plain() -> Any:
    return Result(value=[float("inf")])


def other_flow() -> tuple[Flow, Any, Any]:
    made = Workflow("other")

    @made.task
    def one(value: Any = None) -> Any:
        return value

    @made.task
    def two(*values: Any) -> Any:
        return values

    return made, one, two


def test_a_flow_equals_the_file_that_says_the_same(tmp_path: Path) -> None:
    (tmp_path / "twin.toml").write_text(TWIN)
    assert flow.definition == load_workflow(tmp_path / "twin.toml").workflow


def test_a_call_runs_nothing_and_returns_what_stands_for_the_value() -> None:
    made = Workflow("w")
    called = []
    one = made.task(lambda: called.append(1))
    found: Any = one.with_options(key="one")()
    assert isinstance(found, Reference)
    assert repr(found) == "<one.value, known when the workflow runs>"
    assert called == []


def test_keys_are_the_names_of_functions_with_numbers() -> None:
    made, one, two = other_flow()
    one(), one(), two(), one.with_options(key="one-4")(), one(), one()
    assert list(made.definition.tasks) == ["one", "one-2", "two", "one-4", "one-3", "one-5"]


def test_a_key_is_given_once() -> None:
    _, one, _ = other_flow()
    one.with_options(key="a")()
    with pytest.raises(UsageError, match='there is a task "a" already'):
        one.with_options(key="a")()


def test_references_stand_anywhere_in_arguments() -> None:
    made, one, two = other_flow()
    a, b = one(), one(1)
    two(a, {"deep": [b, (a, "x")]}, None, 1.5, True)
    task = made.definition.tasks["two"]
    assert task.depends_on == ("one", "one-2")
    assert task.args["args"] == [
        "{{.one.value}}",
        {"deep": ["{{.one-2.value}}", ["{{.one.value}}", "x"]]},
        None,
        1.5,
        True,
    ]


def test_texts_are_taken_as_they_are_unless_they_are_templates() -> None:
    made, one, _ = other_flow()
    one()
    one("{{.one.value}}")
    one(made.text("<{{.one.value}}> {{.day}}"))
    tasks = made.checked(["day"]).tasks
    assert tasks["one-2"].args["kwargs"] == {"value": "{{!.one.value}}"}
    assert tasks["one-2"].depends_on == ()
    assert tasks["one-3"].args["kwargs"] == {"value": "<{{.one.value}}> {{.day}}"}
    assert tasks["one-3"].depends_on == ("one",)


def test_arguments_that_only_go_by_position() -> None:
    made = Workflow("w")

    @made.task
    def f(a: int, /, b: int, *more: int, c: int = 0, **rest: int) -> None: ...

    f(1, 2), f(1, b=2, c=3, d=4), f(1, 2, 3, c=4)
    args = [task.args for task in made.definition.tasks.values()]
    assert [(one.get("args"), one.get("kwargs")) for one in args] == [
        ([1], {"b": 2}),
        ([1], {"b": 2, "c": 3, "d": 4}),
        ([1, 2, 3], {"c": 4}),
    ]


def test_order_without_values() -> None:
    made, one, two = other_flow()
    a, b = one(), one()
    two.after(a, [b])()
    c = one.with_options(key="c")()
    c.after(b)
    tasks = made.definition.tasks
    assert tasks["two"].depends_on == ("one", "one-2")
    assert tasks["c"].depends_on == ("one-2",)


def test_order_is_among_tasks_of_one_workflow() -> None:
    made, one, _ = other_flow()
    _, stranger, _ = other_flow()
    for other in (stranger(), made.param("x"), 5):
        with pytest.raises(UsageError, match="which is no call of a task of this workflow"):
            one.after(other)()
    with pytest.raises(UsageError, match=r"one-\d.value is of another workflow"):
        one(stranger())
    assert made._nodes == {}, "a call that failed leaves nothing"
    with pytest.raises(UsageError, match="it comes after nothing"):
        made.param("x").after(one())  # type: ignore[attr-defined]


def test_a_map_is_a_call_for_each_item() -> None:
    made, one, two = other_flow()
    two(one.map([1, 2, "x"]))
    two.with_options(key="t").map(["a", "b"], "c")
    tasks = made.definition.tasks
    assert tasks["two"].depends_on == ("one", "one-2", "one-3")
    assert tasks["one-3"].args["kwargs"] == {"value": "x"}
    assert tasks["t-2"].args["args"] == ["b", "c"]


def test_a_map_over_a_value_is_one_task_for_each_of_its_items() -> None:
    made, one, two = other_flow()
    two(one.with_options(pool=2, item_failures="ignore").map(one("x")))
    tasks = made.definition.tasks
    each = tasks["one-2"]
    assert (each.for_each, each.depends_on, each.pool) == ("{{.one.value}}", ("one",), 2)
    assert each.args["kwargs"] == {"value": "{{.item}}"}
    assert tasks["two"].depends_on == ("one-2",)


def test_items_are_values_as_they_are(tmp_path: Path) -> None:
    made = Workflow("m")

    @made.task
    async def listed() -> list[Any]:
        return [1, "two", {"three": [3]}, None, "4"]

    @made.task
    async def kind(item: Any, more: Any) -> list[Any]:
        return [type(item).__name__, item, more]

    @made.task
    async def gathered(all_of: list[Any]) -> list[Any]:
        return all_of

    gathered(kind.map(listed(), [0]))
    run, values = execute(made, tmp_path)
    assert run.state == "succeeded"
    assert values["gathered"] == [
        ["int", 1, [0]],
        ["str", "two", [0]],
        ["dict", {"three": [3]}, [0]],
        ["NoneType", None, [0]],
        ["str", "4", [0]],
    ]


def test_a_subflow_is_a_part_of_the_graph() -> None:
    made, one, two = other_flow()

    @made.subflow
    def both(value: Any) -> Any:
        return two(one(value), inner())

    @made.subflow
    def inner() -> Any:
        return one()

    one(both(1))
    both(2)
    tasks = made.definition.tasks
    assert list(tasks) == [
        "both-one",
        "both-inner-one",
        "both-two",
        "one",
        "both-2-one",
        "both-2-inner-one",
        "both-2-two",
    ]
    assert tasks["one"].depends_on == ("both-two",)
    assert tasks["both-2-two"].depends_on == ("both-2-one", "both-2-inner-one")


def test_parameters_are_variables() -> None:
    made, one, _ = other_flow()
    one(made.param("day"))
    made.param("hour", "1")
    made.param("hour", "1")
    assert made.definition.variables == {"hour": "1"}
    with pytest.raises(UsageError, match="has the default '1' already"):
        made.param("hour", "2")
    with pytest.raises(DefinitionError, match='nothing sets "day"') as caught:
        made.checked(())
    (problem,) = caught.value.problems
    assert problem.file == __file__
    assert problem.source_line.strip() == 'one(made.param("day"))'
    assert problem.suggestion.startswith("give it with --var day=")


def test_options_of_workflow_and_task_are_those_of_a_file() -> None:
    made = Workflow(
        "w", description="d", tags=("t",), env={"A": "1"}, executors={"quick": {"executor": "python"}}
    )

    @made.task(executor="quick", mode="thread", timeout="1m", condition="succeeded()")
    def f() -> None: ...

    f()
    f.with_options(timeout=5)()
    found = made.definition
    assert (found.description, found.tags, found.env) == ("d", ("t",), {"A": "1"})
    assert found.tasks["f"].executor == "quick"
    assert found.tasks["f"].args["mode"] == "thread"
    assert (found.tasks["f"].timeout, found.tasks["f-2"].timeout) == (60, 5)
    assert found.tasks["f"].condition == "succeeded()"
    assert repr(made) == "<workflow w, 2 tasks>"
    assert repr(f).endswith(".f>")


def test_all_faults_come_at_once_with_the_places_of_the_calls() -> None:
    made = Workflow("w")

    @made.task(retries=-1, executor="pyton", timeuot=5)  # type: ignore[call-overload, untyped-decorator]
    def f() -> None: ...

    f()
    with pytest.raises(DefinitionError) as caught:
        made.definition  # noqa: B018
    messages = [problem.message for problem in caught.value.problems]
    assert len(messages) == 3, messages
    assert {problem.file for problem in caught.value.problems} == {__file__}
    assert 'did you mean "timeout"?' in [problem.suggestion for problem in caught.value.problems]


def test_faults_of_the_workflow_itself_have_no_place() -> None:
    made = Workflow("w", on_failure="alert")
    made.task(print).with_options(key="f")()
    with pytest.raises(DefinitionError) as caught:
        made.definition  # noqa: B018
    assert [problem.line for problem in caught.value.problems] == [0]


def test_the_record_is_another_class() -> None:
    with pytest.raises(UsageError, match="are functions: decorate them") as caught:
        Workflow("w", tasks={})  # type: ignore[call-arg]
    assert "runwright.core.workflow.Workflow" in caught.value.problems[0].suggestion


def test_a_workflow_without_tasks_can_not_run() -> None:
    with pytest.raises(UsageError, match="workflow w has no task yet"):
        Workflow("w").definition  # noqa: B018


@pytest.mark.parametrize(
    ("value", "message"),
    [
        ({1}, "task one: value is a set, which a definition can't hold"),
        ([object()], r"task one: value\[0\] is a object"),
        ({"a": float("nan")}, r"task one: value\['a'\] is nan"),
        ({1: 2}, "task one: value has the name 1"),
    ],
)
def test_what_a_definition_can_not_hold_is_refused(value: Any, message: str) -> None:
    _, one, _ = other_flow()
    with pytest.raises(UsageError, match=message):
        one(value)


def test_a_call_that_the_function_does_not_take_is_refused_at_once() -> None:
    _, one, _ = other_flow()
    with pytest.raises(UsageError, match="task one can't be called so: too many positional"):
        one(1, 2)


@pytest.mark.parametrize(
    "look",
    [
        bool,
        iter,
        len,
        str,
        lambda value: value[0],
        "{}".format,
        lambda value: [*value],
        lambda value: f"{value}",
    ],
)
def test_what_is_not_known_yet_can_not_be_looked_into(look: Any) -> None:
    _, one, _ = other_flow()
    with pytest.raises(UsageError, match=r'"one.value" has no value while the workflow is built'):
        look(one())


def test_a_function_is_itself_for_other_uses() -> None:
    assert extract.function("01", limit=2) == [1, 2]
    assert extract.__name__ == "extract"  # type: ignore[attr-defined]
    assert asyncio.run(load.function([1, 2])) == 3


def test_a_function_made_in_another_one_has_no_process_of_its_own() -> None:
    with pytest.raises(UsageError, match="can't be found by another process"):
        Workflow("w").task(mode="process")(lambda: None)


def test_inside_a_task_calls_are_plain_calls() -> None:
    made, one, _ = other_flow()
    seen: list[Any] = []

    @made.subflow
    def part(value: int) -> Any:
        return one(value)

    def inside() -> None:
        seen.extend([one(5), one.map([1, 2]), part(7), is_inside()])

    async def inside_soon() -> None:
        inside()

    body(inside)()
    asyncio.run(body(inside_soon)())
    assert seen == [5, [1, 2], 7, True] * 2
    assert not is_inside()
    with pytest.raises(UsageError, match="has no task yet"):
        made.definition  # noqa: B018


def execute(made: Flow | str, path: Path, **options: Any) -> tuple[Any, dict[str, Any]]:
    async def scenario() -> tuple[Any, dict[str, Any]]:
        async with Engine(path / "runs.db", workers=2) as engine:
            run = await engine.execute(made, RunOptions(directory=str(path), **options))
            return run, {row.id: row.value for row in await engine.store.tasks(run.id)}

    return asyncio.run(scenario())


def test_functions_made_in_another_one_run_in_this_process(tmp_path: Path) -> None:
    made = Workflow("local")
    kept = []

    @made.task
    def one(value: int) -> dict[str, Any]:
        kept.append(value)
        return {"rows": [value, two.function(value)]}

    @made.task
    async def two(value: Any) -> Any:
        return [value, "x" * 70_000]

    @made.task
    async def three(value: Any, day: str) -> Any:
        return {"first": value[0], "size": len(value[1]), "day": day}

    @made.task
    def four(value: int) -> int:
        return value + 1

    three(two(four(1)), made.param("day"))
    run, values = execute(made, tmp_path, variables={"day": "today"})
    assert run.state == "succeeded", run.reason
    assert run.path == ""
    assert values["three"] == {"first": 2, "size": 70_000, "day": "today"}
    assert values["two"].keys() == {"$stored"}


def test_a_local_flow_is_continued_by_the_same_engine(tmp_path: Path) -> None:
    made = Workflow("local")
    calls: list[str] = []

    @made.task
    async def first() -> Any:
        calls.append("first")
        return [1]

    @made.task
    async def second(value: Any) -> Any:
        calls.append("second")
        if calls.count("second") == 1:
            raise ValueError("not yet")
        return value

    second(first())

    async def scenario() -> None:
        async with Engine(tmp_path / "runs.db") as engine:
            run = await engine.execute(made, RunOptions(directory=str(tmp_path)))
            assert run.state == "failed"
            assert (await engine.resume(run.id)).state == "succeeded"

    asyncio.run(scenario())
    assert calls == ["first", "second", "second"]


def test_a_run_of_a_module_is_found_again(tmp_path: Path) -> None:
    run, values = execute(flow, tmp_path)
    assert run.path == "test_flow:flow"
    assert run.state == "succeeded", run.reason
    assert values == {"extract": [2, 5], "load": 7}


def row_states(made: Flow, path: Path, **options: Any) -> dict[str, tuple[str, Any]]:
    async def scenario() -> dict[str, tuple[str, Any]]:
        async with Engine(path / "runs.db", workers=2) as engine:
            run = await engine.execute(made, RunOptions(directory=str(path), **options))
            return {row.id: (row.reason, row.value) for row in await engine.store.tasks(run.id)}

    return asyncio.run(scenario())


def test_a_cached_function_is_skipped_and_its_value_replayed(tmp_path: Path) -> None:
    made = Workflow("cached")
    calls: list[str] = []
    rows = {"n": [1, 2.0, None, True, {"deep": "é"}], "text": "1", "empty": {}}

    @made.task(cache=True, inputs=["rows.csv"], mode="thread")
    def extract(number: int) -> dict[str, Any]:
        calls.append("extract")
        return {**rows, "number": number}

    @made.task(cache=True, inputs=["rows.csv"])
    async def nothing() -> None:
        calls.append("nothing")

    @made.task
    async def load(rows: Any, none: Any) -> Any:
        calls.append("load")
        return [rows, none]

    load(extract(3), nothing())
    (tmp_path / "rows.csv").write_text("1")
    value = [{**rows, "number": 3}, None]
    for reason, ran in (
        ("not in the cache", ["extract", "load", "nothing"]),
        ("up to date", ["load"]),
        ("up to date", ["load"]),
    ):
        calls.clear()
        seen = row_states(made, tmp_path)
        assert (seen["extract"][0], seen["nothing"][0]) == (reason, reason)
        assert seen["load"][1] == value
        assert [type(one) for one in seen["load"][1][0]["n"]] == [int, float, type(None), bool, dict]
        assert sorted(calls) == ran
    (tmp_path / "rows.csv").write_text("2")
    assert row_states(made, tmp_path)["extract"] == ("input rows.csv changed", value[0])


def test_a_cached_function_of_a_process_is_skipped(tmp_path: Path) -> None:
    cached = Workflow("cached")
    task = cached.task(cache=True, inputs=["rows.csv"])(extract.function)
    (tmp_path / "rows.csv").write_text("1")
    load_again = cached.task(load.function)
    load_again(task("2026-01-02"))
    for reason in ("not in the cache", "up to date"):
        seen = row_states(cached, tmp_path)
        assert seen == {"extract": (reason, [2, 0]), "load": ("", 2)}
    seen = row_states(cached, tmp_path, no_cache=True)
    assert seen["extract"] == ("asked to run, whatever the cache holds", [2, 0])


def test_a_stored_value_is_an_argument_of_a_cached_function_but_never_its_value(tmp_path: Path) -> None:
    made = Workflow("large")
    sizes = [70_000]
    calls: list[int] = []

    @made.task
    async def large() -> str:
        return "x" * sizes[0]

    @made.task(cache=True)
    async def size(text: str) -> int:
        calls.append(len(text))
        return len(text)

    size(large())
    assert [row_states(made, tmp_path)["size"] for _ in range(2)] == [
        ("not in the cache", 70_000),
        ("up to date", 70_000),
    ]
    sizes[0] = 80_000
    assert row_states(made, tmp_path)["size"][1] == 80_000
    assert calls == [70_000, 80_000]

    refused = Workflow("refused")
    refused.task(cache=True)(large.function)()
    for _ in range(2):
        run, values = execute(refused, tmp_path)
        assert run.state == "failed"
        assert "80002 bytes (json) and is stored by digest, which a cache can't replay" in run.reason
        assert values == {"large": None}


def test_what_is_cached_can_not_be_pickled() -> None:
    made = Workflow("w")
    made.task(cache=True, pickle=True)(report.function)()
    with pytest.raises(DefinitionError) as caught:
        _ = made.definition
    (problem,) = caught.value.problems
    assert problem.path == ("tasks", "report", "args", "pickle")
    assert problem.message == 'task "report" is cached, and a cache can\'t replay what is pickled'
    assert problem.file == __file__


def test_whole_results_hold_values_that_are_kept_as_others(tmp_path: Path) -> None:
    run, values = execute(whole, tmp_path)
    assert run.state == "succeeded", run.reason
    assert values["in_process"] == values["in_loop"]
    assert values["in_process"].keys() == {"$stored"}
    assert values["size_of"] == values["size_of-2"] == 70_001


@pytest.mark.parametrize("mode", ["process", "thread"])
def test_values_of_whole_results_are_plain(tmp_path: Path, mode: Any) -> None:
    made = Workflow("w")
    made.task(mode=mode, pickle=True)(not_plain)()
    run, _ = execute(made, tmp_path)
    assert run.state == "failed"
    assert "inf has no form in JSON" in run.reason


def test_an_engine_finds_a_workflow_by_its_name(tmp_path: Path) -> None:
    run, values = execute("test_flow:flow", tmp_path, variables={"day": "2026-01-09"})
    assert run.path == "test_flow:flow"
    assert values["extract"] == [9, 5]


def test_values_flow_through_executors_that_are_based_on_functions(tmp_path: Path) -> None:
    made = Workflow("w", executors={"quick": {"executor": "python", "mode": "thread"}})

    @made.task(executor="quick")
    def one() -> list[int]:
        return [1, 2]

    @made.task(executor="quick")
    def two(rows: list[int]) -> int:
        return len(rows)

    two(one())
    run, values = execute(made, tmp_path)
    assert run.state == "succeeded", run.reason
    assert values["two"] == 2
