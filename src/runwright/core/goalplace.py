"""Where the actions of a goal stand: their round, and the ids under which they are recorded."""

from typing import Any

from blake3 import blake3
from msgspec import Struct

LONGEST_ID = 200
"""Longest id of an action, in characters; a longer one ends in a digest of the whole."""

_KEPT = LONGEST_ID - 17


class Place(Struct, frozen=True, gc=False):
    """An action in its round, or a round that is being planned.

    Attributes:
        round: From 1, over all resumes.
        id: Under which it is recorded and logged: ``round``, ``round.action``, ``round.action.child`` and so on.
        name: What people are shown.
        action: What is performed; None for the planning of a round.
        worker: Who works on it, from 0.
    """

    round: int
    id: str
    name: str
    action: Any = None
    worker: int = 0


class Ids:
    """The ids of one round; no two are the same."""

    def __init__(self, number: int) -> None:
        self.round = str(number)
        self._taken: set[str] = set()

    def take(self, parent: str, name: str) -> str:
        """Return the id of an action: below its parent's, with a number added where it would repeat."""
        wanted = f"{parent}.{printable(name)}"
        found, number = _cut(wanted), 1
        while found in self._taken:
            number += 1
            found = _cut(f"{wanted}#{number}")
        self._taken.add(found)
        return found


def printable(name: str) -> str:
    """Return a name in which a mark stands for each control character."""
    if name.isprintable():
        return name
    return "".join(char if char.isprintable() else "\N{REPLACEMENT CHARACTER}" for char in name)


def _cut(text: str) -> str:
    if len(text) <= LONGEST_ID:
        return text
    return f"{text[:_KEPT]}~{blake3(text.encode()).hexdigest()[:16]}"
