"""A picture as a Mermaid flow chart, for README files and wikis."""

import re
from collections.abc import Iterator

from runwright.cli.render.facts import brief, inner_title
from runwright.cli.render.palette import LIGHT, TONES
from runwright.cli.render.picture import (
    Block,
    Edge,
    Kind,
    Limits,
    Picture,
    everything_in,
    is_cluster,
    whole_tally,
)
from runwright.cli.render.terminal import clean
from runwright.cli.render.times import duration

LIMITS = Limits(fold=6, cells=24, width=24, levels=40, blocks=200, edges=480, depth=3, inner=12)
"""Mermaid refuses more than 500 edges and, unless it is told otherwise, more than 50,000 characters."""

_SAFE = re.compile(r"[^\w \-.,:=/·×]|_")  # noqa: RUF001


def escape(text: str) -> str:
    """Return text for a quoted label: everything that Mermaid or Markdown might read as more becomes an entity."""
    return _SAFE.sub(lambda found: f"#{ord(found.group())};", clean(text))


def render(picture: Picture) -> Iterator[str]:
    """Yield the lines of the chart."""
    yield f"%% {escape(picture.title)}"
    for note in picture.notes:
        yield f"%% {escape(note)}"
    yield "flowchart LR"
    yield from _body(picture, "n", "  ")
    yield from _styles(picture)


def _body(picture: Picture, name: str, lead: str) -> Iterator[str]:
    """Yield blocks and edges; the names of blocks begin with `name`."""
    for number, block in enumerate(picture.blocks):
        yield from (lead + line for line in _block(f"{name}{number}", block, picture))
    for edge in picture.edges:
        yield lead + _edge(edge, name)


def _block(name: str, block: Block, picture: Picture) -> Iterator[str]:
    text = _label(block, picture)
    if is_cluster(block):
        yield f'subgraph {name}["{text}"]'
        for index, cell in enumerate(block.cells):
            after = (
                duration(cell.measure.seconds) if cell.measure and cell.measure.seconds is not None else ""
            )
            words = escape(f"{cell.label} · {after}" if after else cell.label)
            kind = f":::{cell.measure.state}" if cell.measure else ""
            yield f'  {name}c{index}["{words}"]{kind}'
        for index, inner in enumerate(block.inner):
            yield from _inner(f"{name}i{index}", inner)
        yield "end"
        return
    left, right = {Kind.MATRIX: ("[[", "]]"), Kind.HANDLER: ("{{", "}}")}.get(block.kind, ("(", ")"))
    kind = (
        f":::{block.state}" if block.state is not None else ":::handler" if block.kind is Kind.HANDLER else ""
    )
    yield f'{name}{left}"{text}"{right}{kind}'


def _inner(name: str, picture: Picture) -> Iterator[str]:
    if picture.blocks:
        yield f'  subgraph {name}["{escape(inner_title(picture))}"]'
        yield from _body(picture, name + "n", "    ")
        yield "  end"


def _label(block: Block, picture: Picture) -> str:
    lines = [block.label, brief(block)]
    if picture.wishes.detail:
        lines += [f"{name}: {value}" for name, value in block.facts]
    return "<br/>".join(escape(line) for line in lines if line)


def _edge(edge: Edge, name: str) -> str:
    arrow = "-.->" if edge.failure else "==>" if edge.critical else "-->"
    cell = f"c{edge.cell}" if edge.cell >= 0 else ""
    return f"{name}{edge.source}{cell} {arrow} {name}{edge.target}"


def _styles(picture: Picture) -> Iterator[str]:
    for state in whole_tally(picture):
        colour = TONES[state].light
        yield f"  classDef {state} fill:{LIGHT.card},stroke:{colour},color:{colour},stroke-width:2px"
    if any(block.kind is Kind.HANDLER for one in everything_in(picture) for block in one.blocks):
        yield f"  classDef handler stroke:{TONES['failed'].light},stroke-dasharray:5 4"
