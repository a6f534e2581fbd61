"""How people are told which task, handler or cleanup a line is about; commands take the ids."""

from runwright.core.run import definition_key
from runwright.core.states import TaskRole

CLEANUP = ".cleanup"
WHOLE_RUN = "*"


def said(row_id: str, role: TaskRole) -> str:
    """Return an id in words: ``env cleanup``, ``notify (handler of test[py=3.12])``, ``notify (handler of the run)``."""
    if role is TaskRole.CLEANUP:
        return f"{row_id.removesuffix(CLEANUP)} cleanup"
    if role is TaskRole.HANDLER:
        key, _, failed = row_id.partition("@")
        return f"{key} (handler of {cause(failed)})"
    return row_id


def cause(failed: str) -> str:
    """Return what a handler was called for: a task, the whole run, or a handler that had failed itself."""
    if failed == WHOLE_RUN:
        return "the run"
    handler, called, _ = failed.partition("[")[0].partition("@")
    return f"handler {handler}" if called else failed


def key_of(row_id: str, role: TaskRole) -> str:
    """Return the key of the task, handler or cleanup in its workflow."""
    if role is TaskRole.CHILD:
        return definition_key(row_id, role)
    node = row_id.removesuffix(CLEANUP) if role is TaskRole.CLEANUP else row_id
    return node.partition("[")[0].partition("@")[0]
