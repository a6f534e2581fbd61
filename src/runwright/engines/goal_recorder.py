"""What a control loop records, tells and logs, event by event."""

import asyncio
from collections.abc import Sequence
from typing import TYPE_CHECKING

from runwright.core.errors import Failure
from runwright.core.events import AnyEvent, RoundPlanned, RunEnded, TaskEnded, TaskStarted
from runwright.core.goal import Ending
from runwright.core.goalplace import Place, printable
from runwright.core.states import RunState, TaskState
from runwright.engines.journal import Journal
from runwright.engines.progress import Progress
from runwright.engines.session import AttemptLog
from runwright.ports.system import Clock

if TYPE_CHECKING:
    from logging import Logger

ATTEMPT = 1
"""Actions are not tried again within a round: the next round asks for them if they are still needed."""


class NoRecord:
    """Records nothing and tells nobody: for goals without a store."""

    async def begin(self, place: Place) -> None:
        """Let others have their turn: hooks may never wait, and a stop must be heard."""
        await asyncio.sleep(0)

    def planned(self, place: Place, actions: Sequence[str], failure: Failure | None) -> None:
        """Do nothing."""

    def end(self, place: Place, state: TaskState, failure: Failure | None = None) -> None:
        """Do nothing."""

    def output(self, place: Place, log: AttemptLog) -> None:
        """Do nothing."""

    async def finish(self, ending: Ending) -> None:
        """Do nothing."""


class GoalRecorder:
    """Records one execution in the log of its run, and tells a listener.

    The planning of a round is a task with the round's number as its id, and each action one below it. What begins is
    durable before it runs; what has ended is durable before the next thing begins.

    Args:
        journal: Records.
        progress: Tells.
        clock: Time.
    """

    def __init__(self, journal: Journal, progress: Progress, clock: Clock) -> None:
        self._journal = journal
        self._progress = progress
        self._clock = clock

    async def begin(self, place: Place) -> None:
        """Record that an action or the planning of a round begins, and wait until that is durable."""
        at = self._clock.now()
        self._progress.started(at, place.id, place.name, ATTEMPT)
        await self._journal.append([TaskStarted(at=at, task_id=place.id, attempt=ATTEMPT)])

    def planned(self, place: Place, actions: Sequence[str], failure: Failure | None) -> None:
        """Record which actions the goal needs, or why it could not say."""
        state = TaskState.SUCCEEDED if failure is None else TaskState.FAILED
        planned = RoundPlanned(
            at=self._clock.now(), round=place.round, actions=tuple(actions), failure=failure
        )
        self._ended(place, state, failure, planned)

    def end(self, place: Place, state: TaskState, failure: Failure | None = None) -> None:
        """Record how an action ended, or that a round was not planned to the end."""
        self._ended(place, state, failure)

    def output(self, place: Place, log: AttemptLog) -> None:
        """Tell what was printed."""
        self._progress.output(place.id, ATTEMPT, log)

    async def finish(self, ending: Ending) -> None:
        """Record the end of the run, and wait until all of it is durable."""
        event = RunEnded(at=self._clock.now(), state=ending.state, reason=ending.reason)
        await self._journal.append([event])

    def _ended(self, place: Place, state: TaskState, failure: Failure | None, *more: AnyEvent) -> None:
        event = TaskEnded(
            at=self._clock.now(),
            task_id=place.id,
            attempt=ATTEMPT,
            state=state,
            reason="" if failure is None else failure.message,
            failure=failure,
        )
        self._journal.append([event, *more], lazy=True)  # whatever begins next makes it durable
        self._progress.ended(event, place.name)


class Report:
    """Tells a logger what a loop does; what it is given is redacted already.

    Args:
        logger: Told; None makes this object mute.
    """

    def __init__(self, logger: "Logger | None" = None) -> None:
        self._logger = logger

    def planned(self, number: int, names: Sequence[str]) -> None:
        """Tell what a round needs."""
        if self._logger is None:
            return
        if names:
            self._logger.info(
                "round %d: %d still needed: %s", number, len(names), ", ".join(map(printable, names))
            )
        else:
            self._logger.info("round %d: nothing is needed any more", number)

    def begins(self, place: Place) -> None:
        """Tell that an action begins."""
        if self._logger is not None:
            self._logger.info("round %d: %s begins", place.round, printable(place.name))

    def succeeded(self, place: Place) -> None:
        """Tell that an action succeeded."""
        if self._logger is not None:
            self._logger.info("round %d: %s succeeded", place.round, printable(place.name))

    def tolerated(self, name: str, message: str, errors: int, most: int) -> None:
        """Tell of an error that does not end the loop."""
        if self._logger is not None:
            self._logger.warning(
                "%s failed, error %d of %d tolerated: %s", printable(name), errors, most, message
            )

    def waits(self, seconds: float) -> None:
        """Tell how long the loop waits before the next round."""
        if self._logger is not None:
            self._logger.debug("the next round follows after %g s", seconds)

    def ends(self, ending: Ending) -> None:
        """Tell how the loop ends."""
        if self._logger is None:
            return
        if ending.state is RunState.SUCCEEDED:
            self._logger.info("the goal is reached")
        else:
            self._logger.error("the goal is not reached: %s", ending.reason)
