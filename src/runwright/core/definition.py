"""What a run is made of, pinned as bytes, and back."""

from typing import TypeVar

import msgspec
from blake3 import blake3

from runwright.core.run import Definition
from runwright.core.workflow import Workflow

T = TypeVar("T")


def pin(definition: msgspec.Struct, source: str = "") -> Definition:
    """Return a workflow, a plan or a goal as canonical JSON with its digest.

    Args:
        definition: What to pin.
        source: Text of the file it was read from.
    """
    content = msgspec.json.encode(definition)
    return Definition(digest=blake3(content).hexdigest(), content=content, source=source)


def unpin(definition: Definition) -> Workflow:
    """Return the workflow that was pinned."""
    return msgspec.json.decode(definition.content, type=Workflow)


def unpin_as(definition: Definition, kind: type[T]) -> T:
    """Return what was pinned, as a record of that kind."""
    return msgspec.json.decode(definition.content, type=kind)
