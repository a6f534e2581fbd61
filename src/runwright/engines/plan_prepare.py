"""Makes plans ready to be driven: records a new run, or decides what a resume does and records that."""

from collections.abc import Iterable, Iterator, Mapping
from datetime import datetime

from msgspec import Struct, convert, structs

from runwright.core.definition import pin, unpin_as
from runwright.core.errors import Problem, UsageError
from runwright.core.events import AnyEvent, RunResumed, RunStarted, StateSaved, TaskEnded
from runwright.core.options import RunOptions
from runwright.core.plan import Finish, PlanDefinition, PlanProgress
from runwright.core.planlog import CLEANUP_SUFFIX, PlanLog, PlanResume, Standing, merged, plan_resume
from runwright.core.planstate import State, Stored, from_json
from runwright.core.project import INTERRUPTED
from runwright.core.redact import Redactor
from runwright.core.run import Lease, Run, TaskRow
from runwright.core.states import FINAL_RUN_STATES, RunState, TaskRole, TaskState
from runwright.engines.leasekeeper import LEASE_SECONDS
from runwright.engines.parent import Parent
from runwright.engines.prepare import Doors, new_run, redactor_of, stored_options
from runwright.engines.takeup import require_resumable

KIND = "plan"
STATE_OWNER = "state"
"""Who has set what a plan's state begins with."""


class Prepared(Struct, frozen=True, kw_only=True):
    """A plan's run that holds its lease and is ready to be driven."""

    run_id: str
    plan: PlanDefinition
    progress: PlanProgress
    options: RunOptions
    lease: Lease
    redactor: Redactor
    stored: Stored
    cleanups_made: dict[int, int]


class Resumption(Struct, frozen=True, kw_only=True):
    """What is known of a plan's run before it is resumed.

    Attributes:
        definition: What it is made of.
        decided: What a resume does.
        log: What its events say.
    """

    run: Run
    definition: PlanDefinition
    decided: PlanResume
    log: PlanLog


async def create(
    doors: Doors,
    plan: PlanDefinition,
    state: State,
    options: RunOptions,
    source: str,
    path: str,
    parent: Parent,
) -> Prepared:
    """Record a new run, with what the state begins with.

    Raises:
        DefinitionError: If a secret would be stored.
    """
    options = structs.replace(options, directory=options.directory or doors.directory)
    definition = pin(plan, source)
    redactor = redactor_of(doors, plan.secrets, options, definition, path, parent)
    state.update({**plan.state, **options.variables})
    stored = Stored()
    run = new_run(doors, KIND, plan, definition, options, path, parent)
    now = run.created_at
    events: list[AnyEvent] = [_started(now, run, len(plan.elements)), *_saved(now, stored, state)]
    lease = await doors.store.create_run(run, definition, _rows(plan), events, doors.owner, LEASE_SECONDS)
    return Prepared(
        run_id=run.id,
        plan=plan,
        progress=PlanProgress(_limited(plan, options)),
        options=options,
        lease=lease,
        redactor=redactor,
        stored=stored,
        cleanups_made={},
    )


async def decide(
    doors: Doors, run: Run, current: PlanDefinition | None, options: RunOptions, *, go_on: bool
) -> Resumption:
    """Decide what a resume of a run does; writes nothing.

    A run whose engine has died is always taken up, if only to record how it ends.

    Raises:
        UsageError: If there is nothing to do, or a step that stands is no part of the plan any more.
    """
    require_resumable(run)
    pinned = unpin_as(await doors.store.definition(run.definition), PlanDefinition)
    log = PlanLog(stored.event for stored in await doors.store.events(run.id))
    plan = pinned
    if go_on and current is not None and not options.pinned:
        plan = merged(pinned, current, log)
    decided = plan_resume(plan, log, go_on=go_on)
    if decided.is_idle and run.state in FINAL_RUN_STATES:
        message = f"the plan of run {run.id} has left nothing to clean up"
        raise UsageError((Problem(message=message, suggestion="run its steps again with --continue"),))
    return Resumption(run=run, definition=plan, decided=decided, log=log)


async def resume(
    doors: Doors, found: Resumption, lease: Lease, state: State, options: RunOptions, parent: Parent
) -> Prepared:
    """Record that a run is taken up under a lease, and put what is stored of the state back into it."""
    plan, decided = found.definition, found.decided
    options = convert(found.run.options, RunOptions).carried_over(options)
    before = await doors.store.definition(found.run.definition)
    fresh = pin(plan)
    definition = before if fresh.digest == before.digest else fresh
    redactor = redactor_of(doors, plan.secrets, options, definition, found.run.path, parent)
    state.replace({**from_json(found.log.values), **options.variables})
    stored = Stored(found.log.values)
    rows = {row.id: row for row in await doors.store.tasks(found.run.id)}
    now = doors.clock.now()
    run = structs.replace(
        found.run,
        definition=definition.digest,
        options=stored_options(options),
        resume_count=found.run.resume_count + 1,
    )
    resumed = _resumed(now, found, run, rows)
    events: list[AnyEvent] = [resumed, *_closing(now, found, rows), *_saved(now, stored, state)]
    await doors.store.resume_run(lease, run, definition, _new_rows(found, rows), events)
    return Prepared(
        run_id=run.id,
        plan=plan,
        progress=PlanProgress(
            _limited(plan, options),
            todo=decided.todo,
            due=decided.stands,
            undo=decided.undo,
            attempts=_attempts(plan, rows, ""),
            base=None if decided.todo else _base(found.run, rows.values()),
        ),
        options=options,
        lease=lease,
        redactor=redactor,
        stored=stored,
        cleanups_made=_attempts(plan, rows, CLEANUP_SUFFIX),
    )


def _started(at: datetime, run: Run, total: int) -> RunStarted:
    return RunStarted(
        at=at, workflow=run.name, definition=run.definition, strategy=run.strategy, workers=1, total=total
    )


def _resumed(at: datetime, found: Resumption, run: Run, rows: Mapping[str, TaskRow]) -> RunResumed:
    elements, decided = found.definition.elements, found.decided
    before = {row.id for row in rows.values() if row.role is TaskRole.TASK}
    names = [element.name for element in elements]
    return RunResumed(
        at=at,
        from_state=found.run.state,
        resume_count=run.resume_count,
        definition=run.definition,
        strategy=run.strategy,
        workers=1,
        total=len(elements),
        reused=len(decided.stands),
        redo={elements[index].name: decided.reasons[index] for index in decided.todo},
        added=tuple(name for name in names if name not in before),
        removed=tuple(sorted(before.difference(names))),
        keeps=True,
    )


def _saved(at: datetime, stored: Stored, state: State) -> Iterator[StateSaved]:
    """Yield what of the state is not stored yet, if anything."""
    difference = stored.difference(state)
    if difference:
        yield StateSaved(
            at=at,
            task_id=STATE_OWNER,
            values=difference.values,
            removed=difference.removed,
            lost=difference.lost,
        )


def _closing(at: datetime, found: Resumption, rows: Mapping[str, TaskRow]) -> Iterator[TaskEnded]:
    """Yield the ends of elements that a dead engine left open and that don't run again."""
    again = {found.definition.elements[index].name for index in found.decided.todo}
    left = {element.name for element in found.definition.elements} - again
    for row in rows.values():
        if row.role is not TaskRole.TASK or row.id not in left:
            continue
        if row.state is TaskState.RUNNING:
            is_open = found.log.standing.get(row.id) is Standing.IN_DOUBT  # else it died between two attempts
            yield TaskEnded(
                at=at,
                task_id=row.id,
                attempt=row.attempts if is_open else 0,
                state=TaskState.CANCELLED,
                reason=INTERRUPTED.message,
                failure=INTERRUPTED,
            )
        elif row.state is TaskState.PENDING:
            reason = "the plan was cleaned up instead of continued"
            yield TaskEnded(at=at, task_id=row.id, attempt=0, state=TaskState.CANCELLED, reason=reason)


def _rows(plan: PlanDefinition) -> list[TaskRow]:
    return [
        TaskRow(id=element.name, key=element.name, name=element.name, level=number)
        for number, element in enumerate(plan.elements)
    ]


def _new_rows(found: Resumption, rows: Mapping[str, TaskRow]) -> list[TaskRow]:
    """Return the complete list of rows from here on; what runs again is pending, with its attempts so far."""
    again = {found.definition.elements[index].name for index in found.decided.todo}
    fresh = {row.id: row for row in _rows(found.definition)}
    made = [
        structs.replace(row, attempts=rows[name].attempts if name in rows else 0)
        if name in again or name not in rows
        else structs.replace(rows[name], level=row.level)
        for name, row in fresh.items()
    ]
    return [*made, *(row for row in rows.values() if row.role is not TaskRole.TASK)]


def _attempts(plan: PlanDefinition, rows: Mapping[str, TaskRow], suffix: str) -> dict[int, int]:
    """Return how many attempts there were at elements, or at their cleanups, by index."""
    names = ((index, element.name + suffix) for index, element in enumerate(plan.elements))
    return {index: rows[name].attempts for index, name in names if name in rows}


def _base(run: Run, rows: Iterable[TaskRow]) -> Finish:
    """Return how a run ends in which nothing but cleanups runs any more: as before, if it had ended."""
    if run.state in FINAL_RUN_STATES:
        return Finish(run.state, run.reason)
    states = {row.state for row in rows if row.role is TaskRole.TASK}
    if states <= {TaskState.SUCCEEDED}:
        return Finish(RunState.SUCCEEDED, "")
    if TaskState.FAILED in states:
        return Finish(RunState.FAILED, "a step failed")
    return Finish(RunState.CANCELLED, "its engine died; what it had done is cleaned up")


def _limited(plan: PlanDefinition, options: RunOptions) -> PlanDefinition:
    """Return the plan with the time limit that the options ask for."""
    return structs.replace(plan, limit_duration=options.timeout) if options.timeout else plan
