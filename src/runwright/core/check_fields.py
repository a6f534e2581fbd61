"""Rules for single fields of definitions: of files as a whole, of tasks, and of steps."""

import posixpath
import re
from collections.abc import Callable, Iterable, Mapping
from math import prod
from typing import TYPE_CHECKING

from msgspec.structs import replace

from runwright.core.errors import DefinitionError, Problem
from runwright.core.node_names import is_of_item
from runwright.core.pattern import pattern
from runwright.core.variables import compile_shell, is_plain, references
from runwright.core.workflow import TaskDefinition, TaskType, Trigger, TriggerType, Workflow

if TYPE_CHECKING:
    from runwright.core.goal import GoalDefinition
    from runwright.core.plan import PlanDefinition

Path = tuple[str | int, ...]
Add = Callable[[Path, str, str], None]
"""Takes the place, the fault and what to do."""

MOST_NODES = 1_000_000
MOST_RETRIES = 1_000_000

DENIED = frozenset(
    {
        "LD_PRELOAD",
        "LD_LIBRARY_PATH",
        "LD_AUDIT",
        "LD_DEBUG",
        "LD_DEBUG_OUTPUT",
        "LD_PROFILE",
        "LD_PROFILE_OUTPUT",
        "LD_SHOW_AUXV",
        "LD_ORIGIN_PATH",
        "LD_DYNAMIC_WEAK",
        "DYLD_INSERT_LIBRARIES",
        "DYLD_LIBRARY_PATH",
        "DYLD_FRAMEWORK_PATH",
        "DYLD_FALLBACK_LIBRARY_PATH",
        "DYLD_FALLBACK_FRAMEWORK_PATH",
    }
)
"""Variables by which a program can be made to load foreign code before it starts."""

KEY = pattern(r"[A-Za-z0-9_-]+", re.ASCII)
"""What tasks, steps and the dimensions of a matrix can be called."""
KEY_ADVICE = "use letters, digits, - and _ only"

SHELL_NAME = pattern(r"[A-Za-z_][A-Za-z0-9_]*", re.ASCII)
"""What a variable of the shell can be called."""

_VARIABLE = pattern(r"[A-Za-z0-9_.+\-]+", re.ASCII)
_BAD_IN_VALUE = pattern(r"[,\[\]=\x00-\x1f\x7f]")
_CRON_FIELD = pattern(r"[0-9A-Za-z*/,?#+-]+", re.ASCII)
_CRON_WORDS = {"@yearly", "@annually", "@monthly", "@weekly", "@daily", "@midnight", "@hourly"}
_CONFIG_KEY = {
    TriggerType.CRON: ("schedule", "0 3 * * *"),
    TriggerType.FILE_WATCH: ("path", "data/in"),
    TriggerType.WEBHOOK: ("endpoint", "/hooks/build"),
}
_KERNEL_DIRS = ("/proc", "/sys", "/dev")


def check_common(definition: "Workflow | PlanDefinition | GoalDefinition", add: Add) -> None:
    """Check what a file of any kind says for all its commands."""
    check_env(definition.env, ("env",), add)
    for index, name in enumerate(definition.secrets):
        if not SHELL_NAME.fullmatch(name):
            advice = "list names such as API_TOKEN, not the secrets themselves"
            add(("secrets", index), "a secret is named by its environment variable", advice)
    if definition.max_log_bytes < 1:
        add(("max_log_bytes",), '"max_log_bytes" must be at least 1', 'write a size, for instance "10MiB"')


def check_variables(variables: Mapping[str, str], add: Add) -> None:
    """Check the names and values of ``[variables]``."""
    for name, value in variables.items():
        if not _VARIABLE.fullmatch(name):
            add(
                ("variables", name),
                f'"{name}" can\'t be the name of a variable',
                "use letters, digits, _ . + -",
            )
        if "\0" in value:
            add(("variables", name), "a variable can't hold a NUL", "remove the NUL")


def check_env(env: Mapping[str, str], path: Path, add: Add) -> None:
    """Check the names and values of environment variables."""
    for name, value in env.items():
        if name.upper() in DENIED:
            text = f'"{name}" can\'t be set: it makes programs load foreign code'
            add((*path, name), text, "set it inside the command, if it must be")
        elif not SHELL_NAME.fullmatch(name):
            text = f'"{name}" can\'t be the name of an environment variable'
            add((*path, name), text, "use letters, digits and _, no digit first")
        if "\0" in value:
            add((*path, name), "an environment variable can't hold a NUL", "remove the NUL")


def check_working_dir(directory: str, path: Path, add: Add) -> None:
    """Check that commands can run in a directory."""
    if directory and (fault := working_dir_fault(directory)):
        add((*path, "working_dir"), fault, "choose a directory of files")


def working_dir_fault(path: str) -> str | None:
    """Say why nothing can run in a directory, or return None; to be asked again once variables are filled in."""
    if "\0" in path:
        return "a path can't hold a NUL"
    clean = posixpath.normpath(path)
    clean = "/" + clean.lstrip("/") if clean.startswith("/") else clean
    if any(clean == kernel or clean.startswith(kernel + "/") for kernel in _KERNEL_DIRS):
        return f'nothing can run in "{path}": it belongs to the kernel'
    return None


def check_matrix(matrix: Mapping[str, tuple[str, ...]], path: Path, add: Add) -> None:
    """Check that every combination of values makes one node with a clear id."""
    for name, values in matrix.items():
        if not KEY.fullmatch(name):
            add(
                (*path, name),
                f'"{name}" can\'t be the name of a dimension',
                KEY_ADVICE,
            )
        if not values:
            add(
                (*path, name),
                f'"{name}" of the matrix has no values, so the task would never run',
                "add values",
            )
        _check_values(name, values, (*path, name), add)
    nodes = prod(map(len, matrix.values()))
    if nodes > MOST_NODES:
        add(
            path,
            f"the matrix has {nodes} combinations, more than {MOST_NODES}",
            "split it into several tasks",
        )


def _check_values(name: str, values: tuple[str, ...], path: Path, add: Add) -> None:
    seen: set[str] = set()
    for index, value in enumerate(values):
        if bad := _BAD_IN_VALUE.search(value):
            text = f"the value {value!r} of {name!r} holds {bad[0]!r}, which would make the ids of nodes ambiguous"
            add((*path, index), text, "give the value a short name, and map it to the text in the command")
        elif value != value.strip():
            add(
                (*path, index),
                f"the value {value!r} of {name!r} starts or ends with a space",
                "remove the space",
            )
        if value in seen:
            add((*path, index), f"the value {value!r} of {name!r} is there twice", "remove one")
        seen.add(value)


def check_for_each(task: TaskDefinition, path: Path, add: Add) -> None:
    """Check what maps a task over a list."""
    if not task.for_each:
        name = "pool" if task.pool else "item_failures"
        add(
            (*path, name),
            f'"{name}" says how items run, and there are none',
            'add for_each = "{{.task.value}}"',
        )
    elif task.type is TaskType.FORENSIC:
        add((*path, "for_each"), "a handler can't be mapped over a list", "call it from a task that is")
    elif "\0" in task.for_each:
        add((*path, "for_each"), "a list can't hold a NUL", "remove the NUL")
    if task.for_each and task.cache:
        for index, output in enumerate(task.outputs):
            if not _names_item(output):
                text = f'"{output}" would be the output of every item of task "{task.key}"'
                add(
                    (*path, "outputs", index),
                    text,
                    "name the item in it, for instance {{.item}} or {{.index}}",
                )
    if task.pool < 0:
        add((*path, "pool"), '"pool" must be at least 1', "remove it for as many as there are workers")


def _names_item(text: str) -> bool:
    """Tell whether a text differs from item to item."""
    return any(is_of_item(one.name) for one in references(text))


def check_numbers(task: TaskDefinition, path: Path, add: Add) -> None:
    """Check the numbers of a task; only what differs from the default is looked at twice."""
    check_retries(task.retries, path, add)
    if task.retry_backoff != 1.0 and not 1.0 <= task.retry_backoff <= 1000.0:
        add(
            (*path, "retry_backoff"), '"retry_backoff" must be from 1 to 1000', "write 2 to double each delay"
        )
    if task.retry_jitter and not 0.0 <= task.retry_jitter <= 1.0:
        add(
            (*path, "retry_jitter"),
            '"retry_jitter" must be from 0 to 1',
            "write 0.1 for a tenth of the delay",
        )
    for index, code in enumerate(task.retry_on):
        if not 1 <= code <= 255:
            add(
                (*path, "retry_on", index),
                f"{code} is not the exit code of a failure",
                "write codes from 1 to 255",
            )
    if task.max_log_bytes is not None and task.max_log_bytes < 1:
        add(
            (*path, "max_log_bytes"),
            '"max_log_bytes" must be at least 1',
            'write a size, for instance "10MiB"',
        )
    if task.pre or task.post or task.cleanup or task.inputs or task.outputs:
        _check_lists(task, path, add)
    if task.cache:
        _check_cache(task, path, add)


def _check_lists(task: TaskDefinition, path: Path, add: Add) -> None:
    for name in ("pre", "post", "cleanup", "inputs", "outputs"):
        check_texts(enumerate(getattr(task, name)), (*path, name), add)


def _check_cache(task: TaskDefinition, path: Path, add: Add) -> None:
    """Check that a cache can skip the task as a whole, and restore what it made."""
    from runwright.core.outputs import output_fault  # noqa: PLC0415 - most workflows have no cache

    if task.type is TaskType.FORENSIC:
        add((*path, "cache"), f'"{task.key}" is a handler, and those can\'t be cached', "remove cache")
    for name in ("pre", "post"):
        if getattr(task, name):
            text = f'task "{task.key}" is cached, so "{name}" would run without it'
            add((*path, name), text, "put the commands into cmd, or remove cache")
    if task.executor == "python" and task.args.get("pickle") is True:
        text = f'task "{task.key}" is cached, and a cache can\'t replay what is pickled'
        add((*path, "args", "pickle"), text, "return plain data, or remove cache")
    for index, output in enumerate(task.outputs):
        if fault := output_fault(output):
            add((*path, "outputs", index), fault, "name a file or directory inside it")


def check_retries(retries: int, path: Path, add: Add) -> None:
    """Check how often a task or step is tried again."""
    if not 0 <= retries <= MOST_RETRIES:
        add((*path, "retries"), f'"retries" must be from 0 to {MOST_RETRIES}', "write 0 for a single attempt")


def check_texts(texts: Iterable[tuple[int, str]], path: Path, add: Add) -> None:
    """Check that no text of a list is empty or holds a NUL.

    Args:
        texts: Each with its place in the list.
        path: Of the list; its last part is the list's key.
        add: Takes what is wrong.
    """
    for index, text in texts:
        if not text or text.isspace():
            add((*path, index), f'an element of "{path[-1]}" is empty', "remove it")
        elif "\0" in text:
            add((*path, index), f'an element of "{path[-1]}" holds a NUL', "remove the NUL")


def shell_faults(command: str, path: Path) -> list[Problem]:
    """Return the places of a command where a value can't be made safe."""
    if is_plain(command):
        return []
    try:
        compile_shell(command)
    except DefinitionError as error:
        return [replace(fault, path=path) for fault in error.problems]
    return []


def secret_fault(name: str) -> tuple[str, str]:
    """Say that a placeholder can't name a secret, and what to do."""
    advice = f'use "${name}" in the command: a secret is in the environment, never a variable'
    return f'"{name}" is a secret, and those can\'t be filled in', advice


def check_trigger(trigger: Trigger, number: int, add: Add) -> None:
    """Check that a trigger has what its type needs."""
    key, example = _CONFIG_KEY[trigger.type]
    path: Path = ("triggers", number)
    value = trigger.config.get(key, "")
    if not value.strip():
        text = f'a trigger of type "{trigger.type}" needs "{key}" in its config'
        add(path, text, f'add config = {{ {key} = "{example}" }}')
    elif trigger.type is TriggerType.CRON and not _is_cron(value):
        text = f'"{value}" is not a cron schedule'
        add((*path, "config", key), text, "write five or six fields: minute hour day month weekday")


def _is_cron(text: str) -> bool:
    fields = text.split()
    if len(fields) == 1:
        return fields[0] in _CRON_WORDS
    return len(fields) in (5, 6) and all(map(_CRON_FIELD.fullmatch, fields))
