"""Words and figures as people read them, safe to show whatever they contain."""

import re
import unicodedata
from html import escape as _escape

_UNSAFE = re.compile(
    "[\x00-\x1f\x7f-\x9f\u00ad\u061c\u180e\u200b-\u200f\u2028-\u202e\u2060-\u206f\ufeff\ufff9-\uffff\ud800-\udfff\U000e0000-\U000e007f]"
)
_SHORT = {"\n": "\\n", "\r": "\\r", "\t": "\\t"}


def clean(text: str) -> str:
    r"""Return text on one line without anything that moves a cursor, turns the writing direction or can't be seen.

    Such characters become escapes (``\n``, ``\u202e``), so that two different names never look the same.
    """
    return _UNSAFE.sub(_visible, text)


def _visible(found: re.Match[str]) -> str:
    letter = found.group()
    code = ord(letter)
    return _SHORT.get(letter) or (f"\\x{code:02x}" if code < 256 else f"\\u{code:04x}")


def xml(text: str) -> str:
    """Return text for an element or a quoted attribute of XML or HTML."""
    return _escape(clean(text), quote=True)


def columns(text: str) -> int:
    """Return how many columns of a terminal a text takes."""
    return len(text) if text.isascii() else sum(_columns(letter) for letter in text)


def _columns(letter: str) -> int:
    if unicodedata.combining(letter):
        return 0
    return 2 if unicodedata.east_asian_width(letter) in "WF" else 1


def cut(text: str, width: int, more: str = "…") -> str:
    """Return text that takes at most `width` columns, its end replaced by `more` if it is longer."""
    if columns(text) <= width:
        return text
    room = width - columns(more)
    kept: list[str] = []
    for letter in text:
        room -= _columns(letter)
        if room < 0:
            break
        kept.append(letter)
    return "".join(kept) + more if width >= columns(more) else ""


def seconds_text(seconds: float) -> str:
    """Return a duration in two units at most: ``4 ms``, ``1.2 s``, ``3 min 20 s``, ``2 h 5 min``, ``3 d 4 h``."""
    if seconds < 0.9995:
        return f"{max(seconds, 0) * 1000:.0f} ms"
    if seconds < 59.95:
        return f"{seconds:.1f} s"
    whole = round(seconds)
    if whole < 3600:
        return _two(whole, 60, "min", "s")
    return _two(whole // 60, 60, "h", "min") if whole < 86400 else _two(whole // 3600, 24, "d", "h")


def _two(count: int, size: int, big: str, small: str) -> str:
    whole, rest = divmod(count, size)
    return f"{whole} {big} {rest} {small}" if rest else f"{whole} {big}"


def plural(count: int, word: str) -> str:
    """Return ``1 task``, ``12,000 tasks``."""
    return f"{count:,} {word}" if count == 1 else f"{count:,} {word}s"
