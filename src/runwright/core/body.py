"""What a task's attempt executes, with every ``{{.name}}`` filled in."""

import re
from collections.abc import Callable, Mapping, Sequence
from typing import Any, TypeVar

from runwright.core.errors import DefinitionError, Failure, TaskFailed
from runwright.core.pattern import pattern
from runwright.core.runvars import EXPORT_PREFIX, Scope
from runwright.core.variables import Lookup, compile_shell, fill, has_placeholder, sole_reference
from runwright.core.workflow import TaskDefinition

_Filled = TypeVar("_Filled")

_MAGIC = pattern(r"([*?[])")
_EXPORTED = pattern(EXPORT_PREFIX + r"[A-Za-z0-9_]+", re.ASCII)


class Body:
    """A task's definition, read once, filled in once an attempt.

    Args:
        definition: Whose texts.
        env: The workflow's environment; the task's own wins.
        kill_grace: The workflow's, in seconds.
    """

    __slots__ = (
        "_args_cmd",
        "_cleanup",
        "_cmd",
        "_counting_env",
        "_definition",
        "_env",
        "_env_is_plain",
        "_post",
        "_pre",
        "clean_env",
        "kill_grace",
    )

    def __init__(self, definition: TaskDefinition, env: Mapping[str, str], kill_grace: float) -> None:
        self._definition = definition
        self._env = {**env, **definition.env} if definition.env else env
        self._env_is_plain = not any(has_placeholder(text) for text in self._env.values())
        self._counting_env: tuple[str, ...] | None = None
        self.clean_env = definition.clean_env
        self.kill_grace = kill_grace if definition.kill_grace is None else definition.kill_grace
        self._cmd = None if definition.cmd is None else command_filler(definition.cmd)
        args_cmd = definition.args.get("cmd")
        self._args_cmd = command_filler(args_cmd) if isinstance(args_cmd, str) else None
        self._pre = tuple(command_filler(text) for text in definition.pre) if definition.pre else ()
        self._post = tuple(command_filler(text) for text in definition.post) if definition.post else ()
        self._cleanup = (
            tuple(command_filler(text) for text in definition.cleanup) if definition.cleanup else ()
        )

    def args(self, lookup: Lookup) -> dict[str, Any]:
        """Return the arguments for the task's executor.

        Raises:
            TaskFailed: With code ``E_TEMPLATE`` if a variable is unknown or does not fit where it stands.
        """
        return guarded(lambda: self._args(lookup))

    def typed_args(self, scope: Scope) -> dict[str, Any]:
        """Return the arguments for an executor that takes values as they are, not as text.

        Raises:
            TaskFailed: As by `args`.
        """
        args = self._definition.args
        return guarded(lambda: {name: fill_typed(value, scope) for name, value in args.items()})

    def _args(self, lookup: Lookup) -> dict[str, Any]:
        if self._cmd is not None:
            return {"cmd": self._cmd(lookup)}
        if self._definition.argv:
            return {"argv": [fill(text, lookup) for text in self._definition.argv]}
        command = self._args_cmd  # the one argument that a shell reads, whatever the executor
        return {
            name: command(lookup) if command and name == "cmd" else fill_data(value, lookup)
            for name, value in self._definition.args.items()
        }

    def environment(self, lookup: Lookup) -> Mapping[str, str]:
        """Return the variables that workflow and task ask for."""
        if self._env_is_plain:
            return self._env
        return guarded(lambda: {name: fill(text, lookup) for name, text in self._env.items()})

    def working_dir(self, lookup: Lookup) -> str:
        """Return the directory to run in; empty for the run's."""
        text = self._definition.working_dir
        return guarded(lambda: directory_filled(text, lookup)) if text else ""

    def register(self, lookup: Lookup) -> str:
        """Return the name under which the value is registered; empty for none."""
        text = self._definition.register
        return guarded(lambda: fill(text, lookup)) if text else ""

    def pre(self, lookup: Lookup) -> list[str]:
        """Return the commands that come before the task's own work."""
        return _all(self._pre, lookup)

    def post(self, lookup: Lookup) -> list[str]:
        """Return the commands that come after it."""
        return _all(self._post, lookup)

    def cleanup(self, lookup: Lookup) -> list[str]:
        """Return the commands that undo it at the end of the run."""
        return _all(self._cleanup, lookup)

    def inputs(self, lookup: Lookup) -> tuple[str, ...]:
        """Return what the task reads, as globs in which values stand for themselves."""
        texts = self._definition.inputs
        return guarded(lambda: tuple(_path(text, lookup) for text in texts)) if texts else ()

    def outputs(self, lookup: Lookup) -> tuple[str, ...]:
        """Return what the task makes, as globs in which values stand for themselves."""
        texts = self._definition.outputs
        return guarded(lambda: tuple(_path(text, lookup) for text in texts)) if texts else ()

    @property
    def env_names(self) -> tuple[str, ...]:
        """Names of variables of the run that the task reads from its environment, as far as its command tells."""
        if self._counting_env is None:
            text = " ".join((self._definition.cmd or "", *self._definition.argv))
            self._counting_env = tuple(sorted(set(_EXPORTED.findall(text))))
        return self._counting_env

    @property
    def is_plain(self) -> bool:
        """True if an attempt is a single execution: no ``pre``, no ``post``."""
        return not self._pre and not self._post


def command_filler(text: str) -> Callable[[Lookup], str]:
    """Return how to fill in a command line; reading its shell syntax is left out where nothing is to be filled in."""
    return compile_shell(text).render if has_placeholder(text) else lambda _: text


def directory_filled(text: str, lookup: Lookup) -> str:
    """Fill in a directory, and refuse what the check of the file would have refused had it known the values."""
    if not has_placeholder(text):
        return text
    from runwright.core.check_fields import working_dir_fault  # noqa: PLC0415 - few directories have placeholders

    filled = fill(text, lookup)
    if fault := working_dir_fault(filled):
        raise DefinitionError(fault)
    return filled


def _path(text: str, lookup: Lookup) -> str:
    return fill(text, _Literal(lookup)) if has_placeholder(text) else text


class _Literal:
    """A lookup whose values mean nothing special in a glob."""

    def __init__(self, lookup: Lookup) -> None:
        self._lookup = lookup

    def __call__(self, name: str) -> str:
        return _MAGIC.sub(r"[\1]", self._lookup(name))


def _all(commands: Sequence[Callable[[Lookup], str]], lookup: Lookup) -> list[str]:
    return guarded(lambda: [command(lookup) for command in commands]) if commands else []


def fill_data(value: Any, lookup: Lookup) -> Any:
    """Return plain data with every text in it filled in."""
    if isinstance(value, str):
        return fill(value, lookup)
    if isinstance(value, Mapping):
        return {name: fill_data(inner, lookup) for name, inner in value.items()}
    if isinstance(value, list | tuple):
        return [fill_data(inner, lookup) for inner in value]
    return value


def fill_typed(value: Any, scope: Scope) -> Any:
    """Return plain data as `fill_data` does, but put in a value as it is where a text is one placeholder alone."""
    if isinstance(value, str):
        sole = sole_reference(value)
        if sole is None or not scope.has_typed(sole.name):
            return fill(value, scope)
        return scope.typed(sole.name)
    if isinstance(value, Mapping):
        return {name: fill_typed(inner, scope) for name, inner in value.items()}
    if isinstance(value, list | tuple):
        return [fill_typed(inner, scope) for inner in value]
    return value


def guarded(make: Callable[[], _Filled]) -> _Filled:
    """Return what `make` returns; a text that can't be filled in is a failure of the task.

    Raises:
        TaskFailed: With code ``E_TEMPLATE``.
    """
    try:
        return make()
    except DefinitionError as error:
        raise TaskFailed(Failure(code="E_TEMPLATE", message=error.with_advice)) from error
