"""The variables of a run."""

from datetime import UTC, datetime
from typing import Any

import pytest

from runwright.core.errors import DefinitionError, TaskFailed
from runwright.core.run import Variable
from runwright.core.runvars import MAX_EXPORTED, VALUE_BYTES, RunVariables, named_values, value_text
from runwright.core.variables import fill
from runwright.core.workflow import TaskDefinition

NOW = datetime(2026, 1, 1, tzinfo=UTC)


def test_a_node_sees_its_own_then_its_task_s_then_the_run_s() -> None:
    variables = RunVariables({"os": "run", "x": "run", "y": "run"}, {})
    variables.set("a[os=linux]", {"a[os=linux].x": "task"})
    seen = variables.seen_by("a[os=linux]", {"os": "linux"})
    assert (seen("os"), seen("x"), seen("y")) == ("linux", "task", "run")
    with pytest.raises(KeyError, match="'z'"):
        seen("z")


def test_what_is_given_from_outside_wins() -> None:
    variables = RunVariables({"v": "default"}, {"v": "given"})
    variables.set("a", {"v": "registered", "w": "1"})
    seen = variables.seen_by("b", {})
    assert (seen("v"), seen("w"), variables.given) == ("given", "1", {"v": "given"})


def test_a_name_has_one_owner() -> None:
    variables = RunVariables({}, {})
    variables.set("a", {"v": "1"})
    variables.check("a", {"v": "2"})
    with pytest.raises(TaskFailed, match='"v" is already set by task "a"') as caught:
        variables.check("b", {"v": "2"})
    assert caught.value.failure.code == "E_VARIABLE"


@pytest.mark.parametrize("text", ["x" * VALUE_BYTES, "ä" * (VALUE_BYTES // 2), "\udc80" * (VALUE_BYTES // 3)])
def test_length_is_counted_in_bytes(text: str) -> None:
    variables = RunVariables({}, {})
    variables.check("a", {"v": text})
    with pytest.raises(TaskFailed, match=f"longer than {VALUE_BYTES} bytes") as caught:
        variables.check("a", {"v": text + "ää"})
    assert caught.value.failure.code == "E_VARIABLE"


def test_only_what_stands_is_restored() -> None:
    variables = RunVariables({}, {"given": "now"})
    stored = [
        Variable(name="kept", value="1", set_by="a", set_at=NOW),
        Variable(name="gone", value="2", set_by="b", set_at=NOW),
        Variable(name="given", value="before", set_by="a", set_at=NOW),
        Variable(name="outside", value="3", set_by="--var", set_at=NOW),
    ]
    variables.restore(stored, {"a"})
    seen = variables.seen_by("c", {})
    assert (seen("kept"), seen("given")) == ("1", "now")
    for name in ("gone", "outside"):
        with pytest.raises(KeyError):
            seen(name)
    variables.check("b", {"gone": "5"})
    with pytest.raises(TaskFailed):
        variables.check("b", {"kept": "5"})


def test_the_environment_shows_names_that_fit() -> None:
    variables = RunVariables({"version": "1", "a.b": "2", "größe": "3", "a-b": "4"}, {})
    assert variables.exported({"Os": "linux", "x y": "no"}) == {
        "RUNWRIGHT_VAR_version": "1",
        "RUNWRIGHT_VAR_VERSION": "1",
        "RUNWRIGHT_VAR_Os": "linux",
        "RUNWRIGHT_VAR_OS": "linux",
    }
    assert RunVariables({}, {}).exported({}) == {}


def test_the_environment_shows_the_newest_of_very_many() -> None:
    variables = RunVariables({f"v{n}": str(n) for n in range(MAX_EXPORTED + 10)}, {})
    shown = variables.exported({"own": "1"})
    assert len(shown) == 2 * MAX_EXPORTED
    assert shown["RUNWRIGHT_VAR_own"] == "1"
    assert "RUNWRIGHT_VAR_v10" not in shown
    assert f"RUNWRIGHT_VAR_v{MAX_EXPORTED + 9}" in shown


@pytest.mark.parametrize(
    ("value", "text"), [("a b", "a b"), (1, "1"), (True, "true"), ({"a": [None]}, '{"a":[null]}')]
)
def test_text_of_a_value(value: Any, text: str) -> None:
    assert value_text(value) == text


PLAIN = TaskDefinition(key="a", name="a", register="out")
MATRIX = TaskDefinition(key="a", name="a", register="out", matrix={"m": ("1",)})


@pytest.mark.parametrize(
    ("definition", "register", "value", "named"),
    [
        (PLAIN, "", None, {"a.N": "1"}),
        (PLAIN, "", 5, {"a.N": "1", "a.value": "5"}),
        (PLAIN, "out", "x", {"a.N": "1", "a.value": "x", "out": "x"}),
        (PLAIN, "out", None, {"a.N": "1", "out": ""}),
        (MATRIX, "out", "x", {"a.N": "1", "a.value": "x", "a.out": "x"}),
        (MATRIX, "out-1", "x", {"a.N": "1", "a.value": "x", "out-1": "x"}),
    ],
)
def test_names_of_what_a_node_sets(
    definition: TaskDefinition, register: str, value: Any, named: dict[str, str]
) -> None:
    assert named_values("a", definition, register, value, {"N": "1"}) == named


@pytest.mark.parametrize(
    ("name", "advice"),
    [
        ("a.count", 'did you mean "a.counts"?'),
        ("a.size", '"a" wrote a.counts, a.value'),
        ("c[os=b.c].size", '"c[os=b.c]" wrote c[os=b.c].digest'),
        ("b.size", 'append size=... to "$RUNWRIGHT_OUTPUT" in task "b", or give it with --var b.size=...'),
        ("plain", "give it with --var plain=..., or register it in a task before"),
        ("many.x", '"many" wrote ' + ", ".join(f"many.v{n:03}" for n in range(8)) + " and 12 more"),
    ],
)
def test_a_name_without_a_value_is_told_what_there_is(name: str, advice: str) -> None:
    variables = RunVariables({"env": "prod"}, {})
    variables.set("a", {"a.counts": "1", "a.value": "2"})
    variables.set("c[os=b.c]", {"c[os=b.c].digest": "3"})
    variables.set("many", {f"many.v{n:03}": "" for n in range(20)})
    with pytest.raises(DefinitionError) as caught:
        fill(f"x {{{{.{name}}}}}", variables.seen_by("z", {"os": "mac"}))
    assert caught.value.with_advice == f'undefined variable "{name}"; {advice}'


def test_the_environment_follows_what_is_set_and_keeps_the_newest() -> None:
    variables = RunVariables({"os": "old"}, {"given": "1"})
    variables.set("a", {"OS": "new", "given": "2", "a.value": "dotted"})
    assert variables.exported({}) == {
        "RUNWRIGHT_VAR_os": "old",
        "RUNWRIGHT_VAR_OS": "new",
        "RUNWRIGHT_VAR_given": "1",
        "RUNWRIGHT_VAR_GIVEN": "1",
    }
    for n in range(MAX_EXPORTED - 2):
        variables.set(f"t{n}", {f"v{n}": str(n)})
    shown = variables.exported({})
    assert "RUNWRIGHT_VAR_os" not in shown
    assert shown["RUNWRIGHT_VAR_OS"] == "new"
    variables.set("more", {"x": "1", "OS": "newest"})
    assert "RUNWRIGHT_VAR_given" not in variables.exported({})
    assert variables.exported({"os": "own"})["RUNWRIGHT_VAR_OS"] == "newest"
    assert "RUNWRIGHT_VAR_X" in variables.exported({})
    variables.set("again", {f"w{n}": "" for n in range(MAX_EXPORTED)})
    assert not {"RUNWRIGHT_VAR_OS", "RUNWRIGHT_VAR_X"} & variables.exported({}).keys()
