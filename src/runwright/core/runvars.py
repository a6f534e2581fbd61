"""The variables of a run: who owns them, who sees them, and which a task sets."""

from collections.abc import Container, Iterable, Iterator, Mapping
from typing import Any

import msgspec

from runwright.core.errors import Failure, TaskFailed
from runwright.core.run import TaskRow, Variable
from runwright.core.states import TaskRole
from runwright.core.values import stored_value
from runwright.core.workflow import TaskDefinition

MAX_EXPORTED = 1_000
"""Most variables that a task's environment shows."""

EXPORT_PREFIX = "RUNWRIGHT_VAR_"
"""What their names begin with there; the rest is the name as it is, and once more in capitals."""

VALUE_BYTES = 64 * 1024
"""Longest text of one variable and of one task's value, in bytes."""


_NO_VALUES: Mapping[str, Any] = {}


class Scope:
    """What one node sees: a `Lookup` that reads its own values, then ``<node id>.<name>``, then the run's variables.

    Args:
        node_id: Who sees it.
        own: Its own values.
        values: The run's variables.
        typed: Values of tasks as they are, by ``<node id>.value``.
        own_typed: Its own values as they are, of those that are more than texts.
    """

    __slots__ = ("_node_id", "_own", "_own_typed", "_typed", "_values")

    def __init__(
        self,
        node_id: str,
        own: Mapping[str, str],
        values: Mapping[str, str],
        typed: Mapping[str, Any],
        own_typed: Mapping[str, Any],
    ) -> None:
        self._node_id = node_id
        self._own = own
        self._values = values
        self._typed = typed
        self._own_typed = own_typed

    def __call__(self, name: str) -> str:
        """Return the value of a variable; raises KeyError if the node sees none of that name.

        Raises:
            TaskFailed: With code ``E_VALUE`` if it is a value that only functions can take.
        """
        if name in self._own:
            return self._own[name]
        of_node = f"{self._node_id}.{name}"
        found = of_node if of_node in self._values else name
        if found not in self._values and (stored := stored_value(self._typed.get(found))) is not None:
            message = f'"{name}" is a stored value of {stored.size_bytes} bytes ({stored.form.value})'
            raise _not_text(f"{message}, which only a function can take, as an argument of its own")
        return self._values[found]

    def has_typed(self, name: str) -> bool:
        """Tell whether there is a value of that name that is more than its text."""
        return name in (self._own_typed if name in self._own else self._typed)

    def typed(self, name: str) -> Any:
        """Return a value for which `has_typed` is true; changing it changes nothing else."""
        return msgspec.to_builtins((self._own_typed if name in self._own else self._typed)[name])

    def __iter__(self) -> Iterator[str]:
        """Return the names that the node sees."""
        return iter((*self._own, *self._values))


class RunVariables:
    """All variables of a run, each owned by the task that set it; what was given from outside wins."""

    def __init__(self, defaults: Mapping[str, str], given: Mapping[str, str]) -> None:
        self.given = dict(given)
        self._values: dict[str, str] = {**defaults, **given}
        self._typed: dict[str, Any] = {}
        self._owners: dict[str, str] = {}
        self._exports = _Exports({}, {}, {})
        self._exports.update(self._values)

    def restore(self, variables: "Iterable[Variable]", keep: Container[str]) -> None:
        """Take over what earlier attempts set, of the tasks in `keep`, whose outcome stands."""
        for variable in variables:
            if variable.set_by in keep:
                self.set(variable.set_by, {variable.name: variable.value})

    def restore_values(
        self, rows: Iterable[TaskRow], tasks: Mapping[str, TaskDefinition], keep: Container[str]
    ) -> None:
        """Take over the values that others can take as they are, of the tasks in `keep`, whose outcome stands."""
        for row in rows:
            if row.id in keep and row.role is TaskRole.TASK and is_typed(tasks[row.key], row.value):
                self.set_value(row.id, row.value)

    def check(self, task_id: str, variables: Mapping[str, str]) -> None:
        """Refuse variables that another task owns, or that are too long to keep.

        Raises:
            TaskFailed: With code ``E_VARIABLE``.
        """
        for name, value in variables.items():
            owner = self._owners.get(name, task_id)
            if owner != task_id:
                raise _refused(f'variable "{name}" is already set by task "{owner}"; register another name')
            if len(value.encode("utf-8", "surrogatepass")) > VALUE_BYTES:
                raise _refused(f'variable "{name}" is longer than {VALUE_BYTES} bytes; write it to a file')

    def set(self, task_id: str, variables: Mapping[str, str]) -> None:
        """Store variables of a task whose outcome is recorded."""
        for name, value in variables.items():
            self._owners[name] = task_id
            if name not in self.given:
                self._values[name] = value
                self._exports.update({name: value})

    def set_value(self, task_id: str, value: Any) -> None:
        """Keep what a task that is no command returned, None included, for those that take values as they are."""
        name = f"{task_id}.value"
        if name not in self.given:
            self._typed[name] = value

    def seen_by(
        self, node_id: str, own: Mapping[str, str], own_typed: Mapping[str, Any] = _NO_VALUES
    ) -> Scope:
        """Return what one node sees.

        Args:
            node_id: Which.
            own: Its matrix values, what a handler is told, or an item.
            own_typed: Those of them that are more than texts, as they are.
        """
        return Scope(node_id, own, self._values, self._typed, own_typed)

    def exported(self, own: Mapping[str, str]) -> dict[str, str]:
        """Return what a task's environment shows: the variables whose names can be part of a shell name.

        There are at most `MAX_EXPORTED`, the newest, and `own` are newer than all others.
        """
        exports = self._exports
        if own:
            exports = exports.copy()
            exports.update(own)
        return exports.environment()


class _Exports:
    """The newest variables as an environment shows them, kept up to date: attempts are many, and so are variables."""

    __slots__ = ("_capitals", "_exact", "_owner_of_capitals")

    def __init__(
        self, exact: dict[str, str], capitals: dict[str, str], owner_of_capitals: dict[str, str]
    ) -> None:
        self._exact = exact
        self._capitals = capitals
        self._owner_of_capitals = owner_of_capitals

    def copy(self) -> "_Exports":
        return _Exports(dict(self._exact), dict(self._capitals), dict(self._owner_of_capitals))

    def environment(self) -> dict[str, str]:
        """Return all of them, a name as it is before one in capitals."""
        return {**self._capitals, **self._exact}

    def update(self, values: Mapping[str, str]) -> None:
        """Show these, as the newest."""
        for name, value in values.items():
            if name.isidentifier() and name.isascii():
                self._show(EXPORT_PREFIX + name, EXPORT_PREFIX + name.upper(), value)

    def _show(self, exact: str, capitals: str, value: str) -> None:
        self._exact.pop(exact, None)
        self._exact[exact] = self._capitals[capitals] = value
        self._owner_of_capitals[capitals] = exact
        if len(self._exact) > MAX_EXPORTED:
            self._drop(next(iter(self._exact)))

    def _drop(self, exact: str) -> None:
        del self._exact[exact]
        capitals = exact.upper()
        if self._owner_of_capitals[capitals] == exact:
            del self._owner_of_capitals[capitals], self._capitals[capitals]


def _refused(message: str) -> TaskFailed:
    return TaskFailed(Failure(code="E_VARIABLE", message=message))


def _not_text(message: str) -> TaskFailed:
    return TaskFailed(Failure(code="E_VALUE", message=message))


def is_typed(definition: TaskDefinition, value: Any) -> bool:
    """Tell whether others can take a task's value as it is: not a command's line, nor a list of items that is left out."""
    return not definition.is_command and (value is not None or not definition.for_each)


def value_text(value: Any) -> str:
    """Return a task's value as the text of a variable: strings as they are, other plain data as JSON."""
    return value if isinstance(value, str) else msgspec.json.encode(value).decode()


def named_values(
    node_id: str, definition: TaskDefinition, register: str, value: Any, variables: Mapping[str, str]
) -> dict[str, str]:
    """Return the variables that a finished node sets, by their full names.

    Args:
        node_id: Who sets them.
        definition: The node's definition.
        register: Its ``register`` name, filled in; empty if it has none.
        value: Its value; the text of ``register``, and read as ``{{.task.value}}``.
        variables: What it named itself, read as ``{{.task.NAME}}``.

    Raises:
        TaskFailed: With code ``E_VALUE`` if it is to register a value that is stored elsewhere.
    """
    named = {f"{node_id}.{name}": text for name, text in variables.items()}
    if (stored := stored_value(value)) is not None:
        if register:
            message = f"its value has {stored.size_bytes} bytes ({stored.form.value}) and is stored by digest"
            raise _not_text(f'{message}, so it can\'t be registered as "{register}"; remove register')
        return named
    if value is not None:
        named[f"{node_id}.value"] = value_text(value)
    if register:
        own_name_a_node = definition.matrix and register == definition.register
        text = "" if value is None else value_text(value)
        named[f"{node_id}.{register}" if own_name_a_node else register] = text
    return named
