"""Plans made in code, with everything they need put together."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

from runwright.adapters.clock import SystemClock
from runwright.adapters.threads import OneThread
from runwright.core.errors import PlanCancelled, PlanFailed, PlanTimeout, UsageError
from runwright.core.options import RunOptions
from runwright.core.plan import CLEANUP_SECONDS, Hook, PlanDefinition, PlanOutcome
from runwright.core.planstate import State
from runwright.core.run import TIMEOUT_REASON
from runwright.core.states import RunState
from runwright.engines.course import Course
from runwright.engines.plan import MakeHooks, PlanEngine, execute_unrecorded
from runwright.engines.plan_functions import FunctionHooks
from runwright.engines.plan_prepare import Resumption
from runwright.engines.progress import Listener
from runwright.engines.session import RunSession
from runwright.engines.steps import Elements, missing_functions
from runwright.ports.stores import RunStore
from runwright.wiring.opening import opened_doors
from runwright.wiring.underway import Underway


class Plan:
    """Steps that run in order, share state, and are cleaned up last to first at every end.

    Usage::

        plan = Plan(limit_duration=60).add_step(Step("directory", exec=make, cleanup=remove)).add_pause(0.5)
        outcome = await plan.execute()

    Args:
        continue_on_error: Go on with the next step when one has failed for good.
        limit_duration: Seconds that steps and pauses may take together; None means no limit.
        cleanup_timeout: Seconds that the cleanup of one step may take.
        store: Where executions are recorded as runs: a store, a path or a URL; None records nothing. A store that is
            given stays open.
        name: What the run is called.
        state: What the state begins with.
        listener: Told every progress event of executions that are recorded.

    Attributes:
        state: What the steps share; it can be read and written before, during and after an execution.

    Source: ``seeds/3-plan-of-steps``.
    """

    def __init__(
        self,
        *,
        continue_on_error: bool = False,
        limit_duration: float | None = None,
        cleanup_timeout: float = CLEANUP_SECONDS,
        store: RunStore | str | Path | None = None,
        name: str = "plan",
        state: Mapping[str, Any] | None = None,
        listener: Listener | None = None,
    ) -> None:
        self.state = State(state)
        self._continue_on_error = continue_on_error
        self._limit = _seconds("limit_duration", limit_duration)
        self._cleanup_timeout = _seconds("cleanup_timeout", cleanup_timeout) or CLEANUP_SECONDS
        self._store = store
        self._name = name
        self._listener = listener
        self._elements = Elements()
        self._underway: Underway[PlanOutcome] = Underway()

    def add_step(self, step: object) -> "Plan":
        """Add a step: a `Step`, or any object with some of its four hooks as methods; returns the plan.

        Raises:
            UsageError: If it has no hook, or something about it is wrong.
        """
        self._elements.add_step(step)
        return self

    def add_pause(self, seconds: float) -> "Plan":
        """Add a pause behind the latest step; returns the plan.

        Raises:
            UsageError: If it is not a number of seconds from 0.
        """
        self._elements.add_pause(seconds)
        return self

    @property
    def definition(self) -> PlanDefinition:
        """The plan as plain data."""
        return PlanDefinition(
            name=self._name,
            elements=tuple(self._elements.definitions),
            continue_on_error=self._continue_on_error,
            limit_duration=self._limit,
            cleanup_timeout=self._cleanup_timeout,
        )

    def run(self) -> PlanOutcome:
        """Execute the plan from a script that has no event loop; see `execute`."""
        return asyncio.run(self.execute())

    async def execute(self) -> PlanOutcome:
        """Run the steps in order, then the cleanups last to first, and return what came of it.

        Raises:
            PlanFailed: If a step failed, unless the plan continues on errors; the first error is its cause.
            PlanTimeout: If it took longer than its limit.
            PlanCancelled: If it was stopped; if its task was cancelled it is asyncio's `CancelledError` too.
            StoreError: If the run can't be recorded.
        """
        if self._store is None:
            return await self._to_the_end(self._unrecorded)

        async def recorded(course: Course) -> PlanOutcome:
            async with self._engine() as (engine, hooks):
                course.steer(engine)
                return await engine.execute(self.definition, hooks, self.state, RunOptions())

        return await self._to_the_end(recorded)

    async def plan_resume(self, run_id: str = "latest", *, go_on: bool = False) -> Resumption:
        """Say what `resume` would do; writes nothing."""
        async with self._engine() as (engine, _):
            return await engine.plan_resume(run_id, self.definition, RunOptions(), go_on=go_on)

    async def resume(self, run_id: str = "latest", *, go_on: bool = False) -> PlanOutcome:
        """Run the cleanups that an execution has left behind, or with `go_on` continue it, under the same id.

        The state is what is stored of it: values that are not plain data are lost.

        Args:
            run_id: Id of the run, an unambiguous beginning of it, or ``latest``.
            go_on: Continue the plan with every step that does not stand.

        Raises:
            PlanFailed: As by `execute`, if it goes on.
            UsageError: If there is nothing to do, or this plan has not the steps of that run.
            RunIsActive: If another process drives it.
        """

        async def recorded(course: Course) -> PlanOutcome:
            async with self._engine() as (engine, hooks):
                course.steer(engine)
                await self._check_functions(engine, run_id, go_on)
                return await engine.resume(
                    run_id, self.definition, hooks, self.state, RunOptions(), go_on=go_on
                )

        return await self._to_the_end(recorded, raises=go_on)

    def cancel(self, reason: str = "cancelled") -> None:
        """Stop every execution of this plan, from a hook or any other code, in whatever thread; cleanups run."""
        self._underway.stop(reason)

    async def _unrecorded(self, course: Course) -> PlanOutcome:
        threads = OneThread()
        hooks = FunctionHooks(self._elements.functions, self.state, threads)
        try:
            return await execute_unrecorded(self.definition, hooks, SystemClock(), course)
        finally:
            threads.close()

    async def _to_the_end(self, drive: "_Drive", *, raises: bool = True) -> PlanOutcome:
        outcome = await self._underway.to_the_end(drive, _cancelled)
        if raises:
            _raise_failure(outcome, self._continue_on_error)
        return outcome

    @asynccontextmanager
    async def _engine(self) -> AsyncIterator[tuple[PlanEngine, MakeHooks]]:
        """Open the store, and yield an engine on it with what makes the hooks."""
        if self._store is None:
            raise UsageError("a plan without a store is not recorded; give it one to resume what it did")
        threads = OneThread()

        def hooks(session: RunSession, state: State) -> FunctionHooks:
            return FunctionHooks(self._elements.functions, state, threads, session)

        try:
            async with opened_doors(self._store) as doors:
                yield PlanEngine(doors, listener=self._listener), hooks
        finally:
            threads.close()

    async def _check_functions(self, engine: PlanEngine, run_id: str, go_on: bool) -> None:
        found = await engine.plan_resume(run_id, self.definition, RunOptions(), go_on=go_on)
        decided, elements = found.decided, found.definition.elements
        functions = self._elements.functions
        cleaned = [elements[i] for i in (*decided.undo, *decided.stands) if i not in decided.todo]
        missing = missing_functions(cleaned, (Hook.CLEANUP,), functions)
        missing += missing_functions([elements[i] for i in decided.todo], tuple(Hook), functions)
        if missing:
            raise UsageError(f"this plan has no {', '.join(missing)}, which run {found.run.id} needs")


_Drive = Callable[[Course], Awaitable[PlanOutcome]]


class _CancelledPlan(PlanCancelled, asyncio.CancelledError):
    """A plan whose task was cancelled: asyncio must see that it was."""


def _cancelled(outcome: PlanOutcome | None) -> BaseException:
    return _CancelledPlan(outcome.reason if outcome else "cancelled", outcome)


def _raise_failure(outcome: PlanOutcome, continue_on_error: bool) -> None:
    if outcome.state is RunState.CANCELLED:
        kind = PlanTimeout if outcome.reason.startswith(TIMEOUT_REASON) else PlanCancelled
        raise kind(outcome.reason, outcome)
    if outcome.state is RunState.FAILED and not continue_on_error:
        raise PlanFailed(outcome.reason, outcome) from next(iter(outcome.errors.values()), None)


def _seconds(name: str, value: float | None) -> float:
    if value is None:
        return 0.0
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 < value < float("inf"):
        raise UsageError(f"{name} must be a positive number of seconds or None, not {value!r}")
    return float(value)
