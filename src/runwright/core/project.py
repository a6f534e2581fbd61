"""What events do to the rows of a run.

Events are the truth and rows are their projection. `Changes` folds a batch of events into the fewest row changes: a
task that started and ended in one batch is one change. A store merges them into its rows as `apply` does into plain
dictionaries; every store agrees with it, which the contract suite checks.

The rules, for what depends on the row that was there before:

* A task keeps `started_at` while it is running (a retry goes on), and takes the new one otherwise.
* `attempts` of a task never falls, except that an end with attempt 0 withdraws what was reserved and never began.
* An attempt keeps its `started_at` once it runs. A reserved attempt is `pending` until it starts.
* A resume closes the attempts that a dead engine left open: they count as made, and were cancelled.
* A change of the run's state forgets a request to cancel made before it.
"""

from collections.abc import Callable, Iterable, Mapping
from datetime import datetime
from typing import Any

from msgspec import Struct

from runwright.core.errors import Failure
from runwright.core.events import (
    AnyEvent,
    AttemptsReserved,
    CancelRequested,
    ChildrenPlanned,
    RoundPlanned,
    RunEnded,
    RunResumed,
    RunStarted,
    StateSaved,
    TaskEnded,
    TaskRetrying,
    TaskStarted,
)
from runwright.core.run import Variable, definition_key
from runwright.core.states import RunState, TaskRole, TaskState

LATE_POSITION = 1 << 32
"""Place in a run's list of tasks from which those stand that had no row beforehand."""

INTERRUPTED = Failure(code="E_INTERRUPTED", message="the engine ended before the attempt did")


class TaskChange(Struct, array_like=True, gc=False):
    """What becomes of the row of a task; `state` None (it was only reserved) leaves all but `attempts` as it is."""

    id: str
    key: str
    role: TaskRole
    position: int
    state: TaskState | None = None
    reason: str = ""
    attempts: int = 0
    started_at: datetime | None = None
    ended_at: datetime | None = None
    failure: Failure | None = None
    value: Any = None
    ignored: bool = False
    withdrawn: bool = False


class AttemptChange(Struct, array_like=True, gc=False):
    """What becomes of the row of an attempt; `seq` is the number of the event that made it."""

    task_id: str
    number: int
    seq: int
    state: TaskState
    started_at: datetime
    ended_at: datetime | None = None
    failure: Failure | None = None


class RunChange(Struct, gc=False):
    """What becomes of the row of a run; None and unset fields leave it as it is."""

    state: RunState | None = None
    reason: str = ""
    at: datetime | None = None
    started_at: datetime | None = None
    cancel_at: datetime | None = None
    cancel_reason: str = ""
    resume_count: int | None = None
    definition: str | None = None
    strategy: str | None = None
    workers: int | None = None
    resumed_at: datetime | None = None


class Changes:
    """The row changes of a batch of events of one run.

    Attributes:
        tasks: By task id.
        attempts: By task id and number.
        variables: By name.
        removed: Names of variables that are no more.
        run: The run's own row.
        seq: Number of the last event folded in.
    """

    __slots__ = ("attempts", "removed", "run", "seq", "tasks", "variables")

    def __init__(self, head_seq: int = 0) -> None:
        self.seq = head_seq
        self.tasks: dict[str, TaskChange] = {}
        self.attempts: dict[tuple[str, int], AttemptChange] = {}
        self.variables: dict[str, Variable] = {}
        self.removed: set[str] = set()
        self.run = RunChange()

    def add(self, event: AnyEvent) -> None:
        """Fold in the next event."""
        self.seq += 1
        _FOLD[type(event)](self, event)

    def extend(self, events: Iterable[AnyEvent]) -> None:
        """Fold in the next events."""
        seq = self.seq
        fold = _FOLD
        for event in events:
            seq += 1
            self.seq = seq
            fold[type(event)](self, event)

    def task(self, task_id: str, role: TaskRole) -> TaskChange:
        """Return the change of a task, begun now if there is none yet."""
        change = self.tasks.get(task_id)
        if change is None:
            change = TaskChange(task_id, definition_key(task_id, role), role, LATE_POSITION + self.seq)
            self.tasks[task_id] = change
        return change

    def set_variables(self, values: Mapping[str, str], set_by: str, at: datetime) -> None:
        """Give variables their new values."""
        self.removed.difference_update(values)
        for name, value in values.items():
            self.variables[name] = Variable(name=name, value=value, set_by=set_by, set_at=at)


def _run_started(changes: Changes, event: RunStarted) -> None:
    run = changes.run = RunChange(state=RunState.RUNNING, at=event.at, started_at=event.at)
    run.definition, run.strategy, run.workers = event.definition, event.strategy, event.workers
    changes.set_variables(event.variables, "--var", event.at)


def _run_resumed(changes: Changes, event: RunResumed) -> None:
    run = changes.run = RunChange(
        state=RunState.RUNNING, at=event.at, started_at=event.at, resumed_at=event.at
    )
    run.definition, run.strategy, run.workers = event.definition, event.strategy, event.workers
    run.resume_count = event.resume_count
    for open_attempt in changes.attempts.values():
        if open_attempt.state in OPEN:
            _close(open_attempt, TaskState.CANCELLED, event.at, INTERRUPTED)
    changes.set_variables(event.variables, "--var", event.at)


def _attempts_reserved(changes: Changes, event: AttemptsReserved) -> None:
    for task_id, number in event.attempts.items():
        change = changes.task(task_id, TaskRole.TASK)
        change.attempts = max(change.attempts, number)
        key = (task_id, number)
        if key not in changes.attempts:
            changes.attempts[key] = AttemptChange(task_id, number, changes.seq, TaskState.PENDING, event.at)


def _task_started(changes: Changes, event: TaskStarted) -> None:
    task_id, number = event.task_id, event.attempt
    change = changes.task(task_id, event.role)
    if change.state is not TaskState.RUNNING:
        change.started_at = event.at
    change.state = TaskState.RUNNING
    change.attempts = number
    change.reason, change.ended_at, change.failure, change.value, change.ignored = "", None, None, None, False
    attempt = changes.attempts.get((task_id, number))
    seq = changes.seq if attempt is None else attempt.seq
    changes.attempts[task_id, number] = AttemptChange(task_id, number, seq, TaskState.RUNNING, event.at)


def _task_retrying(changes: Changes, event: TaskRetrying) -> None:
    change = changes.task(event.task_id, event.role)
    change.state = TaskState.RUNNING
    change.attempts = max(change.attempts, event.attempt)
    change.reason = f"attempt {event.attempt} failed, the next follows after {event.delay:g} s"
    change.failure = event.failure
    attempt = _attempt(changes, event.task_id, event.attempt, event.at)
    _close(attempt, TaskState.FAILED, event.at, event.failure)


def _task_ended(changes: Changes, event: TaskEnded) -> None:
    task_id, number = event.task_id, event.attempt
    change = changes.task(task_id, event.role)
    change.state, change.reason, change.failure = event.state, event.reason, event.failure
    change.ended_at, change.value, change.ignored = event.at, event.value, event.ignored
    if number:
        change.attempts = number
        _close(_attempt(changes, task_id, number, event.at), event.state, event.at, event.failure)
    else:
        _withdraw(changes, change)
    if event.variables:
        changes.set_variables(event.variables, task_id, event.at)


def _state_saved(changes: Changes, event: StateSaved) -> None:
    changes.set_variables(event.values, event.task_id, event.at)
    for name in event.removed:
        changes.variables.pop(name, None)
        changes.removed.add(name)


def _planned(changes: Changes, event: RoundPlanned | ChildrenPlanned) -> None:
    """Change no row: what was planned tells of itself when it starts."""


def _cancel_requested(changes: Changes, event: CancelRequested) -> None:
    if changes.run.cancel_at is None:
        changes.run.cancel_at, changes.run.cancel_reason = event.at, event.reason


def _run_ended(changes: Changes, event: RunEnded) -> None:
    run = changes.run
    run.state, run.reason, run.at = event.state, event.reason, event.at
    run.cancel_at, run.cancel_reason = None, ""


def _attempt(changes: Changes, task_id: str, number: int, at: datetime) -> AttemptChange:
    key = (task_id, number)
    attempt = changes.attempts.get(key)
    if attempt is None:
        attempt = AttemptChange(task_id, number, changes.seq, TaskState.RUNNING, at)
        changes.attempts[key] = attempt
    return attempt


def _close(attempt: AttemptChange, state: TaskState, at: datetime, failure: Failure | None) -> None:
    attempt.state, attempt.ended_at, attempt.failure = state, at, failure


def _withdraw(changes: Changes, change: TaskChange) -> None:
    """Take back what was reserved for a task and never began, in this batch and (by the flag) before it."""
    change.withdrawn = True
    number = change.attempts
    while (attempt := changes.attempts.get((change.id, number))) and attempt.state is TaskState.PENDING:
        del changes.attempts[change.id, number]
        number -= 1
    change.attempts = number


OPEN = (TaskState.PENDING, TaskState.RUNNING)
"""States of attempts that have not ended."""

_FOLD: dict[type, Callable[[Changes, Any], None]] = {
    RunStarted: _run_started,
    RunResumed: _run_resumed,
    AttemptsReserved: _attempts_reserved,
    TaskStarted: _task_started,
    TaskRetrying: _task_retrying,
    TaskEnded: _task_ended,
    StateSaved: _state_saved,
    RoundPlanned: _planned,
    ChildrenPlanned: _planned,
    CancelRequested: _cancel_requested,
    RunEnded: _run_ended,
}
