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

from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from datetime import datetime
from typing import Any

from msgspec import Struct, structs

from runwright.core.errors import Failure
from runwright.core.events import (
    AnyEvent,
    AttemptsReserved,
    CancelRequested,
    RoundPlanned,
    RunEnded,
    RunResumed,
    RunStarted,
    StateSaved,
    TaskEnded,
    TaskRetrying,
    TaskStarted,
)
from runwright.core.run import Attempt, Run, TaskCounts, TaskRow, Variable
from runwright.core.states import FINAL_RUN_STATES, RunState, TaskRole, TaskState

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
            change = TaskChange(task_id, definition_key(task_id), role, LATE_POSITION + self.seq)
            self.tasks[task_id] = change
        return change

    def set_variables(self, values: Mapping[str, str], set_by: str, at: datetime) -> None:
        """Give variables their new values."""
        self.removed.difference_update(values)
        for name, value in values.items():
            self.variables[name] = Variable(name=name, value=value, set_by=set_by, set_at=at)


def definition_key(task_id: str) -> str:
    """Return the key of a task's definition: its id without handler target, matrix values and ``.cleanup``."""
    if "@" in task_id or "[" in task_id:
        task_id = task_id.partition("@")[0].partition("[")[0]
    return task_id.removesuffix(".cleanup")


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
        if open_attempt.state in _OPEN:
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


def _round_planned(changes: Changes, event: RoundPlanned) -> None:
    """Change no row: what a round does is told by its actions."""


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


_OPEN = (TaskState.PENDING, TaskState.RUNNING)

_FOLD: dict[type, Callable[[Changes, Any], None]] = {
    RunStarted: _run_started,
    RunResumed: _run_resumed,
    AttemptsReserved: _attempts_reserved,
    TaskStarted: _task_started,
    TaskRetrying: _task_retrying,
    TaskEnded: _task_ended,
    StateSaved: _state_saved,
    RoundPlanned: _round_planned,
    CancelRequested: _cancel_requested,
    RunEnded: _run_ended,
}


class Rows:
    """The rows of one run in plain dictionaries: what a store keeps, without the store.

    Attributes:
        tasks: By id, in the order in which they are listed.
        attempts: By task id and number, each with the number of the event that made it.
        variables: By name.
    """

    __slots__ = ("attempts", "cancel_reason", "run", "tasks", "variables")

    def __init__(self, run: Run, tasks: Iterable[TaskRow] = ()) -> None:
        self.run = run
        self.cancel_reason = ""
        self.tasks = {task.id: task for task in tasks}
        self.attempts: dict[tuple[str, int], tuple[int, Attempt]] = {}
        self.variables: dict[str, Variable] = {}

    def apply(self, changes: Changes) -> None:
        """Merge the changes of a batch; the rules are those at the top of this module."""
        if changes.run.resumed_at is not None:
            self._close_open_attempts(changes.run.resumed_at)
        for change in changes.tasks.values():
            self._apply_task(change)
        for attempt in changes.attempts.values():
            self._apply_attempt(attempt)
        self.variables.update(changes.variables)
        for name in changes.removed:
            self.variables.pop(name, None)
        self._apply_run(changes.run)

    def counts(self) -> TaskCounts:
        """Count the ordinary tasks by state."""
        states = Counter(row.state.value for row in self.tasks.values() if row.role is TaskRole.TASK)
        return TaskCounts(total=states.total(), **states)

    def listed_attempts(self) -> list[Attempt]:
        """Return the attempts, oldest first."""
        ordered = sorted(self.attempts.values(), key=lambda pair: (pair[0], pair[1].task_id, pair[1].number))
        return [attempt for _, attempt in ordered]

    def _close_open_attempts(self, at: datetime) -> None:
        for key, (seq, attempt) in self.attempts.items():
            if attempt.state in _OPEN:
                closed = structs.replace(attempt, state=TaskState.CANCELLED, ended_at=at, failure=INTERRUPTED)
                self.attempts[key] = (seq, closed)

    def _apply_task(self, change: TaskChange) -> None:
        row = self.tasks.get(change.id)
        if row is None:
            if change.state is None:
                return
            row = TaskRow(id=change.id, key=change.key, name=change.id, role=change.role, level=-1)
        attempts = max(row.attempts, change.attempts)
        if change.withdrawn:
            attempts = max(change.attempts, self._withdraw(change.id, row.attempts))
        if change.state is None:
            self.tasks[change.id] = structs.replace(row, attempts=attempts)
            return
        keep_start = change.started_at is None or (
            row.state is TaskState.RUNNING and row.started_at is not None
        )
        self.tasks[change.id] = TaskRow(
            id=row.id,
            key=row.key,
            name=row.name,
            role=row.role,
            level=row.level,
            state=change.state,
            reason=change.reason,
            attempts=attempts,
            started_at=row.started_at if keep_start else change.started_at,
            ended_at=change.ended_at,
            failure=change.failure,
            value=change.value,
            ignored=change.ignored,
        )

    def _withdraw(self, task_id: str, number: int) -> int:
        """Remove the reserved attempts of a task; return the number of the last one that was made."""
        while (pair := self.attempts.get((task_id, number))) and pair[1].state is TaskState.PENDING:
            del self.attempts[task_id, number]
            number -= 1
        return number

    def _apply_attempt(self, change: AttemptChange) -> None:
        key = (change.task_id, change.number)
        seq, started_at = change.seq, change.started_at
        known = self.attempts.get(key)
        if known is not None:
            if change.state is TaskState.PENDING:
                return
            seq = known[0]
            started_at = started_at if known[1].state is TaskState.PENDING else known[1].started_at
        self.attempts[key] = (
            seq,
            Attempt(
                task_id=change.task_id,
                number=change.number,
                state=change.state,
                started_at=started_at,
                ended_at=change.ended_at,
                failure=change.failure,
            ),
        )

    def _apply_run(self, change: RunChange) -> None:
        run = self.run
        changed: dict[str, Any] = {}
        if change.state is not None:
            final = change.state in FINAL_RUN_STATES
            changed = {
                "state": change.state,
                "reason": change.reason,
                "ended_at": change.at if final else None,
            }
            if run.started_at is None and change.started_at is not None:
                changed["started_at"] = change.started_at
            changed["cancel_requested_at"] = None
            self.cancel_reason = ""
        if change.cancel_at is not None and (change.state is not None or run.cancel_requested_at is None):
            changed["cancel_requested_at"] = change.cancel_at
            self.cancel_reason = change.cancel_reason
        for name in ("resume_count", "definition", "strategy", "workers"):
            if (value := getattr(change, name)) is not None:
                changed[name] = value
        self.run = structs.replace(run, **changed)
