"""The core's records: states, errors, tasks, runs, pinned definitions."""

import inspect

import msgspec
import pytest

from runwright.core import errors
from runwright.core.definition import pin, unpin
from runwright.core.errors import DefinitionError, Failure, Problem, RunwrightError, TaskFailed
from runwright.core.run import TaskCounts
from runwright.core.states import (
    FINAL_RUN_STATES,
    FINAL_TASK_STATES,
    RESUMABLE_RUN_STATES,
    RUN_TRANSITIONS,
    TASK_TRANSITIONS,
    RunState,
    TaskState,
)
from runwright.core.task import Task, TaskId, replace
from runwright.core.workflow import TaskDefinition, Workflow

CLASSES = [
    value for value in vars(errors).values() if inspect.isclass(value) and issubclass(value, Exception)
]


def test_every_state_says_what_may_follow() -> None:
    assert set(RUN_TRANSITIONS) == set(RunState)
    assert set(TASK_TRANSITIONS) == set(TaskState)


def test_final_states_are_left_by_a_resume_alone() -> None:
    assert RUN_TRANSITIONS[RunState.SUCCEEDED] == frozenset()
    for state in RESUMABLE_RUN_STATES:
        assert RUN_TRANSITIONS[state] == {RunState.RUNNING}
    for task_state in FINAL_TASK_STATES:
        assert TASK_TRANSITIONS[task_state] == {TaskState.PENDING}
    assert {RunState.SUCCEEDED} | RESUMABLE_RUN_STATES == FINAL_RUN_STATES | {RunState.INTERRUPTED}


def test_every_final_state_can_be_reached() -> None:
    reached = {after for state in TASK_TRANSITIONS.values() for after in state}
    assert reached == set(TaskState)


@pytest.mark.parametrize("error", CLASSES, ids=lambda error: error.__name__)
def test_the_tree_is_drawn_as_it_is(error: type[Exception]) -> None:
    line = next(line for line in (errors.__doc__ or "").splitlines() if f" {error.__name__} " in f" {line} ")
    if error is errors.InternalError:
        assert not issubclass(error, RunwrightError)
    elif "exit" in line:
        assert issubclass(error, RunwrightError)
        assert line.split()[-1] == str(error.exit_status)


def test_codes_are_stable_and_differ() -> None:
    codes = [error.code for error in CLASSES if issubclass(error, RunwrightError)]
    assert len(set(codes)) == len(codes)
    assert all(code.startswith("E_") for code in codes)


def test_a_definition_error_carries_every_problem() -> None:
    error = DefinitionError([Problem(message="one"), Problem(message="two")])
    assert (str(error), len(error.problems)) == ("one; two", 2)
    assert DefinitionError("three").problems == (Problem(message="three"),)


def test_a_failed_task_carries_its_failure() -> None:
    failure = Failure(code="E_X", message="went wrong", exit_code=3)
    assert (str(TaskFailed(failure)), TaskFailed(failure).failure) == ("went wrong", failure)
    assert msgspec.json.decode(msgspec.json.encode(failure), type=Failure) == failure


def test_a_task_is_replaced_not_changed() -> None:
    task = Task(id=TaskId("a"), executor="x.y")
    assert replace(task, executor="y") == Task(id=TaskId("a"), executor="y")
    assert task.executor == "x.y"
    with pytest.raises(AttributeError):
        task.executor = "z"  # type: ignore[misc]


def test_counts_begin_at_nothing() -> None:
    assert TaskCounts() == TaskCounts(total=0, pending=0, running=0, succeeded=0, failed=0)


def test_a_pinned_workflow_comes_back() -> None:
    definition = TaskDefinition(key="a", name="a", cmd="x", matrix={"m": ("1", "2")}, retry_on=(1,))
    workflow = Workflow(name="w", tasks={"a": definition}, env={"A": "1"})
    pinned = pin(workflow, "text")
    assert unpin(pinned) == workflow
    assert pinned.source == "text"
    assert pin(workflow).digest == pinned.digest
    assert pin(replace(workflow, name="v")).digest != pinned.digest


def test_a_command_is_known_by_its_text_or_arguments() -> None:
    assert TaskDefinition(key="a", name="a", cmd="").is_command
    assert TaskDefinition(key="a", name="a", argv=("x",)).is_command
    assert not TaskDefinition(key="a", name="a", executor="python").is_command
