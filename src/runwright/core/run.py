"""What is known of a run, as records: the projection of its events that stores keep and people read."""

from collections.abc import Mapping
from datetime import datetime
from typing import Any

from msgspec import Struct, field

from runwright.core.errors import Failure
from runwright.core.states import RunState, TaskRole, TaskState


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
        path: Absolute path of the file it came from; empty for workflows made in code.
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
            ``build.cleanup``.
        key: The key of its definition.
        name: What people are shown.
        level: 0 for roots, else 1 + deepest dependency; -1 for handlers and cleanups.
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
