"""A picture in the DOT language of Graphviz."""

from collections.abc import Iterator, Mapping

from runwright.cli.render.facts import brief, heading
from runwright.cli.render.palette import LIGHT, TONES
from runwright.cli.render.picture import Block, Cell, Edge, Kind, Limits, Picture
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
    for number, block in enumerate(picture.blocks):
        yield from _block(number, block, picture)
    for edge in picture.edges:
        yield _edge(edge, picture)
    yield "}"


def _block(number: int, block: Block, picture: Picture) -> Iterator[str]:
    lines = [line for line in (block.label, brief(block)) if line]
    if picture.wishes.detail:
        lines += [f"{name}: {value}" for name, value in block.facts]
    looks = {"label": quote(*lines), **_looks(block.state, critical=block.critical)}
    if block.cells:
        yield f"  subgraph cluster_n{number} {{"
        yield "    graph [style=rounded, labelloc=t, " + _list(looks) + "];"
        yield from (_cell(f"n{number}c{index}", cell) for index, cell in enumerate(block.cells))
        yield "  }"
        return
    if block.kind is Kind.HANDLER:
        looks["style"] = '"rounded,filled,dashed"'
    elif block.kind is Kind.MATRIX:
        looks["peripheries"] = "2"
    yield f"  n{number} [{_list(looks)}];"


def _cell(name: str, cell: Cell) -> str:
    measure = cell.measure
    after = duration(measure.seconds) if measure and measure.seconds is not None else ""
    looks = _looks(measure.state if measure else None, critical=cell.critical)
    return f"    {name} [{_list({'label': quote(*filter(None, (cell.label, after))), **looks})}];"


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


def _edge(edge: Edge, picture: Picture) -> str:
    looks = {}
    if edge.critical:
        looks = {"color": f'"{LIGHT.accent}"', "penwidth": "2.5"}
    if edge.failure:
        looks = {"color": f'"{TONES["failed"].light}"', "style": "dashed", "constraint": "false"}
    start, end = f"n{edge.source}", f"n{edge.target}"
    source, target = picture.blocks[edge.source], picture.blocks[edge.target]
    if edge.cell >= 0:
        start += f"c{edge.cell}"
    elif source.cells:
        looks["ltail"] = f"cluster_{start}"
        start += f"c{len(source.cells) // 2}"
    if target.cells:
        looks["lhead"] = f"cluster_{end}"
        end += f"c{len(target.cells) // 2}"
    return f"  {start} -> {end}" + (f" [{_list(looks)}];" if looks else ";")
