"""A lighter start: libraries are imported without the parts that a run does not touch.

Of the time that one small run takes, importing asyncio and msgspec is the largest part, and about half of that goes
into modules that are never used. They are put in place as lazy modules, which load when somebody looks at them, so
nothing that a task, a plugin or a user does with them is different.

What a library takes from such a module as it is imported has a stand-in: a constant, or something that passes on to
the real thing. It gives way to the real thing when the module loads.
"""

import os
import sys
from _thread import RLock
from collections.abc import Callable, Iterable, Mapping
from importlib import import_module
from importlib.machinery import ModuleSpec, PathFinder
from importlib.util import find_spec, module_from_spec
from types import ModuleType
from typing import Any

_loading = RLock()


class LazyModule(ModuleType):
    """A module that has not been executed yet.

    The standard library's `LazyLoader` would execute it as soon as anybody imports it; this waits until somebody asks
    for a name in it.
    """

    def __getattr__(self, name: str) -> Any:
        if name == "__path__":  # asked for by every import; packages have it from the beginning
            raise AttributeError(name)
        complete(self)
        return ModuleType.__getattribute__(self, name)


def complete(module: ModuleType) -> None:
    """Load a module if it is lazy; a thread that asks while another one loads it waits until it is complete."""
    with _loading:
        if type(module) is LazyModule and "__loading__" not in module.__dict__:
            load(module)


def load(module: ModuleType) -> None:
    """Execute a lazy module; one that fails can be tried again."""
    spec = module.__spec__
    assert spec is not None
    assert spec.loader is not None
    module.__dict__["__loading__"] = True
    try:
        spec.loader.exec_module(module)
        module.__class__ = ModuleType
    finally:
        del module.__dict__["__loading__"]


class _AsyncioLogger:
    """Asyncio's logger, while nobody has loaded `logging`: then nobody can have asked for its debug messages."""

    __slots__ = ()

    @property
    def debug(self) -> Callable[..., None]:
        """The real method, or one that does nothing."""
        return _nothing if type(sys.modules["logging"]) is LazyModule else self.__getattr__("debug")

    def __getattr__(self, name: str) -> Any:
        return getattr(_real_logger(), name)

    def __setattr__(self, name: str, value: object) -> None:
        setattr(_real_logger(), name, value)


def _real_logger() -> object:
    return import_module("logging").getLogger("asyncio")


def _nothing(*_: object, **__: object) -> None:
    return None


def _forward(module: str, name: str) -> Callable[..., Any]:
    """Return a function that passes on to one of a module."""

    def forward(*args: Any, **options: Any) -> Any:
        real = import_module(module)
        complete(real)  # or it would give us ourselves
        return getattr(real, name)(*args, **options)

    return forward


def _system() -> str:
    return os.uname().sysname


RARELY_USED: Mapping[str, Mapping[str, object]] = {
    "asyncio.log": {"logger": _AsyncioLogger()},
    "asyncio.sslproto": {},
    "concurrent.futures": {
        "FIRST_COMPLETED": "FIRST_COMPLETED",
        "FIRST_EXCEPTION": "FIRST_EXCEPTION",
        "ALL_COMPLETED": "ALL_COMPLETED",
    },
    "inspect": {},
    "linecache": {},
    "logging": {"DEBUG": 10},
    "msgspec._json_schema": {
        "schema": _forward("msgspec._json_schema", "schema"),
        "schema_components": _forward("msgspec._json_schema", "schema_components"),
    },
    "msgspec.inspect": {},
    "msgspec.toml": {},
    "msgspec.yaml": {},
    "platform": {"system": _system},
    "ssl": {},
    "subprocess": {"PIPE": -1, "STDOUT": -2, "DEVNULL": -3},
    "textwrap": {},
    "urllib.parse": {"quote_from_bytes": _forward("urllib.parse", "quote_from_bytes")},
}
"""Modules that load late, with the stand-ins for what is taken from them before."""


def lighten() -> None:
    """Import asyncio and msgspec without what a run rarely uses; does nothing to what is loaded already."""
    if "asyncio" in sys.modules or "msgspec" in sys.modules:
        return
    lazy = [name for name, stand_ins in RARELY_USED.items() if _make_lazy(name, stand_ins)]
    _join_parents(lazy)
    import_module("asyncio")
    _import_msgspec()
    _join_parents(lazy)


def _join_parents(names: Iterable[str]) -> None:
    """Make modules attributes of their packages, as the import system does for those it loads itself."""
    for name in names:
        parent, _, child = name.rpartition(".")
        if parent in sys.modules:
            setattr(sys.modules[parent], child, sys.modules[name])


def _import_msgspec() -> None:
    """Import it without `typing_extensions`, which it takes nothing from that Python 3.11 does not have."""
    name = "typing_extensions"
    hidden = name not in sys.modules
    if hidden:
        sys.modules[name] = None  # type: ignore[assignment]
    try:
        import_module("msgspec")
    finally:
        if hidden:
            del sys.modules[name]


def _make_lazy(name: str, stand_ins: Mapping[str, object]) -> bool:
    spec = None if name in sys.modules else _spec(name)
    if spec is None or spec.loader is None:
        return False
    module = module_from_spec(spec)
    module.__class__ = LazyModule
    module.__dict__.update(stand_ins)
    sys.modules[name] = module
    return True


def _spec(name: str) -> ModuleSpec | None:
    """Find a module without importing asyncio or msgspec, as `find_spec` would if it is in them."""
    package = name.rpartition(".")[0]
    if package not in {"asyncio", "msgspec"}:
        return find_spec(name)
    home = find_spec(package)
    return PathFinder.find_spec(name, home.submodule_search_locations) if home is not None else None
