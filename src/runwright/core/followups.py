"""Follow-ups of a task as its children, and results put together."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from runwright.core.errors import DefinitionError, Problem
from runwright.core.graph import find_cycle
from runwright.core.task import Result, Task, TaskId, replace


def adopt(parent: str, tasks: Sequence[Task]) -> tuple[Task, ...]:
    """Return tasks as the children of another one: ids ``parent.child``, and dependencies named in full.

    Both may come short (``child``) or in full (``parent.child``). Dependencies name siblings.

    Args:
        parent: Id of the parent; empty for tasks that have none, whose ids stay as they are.
        tasks: In the order in which they are to start if nothing else decides.

    Raises:
        DefinitionError: With every task that has no id or that of a sibling, every dependency that is no sibling, and
            the circle if dependencies form one.
    """
    if not all(isinstance(task, Task) for task in tasks):
        raise DefinitionError(f"{_whose(parent)}: each must be a Task")
    adopted = tuple(_adopt(parent, task) for task in tasks) if parent else tuple(tasks)
    if problems := [*_bad_ids(parent, tasks, adopted), *_bad_dependencies(parent, adopted)]:
        raise DefinitionError(problems)
    return adopted


def combine(own: Result, followups: Mapping[TaskId, Result]) -> Result:
    """Return the result of a task whose follow-ups have all run.

    Its outputs, value and variables are its own; those of all follow-ups, however deep, are in `children` by id.
    """
    children = dict(own.children)
    for task_id, result in followups.items():
        children[task_id] = _alone(result)
        children.update(result.children)
    return replace(own, followups=(), children=children)


def combine_many(tasks: Iterable[Task], results: Mapping[TaskId, Result]) -> Result:
    """Return one result for several tasks: its value has theirs by id, `children` all results by id."""
    values: dict[str, Any] = {task.id: results[task.id].value for task in tasks}
    return combine(Result(value=values), results)


def _alone(result: Result) -> Result:
    return replace(result, followups=(), children={}) if result.followups or result.children else result


def _adopt(parent: str, task: Task) -> Task:
    if not task.dependencies:
        return replace(task, id=_full(parent, task.id))
    needed = tuple(_full(parent, name) for name in task.dependencies)
    return replace(task, id=_full(parent, task.id), dependencies=needed)


def _full(parent: str, name: str) -> TaskId:
    return TaskId(name if name.startswith(f"{parent}.") else f"{parent}.{name}")


def _bad_ids(parent: str, tasks: Sequence[Task], adopted: Sequence[Task]) -> list[Problem]:
    problems = [Problem(message=f"{_whose(parent)}: one has no id") for task in tasks if not task.id]
    seen: set[str] = set()
    for task in adopted:
        if task.id in seen:
            problems.append(Problem(message=f'{_whose(parent)}: there are two with the id "{task.id}"'))
        seen.add(task.id)
    return problems


def _bad_dependencies(parent: str, adopted: Sequence[Task]) -> list[Problem]:
    if not any(task.dependencies for task in adopted):
        return []
    index = {task.id: number for number, task in enumerate(adopted)}
    unknown = [
        Problem(message=f'{_whose(parent)}: "{task.id}" depends on "{name}", which is not one of them')
        for task in adopted
        for name in task.dependencies
        if name not in index
    ]
    return unknown or _circle(parent, adopted, index)


def _circle(parent: str, adopted: Sequence[Task], index: Mapping[TaskId, int]) -> list[Problem]:
    edges = [tuple(index[name] for name in dict.fromkeys(task.dependencies)) for task in adopted]
    waiting = [len(sources) for sources in edges]
    dependents: list[list[int]] = [[] for _ in edges]
    for number, sources in enumerate(edges):
        for source in sources:
            dependents[source].append(number)
    free = [number for number, count in enumerate(waiting) if not count]
    for number in free:
        for dependent in dependents[number]:
            waiting[dependent] -= 1
            if not waiting[dependent]:
                free.append(dependent)
    if len(free) == len(adopted):
        return []
    names = [adopted[number].id for number in find_cycle(edges, waiting)]
    path = " -> ".join([*names, names[0]])
    return [Problem(message=f"{_whose(parent)}: they depend on each other in a circle: {path}")]


def _whose(parent: str) -> str:
    return f'follow-ups of task "{parent}"' if parent else "tasks"
