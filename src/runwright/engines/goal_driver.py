"""The control loop of one goal: ask which actions it needs, perform them, and ask again until it needs none."""

import asyncio
from collections.abc import Awaitable, Callable, Iterator, Sequence
from typing import Any, Protocol, TypeVar

from runwright.core.errors import Failure, RunwrightError
from runwright.core.goal import (
    ActionHook,
    Ending,
    GiveUp,
    GoalOptions,
    GoalOutcome,
    History,
    Round,
    budget_text,
    oscillation_text,
)
from runwright.core.goalplace import Ids, Place
from runwright.core.plan import timeout_reason
from runwright.core.states import RunState, TaskState
from runwright.engines.actions import HOOKS
from runwright.engines.failures import (
    BROKEN_OFF,
    TASK_CANCELLED,
    cancelled_itself,
    exited,
    fatal_in,
    redacted,
    to_failure,
    told,
)
from runwright.engines.goal_recorder import GoalRecorder, NoRecord, Report
from runwright.engines.session import AttemptLog
from runwright.ports.system import Clock

PLANNING = "plan"
"""Under which name the errors of the goal itself are counted."""

T = TypeVar("T")

Named = tuple[str, Any]
"""An action with its name."""


class Performer(Protocol):
    """Asks a goal and performs its actions; whatever it raises is an error of theirs."""

    async def plan(self, place: Place) -> Sequence[Named]:
        """Return the actions that the goal still needs, in order."""
        ...

    async def call(self, place: Place, hook: ActionHook) -> Sequence[Named]:
        """Perform a hook of an action; `perform` returns its children."""
        ...

    def close_log(self, place: Place) -> AttemptLog | None:
        """Close the log of an action or of a round's planning, and return it if anything was logged.

        Raises:
            StoreError: If the output can't be kept.
        """
        ...


class GoalDriver:
    """Drives one execution of a goal.

    With one worker everything happens in one task, so that what one hook opens another may close; with several, each
    has a task of its own and works on an action with all its children.

    Args:
        options: How patiently it is pursued.
        performer: Asks and performs.
        recorder: Records and tells.
        clock: Time.
        redact: Masks secrets in names and messages.
        report: Logs.
        before: Number of the last round before this execution.
    """

    def __init__(
        self,
        options: GoalOptions,
        performer: Performer,
        recorder: GoalRecorder | NoRecord,
        clock: Clock,
        redact: Callable[[str], str] = str,
        report: Report | None = None,
        before: int = 0,
    ) -> None:
        self._options = options
        self._performer = performer
        self._recorder = recorder
        self._clock = clock
        self._redact = redact
        self._report = report or Report()
        self._before = before
        self._history = History(options)
        self._rounds = 0
        self._performed = 0
        self._errors: list[tuple[str, Exception]] = []
        self._ending: Ending | None = None
        self._cause: Exception | None = None
        self._broken: Exception | None = None
        self._open: set[asyncio.Task[Any]] = set()
        self._cancelled: set[asyncio.Task[Any]] = set()

    def stop(self, reason: str) -> None:
        """Break off what runs, and start nothing more; changes nothing once the loop ends."""
        self._end(Ending(RunState.CANCELLED, reason))

    def fail(self, error: Exception) -> None:
        """Give up at once: the run can't be recorded any more."""
        self._broken = self._broken or error
        self._break_off()

    async def drive(self) -> Ending:
        """Drive the loop to its end.

        Raises:
            ConflictError: If the right to the run has passed on.
            StoreError: If the run can't be recorded.
        """
        limit = self._options.execution_timeout
        late = timeout_reason(limit)
        timer = asyncio.get_running_loop().call_later(limit, self.stop, late) if limit else None
        try:
            while not self._is_over:
                await self._round()
            if self._broken is not None:
                raise self._broken
            assert self._ending is not None
            self._report.ends(self._ending)
            await self._recorder.finish(self._ending)
            return self._ending
        finally:
            if timer is not None:
                timer.cancel()

    def outcome(self, ending: Ending, run_id: str = "") -> GoalOutcome:
        """Return what came of it, with the errors themselves."""
        return GoalOutcome(
            state=ending.state,
            reason=ending.reason,
            rounds=self._rounds,
            performed=self._performed,
            errors=tuple(self._errors),
            run_id=run_id,
            cause=self._cause,
        )

    @property
    def _is_over(self) -> bool:
        return self._ending is not None or self._broken is not None

    # -- rounds

    async def _round(self) -> None:
        self._rounds += 1
        number = self._before + self._rounds
        performed, errors = self._performed, len(self._errors)
        actions = await self._plan(Place(round=number, id=str(number), name=f"round {number}"))
        await self._perform_all(number, actions)
        if self._is_over:
            return
        round_ = Round(
            number=number,
            actions=tuple(name for name, _ in actions),
            succeeded=self._performed - performed,
            errors=len(self._errors) - errors,
        )
        await self._go_on_after(round_)

    async def _go_on_after(self, round_: Round) -> None:
        decision = self._history.after(round_)
        if isinstance(decision, GiveUp):
            text = oscillation_text(decision.cycle, decision.repetitions)
            self._end(Ending(RunState.FAILED, text))
            return
        self._report.waits(decision.seconds)
        await self._attempt(self._clock.sleep(decision.seconds))

    async def _plan(self, place: Place) -> list[Named]:
        """Ask the goal, and return what it needs; nothing if it can't say or the loop ends."""
        await self._recorder.begin(place)
        if self._is_over:
            return self._not_planned(place, BROKEN_OFF)
        error, found = await self._attempt(self._performer.plan(place))
        error = self._closed(place, error)
        if error is not None or self._is_over:
            return self._not_planned(place, error or BROKEN_OFF)
        actions = self._masked(found or ())
        names = [name for name, _ in actions]
        self._recorder.planned(place, names, None)
        self._report.planned(place.round, names)
        if not actions:
            self._end(Ending(RunState.SUCCEEDED))
        return actions

    def _not_planned(self, place: Place, error: Exception) -> list[Named]:
        if self._broken is None and error is BROKEN_OFF:
            self._recorder.end(place, TaskState.CANCELLED, self._stopped())
        elif self._broken is None:
            failure = self._to_failure(error)
            self._recorder.planned(place, (), failure)
            self._count(PLANNING, error, failure)
        return []

    # -- actions

    async def _perform_all(self, number: int, actions: Sequence[Named]) -> None:
        left, ids = iter(actions), Ids(number)
        workers = min(self._options.workers, len(actions))
        if workers <= 1:
            await self._work_off(left, ids, number, 0)
            return
        tasks = [
            asyncio.ensure_future(self._work_apart(left, ids, number, worker)) for worker in range(workers)
        ]
        while pending := [task for task in tasks if not task.done()]:
            try:
                await asyncio.wait(pending)
            except asyncio.CancelledError:
                self.stop(TASK_CANCELLED)

    async def _work_apart(self, left: Iterator[Named], ids: Ids, number: int, worker: int) -> None:
        try:
            await self._work_off(left, ids, number, worker)
        except Exception as error:
            self.fail(error)

    async def _work_off(self, left: Iterator[Named], ids: Ids, number: int, worker: int) -> None:
        """Take one action after another, and perform each with its children before the next."""
        for name, action in left:
            if self._is_over:
                return
            stack = [(ids.round, name, action)]
            while stack and not self._is_over:
                parent, name, action = stack.pop()  # noqa: PLW2901 - children take their parent's place
                place = Place(number, ids.take(parent, name), name, action, worker)
                children = await self._perform(place)
                stack += [(place.id, name, child) for name, child in reversed(self._masked(children))]

    def _masked(self, actions: Sequence[Named]) -> list[Named]:
        return [(self._redact(name), action) for name, action in actions]

    async def _perform(self, place: Place) -> Sequence[Named]:
        """Perform one action; return its children if all its hooks succeeded."""
        await self._recorder.begin(place)
        self._report.begins(place)
        error, children = await self._attempt(self._hooks(place))
        error = self._closed(place, error)
        if self._broken is not None:
            return ()
        if error is None and children is not None:
            return self._succeeded(place, children)
        return self._failed(place, error or BROKEN_OFF)

    async def _hooks(self, place: Place) -> Sequence[Named] | None:
        """Call the hooks of an action; return its children, or None if the loop ended before the last hook."""
        children: Sequence[Named] = ()
        for hook in HOOKS:
            if self._is_over:
                return None
            children = await self._performer.call(place, hook) or children
        return children

    def _succeeded(self, place: Place, children: Sequence[Named]) -> Sequence[Named]:
        self._recorder.end(place, TaskState.SUCCEEDED)
        self._report.succeeded(place)
        self._performed += 1
        return children

    def _failed(self, place: Place, error: Exception) -> Sequence[Named]:
        if error is BROKEN_OFF:
            self._recorder.end(place, TaskState.CANCELLED, self._stopped())
            return ()
        failure = self._to_failure(error)
        self._recorder.end(place, TaskState.FAILED, failure)
        self._count(place.name, error, failure)
        return ()

    def _closed(self, place: Place, error: Exception | None) -> Exception | None:
        """Close a log; output that can't be kept is an error of what succeeded otherwise."""
        try:
            log = self._performer.close_log(place)
        except RunwrightError as refusal:
            return error or refusal
        if log is not None and log.captured:
            self._recorder.output(place, log)
        return error

    # -- errors and ends

    def _count(self, name: str, error: Exception, failure: Failure) -> None:
        """Count an error, and end the loop if it is fatal or one too many; those after the end don't count."""
        if self._ending is not None:
            return
        cause = told(error)
        self._errors.append((name, cause))
        self._history.errors += 1
        errors, most = self._history.errors, self._options.errors_to_tolerate
        if (fatal := fatal_in(cause)) is not None:
            self._end(Ending(RunState.FAILED, f"{name}: {failure.message}"), fatal)
        elif self._history.is_spent:
            reason = f"{budget_text(errors, most)}; the last one is of {name}: {failure.message}"
            self._end(Ending(RunState.FAILED, reason), cause)
        else:
            self._report.tolerated(name, failure.message, errors, most)

    def _end(self, ending: Ending, cause: Exception | None = None) -> None:
        """End the loop: break off what runs, and start nothing more; the first ending stands."""
        if self._ending is None:
            self._ending, self._cause = ending, cause
            self._break_off()

    def _break_off(self) -> None:
        """Cancel what runs, except for who calls this: that comes to its end by itself."""
        caller = asyncio.current_task()
        for task in self._open - self._cancelled:
            if task is not caller:
                self._cancelled.add(task)
                task.cancel()

    async def _attempt(self, work: Awaitable[T]) -> tuple[Exception | None, T | None]:
        """Do some work that can be broken off; return its error, and its result if there is none."""
        task = asyncio.current_task()
        assert task is not None
        self._open.add(task)
        try:
            return None, await work
        except asyncio.CancelledError:
            return (BROKEN_OFF if task.cancelling() else cancelled_itself()), None
        except (Exception, SystemExit) as error:
            return (error if isinstance(error, Exception) else exited(error)), None
        finally:
            self._open.discard(task)
            if task in self._cancelled:
                self._cancelled.discard(task)
                task.uncancel()
            elif task.cancelling():
                self.stop(TASK_CANCELLED)

    def _stopped(self) -> Failure:
        assert self._ending is not None
        return Failure(code="E_CANCELLED", message=self._ending.reason)

    def _to_failure(self, error: Exception) -> Failure:
        return redacted(to_failure(error), self._redact)
