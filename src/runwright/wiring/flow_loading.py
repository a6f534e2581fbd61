"""Workflows in modules: ``module:name``, ``path/file.py:name``, or a file with one workflow in it."""

import re
import sys
from collections.abc import Collection, Iterator
from contextlib import contextmanager
from importlib import import_module
from pathlib import Path
from traceback import extract_tb
from types import ModuleType
from typing import Any

from msgspec import Struct, structs

from runwright.core.errors import Problem, UsageError
from runwright.core.suggest import did_you_mean
from runwright.core.workflow import Workflow as Record
from runwright.engines.work import Work
from runwright.wiring.flow import Workflow
from runwright.wiring.flow_names import MAIN, main_file, module_of

MODULE = r"[^\W\d]\w*(\.[^\W\d]\w*)*"


class LoadedFlow(Struct, frozen=True):
    """A workflow of a module, checked.

    Attributes:
        work: What an engine executes.
        warnings: What is allowed and probably not meant.
    """

    work: Work
    warnings: tuple[Problem, ...] = ()

    @property
    def workflow(self) -> Record:
        """What it defines."""
        found: Record = self.work.definition
        return found

    def to_work(self, given: Collection[str]) -> Work:
        """Return what an engine executes; as `Workflow.to_work`."""
        del given
        return self.work


def load_flow(name: str, directory: Path, given: Collection[str] | None = None) -> LoadedFlow:
    """Import a workflow and check it.

    Args:
        name: ``module:name``, ``path/file.py:name``, or ``path/file.py`` if one workflow is in it.
        directory: Absolute path on the module path, which paths of files are relative to.
        given: Names of variables that will come with the run's options; None means those that it expects.

    Raises:
        UsageError: If there is no such module or name, or it is no workflow.
        DefinitionError: With everything that is wrong with the workflow.
    """
    from runwright.core.advice import warnings

    where, _, attribute = name.partition(":")
    file = directory / where if where.endswith(".py") else None
    module = _file_module(file, directory) if file else _module(where, directory)
    attribute = attribute or _only_workflow(module, name)
    found = _found(module, attribute, name)
    work = found.to_work(given) if isinstance(found, Workflow) else Work(definition=found)
    work = structs.replace(work, path=f"{file.absolute() if file else where}:{attribute}")
    return LoadedFlow(work, tuple(warnings(work.definition)))


def make_importable(name: str, directory: Path) -> None:
    """Put on the module path what a workflow that was found by that name needs there."""
    where = name.partition(":")[0]
    places = [str(directory), *([str((directory / where).parent)] if where.endswith(".py") else [])]
    if places[0] not in sys.path:
        sys.path.insert(0, places[0])
    sys.path += [place for place in places[1:] if place not in sys.path]


def _file_module(file: Path, directory: Path) -> ModuleType:
    if not file.is_file():
        near = did_you_mean(file.name, [path.name for path in file.parent.glob("*.py")])
        raise _refused(f"there is no file {file}", near or "check the path")
    main = main_file()
    if main is not None and main.resolve() == file.resolve():
        return sys.modules[MAIN]
    make_importable(str(file), directory)
    return _imported(module_of(file, directory))


def _module(name: str, directory: Path) -> ModuleType:
    if not re.fullmatch(MODULE, name):
        raise _refused(f'"{name}" is no name of a module', "write module:name, or file.py:name")
    make_importable(name, directory)
    return _imported(name)


def _imported(name: str) -> ModuleType:
    try:
        with _importing(name):
            return import_module(name)
    except ModuleNotFoundError as error:
        if error.name is not None and (name == error.name or name.startswith(f"{error.name}.")):
            advice = "modules are looked for in the current directory and on PYTHONPATH"
            raise _refused(f'there is no module "{error.name}"', advice) from None
        raise _broken(name, error) from error
    except (Exception, SystemExit) as error:
        raise _broken(name, error) from error


@contextmanager
def _importing(name: str) -> Iterator[None]:
    """Let no engine be started while a module is imported."""
    vars(sys)["_runwright_imports"] = name
    try:
        yield
    finally:
        vars(sys).pop("_runwright_imports", None)


def _broken(name: str, error: BaseException) -> UsageError:
    frames = [frame for frame in extract_tb(error.__traceback__) if "importlib" not in frame.filename]
    last = frames[-1] if frames else None
    where = {"file": last.filename, "line": last.lineno or 0, "source_line": last.line or ""} if last else {}
    message = f'module "{name}" can\'t be imported: {type(error).__name__}: {error}'
    if isinstance(error, UsageError) and error.problems[0].suggestion:
        message = f"{message}; {error.problems[0].suggestion}"
    problem = Problem(
        message=message, suggestion="mend it; `python -c` with an import shows all of the error"
    )
    return UsageError((structs.replace(problem, **where),))


def _only_workflow(module: ModuleType, name: str) -> str:
    names = list(_workflows(module))
    if len(names) == 1:
        return names[0]
    if not names:
        raise _refused(f"there is no workflow in {name}", 'make one: flow = Workflow("name")')
    raise _refused(
        f"there are several workflows in {name}: {', '.join(names)}", f"name one: {name}:{names[0]}"
    )


def _workflows(module: ModuleType) -> dict[str, Any]:
    return {name: value for name, value in vars(module).items() if isinstance(value, Workflow | Record)}


def _found(module: ModuleType, attribute: str, name: str) -> Workflow | Record:
    found: Any = module
    for part in attribute.split("."):
        if not hasattr(found, part):
            names = list(_workflows(module))
            there = f"it has {', '.join(names)}" if names else "there is no workflow in it"
            near = did_you_mean(attribute, list(vars(module)))
            raise _refused(f'module "{module.__name__}" has no "{attribute}"', near or there)
        found = getattr(found, part)
    if isinstance(found, Workflow | Record):
        return found
    names = list(_workflows(module))
    advice = f"did you mean {name.partition(':')[0]}:{names[0]}?" if names else "name a Workflow"
    raise _refused(f"{name} is a {type(found).__name__}, not a Workflow", advice)


def _refused(message: str, suggestion: str) -> UsageError:
    return UsageError((Problem(message=message, suggestion=suggestion),))
