"""What is wrong with a workflow, found without running it; all of it at once.

Here: each task by itself and its links to other tasks. `core.check_fields` has the rules for single fields,
`core.check_names` those for variables.
"""

from collections.abc import Collection, Mapping

from msgspec import Struct

from runwright.core.advice import warnings
from runwright.core.check_fields import (
    KEY,
    KEY_ADVICE,
    Path,
    check_common,
    check_env,
    check_for_each,
    check_matrix,
    check_numbers,
    check_trigger,
    check_variables,
    check_working_dir,
)
from runwright.core.check_names import check_names
from runwright.core.condition import parse
from runwright.core.errors import DefinitionError, Problem
from runwright.core.graph import find_circle
from runwright.core.node_names import node_fault
from runwright.core.plugin import is_plugin, plugin_faults
from runwright.core.suggest import did_you_mean
from runwright.core.workflow import ItemFailures, TaskDefinition, TaskType, Workflow

__all__ = ["NO_EXECUTORS", "Executors", "Path", "check_workflow", "warnings"]

Executors = Mapping[str, type[Struct] | None]
"""Executors by name, with the record of their arguments; None if they take anything."""

NO_EXECUTORS: Executors = {}

MOST_SUGGESTIONS = 100
"""So many unknown names get a suggestion; searching one among 100,000 tasks takes a while."""


def check_workflow(
    workflow: Workflow,
    *,
    executor_args: Executors = NO_EXECUTORS,
    given: Collection[str] = (),
    broken: Collection[Path] = (),
) -> list[Problem]:
    """Return everything that is wrong with a workflow.

    Args:
        workflow: From a file or from code.
        executor_args: Executors by name, with the record of their arguments; `shell` need not be among them.
        given: Names of variables that come from outside (``--var``).
        broken: Places of the file that had to be left out because of a fault that is reported already.
    """
    checker = _Checker(workflow, executor_args, broken)
    checker.check()
    if (circle := find_circle(workflow)) is not None:
        checker.problems.append(circle)
    elif not checker.names_are_broken:
        checker.problems += check_names(workflow, given, checker.conditions)
    return checker.problems


class _Checker:
    def __init__(self, workflow: Workflow, executor_args: Executors, broken: Collection[Path]) -> None:
        self.workflow = workflow
        self.tasks = workflow.tasks
        self.executor_args = executor_args
        self.broken = broken
        self.problems: list[Problem] = []
        self.conditions: dict[str, tuple[tuple[str, int], ...]] = {}
        self.parsed: dict[str, tuple[tuple[str, int], ...]] = {}
        self.ordinary = {key for key, task in self.tasks.items() if task.type is not TaskType.FORENSIC}
        self.suggestions = 0
        self.names_are_broken = any(
            {"depends_on", "register", "matrix", "tasks", "variables"} & set(path[:3:2]) for path in broken
        )

    def add(self, path: Path, message: str, suggestion: str, offset: int | None = None) -> None:
        self.problems.append(Problem(message=message, path=path, suggestion=suggestion, offset=offset))

    def check(self) -> None:
        """Find the faults of every table, and add them to `problems`."""
        check_variables(self.workflow.variables, self.add)
        check_common(self.workflow, self.add)
        for name, config in self.workflow.executors.items():
            self.problems += check_plain(config, ("executors", name))
            if is_plugin(config) and not any(path[:2] == ("executors", name) for path in self.broken):
                self.problems += plugin_faults(name, config, self.executor_args)
        for number, trigger in enumerate(self.workflow.triggers):
            check_trigger(trigger, number, self.add)
        if not self.tasks and not any(path[:1] == ("tasks",) for path in self.broken):
            self.add((), "a workflow needs at least one task", 'add [tasks.NAME] with cmd = "..."')
        elif not self.ordinary and not self.broken:
            self.add(
                (), "every task is a handler, so nothing would run", 'add a task without type = "forensic"'
            )
        for key, task in self.tasks.items():
            self._task(key, task)
        if self.workflow.on_failure:
            self._handler(self.workflow.on_failure, ("on_failure",))
        self._handler_circles()

    def _task(self, key: str, task: TaskDefinition) -> None:
        if not KEY.fullmatch(key):
            self.add(("tasks", key), f'"{key}" can\'t be the name of a task', KEY_ADVICE)
        if task.cmd is None or task.argv or task.executor != "shell" or task.args:
            self._work(key, task)
        elif not task.cmd or task.cmd.isspace():
            self.add(("tasks", key, "cmd"), f'the command of task "{key}" is empty', 'write cmd = "..."')
        elif "\0" in task.cmd:
            self.add(("tasks", key, "cmd"), "a command can't hold a NUL", "remove the NUL")
        if task.depends_on:
            self._dependencies(key, task)
        if task.condition:
            self._condition(key, task)
        if task.on_failure:
            self._handler(task.on_failure, ("tasks", key, "on_failure"), key)
        if task.env:
            check_env(task.env, ("tasks", key, "env"), self.add)
        if task.matrix:
            check_matrix(task.matrix, ("tasks", key, "matrix"), self.add)
        if task.for_each or task.pool or task.item_failures is not ItemFailures.STOP:
            check_for_each(task, ("tasks", key), self.add)
        if task.working_dir:
            check_working_dir(task.working_dir, ("tasks", key), self.add)
        check_numbers(task, ("tasks", key), self.add)

    def _work(self, key: str, task: TaskDefinition) -> None:
        """Check that there is exactly one way to run the task."""
        path = ("tasks", key)
        if task.executor != "shell":
            for name, value in (("cmd", task.cmd), ("argv", task.argv)):
                if value:
                    text = (
                        f'"{name}" runs in the shell, but the executor of task "{key}" is "{task.executor}"'
                    )
                    self.add((*path, name), text, f"remove executor, or move {name} to [tasks.{key}.args]")
            self._executor(key, task)
        elif task.cmd is not None and task.argv:
            self.add((*path, "argv"), f'task "{key}" has both "cmd" and "argv"', "keep one of them")
        elif task.cmd is None and not task.argv:
            self._no_command(key)
        elif task.argv and not task.argv[0]:
            self.add((*path, "argv", 0), "the program of argv is empty", "name a program first")
        if any("\0" in text for text in task.argv):
            self.add((*path, "argv"), "an argument can't hold a NUL", "remove the NUL")
        if task.args and task.executor == "shell":
            self._arguments(key, task, "shell")

    def _no_command(self, key: str) -> None:
        if any(path[:2] == ("tasks", key) and set(path[2:3]) <= _WAYS for path in self.broken):
            return
        self.add(
            ("tasks", key),
            f'task "{key}" must have a command',
            'add cmd = "..." (or argv, or executor and args)',
        )

    def _executor(self, key: str, task: TaskDefinition) -> None:
        head = task.executor.partition(".")[0]
        name = task.executor if task.executor in self.executor_args else head
        if name in self.workflow.executors or name in self.executor_args:
            self._arguments(key, task, name)
            return
        known = ["shell", *self.executor_args, *self.workflow.executors]
        self.add(
            ("tasks", key, "executor"),
            f'there is no executor "{task.executor}"',
            self._near(task.executor, known)
            or f"define [executors.{head}], or use {', '.join(sorted(set(known)))}",
        )

    def _arguments(self, key: str, task: TaskDefinition, name: str) -> None:
        defaults = dict(self.workflow.executors.get(name, {}))
        base = defaults.pop("executor", name)
        kind = self.executor_args.get(base if name in self.workflow.executors else name)
        if is_plugin(defaults):
            kind = None
        if kind is not None:
            self.problems += check_arguments(task.args, defaults, kind, ("tasks", key, "args"))
        elif task.args:
            self.problems += check_plain(task.args, ("tasks", key, "args"))
        if kind is None and name == "shell":
            self.add(("tasks", key, "args"), "a command takes no args", "remove args, or name its executor")

    def _dependencies(self, key: str, task: TaskDefinition) -> None:
        ordinary = self.ordinary
        for index, name in enumerate(task.depends_on):
            if name not in ordinary or name == key:
                fault = self._dependency(key, task, name)
                if fault is not None:
                    self.add(("tasks", key, "depends_on", index), *fault)

    def _dependency(self, key: str, task: TaskDefinition, name: str) -> tuple[str, str] | None:
        base = name.partition("[")[0]
        target = self.tasks.get(base)
        if target is None:
            advice = self._near(base, self.tasks) or f"add [tasks.{base}], or remove it"
            return f'task "{key}" depends on "{base}", which does not exist', advice
        if task.type is TaskType.FORENSIC:
            return None
        if target.type is TaskType.FORENSIC:
            return f'task "{key}" depends on "{base}", which is a handler and runs on failure only', (
                f'remove it, or take type = "forensic" from "{base}"'
            )
        if base == key:
            return f'task "{key}" depends on itself', "remove it"
        return node_fault(target, name) if "[" in name else None

    def _condition(self, key: str, task: TaskDefinition) -> None:
        path = ("tasks", key, "if")
        if task.condition in self.parsed:
            self.conditions[key] = self.parsed[task.condition]
            return
        try:
            self.conditions[key] = self.parsed[task.condition] = parse(task.condition).names
        except DefinitionError as error:
            for fault in error.problems:
                self.add(
                    path, f'in the condition of task "{key}": {fault.message}', fault.suggestion, fault.offset
                )

    def _handler(self, name: str, path: Path, key: str = "") -> None:
        target = self.tasks.get(name)
        if target is None:
            handlers = [other for other, task in self.tasks.items() if task.type is TaskType.FORENSIC]
            near = self._near(name, handlers) or f'add [tasks.{name}] with type = "forensic"'
            self.add(path, f'there is no handler "{name}"', near)
        elif name == key:
            self.add(
                path, f'handler "{key}" can\'t handle its own failure', "remove it, or name another handler"
            )
        elif target.type is not TaskType.FORENSIC:
            self.add(path, f'"{name}" is not a handler', f'add type = "forensic" to [tasks.{name}]')

    def _handler_circles(self) -> None:
        """Follow ``on_failure`` from handler to handler; each has one at most, so every circle is met once."""
        seen: set[str] = set()
        for first, task in self.tasks.items():
            if task.type is not TaskType.FORENSIC or first in seen:
                continue
            way: dict[str, None] = {}
            name = first
            while name in self.tasks and name not in seen:
                seen.add(name)
                way[name] = None
                name = self.tasks[name].on_failure
            if name in way and name != list(way)[-1]:
                circle = [*list(way)[list(way).index(name) :], name]
                self.add(
                    ("tasks", circle[-2], "on_failure"),
                    f"handlers call each other in a circle: {' -> '.join(circle)}",
                    "remove one on_failure",
                )

    def _near(self, name: str, candidates: Collection[str]) -> str:
        self.suggestions += 1
        return did_you_mean(name, candidates) if self.suggestions <= MOST_SUGGESTIONS else ""


_WAYS = {"cmd", "argv", "executor"}


def check_plain(data: Mapping[str, object], path: Path) -> list[Problem]:
    """Check data that is passed on as it is."""
    from runwright.core.shape import plain_faults  # noqa: PLC0415 - most workflows have no arguments

    return plain_faults(data, path)


def check_arguments(
    args: Mapping[str, object], defaults: Mapping[str, object], kind: type[Struct], path: Path
) -> list[Problem]:
    """Check the arguments of an executor, completed by the defaults of its definition, against their record."""
    from runwright.core.shape import is_faultless, mend  # noqa: PLC0415 - most workflows have no arguments

    complete = {**defaults, **args}
    return [] if is_faultless(complete, kind) else mend(complete, kind, path).problems
