"""The graph of a workflow in flat arrays: expansion of matrices, edges, cycles, levels, longest paths.

All nodes of a matrix task have the same dependencies, so edges are kept between *groups* (one a task key) instead of
between nodes: a matrix of 1,000 after a matrix of 1,000 is one edge, not a million. A group's nodes are numbered
side by side, and groups are numbered by level, then key, so that walking the numbers upwards is a valid order.
"""

from array import array
from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import product

from runwright.core.errors import DefinitionError, InternalError, Problem
from runwright.core.suggest import did_you_mean
from runwright.core.workflow import TaskDefinition, TaskType, Workflow

NO_VALUES: tuple[str, ...] = ()


def node_id(key: str, dimensions: Sequence[str], values: Sequence[str]) -> str:
    """Return the id of a node: ``key`` or ``key[a=1,b=2]``, dimensions in the order given."""
    if not dimensions:
        return key
    inside = ",".join(f"{name}={value}" for name, value in zip(dimensions, values, strict=True))
    return f"{key}[{inside}]"


def split_node_id(text: str) -> tuple[str, dict[str, str]]:
    """Return key and matrix values of a node id or of an entry of ``depends_on``; the order of values is free."""
    key, bracket, rest = text.partition("[")
    if not bracket:
        return key, {}
    pairs = (part.partition("=") for part in rest.removesuffix("]").split(","))
    return key, {name.strip(): value.strip() for name, _, value in pairs}


class Graph:
    """Ordinary nodes of a workflow and how they depend on each other; never changed once built.

    Attributes:
        workflow: What it was built from.
        groups: Definition of each group, by group number.
        ids: Id of each node, by node number.
        values: Matrix values of each node in the order of its definition's dimensions.
        group_of: Group number of each node.
        first: First node of each group, and one entry more that holds the number of nodes.
        level: Level of each group: 0 for roots, else 1 + deepest dependency.
        height: Of each group, the number of groups on the longest way from it to an end, itself included.
        sources: For each group, what it waits for: ``g >= 0`` is a whole group, ``-1 - n`` the single node ``n``.
        dependents: For each group, the groups that wait for all of it.
        node_dependents: For single nodes that are waited for by name, the groups that do.
    """

    __slots__ = (
        "dependents",
        "first",
        "group_of",
        "groups",
        "height",
        "ids",
        "level",
        "node_dependents",
        "sources",
        "values",
        "workflow",
    )

    def __init__(self, workflow: Workflow, groups: list[TaskDefinition], level: "array[int]") -> None:
        self.workflow = workflow
        self.groups = groups
        self.level = level
        self.ids: list[str] = []
        self.values: list[tuple[str, ...]] = []
        self.group_of: array[int] = array("i")
        self.first: array[int] = array("i")
        self.sources: list[tuple[int, ...]] = []
        self.dependents: list[tuple[int, ...]] = []
        self.node_dependents: dict[int, tuple[int, ...]] = {}
        self.height: array[int] = array("i")

    def __len__(self) -> int:
        return len(self.ids)

    def definition(self, node: int) -> TaskDefinition:
        """Return the definition of a node's task."""
        return self.groups[self.group_of[node]]

    def nodes(self, group: int) -> range:
        """Return the numbers of a group's nodes."""
        return range(self.first[group], self.first[group + 1])

    def matrix(self, node: int) -> dict[str, str]:
        """Return the matrix values of a node by dimension."""
        return dict(zip(self.definition(node).matrix, self.values[node], strict=True))

    def dependencies(self, node: int) -> Iterator[int]:
        """Yield the nodes that a node waits for."""
        for source in self.sources[self.group_of[node]]:
            if source < 0:
                yield -1 - source
            else:
                yield from self.nodes(source)

    def downstream(self, nodes: Iterable[int]) -> set[int]:
        """Return these nodes and everything that depends on them, directly or not."""
        found = set(nodes)
        stack = list(found)
        entered: set[int] = set()
        while stack:
            node = stack.pop()
            own = self.group_of[node]
            for group in (*self.dependents[own], *self.node_dependents.get(node, ())):
                if group not in entered:
                    entered.add(group)
                    fresh = [other for other in self.nodes(group) if other not in found]
                    found.update(fresh)
                    stack.extend(fresh)
        return found

    def select(self, names: Iterable[str]) -> set[int]:
        """Return the nodes with these ids or keys.

        Raises:
            DefinitionError: If a name is neither; with the nearest key.
        """
        by_id = {text: node for node, text in enumerate(self.ids)}
        by_key = {definition.key: group for group, definition in enumerate(self.groups)}
        found: set[int] = set()
        for name in names:
            key, values = split_node_id(name)
            group = by_key.get(key)
            if group is None:
                raise DefinitionError((self._unknown(name, by_key),))
            if not values:
                found.update(self.nodes(group))
                continue
            wanted = node_id(key, tuple(values), tuple(values.values()))
            node = by_id.get(wanted, by_id.get(_canonical(self.groups[group], values)))
            if node is None:
                raise DefinitionError(f'task "{key}" has no node "{name}"')
            found.add(node)
        return found

    def _unknown(self, name: str, keys: Iterable[str]) -> Problem:
        message = f'there is no task "{name}" in workflow "{self.workflow.name}"'
        return Problem(message=message, suggestion=did_you_mean(name, keys))

    def handlers(self) -> dict[str, TaskDefinition]:
        """Return the definitions of handlers by key."""
        return {k: t for k, t in self.workflow.tasks.items() if t.type is TaskType.FORENSIC}


def _canonical(definition: TaskDefinition, values: Mapping[str, str]) -> str:
    if set(values) != set(definition.matrix):
        return ""
    return node_id(definition.key, tuple(definition.matrix), [values[name] for name in definition.matrix])


def build(workflow: Workflow) -> Graph:
    """Return the graph of a checked workflow.

    Raises:
        DefinitionError: If dependencies form a cycle (named in full), or name what does not exist.
    """
    tasks = [task for task in workflow.tasks.values() if task.type is not TaskType.FORENSIC]
    index = {task.key: number for number, task in enumerate(tasks)}
    edges = [_group_edges(task, index) for task in tasks]
    levels = _levels(tasks, edges)
    order = sorted(range(len(tasks)), key=lambda number: (levels[number], tasks[number].key))
    graph = Graph(workflow, [tasks[number] for number in order], array("i", [levels[n] for n in order]))
    _number_nodes(graph)
    _connect(graph)
    _measure(graph)
    return graph


def find_circle(workflow: Workflow) -> Problem | None:
    """Return the circle in which tasks of a workflow depend on each other, or None if there is none.

    Names that no ordinary task has, and tasks that name themselves, are passed over: they are reported elsewhere.
    """
    tasks = [task for task in workflow.tasks.values() if task.type is not TaskType.FORENSIC]
    index = {task.key: number for number, task in enumerate(tasks)}
    edges = [_known_edges(task, index) for task in tasks]
    try:
        _levels(tasks, edges)
    except DefinitionError as error:
        return error.problems[0]
    return None


def _known_edges(task: TaskDefinition, index: Mapping[str, int]) -> tuple[int, ...]:
    if not task.depends_on:
        return ()
    keys = (name.partition("[")[0] for name in task.depends_on)
    return tuple(dict.fromkeys(index[key] for key in keys if key in index and key != task.key))


def _group_edges(task: TaskDefinition, index: Mapping[str, int]) -> tuple[int, ...]:
    if not task.depends_on:
        return ()
    try:
        return tuple(dict.fromkeys(index[name.partition("[")[0]] for name in task.depends_on))
    except KeyError as missing:
        raise DefinitionError(
            (
                Problem(
                    message=f'task "{task.key}" depends on "{missing.args[0]}", which is not an ordinary task',
                    path=("tasks", task.key, "depends_on"),
                ),
            )
        ) from None


def _levels(tasks: Sequence[TaskDefinition], edges: Sequence[tuple[int, ...]]) -> "array[int]":
    """Number the levels by peeling off groups whose dependencies are all numbered."""
    waiting = array("i", [len(sources) for sources in edges])
    dependents: list[list[int]] = [[] for _ in tasks]
    for number, sources in enumerate(edges):
        for source in sources:
            dependents[source].append(number)
    levels = array("i", bytes(4 * len(tasks)))
    queue = [number for number, count in enumerate(waiting) if not count]
    for number in queue:
        after = levels[number] + 1
        for dependent in dependents[number]:
            levels[dependent] = max(levels[dependent], after)
            waiting[dependent] -= 1
            if not waiting[dependent]:
                queue.append(dependent)
    if len(queue) < len(tasks):
        raise DefinitionError((_cycle_problem(tasks, edges, waiting),))
    return levels


def _cycle_problem(
    tasks: Sequence[TaskDefinition], edges: Sequence[tuple[int, ...]], waiting: "array[int]"
) -> Problem:
    cycle = find_cycle(edges, waiting)
    names = [tasks[number].key for number in cycle]
    path = " -> ".join([*names, names[0]])
    needed = names[1] if len(names) > 1 else names[0]
    place = next(n for n, name in enumerate(tasks[cycle[0]].depends_on) if name.partition("[")[0] == needed)
    return Problem(
        message=f"tasks depend on each other in a circle: {path}",
        path=("tasks", names[0], "depends_on", place),
        suggestion="remove one of these dependencies",
    )


def find_cycle(edges: Sequence[tuple[int, ...]], waiting: Sequence[int]) -> list[int]:
    """Return one circle among the groups that still wait, each depending on the next one.

    Every such group has a dependency that still waits too, so following those must come round.
    """
    start = next(number for number, count in enumerate(waiting) if count)
    position: dict[int, int] = {}
    path: list[int] = []
    number = start
    while number not in position:
        position[number] = len(path)
        path.append(number)
        number = next(source for source in edges[number] if waiting[source])
    return path[position[number] :]


def _number_nodes(graph: Graph) -> None:
    graph.first.append(0)
    for group, definition in enumerate(graph.groups):
        if definition.matrix:
            _expand(graph, group, definition)
        else:
            graph.ids.append(definition.key)
            graph.values.append(NO_VALUES)
            graph.group_of.append(group)
        graph.first.append(len(graph.ids))


def _expand(graph: Graph, group: int, definition: TaskDefinition) -> None:
    dimensions = tuple(definition.matrix)
    combinations = product(*definition.matrix.values())
    nodes = sorted((node_id(definition.key, dimensions, values), values) for values in combinations)
    for text, values in nodes:
        graph.ids.append(text)
        graph.values.append(values)
        graph.group_of.append(group)


def _connect(graph: Graph) -> None:
    index = {definition.key: group for group, definition in enumerate(graph.groups)}
    dependents: list[list[int]] = [[] for _ in graph.groups]
    single: dict[int, list[int]] = {}
    for group, definition in enumerate(graph.groups):
        sources = _sources(graph, index, definition) if definition.depends_on else ()
        graph.sources.append(sources)
        for source in sources:
            if source < 0:
                single.setdefault(-1 - source, []).append(group)
            else:
                dependents[source].append(group)
    graph.dependents = [tuple(groups) if groups else () for groups in dependents]
    graph.node_dependents = {node: tuple(groups) for node, groups in single.items()}


def _sources(graph: Graph, index: Mapping[str, int], definition: TaskDefinition) -> tuple[int, ...]:
    found: dict[int, None] = {}
    for name in definition.depends_on:
        key, values = split_node_id(name)
        group = index[key]
        if not values:
            found[group] = None
            continue
        wanted = _canonical(graph.groups[group], values)
        node = next((n for n in graph.nodes(group) if graph.ids[n] == wanted), None)
        if node is None:
            raise DefinitionError(
                (
                    Problem(
                        message=f'task "{definition.key}" depends on "{name}", a combination that does not exist',
                        path=("tasks", definition.key, "depends_on"),
                    ),
                )
            )
        found[-1 - node] = None
    return tuple(found)


def _measure(graph: Graph) -> None:
    height = array("i", bytes(4 * len(graph.groups)))
    for group in range(len(graph.groups) - 1, -1, -1):
        height[group] += 1
        for source in graph.sources[group]:
            before = source if source >= 0 else graph.group_of[-1 - source]
            if before >= group:
                raise InternalError(f"group {group} waits for group {before}, which is not before it")
            height[before] = max(height[before], height[group])
    graph.height = height


def critical_path(graph: Graph, durations: Mapping[int, float]) -> list[int]:
    """Return the nodes of the chain of dependencies that took the longest, first to last.

    Args:
        graph: Whose nodes.
        durations: Seconds by node; nodes without one count as 0.
    """
    best_of_group: list[tuple[float, int]] = []
    until = array("d", bytes(8 * len(graph)))
    came_from = array("i", [-1]) * len(graph)
    for group in range(len(graph.groups)):
        start, origin = _latest(graph, until, best_of_group, graph.sources[group])
        for node in graph.nodes(group):
            until[node] = start + durations.get(node, 0.0)
            came_from[node] = origin
        best_of_group.append(max(((until[n], -n) for n in graph.nodes(group)), default=(0.0, 1)))
    if not len(graph):
        return []
    return _walk_back(came_from, max(range(len(graph)), key=lambda node: (until[node], -node)))


def _latest(
    graph: Graph, until: "array[float]", best: Sequence[tuple[float, int]], sources: Sequence[int]
) -> tuple[float, int]:
    """Return the latest end among the sources and its node; of equal ends the first node."""
    end, minus_node = max(((until[-1 - s], 1 + s) if s < 0 else best[s] for s in sources), default=(0.0, 1))
    return end, -minus_node


def _walk_back(came_from: "array[int]", node: int) -> list[int]:
    path = []
    while node >= 0:
        path.append(node)
        node = came_from[node]
    return path[::-1]
