"""A graph, and a run of it, as JSON: complete whatever its size, with edges between task keys."""

import re
from collections.abc import Iterator, Mapping
from typing import Any

import msgspec

from runwright.cli.render.picture import Measure
from runwright.cli.render.record import Record, durations, measures
from runwright.cli.render.subject import Subject
from runwright.core.graph import Graph, critical_path
from runwright.core.states import TaskRole

_INVISIBLE = re.compile("[\x7f-\x9f\u00ad\u061c\u180e\u200b-\u200f\u2028-\u202e\u2060-\u206f\ufeff]")


def render(graph: Graph, record: Record | None, *, critical: bool) -> str:
    """Return one JSON document, indented; characters that could turn or hide text are escaped."""
    return render_subject(Subject(graph=graph, record=record), critical=critical)


def render_subject(subject: Subject, *, critical: bool) -> str:
    """Return one JSON document of a subject of any kind, with the runs within it."""
    found = nested_document(subject, critical=critical)
    text = msgspec.json.format(msgspec.json.encode(found), indent=2)
    return _INVISIBLE.sub(lambda found: f"\\u{ord(found.group()):04x}", text.decode()) + "\n"


def nested_document(subject: Subject, *, critical: bool) -> dict[str, Any]:
    """Return everything as plain data; the nodes whose work runs are have these as `runs`, oldest first."""
    found = {"kind": subject.kind, **document(subject.graph, subject.record, critical=critical)}
    for node in found["nodes"]:
        runs = subject.inner.get(node["id"], ())
        if runs:
            node["runs"] = [nested_document(one, critical=critical) for one in runs]
    if subject.kind == "plan" and subject.record is not None:
        rows = [row for row in subject.record.tasks if row.role is TaskRole.CLEANUP]
        measured = measures(subject.record)
        found["cleanups"] = [{"id": row.id, "key": row.key, **_measure(measured[row.id])} for row in rows]
    return found


def document(graph: Graph, record: Record | None, *, critical: bool) -> dict[str, Any]:
    """Return everything as plain data.

    An edge's `from` is a task key (all its nodes are waited for) or the id of one node; its `to` is a task key.
    """
    measured = measures(record) if record else {}
    spent = durations(graph, measured) if record else dict.fromkeys(range(len(graph)), 1.0)
    path = critical_path(graph, spent) if critical and spent else []
    workflow = graph.workflow
    return {
        "name": workflow.name,
        "description": workflow.description,
        "total_tasks": len(graph),
        "levels": graph.level[-1] + 1 if graph.groups else 0,
        "run": _run(record) if record else None,
        "critical_path": [graph.ids[node] for node in path],
        "critical_path_seconds": sum(spent.get(node, 0.0) for node in path) if record else None,
        "tasks": [_task(graph, group) for group in range(len(graph.groups))],
        "nodes": [_node(graph, node, measured) for node in range(len(graph))],
        "edges": list(_edges(graph)),
        "roots": [task.key for group, task in enumerate(graph.groups) if not graph.sources[group]],
        "leaves": [task.key for group, task in enumerate(graph.groups) if graph.height[group] == 1],
        "handlers": _handlers(graph, record, measured),
    }


def _run(record: Record) -> dict[str, Any]:
    run = record.run
    return {"id": run.id, "state": run.state, "started_at": run.started_at, "ended_at": run.ended_at}


def _task(graph: Graph, group: int) -> dict[str, Any]:
    task = graph.groups[group]
    return {
        "key": task.key,
        "name": task.name,
        "description": task.description,
        "executor": task.executor,
        "level": graph.level[group],
        "nodes": len(graph.nodes(group)),
        "depends_on": list(task.depends_on),
        "matrix": {name: list(values) for name, values in task.matrix.items()},
        "on_failure": task.on_failure,
        "cleanup": list(task.cleanup),
    }


def _node(graph: Graph, node: int, measured: Mapping[str, Measure]) -> dict[str, Any]:
    found: dict[str, Any] = {"id": graph.ids[node], "key": graph.definition(node).key}
    if graph.values[node]:
        found["matrix"] = graph.matrix(node)
    measure = measured.get(graph.ids[node])
    return {**found, **_measure(measure)} if measure is not None else found


def _measure(measure: Measure) -> dict[str, Any]:
    return {name: getattr(measure, name) for name in measure.__struct_fields__}


def _edges(graph: Graph) -> Iterator[dict[str, str]]:
    for group, sources in enumerate(graph.sources):
        for source in sources:
            before = graph.groups[source].key if source >= 0 else graph.ids[-1 - source]
            yield {"from": before, "to": graph.groups[group].key}


def _handlers(graph: Graph, record: Record | None, measured: Mapping[str, Measure]) -> list[dict[str, Any]]:
    rows = [row for row in record.tasks if row.role is TaskRole.HANDLER] if record else []
    return [
        {
            "key": key,
            "name": task.name,
            "of_workflow": graph.workflow.on_failure == key,
            "serves": [other.key for other in graph.groups if other.on_failure == key],
            "runs": [{"id": row.id, **_measure(measured[row.id])} for row in rows if row.key == key],
        }
        for key, task in graph.handlers().items()
    ]
