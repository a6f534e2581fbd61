"""What a resume reuses and what it runs again, and why, decided before anything is done."""

from collections.abc import Mapping, Sequence

from msgspec import Struct, structs

from runwright.core.graph import Graph
from runwright.core.options import ResumePlan, RunOptions
from runwright.core.run import TaskRow
from runwright.core.states import TaskRole, TaskState
from runwright.core.workflow import TaskDefinition, Workflow

_COSMETIC = frozenset({"name", "description", "tags", "key", "cache"})
_LABELS = {"condition": "if"}

LEFT_OUT = "left out by --only"


class Resumption(Struct, frozen=True, kw_only=True):
    """A `ResumePlan` with what the engine needs to carry it out.

    Attributes:
        kept: Final state of each node that is not to run.
        going_on: Nodes that run again as they are, so that what their children have done stands.
    """

    plan: ResumePlan
    kept: Mapping[int, TaskState]
    going_on: frozenset[int] = frozenset()


def changed_tasks(before: Workflow, after: Workflow) -> dict[str, tuple[str, ...]]:
    """Return the keys of tasks in both workflows whose work differs, with the names of the fields that do."""
    everywhere = (
        *(("env",) if before.env != after.env else ()),
        *(("variables",) if _differ(before.variables, after.variables) else ()),
    )
    changes = {
        key: (*_changed_fields(before.tasks[key], task), *_changed_executor(before, after, task), *everywhere)
        for key, task in after.tasks.items()
        if key in before.tasks
    }
    return {key: tuple(dict.fromkeys(fields)) for key, fields in changes.items() if fields}


def _differ(before: Mapping[str, str], after: Mapping[str, str]) -> bool:
    """Tell whether a value that tasks could read is another one now; nobody can have read a new one."""
    return any(after.get(name) != value for name, value in before.items())


def _changed_executor(before: Workflow, after: Workflow, task: TaskDefinition) -> tuple[str, ...]:
    name = task.executor.partition(".")[0]
    return ("executor",) if before.executors.get(name) != after.executors.get(name) else ()


def _changed_fields(before: TaskDefinition, after: TaskDefinition) -> tuple[str, ...]:
    if before == after:
        return ()
    names = (name for name in structs.asdict(after) if name not in _COSMETIC)
    return tuple(_LABELS.get(n, n) for n in names if getattr(before, n) != getattr(after, n))


def plan_resume(
    run_id: str, before: Workflow, graph: Graph, rows: Sequence[TaskRow], options: RunOptions
) -> Resumption:
    """Decide what to reuse of a run and what to run again.

    Args:
        run_id: Whose tasks.
        before: The definition the run had.
        graph: Of the definition it has from here on.
        rows: Its tasks as they are recorded.
        options: Which may name tasks to begin from, or tasks to run alone.

    Raises:
        DefinitionError: If the options name a task that does not exist.
    """
    by_id = {row.id: row for row in rows}
    changed = changed_tasks(before, graph.workflow)
    redo, anew = _redo(graph, by_id, changed, options)
    going_on = redo.keys() - anew
    if options.only:
        selected = graph.select(options.only)
        redo = {node: redo.get(node, "named by --only") for node in sorted(selected)}
        kept = {n: _kept_state(by_id, graph.ids[n]) for n in range(len(graph)) if n not in selected}
    else:
        kept = {n: TaskState.SUCCEEDED for n in range(len(graph)) if n not in redo}
    known = {row.id for row in rows if row.role is TaskRole.TASK}
    plan = ResumePlan(
        run_id=run_id,
        reuse={graph.ids[n]: _reuse_reason(by_id[graph.ids[n]]) for n, s in kept.items() if s in _DONE},
        redo={graph.ids[node]: reason for node, reason in redo.items()},
        added=tuple(text for text in graph.ids if text not in known),
        removed=tuple(sorted(known.difference(graph.ids))),
        changed=changed,
    )
    return Resumption(plan=plan, kept=kept, going_on=frozenset(going_on & redo.keys()))


_DONE = frozenset({TaskState.SUCCEEDED})


def _kept_state(by_id: Mapping[str, TaskRow], node_id: str) -> TaskState:
    row = by_id.get(node_id)
    return (
        TaskState.SUCCEEDED if row is not None and row.state is TaskState.SUCCEEDED else TaskState.CANCELLED
    )


def _reuse_reason(row: TaskRow) -> str:
    return f"succeeded in attempt {row.attempts}" if row.attempts else "did not have to run"


def _redo(
    graph: Graph, by_id: Mapping[str, TaskRow], changed: Mapping[str, tuple[str, ...]], options: RunOptions
) -> tuple[dict[int, str], set[int]]:
    """Return the nodes to run again, each with its reason, in the order of the graph; and those that start anew."""
    reasons: dict[int, str] = {}
    causes: dict[int, str] = {}
    for node in sorted(graph.select(options.start_from)) if options.start_from else ():
        causes[node] = "named by --from"
    for node in range(len(graph)):
        row = by_id.get(graph.ids[node])
        fields = changed.get(graph.definition(node).key, ()) if row is not None else ()
        why = [*_state_reason(row), *([f"its {', '.join(fields)} changed"] if fields else [])]
        if why:
            reasons[node] = "; ".join(why)
        if fields:
            causes.setdefault(node, reasons[node])
    _undone(graph, by_id, reasons, causes)
    anew = graph.downstream(causes)
    for node in anew:
        if node not in causes:
            reasons.setdefault(node, "depends on a task that runs again")
    return dict(sorted({**reasons, **causes}.items())), anew


def _state_reason(row: TaskRow | None) -> tuple[str, ...]:
    """Return why a task must run as it stands; nothing if it succeeded."""
    if row is None:
        return ("is new",)
    if row.state is TaskState.SUCCEEDED:
        return ()
    if row.state is TaskState.SKIPPED:
        return ("was skipped; its condition is checked again",)
    if row.state is TaskState.RUNNING or (row.attempts and row.state is TaskState.PENDING):
        return (f"was interrupted in attempt {row.attempts}",)
    if row.state is TaskState.PENDING:
        return ("had not started",)
    return (f"{row.state.value}{f': {row.reason}' if row.reason else ''}",)


def _undone(
    graph: Graph, by_id: Mapping[str, TaskRow], reasons: dict[int, str], causes: dict[int, str]
) -> None:
    """Add the succeeded tasks whose cleanup has run: what they had made is gone."""
    if not reasons and not causes:
        return
    for node, text in enumerate(graph.ids):
        cleanup = by_id.get(f"{text}.cleanup")
        row = by_id.get(text)
        if cleanup is None or row is None or cleanup.started_at is None or row.ended_at is None:
            continue
        if row.state is TaskState.SUCCEEDED and cleanup.started_at >= row.ended_at:
            causes.setdefault(node, "its cleanup has undone it")
