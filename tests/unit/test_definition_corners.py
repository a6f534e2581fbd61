"""Corners of reading definitions that no file of the corpus reaches."""

from typing import Annotated, Any, Literal

import pytest
from msgspec import Meta, Struct

from runwright.core.condition import LONGEST, parse
from runwright.core.document import decode_workflow
from runwright.core.errors import DefinitionError
from runwright.core.shape import mend
from runwright.core.variables import compile_shell, fill, fill_shell


def faults(tasks: dict[str, Any], **top: Any) -> list[str]:
    with pytest.raises(DefinitionError) as caught:
        decode_workflow({"tasks": tasks, **top}, default_name="flow", executor_args={"free": None})
    return [problem.message for problem in caught.value.problems]


def test_fields_of_the_workflow() -> None:
    task = {"a": {"cmd": "true", "max_log_bytes": 0}}
    assert faults(task, variables={"x": "\0"}, max_log_bytes=0) == [
        "a variable can't hold a NUL",
        '"max_log_bytes" must be at least 1',
        '"max_log_bytes" must be at least 1',
    ]


def test_what_a_task_reads_of_itself_and_of_others() -> None:
    matrix = {"db": ["p", "q"]}
    tasks = {
        "a": {"cmd": "true", "register": "out"},
        "m": {"cmd": "echo {{.m[db=p].db}} {{.m[db=p].x}}", "matrix": matrix},
        "b": {"cmd": "echo {{.a.out}}", "depends_on": ["a"]},
        "free": {"executor": "free"},
        "h": {"cmd": "true", "type": "forensic", "depends_on": ["g", "h"]},
        "g": {"cmd": "true", "type": "forensic"},
    }
    assert faults(tasks) == ['task "m" reads its own result', '"out" of task "a" is read by its plain name']


class Inner(Struct, forbid_unknown_fields=True):
    on: bool = False
    kind: Literal["a", "b"] = "a"


class Outer(Struct, forbid_unknown_fields=True):
    either: "Inner | str | None"
    count: int = 0
    many: "dict[str, int]" = {}


def test_data_is_mended_and_every_fault_named() -> None:
    mended = mend({"either": {"on": "no", "kind": "c"}, "cuont": "x", "many": {"k": None}}, Outer)
    assert mended.value == {"either": {}, "many": {}}
    assert [problem.message for problem in mended.problems] == [
        '"on" must be true or false, not a string',
        '"kind" must be "a" or "b", not "c"',
        'unknown key "cuont"',
        '"cuont" must be an integer, not a string',
        '"k" must be an integer, not null',
    ]
    assert mended.problems[0].suggestion == "write false without quotes"
    assert ("count",) in mended.broken
    (missing,) = mend({}, Outer).problems
    assert (missing.message, missing.suggestion) == (
        'the file needs "either"',
        "add either = ... (a table or a string)",
    )
    assert mend({"either": None}, Outer).problems == []
    assert mend({"either": {"kind": "b"}}, Outer).problems == []
    whole = mend(5, Outer)
    assert (whole.value, whole.problems[0].message) == ({}, "the file must be a table, not an integer")


class Odd(Struct):
    raw: bytes
    size: Annotated[int, Meta(ge=1)] | None = None


def test_types_that_no_file_has_are_left_to_the_record_itself() -> None:
    assert mend({}, Odd).problems[0].suggestion == "add raw = ... (a value)"
    assert mend({"raw": b"", "size": 1}, Odd).problems == []
    assert ">= 1" in mend({"raw": b"", "size": 0}, Odd).problems[0].message


def test_suggestions_come_to_an_end() -> None:
    tasks = {f"t{i}": {"cmd": "echo {{.nmae}}"} for i in range(150)}
    with pytest.raises(DefinitionError) as caught:
        decode_workflow({"tasks": tasks, "variables": {"name": "x"}}, default_name="flow")
    near = [problem for problem in caught.value.problems if problem.suggestion == 'did you mean "name"?']
    assert (len(near), len(caught.value.problems)) == (100, 150)


def test_a_condition_has_a_longest_length() -> None:
    with pytest.raises(DefinitionError, match="may have"):
        parse("x" * (LONGEST + 1))


@pytest.mark.parametrize("value", ["a\0b", "\ud800", "x\udcffy"])
def test_what_no_argument_can_hold_is_refused(value: str) -> None:
    for use in (fill, fill_shell):
        with pytest.raises(DefinitionError, match=r"NUL|UTF-8"):
            use("echo {{.x}}", {"x": value}.__getitem__)
    assert fill("{{.x}}", {"x": "é"}.__getitem__) == "é"


@pytest.mark.parametrize(
    ("cmd", "filled"),
    [
        ('echo "${{.x}}"', 'echo "$"\'v\'""'),
        ('case "$y" in a) {{.x}};; esac', "case \"$y\" in a) 'v';; esac"),
        ("echo 'a' {{.x}} # it's", "echo 'a' 'v' # it's"),
    ],
)
def test_more_places(cmd: str, filled: str) -> None:
    assert fill_shell(cmd, {"x": "v"}.__getitem__) == filled


@pytest.mark.parametrize(
    ("cmd", "message"),
    [
        ("echo $(( {{.x}}", "never closed"),
        ("echo $(( ${y#))} + (1) ) {{.x}}", "it can't be told"),
    ],
)
def test_more_refusals(cmd: str, message: str) -> None:
    with pytest.raises(DefinitionError, match=message):
        compile_shell(cmd)
