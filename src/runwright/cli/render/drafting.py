"""From a graph, and the record of a run if there is one, to a picture within limits."""

from array import array
from collections.abc import Iterable, Mapping, Sequence
from itertools import pairwise

from msgspec import structs

from runwright.cli.render.facts import facts_of, plural
from runwright.cli.render.names import CLEANUP
from runwright.cli.render.picture import (
    Block,
    Cell,
    Edge,
    Kind,
    Limits,
    Measure,
    Picture,
    Wishes,
    add_tallies,
    worst,
)
from runwright.cli.render.record import Record
from runwright.cli.render.scene import URGENT, Room, Scene, scene_of, urgency
from runwright.cli.render.subject import Subject
from runwright.cli.render.times import elapsed
from runwright.core.graph import Graph
from runwright.core.states import RunState, TaskRole
from runwright.core.workflow import TaskDefinition

LEAST_WIDTH = 3


def draft(graph: Graph, wishes: Wishes, limits: Limits, record: Record | None = None) -> Picture:
    """Return the picture of a workflow, or of a run of it if `record` is given."""
    return draft_subject(Subject(graph=graph, record=record), wishes, limits)


def draft_subject(subject: Subject, wishes: Wishes, limits: Limits) -> Picture:
    """Return the picture of a workflow, a plan, or a run of any kind with the runs within it."""
    room = Room(limits.inner)
    picture = _draft(subject, wishes, limits, room)
    if not room.refused:
        return picture
    note = f"{plural(room.refused, 'inner run')} left out; --format json has them all."
    return structs.replace(picture, notes=[*picture.notes, note])


def _draft(subject: Subject, wishes: Wishes, limits: Limits, room: Room, place: str = "") -> Picture:
    scene = scene_of(subject, wishes, limits, room)
    block_of = array("i", [-1]) * len(scene.graph.groups)
    blocks = _place(scene, block_of)
    cell_of = {cell.id: number for block in blocks for number, cell in enumerate(block.cells)}
    edges = _edges(scene, block_of, cell_of, blocks)
    handlers = _handlers(scene, len(blocks), block_of)
    blocks += handlers[0]
    edges += handlers[1]
    notes = [*_notes(scene, blocks), *_edge_notes(limits, len(edges))]
    return _titled(scene, blocks, _cut(edges, limits.edges), notes, place)


def _place(scene: Scene, block_of: "array[int]") -> list[Block]:
    blocks: list[Block] = []
    columns = _columns(scene)
    width = min(scene.limits.width, max(scene.limits.blocks // max(len(columns), 1), LEAST_WIDTH))
    for column, levels in enumerate(columns):
        groups = [group for level in levels for group in level]
        room = width if len(levels) == 1 else 0
        shown, hidden = _choose(scene, groups, room)
        for group in shown:
            block_of[group] = len(blocks)
            blocks.append(_block(scene, group, column))
        for group in hidden:
            block_of[group] = len(blocks)
        if hidden:
            blocks.append(_more(scene, hidden, column, len(levels)))
    return blocks


def _choose(scene: Scene, groups: Sequence[int], room: int) -> tuple[Sequence[int], Sequence[int]]:
    """Split groups into those that are shown, at most `room`, and the others."""
    if len(groups) <= room:
        return groups, ()
    by_urgency = sorted(groups, key=lambda group: (urgency(scene, group), group))
    kept = max(room - 1, 0)
    return sorted(by_urgency[:kept]), sorted(by_urgency[kept:])


def _columns(scene: Scene) -> list[list[range]]:
    """Return for each column the levels it stands for; more than one where the middle is left out."""
    levels = _level_ranges(scene.graph)
    if len(levels) <= scene.limits.levels:
        return [[level] for level in levels]
    keep = _kept_levels(scene, len(levels))
    columns: list[list[range]] = []
    for number, level in enumerate(levels):
        if number in keep or not columns or number - 1 in keep:
            columns.append([level])
        else:
            columns[-1].append(level)
    return columns


def _kept_levels(scene: Scene, count: int) -> set[int]:
    room = scene.limits.levels
    keep = {*range(room // 2), *range(count - room // 4, count)}
    for group, level in enumerate(scene.graph.level):
        if len(keep) >= room - 1:
            break
        if urgency(scene, group) == 0:
            keep.add(level)
    return keep


def _level_ranges(graph: Graph) -> list[range]:
    starts = [
        group for group, level in enumerate(graph.level) if not group or level != graph.level[group - 1]
    ]
    return [range(start, end) for start, end in pairwise([*starts, len(graph.groups)])]


def _more(scene: Scene, groups: Sequence[int], column: int, levels: int) -> Block:
    graph = scene.graph
    count = sum(len(graph.nodes(group)) for group in groups)
    tally = add_tallies(scene.tallies[group] for group in groups) if scene.tallies else {}
    where = f" on {plural(levels, 'level')}" if levels > 1 else ""
    return Block(
        id=f"…{column}",
        label=f"{plural(count, 'more task', 'more tasks')}{where}",
        kind=Kind.MORE,
        level=column,
        count=count,
        tally=tally,
        state=worst(tally),
        critical=any(group in scene.critical_groups for group in groups),
    )


def _block(scene: Scene, group: int, column: int) -> Block:
    graph, task = scene.graph, scene.graph.groups[group]
    nodes = graph.nodes(group)
    tally = scene.tallies[group] if scene.tallies else {}
    only = scene.measured.get(task.key) if not task.matrix else None
    spent = [one.seconds for one in _measures_of(scene, nodes) if one.seconds is not None]
    return Block(
        id=task.key,
        label=task.name or task.key,
        kind=Kind.MATRIX if task.matrix else Kind.TASK,
        level=column,
        count=len(nodes),
        cells=_cells(scene, nodes) if task.matrix else (),
        state=worst(tally),
        tally=tally,
        measure=only,
        seconds=max(spent, default=None),
        critical=group in scene.critical_groups,
        facts=facts_of(task, only, scene.graph.workflow),
        undo=_undo(scene, task),
        inner=tuple(_inner(scene, nodes)),
    )


def _undo(scene: Scene, task: TaskDefinition) -> str:
    """Return what to say of the cleanup of a plan's step."""
    if scene.subject.kind != "plan" or not task.cleanup:
        return ""
    measure = scene.measured.get(task.key + CLEANUP)
    if measure is not None and measure.attempts:
        return f"cleanup {measure.state}"
    run = scene.record.run if scene.record else None
    return "has cleanup" if run is None or run.state is RunState.RUNNING else "cleanup not run"


def _inner(scene: Scene, nodes: Iterable[int]) -> Iterable[Picture]:
    """Yield the picture of the last run of each node whose work runs are, while there is room."""
    limits = structs.replace(scene.limits, depth=scene.limits.depth - 1)
    for node in nodes:
        name = scene.graph.ids[node]
        runs = scene.subject.inner.get(name, ())
        if runs and scene.room.take(deep=not scene.limits.depth):
            parts = [name[name.index("[") :]] if scene.graph.values[node] else []
            parts += [f"{len(runs)} runs, the last:"] if len(runs) > 1 else []
            yield _draft(runs[-1], scene.wishes, limits, scene.room, " ".join(parts))


def _measures_of(scene: Scene, nodes: Iterable[int]) -> Iterable[Measure]:
    if not scene.measured:
        return ()
    found = (scene.measured.get(scene.graph.ids[node]) for node in nodes)
    return [one for one in found if one is not None]


def _cells(scene: Scene, nodes: range) -> tuple[Cell, ...]:
    limits = scene.limits
    if len(nodes) > limits.fold and not scene.wishes.unfold:
        return ()
    shown, hidden = _choose_nodes(scene, nodes)
    cells = [_cell(scene, node) for node in shown]
    if hidden:
        cells.append(Cell(id="", label=plural(len(hidden), "more node"), count=len(hidden)))
    return tuple(cells)


def _choose_nodes(scene: Scene, nodes: range) -> tuple[Sequence[int], Sequence[int]]:
    room = max(scene.limits.cells, 1)
    if len(nodes) <= room:
        return nodes, ()

    def urgency(node: int) -> tuple[int, int]:
        one = scene.measured.get(scene.graph.ids[node])
        if one is not None and one.state in URGENT:
            return 0, node
        return (1 if node in scene.critical_nodes else 2), node

    ordered = sorted(nodes, key=urgency)
    return sorted(ordered[: room - 1]), ordered[room - 1 :]


def _cell(scene: Scene, node: int) -> Cell:
    graph = scene.graph
    return Cell(
        id=graph.ids[node],
        label=", ".join(f"{name}={value}" for name, value in graph.matrix(node).items()),
        measure=scene.measured.get(graph.ids[node]),
        critical=node in scene.critical_nodes,
    )


def _edges(
    scene: Scene, block_of: "array[int]", cell_of: Mapping[str, int], blocks: Sequence[Block]
) -> list[Edge]:
    graph = scene.graph
    critical = {(graph.group_of[a], graph.group_of[b]) for a, b in pairwise(scene.critical)}
    found: dict[tuple[int, int, str], bool] = {}
    for group, sources in enumerate(graph.sources):
        target = block_of[group]
        for source in sources:
            before = source if source >= 0 else graph.group_of[-1 - source]
            start = block_of[before]
            if start != target:
                whole = source >= 0 or blocks[start].kind is Kind.MORE
                key = (start, target, "" if whole else graph.ids[-1 - source])
                found[key] = found.get(key, False) or (before, group) in critical
    return [
        Edge(source=start, target=end, node=node, cell=cell_of.get(node, -1), critical=marked)
        for (start, end, node), marked in found.items()
    ]


def _handlers(scene: Scene, first: int, block_of: "array[int]") -> tuple[list[Block], list[Edge]]:
    handlers = scene.graph.handlers()
    ran = {row.key for row in scene.record.tasks if row.role is TaskRole.HANDLER} if scene.record else set()
    shown = [task for key, task in handlers.items() if scene.wishes.handlers or key in ran][
        : scene.limits.width
    ]
    blocks = [_handler(scene, task) for task in shown]
    number = {task.key: first + index for index, task in enumerate(shown)}
    pairs = {
        (block_of[group], number[task.on_failure]): None
        for group, task in enumerate(scene.graph.groups)
        if task.on_failure in number
    }
    return blocks, [Edge(source=start, target=end, failure=True) for start, end in pairs]


def _handler(scene: Scene, task: TaskDefinition) -> Block:
    rows = (
        [row for row in scene.record.tasks if row.role is TaskRole.HANDLER and row.key == task.key]
        if scene.record
        else []
    )
    tally = add_tallies([{row.state: 1} for row in rows])
    found = [scene.measured[row.id] for row in rows]
    only = found[0] if len(found) == 1 else None
    return Block(
        id=task.key,
        label=task.name or task.key,
        kind=Kind.HANDLER,
        level=-1,
        count=max(len(rows), 1),
        state=worst(tally),
        tally=tally,
        measure=only,
        seconds=max((one.seconds for one in found if one.seconds is not None), default=None),
        facts=facts_of(task, only, scene.graph.workflow),
    )


def _cut(edges: list[Edge], room: int) -> list[Edge]:
    """Return at most `room` edges; those of the critical path and of failures first, order kept."""
    if len(edges) <= room:
        return edges
    ranked = sorted(range(len(edges)), key=lambda n: (not (edges[n].critical or edges[n].failure), n))
    return [edges[n] for n in sorted(ranked[:room])]


def _edge_notes(limits: Limits, count: int) -> list[str]:
    return [f"Only {limits.edges:,} of {count:,} edges are drawn."] if count > limits.edges else []


def _notes(scene: Scene, blocks: Sequence[Block]) -> list[str]:
    left_out = sum(block.count for block in blocks if block.kind is Kind.MORE)
    notes = []
    if left_out:
        notes.append(f"{left_out:,} of {len(scene.graph):,} tasks are left out; --format json has them all.")
    folded = sum(b.count for b in blocks if b.kind is Kind.MATRIX and not b.cells)
    if folded and not scene.wishes.unfold:
        notes.append(f"{folded:,} matrix tasks are folded; --matrix unfolds them.")
    cells = sum(cell.count for block in blocks for cell in block.cells if not cell.id)
    if cells:
        notes.append(f"{cells:,} matrix tasks are left out; --format json has them all.")
    return notes


def _titled(
    scene: Scene, blocks: Sequence[Block], edges: Sequence[Edge], notes: Sequence[str], place: str
) -> Picture:
    graph, record = scene.graph, scene.record
    levels = graph.level[-1] + 1 if graph.groups else 0
    run = record.run if record else None
    return Picture(
        title=graph.workflow.name,
        subtitle=graph.workflow.description,
        tasks=len(graph) - scene.subject.rounds,
        levels=scene.subject.rounds if scene.subject.kind == "goal" else levels,
        kind=scene.subject.kind,
        place=place,
        run_id=run.id if run else "",
        state=run.state if run else None,
        seconds=elapsed(run.started_at, run.ended_at, record.now) if run and record else None,
        critical_seconds=scene.critical_seconds,
        tally=add_tallies(scene.tallies) if scene.tallies else {},
        blocks=blocks,
        edges=edges,
        notes=notes,
        wishes=scene.wishes,
    )
