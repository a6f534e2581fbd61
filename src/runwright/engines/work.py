"""What a run is made of."""

from typing import Any

from msgspec import Struct


class Work(Struct, frozen=True, kw_only=True):
    """A definition with where it came from.

    Attributes:
        definition: A `Workflow`, `PlanDefinition` or `GoalDefinition`.
        source: Text of the file it was read from; empty if it was made in code.
        path: Absolute path of that file; empty likewise.
    """

    definition: Any
    source: str = ""
    path: str = ""
