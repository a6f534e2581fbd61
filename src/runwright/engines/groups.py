"""Small things about tasks of the loop and their groups."""

import asyncio

from runwright.core.errors import RunwrightError


def cancel_once(task: "asyncio.Task[None]") -> None:
    """Cancel a task that has not been told yet: once more would break into what it does to end."""
    if not task.cancelling():
        task.cancel()


def first_error(group: BaseExceptionGroup[BaseException]) -> BaseException:
    """Return the error that a group of tasks died of: ours if there is one among them."""
    own = group.subgroup(RunwrightError)
    found: BaseException = own if own is not None else group
    while isinstance(found, BaseExceptionGroup):
        found = found.exceptions[0]
    return found


def is_being_cancelled() -> bool:
    """Tell whether somebody has cancelled the running task."""
    task = asyncio.current_task()
    return task is not None and task.cancelling() > 0
