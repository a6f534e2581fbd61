"""A unit of work and what comes of it, as immutable values."""

from collections.abc import Mapping
from enum import StrEnum
from typing import Any, NewType

from msgspec import Struct, field, structs

TaskId = NewType("TaskId", str)
"""Hierarchical and dot separated, for instance ``build.pre``; unique in its session."""

SessionId = NewType("SessionId", str)
"""A UUIDv7 in its canonical text form."""


class CacheUse(StrEnum):
    """What a cache may do for a task: nothing at all, only keep what comes of it, or also spare it."""

    OFF = "off"
    KEEP = "keep"
    USE = "use"


class Task(Struct, frozen=True, kw_only=True):
    """One unit of work, ready to execute: nothing in it waits to be filled in.

    Attributes:
        id: Where the task stands in its session.
        executor: Dotted route to who runs it; a router takes off the first part.
        args: Plain data (None, bool, int, float, str, list, dict) for the executor, checked against its `Args`.
        inputs: Globs of the files it reads, relative to the session's source tree.
        dependencies: Ids of tasks of the same session whose success it needs.
        outputs: Files and directories that it makes, as paths or globs relative to the session's source tree; for a
            cache, which keeps and restores them.
        env: Names of environment variables that it depends on, beside those that its `args` set; for a cache.
        cache: What a cache may do for it; means nothing where there is none.
    """

    id: TaskId
    executor: str = ""
    args: Mapping[str, Any] = field(default_factory=dict)
    inputs: tuple[str, ...] = ()
    dependencies: tuple[TaskId, ...] = ()
    outputs: tuple[str, ...] = ()
    env: tuple[str, ...] = ()
    cache: CacheUse = CacheUse.USE


class Result(Struct, frozen=True, kw_only=True):
    """What a task left behind when it succeeded.

    Attributes:
        outputs: Files it made, relative to the session's output directory of the task.
        value: Its return value as plain data; for a command the last non-empty line of its standard output.
        variables: Values it named itself, by a file of ``NAME=value`` lines or as its executor allows.
        followups: Tasks to run next, as its children; ids may be short (``child``) or in full (``parent.child``).
        children: Results of the follow-ups that have run, theirs included, by id.
    """

    outputs: tuple[str, ...] = ()
    value: Any = None
    variables: Mapping[str, str] = field(default_factory=dict)
    followups: tuple[Task, ...] = ()
    children: "Mapping[TaskId, Result]" = field(default_factory=dict)


replace = structs.replace
"""Copy a record with some fields changed: ``replace(task, executor="shell")``."""
