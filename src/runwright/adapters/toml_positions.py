"""Where in the text of a TOML file each key and value stands; asked only once something is wrong."""

import re
from collections.abc import Mapping

from msgspec import Struct

Path = tuple[str | int, ...]

_BLANK = re.compile(r"(?:[ \t\r\n]+|#[^\n]*)*")
_SPACE = re.compile(r"[ \t]*")
_BARE_KEY = re.compile(r"[A-Za-z0-9_-]+", re.ASCII)
_SCALAR = re.compile(r"[^,\]}#\n]*")
_STRING = re.compile(
    r"\"\"\"(?:\\.|[^\\])*?\"\"\"(?!\")"
    r"|'''.*?'''(?!')"
    r"|\"(?:\\.|[^\"\\\n])*\""
    r"|'[^'\n]*'",
    re.DOTALL,
)
_ESCAPE = re.compile(r"\\(?:u[0-9A-Fa-f]{4}|U[0-9A-Fa-f]{8}|x[0-9A-Fa-f]{2}|[ \t]*\n[ \t\n]*|.)", re.DOTALL)


class Spot(Struct, frozen=True):
    """Offsets of a key and of its value; both the same for an element of an array."""

    key: int
    value: int


def scan(text: str) -> dict[Path, Spot]:
    """Return where every key and every element of an array stands in a text that is valid TOML."""
    return _Scanner(text).scan()


def locate(text: str, spots: Mapping[Path, Spot], path: Path, offset: int | None) -> int:
    """Return the offset of what a problem's path means; of the nearest thing around it if it is not in the text."""
    spot = spots.get(path)
    if spot is None and path and isinstance(path[-1], int):
        path = path[:-1]
        spot = spots.get(path)
    if spot is None:
        while path and spot is None:
            path = path[:-1]
            spot = spots.get(path)
        return spot.key if spot else 0
    if offset is None or not text.startswith(("'", '"'), spot.value):
        return spot.key
    return offset_in_string(text, spot.value, offset)


def offset_in_string(text: str, start: int, offset: int) -> int:
    """Return where the character number `offset` of a string's value stands, the string starting at `start`."""
    quote = text[start]
    if not text.startswith(quote * 3, start):
        at, escapes = start + 1, quote == '"'
    else:
        at, escapes = start + 3, quote == '"'
        at += 1 if text.startswith("\n", at) else 0
    while offset > 0 or (escapes and _continuation(text, at)):
        step = _ESCAPE.match(text, at) if escapes else None
        if step is None:
            at, offset = at + 1, offset - 1
        else:
            at = step.end()
            offset -= 0 if _is_continuation(step[0]) else 1
    return at


def _continuation(text: str, at: int) -> bool:
    found = _ESCAPE.match(text, at)
    return found is not None and _is_continuation(found[0])


def _is_continuation(escape: str) -> bool:
    return len(escape) > 1 and escape[1] in " \t\n"


class _Scanner:
    def __init__(self, text: str) -> None:
        self.text = text
        self.spots: dict[Path, Spot] = {}
        self.counts: dict[Path, int] = {}

    def scan(self) -> dict[Path, Spot]:
        table: Path = ()
        at = self._blank(0)
        while at < len(self.text):
            if self.text[at] == "[":
                table, at = self._header(at)
            else:
                at = self._pair(at, table)
            at = self._blank(at)
        return self.spots

    def _blank(self, at: int) -> int:
        found = _BLANK.match(self.text, at)
        assert found is not None
        return found.end()

    def _space(self, at: int) -> int:
        found = _SPACE.match(self.text, at)
        assert found is not None
        return found.end()

    def _header(self, at: int) -> tuple[Path, int]:
        brackets = 2 if self.text.startswith("[[", at) else 1
        parts, at = self._key(at + brackets)
        path: Path = ()
        for number, (part, start) in enumerate(parts, 1):
            path = (*path, part)
            self.spots.setdefault(path, Spot(start, start))
            if number == len(parts) and brackets == 2:
                self.counts[path] = self.counts.get(path, -1) + 1
            if path in self.counts:
                path = (*path, self.counts[path])
                self.spots.setdefault(path, Spot(start, start))
        return path, at + brackets

    def _key(self, at: int) -> tuple[list[tuple[str, int]], int]:
        parts: list[tuple[str, int]] = []
        while True:
            at = self._space(at)
            found = _BARE_KEY.match(self.text, at) or _STRING.match(self.text, at)
            if found is None:
                return parts, at + 1
            parts.append((_key_text(found[0]), at))
            at = self._space(found.end())
            if self.text[at : at + 1] != ".":
                return parts, at
            at += 1

    def _pair(self, at: int, table: Path) -> int:
        parts, at = self._key(at)
        path = table
        value = self._blank(at + 1)
        for number, (part, start) in enumerate(parts, 1):
            path = (*path, part)
            self.spots.setdefault(path, Spot(start, value if number == len(parts) else start))
        return self._value(value, path)

    def _value(self, at: int, path: Path) -> int:
        first = self.text[at : at + 1]
        if first == "[":
            return self._array(at + 1, path)
        if first == "{":
            return self._inline_table(at + 1, path)
        found = (_STRING if first in ("'", '"') else _SCALAR).match(self.text, at)
        return found.end() if found else at + 1

    def _array(self, at: int, path: Path) -> int:
        index = 0
        at = self._blank(at)
        while at < len(self.text) and self.text[at] != "]":
            self.spots[(*path, index)] = Spot(at, at)
            at = self._comma(self._value(at, (*path, index)))
            index += 1
        return at + 1

    def _inline_table(self, at: int, path: Path) -> int:
        at = self._blank(at)
        while at < len(self.text) and self.text[at] != "}":
            at = self._comma(self._pair(at, path))
        return at + 1

    def _comma(self, at: int) -> int:
        at = self._blank(at)
        return self._blank(at + 1) if self.text[at : at + 1] == "," else at


def _key_text(token: str) -> str:
    if token[0] == "'":
        return token[1:-1]
    if token[0] != '"':
        return token
    import rtoml  # noqa: PLC0415 - already loaded by the reader of the file

    return str(rtoml.loads(f"key = {token}")["key"])
