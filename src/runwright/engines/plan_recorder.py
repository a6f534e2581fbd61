"""What a plan's execution records and tells, event by event."""

import asyncio
from collections.abc import Sequence
from datetime import datetime

from runwright.core.errors import Failure
from runwright.core.events import AnyEvent, RunEnded, StateSaved, TaskEnded, TaskRetrying, TaskStarted
from runwright.core.plan import Abandon, Again, Begin, Element, End, Finish, PlanDefinition
from runwright.core.planlog import CLEANUP_SUFFIX
from runwright.core.planstate import State, Stored
from runwright.core.states import TaskRole, TaskState
from runwright.engines.journal import Journal
from runwright.engines.progress import Progress
from runwright.engines.session import AttemptLog
from runwright.ports.system import Clock


class Silence:
    """Records nothing and tells nobody: for plans without a store."""

    async def begin(self, action: Begin) -> None:
        """Let others have their turn: hooks may never wait, and a stop must be heard."""
        await asyncio.sleep(0)

    def again(self, action: Again) -> None:
        """Do nothing."""

    def end(self, action: End) -> None:
        """Do nothing."""

    def abandon(self, action: Abandon) -> None:
        """Do nothing."""

    async def begin_cleanup(self, index: int) -> int:
        """Return the number of the attempt."""
        return 1

    def end_cleanup(self, index: int, failure: Failure | None) -> None:
        """Do nothing."""

    def output(self, row_id: str, attempt: int, log: AttemptLog) -> None:
        """Do nothing."""

    async def save(self, index: int) -> None:
        """Do nothing."""

    async def finish(self, action: Finish) -> None:
        """Do nothing."""


class Recorder:
    """Records one execution in the log of its run, and tells a listener.

    What begins is durable before it runs; what has ended is durable before the next thing begins.

    Args:
        plan: Whose elements.
        journal: Records.
        progress: Tells.
        clock: Time.
        state: What the steps share.
        stored: What of it is stored already.
        made: Attempts made at cleanups before, by index of the step.
    """

    def __init__(
        self,
        plan: PlanDefinition,
        journal: Journal,
        progress: Progress,
        clock: Clock,
        state: State,
        stored: Stored,
        made: dict[int, int],
    ) -> None:
        self._plan = plan
        self._journal = journal
        self._progress = progress
        self._clock = clock
        self._state = state
        self._stored = stored
        self._made = made

    async def begin(self, action: Begin) -> None:
        """Record that an attempt or a pause begins, and wait until that is durable."""
        element, at = self._plan.elements[action.index], self._clock.now()
        self._progress.started(at, element.name, element.name, action.attempt)
        await self._journal.append([TaskStarted(at=at, task_id=element.name, attempt=action.attempt)])

    def again(self, action: Again) -> None:
        """Record that an attempt failed and another follows."""
        element, at = self._plan.elements[action.index], self._clock.now()
        event = TaskRetrying(
            at=at, task_id=element.name, attempt=action.attempt, delay=action.delay, failure=action.failure
        )
        self._append([event])
        self._progress.retrying(at, element.name, element.name, action.attempt, action.delay, action.failure)

    def end(self, action: End) -> None:
        """Record how an element ended."""
        element = self._plan.elements[action.index]
        event = TaskEnded(
            at=self._clock.now(),
            task_id=element.name,
            attempt=action.attempt,
            state=action.state,
            reason=action.reason,
            failure=action.failure,
        )
        self._append([event])
        self._progress.ended(event, element.name)

    def abandon(self, action: Abandon) -> None:
        """Record what never starts."""
        at = self._clock.now()
        elements = [self._plan.elements[index] for index in action.indices]
        events = [_never(at, element, action.reason) for element in elements]
        self._append(events)
        for event, element in zip(events, elements, strict=True):
            self._progress.ended(event, element.name)

    async def begin_cleanup(self, index: int) -> int:
        """Record that a cleanup begins, wait until that is durable, and return the number of the attempt."""
        name, at = self._plan.elements[index].name, self._clock.now()
        attempt = self._made[index] = self._made.get(index, 0) + 1
        role = TaskRole.CLEANUP
        self._progress.started(at, name + CLEANUP_SUFFIX, name, attempt, role)
        event = TaskStarted(at=at, task_id=name + CLEANUP_SUFFIX, attempt=attempt, role=role)
        await self._journal.append([event])
        return attempt

    def end_cleanup(self, index: int, failure: Failure | None) -> None:
        """Record how a cleanup ended."""
        name = self._plan.elements[index].name
        event = TaskEnded(
            at=self._clock.now(),
            task_id=name + CLEANUP_SUFFIX,
            attempt=self._made[index],
            state=TaskState.SUCCEEDED if failure is None else TaskState.FAILED,
            reason="" if failure is None else failure.message,
            failure=failure,
            role=TaskRole.CLEANUP,
        )
        self._append([event])
        self._progress.ended(event, name)

    def output(self, row_id: str, attempt: int, log: AttemptLog) -> None:
        """Tell what an attempt or a cleanup printed."""
        self._progress.output(row_id, attempt, log)

    async def save(self, index: int) -> None:
        """Store what a hook has changed in the state, and wait until that is durable."""
        difference = self._stored.difference(self._state)
        if difference:
            event = StateSaved(
                at=self._clock.now(),
                task_id=self._plan.elements[index].name,
                values=difference.values,
                removed=difference.removed,
                lost=difference.lost,
            )
            await self._journal.append([event])

    async def finish(self, action: Finish) -> None:
        """Record the end of the run, and wait until all of it is durable."""
        await self._journal.append([RunEnded(at=self._clock.now(), state=action.state, reason=action.reason)])

    def _append(self, events: Sequence[AnyEvent]) -> None:
        self._journal.append(events, lazy=True)  # whatever begins next makes it durable


def _never(at: datetime, element: Element, reason: str) -> TaskEnded:
    return TaskEnded(at=at, task_id=element.name, attempt=0, state=TaskState.CANCELLED, reason=reason)
