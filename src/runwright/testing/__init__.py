"""Public fakes, for tests of what is built on Runwright."""

from importlib import import_module

_HOMES = {
    "FakeProcesses": "processes",
    "MemoryLogs": "processes",
    "MemoryStore": "stores",
    "Script": "processes",
}

__all__ = ["FakeProcesses", "MemoryLogs", "MemoryStore", "Script"]


def __getattr__(name: str) -> object:
    """Import a fake when it is first asked for."""
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{_HOMES[name]}"), name)
