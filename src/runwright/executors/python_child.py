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

PICKLED = b"P"
"""What an answer begins with that is a pickle."""

_HOME = str(Path(__file__).parent)
_BETWEEN = ("asyncio", "importlib")


def main(call_file: str, answer_file: str, path: str, more_path: str = "") -> None:
    """Read the call, perform it, and write the return value as JSON or, if it is asked for, as a pickle."""
    sys.path[0:1] = path.split(":")  # ours is the directory of this script, where nobody's modules are
    sys.path += [place for place in more_path.split(":") if place and place not in sys.path]
    call = json.loads(Path(call_file).read_bytes())
    function = _find(call["function"])
    for place, file in call.get("pickles", ()):
        _unpickle(call, place, file)
    value = function(*call.get("args", ()), **call.get("kwargs", {}))
    if hasattr(value, "__await__"):
        import asyncio  # noqa: PLC0415 - it would take longer than most functions

        value = asyncio.run(value)
    Path(answer_file).write_bytes(_answer(value, pickled="pickle" in call))


def _answer(value: Any, *, pickled: bool) -> bytes:
    is_whole = _is_result(value)
    if pickled and not is_whole and value is not None:
        import pickle  # noqa: PLC0415 - most values are plain

        try:
            return PICKLED + pickle.dumps(value, protocol=5)
        except Exception as error:
            return REFUSED + f"it can't be pickled: {error}".encode("utf-8", "replace")
    try:
        answer = _result(value) if is_whole else json.dumps(value, allow_nan=False).encode()
        fault = plain_fault(value.value if is_whole else value)
        return REFUSED + fault.encode("utf-8", "replace") if fault else answer
    except (TypeError, ValueError, RecursionError) as error:
        return REFUSED + str(error).encode("utf-8", "replace")


def _unpickle(call: dict[str, Any], place: list[Any], file: str) -> None:
    import pickle  # noqa: PLC0415 - most arguments are plain

    class OfScript(pickle.Unpickler):
        """Finds what the engine's script defines in the module as which it was imported here."""

        def find_class(self, module: str, name: str) -> Any:
            own = call["function"].partition(":")[0]
            return super().find_class(own if module == "__main__" else module, name)

    number, *way = place
    inner: Any = call["kwargs" if number else "args"]
    for step in way[:-1]:
        inner = inner[step]
    with Path(file).open("rb") as opened:
        inner[way[-1]] = OfScript(opened).load()  # the engine wrote it for us


def plain_fault(value: Any) -> str:
    """Return why a value would not come back from JSON as it is; empty if it would.

    A tuple counts as a list; whatever inherits from a plain type counts as that. It must not contain itself.
    """
    pending = [value]
    while pending:
        inner = pending.pop()
        if inner is None or isinstance(inner, str | int):
            continue
        if isinstance(inner, float):
            if inner - inner != 0:  # infinities, and what is no number
                return f"{inner} has no form in JSON"
        elif isinstance(inner, list | tuple):
            pending += inner
        elif isinstance(inner, dict):
            for name in inner:
                if not isinstance(name, str):
                    return f"the key {name!r} of a table is no text"
            pending += inner.values()
        else:
            return f"{type(inner).__name__} is not one of the types of JSON; return plain data, or use pickle"
    return ""


def _is_result(value: Any) -> bool:
    kind = type(value)
    return (kind.__module__, kind.__name__) == ("runwright.core.task", "Result")


def _result(value: Any) -> bytes:
    """Return a whole result, with follow-ups and all, as its record."""
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
    sys._runwright_imports = name  # type: ignore[attr-defined]  # an engine refuses to be started from here
    found: Any = import_module(module)
    del sys._runwright_imports  # type: ignore[attr-defined]
    for part in attribute.split("."):
        found = getattr(found, part)
    return getattr(found, "__runwright_body__", found)


if __name__ == "__main__":
    sys.excepthook = show
    main(*sys.argv[1:])
