"""What a workflow file says about a plugin: ``[executors.NAME]`` with the key ``plugin``."""

from collections.abc import Container, Mapping
from typing import Any

from msgspec import Struct

from runwright.core.duration import parse_duration
from runwright.core.errors import Problem

KEYS = frozenset(("plugin", "shared_files", "startup_timeout"))
"""Keys that are about the plugin itself; every other one is a default for the arguments of its tasks."""


class PluginSettings(Struct, frozen=True, kw_only=True):
    """A plugin, and how it is treated.

    Attributes:
        plugin: Program and arguments.
        shared_files: It sees the files of this machine.
        startup_timeout: Seconds that it has for its start.
    """

    plugin: tuple[str, ...]
    shared_files: bool = True
    startup_timeout: float = 10.0


def is_plugin(table: Mapping[str, Any]) -> bool:
    """Tell whether a table of ``executors`` is about a plugin."""
    return "plugin" in table


def plugin_settings(table: Mapping[str, Any]) -> PluginSettings:
    """Return what a table, which has been checked, says about its plugin."""
    return PluginSettings(
        plugin=tuple(table["plugin"]),
        shared_files=table.get("shared_files", True),
        startup_timeout=parse_duration(table.get("startup_timeout", 10.0)),
    )


def plugin_faults(name: str, table: Mapping[str, Any], builtin: Container[str]) -> list[Problem]:
    """Return what is wrong with the table of a plugin.

    Args:
        name: Of the executor.
        table: What the file, or a program, says about it.
        builtin: Names of executors that come with Runwright.
    """
    path = ("executors", name)
    faults = []
    if table.get("executor"):
        faults.append(
            Problem(
                message=f'executor "{name}" is based on "{table["executor"]}" and on a plugin',
                path=(*path, "executor"),
                suggestion='keep one of "executor" and "plugin"',
            )
        )
    if name == "shell" or name in builtin:
        faults.append(
            Problem(
                message=f'"{name}" comes with Runwright, so no plugin can have that name',
                path=(*path, "plugin"),
                suggestion=f"give it another name, for instance [executors.my-{name}]",
            )
        )
    return [*faults, *_command_faults(table, path), *_timeout_faults(table, path)]


def _command_faults(table: Mapping[str, Any], path: tuple[str, ...]) -> list[Problem]:
    command = table["plugin"]
    message = ""
    if not isinstance(command, list | tuple) or not all(isinstance(text, str) for text in command):
        message = "the command of a plugin is no list of texts"
    elif not command or not command[0]:
        message = "the command of a plugin is empty"
    elif any("\0" in text for text in command):
        message = "the command of a plugin can't hold a NUL"
    advice = 'write its program and arguments: plugin = ["python3", "plugin.py"]'
    return [Problem(message=message, path=(*path, "plugin"), suggestion=advice)] if message else []


def _timeout_faults(table: Mapping[str, Any], path: tuple[str, ...]) -> list[Problem]:
    value = table.get("startup_timeout", 10.0)
    advice = 'write how long it may take, for instance "10s"'
    try:
        if parse_duration(value) > 0:
            return []
    except (TypeError, ValueError) as error:
        advice = str(error)
    message = f'"startup_timeout" can\'t be {value!r}'
    return [Problem(message=message, path=(*path, "startup_timeout"), suggestion=advice)]
