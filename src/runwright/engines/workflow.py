"""Runs workflows and resumes them: one session, one driver and one end for each run."""

import asyncio
from collections.abc import Coroutine
from functools import cache
from typing import TYPE_CHECKING, Any

from runwright.core.errors import Failure
from runwright.core.events import RunEnded
from runwright.core.options import FailurePolicy, ResumePlan, RunOptions, Strategy
from runwright.core.planner import Planner
from runwright.core.run import TIMEOUT_REASON, Lease, Run
from runwright.core.states import RunState, TaskState
from runwright.core.workflow import Workflow
from runwright.engines import prepare
from runwright.engines.aftermath import Aftermath
from runwright.engines.attempt import Attempts
from runwright.engines.course import Course, Courses
from runwright.engines.driver import Driver
from runwright.engines.journal import Journal
from runwright.engines.leasekeeper import LeaseKeeper
from runwright.engines.parent import NO_PARENT, Parent
from runwright.engines.prepare import Doors, Manner, Prepared
from runwright.engines.progress import Listener
from runwright.engines.scope import Scope, opened
from runwright.engines.slots import Slots
from runwright.engines.takeup import require_resumable, take_up

if TYPE_CHECKING:
    from runwright.engines.children import Children

REASON_LENGTH = 500
"""Most characters of the reason for which a run failed; the failure itself has all of it."""


class WorkflowEngine:
    """Executes and resumes workflows, several at once if asked to.

    Args:
        doors: Everything outside.
        strategy: None means what a run was started with, or `work-stealing` if there is more than one worker.
        workers: Most tasks at a time in one run; None means what a run was started with, or 1.
        listener: Told every progress event.
    """

    def __init__(
        self,
        doors: Doors,
        *,
        strategy: Strategy | None = None,
        workers: int | None = None,
        listener: Listener | None = None,
    ) -> None:
        self._doors = doors
        self._manner = Manner(strategy=strategy, workers=workers)
        self._listener = listener
        self._courses = Courses(doors.skip_grace)

    async def execute(
        self,
        workflow: Workflow,
        options: RunOptions,
        *,
        source: str = "",
        path: str = "",
        parent: Parent = NO_PARENT,
    ) -> Run:
        """Run a workflow to its end and return its record; a failed run is a record, not an exception.

        Args:
            workflow: What to run, already checked.
            options: Choices for this run.
            source: Text of the file it was read from.
            path: Absolute path of that file.
            parent: The outer run, if this one is the work of a task of it.

        Raises:
            DefinitionError: If the graph has a cycle, the options name a task that is not there, or a variable or
                the file holds the value of a secret.
            StoreError: If the run can't be recorded.
            Exception: What the listener raised first, once the run has ended and is recorded.
        """
        return await self._to_the_end(
            prepare.create(self._doors, self._manner, workflow, options, source, path, parent), parent
        )

    async def plan_resume(self, run_id: str, options: RunOptions, current: Workflow | None) -> ResumePlan:
        """Say what `resume` would do; writes nothing.

        Args:
            run_id: Id of the run, or an unambiguous beginning of it.
            options: As for `resume`.
            current: What the run's file says now; None keeps the pinned definition.
        """
        run = await self._doors.store.find_run(run_id)
        require_resumable(run)
        return (await prepare.decide(self._doors.store, run, options, current)).resumption.plan

    async def resume(
        self,
        run_id: str,
        options: RunOptions,
        current: Workflow | None,
        *,
        source: str = "",
        parent: Parent = NO_PARENT,
    ) -> Run:
        """Continue a failed, cancelled or interrupted run under the same id, and return its record.

        Args:
            run_id: Id of the run, or an unambiguous beginning of it.
            options: What differs from the options it was started with.
            current: What the run's file says now; None keeps the pinned definition.
            source: Text of that file.
            parent: The outer run, if this one is the work of a task of it.

        Raises:
            RunIsActive: If another engine drives it.
            UsageError: If it has succeeded.
        """
        doors = self._doors

        async def prepared(run: Run, lease: Lease) -> Prepared:
            decided = await prepare.decide(doors.store, run, options, current)
            return await prepare.resume(doors, self._manner, run, lease, decided, source, parent)

        return await self._to_the_end(take_up(doors, run_id, prepared), parent)

    def stop(self, reason: str) -> None:
        """Stop all runs: the first call asks tasks to end, the second ends them at once.

        Cleanups and handlers still run.
        """
        self._courses.stop(reason)

    async def _to_the_end(self, preparing: Coroutine[Any, Any, Prepared], parent: Parent) -> Run:
        return await self._courses.to_the_end(lambda course: self._driven(preparing, course, parent))

    async def _driven(self, preparing: Coroutine[Any, Any, Prepared], course: Course, parent: Parent) -> Run:
        prepared = await preparing
        async with opened(self._doors, prepared, parent, self._listener) as scope:
            state, reason = await self._perform(prepared, course, scope)
        run = await self._doors.store.find_run(prepared.run_id)
        scope.progress.run_done(state, reason)
        return run

    async def _perform(self, prepared: Prepared, course: Course, scope: Scope) -> tuple[RunState, str]:
        doors, session, progress, journal = self._doors, scope.session, scope.progress, scope.journal
        attempts = Attempts(
            prepared.graph.workflow,
            prepared.graph,
            prepared.options,
            prepared.variables,
            session,
            doors.executor,
            doors.with_env,
            doors.with_values,
        )
        by_row = {row_id: row.attempts for row_id, row in prepared.rows.items()}
        aftermath = Aftermath(prepared.graph, attempts, journal, progress, doors.clock, doors.draw, by_row)
        planner = Planner(
            prepared.graph,
            prepared.strategy,
            prepared.options.failure_policy,
            prepared.variables,
            prepared.kept,
        )
        slots = Slots(prepared.workers)

        @cache
        def children() -> "Children":
            from runwright.engines.children import Children  # noqa: PLC0415 - few runs have any

            return Children(
                graph=prepared.graph,
                attempts=attempts,
                journal=journal,
                progress=progress,
                clock=doors.clock,
                draw=doors.draw,
                slots=slots,
                stopped=planner.stop_reason_for,
                fails_fast=planner.policy is FailurePolicy.FAIL_FAST,
                rows=prepared.rows,
                former=prepared.former,
            )

        driver = Driver(
            planner=planner,
            attempts=attempts,
            journal=journal,
            progress=progress,
            clock=doors.clock,
            draw=doors.draw,
            workers=prepared.workers,
            made=prepared.made,
            slots=slots,
            children=children,
            on_failed=aftermath.work_after,
        )
        progress.run_started(len(prepared.graph), prepared.graph.workflow.name)
        keeper = LeaseKeeper(doors.store, prepared.lease, doors.clock, driver.stop, driver.fail)
        async with keeper:
            await _run_tasks(prepared, course, driver, journal)
            return await self._finish(prepared, driver, aftermath, journal)

    async def _finish(
        self, prepared: Prepared, driver: Driver, aftermath: Aftermath, journal: Journal
    ) -> tuple[RunState, str]:
        planner = driver.planner
        state, reason = planner.outcome()
        if state is not RunState.SUCCEEDED:
            failure = driver.first_failure or Failure(code="E_CANCELLED", message=reason)
            await aftermath.run_failed(planner.failed, failure)
        await aftermath.clean_up([*reversed(driver.finished), *_earlier(prepared)])
        if state is RunState.FAILED and driver.first_failure is not None:
            reason = f"{reason}: {driver.first_failure.message}"[:REASON_LENGTH]
        if state is RunState.SUCCEEDED and _is_partial(prepared):
            state, reason = RunState.CANCELLED, "some tasks were left out by --only and have not run"
        await journal.append([RunEnded(at=self._doors.clock.now(), state=state, reason=reason)])
        return state, reason


async def _run_tasks(prepared: Prepared, course: Course, driver: Driver, journal: Journal) -> None:
    limit = prepared.options.timeout
    loop = asyncio.get_running_loop()
    timer = loop.call_later(limit, driver.stop, f"{TIMEOUT_REASON}: {limit:g} s") if limit else None
    journal.on_error = driver.fail
    course.steer(driver)
    try:
        await driver.drive()
    finally:
        if timer is not None:
            timer.cancel()


def _earlier(prepared: Prepared) -> list[int]:
    """Return the reused tasks whose cleanup has not run, the last one that ended first."""
    due = []
    for node, state in prepared.kept.items():
        row = prepared.rows.get(prepared.graph.ids[node])
        if state is not TaskState.SUCCEEDED or row is None or row.ended_at is None:
            continue
        cleanup = prepared.rows.get(f"{row.id}.cleanup")
        if cleanup is None or cleanup.started_at is None or cleanup.started_at < row.ended_at:
            due.append((row.ended_at, node))
    return [node for _, node in sorted(due, reverse=True)]


def _is_partial(prepared: Prepared) -> bool:
    return any(state is TaskState.CANCELLED for state in prepared.kept.values())
