"""Public fakes and conformance checks, for tests of what is built on Runwright."""

from importlib import import_module

_HOMES = {
    "CHECKS": "conformance",
    "FakeClock": "system",
    "FakeProcesses": "processes",
    "FakeWorkspaces": "system",
    "LocalSession": "sessions",
    "MemoryCache": "caches",
    "MemoryLogs": "processes",
    "MemoryPlaces": "job_places",
    "MemorySource": "job_sources",
    "MemoryStore": "stores",
    "MemoryValues": "values",
    "NotConforming": "subject",
    "SameLoop": "system",
    "Script": "processes",
    "Strict": "strict",
    "Subject": "subject",
    "cancelled_at": "cancelling",
    "check_executor": "conformance",
    "run_check": "conformance",
}

__all__ = [
    "CHECKS",
    "FakeClock",
    "FakeProcesses",
    "FakeWorkspaces",
    "LocalSession",
    "MemoryCache",
    "MemoryLogs",
    "MemoryPlaces",
    "MemorySource",
    "MemoryStore",
    "MemoryValues",
    "NotConforming",
    "SameLoop",
    "Script",
    "Strict",
    "Subject",
    "cancelled_at",
    "check_executor",
    "run_check",
]


def __getattr__(name: str) -> object:
    """Import a name when it is first asked for."""
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{_HOMES[name]}"), name)
