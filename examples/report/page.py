"""The page of report.toml: HTML with inline SVG, by the standard library alone."""

import csv
import unicodedata
from html import escape
from pathlib import Path

SHOWN, ROW, LEFT, WIDTH = 12, 26, 150, 720
STYLE = """
:root { color-scheme: light dark; --text: #1f2933; --faint: #6b7785; --bar: #2f7d6b; --page: #fff }
@media (prefers-color-scheme: dark) { :root { --text: #e4e7eb; --faint: #9aa5b1; --bar: #4fb39b; --page: #14181d } }
body { font: 15px/1.5 system-ui, sans-serif; color: var(--text); background: var(--page); max-width: 46rem;
  margin: 2rem auto; padding: 0 1rem }
svg { width: 100%; height: auto } svg text { font: 13px system-ui, sans-serif; fill: var(--text) }
svg .count, footer { fill: var(--faint); color: var(--faint) } svg rect { fill: var(--bar) }
"""
TITLES = {
    "script": "First words of their names",
    "category": "General categories",
    "width": "East Asian width",
}


def render(parts: str, rows: int, facts: list[str], target: str) -> str:
    """Write the page; returns its path."""
    charts = "".join(
        f"<h2>{title}</h2>\n{chart(read(Path(parts, f'by-{by}.csv')), title)}\n"
        for by, title in TITLES.items()
    )
    Path(target).write_text(
        f'<!DOCTYPE html>\n<html lang="en"><head><meta charset="utf-8"><title>Characters</title>\n'
        f"<style>{STYLE}</style></head><body>\n"
        f"<h1>{rows:,} characters</h1>\n<p>Unicode {unicodedata.unidata_version}, by name, category and width.</p>\n"
        f"{charts}<footer>{escape(' · '.join(facts))}</footer>\n</body></html>\n",
        "utf-8",
    )
    return target


def read(path: Path) -> list[tuple[str, int]]:
    with path.open(newline="", encoding="utf-8") as file:
        return [(name, int(count)) for name, count in list(csv.reader(file))[1:]]


def chart(groups: list[tuple[str, int]], title: str) -> str:
    """Draw the largest groups as bars, and the rest as one."""
    shown = groups[:SHOWN]
    rest = sum(count for _, count in groups[SHOWN:])
    if rest:
        shown = [*shown, (f"{len(groups) - SHOWN} more", rest)]
    most = max(count for _, count in shown)
    bars = "".join(bar(place, name, count, most) for place, (name, count) in enumerate(shown))
    return f'<svg viewBox="0 0 {WIDTH} {len(shown) * ROW}" role="img" aria-label="{title}">{bars}</svg>'


def bar(place: int, name: str, count: int, most: int) -> str:
    y, length = place * ROW, (WIDTH - LEFT - 80) * count / most
    return (
        f'<text x="{LEFT - 10}" y="{y + 17}" text-anchor="end">{escape(name)}</text>'
        f'<rect x="{LEFT}" y="{y + 3}" width="{length:.1f}" height="{ROW - 6}" rx="3"/>'
        f'<text class="count" x="{LEFT + length + 8:.1f}" y="{y + 17}">{count:,}</text>'
    )
