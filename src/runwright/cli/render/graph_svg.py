"""A picture as SVG: rounded boxes by level, coloured by state, for light and dark pages."""

from collections.abc import Iterator, Mapping, Sequence

from msgspec import Struct

from runwright.cli.render.facts import brief, heading, inner_title
from runwright.cli.render.layout import (
    HEAD,
    INNER_HEAD,
    PAD,
    Layout,
    Place,
    Rect,
    lay_out,
)
from runwright.cli.render.measuring import fit_text, text_width
from runwright.cli.render.picture import Block, Cell, Edge, Kind, Limits, Picture, whole_tally
from runwright.cli.render.svg_parts import badge, document, number, text, xml
from runwright.cli.render.times import duration
from runwright.core.states import TaskState

LIMITS = Limits(fold=6, cells=60, width=60, levels=120, blocks=1_500, edges=6_000)
MARGIN = 32.0
SHOWN_FACTS = ("about", "why", "runs", "if", "retries", "timeout", "on failure", "serves")
MONO_FACTS = frozenset({"runs", "if"})
MOST_LINES = 5
LEGEND_GAP = 22.0


class Drawing(Struct, frozen=True):
    """A picture laid out, with those inside its blocks; `lines` are the lines under the label of each block."""

    picture: Picture
    lines: Sequence[Sequence[str]]
    layout: Layout
    inner: Sequence[Sequence["Drawing"]]


def drawing_of(picture: Picture) -> Drawing:
    """Lay a picture out, the pictures inside it first."""
    lines = [_lines(block, picture) for block in picture.blocks]
    inner = [[drawing_of(one) for one in block.inner] for block in picture.blocks]
    layout = lay_out(picture, lines, [[one.layout for one in held] for held in inner])
    return Drawing(picture, lines, layout, inner)


def render(picture: Picture) -> str:
    """Return the drawing as a complete SVG document."""
    drawing = drawing_of(picture)
    layout = drawing.layout
    top = MARGIN + 26 + 22 * (1 + bool(picture.subtitle)) + 18
    bottom = 44.0 + 17 * len(picture.notes)
    width = max(layout.width, _head_width(picture), _legend_width(picture)) + 2 * MARGIN
    height = top + layout.height + bottom + MARGIN
    body = [
        *_head(picture, width),
        *_graph(drawing, top),
        *_foot(picture, top + layout.height + 36),
    ]
    return document(width, height, f"{picture.title}: {heading(picture)}", body)


def render_bare(picture: Picture) -> str:
    """Return the drawing without title, legend and notes, for a page that has its own."""
    drawing = drawing_of(picture)
    layout = drawing.layout
    body = list(_graph(drawing, MARGIN))
    return document(layout.width + 2 * MARGIN, layout.height + 2 * MARGIN, picture.title, body)


def _graph(drawing: Drawing, top: float) -> Iterator[str]:
    yield f'<g id="graph" transform="translate({number(MARGIN)} {number(top)})">'
    yield from _drawn(drawing, "")
    yield "</g>"


def _drawn(drawing: Drawing, name: str) -> Iterator[str]:
    """Draw edges and blocks, and on these the pictures inside them; numbers of blocks begin with `name`."""
    picture, layout = drawing.picture, drawing.layout
    yield from _edges(picture, layout, name)
    for n, (block, place) in enumerate(_pairs(picture, layout)):
        yield _block(block, place, drawing.lines[n], f"{name}{n}")
        for index, (inner, rect) in enumerate(zip(drawing.inner[n], place.inner, strict=True)):
            yield from _inside(inner, rect, f"{name}{n}.{index}.")


def _inside(drawing: Drawing, rect: Rect, name: str) -> Iterator[str]:
    """Draw a picture inside a block: a frame, a line about it, and the picture itself."""
    picture = drawing.picture
    yield _card(rect, "faint")
    left = rect.x + PAD
    if picture.state is not None:
        yield badge(str(picture.state), left + 7, rect.y + 15, 0.7)
        left += 20
    words = fit_text(inner_title(picture), 11, rect.x + rect.width - PAD - left)
    yield text(words, left, rect.y + 19, "small muted num")
    yield from _drawn(shifted(drawing, rect.x + PAD, rect.y + INNER_HEAD - PAD / 2), name)


def shifted(drawing: Drawing, x: float, y: float) -> Drawing:
    """Return a drawing moved as a whole, so that all places on the paper are told from the same corner."""

    def moved(rect: Rect) -> Rect:
        return Rect(rect.x + x, rect.y + y, rect.width, rect.height)

    layout = drawing.layout
    places = tuple(
        Place(moved(one.rect), tuple(map(moved, one.cells)), tuple(map(moved, one.inner)))
        for one in layout.places
    )
    routes = tuple(tuple((px + x, py + y) for px, py in route) for route in layout.routes)
    laid = Layout(places, routes, layout.width, layout.height)
    return Drawing(drawing.picture, drawing.lines, laid, drawing.inner)


def _pairs(picture: Picture, layout: Layout) -> Iterator[tuple[Block, Place]]:
    return zip(picture.blocks, layout.places, strict=True)


def _lines(block: Block, picture: Picture) -> list[str]:
    """Return the lines under a block's label: what it came to, then facts if they are wanted."""
    lines = [brief(block)] if brief(block) else []
    if picture.wishes.detail and not (block.cells or block.inner):
        lines += [f"{name}  {value}" for name, value in block.facts if name in SHOWN_FACTS][:MOST_LINES]
    return lines


def _head_width(picture: Picture) -> float:
    words = [(picture.title, 21), (picture.subtitle, 13), (heading(picture), 13), (picture.run_id, 12)]
    return min(max(text_width(*one) + 30 for one in words), 900.0)


def _head(picture: Picture, width: float) -> Iterator[str]:
    y = MARGIN + 14
    room = width - 2 * MARGIN
    yield text(fit_text(picture.title, 20, room), MARGIN, y, "h1 ink")
    if picture.subtitle:
        y += 22
        yield text(fit_text(picture.subtitle, 12.5, room), MARGIN, y, "sub muted")
    y += 22
    left = MARGIN
    if picture.state is not None:
        yield badge(str(picture.state), MARGIN + 8, y - 4.5)
        left += 24
    words = f"{heading(picture)} · run {picture.run_id}" if picture.run_id else heading(picture)
    yield text(fit_text(words, 12.5, room), left, y, "sub ink num")


def _edges(picture: Picture, layout: Layout, name: str) -> Iterator[str]:
    """Draw the critical path last, so that nothing crosses over it."""
    order = sorted(range(len(picture.edges)), key=lambda n: picture.edges[n].critical)
    for number_ in order:
        yield _edge(picture.edges[number_], layout.routes[number_], name)


def _edge(edge: Edge, points: Sequence[tuple[float, float]], name: str) -> str:
    kind = " fail" if edge.failure else " crit" if edge.critical else ""
    path = _down(points) if edge.failure else _across(points)
    ends = f'data-from="{name}{edge.source}" data-to="{name}{edge.target}"'
    return f'<g class="e" {ends}><path class="edge{kind}" d="{path}"/>{_tip(points[-1], edge, kind)}</g>'


def _tip(point: tuple[float, float], edge: Edge, kind: str) -> str:
    x, y = (number(value) for value in point)
    if edge.failure:
        return f'<path class="f-failed" d="M{x} {y}l-4-7h8Z"/>'
    return f'<path class="tip{kind}" d="M{x} {y}l-7-4v8Z"/>'


def _across(points: Sequence[tuple[float, float]]) -> str:
    """Return a smooth line through pairs of points: curves between levels, straight through them."""
    path = [f"M{number(points[0][0])} {number(points[0][1])}"]
    for place in range(0, len(points) - 1, 2):
        (x0, y0), (x1, y1) = points[place], points[place + 1]
        last = place + 2 == len(points)
        x1 -= 5 if last else 0
        bend = (x1 - x0) / 2
        curve = ((x0 + bend, y0), (x1 - bend, y1), (x1, y1))
        path.append("C" + ",".join(f"{number(x)} {number(y)}" for x, y in curve))
        if not last:
            path.append(f"H{number(points[place + 2][0])}")
    return "".join(path)


def _down(points: Sequence[tuple[float, float]]) -> str:
    (x0, y0), (x1, y1) = points
    bend = max((y1 - y0) / 2, 20)
    curve = ((x0, y0 + bend), (x1, y1 - bend), (x1, y1 - 5))
    return f"M{number(x0)} {number(y0)}C" + ",".join(f"{number(x)} {number(y)}" for x, y in curve)


def _block(block: Block, place: Place, lines: Sequence[str], index: str) -> str:
    rect = place.rect
    parts = [
        _open(block, index),
        f"<title>{xml(_tooltip(block))}</title>",
        *_cards(block, rect),
        *_words(block, rect, lines),
    ]
    if block.kind in {Kind.MATRIX, Kind.MORE} and not block.cells and block.tally:
        parts.append(_bar(block.tally, rect))
    parts += [_cell(cell, where) for cell, where in zip(block.cells, place.cells, strict=True)]
    return "".join([*parts, "</g>"])


def _open(block: Block, index: str) -> str:
    state = f' data-state="{block.state}"' if block.state is not None else ""
    facts = "&#10;".join(f"{xml(name)}&#9;{xml(value)}" for name, value in block.facts)
    return (
        f'<g class="b" tabindex="0" data-n="{index}" data-id="{xml(block.id)}" data-name="{xml(block.label)}"'
        f'{state} data-line="{xml(brief(block))}" data-facts="{facts}">'
    )


def _tooltip(block: Block) -> str:
    return f"{block.label}: {brief(block)}" if brief(block) else block.label


def _cards(block: Block, rect: Rect) -> Iterator[str]:
    dashed = " dashed" if block.kind in {Kind.HANDLER, Kind.MORE} else ""
    crit = " crit" if block.critical else ""
    if block.kind is Kind.MATRIX and not block.cells:
        yield _card(Rect(rect.x + 8, rect.y + 7, rect.width - 8, rect.height), f"card{crit}")
        yield _card(Rect(rect.x + 4, rect.y + 3.5, rect.width - 4, rect.height), f"card{crit}")
    yield _card(
        rect, f"card{' more' if block.kind is Kind.MORE else ' hold' if block.inner else ''}{dashed}{crit}"
    )


def _card(rect: Rect, classes: str) -> str:
    return f'<rect class="{classes}" {_box(rect)} rx="9"/>'


def _box(rect: Rect) -> str:
    return f'x="{number(rect.x)}" y="{number(rect.y)}" width="{number(rect.width)}" height="{number(rect.height)}"'


def _words(block: Block, rect: Rect, lines: Sequence[str]) -> Iterator[str]:
    high = HEAD if block.cells or block.inner else rect.height
    step = 16.0
    y = rect.y + high / 2 - step * len(lines) / 2 + (4.5 if not lines else 3.5)
    left = rect.x + 14
    if block.state is not None and block.kind is not Kind.MORE:
        yield badge(str(block.state), rect.x + 19, y - 4.5)
        left = rect.x + 35
    room = rect.x + rect.width - 10 - left
    weight = "label muted" if block.kind is Kind.MORE else "label ink"
    yield text(fit_text(block.label, 13, room), left, y, weight)
    for line in lines:
        y += step
        yield _line(block, line, left, y, room)


def _line(block: Block, line: str, x: float, y: float, room: float) -> str:
    name, gap, value = line.partition("  ")
    if gap and any(name == fact for fact, _ in block.facts):
        face = "mono " if name in MONO_FACTS else ""
        return text(fit_text(value if face else f"{name}: {value}", 11, room), x, y, f"{face}small muted")
    failed = f"f-{block.state}" if block.state is TaskState.FAILED else "muted"
    return text(fit_text(line, 11, room), x, y, f"small num {failed}")


def _bar(tally: Mapping[TaskState, int], rect: Rect) -> str:
    """Return a thin bar of all states along the lower edge of a box."""
    total = sum(tally.values())
    left, room = rect.x + 12, rect.width - 24
    parts = []
    for state, count in tally.items():
        width = room * count / total
        shown = Rect(left, rect.y + rect.height - 6, max(width - 1, 0.5), 3)
        parts.append(f'<rect class="f-{state}" {_box(shown)} rx="1.5"/>')
        left += width
    return "".join(parts)


def _cell(cell: Cell, rect: Rect) -> str:
    measure = cell.measure
    state = str(measure.state) if measure else ""
    left = rect.x + (26 if state else 10)
    middle = rect.y + rect.height / 2 + 4
    after = duration(measure.seconds) if measure and measure.seconds is not None else ""
    again = f" ×{measure.attempts}" if measure and measure.attempts > 1 else ""  # noqa: RUF001
    room = rect.x + rect.width - 10 - left - text_width(after + again, 11)
    reason = f"\n{measure.reason}" if measure and measure.reason else ""
    shown = f' data-state="{state}"' if state else ""
    parts = [
        f'<g class="c" data-id="{xml(cell.id)}" data-name="{xml(cell.label)}"{shown}>',
        f"<title>{xml(cell.id or cell.label)}{xml(reason)}</title>",
        f'<rect class="card{" crit" if cell.critical else ""}{"" if cell.id else " more dashed"}" {_box(rect)} rx="6"/>',
        badge(state, rect.x + 14, rect.y + rect.height / 2, 0.7) if state else "",
        text(fit_text(cell.label, 11, room), left, middle, "small ink"),
        text(after + again, rect.x + rect.width - 9, middle, "small muted num end") if after else "",
        "</g>",
    ]
    return "".join(parts)


def legend(picture: Picture) -> list[tuple[str, str]]:
    """Return what the legend explains, as pairs of a sign and words."""
    entries = [(str(state), f"{count:,} {state}") for state, count in whole_tally(picture).items()]
    if any(edge.critical for edge in picture.edges) or any(block.critical for block in picture.blocks):
        words = "critical path" if picture.state is not None else "longest chain"
        entries.append(("critical", words))
    if any(block.kind is Kind.HANDLER for block in picture.blocks):
        entries.append(("handler", "runs on failure"))
    if any(block.kind is Kind.MATRIX and not block.cells for block in picture.blocks):
        entries.append(("matrix", "folded matrix"))
    return entries


def _legend_width(picture: Picture) -> float:
    return sum(text_width(words, 11) + 24 + LEGEND_GAP for _, words in legend(picture))


def _foot(picture: Picture, y: float) -> Iterator[str]:
    x = MARGIN
    for sign, words in legend(picture):
        yield _sign(sign, x, y - 4)
        yield text(words, x + 24, y, "small muted")
        x += text_width(words, 11) + 24 + LEGEND_GAP
    for note in picture.notes:
        y += 17
        yield text(note, MARGIN, y, "small muted")


def _sign(sign: str, x: float, y: float) -> str:
    if sign == "critical":
        return f'<path class="edge crit" d="M{number(x)} {number(y)}h17"/>'
    if sign == "handler":
        return f'<path class="edge fail" d="M{number(x)} {number(y)}h17"/>'
    if sign == "matrix":
        small = Rect(x + 3, y - 3, 13, 9), Rect(x, y - 6, 13, 9)
        return "".join(f'<rect class="card" {_box(rect)} rx="2"/>' for rect in small)
    return badge(sign, x + 8, y, 0.7)
