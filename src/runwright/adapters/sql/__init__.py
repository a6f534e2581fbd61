"""The SQL of the stores: for each vendor a directory with numbered migrations and files of named queries."""

from pathlib import Path
from typing import Literal

Vendor = Literal["sqlite", "postgres"]

_HERE = Path(__file__).parent
_MARK = "-- name: "


def migrations(vendor: Vendor) -> list[tuple[int, str, str]]:
    """Return number, name and text of every migration, in order."""
    names = sorted(path.name for path in (_HERE / vendor).glob("[0-9]*.sql"))
    return [(int(name[:4]), name[:-4], _read(vendor, name)) for name in names]


def queries(vendor: Vendor, name: str) -> dict[str, str]:
    """Return the queries of a file by name; each begins with a line ``-- name: NAME``."""
    found = {}
    for part in _read(vendor, name).split(_MARK)[1:]:
        title, _, text = part.partition("\n")
        found[title.strip()] = text.strip()
    return found


def _read(vendor: Vendor, name: str) -> str:
    return (_HERE / vendor / name).read_text(encoding="utf-8")
