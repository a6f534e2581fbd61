"""Values that a command names itself, by writing to the file that `$RUNWRIGHT_OUTPUT` names."""

import os
import stat
from contextlib import suppress
from pathlib import Path
from typing import Any

import msgspec

from runwright.core.errors import Failure, TaskFailed
from runwright.core.pattern import pattern

MAX_BYTES = 1 << 20
NAME = pattern(r"[A-Za-z_][A-Za-z0-9_]*")
BYTE = pattern(r"\(byte (\d+)\)")


def take_variables(path: Path) -> dict[str, str]:
    """Read the file and remove it; a file that was never made gives nothing.

    Raises:
        TaskFailed: With code ``E_OUTPUT``, naming the line.
    """
    data = _take(path)
    if not data:
        return {}
    try:
        text = data.decode()
    except UnicodeDecodeError as error:
        raise _fault(_line_at(data, error.start), "it is not UTF-8") from None
    return _parse_json(data) if text.lstrip().startswith("{") else _parse_lines(text)


def discard(path: Path) -> None:
    """Remove the file, if there is one."""
    with suppress(OSError):
        path.unlink()


def _take(path: Path) -> bytes:
    try:
        kind = path.lstat().st_mode
    except FileNotFoundError:
        return b""
    try:
        data = _read(path, kind)
    except OSError as error:
        raise _fault(0, f"it can't be read: {error.strerror}") from None
    finally:
        discard(path)
    if len(data) > MAX_BYTES:
        raise _fault(0, f"it holds more than {MAX_BYTES} bytes")
    return data


def _read(path: Path, kind: int) -> bytes:
    """Return what a plain file holds; a pipe would make us wait and a link would lead elsewhere."""
    if not stat.S_ISREG(kind):
        raise _fault(0, "it is a symbolic link" if stat.S_ISLNK(kind) else "it is not a plain file")
    fd = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_NOFOLLOW | os.O_CLOEXEC)
    with os.fdopen(fd, "rb") as file:
        return file.read(MAX_BYTES + 1)


def _parse_lines(text: str) -> dict[str, str]:
    values = {}
    for number, line in enumerate(text.split("\n"), 1):
        if not line.strip():
            continue
        name, equals, value = line.partition("=")
        if not equals:
            raise _fault(number, "NAME=value was expected")
        values[_checked(name, number)] = value
    return values


def _parse_json(data: bytes) -> dict[str, str]:
    try:
        content: dict[str, Any] = msgspec.json.decode(data, type=dict[str, Any])
    except msgspec.DecodeError as error:
        found = BYTE.search(str(error))
        line = _line_at(data, int(found[1])) if found else 1
        raise _fault(line, f"one JSON object was expected: {error}") from None
    return {_checked(name, 1): _to_text(value) for name, value in content.items()}


def _to_text(value: Any) -> str:
    return value if isinstance(value, str) else msgspec.json.encode(value).decode()


def _checked(name: str, line: int) -> str:
    if not NAME.fullmatch(name):
        raise _fault(line, "a name must be letters, digits and underscores, and begin with no digit")
    return name


def _line_at(data: bytes, position: int) -> int:
    return data.count(b"\n", 0, position) + 1


def _fault(line: int, what: str) -> TaskFailed:
    """Say what is wrong, without the content, which may be secret."""
    where = f", line {line}" if line else ""
    return TaskFailed(Failure(code="E_OUTPUT", message=f"$RUNWRIGHT_OUTPUT{where}: {what}"))
