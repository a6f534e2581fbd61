"""Patterns for names of files: ``*`` and ``?`` stay in one directory, ``**`` stands for any number of them.

Names that begin with a dot are met only by patterns that say the dot. A range of characters is written ``[a-z]``, what
must not be there ``[!a-z]``; ``[*]`` stands for the star itself.
"""

import re
from functools import lru_cache

from runwright.core.pattern import pattern

_SPECIAL = pattern(r"[*?\[]")
_PART = pattern(r"\*+|\?|\[[!^]?\]?[^\]/]*\]|[^*?\[]+|\[")
_ANY = r"(?:(?!\.)[^/]+/)*"


def has_wildcard(text: str) -> bool:
    """Tell whether a pattern can stand for more than the name that it is."""
    return _SPECIAL.search(text) is not None


def static_parent(text: str) -> str:
    """Return the directory in which everything is that a pattern stands for; empty for the top."""
    folders = text.split("/")[:-1]
    known = next((index for index, folder in enumerate(folders) if has_wildcard(folder)), len(folders))
    return "/".join(folders[:known])


def matches(text: str, path: str) -> bool:
    """Tell whether a pattern stands for a path; both are relative, with slashes."""
    return _compiled(text).fullmatch(path) is not None


@lru_cache(maxsize=256)
def _compiled(text: str) -> re.Pattern[str]:
    *folders, last = [part for part in text.split("/") if part not in ("", ".")]
    form = "".join(_ANY if folder == "**" else f"{_name(folder)}/" for folder in folders)
    form += f"{_ANY}(?!\\.)[^/]+" if last == "**" else _name(last)
    return re.compile(form, re.DOTALL)


def _name(text: str) -> str:
    """Return the form of one name."""
    form = "".join(map(_piece, _PART.findall(text)))
    return f"(?!\\.){form}" if text[:1] in ("*", "?", "[") else form


def _piece(text: str) -> str:
    if text[0] == "*":
        return "[^/]*"
    if text == "?":
        return "[^/]"
    if text[0] != "[" or len(text) == 1:
        return re.escape(text)
    inner = text[1:-1]
    negated = inner[:1] in ("!", "^")
    inner = (inner[1:] if negated else inner).replace("\\", r"\\").replace("[", r"\[").replace("]", r"\]")
    inner = inner.replace("^", r"\^").replace("&", r"\&").replace("~", r"\~").replace("|", r"\|")
    return f"[^/{inner}]" if negated else f"[{inner}]"
