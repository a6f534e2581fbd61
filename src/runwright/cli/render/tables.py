"""Tables that fit their terminal."""

from collections.abc import Iterable, Iterator, Sequence

from msgspec import Struct

from runwright.cli.render.terminal import Out, cell_width, clean, shorten

GAP = "  "


class Column(Struct, frozen=True):
    """A column: its title, whether numbers stand right, and how far it may be cut when room is short.

    Attributes:
        least: Fewest columns it may shrink to; 0 means that it shrinks last.
        optional: Left out, the rightmost first, where the rest would not fit otherwise.
    """

    title: str
    right: bool = False
    least: int = 0
    optional: bool = False


class Cell(Struct, frozen=True):
    """Text from outside with the style to show it in."""

    text: str
    style: str = ""


def table(columns: Sequence[Column], rows: Iterable[Sequence[Cell | str]], out: Out) -> Iterator[str]:
    """Yield the lines of a table, title line first; cut to the width of `out` where it has one."""
    cells = [[_cell(value) for value in row] for row in rows]
    natural = _natural(columns, cells)
    shown = _shown(columns, natural, out.width)
    columns = [columns[number] for number in shown]
    widths = _fit(columns, [natural[number] for number in shown], out.width)
    titles = [Cell(column.title.upper(), "dim") for column in columns]
    for row in (titles, *([row[number] for number in shown] for row in cells)):
        yield _line(columns, row, widths, out)


def _cell(value: Cell | str) -> Cell:
    cell = value if isinstance(value, Cell) else Cell(value)
    return Cell(clean(cell.text), cell.style)


def _natural(columns: Sequence[Column], rows: Sequence[Sequence[Cell]]) -> list[int]:
    return [
        max([cell_width(column.title), *(cell_width(row[number].text) for row in rows)])
        for number, column in enumerate(columns)
    ]


def _shown(columns: Sequence[Column], widths: Sequence[int], room: int) -> list[int]:
    """Return the numbers of the columns to show: optional ones go until the others, shrunk, have room."""
    shown = list(range(len(columns)))
    while room and _total([min(widths[n], columns[n].least or widths[n]) for n in shown]) > room:
        optional = [n for n in shown if columns[n].optional]
        if not optional:
            break
        shown.remove(optional[-1])
    return shown


def _total(widths: Sequence[int]) -> int:
    return sum(widths) + len(GAP) * (len(widths) - 1)


def _fit(columns: Sequence[Column], widths: list[int], room: int) -> list[int]:
    """Take what is too much from the widest columns, those that may shrink before the others."""
    excess = _total(widths) - room if room else 0
    while excess > 0:
        able = [n for n, column in enumerate(columns) if column.least and widths[n] > column.least]
        widest = max(able or range(len(columns)), key=lambda n: widths[n])
        if widths[widest] <= 1:
            break
        widths[widest] -= 1
        excess -= 1
    return widths


def _line(columns: Sequence[Column], row: Sequence[Cell], widths: Sequence[int], out: Out) -> str:
    parts = []
    for column, cell, width in zip(columns, row, widths, strict=True):
        text = shorten(cell.text, width, out.mark("ellipsis")) if out.width else cell.text
        fill = " " * (width - cell_width(text))
        shown = out.paint(text, cell.style)
        parts.append(fill + shown if column.right else shown + fill)
    return GAP.join(parts).rstrip()
