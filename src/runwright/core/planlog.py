"""What the log of a plan's run says of it, and what a resume has to do."""

from collections.abc import Iterable, Mapping
from enum import StrEnum

from msgspec import Struct, structs

from runwright.core.errors import Problem, UsageError
from runwright.core.events import AnyEvent, RunResumed, StateSaved, TaskEnded, TaskRetrying, TaskStarted
from runwright.core.plan import Hook, PauseDefinition, PlanDefinition, StepDefinition, has_cleanup
from runwright.core.project import INTERRUPTED
from runwright.core.states import TaskRole, TaskState

CLEANUP_SUFFIX = ".cleanup"


def row_id(step: StepDefinition, hook: Hook) -> str:
    """Return under which id a hook of a step is recorded and logged."""
    return step.name + CLEANUP_SUFFIX if hook is Hook.CLEANUP else step.name


class Standing(StrEnum):
    """What a run's log leaves of a step.

    `NOTHING`: it has not begun, has failed or was stopped, or has been cleaned up. `IN_DOUBT`: its engine died in the
    middle of a hook. `DONE`: all its hooks succeeded and no cleanup has begun. `HALF_CLEANED`: a cleanup began and none
    has succeeded since, nor has the step.
    """

    NOTHING = "nothing"
    IN_DOUBT = "in doubt"
    DONE = "done"
    HALF_CLEANED = "half cleaned"


class PlanLog:
    """Follows the events of a plan's run from the first on.

    Attributes:
        standing: By id of the step.
        succeeded: Elements whose last attempt succeeded and that no resume redoes, cleaned up since or not.
        attempts: Attempts made, by id of the step.
        order: Ids of what has begun, the latest last; a mapping, because that is quick to reorder.
        values: The stored state, as JSON by name.
        lost: Why values could not be stored, by name.
    """

    def __init__(self, events: Iterable[AnyEvent] = ()) -> None:
        self.standing: dict[str, Standing] = {}
        self.succeeded: set[str] = set()
        self.attempts: dict[str, int] = {}
        self.order: dict[str, None] = {}
        self._unclean: set[str] = set()
        self.values: dict[str, str] = {}
        self.lost: dict[str, str] = {}
        for event in events:
            self.follow(event)

    def follow(self, event: AnyEvent) -> None:
        """Take in the next event."""
        if isinstance(event, StateSaved):
            self._save(event)
        elif isinstance(event, TaskStarted):
            self._start(event)
        elif isinstance(event, TaskRetrying):
            self._fall(event.task_id)
        elif isinstance(event, TaskEnded):
            self._end(event)
        elif isinstance(event, RunResumed):
            self._resume(event)

    def _save(self, event: StateSaved) -> None:
        for name in (*event.removed, *event.lost):
            self.values.pop(name, None)
        for name in (*event.removed, *event.values):
            self.lost.pop(name, None)
        self.values.update(event.values)
        self.lost.update(event.lost)

    def _resume(self, event: RunResumed) -> None:
        self.succeeded.difference_update(event.redo)
        for name in event.redo:
            if self.standing.get(name) is Standing.DONE:  # a pause that comes again
                self.standing[name] = Standing.NOTHING

    def _start(self, event: TaskStarted) -> None:
        if event.role is TaskRole.CLEANUP:
            name = event.task_id.removesuffix(CLEANUP_SUFFIX)
            self._unclean.add(name)
            self._fall(name)
            return
        self.standing[event.task_id] = Standing.IN_DOUBT
        self.succeeded.discard(event.task_id)
        self.attempts[event.task_id] = max(event.attempt, self.attempts.get(event.task_id, 0))
        self.order.pop(event.task_id, None)
        self.order[event.task_id] = None

    def _end(self, event: TaskEnded) -> None:
        if event.role is TaskRole.CLEANUP:
            if event.state is TaskState.SUCCEEDED:
                name = event.task_id.removesuffix(CLEANUP_SUFFIX)
                self._unclean.discard(name)
                self._fall(name)
        elif event.state is TaskState.SUCCEEDED:
            self.standing[event.task_id] = Standing.DONE
            self.succeeded.add(event.task_id)
        elif event.attempt and not _by_death(event):
            self._fall(event.task_id)

    def _fall(self, name: str) -> None:
        """Take note that a step stands no more; what an earlier attempt at it has left may still be there."""
        self.standing[name] = Standing.HALF_CLEANED if name in self._unclean else Standing.NOTHING


def _by_death(event: TaskEnded) -> bool:
    return event.failure is not None and event.failure.code == INTERRUPTED.code


class PlanResume(Struct, frozen=True, kw_only=True):
    """What a resume of a plan is going to do.

    Attributes:
        undo: Indices of the steps whose cleanup is due before anything else, in the order in which they began.
        todo: Indices of the elements to work on, in order; empty if the plan does not go on.
        stands: Indices of the steps whose cleanup is due at the end, in the order in which they began.
        reasons: Why, by index of an element that is undone or done again.
    """

    undo: tuple[int, ...]
    todo: tuple[int, ...]
    stands: tuple[int, ...]
    reasons: Mapping[int, str]

    @property
    def is_idle(self) -> bool:
        """True if there is nothing to do."""
        return not (self.undo or self.todo or self.stands)


def plan_resume(plan: PlanDefinition, log: PlanLog, *, go_on: bool) -> PlanResume:
    """Decide what to do with the run of a plan that has ended or died.

    Without `go_on` the cleanups that are still due are run: of steps that stand, of steps in doubt, and of those whose
    cleanup did not succeed. With it only the latter two are, and then every step that does not stand is run, in order,
    with the pauses behind them. A plan all of whose steps have succeeded has nothing to continue with: only what it was
    cleaning up is left.

    Args:
        plan: What the run is made of.
        log: Its events.
        go_on: Continue the plan.
    """
    standing = {
        index: log.standing.get(element.name, Standing.NOTHING) for index, element in enumerate(plan.elements)
    }
    by_name = {element.name: index for index, element in enumerate(plan.elements)}
    began = [by_name[name] for name in log.order if name in by_name]
    cleanable = [index for index in began if has_cleanup(plan, index)]
    if not go_on or all(element.name in log.succeeded for element in plan.elements):
        undo = tuple(index for index in cleanable if standing[index] is not Standing.NOTHING)
        return PlanResume(undo=undo, todo=(), stands=(), reasons={i: _REASONS[standing[i]] for i in undo})
    undo = tuple(index for index in cleanable if standing[index] in _UNSOUND)
    todo = _to_do(plan, standing)
    stands = tuple(index for index in cleanable if standing[index] is Standing.DONE and index not in todo)
    reasons = {index: _why_again(plan, log, standing, index) for index in todo}
    return PlanResume(undo=undo, todo=todo, stands=stands, reasons=reasons)


_UNSOUND = frozenset({Standing.IN_DOUBT, Standing.HALF_CLEANED})

_REASONS = {
    Standing.DONE: "it succeeded, and its cleanup has not run",
    Standing.IN_DOUBT: "its engine died in the middle of it",
    Standing.HALF_CLEANED: "its cleanup did not succeed",
}


def _why_again(plan: PlanDefinition, log: PlanLog, standing: Mapping[int, Standing], index: int) -> str:
    if isinstance(plan.elements[index], PauseDefinition):
        return "it follows a step that runs again"
    if standing[index] is not Standing.NOTHING:
        return _REASONS[standing[index]]
    return (
        "it has not succeeded, or was cleaned up"
        if log.attempts.get(plan.elements[index].name)
        else "it had not started"
    )


def _to_do(plan: PlanDefinition, standing: Mapping[int, Standing]) -> tuple[int, ...]:
    todo, runs = [], False
    for index, element in enumerate(plan.elements):
        if isinstance(element, StepDefinition):
            runs = standing[index] is not Standing.DONE
        elif standing[index] is not Standing.DONE:
            runs = True
        if runs:
            todo.append(index)
    return tuple(todo)


def merged(pinned: PlanDefinition, current: PlanDefinition, log: PlanLog) -> PlanDefinition:
    """Return a plan as it is now, in which the steps that stand are what they were when they ran.

    Raises:
        UsageError: If a step that stands is no part of it any more.
    """
    stands = {
        element.name: element
        for element in pinned.elements
        if log.standing.get(element.name, Standing.NOTHING) is not Standing.NOTHING
    }
    missing = stands.keys() - {element.name for element in current.elements}
    if missing:
        names = ", ".join(sorted(missing))
        message = f"the plan has no longer what this run would have to clean up: {names}"
        advice = "resume without --continue, which cleans up, or with --pinned"
        raise UsageError((Problem(message=message, suggestion=advice),))
    done = {name: element for name, element in stands.items() if log.standing[name] is Standing.DONE}
    elements = tuple(done.get(element.name, element) for element in current.elements)
    return structs.replace(current, elements=elements)
