"""The interpreter of one function call; started as a script, so it imports nothing of ours.

Usage: python_child.py CALL_FILE ANSWER_FILE MODULE_PATH
"""

import json
import sys
from importlib import import_module
from pathlib import Path
from types import TracebackType
from typing import Any

REFUSED = b"!"
"""What an answer begins with that is no value but the reason why the value is none; JSON never does."""

RESULT = b"="
"""What an answer begins with that is a whole `Result`."""

_HOME = str(Path(__file__).parent)
_BETWEEN = ("asyncio", "importlib")


def main(call_file: str, answer_file: str, path: str) -> None:
    """Read the call, perform it, and write the return value as JSON."""
    sys.path[0:1] = path.split(":")  # ours is the directory of this script, where nobody's modules are
    call = json.loads(Path(call_file).read_bytes())
    value = _find(call["function"])(**call["kwargs"])
    if hasattr(value, "__await__"):
        import asyncio  # noqa: PLC0415 - it would take longer than most functions

        value = asyncio.run(value)
    try:
        answer = _result(value) or json.dumps(value, allow_nan=False).encode()
    except (TypeError, ValueError, RecursionError) as error:
        answer = REFUSED + str(error).encode("utf-8", "replace")
    Path(answer_file).write_bytes(answer)


def _result(value: Any) -> bytes:
    """Return a whole result, with follow-ups and all, as its record; nothing for any other value."""
    kind = type(value)
    if (kind.__module__, kind.__name__) != ("runwright.core.task", "Result"):
        return b""
    import msgspec  # noqa: PLC0415 - it is there, for who made the result has imported it

    return RESULT + msgspec.json.encode(value)


def own_frames(trace: TracebackType | None) -> TracebackType | None:
    """Return a traceback from where the user's code begins: without what called it, here or in the engine."""
    while trace is not None and _is_ours(trace):
        trace = trace.tb_next
    return trace


def _is_ours(trace: TracebackType) -> bool:
    module = str(trace.tb_frame.f_globals.get("__name__", ""))
    file = trace.tb_frame.f_code.co_filename
    return module.partition(".")[0] in _BETWEEN or file.rpartition("/")[0] == _HOME


def show(kind: type[BaseException], error: BaseException, trace: TracebackType | None) -> None:
    """Print an error that nobody has caught, as the interpreter does, with the user's own frames alone."""
    own = own_frames(trace)
    sys.__excepthook__(kind, error.with_traceback(own), own)


def _find(name: str) -> Any:
    module, colon, attribute = name.partition(":")
    if not colon:
        module, _, attribute = name.rpartition(".")
    found: Any = import_module(module)
    for part in attribute.split("."):
        found = getattr(found, part)
    return found


if __name__ == "__main__":
    sys.excepthook = show
    main(*sys.argv[1:])
