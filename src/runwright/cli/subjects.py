"""From runs and definitions of every kind to what is drawn: a plan is a chain, a goal a row of rounds."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from datetime import datetime

from msgspec import structs

from runwright.cli.goal_view import RoundView, rounds, row_name
from runwright.cli.inspect import Everything
from runwright.cli.nested import inner_of
from runwright.cli.plan_view import plan_of
from runwright.cli.render.record import Record
from runwright.cli.render.subject import Subject
from runwright.cli.render.times import duration
from runwright.core.definition import unpin
from runwright.core.graph import Graph, build
from runwright.core.plan import Element, Hook, PauseDefinition, PlanDefinition
from runwright.core.states import RunState
from runwright.core.workflow import TaskDefinition, Workflow

IN_CODE = "a function"


def subject_of(found: Everything, now: datetime) -> Subject:
    """Return a run, with the runs within it, as it is drawn at an instant."""
    keys = {row.id: _key(row.id) for row in found.tasks} if found.run.kind != "workflow" else {}
    views = rounds(found.tasks, (one.event for one in found.events)) if found.run.kind == "goal" else []
    graph = _graph(found, views)
    return Subject(
        graph=graph,
        record=_record(found, keys, now),
        kind=found.run.kind,
        rounds=len(views),
        inner=_inner(found, keys, now),
    )


def plan_subject(plan: PlanDefinition) -> Subject:
    """Return a plan as it is drawn without a run."""
    return Subject(graph=build(chain(plan)), kind="plan")


def _graph(found: Everything, views: Sequence[RoundView]) -> Graph:
    if found.run.kind == "goal":
        return build(Workflow(name=found.run.name, tasks=_by_key(_goal_tasks(views))))
    if found.run.kind == "plan":
        plan = plan_of(found.definition)
        return build(chain(plan) if plan else Workflow(name=found.run.name))
    return build(unpin(found.definition) if found.definition else Workflow(name=found.run.name))


def _inner(found: Everything, keys: Mapping[str, str], now: datetime) -> dict[str, list[Subject]]:
    ids = dict.fromkeys(one.run.parent_task for one in found.inner)
    return {keys.get(name, name): [subject_of(one, now) for one in inner_of(found, name)] for name in ids}


def _record(found: Everything, keys: Mapping[str, str], now: datetime) -> Record:
    run = found.run
    rows = [structs.replace(row, id=keys.get(row.id, row.id)) for row in found.tasks]
    if run.kind == "goal":
        rows = [structs.replace(row, name=row_name(row.name)) for row in rows]
    attempts = [structs.replace(one, task_id=keys.get(one.task_id, one.task_id)) for one in found.attempts]
    return until_known(Record(run=run, tasks=rows, attempts=attempts, now=run.ended_at or now))


def until_known(record: Record) -> Record:
    """Return the record of an interrupted run measured up to when its engine was last known to live."""
    run = record.run
    if run.state is not RunState.INTERRUPTED or run.lease_expires_at is None:
        return record
    known = [one.ended_at or one.started_at for one in record.attempts]
    last = max([min(record.now, run.lease_expires_at), *known])
    return Record(run=run, tasks=record.tasks, attempts=record.attempts, now=last)


def _key(row_id: str) -> str:
    """Return an id that stands for a whole task: a bracket would begin the values of a matrix."""
    return row_id.replace("[", "(")


def _by_key(tasks: Iterable[TaskDefinition]) -> dict[str, TaskDefinition]:
    return {task.key: task for task in tasks}


# -- plans ------------------------------------------------------------------------------------------------------


def chain(plan: PlanDefinition) -> Workflow:
    """Return a plan as a workflow in which each element needs the one before it."""
    before: tuple[str, ...] = ()
    tasks = []
    for element in plan.elements:
        tasks.append(_element(element, before))
        before = (tasks[-1].key,)
    return Workflow(name=plan.name, description=plan.description, tasks=_by_key(tasks))


def _element(element: Element, before: tuple[str, ...]) -> TaskDefinition:
    key = _key(element.name)
    if isinstance(element, PauseDefinition):
        name = f"{element.name} ({duration(element.seconds)})"
        return TaskDefinition(key=key, name=name, executor="pause", depends_on=before)
    hooks = {hook: commands or (IN_CODE,) for hook, commands in element.hooks.items()}
    return TaskDefinition(
        key=key,
        name=element.name,
        description=element.description,
        cmd="; ".join(hooks.get(Hook.EXEC, ())) or None,
        pre=hooks.get(Hook.PRE_EXEC, ()),
        post=hooks.get(Hook.POST_EXEC, ()),
        cleanup=hooks.get(Hook.CLEANUP, ()),
        retries=element.retries,
        timeout=element.timeout,
        working_dir=element.working_dir,
        depends_on=before,
    )


# -- goals ------------------------------------------------------------------------------------------------------


def _goal_tasks(views: Sequence[RoundView]) -> Iterator[TaskDefinition]:
    """Yield the rounds, each behind the actions of the one before it, and their actions, each before its children."""
    before: list[str] = []
    for view in views:
        head = str(view.number)
        about = view.failure.message if view.failure else "" if view.names else "the goal is reached"
        yield TaskDefinition(
            key=head, name=row_name(head), description=about, executor="goal", depends_on=tuple(before)
        )
        above, before = [head], []
        for one in view.actions:
            key = _key(one.row.id)
            del above[one.depth + 1 :]
            yield TaskDefinition(key=key, name=one.name, executor="action", depends_on=(above[-1],))
            if above[-1] in before:
                before.remove(above[-1])
            above.append(key)
            before.append(key)
        before = before or [head]
