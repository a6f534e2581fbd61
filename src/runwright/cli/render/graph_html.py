"""A picture as one HTML file that needs nothing else: pan, zoom, search, filter by state, details on hover.

Its content security policy allows no network and only the one script and the two style sheets that it carries, each
named by digest; so nothing in a workflow, whatever its names hold, can run.
"""

from base64 import b64encode
from hashlib import sha256
from pathlib import Path

from runwright.cli.render.facts import heading
from runwright.cli.render.graph_svg import render_bare
from runwright.cli.render.palette import DARK, LIGHT, TONES, Scheme
from runwright.cli.render.picture import Limits, Picture, whole_tally
from runwright.cli.render.svg_parts import style, xml

LIMITS = Limits(fold=12, cells=200, width=200, levels=300, blocks=3_000, edges=9_000)
_HERE = Path(__file__).parent


def render(picture: Picture) -> str:
    """Return the page as one document."""
    sheet = _variables() + (_HERE / "graph_page.css").read_text("utf-8")
    script = (_HERE / "graph_page.js").read_text("utf-8")
    return "\n".join(
        [
            "<!DOCTYPE html>",
            '<html lang="en"><head><meta charset="utf-8"/>',
            f'<meta http-equiv="Content-Security-Policy" content="{_policy(script, sheet)}"/>',
            '<meta name="viewport" content="width=device-width, initial-scale=1"/>',
            '<meta name="referrer" content="no-referrer"/>',
            f"<title>{xml(picture.title)}</title>",
            f"<style>{sheet}</style></head>",
            f"<body>{_header(picture)}",
            f'<main>{render_bare(picture)}<aside hidden="hidden"></aside></main>',
            f"<footer>{xml(' '.join(picture.notes))}</footer>",
            f"<script>{script}</script></body></html>",
            "",
        ]
    )


def _policy(script: str, sheet: str) -> str:
    return (
        f"default-src 'none'; script-src {_digest(script)}; style-src {_digest(sheet)} {_digest(style())}; "
        "base-uri 'none'; form-action 'none'"
    )


def _digest(source: str) -> str:
    return f"'sha256-{b64encode(sha256(source.encode()).digest()).decode()}'"


def _variables() -> str:
    """Return the palette as variables of the page's own style sheet."""
    return (
        f":root{{{_scheme(LIGHT)}{_tones(dark=False)}}}@media(prefers-color-scheme:dark){{:root{{{_scheme(DARK)}{_tones(dark=True)}}}}}\n"
        + "".join(f".d-{state}{{--dot:var(--{state})}}" for state in TONES)
    )


def _scheme(scheme: Scheme) -> str:
    return "".join(f"--{name}:{getattr(scheme, name)};" for name in scheme.__struct_fields__)


def _tones(*, dark: bool) -> str:
    return "".join(f"--{state}:{tone.dark if dark else tone.light};" for state, tone in TONES.items())


def _header(picture: Picture) -> str:
    chips = "".join(
        f'<button type="button" class="chip d-{state}" data-state="{state}" aria-pressed="true"><i></i>{count:,} {state}</button>'
        for state, count in whole_tally(picture).items()
    )
    about = [f"<h1>{xml(picture.title)}</h1>"]
    about += [f"<p>{xml(line)}</p>" for line in (picture.subtitle, _line(picture)) if line]
    return (
        f'<header><div class="about">{"".join(about)}</div><div class="tools">{chips}'
        '<input type="search" placeholder="Search ( / )" aria-label="Search tasks by name" autocomplete="off"/>'
        '<span id="found" role="status"></span>'
        '<button type="button" id="out" aria-label="Zoom out">&#8722;</button>'
        '<button type="button" id="in" aria-label="Zoom in">+</button>'
        '<button type="button" id="all">Whole graph</button></div></header>'
    )


def _line(picture: Picture) -> str:
    return f"{heading(picture)} · run {picture.run_id}" if picture.run_id else heading(picture)
