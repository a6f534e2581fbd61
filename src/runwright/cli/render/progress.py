"""The live view's own picture of a run, folded from its progress events."""

from collections.abc import Collection, Sequence
from datetime import datetime
from typing import Protocol

from runwright.cli.render.names import key_of, said
from runwright.cli.render.terminal import Out, clean
from runwright.core.events import ProgressEvent, ProgressKind
from runwright.core.states import TaskRole, TaskState

Kind = ProgressKind


class View(Protocol):
    """Shows a run while it happens; `listens` is false if it has no use for events."""

    listens: bool

    def event(self, event: ProgressEvent) -> None:
        """Take note of what happened; returns at once and never raises."""
        ...

    def note(self, text: str) -> None:
        """Show a line about something else, for instance that the run is being stopped."""
        ...

    def close(self) -> None:
        """Show what is still to show, and give the screen back."""
        ...

    def abandon(self) -> None:
        """Give the screen back at once, whatever is still to show."""
        ...


class Progress:
    """What is known so far.

    Attributes:
        total: Number of ordinary tasks.
        reused: Ids of those that had succeeded before.
        states: State of each task that was heard of, by id.
        running: When each running task started its current attempt, by id.
        spent: Seconds that each finished task took, by id.
        retries: Number of retries so far, by id.
        errors: Why a task failed, is retried, was skipped, cancelled or spared, by id.
        failed: Ids of tasks that failed, in the order in which they did.
        counts: Number of ordinary tasks in each final state.
        inner: What is known of the run that is the work of a task, by the id of the task; of several the last.
    """

    def __init__(self, total: int = 0, reused: Collection[str] = ()) -> None:
        self.total = total
        self.reused = frozenset(reused)
        self.run_id = ""
        self.started_at: datetime | None = None
        self.states: dict[str, TaskState] = dict.fromkeys(self.reused, TaskState.SUCCEEDED)
        self.roles: dict[str, TaskRole] = {}
        self.running: dict[str, datetime] = {}
        self.spent: dict[str, float] = {}
        self.retries: dict[str, int] = {}
        self.errors: dict[str, str] = {}
        self.failed: list[str] = []
        self.counts: dict[TaskState, int] = {TaskState.SUCCEEDED: len(self.reused)}
        self.inner: dict[str, Progress] = {}
        self._begun: dict[str, datetime] = {}

    @property
    def done(self) -> int:
        """Return how many ordinary tasks have ended."""
        return sum(self.counts.values())

    def fold(self, event: ProgressEvent) -> "Progress":
        """Take one event in; returns the progress of the run that it is about."""
        progress = self
        for depth, task_id in enumerate(event.within, 1):
            progress = progress.enter(task_id, event.run_id if depth == len(event.within) else "")
        progress.take(event)
        return progress

    def enter(self, task_id: str, run_id: str) -> "Progress":
        """Return the progress of the run that is the work of a task; another run than before begins anew."""
        known = self.inner.get(task_id)
        if known is None or (run_id and known.run_id not in {"", run_id}):
            known = self.inner[task_id] = Progress()
        known.run_id = run_id or known.run_id
        return known

    def take(self, event: ProgressEvent) -> None:
        """Take in an event of this very run."""
        if event.kind is Kind.RUN_STARTED:
            self.total = event.total or self.total
            self.run_id, self.started_at = event.run_id, event.at
        elif event.kind is Kind.TASK_STARTED:
            self._start(event)
        elif event.kind is Kind.TASK_RETRYING:
            self.retries[event.task_id] = self.retries.get(event.task_id, 0) + 1
            self.errors[event.task_id] = event.error
        elif event.kind in {Kind.TASK_DONE, Kind.TASK_FAILED}:
            self._end(event)

    def _start(self, event: ProgressEvent) -> None:
        self.states[event.task_id] = TaskState.RUNNING
        self.roles[event.task_id] = event.role
        self.running[event.task_id] = event.at
        self._begun.setdefault(event.task_id, event.at)

    def _end(self, event: ProgressEvent) -> None:
        name = event.task_id
        state = event.state or (TaskState.FAILED if event.kind is Kind.TASK_FAILED else TaskState.SUCCEEDED)
        self.states[name] = state
        self.roles[name] = event.role
        self.running.pop(name, None)
        begun = self._begun.pop(name, None)
        if begun is not None:
            self.spent[name] = max(0.0, (event.at - begun).total_seconds())
        if event.error or state is TaskState.SUCCEEDED:
            self.errors[name] = event.error  # of a success why it ran or did not have to: a cache says so
        if state is TaskState.FAILED:
            self.failed.append(name)
        if event.role is TaskRole.TASK:
            self.counts[state] = self.counts.get(state, 0) + 1


def label(task_id: str, task_name: str, role: TaskRole = TaskRole.TASK) -> str:
    """Return what people are shown: the id, which commands take, in words, and the name if it says more."""
    if task_name == f"round {task_id}":  # of a goal
        return task_name
    says_no_more = task_name in {"", task_id, key_of(task_id, role)} or task_id.endswith(f".{task_name}")
    return clean(said(task_id, role) + ("" if says_no_more else f"  {task_name}"))


def path_of(event: ProgressEvent, name: str, out: Out) -> str:
    """Return a name behind the ids of the outer tasks that it is a part of: ``deploy › database``."""
    between = f" {out.mark('within')} "
    return between.join([*(out.clean(task_id) for task_id in event.within), name])


def output_lines(event: ProgressEvent, out: Out) -> Sequence[str]:
    """Return the lines that show a task's output, behind a bar."""
    bar = out.paint(out.mark("bar"), "dim")
    lines = [f"  {bar} {visible(text, out)}" for text in event.output.splitlines()]
    if event.truncated:
        lines.append(f"  {bar} {out.paint('(cut here; the log has all of it)', 'dim')}")
    return lines


def visible(text: str, out: Out) -> str:
    """Return a line of a task's output, harmless; its colours stay where colours may be used."""
    if text.isprintable():
        return text
    from runwright.cli.render.ansi import only_colours, without_escapes  # noqa: PLC0415 - rarely needed

    return only_colours(text) if out.colour else without_escapes(text)
