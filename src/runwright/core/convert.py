"""From the tables of a workflow file, whose shape is right, to its records."""

from collections.abc import Callable, Mapping
from typing import Any

from runwright.core.duration import parse_duration, parse_size
from runwright.core.errors import Problem
from runwright.core.variables import normal_name
from runwright.core.workflow import TaskDefinition, TaskType, Trigger, TriggerType, Workflow

NOTHING: dict[str, Any] = {}
"""Shared by all tasks that have no table of a kind: a hundred thousand empty dicts are not small."""

_Convert = Callable[[Any], Any]


def _texts(value: str | list[str]) -> tuple[str, ...]:
    return (value,) if isinstance(value, str) else tuple(value)


def _codes(value: int | list[int]) -> tuple[int, ...]:
    return (value,) if isinstance(value, int) else tuple(value)


def _depends_on(value: list[str]) -> tuple[str, ...]:
    return tuple([normal_name(name) if "[" in name else name for name in value])


def _matrix(value: dict[str, list[str]]) -> dict[str, tuple[str, ...]]:
    return {name: tuple(value[name]) for name in sorted(value)}


_CONVERT: dict[str, _Convert] = {
    "type": TaskType,
    "argv": tuple,
    "depends_on": _depends_on,
    "matrix": _matrix,
    "retry_delay": parse_duration,
    "retry_backoff": float,
    "retry_max_delay": parse_duration,
    "retry_jitter": float,
    "retry_on": _codes,
    "timeout": parse_duration,
    "kill_grace": parse_duration,
    "pre": _texts,
    "post": _texts,
    "cleanup": _texts,
    "inputs": tuple,
    "outputs": tuple,
    "tags": tuple,
    "max_log_bytes": parse_size,
    "secrets": tuple,
}


def make_workflow(data: Mapping[str, Any], default_name: str, problems: list[Problem]) -> Workflow:
    """Make the records of a workflow; what can't be converted is added to `problems` and left at its default."""
    fields = {
        key: value for key, value in data.items() if key not in ("tasks", "triggers") and key not in _CONVERT
    }
    for key in data.keys() & _CONVERT.keys():
        _convert(fields, key, data[key], (key,), problems)
    fields["name"] = data.get("name") or default_name
    fields["triggers"] = tuple(_trigger(table) for table in data.get("triggers", ()) if "type" in table)
    tasks = {key: _task(key, table, problems) for key, table in data.get("tasks", NOTHING).items()}
    return Workflow(tasks=tasks, **fields)


def _trigger(table: Mapping[str, Any]) -> Trigger:
    return Trigger(type=TriggerType(table["type"]), config=table.get("config", NOTHING))


def _task(key: str, table: Mapping[str, Any], problems: list[Problem]) -> TaskDefinition:
    fields: dict[str, Any] = {"key": key, "name": key, "args": NOTHING, "env": NOTHING, "matrix": NOTHING}
    for name, value in table.items():
        if name in _CONVERT:
            _convert(fields, name, value, ("tasks", key, name), problems)
        elif name == "if":
            fields["condition"] = value
        else:
            fields[name] = value
    if not fields["name"]:
        fields["name"] = key
    return TaskDefinition(**fields)


def _convert(
    fields: dict[str, Any], name: str, value: Any, path: tuple[str, ...], problems: list[Problem]
) -> None:
    try:
        fields[name] = _CONVERT[name](value)
    except ValueError as error:
        problems.append(Problem(message=f'"{name}" can\'t be {value!r}', path=path, suggestion=str(error)))
