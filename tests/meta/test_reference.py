"""The reference pages name everything there is, and nothing else."""

import re
from pathlib import Path

import pytest
from msgspec import Struct
from msgspec.structs import fields

from runwright.cli.main import COMMANDS
from runwright.core.document import TaskTable, WorkflowTable
from runwright.core.states import RunState, TaskState
from runwright.executors.python import PythonArgs

DOCS = Path(__file__).parents[2] / "docs"


def first_cells(page: str) -> set[str]:
    """Return every name in code that stands in the first column of a table."""
    rows = re.findall(r"^\| (.+?) \|", (DOCS / page).read_text(), re.MULTILINE)
    return {name for row in rows for name in re.findall(r"`([^`]+)`", row)}


@pytest.mark.parametrize("table", [WorkflowTable, TaskTable])
def test_every_key_of_the_file_is_described(table: type[Struct]) -> None:
    text = (DOCS / "reference/file-format.md").read_text()
    assert not [field.encode_name for field in fields(table) if f"`{field.encode_name}`" not in text]


def test_no_key_is_described_that_is_not_there() -> None:
    named = {name for name in first_cells("reference/file-format.md") if re.fullmatch(r"[a-z_]+", name)}
    known = {field.encode_name for table in (WorkflowTable, TaskTable) for field in fields(table)}
    known |= {field.encode_name for field in fields(PythonArgs)}
    assert named <= known


def test_every_command_is_described() -> None:
    text = (DOCS / "reference/command-line.md").read_text()
    described = dict(re.findall(r"^\| `([a-z]+)` \| (.+) \|$", text, re.MULTILINE))
    assert described == {name: line for name, (_, _, line) in COMMANDS.items()}


def test_every_state_is_in_the_glossary() -> None:
    assert {state.value for state in [*RunState, *TaskState]} <= first_cells("glossary.md")
