"""A workflow pinned as bytes, and back."""

import msgspec
from blake3 import blake3

from runwright.core.run import Definition
from runwright.core.workflow import Workflow


def pin(workflow: Workflow, source: str = "") -> Definition:
    """Return a workflow as canonical JSON with its digest.

    Args:
        workflow: What to pin.
        source: Text of the file it was read from.
    """
    content = msgspec.json.encode(workflow)
    return Definition(digest=blake3(content).hexdigest(), content=content, source=source)


def unpin(definition: Definition) -> Workflow:
    """Return the workflow that was pinned."""
    return msgspec.json.decode(definition.content, type=Workflow)
