"""From the tables of a definition file, whose shape is right, to the fields of records; and those of a workflow."""

from collections.abc import Callable, Mapping
from typing import Any

from runwright.core.check_fields import Path
from runwright.core.duration import parse_duration, parse_size
from runwright.core.errors import Problem
from runwright.core.variables import normal_name
from runwright.core.workflow import ItemFailures, TaskDefinition, TaskType, Trigger, TriggerType, Workflow

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
    # of every kind of file
    "kill_grace": parse_duration,
    "max_log_bytes": parse_size,
    "retry_delay": parse_duration,
    "secrets": tuple,
    "tags": tuple,
    "timeout": parse_duration,
    "cleanup": _texts,
    "post": _texts,
    "pre": _texts,
    # of workflows
    "argv": tuple,
    "depends_on": _depends_on,
    "inputs": tuple,
    "item_failures": ItemFailures,
    "matrix": _matrix,
    "outputs": tuple,
    "retry_backoff": float,
    "retry_jitter": float,
    "retry_max_delay": parse_duration,
    "retry_on": _codes,
    "type": TaskType,
    # of plans
    "cleanup_timeout": parse_duration,
    "exec": _texts,
    "limit_duration": parse_duration,
    "pause": parse_duration,
    "post_exec": _texts,
    "pre_exec": _texts,
    # of goals
    "execution_timeout": parse_duration,
    "longest_sleep": parse_duration,
    "perform": _texts,
    "plan": _texts,
    "sleep_between_runs": parse_duration,
}
"""How the values of keys become those of fields; a key that is not here is a field as it stands."""


def convert_fields(table: Mapping[str, Any], path: Path, problems: list[Problem]) -> dict[str, Any]:
    """Return the fields of a table's record; what can't be converted is added to `problems` and left at its default."""
    fields: dict[str, Any] = {}
    for name, value in table.items():
        if name in _CONVERT:
            _convert(fields, name, value, (*path, name), problems)
        else:
            fields[name] = value
    return fields


def make_workflow(data: Mapping[str, Any], default_name: str, problems: list[Problem]) -> Workflow:
    """Make the records of a workflow; what can't be converted is added to `problems` and left at its default."""
    common = {key: value for key, value in data.items() if key not in ("tasks", "triggers")}
    fields = convert_fields(common, (), problems)
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


def _convert(fields: dict[str, Any], name: str, value: Any, path: Path, problems: list[Problem]) -> None:
    try:
        fields[name] = _CONVERT[name](value)
    except ValueError as error:
        problems.append(Problem(message=f'"{name}" can\'t be {value!r}', path=path, suggestion=str(error)))
