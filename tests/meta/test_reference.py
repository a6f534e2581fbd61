"""The reference pages name everything there is, and nothing else."""

import re
from pathlib import Path

import pytest
from msgspec import Struct
from msgspec.structs import fields

from runwright.cli.main import COMMANDS
from runwright.core.document import ExecutorTable, TaskTable, WorkflowTable
from runwright.core.duration import parse_duration, parse_size
from runwright.core.goal_document import ActionTable, GoalTable
from runwright.core.plan_document import PlanTable, StepTable
from runwright.core.states import RunState, TaskState
from runwright.executors.container import ContainerArgs
from runwright.executors.inner import InnerArgs
from runwright.executors.isolated_args import Mount
from runwright.executors.python import PythonArgs
from runwright.executors.queued import QueuedArgs
from runwright.executors.sandbox import SandboxArgs

DOCS = Path(__file__).parents[2] / "docs"


def first_cells(page: str) -> set[str]:
    """Return every name in code that stands in the first column of a table."""
    rows = re.findall(r"^\| (.+?) \|", (DOCS / page).read_text(), re.MULTILINE)
    return {name for row in rows for name in re.findall(r"`([^`]+)`", row)}


PAGES = {
    "reference/file-format.md": (
        WorkflowTable,
        TaskTable,
        ExecutorTable,
        PythonArgs,
        InnerArgs,
        SandboxArgs,
        ContainerArgs,
        QueuedArgs,
    ),
    "reference/plan-file.md": (PlanTable, StepTable),
    "reference/goal-file.md": (GoalTable, ActionTable),
}

DURATIONS = {
    "cleanup_timeout",
    "execution_timeout",
    "kill_grace",
    "limit_duration",
    "longest_sleep",
    "retry_delay",
    "sleep_between_runs",
    "timeout",
}
COUNTS = {"errors_to_tolerate", "oscillation_limit", "retries", "workers"}


def keys(table: type[Struct]) -> set[str]:
    return {field.encode_name for field in fields(table)}


@pytest.mark.parametrize(
    ("page", "table"), [(page, table) for page, tables in PAGES.items() for table in tables]
)
def test_every_key_of_the_file_is_described(page: str, table: type[Struct]) -> None:
    text = (DOCS / page).read_text()
    assert not [name for name in sorted(keys(table)) if f"`{name}`" not in text]


@pytest.mark.parametrize("page", PAGES)
def test_no_key_is_described_that_is_not_there(page: str) -> None:
    named = {name for name in first_cells(page) if re.fullmatch(r"[a-z_]+", name)}
    assert named <= set().union(*map(keys, PAGES[page]))


def rows(page: str) -> dict[str, str]:
    """Return what the third column says, the default, by key."""
    found = re.findall(r"^\| `([a-z_]+)` \|[^|]*\|([^|]*)\|", (DOCS / page).read_text(), re.MULTILINE)
    return {name: text.strip() for name, text in found}


@pytest.mark.parametrize("page", ["reference/plan-file.md", "reference/goal-file.md"])
def test_every_key_of_plans_and_goals_has_a_row(page: str) -> None:
    assert rows(page).keys() == set().union(*map(keys, PAGES[page]))


@pytest.mark.parametrize("page", ["reference/plan-file.md", "reference/goal-file.md"])
def test_the_defaults_that_are_told_are_those_of_the_records(page: str) -> None:
    told = rows(page)
    defaults = {field.name: field.default for table in PAGES[page] for field in fields(table)}
    for name in DURATIONS & told.keys():
        text = told[name].partition(":")[0].replace(" min", "m").replace(" s", "s")
        assert parse_duration(text) == defaults[name], name
    for name in COUNTS & told.keys():
        assert int(told[name]) == defaults[name], name
    assert parse_size(told["max_log_bytes"]) == defaults["max_log_bytes"]


def test_the_keys_of_a_mount_are_described() -> None:
    text = (DOCS / "reference/file-format.md").read_text()
    assert not [name for name in sorted(keys(Mount)) if f"`{name}" not in text]


def test_every_command_is_described() -> None:
    text = (DOCS / "reference/command-line.md").read_text()
    described = dict(re.findall(r"^\| `([a-z]+)` \| (.+) \|$", text, re.MULTILINE))
    assert described == {name: line for name, (_, _, line) in COMMANDS.items()}


def test_every_state_is_in_the_glossary() -> None:
    assert {state.value for state in [*RunState, *TaskState]} <= first_cells("glossary.md")


SEEDS = {
    "From a library of plans in Go": """
        Plan PlanOpt PlanOptContinueOnError() PlanOptLimitDuration(d) Plan.AddPause(d) ErrCancelled ErrTimeout State Step
        Step.PreExec Step.Exec Step.PostExec Step.Cleanup Step.Retries() GenericStep GenericStep.PreExecFunc ExecFunc
        PostExecFunc CleanupFunc GenericStep.PreExec GenericStep.Retries() GenericStep.WithRetries(n) sync.Map""",
    "From `execloop`": """
        Task Task.Pre() Task.PerformAction() Task.Post() Task.Name() Plan Plan.Create() Executor executor.New(options)
        Run(plan) RunWithContext(ctx, plan) execloop.Options Options.Logger Options.SleepBetweenRuns
        Options.ErrorsToTolerate Options.ExecutionTimeout execloop.DefaultOptions() With* sub-tasks test-no-cache""",
}
"""What the documentation of the libraries names whose users find their way on the page, by heading."""


@pytest.mark.parametrize("heading", SEEDS)
def test_every_name_of_a_library_is_told_where_to_go(heading: str) -> None:
    page = (DOCS / "coming-from.md").read_text()
    section = page.partition(f"## {heading}\n")[2].partition("\n## ")[0]
    names = SEEDS[heading].replace(", ", ",").split()
    assert not [name for name in names if name.replace(",", ", ") not in section]
    assert "Plan.Destroy" not in section, "the control: a name that is nowhere"
