"""Checking what is stored of a run against its events."""

from collections.abc import Iterable, Sequence
from datetime import UTC, datetime

from msgspec import DecodeError, structs

from runwright.core.chain import decode, links
from runwright.core.events import AnyEvent, RunResumed
from runwright.core.project import Changes
from runwright.core.rows import Rows
from runwright.core.run import Attempt, Run, TaskCounts, TaskRow, Variable, ended_child
from runwright.core.states import TaskRole, TaskState


class ChainCheck:
    """Follows a run's log from its beginning; `problem` is the first thing that is wrong.

    Attributes:
        events: How many were followed.
        head: Link of the last of them.
    """

    def __init__(self, run_id: str, genesis: bytes) -> None:
        self.run_id = run_id
        self.events = 0
        self.head = genesis
        self.problem = ""
        self.replay = Replay()

    def follow(self, seqs: Sequence[int], bodies: Sequence[bytes], hashes: Sequence[bytes]) -> bool:
        """Check the next events as they are stored; return False once something is wrong."""
        expected = links(self.head, self.events + 1, self.run_id, bodies)
        for place, (seq, digest) in enumerate(zip(seqs, hashes, strict=True)):
            if seq != self.events + 1:
                self.problem = f"event {self.events + 1} is missing: event {seq} follows event {self.events}"
            elif digest != expected[place]:
                self.problem = (
                    f"event {seq} is not what was recorded: its digest does not follow from event {seq - 1}"
                )
            if self.problem:
                return False
            self.events += 1
            self.head = digest
        return self._replay(bodies)

    def end(self, head_seq: int, head_hash: bytes) -> bool:
        """Compare the end of the log with the head that the run's row names."""
        if not self.problem and self.events < head_seq:
            self.problem = (
                f"event {self.events + 1} is missing: the log ends before event {head_seq}, the run's last"
            )
        elif not self.problem and (self.events, self.head) != (head_seq, head_hash):
            self.problem = f"the run's head names event {head_seq}, but the log ends with event {self.events}"
        return not self.problem

    def compare(
        self,
        tasks: Sequence[TaskRow],
        attempts: Sequence[Attempt],
        variables: Sequence[Variable],
        counts: TaskCounts,
    ) -> None:
        """Compare the rows with what the events lead to."""
        self.problem = self.replay.problem(tasks, attempts, variables, counts)

    def _replay(self, bodies: Sequence[bytes]) -> bool:
        try:
            self.replay.extend(decode(bodies))
        except DecodeError as error:
            self.problem = f"one of the events up to {self.events} can't be read ({error})"
        return not self.problem


class Replay:
    """The rows that a run's events lead to.

    A resume replaces the rows of the tasks, so it closes a chapter: what it redoes is pending again, what it removed is
    gone, and what neither succeeded nor runs again was left out, which means cancelled, unless the resume keeps it as it
    is. Handlers and cleanups of former chapters may or may not keep their rows.
    """

    def __init__(self) -> None:
        self._rows = Rows(_NOBODY)
        self._chapter = Changes()
        self._unheard_of = TaskState.PENDING

    def extend(self, events: Iterable[AnyEvent]) -> None:
        """Replay the next events."""
        for event in events:
            if isinstance(event, RunResumed):
                self._close_chapter(event)
            self._chapter.add(event)

    def problem(
        self,
        tasks: Sequence[TaskRow],
        attempts: Sequence[Attempt],
        variables: Sequence[Variable],
        counts: TaskCounts,
    ) -> str:
        """Return the first row that disagrees with the events, or an empty text; the replay ends with it."""
        self._rows.apply(self._chapter)
        return (
            self._task_problem(tasks)
            or self._attempt_problem(attempts)
            or self._variable_problem(variables)
            or _count_problem(tasks, counts)
        )

    def _close_chapter(self, resumed: RunResumed) -> None:
        rows = self._rows
        rows.apply(self._chapter)
        for row in list(rows.tasks.values()):
            if row.role is TaskRole.TASK and row.state is not TaskState.SUCCEEDED and not resumed.keeps:
                rows.tasks[row.id] = structs.replace(row, state=TaskState.CANCELLED)
            elif row.role is TaskRole.CHILD:
                rows.tasks[row.id] = ended_child(row)
        for task_id in resumed.redo:
            rows.tasks[task_id] = TaskRow(id=task_id, key=task_id, name=task_id)
        for task_id in resumed.removed:
            rows.tasks.pop(task_id, None)
        self._unheard_of = TaskState.PENDING if resumed.keeps else TaskState.CANCELLED
        self._chapter = Changes(self._chapter.seq)

    def _task_problem(self, tasks: Sequence[TaskRow]) -> str:
        listed = set()
        for row in tasks:
            listed.add(row.id)
            replayed = self._rows.tasks.get(row.id)
            state = self._unheard_of if replayed is None else replayed.state
            if row.state is not state:
                return f"task {row.id} is {row.state.value} in its row, but {state.value} by the events"
        for task in self._rows.tasks.values():
            if task.id not in listed and (task.role is TaskRole.TASK or task.id in self._chapter.tasks):
                return f"task {task.id} is {task.state.value} by the events, but has no row"
        return ""

    def _attempt_problem(self, attempts: Sequence[Attempt]) -> str:
        replayed = {number: attempt.state for number, (_, attempt) in self._rows.attempts.items()}
        stored = {(attempt.task_id, attempt.number): attempt.state for attempt in attempts}
        for task_id, number in sorted(replayed.keys() | stored.keys()):
            by_row = stored.get((task_id, number), "missing")
            by_events = replayed.get((task_id, number), "unknown")
            if by_row != by_events:
                return f"attempt {number} of task {task_id} is {by_row} in its row, but {by_events} by the events"
        return ""

    def _variable_problem(self, variables: Sequence[Variable]) -> str:
        replayed = {name: variable.value for name, variable in self._rows.variables.items()}
        stored = {variable.name: variable.value for variable in variables}
        for name in sorted(replayed.keys() | stored.keys()):
            if replayed.get(name) != stored.get(name):
                return f"variable {name} is not what the events say"
        return ""


def _count_problem(tasks: Sequence[TaskRow], counts: TaskCounts) -> str:
    rows = Rows(_NOBODY, tasks)
    return "" if rows.counts() == counts else "the run's counts of tasks by state are not those of its tasks"


_NOBODY = Run(id="", name="", created_at=datetime.min.replace(tzinfo=UTC))
