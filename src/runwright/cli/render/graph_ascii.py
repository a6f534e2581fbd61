"""A picture as a tree for a terminal.

Each task stands once, under the dependency that lies deepest; further ones are named behind it (``also after lint``). A task
with one follower has it right below (``↓``), so that long chains stay narrow. Of a run, times stand on the right and
a strip shows when each task ran.
"""

from collections.abc import Iterator, Sequence

from msgspec import Struct

from runwright.cli.render.facts import counted, heading, plural
from runwright.cli.render.palette import tone
from runwright.cli.render.picture import Block, Cell, Kind, Limits, Measure, Picture
from runwright.cli.render.terminal import Out, cell_width, clean, shorten
from runwright.cli.render.times import duration
from runwright.core.states import RunState, TaskState

LIMITS = Limits(fold=6, cells=60, width=60, levels=150, blocks=1_500, edges=100_000)
USUAL_WIDTH = 100
TIME_WIDTH = 9
STRIP_WIDTH = 22
STRIP_FROM = 84
MOST_ALSO = 4
QUIET = (TaskState.CANCELLED, TaskState.SKIPPED, TaskState.FAILED)


class Signs(Struct, frozen=True):
    """What the lines of the tree are made of."""

    branch: str
    last: str
    down: str
    through: str
    cell: str
    star: str
    run: str
    rail: str
    task: str
    matrix: str
    handler: str
    more: str
    dot: str
    ellipsis: str


FINE = Signs("├─ ", "└─ ", "↓ ", "│  ", "┊ ", "★", "━", "┈", "○", "◫", "◇", "⋯", "·", "…")
PLAIN = Signs("|- ", "`- ", "v ", "|  ", ": ", "*", "=", ".", "o", "#", "?", "~", "-", "...")


class _Row(Struct):
    """A line before it is fitted: what stands left, and whose time and strip stand right."""

    lead: str
    sign: str
    style: str
    label: str
    extra: str = ""
    seconds: float | None = None
    measure: Measure | None = None
    critical: bool = False
    quiet: bool = False


def render(picture: Picture, out: Out) -> Iterator[str]:
    """Yield the lines of the tree, as wide as `out` is, in its marks and colours."""
    signs = FINE if out.unicode else PLAIN
    width = out.width or USUAL_WIDTH
    yield from _head(picture, out, signs, width)
    yield ""
    rows = list(_rows(picture, signs, width, ""))
    window = _window(rows)
    for row in rows:
        yield _fit(row, window, out, signs, width).rstrip()
    if picture.notes:
        yield ""
    for note in picture.notes:
        yield out.paint(shorten(note, width, signs.ellipsis), "dim")


def _head(picture: Picture, out: Out, signs: Signs, width: int) -> Iterator[str]:
    yield out.paint(shorten(clean(picture.title), width, signs.ellipsis), "strong")
    if picture.subtitle:
        yield out.paint(shorten(clean(picture.subtitle), width, signs.ellipsis), "dim")
    line = heading(picture, signs.dot)
    if picture.state is None:
        yield shorten(line, width, signs.ellipsis)
        return
    yield out.state_mark(str(picture.state)) + " " + shorten(line, width - 2, signs.ellipsis)
    yield _counts(picture, out, signs, width)
    yield out.paint(shorten(f"run {picture.run_id}", width, signs.ellipsis), "dim")


def _counts(picture: Picture, out: Out, signs: Signs, width: int) -> str:
    counts = {state: f"{count:,} {state}" for state, count in picture.tally.items()}
    dot = f" {signs.dot} "
    plain = dot.join(counts.values())
    if cell_width(plain) > width:
        return shorten(plain, width, signs.ellipsis)
    return dot.join(out.paint(text, tone(state).terminal) for state, text in counts.items())


def _rows(picture: Picture, signs: Signs, width: int, lead: str) -> Iterator[_Row]:
    yield from _tree(picture, signs, width, lead)
    yield from _handlers(picture, signs, width, lead)


def _inside(block: Block, lead: str, signs: Signs, width: int) -> Iterator[_Row]:
    """Yield the runs that are the work of a block, each under a line of its own."""
    for inner in block.inner:
        sign, style = _sign(inner.state, signs.more, signs)
        head = f"{inner.place} {inner.kind} {inner.title}".strip()
        about = heading(inner, signs.dot)
        yield _Row(lead + signs.cell, sign, style, clean(head), clean(about), quiet=True)
        yield from _rows(inner, signs, width, lead + signs.cell + "  ")


def _tree(picture: Picture, signs: Signs, width: int, base: str) -> Iterator[_Row]:
    parent, also = _parents(picture)
    children: list[list[int]] = [[] for _ in picture.blocks]
    roots: list[int] = []
    for number, block in enumerate(picture.blocks):
        if block.kind is not Kind.HANDLER:
            (children[parent[number]] if number in parent else roots).append(number)
    stack = [(root, base, base) for root in reversed(roots)]
    while stack:
        number, lead, under = stack.pop()
        block, after = picture.blocks[number], children[number]
        others = _named(picture, also.get(number, ()))
        yield _row(block, lead, f"also after {others}" if others else "", signs)
        inner = under + (signs.through if len(after) > 1 else "   ")
        yield from _details(picture, block, inner)
        yield from (_cell_row(cell, inner, signs) for cell in block.cells)
        yield from _inside(block, inner, signs, width)
        stack.extend(reversed([*_below(after, under, signs, width)]))


def _below(after: Sequence[int], under: str, signs: Signs, width: int) -> Iterator[tuple[int, str, str]]:
    """Yield children with what stands before them and before their own children."""
    if len(after) == 1 or len(under) > width // 3:
        yield from ((child, under + signs.down, under) for child in after)
        return
    for place, child in enumerate(after):
        last = place == len(after) - 1
        yield (
            child,
            under + (signs.last if last else signs.branch),
            under + ("   " if last else signs.through),
        )


def _parents(picture: Picture) -> tuple[dict[int, int], dict[int, list[int]]]:
    """Return for each block the one it stands under, and the others that it waits for."""
    sources: dict[int, dict[int, bool]] = {}
    for edge in picture.edges:
        if not edge.failure:
            known = sources.setdefault(edge.target, {})
            known[edge.source] = known.get(edge.source, False) or edge.critical
    parent: dict[int, int] = {}
    also: dict[int, list[int]] = {}
    for target, found in sources.items():
        chosen = max(found, key=lambda n: (picture.blocks[n].level, found[n], -n))
        parent[target] = chosen
        also[target] = [number for number in found if number != chosen]
    return parent, also


def _named(picture: Picture, numbers: Sequence[int]) -> str:
    names = [clean(picture.blocks[number].label) for number in numbers[:MOST_ALSO]]
    if len(numbers) > MOST_ALSO:
        names.append(f"{len(numbers) - MOST_ALSO} more")
    return ", ".join(names)


def _row(block: Block, lead: str, also: str, signs: Signs) -> _Row:
    sign, style = _sign(block.state, _shape(block.kind, signs), signs)
    extra = []
    if block.kind is Kind.MATRIX:
        extra.append(counted(block))
    elif block.kind is Kind.HANDLER and block.count > 1:
        extra.append(f"{block.count:,} times")
    if block.measure is not None and block.measure.attempts > 1:
        extra.append(plural(block.measure.attempts, "attempt"))
    if block.measure is not None and block.state in QUIET and block.measure.reason:
        extra.append(clean(block.measure.reason))
    if block.undo:
        extra.append(block.undo)
    return _Row(
        lead,
        sign,
        style,
        clean(block.label),
        "  ".join(part for part in (f" {signs.dot} ".join(extra), also) if part),
        block.seconds,
        block.measure,
        block.critical,
        block.kind is Kind.MORE,
    )


def _shape(kind: Kind, signs: Signs) -> str:
    shapes = {Kind.TASK: signs.task, Kind.MATRIX: signs.matrix, Kind.HANDLER: signs.handler}
    return shapes.get(kind, signs.more)


def _sign(state: TaskState | RunState | None, shape: str, signs: Signs) -> tuple[str, str]:
    """Return a mark and its style: that of the state, or without one the shape of what it is."""
    if state is None:
        return shape, "dim"
    look = tone(state)
    return (look.mark if signs is FINE else look.plain), look.terminal


def _cell_row(cell: Cell, lead: str, signs: Signs) -> _Row:
    measure = cell.measure
    sign, style = _sign(measure.state if measure else None, signs.task, signs)
    extra = plural(measure.attempts, "attempt") if measure and measure.attempts > 1 else ""
    if measure and measure.state in QUIET:
        extra = f" {signs.dot} ".join(part for part in (extra, clean(measure.reason)) if part)
    seconds = measure.seconds if measure else None
    return _Row(
        lead + signs.cell, sign, style, clean(cell.label), extra, seconds, measure, cell.critical, True
    )


def _details(picture: Picture, block: Block, lead: str) -> Iterator[_Row]:
    if picture.wishes.detail:
        for name, value in block.facts:
            yield _Row(lead + "  ", "", "", f"{name}: {clean(value)}", quiet=True)


def _handlers(picture: Picture, signs: Signs, width: int, lead: str) -> Iterator[_Row]:
    served: dict[int, list[int]] = {}
    for edge in picture.edges:
        if edge.failure:
            served.setdefault(edge.target, []).append(edge.source)
    for number, block in enumerate(picture.blocks):
        if block.kind is Kind.HANDLER:
            names = _named(picture, served.get(number, ()))
            whole = any(name == "serves" for name, _ in block.facts)
            who = ", ".join(part for part in ("the workflow" if whole else "", names) if part)
            yield _row(block, lead, f"on failure of {who}" if who else "", signs)
            yield from _details(picture, block, lead + "   ")
            yield from _inside(block, lead + "   ", signs, width)


def _window(rows: Sequence[_Row]) -> tuple[float, float] | None:
    """Return the first start and the last end as instants, if anything ran."""
    ran = [row.measure for row in rows if row.measure and row.measure.started_at and row.measure.ended_at]
    if not ran:
        return None
    starts = [one.started_at.timestamp() for one in ran if one.started_at]
    return min(starts), max(one.ended_at.timestamp() for one in ran if one.ended_at)


def _fit(row: _Row, window: tuple[float, float] | None, out: Out, signs: Signs, width: int) -> str:
    """Return a line cut to the width, its time and strip at the right edge."""
    strip = STRIP_WIDTH if window and width >= STRIP_FROM else 0
    right = (TIME_WIDTH + 3 if window else 2) + (strip + 2 if strip else 0)
    room = width - right
    lead = row.lead + (row.sign + " " if row.sign else "")
    label = shorten(row.label, max(room - cell_width(lead), 8), signs.ellipsis)
    left = room - cell_width(lead) - cell_width(label) - 2
    extra = shorten(row.extra, left, signs.ellipsis) if left > 6 and row.extra else ""
    style = "dim" if row.quiet else "odd" if row.critical else "strong"
    used = cell_width(lead) + cell_width(label) + (2 + cell_width(extra) if extra else 0)
    text = out.paint(row.lead, "dim") + out.paint(row.sign, row.style) + (" " if row.sign else "")
    text += out.paint(label, style) + ("  " + out.paint(extra, "dim") if extra else "")
    return text + " " * max(room - used, 1) + _right(row, window, out, signs, strip)


def _right(row: _Row, window: tuple[float, float] | None, out: Out, signs: Signs, strip: int) -> str:
    star = out.paint(signs.star, "odd") if row.critical else " "
    if window is None:
        return star
    time = f"{duration(row.seconds):>{TIME_WIDTH}} {star}"
    return f"{time}  {_strip(row, window, out, signs, strip)}" if strip and row.measure else time


def _strip(row: _Row, window: tuple[float, float], out: Out, signs: Signs, strip: int) -> str:
    measure = row.measure
    if measure is None or measure.started_at is None:
        return ""
    first, last = window
    per = strip / max(last - first, 1e-9)
    end = measure.ended_at.timestamp() if measure.ended_at else last
    start = min(int((measure.started_at.timestamp() - first) * per), strip - 1)
    length = max(1, min(round((end - first) * per), strip) - start)
    rail = out.paint(signs.rail * start, "dim")
    return (
        rail
        + out.paint(signs.run * length, row.style)
        + out.paint(signs.rail * (strip - start - length), "dim")
    )
