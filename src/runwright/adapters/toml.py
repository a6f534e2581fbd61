"""Definition files: TOML text to a checked workflow, plan or goal, every problem with file, line and column."""

import re
from bisect import bisect_right
from collections.abc import Callable, Collection, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, Generic, TypeVar

from msgspec import Struct
from msgspec.structs import replace

from runwright.adapters.toml_syntax import parse
from runwright.core.check import NO_EXECUTORS, Executors, warnings
from runwright.core.document import decode_workflow
from runwright.core.errors import DefinitionError, Problem
from runwright.core.suggest import closest
from runwright.core.workflow import Workflow

if TYPE_CHECKING:
    from runwright.core.goal import GoalDefinition
    from runwright.core.kinds import FileKind
    from runwright.core.plan import PlanDefinition

LONGEST_FILE = 64 * 1024 * 1024


D = TypeVar("D")


class Loaded(Struct, Generic[D], frozen=True):
    """A definition file that was read without error.

    Attributes:
        definition: What it defines.
        source_text: Its text as it was read.
        path: Where it was read from.
        warnings: What is allowed and probably not meant, with line and column.
    """

    definition: D
    source_text: str
    path: Path
    warnings: tuple[Problem, ...]


class LoadedWorkflow(Loaded[Workflow], frozen=True):
    """A workflow file that was read without error."""

    @property
    def workflow(self) -> Workflow:
        """What it defines."""
        return self.definition


class _File(Struct, frozen=True):
    """A file with its text as it was read, and what that holds."""

    path: Path
    text: str
    data: Mapping[str, Any]


def load_workflow(
    path: Path,
    *,
    executor_args: Executors = NO_EXECUTORS,
    given: Collection[str] = (),
) -> LoadedWorkflow:
    """Read, check and return a workflow file.

    Args:
        path: A TOML file in UTF-8 of at most 64 MiB.
        executor_args: Executors by name, with the record of their arguments.
        given: Names of variables that come from outside (``--var``).

    Raises:
        DefinitionError: With every problem found, each with file, line, column, the line itself and what to do.
    """
    return _workflow(_open(path), executor_args, given)


def load_plan(path: Path) -> "Loaded[PlanDefinition]":
    """Read, check and return a plan file; as `load_workflow` does."""
    return _plan(_open(path))


def load_goal(path: Path, *, given: Collection[str] = ()) -> "Loaded[GoalDefinition]":
    """Read, check and return a goal file; as `load_workflow` does."""
    return _goal(_open(path), given)


def load_any(
    path: Path, *, executor_args: Executors = NO_EXECUTORS, given: Collection[str] = ()
) -> "LoadedWorkflow | Loaded[PlanDefinition] | Loaded[GoalDefinition]":
    """Read, check and return a file of any kind; one that does not tell its kind is taken for a workflow."""
    from runwright.core.kinds import FileKind, kind_of  # noqa: PLC0415 - a run knows what it reads

    file = _open(path)
    kind = kind_of(file.data)
    if kind is FileKind.PLAN:
        return _plan(file)
    return _goal(file, given) if kind is FileKind.GOAL else _workflow(file, executor_args, given)


def file_kind(path: Path) -> "FileKind | None":
    """Return what a file defines; None if it has none of the keys that tell.

    Raises:
        DefinitionError: If it can't be read, or is not TOML.
    """
    from runwright.core.kinds import kind_of  # noqa: PLC0415 - a run knows what it reads

    return kind_of(_open(path).data)


def parse_workflow(
    text: str, default_name: str, *, executor_args: Executors = NO_EXECUTORS, given: Collection[str] = ()
) -> Workflow:
    """Check and return the workflow that a TOML text defines; as `load_workflow`, without a file."""
    text = _unix(text)
    return _decode(
        _parse(text, ""),
        text,
        partial(decode_workflow, default_name=default_name, executor_args=executor_args, given=given),
        "",
    )


def _workflow(file: _File, executor_args: Executors, given: Collection[str]) -> LoadedWorkflow:
    decode = partial(decode_workflow, default_name=file.path.stem, executor_args=executor_args, given=given)
    return LoadedWorkflow(*_checked(file, "tasks", decode, warnings))


def _plan(file: _File) -> "Loaded[PlanDefinition]":
    from runwright.core.advice import plan_warnings  # noqa: PLC0415 - as the next
    from runwright.core.plan_document import decode_plan  # noqa: PLC0415 - workflows do without plans

    decode = partial(decode_plan, default_name=file.path.stem)
    return Loaded(*_checked(file, "steps", decode, plan_warnings))


def _goal(file: _File, given: Collection[str]) -> "Loaded[GoalDefinition]":
    from runwright.core.advice import goal_warnings  # noqa: PLC0415 - as the next
    from runwright.core.goal_document import decode_goal  # noqa: PLC0415 - workflows do without goals

    decode = partial(decode_goal, default_name=file.path.stem, given=given)
    return Loaded(*_checked(file, "plan", decode, goal_warnings))


def _checked(
    file: _File, key: str, decode: Callable[[Mapping[str, Any]], D], advise: Callable[[D, str], list[Problem]]
) -> tuple[D, str, Path, tuple[Problem, ...]]:
    """Return the parts of a `Loaded`; `key` is what only files of the wanted kind have."""
    text, name = _unix(file.text), str(file.path)
    if key not in file.data:
        _refuse_other_kind(file, key)
    definition = _decode(file.data, text, decode, name)
    found = advise(definition, file.path.stem)
    return definition, file.text, file.path, tuple(_placed(found, text, name))


def _refuse_other_kind(file: _File, key: str) -> None:
    """Raise a `DefinitionError` if a file is of another kind than the one whose key is named."""
    from runwright.core.kinds import FileKind, kind_of  # noqa: PLC0415 - only for files with faults

    kind = kind_of(file.data)
    if kind is None:
        return
    wanted = next(other for other in FileKind if other.key == key)
    problem = Problem(
        message=f"this is a {kind.value}, not a {wanted.value}",
        path=(kind.key,),
        suggestion=f'run it with "runwright {kind.command} {file.path}"',
    )
    raise DefinitionError(_placed([problem], _unix(file.text), str(file.path)))


def _decode(data: Mapping[str, Any], text: str, decode: Callable[[Mapping[str, Any]], D], name: str) -> D:
    try:
        return decode(data)
    except DefinitionError as error:
        raise DefinitionError(_placed(error.problems, text, name)) from None


def _open(path: Path) -> _File:
    text = read_text(path)
    return _File(path, text, _parse(_unix(text), str(path)))


def _parse(text: str, name: str) -> Mapping[str, Any]:
    data = parse(text)
    if isinstance(data, list):
        raise DefinitionError([replace(problem, file=name) for problem in data])
    return data


def _unix(text: str) -> str:
    """Take off a byte order mark and make line ends plain, so that commands don't end in carriage returns."""
    return text.removeprefix("\ufeff").replace("\r\n", "\n")


def read_text(path: Path) -> str:
    """Return the text of a definition file.

    Raises:
        DefinitionError: If it can't be read, is too long or is not UTF-8.
    """
    try:
        with path.open("rb") as file:
            data = file.read(LONGEST_FILE + 1)
    except FileNotFoundError:
        raise _refused(path, "there is no such file", _near_file(path)) from None
    except OSError as error:
        raise _refused(path, f"it can't be read: {error.strerror}", "name a TOML file you may read") from None
    if len(data) > LONGEST_FILE:
        raise _refused(path, f"it is longer than {LONGEST_FILE >> 20} MiB", "split it")
    try:
        return data.decode()
    except UnicodeDecodeError as error:
        raise _not_utf8(path, data, error.start) from None


def _not_utf8(path: Path, data: bytes, offset: int) -> DefinitionError:
    start = data.rfind(b"\n", 0, offset) + 1
    stop = data.find(b"\n", offset)
    before = data[start:offset].decode()
    return DefinitionError(
        [
            Problem(
                message=f"byte {offset} (0x{data[offset]:02x}) is not UTF-8",
                suggestion="save the file as UTF-8",
                file=str(path),
                line=data.count(b"\n", 0, offset) + 1,
                column=len(before) + 1,
                source_line=data[start : stop if stop >= 0 else len(data)].decode(errors="replace"),
            )
        ]
    )


def _refused(path: Path, message: str, suggestion: str) -> DefinitionError:
    return DefinitionError([Problem(message=f"{path}: {message}", suggestion=suggestion, file=str(path))])


def _near_file(path: Path) -> str:
    try:
        names = sorted(entry.name for entry in path.parent.iterdir() if entry.suffix == ".toml")
    except OSError:
        return f"there is no directory {path.parent} either"
    near = closest(path.name, names) or closest(path.name + ".toml", names)
    if near is not None:
        return f'did you mean "{path.parent / near}"?'
    return f"there are {', '.join(names[:8])}" if names else f"there is no TOML file in {path.parent}"


def place(problems: Sequence[Problem], loaded: Loaded[Any]) -> list[Problem]:
    """Return problems of a file that was read, with line, column and source line."""
    return _placed(problems, _unix(loaded.source_text), str(loaded.path))


def _placed(problems: Sequence[Problem], text: str, file: str) -> list[Problem]:
    """Fill in line, column and source line, and sort by them."""
    if not problems:
        return []
    from runwright.adapters.toml_positions import locate, scan  # noqa: PLC0415 - only for files with faults

    spots = scan(text)
    starts = [0, *(found.end() for found in re.finditer("\n", text))]
    placed = [
        _place(problem, text, starts, locate(text, spots, problem.path, problem.offset), file)
        for problem in problems
    ]
    return sorted(placed, key=lambda problem: (problem.line, problem.column))


def _place(problem: Problem, text: str, starts: list[int], offset: int, file: str) -> Problem:
    line = bisect_right(starts, offset)
    start = starts[line - 1]
    stop = starts[line] - 1 if line < len(starts) else len(text)
    return replace(problem, file=file, line=line, column=offset - start + 1, source_line=text[start:stop])
