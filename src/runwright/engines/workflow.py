"""Runs workflows and resumes them: the record of a run, its session, its end."""

import asyncio
from collections.abc import Callable, Mapping
from datetime import datetime
from pathlib import Path

from msgspec import Struct, convert, structs, to_builtins

from runwright.core.definition import pin, unpin
from runwright.core.errors import DefinitionError, Failure, Problem, UsageError
from runwright.core.events import AnyEvent, RunEnded, RunResumed, RunStarted, TaskEnded
from runwright.core.graph import Graph, build
from runwright.core.options import ResumePlan, RunOptions, Strategy
from runwright.core.planner import Planner
from runwright.core.redact import Redactor
from runwright.core.resume import LEFT_OUT, Resumption, plan_resume
from runwright.core.run import TIMEOUT_REASON, Definition, Lease, Owner, Run, TaskRow
from runwright.core.runvars import RunVariables
from runwright.core.states import RESUMABLE_RUN_STATES, RunState, TaskRole, TaskState
from runwright.core.workflow import Workflow
from runwright.engines.aftermath import Aftermath
from runwright.engines.attempt import Attempts
from runwright.engines.driver import Driver
from runwright.engines.journal import Journal
from runwright.engines.leasekeeper import LEASE_SECONDS, LeaseKeeper
from runwright.engines.progress import Listener, Progress
from runwright.engines.session import RunSession
from runwright.ports.executor import Executor
from runwright.ports.stores import RunStore
from runwright.ports.system import Clock, Logs, Workspaces


class Doors(Struct, frozen=True, kw_only=True):
    """Everything outside that an engine needs.

    Attributes:
        executor: Runs all tasks, by the name of their executor.
        with_env: Names of executors whose args take `env`, `clean_env`, `working_dir` and `kill_grace`.
        owner: Who this engine is, for leases.
        new_id: Makes a UUIDv7 in text form.
        draw: Draws a random number in [0, 1).
        environ: The process environment, where secrets are.
        directory: Absolute path in which tasks run unless the options say otherwise.
        skip_grace: Ends at once what is being stopped.
    """

    store: RunStore
    logs: Logs
    workspaces: Workspaces
    clock: Clock
    executor: Executor
    with_env: frozenset[str]
    owner: Owner
    new_id: Callable[[], str]
    draw: Callable[[], float]
    environ: Mapping[str, str]
    directory: str
    skip_grace: Callable[[], None]


class _Prepared(Struct, frozen=True, kw_only=True):
    """A run that holds its lease and is ready to be driven."""

    run_id: str
    graph: Graph
    options: RunOptions
    strategy: Strategy
    workers: int
    lease: Lease
    variables: RunVariables
    kept: Mapping[int, TaskState]
    made: Mapping[int, int]
    rows: Mapping[str, TaskRow]
    redactor: Redactor


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
        self._strategy = strategy
        self._workers = workers
        self._listener = listener
        self._drivers: set[Driver] = set()
        self._stop_reason = ""

    async def execute(
        self, workflow: Workflow, options: RunOptions, *, source: str = "", path: str = ""
    ) -> Run:
        """Run a workflow to its end and return its record; a failed run is a record, not an exception.

        Args:
            workflow: What to run, already checked.
            options: Choices for this run.
            source: Text of the file it was read from.
            path: Absolute path of that file.

        Raises:
            DefinitionError: If the graph has a cycle, the options name a task that is not there, or a variable or
                the file holds the value of a secret.
            StoreError: If the run can't be recorded.
        """
        options = structs.replace(options, directory=options.directory or self._doors.directory)
        graph = build(workflow)
        redactor = self._redactor(workflow, options, source)
        kept = _left_out(graph, options)
        prepared = await self._create(graph, options, pin(workflow, source), path, kept, redactor)
        return await self._drive(prepared)

    async def plan_resume(self, run_id: str, options: RunOptions, current: Workflow | None) -> ResumePlan:
        """Say what `resume` would do; writes nothing.

        Args:
            run_id: Id of the run, or an unambiguous beginning of it.
            options: As for `resume`.
            current: What the run's file says now; None keeps the pinned definition.
        """
        run = await self._doors.store.find_run(run_id)
        _require_resumable(run)
        _, resumption, _, _ = await self._resumption(run, options, current)
        return resumption.plan

    async def resume(
        self, run_id: str, options: RunOptions, current: Workflow | None, *, source: str = ""
    ) -> Run:
        """Continue a failed, cancelled or interrupted run under the same id, and return its record.

        Args:
            run_id: Id of the run, or an unambiguous beginning of it.
            options: What differs from the options it was started with.
            current: What the run's file says now; None keeps the pinned definition.
            source: Text of that file.

        Raises:
            RunIsActive: If another engine drives it.
            UsageError: If it has succeeded.
        """
        store, doors = self._doors.store, self._doors
        run = await store.find_run(run_id)
        _require_resumable(run)
        lease = await store.take_lease(run.id, doors.owner, LEASE_SECONDS, doors.clock.now())
        try:
            _require_resumable(
                await store.find_run(run.id)
            )  # it may have ended while we waited for the lease
            prepared = await self._continue(run, lease, options, current, source)
        except BaseException:
            await store.release_lease(lease)
            raise
        return await self._drive(prepared)

    def stop(self, reason: str) -> None:
        """Stop all runs: the first call asks tasks to end, the second ends them at once.

        Cleanups and handlers still run.
        """
        if self._stop_reason:
            self._doors.skip_grace()
        self._stop_reason = reason
        for driver in tuple(self._drivers):
            driver.stop(reason)

    # -- preparing ---------------------------------------------------------------------------------------------

    def _redactor(self, workflow: Workflow, options: RunOptions, source: str) -> Redactor:
        secrets = {name: self._doors.environ.get(name, "") for name in workflow.secrets}
        redactor = Redactor(secrets.values())
        holders = [f"variable {name}" for name, value in options.variables.items() if redactor.finds(value)]
        if redactor.finds(source):
            holders.append("the workflow file")
        if holders:
            message = f"{' and '.join(holders)}: holds the value of a secret, which would be stored"
            advice = "read it from the environment in the task instead"
            raise DefinitionError((Problem(message=message, suggestion=advice),))
        return redactor

    def _chosen(self, run: Run | None) -> tuple[Strategy, int]:
        workers = self._workers or (run.workers if run is not None else 1)
        if self._strategy is not None:
            strategy = self._strategy
        elif run is not None and run.strategy:
            strategy = Strategy(run.strategy)
        else:
            strategy = Strategy.WORK_STEALING if workers > 1 else Strategy.SEQUENTIAL
        return strategy, 1 if strategy is Strategy.SEQUENTIAL else workers

    async def _create(
        self,
        graph: Graph,
        options: RunOptions,
        definition: Definition,
        path: str,
        kept: Mapping[int, TaskState],
        redactor: Redactor,
    ) -> _Prepared:
        doors = self._doors
        strategy, workers = self._chosen(None)
        now = doors.clock.now()
        workflow = graph.workflow
        run = Run(
            id=doors.new_id(),
            name=workflow.name,
            definition=definition.digest,
            path=path,
            tags=tuple(dict.fromkeys((*workflow.tags, *options.tags))),
            strategy=strategy.value,
            workers=workers,
            options=_stored(options),
            created_at=now,
        )
        started = RunStarted(
            at=now,
            workflow=workflow.name,
            definition=definition.digest,
            strategy=strategy.value,
            workers=workers,
            total=len(graph),
            variables=options.variables,
        )
        ends = [_left_out_event(graph, node, now) for node in kept]
        rows = [_row(graph, node) for node in range(len(graph))]
        lease = await doors.store.create_run(
            run, definition, rows, [started, *ends], doors.owner, LEASE_SECONDS
        )
        return _Prepared(
            run_id=run.id,
            graph=graph,
            options=options,
            strategy=strategy,
            workers=workers,
            lease=lease,
            variables=RunVariables(workflow.variables, options.variables),
            kept=kept,
            made={},
            rows={},
            redactor=redactor,
        )

    async def _resumption(
        self, run: Run, options: RunOptions, current: Workflow | None
    ) -> tuple[Graph, Resumption, RunOptions, list[TaskRow]]:
        store = self._doors.store
        before = unpin(await store.definition(run.definition))
        after = before if current is None or options.pinned else current
        merged = convert(run.options, RunOptions).carried_over(options)
        graph = build(after)
        rows = await store.tasks(run.id)
        return graph, plan_resume(run.id, before, graph, rows, merged), merged, rows

    async def _continue(
        self, run: Run, lease: Lease, options: RunOptions, current: Workflow | None, source: str
    ) -> _Prepared:
        doors, store = self._doors, self._doors.store
        graph, resumption, merged, rows = await self._resumption(run, options, current)
        pinned = await store.definition(run.definition)
        definition = pinned if graph.workflow is not current else pin(graph.workflow, source)
        redactor = self._redactor(graph.workflow, merged, definition.source)
        strategy, workers = self._chosen(run)
        by_id = {row.id: row for row in rows}
        variables = RunVariables(graph.workflow.variables, merged.variables)
        variables.restore(await store.variables(run.id), _standing(graph, resumption, rows))
        now = doors.clock.now()
        resumed = RunResumed(
            at=now,
            from_state=run.state,
            resume_count=run.resume_count + 1,
            definition=definition.digest,
            strategy=strategy.value,
            workers=workers,
            total=len(graph),
            reused=len(resumption.plan.reuse),
            redo=resumption.plan.redo,
            added=resumption.plan.added,
            removed=resumption.plan.removed,
            variables=merged.variables,
        )
        continued = structs.replace(
            run,
            state=RunState.RUNNING,
            reason="",
            definition=definition.digest,
            strategy=strategy.value,
            workers=workers,
            options=_stored(merged),
            resume_count=run.resume_count + 1,
        )
        await store.resume_run(lease, continued, definition, _new_rows(graph, resumption, rows), [resumed])
        return _Prepared(
            run_id=run.id,
            graph=graph,
            options=merged,
            strategy=strategy,
            workers=workers,
            lease=lease,
            variables=variables,
            kept=resumption.kept,
            made={n: by_id[i].attempts for n, i in enumerate(graph.ids) if i in by_id and by_id[i].attempts},
            rows=by_id,
            redactor=redactor,
        )

    # -- driving -----------------------------------------------------------------------------------------------

    async def _drive(self, prepared: _Prepared) -> Run:
        """Drive a run to its end; being cancelled stops it first."""
        driving = asyncio.ensure_future(self._driven(prepared))
        try:
            return await asyncio.shield(driving)
        except asyncio.CancelledError:
            if driving.done():
                raise
            await self._stop_and_wait(driving)
            raise

    async def _stop_and_wait(self, driving: "asyncio.Future[Run]") -> None:
        while not driving.done():
            self.stop("the caller cancelled it")
            try:
                await asyncio.wait([driving])
            except asyncio.CancelledError:
                continue
        if not driving.cancelled():
            driving.exception()

    async def _driven(self, prepared: _Prepared) -> Run:
        doors = self._doors
        session = RunSession(
            prepared.run_id,
            Path(prepared.options.directory),
            doors.logs,
            doors.workspaces,
            prepared.redactor,
            capture=prepared.options.print_output,
        )
        await doors.executor.open_session(session)
        try:
            state, reason = await self._perform(prepared, session)
        finally:
            await doors.executor.close_session(session.id)
            doors.workspaces.discard(prepared.run_id)
            await doors.store.release_lease(prepared.lease)
        run = await doors.store.find_run(prepared.run_id)
        self._progress(prepared).run_done(state, reason)
        return run

    def _progress(self, prepared: _Prepared) -> Progress:
        return Progress(prepared.run_id, self._doors.clock, prepared.options.progress or self._listener)

    async def _perform(self, prepared: _Prepared, session: RunSession) -> tuple[RunState, str]:
        doors = self._doors
        journal = Journal(doors.store, prepared.lease)
        progress = self._progress(prepared)
        attempts = Attempts(
            prepared.graph.workflow,
            prepared.graph,
            prepared.options,
            prepared.variables,
            session,
            doors.executor,
            doors.with_env,
        )
        by_row = {row_id: row.attempts for row_id, row in prepared.rows.items()}
        aftermath = Aftermath(
            prepared.graph, attempts, session, journal, progress, doors.clock, doors.draw, by_row
        )
        planner = Planner(
            prepared.graph,
            prepared.strategy,
            prepared.options.failure_policy,
            prepared.variables,
            prepared.kept,
        )
        driver = Driver(
            planner=planner,
            attempts=attempts,
            session=session,
            journal=journal,
            progress=progress,
            clock=doors.clock,
            draw=doors.draw,
            workers=prepared.workers,
            made=prepared.made,
            on_failed=lambda n, failure: aftermath.task_failed(n, failure) if aftermath.handles(n) else None,
        )
        progress.run_started(len(prepared.graph), prepared.graph.workflow.name)
        await self._run_tasks(prepared, driver, journal)
        return await self._finish(prepared, driver, aftermath, journal)

    async def _run_tasks(self, prepared: _Prepared, driver: Driver, journal: Journal) -> None:
        limit = prepared.options.timeout
        loop = asyncio.get_running_loop()
        timer = loop.call_later(limit, driver.stop, f"{TIMEOUT_REASON}: {limit:g} s") if limit else None
        journal.on_error = driver.fail
        keeper = LeaseKeeper(self._doors.store, prepared.lease, self._doors.clock, driver.stop, driver.fail)
        self._drivers.add(driver)
        try:
            if self._stop_reason:
                driver.stop(self._stop_reason)
            async with keeper:
                await driver.drive()
        finally:
            self._drivers.discard(driver)
            if timer is not None:
                timer.cancel()

    async def _finish(
        self, prepared: _Prepared, driver: Driver, aftermath: Aftermath, journal: Journal
    ) -> tuple[RunState, str]:
        planner = driver.planner
        state, reason = planner.outcome()
        if state is not RunState.SUCCEEDED:
            failure = driver.first_failure or Failure(code="E_CANCELLED", message=reason)
            await aftermath.run_failed(planner.failed, failure)
        await aftermath.clean_up([*reversed(driver.finished), *_earlier(prepared)])
        if state is RunState.SUCCEEDED and _is_partial(prepared):
            state, reason = RunState.CANCELLED, "some tasks were left out by --only and have not run"
        events: list[AnyEvent] = [RunEnded(at=self._doors.clock.now(), state=state, reason=reason)]
        await journal.append(events)
        return state, reason


def _stored(options: RunOptions) -> dict[str, object]:
    """Return the options as plain data, without what can't be stored."""
    plain: dict[str, object] = to_builtins(structs.replace(options, progress=None))
    return plain


def _require_resumable(run: Run) -> None:
    if run.state is RunState.SUCCEEDED:
        message = f"run {run.id} has succeeded, so there is nothing to resume"
        raise UsageError((Problem(message=message, suggestion=f"start a new run of {run.name}"),))
    if run.state not in RESUMABLE_RUN_STATES and run.owner is None:
        raise UsageError(f"run {run.id} is {run.state.value} and can't be resumed")


def _row(graph: Graph, node: int) -> TaskRow:
    group = graph.group_of[node]
    definition = graph.groups[group]
    return TaskRow(id=graph.ids[node], key=definition.key, name=definition.name, level=graph.level[group])


def _left_out(graph: Graph, options: RunOptions) -> dict[int, TaskState]:
    if not options.only:
        return {}
    selected = graph.select(options.only)
    return {node: TaskState.SKIPPED for node in range(len(graph)) if node not in selected}


def _left_out_event(graph: Graph, node: int, at: datetime) -> TaskEnded:
    return TaskEnded(at=at, task_id=graph.ids[node], attempt=0, state=TaskState.SKIPPED, reason=LEFT_OUT)


def _standing(graph: Graph, resumption: Resumption, rows: list[TaskRow]) -> set[str]:
    """Return the ids whose variables stand: reused tasks, and handlers."""
    kept = {graph.ids[n] for n, state in resumption.kept.items() if state is TaskState.SUCCEEDED}
    return kept | {row.id for row in rows if row.role is TaskRole.HANDLER}


def _new_rows(graph: Graph, resumption: Resumption, rows: list[TaskRow]) -> list[TaskRow]:
    """Return the complete list of rows from here on; what runs again is pending, with its attempts so far."""
    by_id = {row.id: row for row in rows}
    fresh = [_new_row(graph, node, resumption, by_id) for node in range(len(graph))]
    return [*fresh, *(row for row in rows if row.role is not TaskRole.TASK)]


def _new_row(graph: Graph, node: int, resumption: Resumption, by_id: Mapping[str, TaskRow]) -> TaskRow:
    before = by_id.get(graph.ids[node])
    kept = resumption.kept.get(node)
    if before is not None and kept is TaskState.SUCCEEDED:
        return before
    row = structs.replace(_row(graph, node), attempts=before.attempts if before is not None else 0)
    return row if kept is None else structs.replace(row, state=kept, reason=LEFT_OUT)


def _earlier(prepared: _Prepared) -> list[int]:
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


def _is_partial(prepared: _Prepared) -> bool:
    return any(state is TaskState.CANCELLED for state in prepared.kept.values())
