"""The workflow file as it stands on disk: one record a table. The JSON Schema is made from these."""

from collections.abc import Collection, Mapping
from typing import Annotated, Any

import msgspec
from msgspec import UNSET, Meta, Struct, UnsetType

from runwright.core.check import NO_EXECUTORS, Executors, Path, check_workflow
from runwright.core.convert import NOTHING, make_workflow
from runwright.core.errors import DefinitionError, Problem
from runwright.core.tables import (
    Commands,
    Duration,
    Environment,
    FileName,
    Retries,
    Secrets,
    Size,
    Variables,
    mended,
)
from runwright.core.workflow import ItemFailures, TaskType, TriggerType, Workflow


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
    for_each: Annotated[
        str,
        Meta(
            description="A list, for instance `{{.task.value}}`: the task runs once for each item, which sees it as `{{.item}}`."
        ),
    ] = ""
    pool: Annotated[
        int,
        Meta(
            description="Most items at a time; as many as there are workers by default.",
            extra_json_schema={"minimum": 1},
        ),
    ] = 0
    item_failures: Annotated[
        ItemFailures,
        Meta(
            description="What a failed item means: `stop` starts no more, `continue` runs the others and fails, `ignore` goes on without it."
        ),
    ] = ItemFailures.STOP
    register: Annotated[str, Meta(description="Variable that takes the last non-empty line of stdout.")] = ""
    ignore_failure: Annotated[bool, Meta(description="Dependents run even if this task fails.")] = False
    retries: Retries = 0
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
    inputs: Annotated[
        list[str], Meta(description="Paths and globs of the files the task reads; `!` takes some out.")
    ] = []
    outputs: Annotated[
        list[str], Meta(description="Paths and globs of the files and directories the task makes.")
    ] = []
    cache: Annotated[
        bool,
        Meta(description="Skip the task while its command, inputs, env and outputs are as they were."),
    ] = False
    tags: list[str] = []
    max_log_bytes: Size | UnsetType = UNSET


class ExecutorTable(Struct, kw_only=True):
    """A named executor: what it is based on, and defaults for its arguments (every other key)."""

    executor: Annotated[str, Meta(description="Name of the executor it is based on.")] = ""
    plugin: Annotated[
        list[str] | UnsetType, Meta(description="Program and arguments of the plugin that it is.")
    ] = UNSET
    shared_files: Annotated[
        bool, Meta(description="Of a plugin: it sees the files of this machine; else files are sent.")
    ] = True
    startup_timeout: Duration = 10


class WorkflowTable(Struct, forbid_unknown_fields=True, kw_only=True):
    """A Runwright workflow."""

    name: FileName = ""
    description: str = ""
    tags: list[str] = []
    on_failure: Annotated[
        str, Meta(description="The handler (a forensic task) that runs if the run fails.")
    ] = ""
    env: Annotated[Environment, Meta(description="Environment variables of every task.")] = {}
    secrets: Secrets = []
    variables: Variables = {}
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


def decode_workflow(
    data: Mapping[str, Any],
    *,
    default_name: str,
    executor_args: Executors = NO_EXECUTORS,
    given: Collection[str] = (),
) -> Workflow:
    """Turn the plain data of a workflow file into a checked workflow.

    Args:
        data: What the file holds; not changed.
        default_name: Name of the workflow if the file gives none.
        executor_args: Executors by name, with the record of their arguments; `shell` need not be among them.
        given: Names of variables that come from outside (``--var``).

    Raises:
        DefinitionError: With every problem found; paths and offsets say where.
    """
    problems: list[Problem] = []
    broken: set[Path] = set()
    if not _has_right_shape(data):
        left = mended(data, WorkflowTable)
        data, broken = left.data, left.broken
        problems += left.problems
    workflow = make_workflow(data, default_name, problems)
    problems += check_workflow(workflow, executor_args=executor_args, given=given, broken=broken)
    if problems:
        raise DefinitionError(list(dict.fromkeys(problems)))
    return workflow


def _has_right_shape(data: Mapping[str, Any]) -> bool:
    """Check everything in C; task by task, so that the records don't all live at once."""
    tasks = data.get("tasks", NOTHING)
    try:
        msgspec.convert({key: value for key, value in data.items() if key != "tasks"}, WorkflowTable)
        for table in msgspec.convert(tasks, dict[str, dict[str, Any]]).values():
            msgspec.convert(table, TaskTable)
    except msgspec.ValidationError:
        return False
    return True
