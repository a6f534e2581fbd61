"""A picture in the DOT language of Graphviz."""

from collections.abc import Iterator, Mapping

from runwright.cli.render.facts import brief, heading, inner_title
from runwright.cli.render.palette import LIGHT, TONES
from runwright.cli.render.picture import Block, Cell, Edge, Kind, Limits, Picture, is_cluster
from runwright.cli.render.terminal import clean
from runwright.cli.render.times import duration

LIMITS = Limits(fold=12, cells=500, width=500, levels=1_000, blocks=6_000, edges=30_000)


def quote(*lines: str) -> str:
    """Return lines of text as one quoted string; nothing in them is read as an escape, an entity or an end."""
    safe = (clean(line).replace("\\", "\\\\").replace('"', '\\"').replace("&", "&amp;") for line in lines)
    return '"' + "\\n".join(safe) + '"'


def render(picture: Picture) -> Iterator[str]:
    """Yield the lines of the graph."""
    yield f"digraph {quote(picture.title)} {{"
    for note in picture.notes:
        yield f"  // {clean(note)}"
    title = quote(picture.title, heading(picture))
    yield f'  graph [rankdir=LR, compound=true, labelloc=t, fontname="Helvetica", label={title}];'
    yield (
        f'  node [shape=box, style="rounded,filled", fillcolor="{LIGHT.card}", color="{LIGHT.line}", '
        f'fontname="Helvetica", fontsize=11];'
    )
    yield f'  edge [color="{LIGHT.line}", arrowsize=0.7];'
    yield from _body(picture, "n", "  ")
    yield "}"


def _body(picture: Picture, name: str, lead: str) -> Iterator[str]:
    """Yield blocks and edges; the names of blocks begin with `name`."""
    for number, block in enumerate(picture.blocks):
        yield from (lead + line for line in _block(f"{name}{number}", block, picture))
    for edge in picture.edges:
        yield lead + _edge(edge, picture, name)


def _block(name: str, block: Block, picture: Picture) -> Iterator[str]:
    lines = [line for line in (block.label, brief(block)) if line]
    if picture.wishes.detail:
        lines += [f"{fact}: {value}" for fact, value in block.facts]
    looks = {"label": quote(*lines), **_looks(block.state, critical=block.critical)}
    if is_cluster(block):
        yield f"subgraph cluster_{name} {{"
        yield "  graph [style=rounded, labelloc=t, " + _list(looks) + "];"
        yield from (_cell(f"{name}c{index}", cell) for index, cell in enumerate(block.cells))
        for index, inner in enumerate(block.inner):
            yield from _inner(f"{name}i{index}", inner)
        yield "}"
        return
    if block.kind is Kind.HANDLER:
        looks["style"] = '"rounded,filled,dashed"'
    elif block.kind is Kind.MATRIX:
        looks["peripheries"] = "2"
    yield f"{name} [{_list(looks)}];"


def _inner(name: str, picture: Picture) -> Iterator[str]:
    looks = {"label": quote(inner_title(picture)), **_looks(picture.state, critical=False)}
    yield f"  subgraph cluster_{name} {{"
    yield '    graph [style="rounded,dashed", labelloc=t, penwidth=1, ' + _list(looks) + "];"
    yield from _body(picture, name + "n", "    ")
    yield "  }"


def _cell(name: str, cell: Cell) -> str:
    measure = cell.measure
    after = duration(measure.seconds) if measure and measure.seconds is not None else ""
    looks = _looks(measure.state if measure else None, critical=cell.critical)
    return f"  {name} [{_list({'label': quote(*filter(None, (cell.label, after))), **looks})}];"


def _looks(state: str | None, *, critical: bool) -> dict[str, str]:
    looks = {}
    if state is not None:
        looks["color"] = looks["fontcolor"] = f'"{TONES[state].light}"'
    if critical:
        looks["penwidth"] = "2.5"
        looks["color"] = f'"{LIGHT.accent}"'
    return looks


def _list(looks: Mapping[str, str]) -> str:
    return ", ".join(f"{name}={value}" for name, value in looks.items())


def _edge(edge: Edge, picture: Picture, name: str) -> str:
    looks = {}
    if edge.critical:
        looks = {"color": f'"{LIGHT.accent}"', "penwidth": "2.5"}
    if edge.failure:
        looks = {"color": f'"{TONES["failed"].light}"', "style": "dashed", "constraint": "false"}
    start, end = f"{name}{edge.source}", f"{name}{edge.target}"
    source, target = picture.blocks[edge.source], picture.blocks[edge.target]
    if edge.cell >= 0:
        start += f"c{edge.cell}"
    elif is_cluster(source):
        looks["ltail"] = f"cluster_{start}"
        start = _anchor(start, source, last=True)
    if is_cluster(target):
        looks["lhead"] = f"cluster_{end}"
        end = _anchor(end, target, last=False)
    return f"{start} -> {end}" + (f" [{_list(looks)}];" if looks else ";")


def _anchor(name: str, block: Block, *, last: bool) -> str:
    """Return a node inside a cluster that an edge can lead to, or from: of its runs the first or the last one."""
    while is_cluster(block):
        if block.cells:
            return f"{name}c{len(block.cells) // 2}"
        index = next(index for index, inner in enumerate(block.inner) if inner.blocks)
        blocks = block.inner[index].blocks
        number = len(blocks) - 1 if last else 0
        block, name = blocks[number], f"{name}i{index}n{number}"
    return name
