"""Whatever is fed to the readers of definitions, they answer or raise `DefinitionError`."""

from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from runwright.adapters.toml import parse_workflow
from runwright.core.condition import Status, evaluate, parse
from runwright.core.document import decode_workflow
from runwright.core.duration import format_duration, parse_duration
from runwright.core.errors import DefinitionError
from runwright.core.suggest import closest
from runwright.core.workflow import Workflow

KEYS = st.sampled_from(
    [
        "tasks",
        "name",
        "cmd",
        "argv",
        "depends_on",
        "if",
        "matrix",
        "register",
        "env",
        "retries",
        "timeout",
        "type",
        "on_failure",
        "triggers",
        "executors",
        "executor",
        "args",
        "pre",
        "tags",
        "variables",
        "a",
        "b",
        "a[x=1]",
        "x",
    ]
)
TEXTS = st.one_of(
    st.text(max_size=20),
    KEYS,
    st.sampled_from(
        ["forensic", "{{.x}}", "{{.a.value}}", "a[x=1]", "{{.a[x=1].y}}", "x == 1", "5s", "true", "shell"]
    ),
)
LEAVES = st.one_of(st.none(), st.booleans(), st.integers(), st.floats(), TEXTS)
DATA = st.recursive(
    LEAVES,
    lambda inner: st.one_of(
        st.lists(inner, max_size=4), st.dictionaries(st.one_of(KEYS, TEXTS), inner, max_size=6)
    ),
    max_leaves=25,
)
TASKS = st.dictionaries(st.sampled_from(["a", "b", "c"]), st.dictionaries(KEYS, DATA, max_size=6), max_size=3)
LINES = st.sampled_from(
    [
        "[tasks.a]",
        "[tasks.b]",
        "[[triggers]]",
        'cmd = "x {{.y}}"',
        'cmd = """',
        "'''",
        'depends_on = ["a", "b"]',
        "]",
        "retries = 3",
        "[",
        "{",
        'env = { A = "1" }',
        "# note",
        'if = "x == 1"',
        'matrix.os = ["l", "m"]',
        "=",
        '"',
        "executors.x.y = 1",
        'register = "r"',
        "a.b.c = 2026-01-01",
        "\\",
        'name = "é"',
        "tasks = {",
    ]
)


def refusal(action: Any) -> DefinitionError | None:
    try:
        action()
    except DefinitionError as error:
        return error
    return None


@given(st.one_of(st.text(max_size=200), st.lists(LINES, max_size=14).map("\n".join)))
@settings(max_examples=400, deadline=None)
def test_any_text_is_a_workflow_or_has_placed_problems(text: str) -> None:
    error = refusal(lambda: parse_workflow(text, "fuzz"))
    for problem in error.problems if error else ():
        assert problem.line >= 1
        assert problem.column >= 1
        assert problem.message


@given(st.one_of(st.dictionaries(KEYS, DATA, max_size=8), TASKS.map(lambda tasks: {"tasks": tasks})))
@settings(max_examples=200, deadline=None)
def test_any_data_is_a_workflow_or_a_definition_error(data: dict[str, Any]) -> None:
    found: list[Workflow] = []
    error = refusal(
        lambda: found.append(decode_workflow(data, default_name="fuzz", executor_args={"shell": None}))
    )
    assert (error is None) == bool(found)


@given(
    st.one_of(
        st.text(max_size=60),
        st.lists(
            st.sampled_from(
                [
                    "a",
                    "==",
                    "!=",
                    "<",
                    ">=",
                    "and",
                    "or",
                    "not",
                    "(",
                    ")",
                    "'x'",
                    '"',
                    "1",
                    "-2.5",
                    "true",
                    "failed()",
                    "always",
                    "()",
                    "{{.a}}",
                    "{{!.a}}",
                    "&&",
                    "||",
                    "!",
                    "=",
                    "a[k=v].x",
                    "[",
                    "]",
                    "\n",
                    "é",
                ]
            ),
            max_size=14,
        ).map(" ".join),
    )
)
@settings(max_examples=500, deadline=None)
def test_any_condition_is_read_or_refused(text: str) -> None:
    error = refusal(lambda: evaluate(parse(text), lambda name: "1", Status(failed=True)))
    for problem in error.problems if error else ():
        assert problem.suggestion
        assert 0 <= (problem.offset or 0) <= len(text)


@given(st.integers(0, 10**9))
def test_a_duration_reads_back(milliseconds: int) -> None:
    assert round(parse_duration(format_duration(milliseconds / 1000)) * 1000) == milliseconds


@given(st.text(max_size=12), st.lists(st.text(max_size=12), max_size=6))
def test_a_suggestion_is_one_of_the_candidates(word: str, names: list[str]) -> None:
    assert closest(word, names) in {None, *names}
    assert word not in names or closest(word, names) is not None


def test_no_depth_or_length_is_too_much() -> None:
    assert refusal(lambda: parse("(" * 50_000)) is not None
    assert refusal(lambda: parse("x" * 70_000)) is not None
    assert refusal(lambda: parse("not " * 10_000)) is not None
    assert evaluate(parse("not " * 10_000 + "true"), lambda name: name) is True
    assert evaluate(parse(" and ".join(["a == 1"] * 5_000)), lambda name: "1") is True
    assert refusal(lambda: parse_workflow("x = " + "[" * 5_000, "deep")) is not None
