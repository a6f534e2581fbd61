"""Every state and its legal transitions."""

from collections.abc import Mapping
from enum import StrEnum


class RunState(StrEnum):
    """Lifecycle of a run.

    `INTERRUPTED` is never written: a reader sees it in a run whose row says `running` and whose lease has lapsed.
    """

    PENDING = "pending"
    RUNNING = "running"
    SUCCEEDED = "succeeded"
    FAILED = "failed"
    CANCELLED = "cancelled"
    INTERRUPTED = "interrupted"


class TaskState(StrEnum):
    """Lifecycle of a task in a run, and of each of its attempts."""

    PENDING = "pending"
    RUNNING = "running"
    SUCCEEDED = "succeeded"
    FAILED = "failed"
    SKIPPED = "skipped"
    CANCELLED = "cancelled"


class TaskRole(StrEnum):
    """Why a task is in a run: `CHILD` is an item of a task, or what followed from one."""

    TASK = "task"
    CHILD = "child"
    HANDLER = "handler"
    CLEANUP = "cleanup"


class JobState(StrEnum):
    """Lifecycle of a job, as in the protocol that it serves.

    `ERRORED` is a job whose last attempt failed and that waits for another one; `FAILED` has none left.
    """

    QUEUED = "queued"
    PROCESSING = "processing"
    COMPLETED = "completed"
    ERRORED = "errored"
    FAILED = "failed"
    CANCELED = "canceled"


RUN_TRANSITIONS: Mapping[RunState, frozenset[RunState]] = {
    RunState.PENDING: frozenset({RunState.RUNNING, RunState.CANCELLED}),
    RunState.RUNNING: frozenset(
        {RunState.SUCCEEDED, RunState.FAILED, RunState.CANCELLED, RunState.INTERRUPTED, RunState.RUNNING}
    ),
    RunState.INTERRUPTED: frozenset({RunState.RUNNING}),
    RunState.FAILED: frozenset({RunState.RUNNING}),
    RunState.CANCELLED: frozenset({RunState.RUNNING}),
    RunState.SUCCEEDED: frozenset(),
}
"""A resume moves a run back to `running`; a run that succeeded never changes again."""

TASK_TRANSITIONS: Mapping[TaskState, frozenset[TaskState]] = {
    TaskState.PENDING: frozenset(
        {TaskState.RUNNING, TaskState.SKIPPED, TaskState.CANCELLED, TaskState.FAILED}
    ),
    TaskState.RUNNING: frozenset(
        {TaskState.RUNNING, TaskState.SUCCEEDED, TaskState.FAILED, TaskState.CANCELLED, TaskState.PENDING}
    ),
    TaskState.SUCCEEDED: frozenset({TaskState.PENDING}),
    TaskState.FAILED: frozenset({TaskState.PENDING}),
    TaskState.SKIPPED: frozenset({TaskState.PENDING}),
    TaskState.CANCELLED: frozenset({TaskState.PENDING}),
}
"""`running` to `running` is a retry. A final state goes back to `pending` only when a resume decides to redo the
task, which it does to a succeeded one only if its definition changed or the user named it; the outcomes of its
attempts stay as they were recorded."""

JOB_TRANSITIONS: Mapping[JobState, frozenset[JobState]] = {
    JobState.QUEUED: frozenset({JobState.PROCESSING, JobState.CANCELED}),
    JobState.PROCESSING: frozenset(
        {JobState.QUEUED, JobState.COMPLETED, JobState.ERRORED, JobState.FAILED, JobState.CANCELED}
    ),
    JobState.ERRORED: frozenset({JobState.PROCESSING, JobState.CANCELED, JobState.QUEUED}),
    JobState.FAILED: frozenset({JobState.QUEUED}),
    JobState.CANCELED: frozenset({JobState.QUEUED}),
    JobState.COMPLETED: frozenset(),
}
"""`processing` to `queued` is a lease that lapsed or was handed back; a final state goes back to `queued` only when a
user asks for a retry, which a completed job never gets."""

FINAL_RUN_STATES = frozenset({RunState.SUCCEEDED, RunState.FAILED, RunState.CANCELLED})
RESUMABLE_RUN_STATES = frozenset({RunState.FAILED, RunState.CANCELLED, RunState.INTERRUPTED})
FINAL_TASK_STATES = frozenset({TaskState.SUCCEEDED, TaskState.FAILED, TaskState.SKIPPED, TaskState.CANCELLED})
FINAL_JOB_STATES = frozenset({JobState.COMPLETED, JobState.FAILED, JobState.CANCELED})
