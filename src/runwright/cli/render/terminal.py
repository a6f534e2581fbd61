"""A stream to write to, and what it can show: colour, width, marks; nothing raw from outside reaches a terminal."""

import os
from collections.abc import Iterable, Mapping
from typing import Any, TextIO

STYLES: Mapping[str, str] = {
    "good": "32",
    "bad": "31",
    "warn": "33",
    "live": "36",
    "odd": "35",
    "dim": "2",
    "strong": "1",
}

STATE_STYLES: Mapping[str, str] = {
    "pending": "dim",
    "running": "live",
    "succeeded": "good",
    "failed": "bad",
    "skipped": "dim",
    "cancelled": "warn",
    "interrupted": "odd",
}

MARKS: Mapping[str, tuple[str, str]] = {
    "pending": ("·", "."),
    "running": ("→", ">"),
    "succeeded": ("✓", "+"),
    "failed": ("✗", "x"),
    "skipped": ("⊘", "-"),
    "cancelled": ("⊖", "-"),
    "interrupted": ("↯", "!"),
    "start": ("▶", ">"),
    "end": ("■", "#"),
    "retry": ("↻", "~"),
    "undo": ("↺", "<"),
    "warning": ("!", "!"),
    "bar": ("│", "|"),
    "ellipsis": ("…", "..."),
    "arrow": ("→", "->"),
    "dot": ("·", "-"),
    "within": ("›", ">"),
}


class Out:
    """A text stream with what it can show.

    Attributes:
        is_terminal: True if a person looks at it.
        ansi: True if lines on it can be drawn over.
        colour: True if ANSI colours may be used.
        unicode: True if its encoding has our marks.
        width: Columns of the terminal; 0 where lines may be as long as they like.
    """

    def __init__(
        self, stream: TextIO, *, no_color: bool = False, environ: Mapping[str, str] = os.environ
    ) -> None:
        self.stream = stream
        self.is_terminal = _is_terminal(stream)
        plain = no_color or bool(environ.get("NO_COLOR"))
        self.ansi = self.is_terminal and environ.get("TERM", "dumb") != "dumb"
        self.colour = self.ansi and not plain
        self.unicode = _has_marks(stream)
        self.width = _columns(stream, environ) if self.is_terminal else 0
        reconfigure = getattr(stream, "reconfigure", None)
        if reconfigure is not None:
            reconfigure(errors="backslashreplace")

    def write(self, text: str) -> None:
        """Write text as it is."""
        self.stream.write(text)

    def line(self, text: str = "") -> None:
        """Write one line."""
        self.stream.write(text + "\n")

    def lines(self, texts: Iterable[str]) -> None:
        """Write several lines."""
        for text in texts:
            self.stream.write(text + "\n")

    def json(self, value: Any) -> None:
        """Write plain data or records as indented JSON."""
        import msgspec  # noqa: PLC0415 - keeps this module free of imports

        self.line(msgspec.json.format(msgspec.json.encode(value), indent=2).decode())

    def narrowed(self, columns: int) -> "Out":
        """Return the same stream with so many columns fewer, for lines that are indented; 20 are left at least."""
        other = object.__new__(Out)
        other.__dict__.update(self.__dict__)
        other.width = max(20, self.width - columns) if self.width else 0
        return other

    def flush(self) -> None:
        """Hand everything to the system.

        Raises:
            BrokenPipeError: If the reader has gone.
        """
        self.stream.flush()

    def paint(self, text: str, style: str) -> str:
        """Return `text` in a style of `STYLES`, if colours may be used."""
        if not self.colour or not style or not text:
            return text
        return f"\x1b[{STYLES[style]}m{text}\x1b[0m"

    def state(self, state: str) -> str:
        """Return a state in its colour."""
        return self.paint(state, STATE_STYLES.get(state, ""))

    def mark(self, name: str) -> str:
        """Return a mark of `MARKS`, in ASCII if the stream has nothing better."""
        return MARKS[name][0 if self.unicode else 1]

    def state_mark(self, state: str) -> str:
        """Return the mark of a state in its colour."""
        return self.paint(self.mark(state), STATE_STYLES[state])

    def clean(self, text: str) -> str:
        """Return text from outside as one line that can't drive the terminal."""
        return clean(text)

    def clean_lines(self, text: str) -> str:
        """Return text from outside with its line ends kept and everything else made harmless."""
        return "\n".join(clean(part) for part in text.split("\n"))


def clean(text: str) -> str:
    """Return `text` with control, bidirectional and other invisible characters written as escapes."""
    if text.isprintable():
        return text
    return "".join(ch if _harmless(ch) else _escape(ch) for ch in text)


def _harmless(ch: str) -> bool:
    if ch.isprintable():
        return True
    from unicodedata import category  # noqa: PLC0415 - only for unusual text

    return category(ch) in {"Zs", "Zl", "Zp"} and ch not in "\u2028\u2029"


def _escape(ch: str) -> str:
    return ch.encode("unicode_escape", "backslashreplace").decode("ascii")


def cell_width(text: str) -> int:
    """Return how many columns of a terminal `text` takes; it must be clean and without colours."""
    if text.isascii():
        return len(text)
    from unicodedata import combining, east_asian_width  # noqa: PLC0415 - only for text beyond ASCII

    return sum(0 if combining(ch) else 2 if east_asian_width(ch) in "WF" else 1 for ch in text)


def shorten(text: str, width: int, ellipsis: str = "…") -> str:
    """Return `text` cut to at most `width` columns, the cut marked; `width` 0 means no limit."""
    if width <= 0 or cell_width(text) <= width:
        return text
    room = max(0, width - len(ellipsis))
    kept = text[:room]
    while cell_width(kept) > room:
        kept = kept[:-1]
    return (kept + ellipsis)[:width]


def _is_terminal(stream: TextIO) -> bool:
    try:
        return stream.isatty()
    except (AttributeError, ValueError):
        return False


def _has_marks(stream: TextIO) -> bool:
    try:
        "✓▶■…│".encode(getattr(stream, "encoding", None) or "ascii")
    except (UnicodeEncodeError, LookupError):
        return False
    return True


def _columns(stream: TextIO, environ: Mapping[str, str]) -> int:
    try:
        return int(environ.get("COLUMNS") or 0) or os.get_terminal_size(stream.fileno()).columns or 80
    except (OSError, ValueError):
        return 80
