"""Names by which functions and workflows made in code are found again, by this process or another one."""

import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

MAIN = "__main__"


def function_name(function: Callable[..., Any]) -> str:
    """Return ``module:name`` of a function; of one that is part of the script that runs, by the name to import it."""
    module = getattr(function, "__module__", None) or MAIN
    if module == MAIN:
        module = main_module()
        sys.modules.setdefault(
            module, sys.modules[MAIN]
        )  # who imports it by that name gets the one that runs
    return f"{module}:{getattr(function, '__qualname__', 'task')}"


def main_module() -> str:
    """Return the name by which the script that runs can be imported; ``__main__`` if it can't."""
    main = sys.modules.get(MAIN)
    spec = getattr(main, "__spec__", None)
    if spec is not None:
        return str(spec.name)
    file = main_file()
    return MAIN if file is None else module_of(file, Path.cwd())


def main_file() -> Path | None:
    """Return the script that runs; None if there is none, or it is no module."""
    file = getattr(sys.modules.get(MAIN), "__file__", None)
    if file is None or not str(file).endswith(".py"):
        return None
    return Path(file).absolute()


def module_of(file: Path, directory: Path) -> str:
    """Return the name of the module that a file is, as seen from a directory that is on the module path.

    A file that does not lie in it is found by its own directory.
    """
    try:
        parts = file.resolve().relative_to(directory.resolve()).with_suffix("").parts
    except ValueError:
        return file.stem
    return ".".join(parts) if all(part.isidentifier() for part in parts) else file.stem


def workflow_name(workflow: object, module: str) -> str:
    """Return how a workflow is found again: ``module:name``, or ``/path/of/script.py:name``; empty if it is not."""
    names = vars(sys.modules[module]) if module in sys.modules else {}
    name = next((name for name, value in names.items() if value is workflow), "")
    if not name:
        return ""
    if module != MAIN:
        return f"{module}:{name}"
    if getattr(sys.modules[MAIN], "__spec__", None) is not None:
        return f"{main_module()}:{name}"
    file = main_file()
    return "" if file is None else f"{file}:{name}"
