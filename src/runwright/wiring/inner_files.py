"""Checking the files that tasks of a workflow run as runs of their own, before anything runs."""

from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from runwright.core.errors import DefinitionError, Problem
from runwright.core.variables import has_placeholder
from runwright.core.workflow import TaskDefinition, Workflow
from runwright.wiring.stack import INNER_KINDS

if TYPE_CHECKING:
    from runwright.adapters.toml import LoadedWorkflow

ADVICE: Mapping[str, str] = {
    "env": "hand values on with args.variables",
    "clean_env": "the inner definition says what its tasks see",
    "working_dir": "say it with args.working_dir",
}
"""Fields that a task has no use for whose work is a run, with what to do instead."""

LoadInner = Callable[[str, Path, Mapping[str, Any], tuple[Path, ...]], object]
"""Reads a definition, given its kind, path, variables and the files that led to it."""


def check_inner_files(loaded: "LoadedWorkflow", trail: tuple[Path, ...], load: LoadInner) -> None:
    """Check the tasks of a workflow file whose work is a run, and the files that they name, to any depth.

    Args:
        loaded: The workflow file.
        trail: The files that led to it, outermost first.
        load: Reads an inner file.

    Raises:
        DefinitionError: With every problem of this file and of the inner ones.
    """
    from runwright.adapters.toml import place

    own: list[Problem] = []
    inner: list[Problem] = []
    here = Path(loaded.path)
    for key, task in loaded.definition.tasks.items():
        kind = inner_kind(loaded.definition, task)
        if not kind:
            continue
        own += _useless_fields(key, task)
        args = {**_defaults(loaded.definition, task), **task.args}
        name = args.get("file", "")
        if not isinstance(name, str) or not name or has_placeholder(name):
            continue
        path = here.parent / name
        circle = _circle((*trail, here), path)
        if circle:
            own.append(_circular(key, circle))
            continue
        try:
            load(kind, path, args.get("variables", {}), (*trail, here))
        except DefinitionError as error:
            inner += error.problems
            if not path.is_file():
                own.append(_missing(key, error.problems[0]))
                inner.remove(error.problems[0])
    if own or inner:
        raise DefinitionError(list(dict.fromkeys([*place(own, loaded), *inner])))


def inner_kind(workflow: Workflow, task: TaskDefinition) -> str:
    """Return the kind of run that a task's work is, or an empty text."""
    name = task.executor.partition(".")[0]
    base = str(workflow.executors.get(name, {}).get("executor", name))
    return INNER_KINDS.get(base, "")


def _defaults(workflow: Workflow, task: TaskDefinition) -> Mapping[str, Any]:
    return workflow.executors.get(task.executor.partition(".")[0], {})


def _useless_fields(key: str, task: TaskDefinition) -> Iterator[Problem]:
    for name, advice in ADVICE.items():
        if getattr(task, name):
            message = f'task "{key}" runs a file of its own, for which "{name}" has no meaning'
            yield Problem(message=message, path=("tasks", key, name), suggestion=advice)


def _circle(trail: tuple[Path, ...], path: Path) -> tuple[Path, ...]:
    """Return the files that lead from one to itself, if naming `path` closes a circle."""
    target = path.resolve()
    for number, file in enumerate(trail):
        if file.resolve() == target:
            return (*trail[number:], path)
    return ()


def _circular(key: str, circle: tuple[Path, ...]) -> Problem:
    names = " -> ".join(path.name for path in circle)
    return Problem(
        message=f"files lead back to themselves: {names}",
        path=("tasks", key, "args", "file"),
        suggestion="break the circle: a run would never end",
    )


def _missing(key: str, problem: Problem) -> Problem:
    """Return the problem of a file that is not there, at the place that names it."""
    return Problem(
        message=problem.message, path=("tasks", key, "args", "file"), suggestion=problem.suggestion
    )
