"""Goal files and the lines in which a command asks for actions."""

import json
from pathlib import Path
from typing import Any

import pytest

from runwright.adapters.toml import load_goal
from runwright.core.advice import goal_warnings
from runwright.core.errors import DefinitionError, Problem
from runwright.core.goal import ActionDefinition, GoalDefinition, GoalOptions
from runwright.core.goal_document import MOST_COUNT, MOST_LINES, MOST_SUGGESTIONS, decode_actions, decode_goal

WHOLE = """
name = "tree"
description = "A directory like its manifest"
tags = ["nightly"]
secrets = ["TOKEN"]
kill_grace = "5s"
max_log_bytes = "1MiB"
working_dir = "{{.root}}"
plan = ["cd {{.root}}", "./needed.sh '{{.root}}' {{.region}}"]
sleep_between_runs = "2s"
longest_sleep = "5m"
errors_to_tolerate = 0
execution_timeout = 0
workers = 4
oscillation_limit = 3

[env]
ROOT = "{{.root}}"

[variables]
root = "out"
"""


def decode(given: tuple[str, ...] = (), **data: Any) -> GoalDefinition:
    return decode_goal({"plan": "true", **data}, default_name="goal", given=given)


def messages(**data: Any) -> list[str]:
    with pytest.raises(DefinitionError) as caught:
        decode(**data)
    return [problem.message for problem in caught.value.problems]


def test_every_key_arrives(tmp_path: Path) -> None:
    path = tmp_path / "tree.toml"
    path.write_text(WHOLE)
    loaded = load_goal(path, given=["region"])
    assert loaded.source_text == WHOLE
    assert loaded.warnings == ()
    assert loaded.definition == GoalDefinition(
        name="tree",
        description="A directory like its manifest",
        tags=("nightly",),
        secrets=("TOKEN",),
        kill_grace=5.0,
        max_log_bytes=1 << 20,
        working_dir="{{.root}}",
        plan=("cd {{.root}}", "./needed.sh '{{.root}}' {{.region}}"),
        options=GoalOptions(
            sleep_between_runs=2.0,
            longest_sleep=300.0,
            errors_to_tolerate=0,
            execution_timeout=0.0,
            workers=4,
            oscillation_limit=3,
        ),
        env={"ROOT": "{{.root}}"},
        variables={"root": "out"},
    )


def test_what_a_file_leaves_out_has_the_defaults_of_the_records() -> None:
    assert decode() == GoalDefinition(name="goal", plan=("true",))
    assert decode(name="").name == "goal"


def test_a_variable_comes_from_the_file_or_from_outside() -> None:
    assert decode(given=("x",), plan="echo {{.x}}").plan == ("echo {{.x}}",)
    assert messages(plan="echo {{.x}}", env={"A": "{{.y}}"}, working_dir="{{.z}}") == [
        'nothing sets "x"',
        'nothing sets "y"',
        'nothing sets "z"',
    ]
    assert messages(plan="echo {{.x}}", secrets=["x"]) == ['"x" is a secret, and those can\'t be filled in']


def test_what_is_reported_already_has_no_consequences() -> None:
    assert messages(plan=5) == ['"plan" must be a string or an array, not an integer']
    assert messages(plan="echo {{.x}}", variables={"x": 5}) == ['"x" must be a string, not an integer']


@pytest.mark.parametrize("name", ["errors_to_tolerate", "workers", "oscillation_limit"])
def test_numbers_have_bounds(name: str) -> None:
    least = 1 if name == "workers" else 0
    assert getattr(decode(**{name: least}).options, name) == least
    assert getattr(decode(**{name: MOST_COUNT}).options, name) == MOST_COUNT
    for value in (least - 1, MOST_COUNT + 1):
        assert messages(**{name: value}) == [f'"{name}" must be from {least} to {MOST_COUNT}']


def test_suggestions_end_before_they_cost_seconds() -> None:
    plan = " ".join(f"{{{{.rottenest{number}}}}}" for number in range(MOST_SUGGESTIONS + 1))
    with pytest.raises(DefinitionError) as caught:
        decode(plan=plan, variables={"rottenest": "x"})
    *others, last = (problem.suggestion for problem in caught.value.problems)
    assert set(others) == {'did you mean "rottenest"?'}
    assert last.startswith("give it with --var")


def test_warnings() -> None:
    goal = decode(plan="sh -c 'ls {{.x}}'", variables={"x": "1"}, sleep_between_runs=5, longest_sleep=4)
    assert [(found.message, found.path) for found in goal_warnings(goal, "other")] == [
        ('the goal is named "goal", its file "other"', ("name",)),
        ("longest_sleep is shorter than sleep_between_runs, so it means nothing", ("longest_sleep",)),
        ("the goal gives a value to a second shell, which reads it again as code", ("plan", 0)),
    ]
    assert goal_warnings(decode()) == []


# -- actions ----------------------------------------------------------------------------------------------------


def lines(*actions: Any) -> str:
    return "".join(json.dumps(action) + "\n" for action in actions)


def refused(text: str) -> tuple[Problem, ...]:
    with pytest.raises(DefinitionError) as caught:
        decode_actions(text)
    assert all(problem.suggestion for problem in caught.value.problems)
    return caught.value.problems


def test_actions_are_read_line_by_line() -> None:
    whole = {
        "name": "make x",
        "perform": ["mkdir x", "touch x/y"],
        "pre": "true",
        "post": ["true", "false"],
        "env": {"A": "1"},
        "timeout": "1m",
    }
    assert decode_actions("\n" + lines(whole) + "  \r\n" + lines({"name": "b", "perform": "c"})) == [
        ActionDefinition(
            name="make x",
            perform=("mkdir x", "touch x/y"),
            pre=("true",),
            post=("true", "false"),
            env={"A": "1"},
            timeout=60.0,
        ),
        ActionDefinition(name="b", perform=("c",)),
    ]


@pytest.mark.parametrize("text", ["", "\n", "\r\n \t\n"])
def test_nothing_printed_is_nothing_needed(text: str) -> None:
    assert decode_actions(text) == []


def test_lines_may_end_as_on_other_systems_and_hold_odd_characters() -> None:
    (action,) = decode_actions('{"name": "a\u2028b", "perform": "c"}\r\n')
    assert action.name == "a\u2028b"


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("mkdir x", "line 2: it is not JSON (JSON is malformed: invalid character (byte 0))"),
        ('{"name": "a"', "line 2: it is not JSON (Input data was truncated)"),
        ("\udc80", "line 2: it is not JSON ('utf-8' codec can't encode character"),
        ("[" * 100_000, "line 2: it is not JSON (maximum recursion depth exceeded"),
        ("[]", "line 2: an action is a JSON object, not an array"),
        ('"a"', "line 2: an action is a JSON object, not a string"),
        ("null", "line 2: an action is a JSON object, not null"),
        ('{"perform": "x"}', 'line 2: an action needs a "name"'),
        ('{"name": " ", "perform": "x"}', 'line 2: an action needs a "name"'),
        ('{"name": "b\\u0000", "perform": "x"}', "line 2: a name can't hold a NUL"),
        ('{"name": "a", "perform": "x"}', 'line 2: the action "a" is asked for in line 1 already'),
        ('{"name": 5, "perform": "x"}', 'line 2: "name" must be a string, not an integer'),
        ('{"name": "b"}', 'line 2: an action needs "perform"'),
        ('{"name": "b", "perform": []}', 'line 2: an action needs "perform"'),
        ('{"name": "b", "perform": ""}', 'line 2: an element of "perform" is empty'),
        ('{"name": "b", "perform": 5}', 'line 2: "perform" must be a string or an array, not an integer'),
        ('{"name": "b", "perform": "x", "pre": "\\u0000"}', 'line 2: an element of "pre" holds a NUL'),
        ('{"name": "b", "perform": "x", "env": {"A=": "1"}}', 'line 2: "A=" can\'t be the name of an'),
        ('{"name": "b", "perform": "x", "env": {"LD_PRELOAD": "1"}}', 'line 2: "LD_PRELOAD" can\'t be set'),
        ('{"name": "b", "perform": "x", "timeout": "soon"}', "line 2: \"timeout\" can't be 'soon'"),
        ('{"name": "b", "perform": "x", "timeout": -1}', 'line 2: "timeout" can\'t be -1'),
        ('{"name": "b", "cmd": "x"}', 'line 2: unknown key "cmd"'),
        ('{"name": "b", "perform": "x", "colour": 1}', 'line 2: unknown key "colour"'),
    ],
)
def test_a_wrong_line_is_named(line: str, message: str) -> None:
    (problem,) = refused(lines({"name": "a", "perform": "x"}) + line)
    assert problem.message.startswith(message)
    assert (problem.line, problem.source_line) == (2, line)


def test_all_wrong_lines_are_named_and_a_name_is_taken_by_the_first() -> None:
    found = refused('{"name": "a"}\n{"name": "a", "perform": "x", "nmae": 1}\n\nrubbish\n')
    assert [problem.message.partition(":")[0] for problem in found] == [
        "line 1",
        "line 2",
        "line 2",
        "line 4",
    ]
    assert found[1].suggestion == 'did you mean "name"?'


def test_rubbish_without_end_is_counted() -> None:
    found = refused("rubbish\n" * (MOST_LINES + 5))
    assert len(found) == MOST_LINES
    assert found[-1].suggestion.endswith("; 5 more lines are wrong")
    assert len(refused("rubbish\n" * MOST_LINES)) == MOST_LINES
    assert "more lines" not in refused("rubbish\n" * MOST_LINES)[-1].suggestion
