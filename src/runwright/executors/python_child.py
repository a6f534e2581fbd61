"""The interpreter of one function call; started as a script, so it imports nothing of ours.

Usage: python_child.py CALL_FILE ANSWER_FILE MODULE_PATH
"""

import json
import sys
from importlib import import_module
from pathlib import Path
from typing import Any


def main(call_file: str, answer_file: str, path: str) -> None:
    """Read the call, perform it, and write the return value as JSON."""
    sys.path[0:1] = path.split(":")  # ours is the directory of this script, where nobody's modules are
    call = json.loads(Path(call_file).read_bytes())
    value = _find(call["function"])(**call["kwargs"])
    if hasattr(value, "__await__"):
        import asyncio  # noqa: PLC0415 - it would take longer than most functions

        value = asyncio.run(value)
    Path(answer_file).write_text(json.dumps(value, allow_nan=False), "utf-8")


def _find(name: str) -> Any:
    module, colon, attribute = name.partition(":")
    if not colon:
        module, _, attribute = name.rpartition(".")
    found: Any = import_module(module)
    for part in attribute.split("."):
        found = getattr(found, part)
    return found


if __name__ == "__main__":
    main(*sys.argv[1:])
