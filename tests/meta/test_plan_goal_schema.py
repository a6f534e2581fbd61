"""The schemas of plans and goals are valid, accept what the readers accept, and refuse what a schema can tell."""

import tomllib
from pathlib import Path
from typing import Any

import jsonschema
import pytest

from runwright.core.errors import DefinitionError
from runwright.core.goal_document import decode_goal
from runwright.core.jsonschema import schema
from runwright.core.kinds import FileKind
from runwright.core.plan_document import decode_plan

SCHEMAS = {kind: schema(kind) for kind in FileKind}
READERS = {FileKind.PLAN: decode_plan, FileKind.GOAL: decode_goal}
CORPUS = Path(__file__).parents[1] / "corpus"

PLAN = """
name = "provision"
tags = ["a"]
secrets = ["TOKEN"]
kill_grace = "5s"
max_log_bytes = "10MiB"
continue_on_error = true
limit_duration = 600
cleanup_timeout = 1.5
[env]
LANG = "C"
[state]
root = "out"
sizes = [1, 2.5, { deep = true }]
[[steps]]
name = "make"
pre_exec = "true"
exec = ["mkdir {{.root}}"]
cleanup = "rmdir {{.root}}"
retries = 2
retry_delay = "2s"
env = { A = "1" }
[[steps]]
pause = "2s"
[[steps]]
name = "rest"
pause = 1
"""

GOAL = """
name = "tree"
plan = "./needed.sh {{.root}}"
sleep_between_runs = "2s"
longest_sleep = 60
errors_to_tolerate = 0
execution_timeout = "20m"
workers = 4
oscillation_limit = 3
working_dir = "{{.root}}"
[variables]
root = "out"
"""
GOOD = {FileKind.PLAN: PLAN, FileKind.GOAL: GOAL}

BAD = [
    (FileKind.PLAN, 'name = "provision"', 'nmae = "provision"'),
    (FileKind.PLAN, 'name = "make"', ""),
    (FileKind.PLAN, 'name = "make"', 'name = "a b"'),
    (FileKind.PLAN, "retries = 2", "retries = -1"),
    (FileKind.PLAN, "retries = 2", 'retries = "2"'),
    (FileKind.PLAN, "retries = 2", "retry = 2"),
    (FileKind.PLAN, 'pre_exec = "true"', "pre_exec = 1"),
    (FileKind.PLAN, 'pause = "2s"', 'pause = "2s"\nexec = "true"'),
    (FileKind.PLAN, 'pause = "2s"', 'name = "idle"'),
    (FileKind.PLAN, 'root = "out"', '"a b" = "out"'),
    (FileKind.PLAN, "continue_on_error = true", 'continue_on_error = "yes"'),
    (FileKind.GOAL, 'plan = "./needed.sh {{.root}}"', ""),
    (FileKind.GOAL, 'plan = "./needed.sh {{.root}}"', "plan = 5"),
    (FileKind.GOAL, "workers = 4", "workers = 0"),
    (FileKind.GOAL, "errors_to_tolerate = 0", "errors_to_tolerate = -1"),
    (FileKind.GOAL, "oscillation_limit = 3", "oscillation_limit = 1000001"),
    (FileKind.GOAL, 'root = "out"', "root = 5"),
    (FileKind.GOAL, "longest_sleep = 60", "longest_nap = 60"),
]

TOLD_BY_SCHEMA = {
    "shape_empty_file",
    "shape_no_steps",
    "shape_plan_elements",
    "shape_step_is_text",
    "shape_step_key_misspelt",
    "shape_steps_is_table",
    "shape_steps_is_text",
    "shape_types",
    "shape_unknown_keys",
    "field_numbers",
    "field_retries",
    "kind_is_goal",
    "kind_is_plan",
    "kind_is_workflow",
    "pause_with_hooks",
    "plan_missing",
    "state_names",
    "step_names",
    "step_without_hook",
    "step_without_name",
}


def accepts(kind: FileKind, data: dict[str, Any]) -> bool:
    return jsonschema.Draft202012Validator(SCHEMAS[kind]).is_valid(data)


@pytest.mark.parametrize("kind", READERS)
def test_it_is_a_valid_schema_that_accepts_what_the_reader_accepts(kind: FileKind) -> None:
    jsonschema.Draft202012Validator.check_schema(SCHEMAS[kind])
    data = tomllib.loads(GOOD[kind])
    jsonschema.validate(data, SCHEMAS[kind])
    READERS[kind](data, default_name="demo")


@pytest.mark.parametrize(("kind", "old", "new"), BAD)
def test_it_rejects_what_the_reader_rejects(kind: FileKind, old: str, new: str) -> None:
    assert old in GOOD[kind]
    data = tomllib.loads(GOOD[kind].replace(old, new, 1))
    assert not accepts(kind, data)
    with pytest.raises(DefinitionError):
        READERS[kind](data, default_name="demo")


@pytest.mark.parametrize("kind", READERS)
def test_of_the_malformed_files_it_rejects_those_whose_shape_is_wrong(kind: FileKind) -> None:
    rejected, wrong_shape = set(), set()
    for path in sorted((CORPUS / f"malformed_{kind.value}s").glob("*.toml")):
        try:
            data = tomllib.loads(path.read_bytes().decode().removeprefix("\ufeff"))
        except (ValueError, UnicodeDecodeError):
            continue
        wrong_shape |= {path.stem} & TOLD_BY_SCHEMA
        if not accepts(kind, data):
            rejected.add(path.stem)
    assert wrong_shape <= rejected
    assert len(wrong_shape) >= 6


def test_kinds_do_not_pass_for_each_other() -> None:
    for kind, text in GOOD.items():
        data = tomllib.loads(text)
        assert [other for other in FileKind if accepts(other, data)] == [kind]
