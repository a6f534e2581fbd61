"""What every drawing in SVG is made of: text that is safe, its style sheet, state marks."""

from collections.abc import Iterable
from html import escape

from runwright.cli.render.palette import DARK, LIGHT, TONES, Scheme
from runwright.cli.render.terminal import clean

FACE = "Inter,ui-sans-serif,system-ui,-apple-system,'Segoe UI',Roboto,'Helvetica Neue','Noto Sans',sans-serif"
MONO = "ui-monospace,'SF Mono','Cascadia Mono','JetBrains Mono',Menlo,Consolas,'DejaVu Sans Mono',monospace"

GLYPHS = {
    "pending": "",
    "running": "M-2.2-3.4 3.6 0-2.2 3.4Z",
    "succeeded": "M-3.6.2-1 2.9 3.8-2.7",
    "failed": "M-2.8-2.8 2.8 2.8M2.8-2.8-2.8 2.8",
    "skipped": "M-3.6 0H3.4M.8-2.8 3.6 0 .8 2.8",
    "cancelled": "M-3.4 0H3.4",
    "interrupted": "M.8-4-2 .6H2L-.8 4",
}
"""Paths of the marks inside a circle of radius 8 around 0, 0; stroked, `running` filled."""


def xml(text: str) -> str:
    """Return text that is safe inside an element and inside a quoted attribute."""
    return escape(clean(text), quote=True)


def number(value: float) -> str:
    """Return a length as short as it can be written to a tenth of a pixel."""
    return f"{value:.1f}".removesuffix(".0")


def style() -> str:
    """Return the style sheet shared by all drawings: light by default, dark where the reader prefers it."""
    return (
        f"text{{font-family:{FACE};font-size:13px}}.mono{{font-family:{MONO}}}"
        ".h1{font-size:20px;font-weight:650;letter-spacing:-.2px}.sub{font-size:12.5px}.small{font-size:11px}"
        ".label{font-weight:600}.num{font-variant-numeric:tabular-nums}.end{text-anchor:end}.mid{text-anchor:middle}"
        ".edge{fill:none;stroke-width:1.4}.edge.crit{stroke-width:2.4}"
        ".edge.fail,.dashed{stroke-dasharray:5 4}.card{stroke-width:1}.card.crit{stroke-width:2}"
        ".glyph{fill:none;stroke-width:1.8;stroke-linecap:round;stroke-linejoin:round}"
        + _colours(LIGHT, dark=False)
        + "@media(prefers-color-scheme:dark){"
        + _colours(DARK, dark=True)
        + "}"
    )


def _colours(scheme: Scheme, *, dark: bool) -> str:
    rules = [
        f".paper{{fill:{scheme.paper}}}.ink{{fill:{scheme.ink}}}.muted{{fill:{scheme.muted}}}",
        f".card{{fill:{scheme.card};stroke:{scheme.line}}}.faint{{fill:{scheme.faint}}}",
        f".grid{{stroke:{scheme.faint}}}.edge{{stroke:{scheme.line}}}.tip{{fill:{scheme.line}}}",
        f".glyph{{stroke:{scheme.card}}}.glyph.solid{{fill:{scheme.card}}}",
        f".crit{{stroke:{scheme.accent}}}.tip.crit,.accent{{fill:{scheme.accent};stroke:none}}",
        f".more{{fill:{scheme.paper};stroke:{scheme.line}}}.hold{{fill:{scheme.paper}}}",
    ]
    for state, tone in TONES.items():
        colour = tone.dark if dark else tone.light
        rules.append(f".f-{state}{{fill:{colour}}}.s-{state}{{stroke:{colour}}}")
    rules.append(f".edge.fail{{stroke:{TONES['failed'].dark if dark else TONES['failed'].light}}}")
    return "".join(rules)


def badge(state: str, x: float, y: float, scale: float = 1.0) -> str:
    """Return the round mark of a state around a point."""
    size = f" scale({number(scale)})" if scale != 1 else ""
    solid = " solid" if state == "running" else ""
    inside = f'<path class="glyph{solid}" d="{GLYPHS[state]}"/>' if GLYPHS[state] else ""
    ring = '<circle class="card" r="4.5" stroke="none"/>' if state == "pending" else ""
    return (
        f'<g transform="translate({number(x)} {number(y)}){size}">'
        f'<circle class="f-{state}" r="8"/>{ring}{inside}</g>'
    )


def text(words: str, x: float, y: float, classes: str) -> str:
    """Return a line of text, its base line at `y`."""
    return f'<text x="{number(x)}" y="{number(y)}" class="{classes}">{xml(words)}</text>'


def document(width: float, height: float, title: str, body: Iterable[str]) -> str:
    """Return a complete drawing on paper of that size."""
    size = f'width="{number(width)}" height="{number(height)}"'
    return "\n".join(
        [
            f'<svg xmlns="http://www.w3.org/2000/svg" {size} viewBox="0 0 {number(width)} {number(height)}" role="img">',
            f"<title>{xml(title)}</title>",
            f"<style>{style()}</style>",
            f'<rect class="paper" {size}/>',
            *body,
            "</svg>",
            "",
        ]
    )
