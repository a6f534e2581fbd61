"""The kinds of definition files, and how they are told apart."""

from collections.abc import Mapping
from enum import StrEnum
from typing import Any


class FileKind(StrEnum):
    """What a file defines; also the kind of the runs that come of it."""

    WORKFLOW = "workflow"
    PLAN = "plan"
    GOAL = "goal"

    @property
    def key(self) -> str:
        """The key that only files of this kind have at the top."""
        return _KEYS[self]

    @property
    def command(self) -> str:
        """The command that runs it."""
        return _COMMANDS[self]


_KEYS = {FileKind.PLAN: "steps", FileKind.WORKFLOW: "tasks", FileKind.GOAL: "plan"}
_COMMANDS = {FileKind.WORKFLOW: "run", FileKind.PLAN: "plan", FileKind.GOAL: "reconcile"}


def kind_of(data: Mapping[str, Any]) -> FileKind | None:
    """Return what the plain data of a file define; None if they have none of the keys that tell."""
    return next((kind for kind, key in _KEYS.items() if key in data), None)
