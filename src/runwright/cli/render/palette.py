"""Colours of every state and of everything else that is drawn, on a light and on a dark background.

What a terminal shows (style names and marks) is in `terminal`; `tone` brings both together.
"""

from collections.abc import Mapping

from msgspec import Struct

from runwright.cli.render.terminal import MARKS, STATE_STYLES


class Tone(Struct, frozen=True):
    """How a state is shown.

    Attributes:
        light: Colour on a light background, ``#rrggbb``; at least 4.5 : 1 against `LIGHT.card`.
        dark: Colour on a dark background, ``#rrggbb``; at least 4.5 : 1 against `DARK.card`.
        terminal: Name of a style in `terminal.STYLES`.
        mark: One character for people.
        plain: The same in ASCII.
    """

    light: str
    dark: str
    terminal: str
    mark: str
    plain: str


class Scheme(Struct, frozen=True):
    """Colours that depend on no state, for one background; all ``#rrggbb``.

    Attributes:
        paper: Behind everything.
        card: Behind the text of a box.
        ink: Text.
        muted: Lesser text; at least 4.5 : 1 against `paper` and `card`.
        faint: Grid lines and empty bars.
        line: Borders and edges.
        accent: The critical path.
    """

    paper: str
    card: str
    ink: str
    muted: str
    faint: str
    line: str
    accent: str


LIGHT = Scheme("#f7f8fb", "#ffffff", "#171c28", "#5b6577", "#e6eaf1", "#b3bccb", "#7240e4")
DARK = Scheme("#10141c", "#1a202c", "#e9edf5", "#9aa5ba", "#262e3c", "#4d586e", "#b197ff")

_COLOURS: Mapping[str, tuple[str, str]] = {
    "pending": ("#667085", "#93a0b6"),
    "running": ("#1d63d8", "#6ba4ff"),
    "succeeded": ("#13795b", "#3ecf9a"),
    "failed": ("#c8283f", "#ff7a8b"),
    "skipped": ("#3f7186", "#86b9cd"),
    "cancelled": ("#94600c", "#e5b454"),
    "interrupted": ("#a1389a", "#e58be0"),
}

TONES: Mapping[str, Tone] = {
    state: Tone(*colours, STATE_STYLES[state], *MARKS[state]) for state, colours in _COLOURS.items()
}
"""By the text of a `RunState` or `TaskState`, which may itself be the key."""


def tone(state: str) -> Tone:
    """Return how a state of a task or of a run is shown."""
    return TONES[state]
