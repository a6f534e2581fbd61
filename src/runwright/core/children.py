"""Children of a task in a run: the items it is mapped over, and what its executor asked for next."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import msgspec
from blake3 import blake3

from runwright.core.errors import Failure, TaskFailed
from runwright.core.node_names import INDEX, ITEM
from runwright.core.run import TaskRow, node_of
from runwright.core.runvars import value_text
from runwright.core.states import TaskRole, TaskState
from runwright.core.task import Task, TaskId

_ENCODER = msgspec.json.Encoder(order="deterministic")


def items_of(text: str) -> list[Any]:
    """Return the items of a list: a JSON array, or one item a line; empty lines are none.

    Raises:
        TaskFailed: With code ``E_ITEMS`` if it begins like a JSON array and is none.
    """
    if not text.lstrip().startswith("["):
        return [line for line in text.splitlines() if line.strip()]
    try:
        return msgspec.json.decode(text, type=list[Any])
    except (msgspec.DecodeError, UnicodeError) as error:
        raise TaskFailed(
            Failure(code="E_ITEMS", message=f"for_each: the list is no JSON array: {error}")
        ) from None


def item_tasks(node_id: str, items: Sequence[Any]) -> tuple[Task, ...]:
    """Return a task for each item, named by its index; its arguments are the variables it sees."""
    return tuple(
        Task(id=TaskId(f"{node_id}.{index}"), args=item_variables(item, index))
        for index, item in enumerate(items)
    )


def item_values(item: Any, index: int) -> dict[str, Any]:
    """Return what an item sees, each value as it is."""
    own = {ITEM: item, INDEX: index}
    if isinstance(item, Mapping):
        own.update({f"{ITEM}.{name}": value for name, value in item.items()})
    return own


def item_variables(item: Any, index: int) -> dict[str, str]:
    """Return what an item sees as texts: ``item``, ``index``, and ``item.NAME`` for the values of an object."""
    return {name: value_text(value) for name, value in item_values(item, index).items()}


def fingerprint(task: Task) -> str:
    """Return the digest of what a child is to do, whatever its id."""
    what = [task.executor, task.args, task.inputs, task.dependencies]
    try:
        return blake3(_ENCODER.encode(what)).hexdigest()
    except (TypeError, ValueError) as error:
        message = f'follow-up "{task.id}" has arguments that are no plain data: {error}'
        raise TaskFailed(Failure(code="E_FOLLOWUPS", message=message)) from None


def reusable(rows: Iterable[TaskRow], planned: Mapping[str, str], nodes: Iterable[str]) -> dict[str, str]:
    """Return the children whose outcome stands if they are asked for again, with their fingerprints.

    Args:
        rows: Of the run, as they are recorded.
        planned: Fingerprints by id, as they were recorded last.
        nodes: Ids of the nodes that go on where they were.
    """
    going_on = frozenset(nodes)
    return {
        row.id: planned[row.id]
        for row in rows
        if row.role is TaskRole.CHILD
        and row.state is TaskState.SUCCEEDED
        and row.id in planned
        and node_of(row.id) in going_on
    }


def failure_of(errors: Sequence[Exception], count: int) -> Failure:
    """Return the failure of a task whose children failed: how many, and how the first did.

    Args:
        errors: At least one, in the order in which they came, each with a note that names its task.
        count: Of all children that were asked for.
    """
    first = errors[0]
    own = first.failure if isinstance(first, TaskFailed) else Failure(code="", message=str(first))
    message = f"{len(errors)} of {count} children failed; {first.__notes__[-1]}: {own.message}"
    return Failure(code="E_CHILDREN", message=message, exit_code=own.exit_code, stderr_tail=own.stderr_tail)
