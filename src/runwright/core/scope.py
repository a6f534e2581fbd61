"""The variables of a run as its tasks see them."""

from collections.abc import Callable, Mapping
from typing import Any

import msgspec

from runwright.core.errors import Failure, TaskFailed
from runwright.core.run import Variable
from runwright.core.workflow import TaskDefinition

GIVEN = "--var"
"""Who owns a variable that came from outside."""

VALUE_BYTES = 64 * 1024
"""Longest text of one variable and of one task's value, in bytes."""


class Scope:
    """All variables of a run, each owned by the task that set it; what was given from outside wins.

    A node reads, in this order: its own matrix values, ``<node id>.<name>``, and the run's variables.
    """

    def __init__(self, defaults: Mapping[str, str], given: Mapping[str, str]) -> None:
        self._values: dict[str, str] = dict(defaults)
        self._given = dict(given)
        self._owners: dict[str, str] = {}

    @property
    def given(self) -> Mapping[str, str]:
        """Values that came from outside."""
        return self._given

    def restore(self, variables: "list[Variable]", keep: Callable[[str], bool]) -> None:
        """Take over what earlier attempts set, of the tasks whose outcome stands (``keep(task_id)``)."""
        for variable in variables:
            if variable.set_by != GIVEN and keep(variable.set_by):
                self.set(variable.set_by, {variable.name: variable.value})

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
            self._values[name] = value
            self._owners[name] = task_id

    def lookup(
        self, node_id: str, matrix: Mapping[str, str], extra: Mapping[str, str] | None = None
    ) -> Callable[[str], str]:
        """Return the function by which one node reads variables; it raises KeyError for an unknown name."""

        def read(name: str) -> str:
            if extra is not None and name in extra:
                return extra[name]
            if name in matrix:
                return matrix[name]
            own = f"{node_id}.{name}"
            if own in self._values:
                return self._values[own]
            if name in self._given:
                return self._given[name]
            return self._values[name]

        return read

    def exported(self, matrix: Mapping[str, str], extra: Mapping[str, str] | None) -> dict[str, str]:
        """Return what a task's environment shows: every variable whose name can be a part of a shell name."""
        merged = {**self._values, **self._given, **matrix, **(extra or {})}
        return {name: value for name, value in merged.items() if name.isidentifier() and name.isascii()}


def _refused(message: str) -> TaskFailed:
    return TaskFailed(Failure(code="E_VARIABLE", message=message))


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
    """
    named = {f"{node_id}.{name}": text for name, text in variables.items()}
    if value is not None:
        named[f"{node_id}.value"] = value_text(value)
    if register:
        own_name_a_node = definition.matrix and register == definition.register
        text = "" if value is None else value_text(value)
        named[f"{node_id}.{register}" if own_name_a_node else register] = text
    return named
