"""A workflow's definition as typed records."""

from collections.abc import Mapping
from enum import StrEnum
from typing import Any

from msgspec import Struct, field


class TaskType(StrEnum):
    """`forensic` marks a handler: it runs on failure only."""

    NORMAL = "normal"
    FORENSIC = "forensic"


class TriggerType(StrEnum):
    """What may start a workflow; recorded and checked, not acted on by `run`."""

    CRON = "cron"
    FILE_WATCH = "file_watch"
    WEBHOOK = "webhook"


class ItemFailures(StrEnum):
    """What a failed item means: nothing new starts, the others run and the task fails, or the task goes on without it."""

    STOP = "stop"
    CONTINUE = "continue"
    IGNORE = "ignore"


class Trigger(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """One entry of ``[[triggers]]``."""

    type: TriggerType
    config: Mapping[str, str] = field(default_factory=dict)


class TaskDefinition(Struct, frozen=True, kw_only=True, omit_defaults=True, gc=False):
    """One ``[tasks.KEY]`` table after all checks; durations are seconds.

    Attributes:
        key: The table's name, ``[A-Za-z0-9_-]+``.
        name: What people are shown; the key if the file gives none.
        executor: Dotted route; ``shell`` if the file has `cmd` or `argv`.
        args: The executor's arguments; for ``shell`` those of `ShellArgs` that are not fields here.
        condition: Text of ``if``; empty if there is none.
        matrix: Values by dimension, dimensions in sorted order, values in the file's order.
        for_each: Text of a list, filled in when the task's turn comes: it runs once for each item; empty if it has none.
        pool: Most items at a time; 0 means as many as there are workers.
        item_failures: What a failed item means.
        retry_on: Exit codes that are retried; empty means any failure.
        retry_jitter: Share of each delay that is drawn at random, in [0, 1].
        timeout: Seconds an attempt may take; 0 means no limit.
        kill_grace: Seconds between SIGTERM and SIGKILL; None means the workflow's.
        max_log_bytes: Size past which a log keeps head and tail only; None means the workflow's.
        inputs: Paths and globs of the files it reads, relative to the directory in which the run works.
        outputs: Paths and globs of what it makes, likewise.
        cache: True if it need not run while nothing that it depends on has changed.
    """

    key: str
    name: str
    description: str = ""
    type: TaskType = TaskType.NORMAL
    executor: str = "shell"
    cmd: str | None = None
    argv: tuple[str, ...] = ()
    args: Mapping[str, Any] = field(default_factory=dict)
    working_dir: str = ""
    env: Mapping[str, str] = field(default_factory=dict)
    clean_env: bool = False
    depends_on: tuple[str, ...] = ()
    condition: str = ""
    matrix: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    for_each: str = ""
    pool: int = 0
    item_failures: ItemFailures = ItemFailures.STOP
    register: str = ""
    ignore_failure: bool = False
    retries: int = 0
    retry_delay: float = 0.0
    retry_backoff: float = 1.0
    retry_max_delay: float = 0.0
    retry_jitter: float = 0.0
    retry_on: tuple[int, ...] = ()
    timeout: float = 0.0
    kill_grace: float | None = None
    on_failure: str = ""
    pre: tuple[str, ...] = ()
    post: tuple[str, ...] = ()
    cleanup: tuple[str, ...] = ()
    inputs: tuple[str, ...] = ()
    outputs: tuple[str, ...] = ()
    cache: bool = False
    tags: tuple[str, ...] = ()
    max_log_bytes: int | None = None

    @property
    def is_command(self) -> bool:
        """True if `cmd` or `argv` says what to do."""
        return self.cmd is not None or bool(self.argv)


class Workflow(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """A named graph of tasks, checked and complete.

    Attributes:
        env: Environment of every task; a task's own `env` wins.
        secrets: Names of environment variables whose values must appear nowhere.
        variables: Values of variables unless ``--var`` gives others.
        tasks: By key, in the file's order, handlers included.
        executors: Configuration by executor name, from ``[executors.NAME]``.
    """

    name: str
    description: str = ""
    tags: tuple[str, ...] = ()
    on_failure: str = ""
    env: Mapping[str, str] = field(default_factory=dict)
    secrets: tuple[str, ...] = ()
    variables: Mapping[str, str] = field(default_factory=dict)
    kill_grace: float = 10.0
    max_log_bytes: int = 1 << 30
    triggers: tuple[Trigger, ...] = ()
    executors: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    tasks: Mapping[str, TaskDefinition] = field(default_factory=dict)
