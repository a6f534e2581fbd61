"""Plan files: what comes of good ones, and the corners of bad ones that no file of the corpus reaches."""

from pathlib import Path
from typing import Any

import pytest

from runwright.adapters.toml import load_plan
from runwright.core.advice import plan_warnings
from runwright.core.errors import DefinitionError, Problem
from runwright.core.plan import Hook, PauseDefinition, PlanDefinition, StepDefinition
from runwright.core.plan_document import decode_plan

WHOLE = """
name = "provision"
description = "Make and take down"
tags = ["nightly"]
secrets = ["TOKEN"]
kill_grace = "5s"
max_log_bytes = "1MiB"
continue_on_error = true
limit_duration = "10m"
cleanup_timeout = "1m"

[env]
LANG = "C"

[state]
root = "out"
sizes = [1, 2.5, { deep = true }]

[[steps]]
name = "make"
description = "A directory"
pre_exec = "test ! -e '{{.root}}'"
exec = ["mkdir {{.root}}", "touch {{.root}}/x"]
post_exec = "test -d {{.not_known_yet}}"
cleanup = "rm -r {{.root}}"
retries = 2
retry_delay = "2s"
timeout = 30
env = { A = "{{.root}}" }
working_dir = "{{.root}}/.."

[[steps]]
pause = "1.5s"

[[steps]]
name = "look"
exec = "ls"
"""


def decode(*steps: dict[str, Any], **top: Any) -> PlanDefinition:
    return decode_plan({"steps": list(steps), **top}, default_name="plan")


def faults(*steps: Any, **top: Any) -> tuple[Problem, ...]:
    with pytest.raises(DefinitionError) as caught:
        decode_plan({"steps": list(steps), **top}, default_name="plan")
    return caught.value.problems


def messages(*steps: Any, **top: Any) -> list[str]:
    return [problem.message for problem in faults(*steps, **top)]


def test_every_key_arrives(tmp_path: Path) -> None:
    path = tmp_path / "provision.toml"
    path.write_text(WHOLE)
    loaded = load_plan(path)
    assert loaded.source_text == WHOLE
    assert loaded.path == path
    assert loaded.warnings == ()
    assert loaded.definition == PlanDefinition(
        name="provision",
        description="Make and take down",
        tags=("nightly",),
        secrets=("TOKEN",),
        kill_grace=5.0,
        max_log_bytes=1 << 20,
        continue_on_error=True,
        limit_duration=600.0,
        cleanup_timeout=60.0,
        env={"LANG": "C"},
        state={"root": "out", "sizes": [1, 2.5, {"deep": True}]},
        elements=(
            StepDefinition(
                name="make",
                description="A directory",
                hooks={
                    Hook.PRE_EXEC: ("test ! -e '{{.root}}'",),
                    Hook.EXEC: ("mkdir {{.root}}", "touch {{.root}}/x"),
                    Hook.POST_EXEC: ("test -d {{.not_known_yet}}",),
                    Hook.CLEANUP: ("rm -r {{.root}}",),
                },
                retries=2,
                retry_delay=2.0,
                timeout=30.0,
                env={"A": "{{.root}}"},
                working_dir="{{.root}}/..",
            ),
            PauseDefinition(name="pause-1", seconds=1.5),
            StepDefinition(name="look", hooks={Hook.EXEC: ("ls",)}),
        ),
    )


def test_what_a_file_leaves_out_has_the_defaults_of_the_records() -> None:
    plan = decode({"name": "a", "cleanup": "true"})
    assert plan == PlanDefinition(
        name="plan", elements=(StepDefinition(name="a", hooks={Hook.CLEANUP: ("true",)}),)
    )


def test_an_empty_name_is_none() -> None:
    assert decode({"pause": 1, "name": ""}, name="").elements == (
        PauseDefinition(name="pause-1", seconds=1.0),
    )
    assert decode({"pause": 1}, name="").name == "plan"


def test_a_hook_without_commands_is_none() -> None:
    (step,) = decode({"name": "a", "exec": "true", "cleanup": [], "pre_exec": []}).elements
    assert isinstance(step, StepDefinition)
    assert step.hooks == {Hook.EXEC: ("true",)}


def test_pauses_are_numbered_around_the_names_that_are_taken() -> None:
    plan = decode(
        {"name": "pause-1", "exec": "true"},
        {"pause": 1},
        {"pause": 1, "name": "rest"},
        {"pause": 1},
        {"pause": 1, "name": "pause-1-2"},
    )
    assert [element.name for element in plan.elements] == [
        "pause-1",
        "pause-1-3",
        "rest",
        "pause-3",
        "pause-1-2",
    ]


def test_all_faults_come_at_once_with_their_paths() -> None:
    found = faults(
        {"name": "a b", "exec": ["true", "echo '{{.x}}", ""], "retries": -1, "timeout": "soon"},
        {"pause": 0, "cleanup": "true"},
        {"exec": "true"},
        env={"A-B": "x"},
        cleanup_timeout=0,
        state={"1": "\0"},
    )
    assert {(problem.path, problem.offset) for problem in found} == {
        (("steps", 0, "name"), None),
        (("steps", 0, "exec", 1), 5),
        (("steps", 0, "exec", 2), None),
        (("steps", 0, "retries"), None),
        (("steps", 0, "timeout"), None),
        (("steps", 1, "cleanup"), None),
        (("steps", 1, "pause"), None),
        (("steps", 2), None),
        (("env", "A-B"), None),
        (("cleanup_timeout",), None),
        (("state", "1"), None),
    }
    assert all(problem.suggestion for problem in found)


def test_what_is_reported_already_has_no_consequences() -> None:
    assert messages({"name": 5, "exec": 5}) == [
        '"name" must be a string, not an integer',
        '"exec" must be a string or an array, not an integer',
    ]
    assert messages({"pause": [1]}) == ['"pause" must be a string or an integer or a number, not an array']
    assert messages({"pause": "long"}) == ["\"pause\" can't be 'long'"]
    assert messages({"pause": 1, "description": "x", "exce": "true"}) == [
        'unknown key "exce"',
        'a pause has no "description"',
    ]


def test_places_count_from_the_file_also_after_what_had_to_be_left_out() -> None:
    found = faults("x", {"name": "a", "exec": [1, "true", "\0"]}, 3, {"name": "a", "exec": "true"})
    assert [problem.path for problem in found] == [
        ("steps", 0),
        ("steps", 1, "exec", 0),
        ("steps", 2),
        ("steps", 3, "name"),
        ("steps", 1, "exec", 2),
    ]


def test_elements_under_a_misspelt_key_are_still_read() -> None:
    with pytest.raises(DefinitionError) as caught:
        decode_plan({"step": [5, {"name": "a"}]}, default_name="plan")
    assert [problem.message for problem in caught.value.problems] == [
        'unknown key "step"',
        'element 1 of "step" must be a table, not an integer',
        'step "a" has nothing to do',
    ]


@pytest.mark.parametrize("value", [{"a": object()}, float("nan"), 1 << 64, [b"x"]])
def test_state_is_plain_data(value: Any) -> None:
    (problem,) = faults({"name": "a", "exec": "true"}, state={"x": value})
    assert problem.path[:2] == ("state", "x")


def test_a_secret_is_no_state_unless_the_state_says_so() -> None:
    step = {"name": "a", "exec": "echo {{.T}}"}
    assert messages(step, secrets=["T"]) == ['"T" is a secret, and those can\'t be filled in']
    assert decode(step, secrets=["T"], state={"T": "open"}).secrets == ("T",)
    assert decode(step).secrets == ()


def test_warnings() -> None:
    plan = decode(
        {"name": "a", "exec": "sh -c 'echo {{.x}}'", "retries": 11},
        {"pause": 1},
        {"name": "b", "cleanup": ["true", "ssh host 'rm {{.x}}'"], "retries": 1, "retry_delay": 0.01},
        {"name": "c", "exec": "true", "timeout": "10ms"},
    )
    assert [(found.message, found.path) for found in plan_warnings(plan, "other")] == [
        ('the plan is named "plan", its file "other"', ("name",)),
        ("11 retries are many", ("steps", 0, "retries")),
        ('step "a" retries at once', ("steps", 0, "retries")),
        ('step "a" gives a value to a second shell, which reads it again as code', ("steps", 0, "exec", 0)),
        ('the retry_delay of step "b" is under 100 ms', ("steps", 2, "retry_delay")),
        (
            'step "b" gives a value to a second shell, which reads it again as code',
            ("steps", 2, "cleanup", 1),
        ),
        ('the timeout of step "c" is under a second', ("steps", 3, "timeout")),
    ]
    assert plan_warnings(decode({"name": "a", "exec": "true"})) == []
