"""The state that the steps of a plan share, as a file that `$RUNWRIGHT_STATE` names.

It holds the whole state as JSON on one line. A command may append ``NAME=value`` lines, or write another JSON object,
which is the whole state from then on; lines alone change the values that they name.
"""

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import msgspec

from runwright.core.planstate import Unstorable, to_json
from runwright.executors.output_file import parse_json, parse_lines, take_text

STATE = "RUNWRIGHT_STATE"


def write_state(path: Path, state: Mapping[str, Any]) -> None:
    """Write the state, without the values that have no JSON; the file is private (mode 0600)."""
    texts = ((name, to_json(value)) for name, value in state.items())
    plain = {name: msgspec.Raw(text.encode()) for name, text in texts if not isinstance(text, Unstorable)}
    fd = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
    with os.fdopen(fd, "wb") as file:
        file.write(msgspec.json.encode(plain) + b"\n")


def take_state(path: Path, before: Mapping[str, Any]) -> dict[str, Any]:
    """Read the state back and remove the file; values that were not in it stay as they are.

    Args:
        path: The file.
        before: The state that was written.

    Raises:
        TaskFailed: With code ``E_OUTPUT``, naming the line.
    """
    text = take_text(path, STATE)
    if not text.lstrip().startswith("{"):
        return {**before, **parse_lines(text, 1, STATE)}
    end = _end_of_object(text)
    unseen = {name: value for name, value in before.items() if isinstance(to_json(value), Unstorable)}
    lines = parse_lines(text[end:], text.count("\n", 0, end) + 1, STATE)
    return {**unseen, **parse_json(text[:end], STATE), **lines}


def _end_of_object(text: str) -> int:
    """Return where the JSON object ends that a text begins with; its end if there is none."""
    from json import JSONDecoder  # noqa: PLC0415 - only for plans

    start = len(text) - len(text.lstrip())
    try:
        return JSONDecoder().raw_decode(text, start)[1]
    except (ValueError, RecursionError):
        return len(text)
