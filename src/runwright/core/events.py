"""The immutable facts an execution emits, in the order in which they happened.

A run's events are its truth: the rows of tasks, attempts and variables in a store are a projection of them, and
`core.run` folds them into the state from which an engine decides. Each event is stored as ``kind``, ``at``,
``task_id``, ``attempt`` and the remaining fields as JSON, and is chained to the one before it by digest.
"""

from collections.abc import Mapping
from datetime import datetime
from enum import StrEnum
from typing import Any

from msgspec import Struct, field

from runwright.core.errors import Failure
from runwright.core.states import RunState, TaskRole, TaskState


class Event(Struct, frozen=True, kw_only=True, omit_defaults=True, tag_field="kind", gc=False):
    """Base of all events; `at` is an aware UTC instant drawn by the engine that emits it."""

    at: datetime


class RunStarted(Event, tag="run_started", frozen=True, kw_only=True):
    """A new run begins.

    Attributes:
        workflow: Name of what runs.
        definition: Digest of the pinned definition.
        strategy: Name of the strategy.
        workers: Most tasks at a time.
        total: Number of ordinary tasks (matrix nodes counted, handlers not).
        variables: Values given from outside (``--var``), by name.
    """

    workflow: str
    definition: str
    strategy: str
    workers: int
    total: int
    variables: Mapping[str, str] = field(default_factory=dict)


class RunResumed(Event, tag="run_resumed", frozen=True, kw_only=True):
    """A run is continued.

    Attributes:
        from_state: State the run was found in.
        resume_count: From 1.
        definition: Digest of the definition from here on.
        reused: Number of tasks whose outcome stands.
        redo: Tasks that are to run again, each with the reason.
        added: Tasks that the changed definition has and the former one had not.
        removed: Tasks that the changed definition has no more.
        variables: Values overridden from outside, by name.
        keeps: True if a task that is neither here nor succeeded stays as it is (plans and goals); else it is
            cancelled, because nobody asked for it.
    """

    from_state: RunState
    resume_count: int
    definition: str
    strategy: str
    workers: int
    total: int
    reused: int
    redo: Mapping[str, str] = field(default_factory=dict)
    added: tuple[str, ...] = ()
    removed: tuple[str, ...] = ()
    variables: Mapping[str, str] = field(default_factory=dict)
    keeps: bool = False


class AttemptsReserved(Event, tag="attempts_reserved", frozen=True, kw_only=True):
    """These tasks may start from here on: their dependencies' success stands before this in the log.

    A body starts only once its reservation is durable, so that no crash can hide that it ran: what was reserved and
    has no end in the log counts as an attempt that was made. A reservation is recorded a little ahead of the start,
    so that independent work never waits for the disk.

    Attributes:
        attempts: Number of the attempt by task id.
    """

    attempts: Mapping[str, int]


class TaskStarted(Event, tag="task_started", frozen=True, kw_only=True):
    """An attempt begins; `attempt` counts from 1 over the whole life of the run.

    For an ordinary task it follows a reservation and nobody waits for it; handlers and cleanups have no reservation
    and start once this is durable.
    """

    task_id: str
    attempt: int
    role: TaskRole = TaskRole.TASK


class TaskRetrying(Event, tag="task_retrying", frozen=True, kw_only=True):
    """An attempt failed and another follows after `delay` seconds."""

    task_id: str
    attempt: int
    delay: float
    failure: Failure
    role: TaskRole = TaskRole.TASK


class TaskEnded(Event, tag="task_ended", frozen=True, kw_only=True):
    """A task reached a final state.

    Attributes:
        attempt: The attempt that decided it; 0 if none was made (skipped, cancelled before its start, or failed
            by its condition), or if the next one was reserved already and does not begin any more.
        reason: Why, in one line: the condition that was false, the failed task it needed, the signal.
        failure: Set if `state` is `failed` or `cancelled` by force.
        value: Return value or last line of output, at most 64 KiB as JSON.
        variables: Variables it registered, by their full names.
        ignored: True if `ignore_failure` lets the run go on.
        details: Why it ran or did not have to, a line for each thing that changed.
        spared: True if it did not have to run: its outcome is that of a former run.
    """

    task_id: str
    attempt: int
    state: TaskState
    reason: str = ""
    failure: Failure | None = None
    value: Any = None
    variables: Mapping[str, str] = field(default_factory=dict)
    ignored: bool = False
    role: TaskRole = TaskRole.TASK
    details: tuple[str, ...] = ()
    spared: bool = False


class ChildrenPlanned(Event, tag="children_planned", frozen=True, kw_only=True):
    """A task is mapped over a list, or its executor asked for tasks that follow; none of them runs before this.

    Attributes:
        task_id: Whose children.
        attempt: Of that task.
        children: Digest of what each is to do, by id.
    """

    task_id: str
    attempt: int
    children: Mapping[str, str]


class StateSaved(Event, tag="state_saved", frozen=True, kw_only=True):
    """The state that the steps of a plan share has changed.

    Attributes:
        task_id: The step that changed it.
        values: New values as JSON, by name.
        removed: Names that are no more.
        lost: Why values can't be stored, by name: they are gone once the engine is.
    """

    task_id: str
    values: Mapping[str, str] = field(default_factory=dict)
    removed: tuple[str, ...] = ()
    lost: Mapping[str, str] = field(default_factory=dict)


class RoundPlanned(Event, tag="round_planned", frozen=True, kw_only=True):
    """A goal has said which actions it still needs; none means that it is reached.

    Attributes:
        round: From 1, over all resumes of the run.
        actions: Names, in order.
        failure: Why it could not say.
    """

    round: int
    actions: tuple[str, ...] = ()
    failure: Failure | None = None


class CancelRequested(Event, tag="cancel_requested", frozen=True, kw_only=True):
    """Somebody asked the run to stop; `reason` says who or what (a signal, a command, a time limit)."""

    reason: str


class RunEnded(Event, tag="run_ended", frozen=True, kw_only=True):
    """A run reached a final state."""

    state: RunState
    reason: str = ""


AnyEvent = (
    RunStarted
    | RunResumed
    | AttemptsReserved
    | TaskStarted
    | TaskRetrying
    | TaskEnded
    | ChildrenPlanned
    | StateSaved
    | RoundPlanned
    | CancelRequested
    | RunEnded
)
"""Every event, for decoding: ``msgspec.json.decode(text, type=AnyEvent)``."""


class ProgressKind(StrEnum):
    """The seven kinds of the public live view."""

    RUN_STARTED = "run_started"
    TASK_STARTED = "task_started"
    TASK_RETRYING = "task_retrying"
    TASK_DONE = "task_done"
    TASK_FAILED = "task_failed"
    TASK_OUTPUT = "task_output"
    RUN_DONE = "run_done"


class ProgressEvent(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """What a live view is told, without looking at any store.

    Attributes:
        kind: `task_done` covers success, skip and cancellation; `task_failed` comes after the last attempt.
        task_name: What people are shown for the task.
        role: Ordinary task, child, handler or cleanup.
        state: State of the task, for task events.
        run_state: State of the run, for run events.
        attempt: From 1; 0 if none was made.
        error: Why it failed, was retried, skipped or cancelled.
        delay: Seconds until the next attempt, for `task_retrying`.
        total: Number of ordinary tasks, for `run_started`.
        output: Text of standard output and error as it came, at most 64 KiB, for `task_output`.
        truncated: True if there was more; all of it is in the log.
        within: Ids of the tasks of the outer runs that the run is a part of, outermost first; empty for a run of its
            own.
    """

    kind: ProgressKind
    run_id: str
    at: datetime
    task_id: str = ""
    task_name: str = ""
    role: TaskRole = TaskRole.TASK
    state: TaskState | None = None
    run_state: RunState | None = None
    attempt: int = 0
    error: str = ""
    delay: float = 0.0
    total: int = 0
    output: str = ""
    truncated: bool = False
    within: tuple[str, ...] = ()


PROGRESS_OUTPUT_BYTES = 64 * 1024
"""Most output that one `task_output` event carries."""
