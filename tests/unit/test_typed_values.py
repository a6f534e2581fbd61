"""Values that reach functions as they are: placeholders that stand alone, stored values, and what a resume finds."""

from datetime import UTC, datetime
from typing import Any

import pytest
from engine_bench import Bench, flow

from runwright.core.body import fill_data, fill_typed
from runwright.core.errors import Failure, TaskFailed
from runwright.core.options import RunOptions
from runwright.core.redact import Redactor
from runwright.core.run import TaskRow
from runwright.core.runvars import RunVariables, Scope
from runwright.core.states import TaskState
from runwright.core.task import Result, Task, replace
from runwright.core.values import STORED, Form, StoredValue, stored_value
from runwright.core.variables import escaped, fill, sole_reference
from runwright.core.workflow import Workflow
from runwright.ports.executor import Session

AT = datetime(2026, 1, 1, tzinfo=UTC)
ELSEWHERE = StoredValue(digest="0" * 64, size_bytes=70_000, form=Form.JSON)


def scope(given: dict[str, str] | None = None, own: dict[str, str] | None = None, **values: Any) -> Scope:
    variables = RunVariables({"plain": "text"}, given or {})
    for task, value in values.items():
        variables.set(task, {f"{task}.value": f"text of {task}"})
        variables.set_value(task, value)
    return variables.seen_by("me", own or {})


@pytest.mark.parametrize(
    ("text", "name"),
    [
        ("{{.a.value}}", "a.value"),
        ("{{.a[y=1,x=2].value}}", "a[x=2,y=1].value"),
        (" {{.a.value}}", None),
        ("{{.a.value}} ", None),
        ("{{!.a.value}}", None),
        ("{{.a}}{{.b}}", None),
        ("", None),
    ],
)
def test_a_placeholder_that_stands_alone(text: str, name: str | None) -> None:
    found = sole_reference(text)
    assert (found and found.name) == name


@pytest.mark.parametrize(
    "text", ["", "a", "{{.a}}", "{{!.a}} {{.b!raw}}", "{{!!.a}}", "{{ .a }}", "{{.a}}}}"]
)
def test_escaped_text_is_itself_when_filled_in(text: str) -> None:
    assert fill(escaped(text), {}.__getitem__) == text


@pytest.mark.parametrize("value", [None, True, 5, 1.5, "x\0y", [1, [2]], {"a": {"b": None}}])
def test_a_value_keeps_its_type_where_it_stands_alone(value: Any) -> None:
    seen = scope(a=value)
    data = {"x": "{{.a.value}}", "y": ["{{.a.value}}", "<{{.a.value}}>", "{{!.a.value}}", "{{.plain}}", 7]}
    assert fill_typed(data, seen) == {"x": value, "y": [value, "<text of a>", "{{.a.value}}", "text", 7]}
    assert fill_data("{{.a.value}}", seen) == "text of a"


def test_a_value_is_the_readers_own() -> None:
    seen = scope(a={"rows": [1]})
    fill_typed("{{.a.value}}", seen)["rows"].append(2)
    assert fill_typed("{{.a.value}}", seen) == {"rows": [1]}


def test_what_comes_from_outside_or_is_its_own_wins() -> None:
    assert fill_typed("{{.a.value}}", scope({"a.value": "given"}, a=5)) == "given"
    assert fill_typed("{{.a.value}}", scope(None, {"a.value": "own"}, a=5)) == "own"


def test_a_stored_value_is_no_text() -> None:
    variables = RunVariables({}, {})
    variables.set_value("a", ELSEWHERE.recorded())
    seen = variables.seen_by("me", {})
    assert fill_typed("{{.a.value}}", seen) == ELSEWHERE.recorded()
    with pytest.raises(TaskFailed, match=r'"a.value" is a stored value of 70000 bytes \(json\)') as caught:
        fill("{{.a.value}}", seen)
    assert caught.value.failure.code == "E_VALUE"


def test_values_that_stand_are_restored() -> None:
    variables = RunVariables({}, {})
    row = TaskRow(id="a", key="a", name="a", state=TaskState.SUCCEEDED, value=[1])
    variables.restore_values([row, replace(row, id="b")], GIVE_AND_TAKE.tasks, {"a"})
    seen = variables.seen_by("me", {})
    assert (seen.has_typed("a.value"), seen.has_typed("b.value")) == (True, False)
    assert fill_typed("{{.a.value}}", seen) == [1]


@pytest.mark.parametrize(
    "value",
    [None, 5, {}, {STORED: 1}, {STORED: {"digest": "0"}}, {**ELSEWHERE.recorded(), "more": 1}],
)
def test_other_data_are_no_stored_value(value: Any) -> None:
    assert stored_value(value) is None


def test_a_stored_value_is_plain_data() -> None:
    assert stored_value(ELSEWHERE.recorded()) == ELSEWHERE


def test_secrets_are_found_in_bytes() -> None:
    assert Redactor(["hush-hush"]).finds_in(b"\x80\x05hush-hush.")
    assert not Redactor(["hush-hush"]).finds_in(b"\x80\x05hush.")


class Typed:
    """An engine whose executor `call` takes values as they are; its functions answer, and keep what they were given."""

    def __init__(self) -> None:
        self.bench = Bench()
        self.given: dict[str, Any] = {}
        self.answers: dict[str, Any] = {}
        for name in ("give", "take"):
            self.bench.functions.by_name[name] = self.called
        self.broken: set[str] = set()

    async def called(self, session: Session, task: Task) -> Result:
        del session
        if task.id in self.broken:
            raise TaskFailed(Failure(code="E_BROKEN", message="broken"))
        self.given[task.id] = dict(task.args)
        return Result(value=self.answers.get(task.id))

    def run(self, workflow: Workflow, run_id: str = "") -> str:
        engine = self.bench.engine(with_values=frozenset({"call.give", "call.take"}))
        if run_id:
            return self.bench.run(engine.resume(run_id, RunOptions(), None)).id
        return self.bench.run(engine.execute(workflow, RunOptions())).id


GIVE_AND_TAKE = flow(
    {
        "a": {"executor": "call.give"},
        "n": {"executor": "call.give"},
        "b": {
            "needs": "a n",
            "executor": "call.take",
            "args": {"rows": "{{.a.value}}", "none": ["{{.n.value}}"]},
        },
    }
)


def test_values_flow_between_functions_and_a_resume_finds_them_the_same() -> None:
    typed = Typed()
    typed.answers["a"] = {"rows": (1, 2.5, None)}
    typed.broken = {"b"}
    run_id = typed.run(GIVE_AND_TAKE)
    typed.broken = set()
    assert typed.given.pop("a") == {}
    typed.run(GIVE_AND_TAKE, run_id)
    assert typed.given == {"n": {}, "b": {"rows": {"rows": [1, 2.5, None]}, "none": [None]}}
    typed.given.clear()
    typed.run(GIVE_AND_TAKE)
    assert typed.given["b"] == {"rows": {"rows": [1, 2.5, None]}, "none": [None]}, "and in one go too"


def test_a_value_that_is_stored_sets_no_variable_and_can_not_be_registered() -> None:
    typed = Typed()
    typed.answers["a"] = ELSEWHERE.recorded()
    tasks = {
        "a": {"executor": "call.give"},
        "b": {"needs": "a", "executor": "call.take", "args": {"rows": "{{.a.value}}"}},
        "c": {"needs": "b", "executor": "call.give", "register": "v"},
    }
    typed.answers["c"] = ELSEWHERE.recorded()
    run_id = typed.run(flow(tasks))
    seen = typed.bench.run(typed.bench.see(run_id))
    assert typed.given["b"] == {"rows": ELSEWHERE.recorded()}
    assert seen.variables == {}
    assert seen.failure("c").code == "E_VALUE"
    assert 'can\'t be registered as "v"' in seen.failure("c").message


def test_values_of_items_are_a_list_and_one_that_is_left_out_is_not_taken_for_none() -> None:
    typed = Typed()
    take = {"needs": "a", "executor": "call.take", "args": {"rows": "{{.a.value}}"}}
    workflow = flow({"a": {"executor": "call.give", "for_each": "x\ny\nz"}, "b": take})
    typed.answers = {"a.0": [1], "a.1": {"k": 2.0}, "a.2": ELSEWHERE.recorded()}
    typed.broken = {"b"}
    run_id = typed.run(workflow)
    typed.broken = set()
    typed.run(workflow, run_id)
    assert typed.given["b"] == {"rows": [[1], {"k": 2.0}, ELSEWHERE.recorded()]}
    typed.given.clear()
    typed.answers = dict.fromkeys(("a.0", "a.1"), "x" * 40_000)
    run_id = typed.run(workflow)
    for _ in range(2):
        seen = typed.bench.run(typed.bench.see(run_id))
        assert seen.failure("b").code == "E_TEMPLATE"
        typed.run(workflow, run_id)
    assert "b" not in typed.given
