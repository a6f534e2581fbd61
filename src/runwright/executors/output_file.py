"""Values that a command names itself, by writing to a file that its environment names."""

import os
import stat
from contextlib import suppress
from pathlib import Path
from typing import Any

import msgspec

from runwright.core.errors import Failure, TaskFailed
from runwright.core.pattern import pattern
from runwright.core.runvars import value_text

OUTPUT = "RUNWRIGHT_OUTPUT"
MAX_BYTES = 1 << 20
NAME = pattern(r"[A-Za-z_][A-Za-z0-9_]*")
BYTE = pattern(r"\(byte (\d+)\)")


def take_variables(path: Path) -> dict[str, str]:
    """Read the file and remove it; a file that was never made gives nothing.

    Raises:
        TaskFailed: With code ``E_OUTPUT``, naming the line.
    """
    text = take_text(path, OUTPUT)
    if text.lstrip().startswith("{"):
        return {
            checked(name, 1, OUTPUT): value_text(value) for name, value in parse_json(text, OUTPUT).items()
        }
    return parse_lines(text, 1, OUTPUT)


def take_text(path: Path, variable: str) -> str:
    """Read a file that a command may have written, and remove it; empty if it was never made.

    Args:
        path: The file.
        variable: The environment variable that named it.

    Raises:
        TaskFailed: With code ``E_OUTPUT``.
    """
    data = _take(path, variable)
    try:
        return data.decode()
    except UnicodeDecodeError as error:
        raise _fault(variable, _line_at(data, error.start), "it is not UTF-8") from None


def discard(path: Path) -> None:
    """Remove the file, if there is one."""
    with suppress(OSError):
        path.unlink()


def _take(path: Path, variable: str) -> bytes:
    try:
        kind = path.lstat().st_mode
    except FileNotFoundError:
        return b""
    try:
        data = _read(path, kind, variable)
    except OSError as error:
        raise _fault(variable, 0, f"it can't be read: {error.strerror}") from None
    finally:
        discard(path)
    if len(data) > MAX_BYTES:
        raise _fault(variable, 0, f"it holds more than {MAX_BYTES} bytes")
    return data


def _read(path: Path, kind: int, variable: str) -> bytes:
    """Return what a plain file holds; a pipe would make us wait and a link would lead elsewhere."""
    if not stat.S_ISREG(kind):
        what = "it is a symbolic link" if stat.S_ISLNK(kind) else "it is not a plain file"
        raise _fault(variable, 0, what)
    fd = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_NOFOLLOW | os.O_CLOEXEC)
    with os.fdopen(fd, "rb") as file:
        return file.read(MAX_BYTES + 1)


def parse_lines(text: str, first: int, variable: str) -> dict[str, str]:
    """Return the values of ``NAME=value`` lines, of which the first has that number; empty lines don't count.

    Raises:
        TaskFailed: With code ``E_OUTPUT``, naming the line.
    """
    values = {}
    for number, line in enumerate(text.split("\n"), first):
        if not line.strip():
            continue
        name, equals, value = line.partition("=")
        if not equals:
            raise _fault(variable, number, "NAME=value was expected")
        values[checked(name, number, variable)] = value
    return values


def parse_json(text: str, variable: str) -> dict[str, Any]:
    """Return the content of one JSON object.

    Raises:
        TaskFailed: With code ``E_OUTPUT``, naming the line.
    """
    data = text.encode()
    try:
        return msgspec.json.decode(data, type=dict[str, Any])
    except (msgspec.DecodeError, RecursionError) as error:
        found = BYTE.search(str(error))
        line = _line_at(data, int(found[1])) if found else 1
        raise _fault(variable, line, f"one JSON object was expected: {error}") from None


def checked(name: str, line: int, variable: str) -> str:
    """Return a name that can be one of a variable.

    Raises:
        TaskFailed: With code ``E_OUTPUT``, naming the line.
    """
    if not NAME.fullmatch(name):
        what = "a name must be letters, digits and underscores, and begin with no digit"
        raise _fault(variable, line, what)
    return name


def _line_at(data: bytes, position: int) -> int:
    return data.count(b"\n", 0, position) + 1


def _fault(variable: str, line: int, what: str) -> TaskFailed:
    """Say what is wrong, without the content, which may be secret."""
    where = f", line {line}" if line else ""
    return TaskFailed(Failure(code="E_OUTPUT", message=f"${variable}{where}: {what}"))
