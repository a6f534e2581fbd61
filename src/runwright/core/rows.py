"""The rows of one run in plain dictionaries, and how the changes of `core.project` are merged into them."""

from collections import Counter
from collections.abc import Iterable
from datetime import datetime
from typing import Any

from msgspec import structs

from runwright.core.project import INTERRUPTED, OPEN, AttemptChange, Changes, RunChange, TaskChange
from runwright.core.run import Attempt, Run, TaskCounts, TaskRow, Variable
from runwright.core.states import FINAL_RUN_STATES, TaskRole, TaskState


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
        """Merge the changes of a batch; the rules are those at the top of `core.project`."""
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
            if attempt.state in OPEN:
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
