"""Goals made in code, with everything they need put together."""

import asyncio
from collections import defaultdict
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path

from runwright.adapters.clock import SystemClock
from runwright.adapters.threads import OneThread
from runwright.core.errors import GoalCancelled, GoalFailed, GoalTimeout, Oscillation, UsageError
from runwright.core.goal import GoalDefinition, GoalOutcome
from runwright.core.options import RunOptions
from runwright.core.run import TIMEOUT_REASON
from runwright.core.states import RunState
from runwright.engines.actions import checked_goal
from runwright.engines.course import Course
from runwright.engines.goal_functions import FunctionPerformer
from runwright.engines.goal_options import ReconcilerOptions
from runwright.engines.goal_recorder import Report
from runwright.engines.progress import Listener
from runwright.engines.reconcile import GoalEngine, MakePerformer, pursue_unrecorded
from runwright.engines.session import RunSession
from runwright.ports.stores import RunStore
from runwright.wiring.opening import opened_doors
from runwright.wiring.underway import Underway


class Reconciler:
    """Asks a goal which actions it still needs, performs them, and asks again until it needs none.

    Usage::

        options = ReconcilerOptions.default().with_sleep_between_runs(0.5).with_errors_to_tolerate(3)
        outcome = await Reconciler(options).run(goal)

    Args:
        options: How patiently a goal is pursued; None means the defaults.
        store: Where reconciliations are recorded as runs: a store, a path or a URL; None records nothing. A store that
            is given stays open.
        name: What the run is called.
        listener: Told every progress event of what is recorded.

    Source: ``seeds/2-execloop``.
    """

    def __init__(
        self,
        options: ReconcilerOptions | None = None,
        *,
        store: RunStore | str | Path | None = None,
        name: str = "goal",
        listener: Listener | None = None,
    ) -> None:
        self._options = ReconcilerOptions.default() if options is None else options
        self._store = store
        self._name = name
        self._listener = listener
        self._report = Report(self._options.logger)
        self._underway: Underway[GoalOutcome] = Underway()

    @property
    def definition(self) -> GoalDefinition:
        """What is recorded of a goal made in code."""
        return GoalDefinition(name=self._name, options=self._options.to_goal_options())

    def run_sync(self, goal: object) -> GoalOutcome:
        """Pursue a goal from a script that has no event loop; see `run`."""
        return asyncio.run(self.run(goal))

    async def run(self, goal: object) -> GoalOutcome:
        """Pursue a goal until it needs no action any more, and return what came of it.

        Args:
            goal: A `Goal`, or any object with its `plan`.

        Raises:
            GoalFailed: If an error was fatal or one more than is tolerated; that error is its cause.
            Oscillation: If the same rounds come again and again without an error.
            GoalTimeout: If it took longer than it may.
            GoalCancelled: If it was stopped; if its task was cancelled it is asyncio's `CancelledError` too.
            UsageError: If it is no goal.
            StoreError: If the run can't be recorded.
        """
        checked_goal(goal)

        async def unrecorded(course: Course) -> GoalOutcome:
            threads = _Threads()
            try:
                performer = FunctionPerformer(goal, threads)
                clock, options = SystemClock(), self._options.to_goal_options()
                return await pursue_unrecorded(options, performer, clock, course, self._report)
            finally:
                threads.close()

        async def recorded(course: Course) -> GoalOutcome:
            async with self._engine(goal) as (engine, performer):
                course.steer(engine)
                return await engine.execute(self.definition, performer, RunOptions())

        return await self._to_the_end(unrecorded if self._store is None else recorded)

    async def resume(self, goal: object, run_id: str = "latest") -> GoalOutcome:
        """Continue a reconciliation that failed, was cancelled or was interrupted, under the same id.

        The goal is asked again. Rounds are numbered on; the error budget and the time limit start anew.

        Args:
            goal: A `Goal`, or any object with its `plan`.
            run_id: Id of the run, an unambiguous beginning of it, or ``latest``.

        Raises:
            GoalFailed: As by `run`.
            UsageError: If it has succeeded, or is the run of something else.
            RunIsActive: If another process drives it.
        """
        checked_goal(goal)

        async def recorded(course: Course) -> GoalOutcome:
            async with self._engine(goal) as (engine, performer):
                course.steer(engine)
                return await engine.resume(run_id, self.definition, performer, RunOptions())

        return await self._to_the_end(recorded)

    def cancel(self, reason: str = "cancelled") -> None:
        """Stop everything that this object pursues, from an action or any other code, in whatever thread."""
        self._underway.stop(reason)

    async def _to_the_end(self, drive: Callable[[Course], Awaitable[GoalOutcome]]) -> GoalOutcome:
        outcome = await self._underway.to_the_end(drive, _cancelled)
        _raise_failure(outcome)
        return outcome

    @asynccontextmanager
    async def _engine(self, goal: object) -> AsyncIterator[tuple[GoalEngine, MakePerformer]]:
        """Open the store, and yield an engine on it with what makes the performer."""
        if self._store is None:
            raise UsageError(
                "a reconciler without a store records nothing; give it one to resume what it did"
            )
        threads = _Threads()

        def performer(session: RunSession, definition: GoalDefinition, _: RunOptions) -> FunctionPerformer:
            return FunctionPerformer(goal, threads, session, definition.max_log_bytes)

        try:
            async with opened_doors(self._store) as doors:
                yield GoalEngine(doors, listener=self._listener, report=self._report), performer
        finally:
            threads.close()


class _Threads(defaultdict[int, OneThread]):
    """A thread for each worker, made when it is first needed."""

    def __init__(self) -> None:
        super().__init__(OneThread)

    def close(self) -> None:
        """Let all of them end once they are free."""
        for thread in self.values():
            thread.close()


class _CancelledGoal(GoalCancelled, asyncio.CancelledError):
    """A reconciliation whose task was cancelled: asyncio must see that it was."""


def _cancelled(outcome: GoalOutcome | None) -> _CancelledGoal:
    return _CancelledGoal(outcome.reason if outcome else "cancelled", outcome)


def _raise_failure(outcome: GoalOutcome) -> None:
    if outcome.state is RunState.CANCELLED:
        kind = GoalTimeout if outcome.reason.startswith(TIMEOUT_REASON) else GoalCancelled
        raise kind(outcome.reason, outcome)
    if outcome.state is RunState.FAILED and outcome.cause is None:
        raise Oscillation(outcome.reason, outcome)
    if outcome.state is RunState.FAILED:
        raise GoalFailed(outcome.reason, outcome) from outcome.cause
