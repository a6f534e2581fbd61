"""The live view of a run: recorded facts turned into `ProgressEvent`s for a listener."""

from collections.abc import Callable
from datetime import datetime

from runwright.core.errors import Failure
from runwright.core.events import ProgressEvent, ProgressKind, TaskEnded
from runwright.core.states import RunState, TaskRole, TaskState
from runwright.engines.parent import inside
from runwright.engines.session import AttemptLog
from runwright.ports.system import Clock

Listener = Callable[[ProgressEvent], None]


class Progress:
    """Tells one listener what happens in one run, in order, each event before the next thing is done.

    An error of the listener never reaches the work.

    Args:
        run_id: Whose events.
        clock: Time of events that have none of their own.
        listener: Called with every event; None makes this object mute.
        within: Ids of the tasks of outer runs that this run is a part of, outermost first.

    Attributes:
        listens: False if nobody is to be told.
        error: The first error of the listener.
    """

    def __init__(
        self, run_id: str, clock: Clock, listener: Listener | None, within: tuple[str, ...] = ()
    ) -> None:
        self.listens = listener is not None
        self.error: Exception | None = None
        self._run_id = run_id
        self._clock = clock
        self._listener = listener
        self._within = within

    def run_started(self, total: int, name: str) -> None:
        """Tell that the run begins, or continues."""
        self._tell(
            ProgressKind.RUN_STARTED,
            self._clock.now(),
            task_name=name,
            total=total,
            run_state=RunState.RUNNING,
        )

    def run_done(self, state: RunState, reason: str) -> None:
        """Tell that the run has ended and its end is durable.

        Raises:
            Exception: What the listener raised first.
        """
        self._tell(ProgressKind.RUN_DONE, self._clock.now(), run_state=state, error=reason)
        if self.error is not None:
            raise self.error

    def started(
        self, at: datetime, task_id: str, name: str, attempt: int, role: TaskRole = TaskRole.TASK
    ) -> None:
        """Tell that an attempt begins."""
        self._tell(
            ProgressKind.TASK_STARTED,
            at,
            task_id=task_id,
            task_name=name,
            attempt=attempt,
            role=role,
            state=TaskState.RUNNING,
        )

    def retrying(
        self,
        at: datetime,
        task_id: str,
        name: str,
        attempt: int,
        delay: float,
        failure: Failure,
        role: TaskRole = TaskRole.TASK,
    ) -> None:
        """Tell that an attempt failed and another one follows."""
        self._tell(
            ProgressKind.TASK_RETRYING,
            at,
            task_id=task_id,
            task_name=name,
            attempt=attempt,
            role=role,
            delay=delay,
            error=failure.message,
            state=TaskState.PENDING,
        )

    def ended(self, event: TaskEnded, name: str) -> None:
        """Tell that a task has reached a final state."""
        kind = ProgressKind.TASK_FAILED if event.state is TaskState.FAILED else ProgressKind.TASK_DONE
        self._tell(
            kind,
            event.at,
            task_id=event.task_id,
            task_name=name,
            attempt=event.attempt,
            role=event.role,
            state=event.state,
            error=event.reason,
        )

    def output(self, task_id: str, attempt: int, log: AttemptLog) -> None:
        """Tell what an attempt printed."""
        self._tell(
            ProgressKind.TASK_OUTPUT,
            self._clock.now(),
            task_id=task_id,
            attempt=attempt,
            output=log.captured.decode("utf-8", "replace"),
            truncated=log.truncated,
        )

    def _tell(self, kind: ProgressKind, at: datetime, **fields: object) -> None:
        if self._listener is None:
            return
        event = ProgressEvent(kind=kind, run_id=self._run_id, at=at, within=self._within, **fields)  # type: ignore[arg-type]
        self._send(event)

    def pass_on(self, event: ProgressEvent) -> None:
        """Tell what has happened in a run that is the work of a task of this one."""
        self._send(inside(event, self._within))

    def _send(self, event: ProgressEvent) -> None:
        if self._listener is None:
            return
        try:
            self._listener(event)
        except Exception as error:
            self.error = self.error or error
