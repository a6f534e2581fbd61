"""What a run would do, by level; nothing is run and nothing is written."""

from collections.abc import Iterator, Mapping

from runwright.cli.arguments import Arguments
from runwright.cli.records import Record, plural
from runwright.cli.render.terminal import Out, shorten
from runwright.core.graph import Graph, build
from runwright.core.options import RunOptions, Strategy
from runwright.core.variables import references
from runwright.core.workflow import TaskDefinition, Workflow

LONGEST_COMMAND = 100


def show_plan(
    args: Arguments, workflow: Workflow, options: RunOptions, strategy: Strategy, workers: int
) -> int:
    """Print the plan of a run."""
    graph = build(workflow)
    chosen = graph.select(options.only) if options.only else None
    if args.json or args.events:
        args.out.json(plan_record(graph, chosen, strategy, workers))
    else:
        args.out.lines(plan_lines(graph, chosen, strategy, workers, args.out))
    return 0


def levels(graph: Graph, chosen: set[int] | None) -> Iterator[tuple[int, list[int]]]:
    """Yield each level that has something to run, with its nodes."""
    current, nodes = 0, list[int]()
    for group in range(len(graph.groups)):
        if graph.level[group] != current:
            if nodes:
                yield current, nodes
            current, nodes = graph.level[group], []
        nodes.extend(node for node in graph.nodes(group) if chosen is None or node in chosen)
    if nodes:
        yield current, nodes


def plan_record(graph: Graph, chosen: set[int] | None, strategy: Strategy, workers: int) -> Record:
    """Return the plan as data; ``depends_on`` names tasks as the file does."""
    found = list(levels(graph, chosen))
    return {
        "workflow_name": graph.workflow.name,
        "strategy": strategy.value,
        "workers": workers,
        "total_tasks": sum(len(nodes) for _, nodes in found),
        "levels": [
            {"level": level, "tasks": [_task_record(graph, node, len(nodes) > 1) for node in nodes]}
            for level, nodes in found
        ],
        "handlers": sorted(graph.handlers()),
    }


def _task_record(graph: Graph, node: int, beside_others: bool) -> Record:
    definition = graph.definition(node)
    return {
        "id": graph.ids[node],
        "name": definition.name,
        "can_run_in_parallel": beside_others,
        "depends_on": list(definition.depends_on),
        "condition": definition.condition or None,
        "executor": definition.executor,
        "command": definition.cmd if definition.cmd is not None else list(definition.argv) or None,
    }


def plan_lines(
    graph: Graph, chosen: set[int] | None, strategy: Strategy, workers: int, out: Out
) -> Iterator[str]:
    """Yield the plan as lines."""
    found = list(levels(graph, chosen))
    total = sum(len(nodes) for _, nodes in found)
    name = out.paint(out.clean(graph.workflow.name), "strong")
    lanes = "" if strategy is Strategy.SEQUENTIAL else f", {plural(workers, 'worker')}"
    yield f"{name}: {plural(total, 'task')} in {plural(len(found), 'level')}, {strategy.value}{lanes}"
    for level, nodes in found:
        yield out.paint(f"level {level}", "dim")
        for node in nodes:
            yield f"  {_node_line(graph, node, chosen, out)}"
    if graph.handlers():
        yield f"{out.paint('on failure', 'dim')}  {out.clean(', '.join(sorted(graph.handlers())))}"
    if chosen is not None:
        yield f"{plural(len(graph) - len(chosen), 'task')} left out by --only"
    yield "nothing was run"


def _node_line(graph: Graph, node: int, chosen: set[int] | None, out: Out) -> str:
    definition = graph.definition(node)
    parts = [out.clean(graph.ids[node])]
    if needs := _needs(graph, definition, chosen):
        parts.append(out.paint(f"after {out.clean(', '.join(needs))}", "dim"))
    if definition.condition:
        parts.append(out.paint(f"if {out.clean(definition.condition)}", "warn"))
    if definition.for_each:
        parts.append(out.paint(f"for each of {out.clean(definition.for_each)}", "dim"))
    parts.append(out.paint(_work(definition, graph.matrix(node), out), "live"))
    return "  ".join(parts)


def _needs(graph: Graph, definition: TaskDefinition, chosen: set[int] | None) -> list[str]:
    """Return what a task waits for, without what is left out."""
    if chosen is None:
        return list(definition.depends_on)
    ids = {graph.ids[node] for node in chosen}
    keys = {name.partition("[")[0] for name in ids}
    return [name for name in definition.depends_on if name in (ids if "[" in name else keys)]


def _work(definition: TaskDefinition, matrix: Mapping[str, str], out: Out) -> str:
    text = definition.cmd if definition.cmd is not None else " ".join(definition.argv) or definition.executor
    lines = _with_values(text, matrix).strip().splitlines() or [""]
    more = out.mark("ellipsis") if len(lines) > 1 else ""
    return out.clean(shorten(lines[0], LONGEST_COMMAND, out.mark("ellipsis")) + more)


def _with_values(text: str, matrix: Mapping[str, str]) -> str:
    """Put in the values of the matrix; those of variables are known at run time only."""
    for place in reversed(references(text)):
        if place.name in matrix:
            text = text[: place.start] + matrix[place.name] + text[place.end :]
    return text
