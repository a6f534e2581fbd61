"""Escape sequences in the output of tasks: colours may pass to a terminal, nothing else may."""

import re

from runwright.cli.render.terminal import clean

_SEQUENCE = re.compile(
    r"\x1b\[[0-?]*[ -/]*[@-~]"  # control sequences: colours, cursor movements, erasing
    r"|\x1b[\]PX^_][^\x07\x1b]*(?:\x07|\x1b\\)?"  # strings: titles, links, clipboard
    r"|\x1b[ -/]*[0-~]"  # two-character escapes
)
_COLOUR = re.compile(r"\x1b\[[0-9;:]*m")
RESET = "\x1b[0m"


def without_escapes(text: str) -> str:
    """Return one line of text without escape sequences, other control characters written out."""
    return _plain(_SEQUENCE.sub("", text))


def only_colours(text: str) -> str:
    """Return one line of text whose colours are kept and closed at its end, everything else made harmless."""
    parts: list[str] = []
    last = 0
    coloured = False
    for found in _SEQUENCE.finditer(text):
        parts.append(_plain(text[last : found.start()]))
        if _COLOUR.fullmatch(found[0]):
            parts.append(found[0])
            coloured = True
        last = found.end()
    parts.append(_plain(text[last:]))
    return "".join(parts) + (RESET if coloured else "")


def _plain(text: str) -> str:
    """Make one line harmless; of what was overwritten after a carriage return only the last state is shown."""
    text = text.removesuffix("\r").rpartition("\r")[2]
    return clean(text.expandtabs(8))
