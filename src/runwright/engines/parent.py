"""The outer run of a run that is the work of one of its tasks."""

from collections.abc import Callable

from msgspec import Struct, structs

from runwright.core.events import ProgressEvent
from runwright.core.redact import Redactor
from runwright.core.task import Task
from runwright.ports.executor import Session

DEEPEST = 50
"""How many runs may be inside one another, below the outermost."""


class Parent(Struct, frozen=True, kw_only=True):
    """What an inner run takes from the outer one.

    Attributes:
        run_id: The outer run; empty if there is none.
        task_id: The task of it whose work the inner run is.
        redactor: Knows the secrets of the outer run, which must not appear in the inner one either.
        tell: Told what happens in the inner run; None if nobody is.
        captures: True if the output of tasks is told.
    """

    run_id: str = ""
    task_id: str = ""
    redactor: Redactor = Redactor(())
    tell: Callable[[ProgressEvent], None] | None = None
    captures: bool = False

    @property
    def within(self) -> tuple[str, ...]:
        """Where the inner run stands in the outer one."""
        return (self.task_id,) if self.run_id else ()


NO_PARENT = Parent()


def parent_of(session: Session, task: Task) -> Parent:
    """Return the parent of a run that is the work of a task."""
    return Parent(
        run_id=session.id,
        task_id=task.id,
        redactor=session.redactor,
        tell=session.tell,
        captures=session.captures,
    )


def inside(event: ProgressEvent, within: tuple[str, ...]) -> ProgressEvent:
    """Return an event of an inner run as the outer one passes it on."""
    return structs.replace(event, within=(*within, *event.within)) if within else event
