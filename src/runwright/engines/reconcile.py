"""Pursues goals and resumes them: each recorded reconciliation is a run like any other."""

from collections.abc import Callable

from runwright.core.goal import GoalDefinition, GoalOptions, GoalOutcome
from runwright.core.options import RunOptions
from runwright.core.run import Lease, Run
from runwright.engines import goal_prepare
from runwright.engines.course import Course, Courses
from runwright.engines.goal_driver import GoalDriver, Performer
from runwright.engines.goal_prepare import Prepared
from runwright.engines.goal_recorder import GoalRecorder, NoRecord, Report
from runwright.engines.leasekeeper import LeaseKeeper
from runwright.engines.parent import NO_PARENT, Parent
from runwright.engines.prepare import Doors
from runwright.engines.progress import Listener
from runwright.engines.scope import Scope, opened
from runwright.engines.session import RunSession
from runwright.engines.takeup import take_up
from runwright.ports.system import Clock

MakePerformer = Callable[[RunSession, GoalDefinition, RunOptions], Performer]
"""Makes what asks the goal and performs its actions, for one execution."""


class GoalEngine:
    """Pursues and resumes goals, and records what they need and what is done.

    Args:
        doors: Everything outside.
        listener: Told every progress event.
        report: Logs what the loop does.
    """

    def __init__(
        self, doors: Doors, *, listener: Listener | None = None, report: Report | None = None
    ) -> None:
        self._doors = doors
        self._listener = listener
        self._report = report
        self._courses = Courses(doors.skip_grace)

    def stop(self, reason: str) -> None:
        """Stop all goals: the first call breaks off what runs, the second skips the grace of commands."""
        self._courses.stop(reason)

    async def execute(
        self,
        goal: GoalDefinition,
        make_performer: MakePerformer,
        options: RunOptions,
        *,
        source: str = "",
        path: str = "",
        parent: Parent = NO_PARENT,
    ) -> GoalOutcome:
        """Pursue a goal to the end and return what came of it; one that is not reached is no exception.

        Args:
            goal: What to pursue, already checked.
            make_performer: Makes what asks and performs.
            options: Choices for this run.
            source: Text of the file it was read from.
            path: Absolute path of that file.
            parent: The outer run, if this one is the work of a task of it.

        Raises:
            DefinitionError: If the file, a variable or a tag holds the value of a secret.
            StoreError: If the run can't be recorded.
            Exception: What the listener raised first, once the run has ended and is recorded.
        """

        async def drive(course: Course) -> GoalOutcome:
            prepared = await goal_prepare.create(self._doors, goal, options, source, path, parent)
            return await self._driven(prepared, course, make_performer, parent)

        return await self._courses.to_the_end(drive)

    async def resume(
        self,
        run_id: str,
        current: GoalDefinition | None,
        make_performer: MakePerformer,
        options: RunOptions,
        *,
        source: str = "",
        parent: Parent = NO_PARENT,
    ) -> GoalOutcome:
        """Continue a goal's run under the same id.

        The goal is asked again, whatever was going on; rounds are numbered on, and the error budget starts anew.

        Args:
            run_id: Id of the run, or an unambiguous beginning of it.
            current: What the goal is now; None, or `pinned` in the options, keeps what is recorded.
            make_performer: Makes what asks and performs.
            options: What differs from the options it was started with.
            source: Text of the file, if that has been read again.
            parent: The outer run, if this one is the work of a task of it.

        Raises:
            RunIsActive: If another engine drives it.
            UsageError: If it has succeeded.
        """
        doors = self._doors

        async def prepare(run: Run, lease: Lease) -> Prepared:
            return await goal_prepare.resume(doors, run, lease, current, options, source, parent)

        async def drive(course: Course) -> GoalOutcome:
            prepared = await take_up(doors, run_id, prepare)
            return await self._driven(prepared, course, make_performer, parent)

        return await self._courses.to_the_end(drive)

    async def _driven(
        self, prepared: Prepared, course: Course, make_performer: MakePerformer, parent: Parent
    ) -> GoalOutcome:
        async with opened(self._doors, prepared, parent, self._listener) as scope:
            performer = make_performer(scope.session, prepared.goal, prepared.options)
            outcome = await self._pursue(prepared, course, scope, performer)
        scope.progress.run_done(outcome.state, outcome.reason)
        return outcome

    async def _pursue(
        self, prepared: Prepared, course: Course, scope: Scope, performer: Performer
    ) -> GoalOutcome:
        doors, goal, journal = self._doors, prepared.goal, scope.journal
        driver = GoalDriver(
            goal.options,
            performer,
            GoalRecorder(journal, scope.progress, doors.clock),
            doors.clock,
            scope.session.redact,
            self._report,
            prepared.before,
        )
        journal.on_error = driver.fail
        scope.progress.run_started(0, goal.name)
        async with LeaseKeeper(doors.store, prepared.lease, doors.clock, driver.stop, driver.fail):
            course.steer(driver)
            ending = await driver.drive()
        return driver.outcome(ending, prepared.run_id)


async def pursue_unrecorded(
    options: GoalOptions, performer: Performer, clock: Clock, course: Course, report: Report
) -> GoalOutcome:
    """Pursue a goal to the end without a store."""
    driver = GoalDriver(options, performer, NoRecord(), clock, report=report)
    course.steer(driver)
    return driver.outcome(await driver.drive())
