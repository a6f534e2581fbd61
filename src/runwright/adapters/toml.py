"""Workflow files: TOML text to a checked workflow, every problem with file, line and column."""

import re
from bisect import bisect_right
from collections.abc import Collection, Sequence
from pathlib import Path

from msgspec import Struct
from msgspec.structs import replace

from runwright.adapters.toml_syntax import parse
from runwright.core.check import NO_EXECUTORS, Executors, warnings
from runwright.core.document import decode_workflow
from runwright.core.errors import DefinitionError, Problem
from runwright.core.suggest import closest
from runwright.core.workflow import Workflow

LONGEST_FILE = 64 * 1024 * 1024


class LoadedWorkflow(Struct, frozen=True):
    """A workflow file that was read without error.

    Attributes:
        workflow: What it defines.
        source_text: Its text as it was read.
        path: Where it was read from.
        warnings: What is allowed and probably not meant, with line and column.
    """

    workflow: Workflow
    source_text: str
    path: Path
    warnings: tuple[Problem, ...]


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
    text = read_text(path)
    try:
        workflow = parse_workflow(text, path.stem, executor_args=executor_args, given=given)
    except DefinitionError as error:
        raise DefinitionError([replace(problem, file=str(path)) for problem in error.problems]) from None
    found = warnings(workflow, path.stem)
    return LoadedWorkflow(workflow, text, path, tuple(_placed(found, _unix(text), str(path))))


def parse_workflow(
    text: str, default_name: str, *, executor_args: Executors = NO_EXECUTORS, given: Collection[str] = ()
) -> Workflow:
    """Check and return the workflow that a TOML text defines; as `load_workflow`, without a file."""
    text = _unix(text)
    data = parse(text)
    if isinstance(data, list):
        raise DefinitionError(data)
    try:
        return decode_workflow(data, default_name=default_name, executor_args=executor_args, given=given)
    except DefinitionError as error:
        raise DefinitionError(_placed(error.problems, text, "")) from None


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
        raise _refused(path, f"it is longer than {LONGEST_FILE >> 20} MiB", "split the workflow")
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
