"""What a run is made of."""

from collections.abc import Callable, Mapping
from typing import Any

from msgspec import Struct, field


class Work(Struct, frozen=True, kw_only=True):
    """A definition with where it came from.

    Attributes:
        definition: A `Workflow`, `PlanDefinition` or `GoalDefinition`.
        source: Text of the file it was read from; empty if it was made in code.
        path: Absolute path of that file; for a workflow made in code ``module:name`` or ``/script.py:name``, by which
            it is found again, or empty.
        known: Functions of this process by the name that tasks call them by.
    """

    definition: Any
    source: str = ""
    path: str = ""
    known: Mapping[str, Callable[..., Any]] = field(default_factory=dict)
