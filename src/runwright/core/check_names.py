"""Which variables a workflow's texts read, and whether something upstream sets them."""

import re
from collections.abc import Collection, Iterator, Mapping
from itertools import product
from math import prod

from msgspec import Struct

from runwright.core.check_fields import Path, secret_fault, shell_faults
from runwright.core.errors import Problem
from runwright.core.node_names import example_node, is_of_item, node_fault
from runwright.core.pattern import pattern
from runwright.core.reach import Question, unanswered
from runwright.core.suggest import did_you_mean
from runwright.core.variables import Reference, references, split_owner
from runwright.core.workflow import TaskDefinition, TaskType, Workflow

TOLD_HANDLERS = frozenset({"failed_task", "error_message", "exit_code"})
TOLD_WORKFLOW_HANDLER = frozenset({"failed_tasks", "failed_dag"})
BEFORE_ITEMS = frozenset({"for_each", "if", "register", "cleanup"})
"""Fields that belong to the task as a whole, so no item is seen in them."""
MOST_NAMES = 10_000
MOST_SUGGESTIONS = 100
SHORT_LIST = 8

_REGISTERED = pattern(r"[A-Za-z0-9_.+\-]+", re.ASCII)


class Owner(Struct, frozen=True, gc=False):
    """Who registers a variable: a task, or one node of it."""

    key: str
    target: str


class _Faults:
    """Problems, and questions that are problems if the answer is no."""

    def __init__(self) -> None:
        self.problems: list[Problem] = []
        self.questions: list[Question] = []
        self.places: list[tuple[str, Path, int]] = []

    def add(self, path: Path, message: str, suggestion: str, offset: int | None = None) -> None:
        self.problems.append(Problem(message=message, path=path, suggestion=suggestion, offset=offset))


def check_names(
    workflow: Workflow, given: Collection[str], conditions: Mapping[str, tuple[tuple[str, int], ...]]
) -> list[Problem]:
    """Return every reference that can't be filled in, and every name that two tasks register.

    Args:
        workflow: Whose tasks and links are right.
        given: Names of variables that come from outside.
        conditions: By task, the names its ``if`` reads, each with its offset.
    """
    return _Names(workflow, given, conditions).check()


class _Names:
    def __init__(
        self,
        workflow: Workflow,
        given: Collection[str],
        conditions: Mapping[str, tuple[tuple[str, int], ...]],
    ) -> None:
        self.workflow = workflow
        self.tasks = workflow.tasks
        self.conditions = conditions
        self.known = frozenset(given) | workflow.variables.keys()
        self.faults = _Faults()
        self.registered: dict[str, list[Owner]] = {}
        self.by_node: dict[str, str] = {}
        self.patterns: list[re.Pattern[str]] = []
        self.suggestions = 0
        self.of_workflow = self._called_by_workflow()

    def check(self) -> list[Problem]:
        """Return the faults of every name that a task sets or reads."""
        for key, task in self.tasks.items():
            if task.register:
                self._register(key, task)
        self._duplicates()
        for name, value in self.workflow.env.items():
            self._workflow_env(name, value)
        for key, task in self.tasks.items():
            if key in self.conditions:
                for name, offset in self.conditions[key]:
                    self._read(task, name, ("tasks", key, "if"), offset)
            for path, text, in_shell in texts_of(key, task):
                self._text(task, path, text, in_shell)
        faults = self.faults
        faults.problems += map(self._not_before, sorted(unanswered(self.tasks, faults.questions)))
        return faults.problems

    def _called_by_workflow(self) -> set[str]:
        """Return the handlers that the workflow's own failure can lead to."""
        called: set[str] = set()
        name = self.workflow.on_failure
        while name in self.tasks and name not in called:
            called.add(name)
            name = self.tasks[name].on_failure
        return called

    # What tasks register

    def _register(self, key: str, task: TaskDefinition) -> None:
        path = ("tasks", key, "register")
        used = references(task.register)
        if not _REGISTERED.fullmatch(_cut(task.register, used) if used else task.register):
            text = f'"{task.register}" can\'t be the name of a variable'
            self.faults.add(path, text, "use letters, digits, _ . + - and placeholders of the task's matrix")
        elif not used and task.matrix:
            self.by_node.setdefault(task.register, key)
        elif not used:
            self.registered.setdefault(task.register, []).append(Owner(key, key))
        elif all(place.name in task.matrix for place in used):
            self._expand(key, task, used, path)
        else:
            self._open_name(key, task, used, path)

    def _open_name(self, key: str, task: TaskDefinition, used: list[Reference], path: Path) -> None:
        """Take a name that is known at run time only: any name that fits may be meant."""
        pieces = re.split(r"\{\{\.[^}]*\}\}", task.register)
        self.patterns.append(re.compile(r"[A-Za-z0-9_.+\-]+".join(map(re.escape, pieces)), re.ASCII))
        for place in used:
            if place.name not in task.matrix:
                self._read(task, place.name, path, place.start)

    def _expand(self, key: str, task: TaskDefinition, used: list[Reference], path: Path) -> None:
        """Give each node its own name."""
        names = list(dict.fromkeys(place.name for place in used))
        missing = [name for name in task.matrix if name not in names and len(task.matrix[name]) > 1]
        if missing:
            text = f'nodes of "{key}" that differ in {" and ".join(missing)} would register the same variable'
            self.faults.add(path, text, f"add {{{{.{missing[0]}}}}} to the name")
            return
        if prod(len(task.matrix[name]) for name in names) > MOST_NAMES:
            self._open_name(key, task, used, path)
            return
        rest = {name: values[0] for name, values in task.matrix.items() if name not in names and values}
        for values in product(*(task.matrix[name] for name in names)):
            chosen = {**rest, **dict(zip(names, values, strict=True))}
            self._expanded(key, task, used, path, chosen)

    def _expanded(
        self, key: str, task: TaskDefinition, used: list[Reference], path: Path, chosen: Mapping[str, str]
    ) -> None:
        text = task.register
        for place in reversed(used):
            text = text[: place.start] + chosen[place.name] + text[place.end :]
        if not _REGISTERED.fullmatch(text):
            advice = "register without a placeholder and read {{.task[key=value].name}}, or change the value"
            self.faults.add(path, f'"{text}" can\'t be the name of a variable', advice)
            return
        inside = ",".join(f"{name}={chosen[name]}" for name in task.matrix if name in chosen)
        self.registered.setdefault(text, []).append(Owner(key, f"{key}[{inside}]"))

    def _duplicates(self) -> None:
        for name, owners in self.registered.items():
            if len(owners) < 2 or all(self.tasks[owner.key].condition for owner in owners):
                continue
            for owner in owners[1:]:
                text = f'"{name}" is registered by "{owners[0].target}" already; each variable has one owner'
                self.faults.add(("tasks", owner.key, "register"), text, "register another name")

    # What texts read

    def _workflow_env(self, name: str, value: str) -> None:
        for place in references(value):
            if place.name not in self.known and place.name in self.workflow.secrets:
                text = f'"{place.name}" is a secret, and those can\'t be filled in'
                self.faults.add(
                    ("env", name), text, f"tasks have {place.name} already; remove it here", place.start
                )
            elif place.name not in self.known:
                text = f"\"{place.name}\" is not known to all tasks, so the workflow's env can't read it"
                advice = (
                    f"add it to [variables], give it with --var {place.name}=..., or move it to a task's env"
                )
                self.faults.add(("env", name), text, advice, place.start)

    def _text(self, task: TaskDefinition, path: Path, text: str, in_shell: bool) -> None:
        if in_shell:
            self.faults.problems += shell_faults(text, path)
        for place in references(text):
            self._read(task, place.name, path, place.start)

    def _read(self, task: TaskDefinition, name: str, path: Path, offset: int) -> None:
        if name in task.matrix or name in self.known:
            return
        if task.for_each and is_of_item(name) and path[2] not in BEFORE_ITEMS:
            return
        if task.type is TaskType.FORENSIC and self._is_told(task, name):
            return
        owners = self.registered.get(name)
        fault = (
            self._of_owner(task, name, owners, path, offset)
            if owners
            else self._unregistered(task, name, path, offset)
        )
        if fault is not None:
            self.faults.add(path, *fault, offset)

    def _is_told(self, task: TaskDefinition, name: str) -> bool:
        return name in TOLD_HANDLERS or (name in TOLD_WORKFLOW_HANDLER and task.key in self.of_workflow)

    def _of_owner(
        self, task: TaskDefinition, name: str, owners: list[Owner], path: Path, offset: int
    ) -> tuple[str, str] | None:
        if task.type is TaskType.FORENSIC:
            return None
        if any(owner.key == task.key for owner in owners):
            if path[2] == "cleanup":
                return None
            if len(owners) == 1:
                return (
                    f'"{name}" is registered by this task itself, when it has succeeded',
                    "read it in a later task",
                )
        targets = tuple(owner.target for owner in owners if owner.key != task.key)
        self._ask(task, targets, f'"{name}" is registered by task "{{}}"', path, offset)
        return None

    def _ask(
        self, task: TaskDefinition, targets: tuple[str, ...], text: str, path: Path, offset: int
    ) -> None:
        """Note a problem unless one of the targets comes before the task."""
        if len(task.depends_on) <= SHORT_LIST and any(target in task.depends_on for target in targets):
            return
        self.faults.questions.append(Question(task.key, targets))
        self.faults.places.append((text, path, offset))

    def _not_before(self, number: int) -> Problem:
        question = self.faults.questions[number]
        text, path, offset = self.faults.places[number]
        task, key = self.tasks[question.task], question.targets[0].partition("[")[0]
        if self.tasks[key].type is TaskType.FORENSIC:
            message = f"{text.format(key)}, a handler, which runs on failure only"
            return Problem(
                message=message, path=path, suggestion="register it in an ordinary task", offset=offset
            )
        message = f'{text.format(key)}, which does not run before task "{task.key}"'
        listed = ", ".join(f'"{name}"' for name in (*task.depends_on[:SHORT_LIST], key))
        is_short = len(task.depends_on) <= SHORT_LIST
        advice = f"add depends_on = [{listed}]" if is_short else f'add "{key}" to depends_on'
        return Problem(message=message, path=path, suggestion=advice, offset=offset)

    def _unregistered(
        self, task: TaskDefinition, name: str, path: Path, offset: int
    ) -> tuple[str, str] | None:
        if name in self.by_node:
            key = self.by_node[name]
            node = example_node(self.tasks[key])
            return (
                f'task "{key}" has a matrix and registers "{name}" once for each node',
                f"write {{{{.{node}.{name}}}}}",
            )
        owner, dot, rest = split_owner(name)
        if dot and owner.partition("[")[0] in self.tasks:
            return self._of_node(task, owner, rest, path, offset)
        if any(form.fullmatch(name) for form in self.patterns):
            return None
        return self._unknown(task, name, in_condition=path[2] == "if")

    def _of_node(
        self, task: TaskDefinition, owner: str, rest: str, path: Path, offset: int
    ) -> tuple[str, str] | None:
        """Check ``{{.task.x}}`` and ``{{.task[k=v].x}}``; what x may be is known at run time only."""
        key = owner.partition("[")[0]
        target = self.tasks[key]
        if "[" in owner:
            if (fault := node_fault(target, owner)) is not None:
                return fault
        elif target.matrix:
            return (
                f'task "{key}" has a matrix, so "{key}.{rest}" does not say which node',
                f"write {{{{.{example_node(target)}.{rest}}}}}",
            )
        if target.register == rest and not target.matrix:
            return f'"{rest}" of task "{key}" is read by its plain name', f"write {{{{.{rest}}}}}"
        if task.type is TaskType.FORENSIC or (key == task.key and path[2] == "cleanup"):
            return None
        if key == task.key:
            in_matrix = rest in target.matrix
            return None if in_matrix else (f'task "{key}" reads its own result', "read it in a later task")
        self._ask(task, (owner,), f'"{owner}.{rest}" comes from task "{{}}"', path, offset)
        return None

    def _unknown(self, task: TaskDefinition, name: str, *, in_condition: bool) -> tuple[str, str]:
        if name in self.workflow.secrets:
            return secret_fault(name)
        if name in TOLD_HANDLERS | TOLD_WORKFLOW_HANDLER:
            who = "the workflow's handler" if name in TOLD_WORKFLOW_HANDLER else "handlers"
            return f'"{name}" is told to {who} only', 'add type = "forensic", or name it in on_failure'
        self.suggestions += 1
        near = ""
        if self.suggestions <= MOST_SUGGESTIONS:
            near = did_you_mean(name, [*task.matrix, *self.known, *self.registered, *self.by_node])
        advice = f"give it with --var {name}=..., add it to [variables], or register it in a task before"
        if not in_condition:
            advice += f"; write {{{{!.{name}}}}} for the text itself"
        return f'nothing sets "{name}"', near or advice


def _cut(text: str, places: list[Reference]) -> str:
    """Return a text with a letter for each placeholder."""
    for place in reversed(places):
        text = text[: place.start] + "x" + text[place.end :]
    return text


def texts_of(key: str, task: TaskDefinition) -> Iterator[tuple[Path, str, bool]]:
    """Yield the texts of a task that may hold placeholders: where, what, and whether the shell reads it."""
    if task.cmd is not None and "{{" in task.cmd:
        yield ("tasks", key, "cmd"), task.cmd, True
    if task.for_each:
        yield ("tasks", key, "for_each"), task.for_each, False
    if task.working_dir and "{{" in task.working_dir:
        yield ("tasks", key, "working_dir"), task.working_dir, False
    for index, text in enumerate(task.argv):
        yield ("tasks", key, "argv", index), text, False
    for name, text in task.env.items() if task.env else ():
        yield ("tasks", key, "env", name), text, False
    if task.pre or task.post or task.cleanup:
        for field in ("pre", "post", "cleanup"):
            for index, text in enumerate(getattr(task, field)):
                yield ("tasks", key, field, index), text, True
    if task.inputs or task.outputs:
        for field in ("inputs", "outputs"):
            for index, text in enumerate(getattr(task, field)):
                yield ("tasks", key, field, index), text, False
    if task.args:
        yield from _texts_of_data(("tasks", key, "args"), task.args)


def _texts_of_data(path: Path, value: object) -> Iterator[tuple[Path, str, bool]]:
    pending = [(path, value)]
    while pending:
        place, inner = pending.pop()
        if isinstance(inner, str):
            yield place, inner, place[3:] == ("cmd",)
        elif isinstance(inner, Mapping):
            pending.extend(((*place, name), item) for name, item in inner.items())
        elif isinstance(inner, list):
            pending.extend(((*place, index), item) for index, item in enumerate(inner))
