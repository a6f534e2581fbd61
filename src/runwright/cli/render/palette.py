"""One look for every state: colours for light and dark backgrounds, a terminal colour and a mark."""

from collections.abc import Mapping

from msgspec import Struct

from runwright.core.states import RunState, TaskState


class Tone(Struct, frozen=True):
    """How a state is shown.

    Attributes:
        light: Colour on a light background, ``#rrggbb``; at least 4.5 : 1 against white.
        dark: Colour on a dark background, ``#rrggbb``; at least 4.5 : 1 against `DARK.paper`.
        terminal: Name of a terminal colour that `rich` and `ansi` know.
        mark: One character for a terminal that speaks UTF-8.
        plain: The same in ASCII.
    """

    light: str
    dark: str
    terminal: str
    mark: str
    plain: str


class Scheme(Struct, frozen=True):
    """Colours that do not depend on a state, for one background; all ``#rrggbb``."""

    paper: str
    card: str
    ink: str
    muted: str
    faint: str
    line: str
    accent: str


LIGHT = Scheme(
    paper="#f7f8fb",
    card="#ffffff",
    ink="#171c28",
    muted="#5b6577",
    faint="#e4e8ef",
    line="#b4bdcc",
    accent="#6d3fe0",
)
DARK = Scheme(
    paper="#10141c",
    card="#1a202c",
    ink="#e9edf5",
    muted="#98a3b8",
    faint="#28303f",
    line="#4b566b",
    accent="#a98bff",
)

PENDING = Tone("#5f6b80", "#8f9bb0", "bright_black", "○", ".")
RUNNING = Tone("#1d63d8", "#6ba4ff", "blue", "◐", ">")
SUCCEEDED = Tone("#13795b", "#3ecf9a", "green", "✔", "+")
FAILED = Tone("#c8283f", "#ff7284", "red", "✘", "x")
SKIPPED = Tone("#4b7285", "#7fb0c4", "cyan", "↷", "-")
CANCELLED = Tone("#925d0a", "#e3b04b", "yellow", "⊘", "!")

TONES: Mapping[TaskState | RunState, Tone] = {
    TaskState.PENDING: PENDING,
    TaskState.RUNNING: RUNNING,
    TaskState.SUCCEEDED: SUCCEEDED,
    TaskState.FAILED: FAILED,
    TaskState.SKIPPED: SKIPPED,
    TaskState.CANCELLED: CANCELLED,
    RunState.INTERRUPTED: CANCELLED,
}
"""By state; a `RunState` is found too, because it equals the task's state of the same name."""

ANSI: Mapping[str, str] = {
    "bright_black": "90",
    "blue": "34",
    "green": "32",
    "red": "31",
    "cyan": "36",
    "yellow": "33",
    "magenta": "35",
    "bold": "1",
    "dim": "2",
}
"""Parameters of the escape sequence by terminal colour; `magenta` is the critical path."""


def tone(state: TaskState | RunState) -> Tone:
    """Return how a state of a task or of a run is shown."""
    return TONES[state]


def mark(state: TaskState | RunState, *, plain: bool = False) -> str:
    """Return the one-character mark of a state, in ASCII if `plain`."""
    found = TONES[state]
    return found.plain if plain else found.mark


def ansi(text: str, colour: str) -> str:
    """Return text in a terminal colour (a key of `ANSI`)."""
    return f"\x1b[{ANSI[colour]}m{text}\x1b[0m"
