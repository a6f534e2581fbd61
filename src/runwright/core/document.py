"""The workflow file as it stands on disk: one record a table. The JSON Schema is made from these."""

from typing import Annotated, Any

from msgspec import UNSET, Meta, Struct, UnsetType

from runwright.core.workflow import TaskType, TriggerType

Duration = Annotated[
    str | int | float,
    Meta(
        description='A duration: "500ms", "30s", "1m30s", "2h", or a number of seconds.',
        extra_json_schema={"examples": ["30s", "1m30s", 5]},
    ),
]
Size = Annotated[
    str | int,
    Meta(description='A size: "64KiB", "10MiB", "1GB", or a number of bytes.'),
]
Commands = Annotated[
    str | list[str],
    Meta(description="One command line, or several that run in order."),
]
Environment = dict[str, str]


class TriggerTable(Struct, forbid_unknown_fields=True, kw_only=True):
    """What may start the workflow; recorded and checked, not acted on by `run`."""

    type: TriggerType
    config: Annotated[
        dict[str, str],
        Meta(description="`schedule` for cron, `path` for file_watch, `endpoint` for webhook."),
    ] = {}


class TaskTable(Struct, forbid_unknown_fields=True, kw_only=True, rename={"condition": "if"}):
    """One task: exactly one of `cmd`, `argv` and `executor`."""

    name: Annotated[str, Meta(description="What people are shown; the key by default.")] = ""
    description: str = ""
    type: Annotated[TaskType, Meta(description="`forensic` marks a handler: it runs on failure only.")] = (
        TaskType.NORMAL
    )
    cmd: Annotated[
        str | UnsetType, Meta(description="A command line for the shell; `{{.name}}` is filled in.")
    ] = UNSET
    argv: Annotated[
        list[str] | UnsetType, Meta(description="A program and its arguments, without a shell.")
    ] = UNSET
    executor: Annotated[str | UnsetType, Meta(description="Who runs the task, with `args`.")] = UNSET
    args: Annotated[dict[str, Any], Meta(description="Arguments of the executor.")] = {}
    working_dir: Annotated[
        str, Meta(description="Where the task runs; the current directory by default.")
    ] = ""
    env: Annotated[Environment, Meta(description="Environment variables of the task.")] = {}
    clean_env: Annotated[bool, Meta(description="Start from an empty environment plus `env`.")] = False
    depends_on: Annotated[
        list[str],
        Meta(
            description='Tasks whose success comes first: "key" or, for one node of a matrix, "key[os=linux]".'
        ),
    ] = []
    condition: Annotated[
        str,
        Meta(
            description='The task is skipped unless this holds, for instance `env == "prod" and not failed()`.'
        ),
    ] = ""
    matrix: Annotated[
        dict[str, list[str]],
        Meta(description="Values by dimension: one node for each combination."),
    ] = {}
    register: Annotated[str, Meta(description="Variable that takes the last non-empty line of stdout.")] = ""
    ignore_failure: Annotated[bool, Meta(description="Dependents run even if this task fails.")] = False
    retries: Annotated[
        int, Meta(description="Attempts after the first.", extra_json_schema={"minimum": 0})
    ] = 0
    retry_delay: Duration = 0
    retry_backoff: Annotated[
        float, Meta(description="Factor from one delay to the next.", extra_json_schema={"minimum": 1})
    ] = 1.0
    retry_max_delay: Duration = 0
    retry_jitter: Annotated[
        float,
        Meta(
            description="Share of each delay drawn at random, 0 to 1.",
            extra_json_schema={"minimum": 0, "maximum": 1},
        ),
    ] = 0.0
    retry_on: Annotated[
        int | list[int], Meta(description="Exit codes worth another attempt; any failure by default.")
    ] = []
    timeout: Duration = 0
    kill_grace: Duration | UnsetType = UNSET
    on_failure: Annotated[
        str, Meta(description="The handler (a forensic task) that runs if this task fails.")
    ] = ""
    pre: Commands = []
    post: Commands = []
    cleanup: Commands = []
    inputs: Annotated[list[str], Meta(description="Globs of the files the task reads.")] = []
    outputs: Annotated[list[str], Meta(description="Files the task makes.")] = []
    tags: list[str] = []
    max_log_bytes: Size | UnsetType = UNSET


class ExecutorTable(Struct, kw_only=True):
    """A named executor: what it is based on, and defaults for its arguments (every other key)."""

    executor: Annotated[str, Meta(description="Name of the executor it is based on.")] = ""


class WorkflowTable(Struct, forbid_unknown_fields=True, kw_only=True):
    """A Runwright workflow."""

    name: Annotated[str, Meta(description="The file's name without .toml by default.")] = ""
    description: str = ""
    tags: list[str] = []
    on_failure: Annotated[
        str, Meta(description="The handler (a forensic task) that runs if the run fails.")
    ] = ""
    env: Annotated[Environment, Meta(description="Environment variables of every task.")] = {}
    secrets: Annotated[
        list[str],
        Meta(description="Environment variables whose values must appear nowhere."),
    ] = []
    variables: Annotated[
        dict[str, str],
        Meta(description="Values for `{{.name}}` unless --var gives others."),
    ] = {}
    kill_grace: Duration = 10
    max_log_bytes: Size = 1 << 30
    triggers: list[TriggerTable] = []
    executors: Annotated[dict[str, ExecutorTable], Meta(description="Named executors.")] = {}
    tasks: Annotated[
        dict[str, TaskTable],
        Meta(
            description="Tasks by key.", extra_json_schema={"propertyNames": {"pattern": "^[A-Za-z0-9_-]+$"}}
        ),
    ] = {}
