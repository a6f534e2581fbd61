"""Advice about a definition that is right: what is allowed and probably not meant."""

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

from runwright.core.errors import Problem
from runwright.core.pattern import pattern
from runwright.core.workflow import TaskDefinition, TaskType, Workflow

if TYPE_CHECKING:
    from runwright.core.check_fields import Path
    from runwright.core.goal import GoalDefinition
    from runwright.core.plan import PlanDefinition, StepDefinition

MANY_RETRIES = 10
SHORT_DELAY = 0.1
SHORT_TIMEOUT = 1.0
LONG_TIMEOUT = 24 * 3600.0

_NESTED_SHELL = pattern(r"(?:\b(?:sh|bash|zsh|dash)\s+-\w*c|\beval|\bssh\b)[^\n]*['\"][^\n]*\{\{\.")


def warnings(workflow: Workflow, file_name: str = "") -> list[Problem]:
    """Return what is allowed and probably not meant.

    Args:
        workflow: One without errors.
        file_name: Name of its file without ``.toml``; empty if it has none.
    """
    found = list(_of_workflow(workflow, file_name))
    for task in workflow.tasks.values():
        if task.retries or task.timeout or task.type is TaskType.FORENSIC:
            found += _of_task(task)
        if task.cache:
            found += _of_cached(task)
        if task.cmd is not None and "{{." in task.cmd:
            found += _nested_shell(task.cmd, ("tasks", task.key, "cmd"), f'task "{task.key}"')
    return found


def plan_warnings(plan: "PlanDefinition", file_name: str = "") -> list[Problem]:
    """Return what is allowed and probably not meant; as `warnings`, of a plan."""
    from runwright.core.plan import StepDefinition  # noqa: PLC0415 - workflows do without plans

    found = list(_of_name("plan", plan.name, file_name))
    for index, step in enumerate(plan.elements):
        if isinstance(step, StepDefinition):
            found += _of_step(step, ("steps", index))
    return found


def _of_step(step: "StepDefinition", path: "Path") -> Iterator[Problem]:
    who = f'step "{step.name}"'
    yield from _of_attempts(step, path, who)
    for hook, commands in step.hooks.items():
        for index, command in enumerate(commands):
            yield from _nested_shell(command, (*path, hook.value, index), who)


def goal_warnings(goal: "GoalDefinition", file_name: str = "") -> list[Problem]:
    """Return what is allowed and probably not meant; as `warnings`, of a goal."""
    found = list(_of_name("goal", goal.name, file_name))
    if goal.options.longest_sleep < goal.options.sleep_between_runs:
        text = "longest_sleep is shorter than sleep_between_runs, so it means nothing"
        found.append(
            Problem(message=text, path=("longest_sleep",), suggestion="make it longer, or remove it")
        )
    for index, command in enumerate(goal.plan):
        found += _nested_shell(command, ("plan", index), "the goal")
    return found


def _of_workflow(workflow: Workflow, file_name: str) -> Iterator[Problem]:
    yield from _of_name("workflow", workflow.name, file_name)
    for number, _ in enumerate(workflow.triggers):
        yield Problem(
            message="triggers are recorded, not acted on: nothing starts this workflow by itself",
            path=("triggers", number),
            suggestion="start it from cron or a service manager",
        )
    called = {task.on_failure for task in workflow.tasks.values() if task.on_failure} | {workflow.on_failure}
    for key, task in workflow.tasks.items():
        if task.type is TaskType.FORENSIC and key not in called:
            yield Problem(
                message=f'nothing names the handler "{key}", so it never runs',
                path=("tasks", key),
                suggestion=f'add on_failure = "{key}" to a task or to the workflow',
            )


def _of_name(what: str, name: str, file_name: str) -> Iterator[Problem]:
    if file_name and name != file_name:
        yield Problem(
            message=f'the {what} is named "{name}", its file "{file_name}"',
            path=("name",),
            suggestion=f'write name = "{file_name}", or rename the file',
        )


def _of_task(task: TaskDefinition) -> Iterator[Problem]:
    path = ("tasks", task.key)
    yield from _of_attempts(task, path, f'task "{task.key}"')
    if task.type is TaskType.FORENSIC and (task.matrix or task.depends_on):
        name = "matrix" if task.matrix else "depends_on"
        yield Problem(
            message=f'"{task.key}" is a handler, so its {name} means nothing',
            path=(*path, name),
            suggestion=f"remove {name}",
        )


def _of_cached(task: TaskDefinition) -> Iterator[Problem]:
    path = ("tasks", task.key, "cache")
    if not task.inputs:
        yield Problem(
            message=f'task "{task.key}" is cached without inputs, so no change of a file makes it run again',
            path=path,
            suggestion='add inputs = ["src/**/*.c"]',
        )
    if task.is_command and not task.outputs and not task.register:
        yield Problem(
            message=f'task "{task.key}" is cached without outputs, so nothing that it makes is restored',
            path=path,
            suggestion='add outputs = ["build/app"]',
        )


def _of_attempts(task: "TaskDefinition | StepDefinition", path: "Path", who: str) -> Iterator[Problem]:
    if task.retries > MANY_RETRIES:
        yield Problem(
            message=f"{task.retries} retries are many",
            path=(*path, "retries"),
            suggestion="look for the cause",
        )
    if task.retries and not task.retry_delay:
        yield Problem(
            message=f"{who} retries at once",
            path=(*path, "retries"),
            suggestion='add retry_delay = "1s"',
        )
    elif task.retries and task.retry_delay < SHORT_DELAY:
        yield Problem(
            message=f"the retry_delay of {who} is under 100 ms",
            path=(*path, "retry_delay"),
            suggestion='write retry_delay = "1s"',
        )
    if task.timeout and not SHORT_TIMEOUT <= task.timeout <= LONG_TIMEOUT:
        size = "under a second" if task.timeout < SHORT_TIMEOUT else "over a day"
        yield Problem(
            message=f"the timeout of {who} is {size}",
            path=(*path, "timeout"),
            suggestion='check its unit, for instance "30s"',
        )


def _nested_shell(command: str, path: "Path", who: str) -> Sequence[Problem]:
    if not _NESTED_SHELL.search(command):
        return ()
    text = f"{who} gives a value to a second shell, which reads it again as code"
    advice = "pass it as an argument: sh -c 'echo \"$1\"' _ {{.name}}"
    return (Problem(message=text, path=path, suggestion=advice),)
