"""Runwright: one engine for workflows, plans, goals and jobs.

The public names are imported on first use, so that ``import runwright`` stays cheap.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from runwright.core.errors import (
        ConflictError as ConflictError,
    )
    from runwright.core.errors import (
        DefinitionError as DefinitionError,
    )
    from runwright.core.errors import (
        ExecutionError as ExecutionError,
    )
    from runwright.core.errors import (
        InternalError as InternalError,
    )
    from runwright.core.errors import (
        RunwrightError as RunwrightError,
    )
    from runwright.core.errors import (
        StoreError as StoreError,
    )
    from runwright.core.task import Result as Result
    from runwright.core.task import Task as Task
    from runwright.ports.executor import Executor as Executor
    from runwright.ports.executor import NoSessions as NoSessions
    from runwright.ports.executor import Session as Session

__version__ = "0.1.0"

_HOMES = {
    "ConflictError": "runwright.core.errors",
    "DefinitionError": "runwright.core.errors",
    "ExecutionError": "runwright.core.errors",
    "InternalError": "runwright.core.errors",
    "RunwrightError": "runwright.core.errors",
    "StoreError": "runwright.core.errors",
    "Result": "runwright.core.task",
    "Task": "runwright.core.task",
    "Executor": "runwright.ports.executor",
    "NoSessions": "runwright.ports.executor",
    "Session": "runwright.ports.executor",
}

__all__ = ["__version__", *sorted(_HOMES)]  # pyright: ignore[reportUnsupportedDunderAll]


def __getattr__(name: str) -> Any:
    """Import a public name from its home on first use."""
    home = _HOMES.get(name)
    if home is None:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = getattr(import_module(home), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted([*globals(), *_HOMES])
