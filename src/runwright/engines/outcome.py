"""How an attempt ended, and what of that can be recorded."""

from collections.abc import Mapping
from datetime import datetime
from typing import Any

import msgspec
from msgspec import Struct, field

from runwright.core.errors import Failure, TaskFailed
from runwright.core.events import TaskEnded
from runwright.core.runvars import VALUE_BYTES
from runwright.core.states import TaskRole, TaskState
from runwright.core.task import Result, Task


class Outcome(Struct, frozen=True, kw_only=True):
    """How an attempt ended.

    Attributes:
        reason: Why there was none, or why a cache let the task run, or did not.
        variables: Under their full names.
        followups: What the executor asked for next.
        details: As in `TaskEnded`.
        spared: As in `TaskEnded`.
    """

    state: TaskState
    reason: str = ""
    failure: Failure | None = None
    value: Any = None
    variables: Mapping[str, str] = field(default_factory=dict)
    followups: tuple[Task, ...] = ()
    details: tuple[str, ...] = ()
    spared: bool = False


PLAIN_SUCCESS = Outcome(state=TaskState.SUCCEEDED)


def success_of(result: Result) -> Outcome:
    """Return the outcome of a task that succeeded and hands nothing on but, perhaps, follow-ups."""
    if not result.followups:
        return PLAIN_SUCCESS
    return Outcome(state=TaskState.SUCCEEDED, followups=result.followups)


def end_of(
    outcome: Outcome,
    at: datetime,
    task_id: str,
    attempt: int,
    reason: str,
    role: TaskRole = TaskRole.TASK,
    *,
    ignored: bool = False,
) -> TaskEnded:
    """Return the event that records an outcome."""
    return TaskEnded(
        at=at,
        task_id=task_id,
        attempt=attempt,
        state=outcome.state,
        reason=reason,
        failure=outcome.failure,
        value=outcome.value,
        variables=outcome.variables,
        ignored=ignored,
        role=role,
        details=outcome.details,
        spared=outcome.spared,
    )


def fits(value: Any) -> bool:
    """Tell whether a value is small enough to be kept."""
    return len(msgspec.json.encode(value)) <= VALUE_BYTES


def plain(value: Any) -> Any:
    """Return a value as plain data.

    Raises:
        TaskFailed: With code ``E_VALUE`` if it is no plain data, or too large to be kept inline.
    """
    try:
        data = msgspec.json.encode(value)
    except (TypeError, ValueError) as error:
        raise TaskFailed(Failure(code="E_VALUE", message=f"its value is not plain data: {error}")) from None
    if len(data) > VALUE_BYTES:
        message = f"its value is {len(data)} bytes as JSON, more than {VALUE_BYTES}; return a path to a file instead"
        raise TaskFailed(Failure(code="E_VALUE", message=message))
    return msgspec.json.decode(data)  # as a resume will find it
