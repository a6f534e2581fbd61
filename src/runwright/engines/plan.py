"""Runs plans and resumes them: each recorded plan is a run like any other."""

from collections.abc import Callable

from runwright.core.options import RunOptions
from runwright.core.plan import PlanDefinition, PlanOutcome, PlanProgress
from runwright.core.planstate import State
from runwright.core.run import Lease, Run
from runwright.engines import plan_prepare
from runwright.engines.course import Course, Courses
from runwright.engines.leasekeeper import LeaseKeeper
from runwright.engines.parent import NO_PARENT, Parent
from runwright.engines.plan_driver import Hooks, PlanDriver
from runwright.engines.plan_prepare import Prepared, Resumption
from runwright.engines.plan_recorder import Recorder, Silence
from runwright.engines.prepare import Doors
from runwright.engines.progress import Listener
from runwright.engines.scope import Scope, opened
from runwright.engines.session import RunSession
from runwright.engines.takeup import take_up
from runwright.ports.system import Clock

MakeHooks = Callable[[RunSession, State], Hooks]
"""Makes what performs the hooks, for one execution."""


class PlanEngine:
    """Executes and resumes plans, and records them.

    Args:
        doors: Everything outside.
        listener: Told every progress event.
    """

    def __init__(self, doors: Doors, *, listener: Listener | None = None) -> None:
        self._doors = doors
        self._listener = listener
        self._courses = Courses(doors.skip_grace)

    def stop(self, reason: str) -> None:
        """Stop all plans: the first call breaks off their steps, the second skips the grace of commands.

        Cleanups still run.
        """
        self._courses.stop(reason)

    async def execute(
        self,
        plan: PlanDefinition,
        make_hooks: MakeHooks,
        state: State,
        options: RunOptions,
        *,
        source: str = "",
        path: str = "",
        parent: Parent = NO_PARENT,
    ) -> PlanOutcome:
        """Run a plan to its end and return what came of it; a failed step is in the outcome, not an exception.

        Args:
            plan: What to run, already checked.
            make_hooks: Makes what performs the hooks.
            state: What the steps share; the plan's own and the options' values are put into it.
            options: Choices for this run.
            source: Text of the file it was read from.
            path: Absolute path of that file.
            parent: The outer run, if this one is the work of a task of it.

        Raises:
            DefinitionError: If the file, a variable or a tag holds the value of a secret.
            StoreError: If the run can't be recorded.
            Exception: What the listener raised first, once the run has ended and is recorded.
        """

        async def drive(course: Course) -> PlanOutcome:
            prepared = await plan_prepare.create(self._doors, plan, state, options, source, path, parent)
            return await self._driven(prepared, course, make_hooks, state, parent)

        return await self._courses.to_the_end(drive)

    async def plan_resume(
        self, run_id: str, current: PlanDefinition | None, options: RunOptions, *, go_on: bool
    ) -> Resumption:
        """Say what `resume` would do; writes nothing."""
        run = await self._doors.store.find_run(run_id)
        return await plan_prepare.decide(self._doors, run, current, options, go_on=go_on)

    async def resume(
        self,
        run_id: str,
        current: PlanDefinition | None,
        make_hooks: MakeHooks,
        state: State,
        options: RunOptions,
        *,
        go_on: bool,
        parent: Parent = NO_PARENT,
    ) -> PlanOutcome:
        """Run the cleanups that a plan's run has left, or continue it, under the same id.

        Args:
            run_id: Id of the run, or an unambiguous beginning of it.
            current: What the plan is now; None, or `pinned` in the options, keeps what is recorded.
            make_hooks: Makes what performs the hooks.
            state: What the steps share; what is stored of it is put into it.
            options: What differs from the options it was started with.
            go_on: Continue the plan.
            parent: The outer run, if this one is the work of a task of it.

        Raises:
            RunIsActive: If another engine drives it.
            UsageError: If it has succeeded, there is nothing to do, or a step that stands is no part of the plan any more.
        """
        doors = self._doors

        async def prepare(run: Run, lease: Lease) -> Prepared:
            found = await plan_prepare.decide(doors, run, current, options, go_on=go_on)
            return await plan_prepare.resume(doors, found, lease, state, options, parent)

        async def drive(course: Course) -> PlanOutcome:
            prepared = await take_up(doors, run_id, prepare)
            return await self._driven(prepared, course, make_hooks, state, parent)

        return await self._courses.to_the_end(drive)

    async def _driven(
        self, prepared: Prepared, course: Course, make_hooks: MakeHooks, state: State, parent: Parent
    ) -> PlanOutcome:
        async with opened(self._doors, prepared, parent, self._listener) as scope:
            outcome = await self._perform(prepared, course, scope, make_hooks(scope.session, state), state)
        scope.progress.run_done(outcome.state, outcome.reason)
        return outcome

    async def _perform(
        self, prepared: Prepared, course: Course, scope: Scope, hooks: Hooks, state: State
    ) -> PlanOutcome:
        doors, plan, journal = self._doors, prepared.plan, scope.journal
        recorder = Recorder(
            plan, journal, scope.progress, doors.clock, state, prepared.stored, prepared.cleanups_made
        )
        driver = PlanDriver(prepared.progress, hooks, recorder, doors.clock, scope.session.redact)
        journal.on_error = driver.fail
        scope.progress.run_started(len(plan.elements), plan.name)
        async with LeaseKeeper(doors.store, prepared.lease, doors.clock, driver.stop, driver.fail):
            course.steer(driver)
            finish = await driver.drive()
        return driver.outcome(finish, prepared.run_id)


async def execute_unrecorded(plan: PlanDefinition, hooks: Hooks, clock: Clock, course: Course) -> PlanOutcome:
    """Run a plan to its end without a store."""
    driver = PlanDriver(PlanProgress(plan), hooks, Silence(), clock)
    course.steer(driver)
    return driver.outcome(await driver.drive())
