"""What is known of a run, as records: the projection of its events that stores keep and people read."""

from collections.abc import Mapping
from datetime import datetime
from typing import Any

from msgspec import Struct, field, structs

from runwright.core.errors import Failure
from runwright.core.states import FINAL_TASK_STATES, RunState, TaskRole, TaskState


class Owner(Struct, frozen=True, kw_only=True):
    """Who drives a run, precisely enough to tell whether it still lives.

    Attributes:
        host: Name of the machine.
        boot_id: Changes whenever the machine starts; empty where the system has none.
        pid: Process id on that machine.
        process_started: When that process started, in the system's own unit; tells a reused pid.
    """

    host: str
    boot_id: str
    pid: int
    process_started: str


class Lease(Struct, frozen=True, kw_only=True):
    """A time-limited right to write to a run; every write carries `token`, and a stale one is refused."""

    run_id: str
    token: int
    expires_at: datetime


class TaskCounts(Struct, frozen=True, kw_only=True):
    """Ordinary tasks of a run by state; handlers and cleanups are not counted."""

    total: int = 0
    pending: int = 0
    running: int = 0
    succeeded: int = 0
    failed: int = 0
    skipped: int = 0
    cancelled: int = 0


class Definition(Struct, frozen=True, kw_only=True):
    """A pinned definition.

    Attributes:
        digest: BLAKE3 of `content`, hexadecimal.
        content: Canonical JSON of the `Workflow`.
        source: Text of the file as it was read; empty for workflows made in code.
    """

    digest: str
    content: bytes
    source: str = ""


TIMEOUT_REASON = "run timeout"
"""How the reason of a run begins that was cancelled by its own time limit."""


class Run(Struct, frozen=True, kw_only=True):
    """One execution.

    Attributes:
        id: UUIDv7.
        name: Name of what runs.
        kind: ``workflow``, ``plan`` or ``goal``: which engine drives it, and what its definition is.
        state: As a reader should see it: `interrupted` if the row says running and the lease has lapsed.
        reason: Why it ended so, in one line.
        definition: Digest of the pinned definition.
        path: Absolute path of the file it came from; for a workflow made in code ``module:name`` or
            ``/script.py:name``, or empty if nothing names it.
        options: Plain data of the `RunOptions` it was started with, so that a resume carries them over.
        parent_id: The run that started this one, or empty.
        parent_task: The task of that run which this one is the work of.
        owner: Who drives it; None when nobody does.
        cancel_requested_at: Set once somebody asked it to stop and it has not ended yet.
        head_seq: Number of the last event, from 1; 0 if there is none.
        head_hash: Digest of the chain up to that event, hexadecimal.
    """

    id: str
    name: str
    kind: str = "workflow"
    state: RunState = RunState.PENDING
    reason: str = ""
    definition: str = ""
    path: str = ""
    tags: tuple[str, ...] = ()
    strategy: str = ""
    workers: int = 1
    options: Mapping[str, Any] = field(default_factory=dict)
    parent_id: str = ""
    parent_task: str = ""
    created_at: datetime
    started_at: datetime | None = None
    ended_at: datetime | None = None
    resume_count: int = 0
    counts: TaskCounts = TaskCounts()
    owner: Owner | None = None
    lease_expires_at: datetime | None = None
    cancel_requested_at: datetime | None = None
    head_seq: int = 0
    head_hash: str = ""


class TaskRow(Struct, frozen=True, kw_only=True):
    """A task in a run as it stands now.

    Attributes:
        id: Node id, for instance ``build[os=linux]``; for a handler ``notify@build[os=linux]``, for a cleanup
            ``build.cleanup``, for a child ``build.3``.
        key: The key of its definition.
        name: What people are shown.
        level: 0 for roots, else 1 + deepest dependency; -1 for children, handlers and cleanups.
        attempts: Attempts made so far, over all resumes.
        value: Its return value or last line of output, if it succeeded.
    """

    id: str
    key: str
    name: str
    role: TaskRole = TaskRole.TASK
    level: int = 0
    state: TaskState = TaskState.PENDING
    reason: str = ""
    attempts: int = 0
    started_at: datetime | None = None
    ended_at: datetime | None = None
    failure: Failure | None = None
    value: Any = None
    ignored: bool = False


def definition_key(task_id: str, role: TaskRole = TaskRole.TASK) -> str:
    """Return the key of a task's definition: its id without handler target, matrix values, ``.cleanup``, ``.child``."""
    if "@" in task_id or "[" in task_id:
        task_id = task_id.partition("@")[0].partition("[")[0]
    return task_id.partition(".")[0] if role is TaskRole.CHILD else task_id.removesuffix(".cleanup")


def node_of(child_id: str) -> str:
    """Return the node that a child belongs to, however deep: what is before the first dot behind its brackets."""
    close = child_id.find("]")
    start = close if "[" in child_id.partition(".")[0] and close >= 0 else 0
    end = child_id.find(".", start)
    return child_id if end < 0 else child_id[:end]


def ended_child(row: TaskRow) -> TaskRow:
    """Return the row of a child as a resume finds it: one that had not ended was cancelled with its engine."""
    if row.role is not TaskRole.CHILD or row.state in FINAL_TASK_STATES:
        return row
    return structs.replace(row, state=TaskState.CANCELLED, reason="the run was interrupted")


class Attempt(Struct, frozen=True, kw_only=True):
    """One try at a task. `state` is `running`, `succeeded`, `failed` or `cancelled`."""

    task_id: str
    number: int
    state: TaskState
    started_at: datetime
    ended_at: datetime | None = None
    failure: Failure | None = None


class Variable(Struct, frozen=True, kw_only=True):
    """A named value of a run.

    Attributes:
        name: As it is read, for instance ``version``, ``build.digest`` or ``build[os=linux].digest``.
        set_by: Id of the task that owns it, or ``--var``.
    """

    name: str
    value: str
    set_by: str
    set_at: datetime
