"""Where the blocks and edges of a picture stand on paper: levels from left to right, few crossings, short edges.

The method is the usual one for layered drawings: edges that pass a level get a waypoint in it, the order within
levels is improved by sweeps that put each item at the mean place of its neighbours, and heights are then fitted by
least squares under the order (pool adjacent violators). All lengths are pixels.
"""

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from itertools import pairwise
from math import ceil

from msgspec import Struct

from runwright.cli.render.measuring import text_width
from runwright.cli.render.picture import Block, Edge, Kind, Picture

GAP_X = 64.0
GAP_Y = 16.0
WAY_HEIGHT = 6.0
LINE = 17.0
CELL = 26.0
CELL_GAP = 6.0
HEAD = 46.0
PAD = 10.0
INNER_HEAD = 30.0
MOST_WAYPOINTS = 4_000
ORDER_SWEEPS = 12
FIT_SWEEPS = 10


class Rect(Struct, frozen=True):
    """A place on paper: left, top, width, height."""

    x: float
    y: float
    width: float
    height: float


class Place(Struct, frozen=True):
    """Where a block stands, with its cells if it is unfolded, and with the pictures inside it."""

    rect: Rect
    cells: tuple[Rect, ...] = ()
    inner: tuple[Rect, ...] = ()


class Layout(Struct, frozen=True):
    """Places of all blocks and, per edge, the points it runs through; each pair of points is a level piece."""

    places: tuple[Place, ...]
    routes: tuple[tuple[tuple[float, float], ...], ...]
    width: float
    height: float


class _Item(Struct):
    """A block or a waypoint in its column; `y` is its centre."""

    block: int
    column: int
    height: float
    y: float = 0.0
    before: list[int] = []
    after: list[int] = []


def lay_out(
    picture: Picture, lines: Sequence[Sequence[str]], inner: Sequence[Sequence[Layout]] = ()
) -> Layout:
    """Return where everything stands.

    Args:
        picture: What to place.
        lines: For each block the lines of text under its label.
        inner: For each block the layouts of the pictures inside it; empty if no block has any.
    """
    held = inner or [()] * len(picture.blocks)
    sizes = [_size(block, lines[number], held[number]) for number, block in enumerate(picture.blocks)]
    items, ways = _items(picture, sizes)
    columns = _columns(items)
    _order(items, columns)
    _fit(items, columns)
    top = min((item.y - item.height / 2 for item in items), default=0.0)
    for item in items:
        item.y -= top
    lefts, widths = _across(picture, columns, items, sizes)
    places = _places(picture, items, sizes, lefts, widths, held)
    routes = tuple(_route(edge, places, items, ways, lefts, widths, picture) for edge in picture.edges)
    rects = [place.rect for place in places]
    return Layout(
        places=tuple(places),
        routes=routes,
        width=max((rect.x + rect.width for rect in rects), default=0.0),
        height=max((rect.y + rect.height for rect in rects), default=0.0),
    )


def _size(block: Block, lines: Sequence[str], inner: Sequence[Layout]) -> tuple[float, float]:
    label = text_width(block.label, 13) + 54
    below = max((text_width(line, 11) for line in lines), default=0.0) + 54
    width = min(max(label, below, 132.0), 300.0)
    height = HEAD + _cells_height(block) + sum(INNER_HEAD + one.height + PAD for one in inner)
    width = max([width, *(one.width + 4 * PAD for one in inner)])
    if not block.cells:
        return (width, height + PAD) if inner else (width, 30 + LINE * max(len(lines), 0.6))
    across, cell = _grid(block)
    return max(width, across * (cell + CELL_GAP) - CELL_GAP + 2 * PAD), height


def _cells_height(block: Block) -> float:
    """Return how high the cells of a block are, with the room below them."""
    if not block.cells:
        return 0.0
    return ceil(len(block.cells) / _grid(block)[0]) * (CELL + CELL_GAP) - CELL_GAP + PAD


def _grid(block: Block) -> tuple[int, float]:
    """Return how many cells stand side by side, and how wide each is."""
    widest = max(text_width(cell.label, 11) for cell in block.cells) + 84
    return max(1, min(4, ceil(len(block.cells) / 10))), min(max(widest, 130.0), 250.0)


def _items(
    picture: Picture, sizes: Sequence[tuple[float, float]]
) -> tuple[list[_Item], Mapping[tuple[int, int, int], int]]:
    """Return blocks and waypoints as items, joined to their neighbours; edges of one source share waypoints."""
    items = [
        _Item(number, block.level, sizes[number][1], before=[], after=[])
        for number, block in enumerate(picture.blocks)
    ]
    ways: dict[tuple[int, int, int], int] = {}
    joined: set[tuple[int, int]] = set()
    for edge in picture.edges:
        if edge.failure:
            continue
        for start, end in pairwise(_chain(edge, items, ways)):
            if (start, end) not in joined:
                joined.add((start, end))
                items[start].after.append(end)
                items[end].before.append(start)
    return items, ways


def _chain(edge: Edge, items: list[_Item], ways: dict[tuple[int, int, int], int]) -> list[int]:
    chain = [edge.source]
    for column in range(items[edge.source].column + 1, items[edge.target].column):
        key = (edge.source, edge.cell, column)
        if key not in ways:
            if len(ways) >= MOST_WAYPOINTS:
                break
            ways[key] = len(items)
            items.append(_Item(-1, column, WAY_HEIGHT, before=[], after=[]))
        chain.append(ways[key])
    return [*chain, edge.target]


def _columns(items: Sequence[_Item]) -> list[list[int]]:
    columns: list[list[int]] = [[] for _ in range(max((item.column for item in items), default=-1) + 1)]
    for number, item in enumerate(items):
        if item.column >= 0:
            columns[item.column].append(number)
    return columns


def _order(items: Sequence[_Item], columns: list[list[int]]) -> None:
    """Sort each column by the mean place of its neighbours, sweeping to and fro; keep the best order seen."""
    best, fewest = [list(column) for column in columns], _crossings(items, columns)
    for sweep in range(ORDER_SWEEPS):
        if not fewest:
            break
        forwards = sweep % 2 == 0
        for column in columns if forwards else reversed(columns):
            _sort_column(items, columns, column, forwards=forwards)
        count = _crossings(items, columns)
        if count < fewest:
            best, fewest = [list(column) for column in columns], count
    columns[:] = best


def _sort_column(
    items: Sequence[_Item], columns: Sequence[list[int]], column: list[int], *, forwards: bool
) -> None:
    aside = items[column[0]].column + (-1 if forwards else 1)
    if not 0 <= aside < len(columns):
        return
    place = {number: index for index, number in enumerate(columns[aside])}
    means: dict[int, float] = {}
    for index, number in enumerate(column):
        near = items[number].before if forwards else items[number].after
        known = [place[other] for other in near if other in place]
        means[number] = sum(known) / len(known) if known else index * len(place) / len(column)
    column.sort(key=means.__getitem__)


def _crossings(items: Sequence[_Item], columns: Sequence[Sequence[int]]) -> int:
    return sum(_crossings_between(items, left, right) for left, right in pairwise(columns))


def _crossings_between(items: Sequence[_Item], left: Sequence[int], right: Sequence[int]) -> int:
    """Count pairs of edges in the wrong order, with a tree of partial sums."""
    place = {number: index for index, number in enumerate(right)}
    ends = [end for n in left for end in sorted(place[o] for o in items[n].after if o in place)]
    tree = [0] * (len(right) + 1)
    crossings = 0
    for seen, end in enumerate(ends):
        crossings += seen - _sum_to(tree, end + 1)
        index = end + 1
        while index < len(tree):
            tree[index] += 1
            index += index & -index
    return crossings


def _sum_to(tree: Sequence[int], index: int) -> int:
    total = 0
    while index:
        total += tree[index]
        index -= index & -index
    return total


def _fit(items: Sequence[_Item], columns: Sequence[Sequence[int]]) -> None:
    for column in columns:
        _stack(items, column, [0.0] * len(column))
    for sweep in range(FIT_SWEEPS):
        for column in columns if sweep % 2 == 0 else reversed(columns):
            _stack(items, column, [_wanted(items, items[number], sweep) for number in column])


def _wanted(items: Sequence[_Item], item: _Item, sweep: int) -> float:
    """Return the height at which an item's edges would be shortest; the sides take turns until the last sweeps."""
    sides = (item.before, item.after) if sweep % 2 == 0 else (item.after, item.before)
    near = sides[0] or sides[1] if sweep < FIT_SWEEPS - 2 else [*item.before, *item.after]
    return sum(items[other].y for other in near) / len(near) if near else item.y


def _stack(items: Sequence[_Item], column: Sequence[int], wanted: Sequence[float]) -> None:
    """Put a column's items as near to where they want to be as their order and heights allow."""
    steps = [0.0]
    for above, below in pairwise(column):
        apart = (items[above].height + items[below].height) / 2 + GAP_Y
        steps.append(steps[-1] + apart)
    pools: list[tuple[float, float, int]] = []
    for number, want, step in zip(column, wanted, steps, strict=True):
        weight = 3.0 if items[number].block < 0 else 1.0
        pool = ((want - step) * weight, weight, 1)
        while pools and pools[-1][0] / pools[-1][1] >= pool[0] / pool[1]:
            last = pools.pop()
            pool = (last[0] + pool[0], last[1] + pool[1], last[2] + pool[2])
        pools.append(pool)
    fitted = [total / weight for total, weight, count in pools for _ in range(count)]
    for number, value, step in zip(column, fitted, steps, strict=True):
        items[number].y = value + step


def _across(
    picture: Picture,
    columns: Sequence[Sequence[int]],
    items: Sequence[_Item],
    sizes: Sequence[tuple[float, float]],
) -> tuple[list[float], list[float]]:
    """Return left edge and width of each column; busy gaps are wider."""
    widths = [
        max((sizes[items[n].block][0] for n in column if items[n].block >= 0), default=60.0)
        for column in columns
    ]
    busy: dict[int, int] = defaultdict(int)
    for item in items:
        busy[item.column] += len(item.after)
    lefts, left = [], 0.0
    for column, width in enumerate(widths):
        lefts.append(left)
        left += width + GAP_X + min(80.0, 1.5 * busy[column])
    return lefts, widths


def _places(
    picture: Picture,
    items: Sequence[_Item],
    sizes: Sequence[tuple[float, float]],
    lefts: Sequence[float],
    widths: Sequence[float],
    inner: Sequence[Sequence[Layout]],
) -> list[Place]:
    plain = _plain_widths(picture, sizes, widths, inner)
    places: list[Place | None] = [None] * len(picture.blocks)
    bottom = 0.0
    for number, block in enumerate(picture.blocks):
        if block.kind is not Kind.HANDLER:
            height = sizes[number][1]
            width = widths[block.level] if inner[number] else plain[block.level]
            left = lefts[block.level] + (widths[block.level] - width) / 2
            rect = Rect(left, items[number].y - height / 2, width, height)
            places[number] = Place(rect, _cell_rects(block, rect), _inner_rects(block, rect, inner[number]))
            bottom = max(bottom, rect.y + rect.height)
    for number, rect in _below(picture, places, sizes, bottom + 56 if bottom else 0.0):
        places[number] = Place(rect, (), _inner_rects(picture.blocks[number], rect, inner[number]))
    return [place for place in places if place is not None]


def _plain_widths(
    picture: Picture,
    sizes: Sequence[tuple[float, float]],
    widths: Sequence[float],
    inner: Sequence[Sequence[Layout]],
) -> list[float]:
    """Return for each column the width of the blocks with nothing inside: a wide picture doesn't stretch them."""
    plain: dict[int, float] = {}
    for number, block in enumerate(picture.blocks):
        if not inner[number]:
            plain[block.level] = max(plain.get(block.level, 0.0), sizes[number][0])
    return [plain.get(level, width) for level, width in enumerate(widths)]


def _inner_rects(block: Block, rect: Rect, inner: Sequence[Layout]) -> tuple[Rect, ...]:
    """Return where the pictures inside a block stand, one below the other, each with room for a line above it."""
    places, top = [], rect.y + HEAD + _cells_height(block)
    for one in inner:
        places.append(Rect(rect.x + PAD, top, rect.width - 2 * PAD, INNER_HEAD + one.height))
        top += INNER_HEAD + one.height + PAD
    return tuple(places)


def _cell_rects(block: Block, rect: Rect) -> tuple[Rect, ...]:
    if not block.cells:
        return ()
    across, _ = _grid(block)
    width = (rect.width - 2 * PAD - (across - 1) * CELL_GAP) / across
    return tuple(
        Rect(
            rect.x + PAD + (number % across) * (width + CELL_GAP),
            rect.y + HEAD + (number // across) * (CELL + CELL_GAP),
            width,
            CELL,
        )
        for number in range(len(block.cells))
    )


def _below(
    picture: Picture, places: Sequence[Place | None], sizes: Sequence[tuple[float, float]], top: float
) -> Iterable[tuple[int, Rect]]:
    """Put handlers in a row under the graph, each near those it serves."""
    served: dict[int, list[float]] = defaultdict(list)
    for edge in picture.edges:
        place = places[edge.source]
        if edge.failure and place is not None:
            served[edge.target].append(place.rect.x + place.rect.width / 2)
    handlers = [n for n, block in enumerate(picture.blocks) if block.kind is Kind.HANDLER]
    middle = {n: sum(served[n]) / len(served[n]) if served[n] else 0.0 for n in handlers}
    left = 0.0
    for number in sorted(handlers, key=lambda n: (middle[n], n)):
        width, height = sizes[number]
        x = max(left, middle[number] - width / 2)
        yield number, Rect(x, top, width, height)
        left = x + width + 28


def _route(
    edge: Edge,
    places: Sequence[Place],
    items: Sequence[_Item],
    ways: Mapping[tuple[int, int, int], int],
    lefts: Sequence[float],
    widths: Sequence[float],
    picture: Picture,
) -> tuple[tuple[float, float], ...]:
    source, target = places[edge.source], places[edge.target].rect
    start = source.cells[edge.cell] if edge.cell >= 0 else source.rect
    if edge.failure:
        x = start.x + start.width / 2
        return (x, start.y + start.height), (target.x + target.width / 2, target.y)
    points = [(start.x + start.width, start.y + start.height / 2)]
    for column in range(picture.blocks[edge.source].level + 1, picture.blocks[edge.target].level):
        way = ways.get((edge.source, edge.cell, column))
        if way is not None:
            points += [(lefts[column], items[way].y), (lefts[column] + widths[column], items[way].y)]
    return (*points, (target.x, target.y + target.height / 2))
