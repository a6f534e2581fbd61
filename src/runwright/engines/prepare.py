"""Makes runs ready to be driven: records a new one, or decides what a resumed one reuses and records that."""

from collections.abc import Callable, Mapping, Sequence
from datetime import datetime
from typing import Protocol

from msgspec import Struct, convert, field, structs, to_builtins

from runwright.core.definition import pin, unpin
from runwright.core.errors import DefinitionError, Problem
from runwright.core.events import AnyEvent, ChildrenPlanned, RunResumed, RunStarted, TaskEnded
from runwright.core.graph import Graph, build
from runwright.core.options import RunOptions, Strategy
from runwright.core.redact import Redactor
from runwright.core.resume import LEFT_OUT, Resumption, plan_resume
from runwright.core.run import Definition, Lease, Owner, Run, TaskRow, ended_child, node_of
from runwright.core.runvars import RunVariables
from runwright.core.states import RunState, TaskRole, TaskState
from runwright.core.workflow import Workflow
from runwright.engines.leasekeeper import LEASE_SECONDS
from runwright.engines.parent import NO_PARENT, Parent
from runwright.ports.executor import Executor
from runwright.ports.stores import RunStore
from runwright.ports.system import Clock, Logs, Workspaces


class Doors(Struct, frozen=True, kw_only=True):
    """Everything outside that an engine needs.

    Attributes:
        executor: Runs all tasks, by the name of their executor.
        with_env: Names of executors whose args take `env`, `clean_env`, `working_dir` and `kill_grace`.
        with_values: Names of executors whose args take values of tasks as they are, not as text.
        owner: Who this engine is, for leases.
        new_id: Makes a UUIDv7 in text form.
        draw: Draws a random number in [0, 1).
        environ: The process environment, where secrets are.
        secrets: Texts that no record may hold whatever a definition says, such as the password of the store.
        directory: Absolute path in which tasks run unless the options say otherwise.
        skip_grace: Ends at once what is being stopped.
    """

    store: RunStore
    logs: Logs
    workspaces: Workspaces
    clock: Clock
    executor: Executor
    with_env: frozenset[str]
    with_values: frozenset[str] = frozenset()
    owner: Owner
    new_id: Callable[[], str]
    draw: Callable[[], float]
    environ: Mapping[str, str]
    secrets: Sequence[str] = ()
    directory: str
    skip_grace: Callable[[], None]


class Manner(Struct, frozen=True, kw_only=True):
    """How an engine was asked to run things; None means what the run was started with, or the default."""

    strategy: Strategy | None = None
    workers: int | None = None

    def settle(self, strategy: str = "", workers: int = 1) -> tuple[Strategy, int]:
        """Return strategy and workers of a run that was started with these."""
        workers = self.workers or workers
        if self.strategy is not None:
            chosen = self.strategy
        elif strategy:
            chosen = Strategy(strategy)
        else:
            chosen = Strategy.WORK_STEALING if workers > 1 else Strategy.SEQUENTIAL
        return chosen, 1 if chosen is Strategy.SEQUENTIAL else workers


class Prepared(Struct, frozen=True, kw_only=True):
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
    former: Mapping[str, str] = field(default_factory=dict)


class Continuation(Struct, frozen=True, kw_only=True):
    """What is decided about a run before it is resumed.

    Attributes:
        graph: Of the definition it will have.
        options: Its options from here on.
        rows: Its tasks as they are recorded.
    """

    graph: Graph
    resumption: Resumption
    options: RunOptions
    rows: list[TaskRow]


async def create(
    doors: Doors,
    manner: Manner,
    workflow: Workflow,
    options: RunOptions,
    source: str,
    path: str,
    parent: Parent = NO_PARENT,
) -> Prepared:
    """Record a new run.

    Raises:
        DefinitionError: If the graph has a cycle, the options name a task that is not there, or a secret would be
            stored.
    """
    options = structs.replace(options, directory=options.directory or doors.directory)
    graph = build(workflow)
    kept = _left_out(graph, options)
    strategy, workers = manner.settle()
    definition = pin(workflow, source)
    redactor = redactor_of(doors, workflow.secrets, options, definition, path, parent)
    run = new_run(doors, "workflow", workflow, definition, options, path, parent, strategy, workers)
    now = run.created_at
    started = RunStarted(
        at=now,
        workflow=workflow.name,
        definition=definition.digest,
        strategy=strategy.value,
        workers=workers,
        total=len(graph),
        variables=options.variables,
    )
    events: list[AnyEvent] = [started, *(_left_out_event(graph, node, now) for node in kept)]
    rows = [_row(graph, node) for node in range(len(graph))]
    lease = await doors.store.create_run(run, definition, rows, events, doors.owner, LEASE_SECONDS)
    return Prepared(
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


class Named(Protocol):
    """A definition of any kind, as far as its run shows it."""

    @property
    def name(self) -> str:
        """What the run is called."""
        ...

    @property
    def tags(self) -> tuple[str, ...]:
        """Tags of each run."""
        ...


def new_run(
    doors: Doors,
    kind: str,
    named: Named,
    definition: Definition,
    options: RunOptions,
    path: str,
    parent: Parent,
    strategy: Strategy = Strategy.SEQUENTIAL,
    workers: int = 1,
) -> Run:
    """Return the record of a new run.

    Args:
        doors: Everything outside.
        kind: Which engine drives it.
        named: What it is made of.
        definition: The same, pinned.
        options: Choices for it, complete.
        path: Absolute path of the file that the definition was read from, or empty.
        parent: The outer run, if this one is the work of a task of it.
        strategy: In which order its tasks start.
        workers: Most tasks at a time.
    """
    return Run(
        id=doors.new_id(),
        name=named.name,
        kind=kind,
        definition=definition.digest,
        path=path,
        tags=tuple(dict.fromkeys((*named.tags, *options.tags))),
        strategy=strategy.value,
        workers=workers,
        options=stored_options(options),
        parent_id=parent.run_id,
        parent_task=parent.task_id,
        created_at=doors.clock.now(),
    )


async def decide(store: RunStore, run: Run, options: RunOptions, current: Workflow | None) -> Continuation:
    """Decide what a resume of a run reuses and runs again; writes nothing."""
    before = unpin(await store.definition(run.definition))
    after = before if current is None or options.pinned else current
    merged = convert(run.options, RunOptions).carried_over(options)
    graph = build(after)
    rows = await store.tasks(run.id)
    resumption = plan_resume(run.id, before, graph, rows, merged)
    return Continuation(graph=graph, resumption=resumption, options=merged, rows=rows)


async def resume(
    doors: Doors,
    manner: Manner,
    run: Run,
    lease: Lease,
    decided: Continuation,
    source: str,
    parent: Parent = NO_PARENT,
) -> Prepared:
    """Record that a run continues under a lease.

    Args:
        doors: Everything outside.
        manner: How the engine was asked to run things.
        run: As it was found, before the lease was taken.
        lease: The right to write to it.
        decided: What to reuse and to run again.
        source: Text of the file, if that has been read again.
        parent: The outer run, if this one is the work of a task of it.
    """
    graph, options = decided.graph, decided.options
    pinned = await doors.store.definition(run.definition)
    fresh = pin(graph.workflow, source)
    definition = pinned if fresh.digest == pinned.digest else fresh
    redactor = redactor_of(doors, graph.workflow.secrets, options, definition, run.path, parent).joined(
        parent.redactor
    )
    strategy, workers = manner.settle(run.strategy, run.workers)
    variables = RunVariables(graph.workflow.variables, options.variables)
    former = await _former(doors.store, run.id, decided)
    standing = _standing(decided, former)
    variables.restore(await doors.store.variables(run.id), standing)
    variables.restore_values(decided.rows, graph.workflow.tasks, standing)
    continued = structs.replace(
        run,
        state=RunState.RUNNING,
        reason="",
        definition=definition.digest,
        strategy=strategy.value,
        workers=workers,
        options=stored_options(options),
        resume_count=run.resume_count + 1,
    )
    event = _resumed(doors.clock.now(), run, continued, decided)
    await doors.store.resume_run(lease, continued, definition, _new_rows(decided), [event])
    by_id = {row.id: row for row in decided.rows}
    return Prepared(
        run_id=run.id,
        graph=graph,
        options=options,
        strategy=strategy,
        workers=workers,
        lease=lease,
        variables=variables,
        kept=decided.resumption.kept,
        made={n: by_id[i].attempts for n, i in enumerate(graph.ids) if i in by_id and by_id[i].attempts},
        rows=by_id,
        redactor=redactor,
        former=former,
    )


async def _former(store: RunStore, run_id: str, decided: Continuation) -> dict[str, str]:
    """Return the children whose outcome stands if they are asked for again, with their fingerprints."""
    if not any(row.role is TaskRole.CHILD for row in decided.rows):
        return {}
    from runwright.core.children import reusable  # noqa: PLC0415 - few runs have children

    planned: dict[str, str] = {}
    for stored in await store.events(run_id):
        if isinstance(stored.event, ChildrenPlanned):
            planned.update(stored.event.children)
    going_on = (decided.graph.ids[node] for node in decided.resumption.going_on)
    return reusable(decided.rows, planned, going_on)


def _resumed(at: datetime, run: Run, continued: Run, decided: Continuation) -> RunResumed:
    plan = decided.resumption.plan
    return RunResumed(
        at=at,
        from_state=run.state,
        resume_count=continued.resume_count,
        definition=continued.definition,
        strategy=continued.strategy,
        workers=continued.workers,
        total=len(decided.graph),
        reused=len(plan.reuse),
        redo=plan.redo,
        added=plan.added,
        removed=plan.removed,
        variables=decided.options.variables,
    )


def redactor_of(
    doors: Doors,
    names: Sequence[str],
    options: RunOptions,
    definition: Definition,
    path: str,
    parent: Parent = NO_PARENT,
) -> Redactor:
    """Return what masks the secrets of a run and of the outer one; refuse to record what holds one.

    Raises:
        DefinitionError: Naming each place that holds the value of a secret.
    """
    secrets = {name: doors.environ.get(name, "") for name in names}
    redactor = Redactor((*secrets.values(), *doors.secrets))
    if secrets and redactor:
        from runwright.core.leaks import leaks  # noqa: PLC0415 - a run without secrets starts sooner

        if problems := leaks(secrets, options.variables, options.tags, definition, path):
            raise DefinitionError(problems)
    if parent.redactor:
        _refuse_secrets_of(parent, options, definition)
        redactor = redactor.joined(parent.redactor)
    return redactor


def _refuse_secrets_of(parent: Parent, options: RunOptions, definition: Definition) -> None:
    texts = (definition.source, definition.content.decode(), *options.variables.values())
    if any(map(parent.redactor.finds, texts)):
        message = f"task {parent.task_id} would store the value of a secret of its run with an inner run"
        advice = "hand it on by environment: inner runs have the environment of the outer one"
        raise DefinitionError((Problem(message=message, suggestion=advice),))


def stored_options(options: RunOptions) -> dict[str, object]:
    """Return the options as plain data, without what can't be stored."""
    plain: dict[str, object] = to_builtins(structs.replace(options, progress=None))
    return plain


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


def _standing(decided: Continuation, former: Mapping[str, str]) -> set[str]:
    """Return the ids whose variables stand: reused tasks with their children, children that may be, and handlers."""
    kept = decided.resumption.kept.items()
    reused = {decided.graph.ids[node] for node, state in kept if state is TaskState.SUCCEEDED}
    children = {row.id for row in decided.rows if row.role is TaskRole.CHILD and node_of(row.id) in reused}
    return (
        reused | children | former.keys() | {row.id for row in decided.rows if row.role is TaskRole.HANDLER}
    )


def _new_rows(decided: Continuation) -> list[TaskRow]:
    """Return the complete list of rows from here on; what runs again is pending, with its attempts so far."""
    by_id = {row.id: row for row in decided.rows}
    fresh = [_new_row(decided, node, by_id) for node in range(len(decided.graph))]
    return [*fresh, *(ended_child(row) for row in decided.rows if row.role is not TaskRole.TASK)]


def _new_row(decided: Continuation, node: int, by_id: Mapping[str, TaskRow]) -> TaskRow:
    before = by_id.get(decided.graph.ids[node])
    kept = decided.resumption.kept.get(node)
    if before is not None and kept is TaskState.SUCCEEDED:
        return before
    row = structs.replace(_row(decided.graph, node), attempts=before.attempts if before is not None else 0)
    return row if kept is None else structs.replace(row, state=kept, reason=LEFT_OUT)
