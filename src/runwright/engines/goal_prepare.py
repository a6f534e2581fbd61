"""Makes goals ready to be driven: records a new run, or takes up an old one."""

from collections.abc import Iterator, Sequence
from datetime import datetime

from msgspec import Struct, convert, structs

from runwright.core.definition import pin, unpin_as
from runwright.core.errors import Problem, UsageError
from runwright.core.events import AnyEvent, RunResumed, RunStarted, TaskEnded
from runwright.core.goal import GoalDefinition
from runwright.core.options import RunOptions, Strategy
from runwright.core.project import INTERRUPTED
from runwright.core.redact import Redactor
from runwright.core.run import Lease, Run, TaskRow
from runwright.core.states import TaskState
from runwright.engines.leasekeeper import LEASE_SECONDS
from runwright.engines.parent import Parent
from runwright.engines.prepare import Doors, new_run, redactor_of, stored_options

KIND = "goal"


class Prepared(Struct, frozen=True, kw_only=True):
    """A goal's run that holds its lease and is ready to be driven.

    Attributes:
        goal: With the time limit that the options ask for.
        before: Number of the last round before this execution.
    """

    run_id: str
    goal: GoalDefinition
    options: RunOptions
    lease: Lease
    redactor: Redactor
    before: int = 0


async def create(
    doors: Doors, goal: GoalDefinition, options: RunOptions, source: str, path: str, parent: Parent
) -> Prepared:
    """Record a new run.

    Raises:
        DefinitionError: If a secret would be stored.
    """
    options = structs.replace(options, directory=options.directory or doors.directory)
    definition = pin(goal, source)
    redactor = redactor_of(doors, goal.secrets, options, definition, path, parent)
    workers = goal.options.workers
    run = new_run(doors, KIND, goal, definition, options, path, parent, _strategy(workers), workers)
    started = RunStarted(
        at=run.created_at,
        workflow=run.name,
        definition=run.definition,
        strategy=run.strategy,
        workers=workers,
        total=0,
        variables=options.variables,
    )
    lease = await doors.store.create_run(run, definition, [], [started], doors.owner, LEASE_SECONDS)
    return Prepared(
        run_id=run.id, goal=_limited(goal, options), options=options, lease=lease, redactor=redactor
    )


async def resume(
    doors: Doors,
    run: Run,
    lease: Lease,
    current: GoalDefinition | None,
    options: RunOptions,
    source: str,
    parent: Parent,
) -> Prepared:
    """Record that a run is taken up under a lease; what its dead engine left open is cancelled.

    Args:
        doors: Everything outside.
        run: As it was found, before the lease was taken.
        lease: The right to write to it.
        current: What the goal is now; None, or `pinned` in the options, keeps what is recorded.
        options: What differs from the options it was started with.
        source: Text of the file, if that has been read again.
        parent: The outer run, if this one is the work of a task of it.

    Raises:
        UsageError: If it is the run of something else, or its goal is made of commands and this one of functions.
    """
    if run.kind != KIND:
        raise UsageError(f"run {run.id} is one of a {run.kind}, not of a goal")
    pinned = await doors.store.definition(run.definition)
    goal = _chosen(run, unpin_as(pinned, GoalDefinition), current, options)
    fresh = pin(goal, source)
    definition = pinned if fresh.digest == pinned.digest else fresh
    options = convert(run.options, RunOptions).carried_over(options)
    redactor = redactor_of(doors, goal.secrets, options, definition, run.path, parent)
    rows = await doors.store.tasks(run.id)
    now = doors.clock.now()
    continued = structs.replace(
        run,
        definition=definition.digest,
        strategy=_strategy(goal.options.workers).value,
        workers=goal.options.workers,
        options=stored_options(options),
        resume_count=run.resume_count + 1,
    )
    events: list[AnyEvent] = [_resumed(now, run, continued, options, rows), *_closing(now, rows)]
    await doors.store.resume_run(lease, continued, definition, rows, events)
    return Prepared(
        run_id=run.id,
        goal=_limited(goal, options),
        options=options,
        lease=lease,
        redactor=redactor,
        before=_last_round(rows),
    )


def _chosen(
    run: Run, pinned: GoalDefinition, current: GoalDefinition | None, options: RunOptions
) -> GoalDefinition:
    if current is not None and pinned.plan and not current.plan:
        message = f"the goal of run {run.id} is made of commands"
        raise UsageError((Problem(message=message, suggestion=f"use `runwright resume {run.id}`"),))
    return pinned if current is None or options.pinned else current


def _resumed(
    at: datetime, run: Run, continued: Run, options: RunOptions, rows: Sequence[TaskRow]
) -> RunResumed:
    return RunResumed(
        at=at,
        from_state=run.state,
        resume_count=continued.resume_count,
        definition=continued.definition,
        strategy=continued.strategy,
        workers=continued.workers,
        total=len(rows),
        reused=sum(row.state is TaskState.SUCCEEDED for row in rows),
        variables=options.variables,
        keeps=True,
    )


def _closing(at: datetime, rows: Sequence[TaskRow]) -> Iterator[TaskEnded]:
    """Yield the ends of actions that a dead engine left open: they are never gone on with, the goal is asked again."""
    for row in rows:
        if row.state is TaskState.RUNNING:
            yield TaskEnded(
                at=at,
                task_id=row.id,
                attempt=row.attempts,
                state=TaskState.CANCELLED,
                reason=INTERRUPTED.message,
                failure=INTERRUPTED,
            )


def _last_round(rows: Sequence[TaskRow]) -> int:
    """Return the number of the last round, planned to the end or not."""
    return max((int(row.id.partition(".")[0]) for row in rows), default=0)


def _strategy(workers: int) -> Strategy:
    return Strategy.SEQUENTIAL if workers == 1 else Strategy.WORK_STEALING


def _limited(goal: GoalDefinition, options: RunOptions) -> GoalDefinition:
    """Return the goal with the time limit that the options ask for."""
    if not options.timeout:
        return goal
    return structs.replace(goal, options=structs.replace(goal.options, execution_timeout=options.timeout))
