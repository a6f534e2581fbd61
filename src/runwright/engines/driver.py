"""The loop of one run: ask the planner, perform, record, ask again.

What is recorded when:

* A body starts only once its reservation is durable. Reservations are appended a little ahead of the starts, so that
  independent work never waits for the disk; they follow the ends of what the task needs in the log, so that no
  dependent starts before its dependencies' success is durable.
* An end is appended as soon as it is known, and nobody waits for it but what depends on it.
"""

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import TYPE_CHECKING

from msgspec import Struct

from runwright.core.errors import Failure
from runwright.core.events import (
    AnyEvent,
    AttemptsReserved,
    CancelRequested,
    TaskRetrying,
    TaskStarted,
)
from runwright.core.graph import Graph
from runwright.core.planner import Planner, Settle
from runwright.core.retry import RetryPolicy, delay_after, is_worth_another, policy_of
from runwright.core.states import TaskState
from runwright.engines.attempt import Attempts
from runwright.engines.groups import cancel_once, first_error
from runwright.engines.journal import Journal
from runwright.engines.outcome import Outcome, end_of
from runwright.engines.progress import Progress
from runwright.engines.slots import Held, Slots
from runwright.ports.system import Clock

if TYPE_CHECKING:
    from runwright.engines.children import Children

SMALLEST_WINDOW = 4
LARGEST_WINDOW = 1024
"""How many attempts may be reserved ahead of their start, beyond the number of workers.

What is reserved keeps its place in the order, so the window is as small as the disk allows: it doubles when a start had
to wait for a commit, and shrinks by a part of `SHRINKING` with every reservation.
"""
SHRINKING = 16

MOST_SPARED = 256
"""Tasks found up to date in one turn of the event loop: some milliseconds."""


Work = Callable[[], Awaitable[None]]


class _Reserved(Struct):
    node: int
    attempt: int
    gate: "asyncio.Future[None]"


class Driver:
    """Drives the ordinary tasks of one run to their ends.

    Args:
        planner: Decides.
        attempts: Performs.
        journal: Records.
        progress: Tells listeners.
        clock: Time.
        draw: Random numbers in [0, 1) for jitter.
        workers: Most attempts at a time.
        made: Attempts made before, by node, for a resumed run.
        slots: Places for those attempts, and for those at children.
        children: Returns what runs the children of tasks; called when a task has some.
        on_failed: Asked about each task that failed for good, or was stopped while it ran; the work it returns, if
            any, is begun at once and waited for before the run ends.
    """

    def __init__(
        self,
        *,
        planner: Planner,
        attempts: Attempts,
        journal: Journal,
        progress: Progress,
        clock: Clock,
        draw: Callable[[], float],
        workers: int,
        made: Mapping[int, int],
        slots: Slots,
        children: "Callable[[], Children]",
        on_failed: Callable[[int, Failure], Work | None],
    ) -> None:
        self.planner = planner
        self.finished: list[int] = []
        self.first_failure: Failure | None = None
        self._graph: Graph = planner.graph
        self._attempts = attempts
        self._journal = journal
        self._progress = progress
        self._clock = clock
        self._draw = draw
        self._workers = workers
        self._window = SMALLEST_WINDOW
        self._made = dict(made)
        self._before = made
        self._policies: dict[int, RetryPolicy] = {}
        self._last_failure: dict[int, tuple[int, Failure]] = {}
        self._slots = slots
        self._children = children
        self._on_failed = on_failed
        self._queue: deque[_Reserved] = deque()
        self._running: dict[int, asyncio.Task[None]] = {}
        self._delayed: dict[int, asyncio.Task[None]] = {}
        self._handling = 0
        self._out: list[AnyEvent] = []
        self._woken = False
        self._group: asyncio.TaskGroup | None = None
        self._idle: asyncio.Future[None] | None = None

    async def drive(self) -> None:
        """Return when every ordinary task has a final state and all handlers of tasks have ended.

        Raises:
            RunwrightError: If the run can't be recorded any more; what was running has been stopped.
        """
        self._idle = asyncio.get_running_loop().create_future()
        try:
            async with asyncio.TaskGroup() as self._group:
                self._wake()
                await self._idle
        except BaseExceptionGroup as group:
            raise first_error(group) from None

    def stop(self, reason: str) -> None:
        """Stop what runs, and start nothing more; once everything has ended this changes nothing."""
        if self.planner.cancelled or self._has_given_up:
            return
        self.planner.cancel(reason)
        self._out.append(CancelRequested(at=self._clock.now(), reason=reason))
        self._stop_running()
        self._wake()

    def fail(self, error: Exception) -> None:
        """Give up at once: the run can't be recorded any more."""
        if self._idle is not None and not self._idle.done():
            self._idle.set_exception(error)

    def _stop_running(self) -> None:
        """Cancel what runs, after its first step: a task that is cancelled before that never gets to say so."""
        for task in (*self._running.values(), *self._delayed.values()):
            task.get_loop().call_soon(cancel_once, task)

    def _wake(self) -> None:
        """Decide what to do next, once for everything that happens in this turn of the event loop."""
        if not self._woken and self._idle is not None:
            self._woken = True
            self._idle.get_loop().call_soon(self._pump)

    def _pump(self) -> None:
        """Decide, record and start what can be."""
        self._woken = False
        if self._has_given_up:
            return
        try:
            self._drop_stopped()
            self._reserve()
            self._start()
            self._flush()
        except Exception as error:
            self.fail(error)
        self._check_idle()

    @property
    def _has_given_up(self) -> bool:
        return self._idle is not None and self._idle.done()

    def _check_idle(self) -> None:
        busy = self._running or self._delayed or self._queue or self._handling
        if not busy and not self.planner.left and not self._has_given_up:
            assert self._idle is not None
            self._idle.set_result(None)

    def _flush(self) -> None:
        if self._out:
            events, self._out = self._out, []
            self._journal.append(
                events, lazy=True
            )  # what waits for an end is reserved, and that is not put off

    @property
    def _is_busy(self) -> bool:
        """True while every worker has something to do, so that nothing waits for the disk."""
        return not self._slots.is_free

    def _reserve(self) -> None:
        """Let the planner decide as far ahead as the window reaches, and reserve what may start."""
        room = self._workers + self._window - len(self._queue) - len(self._running)
        if len(self._queue) > self._window // 2:
            return
        with self._attempts.sweep():
            reserved = self._decide(room)
        if reserved:
            self._append_reservation(reserved)
            self._window = max(SMALLEST_WINDOW, self._window - self._window // SHRINKING)

    def _decide(self, room: int) -> list[int]:
        """Settle what needs no attempt, and return what may start, so many at most."""
        reserved: list[int] = []
        spared = 0
        while len(reserved) < room and (decision := self.planner.next()) is not None:
            if isinstance(decision, Settle):
                self._settle(decision)
            elif (outcome := self._attempts.spared(decision.node)) is None:
                reserved.append(decision.node)
            else:
                self._attempts.keep(
                    self._graph.ids[decision.node], self._graph.definition(decision.node), outcome
                )
                self._record(decision.node, 0, outcome, outcome.reason)
                spared += 1
                if spared >= MOST_SPARED:  # others want to be heard too
                    self._wake()
                    break
        return reserved

    def _append_reservation(self, nodes: Sequence[int]) -> None:
        numbers = {node: self._made.get(node, 0) + 1 for node in nodes}
        by_id = {self._graph.ids[node]: number for node, number in numbers.items()}
        self._made.update(numbers)
        events = [*self._out, AttemptsReserved(at=self._clock.now(), attempts=by_id)]
        self._out = []
        gate = self._journal.append(events, lazy=self._is_busy)
        gate.add_done_callback(self._on_durable)
        self._queue.extend(_Reserved(node, number, gate) for node, number in numbers.items())

    def _on_durable(self, gate: "asyncio.Future[None]") -> None:
        if not gate.cancelled() and gate.exception() is None:
            self._wake()

    def _start(self) -> None:
        while self._queue and not self._is_busy:
            gate = self._queue[0].gate
            if not gate.done():
                self._window = min(LARGEST_WINDOW, 2 * self._window)
                self._journal.hurry()
                return
            gate.result()  # what could not be reserved must not start
            self._launch(self._queue.popleft())
        if self._queue:
            self._slots.call(self, self._wake)  # children may hold the places

    def _launch(self, reserved: _Reserved) -> None:
        assert self._group is not None
        node, attempt = reserved.node, reserved.attempt
        if (settle := self.planner.drop(node)) is not None:  # a listener has just stopped the run
            self._settle(settle)
            return
        self.planner.started(node)
        row_id = self._graph.ids[node]
        now = self._clock.now()
        self._out.append(TaskStarted(at=now, task_id=row_id, attempt=attempt))
        held = self._slots.take()
        assert held is not None
        self._running[node] = self._group.create_task(self._run(node, attempt, held))
        if self._progress.listens:
            self._progress.started(now, row_id, self._graph.definition(node).name, attempt)

    async def _run(self, node: int, attempt: int, held: Held) -> None:
        try:
            if self._graph.definition(node).for_each:
                held.release()  # it has no work of its own
                outcome = await self._children().of_items(node, attempt)
            else:
                outcome = await self._attempts.node(node, attempt)
                if outcome.followups:
                    held.release()
                    outcome = await self._children().of_followups(node, attempt, outcome)
        except asyncio.CancelledError:
            if self._has_given_up or not self.planner.stop_reason:
                raise
            outcome = Outcome(state=TaskState.CANCELLED)
        outcome = self._attempts.close_log(self._graph.ids[node], attempt, outcome, self._progress)
        del self._running[node]
        self._ended(node, attempt, outcome)
        held.release()  # only now: what waits for the place must see whether the run stops
        self._wake()

    def _ended(self, node: int, attempt: int, outcome: Outcome) -> None:
        if outcome.state is TaskState.SUCCEEDED:
            self._attempts.keep(self._graph.ids[node], self._graph.definition(node), outcome)
            if not outcome.spared or outcome.followups:
                self.finished.append(node)
            self._record(node, attempt, outcome, outcome.reason)
        elif outcome.state is TaskState.CANCELLED:
            self._cancelled(node, attempt)
        else:
            self._failed(node, attempt, outcome)

    def _cancelled(self, node: int, attempt: int) -> None:
        failure = Failure(code="E_CANCELLED", message=self.planner.stop_reason)
        outcome = Outcome(state=TaskState.CANCELLED, failure=failure)
        self._record(node, attempt, outcome, self.planner.stop_reason)
        self._handle(node, failure)

    def _failed(self, node: int, attempt: int, outcome: Outcome) -> None:
        assert outcome.failure is not None
        made = attempt - self._before.get(node, 0)
        policy = self._policy(node)
        stopping = self.planner.stop_reason
        if not stopping and is_worth_another(policy, made=made, failure=outcome.failure):
            self._retry(node, attempt, delay_after(policy, made=made, draw=self._draw()), outcome.failure)
            return
        self._give_up(node, attempt, outcome.failure)

    def _give_up(self, node: int, attempt: int, failure: Failure) -> None:
        if self.first_failure is None and not self._graph.definition(node).ignore_failure:
            self.first_failure = failure
        outcome = Outcome(state=TaskState.FAILED, failure=failure)
        self._record(node, attempt, outcome, failure.message)
        self._handle(node, failure)
        if self.planner.fails_fast:
            self._stop_running()

    def _policy(self, node: int) -> RetryPolicy:
        group = self._graph.group_of[node]
        if group not in self._policies:
            self._policies[group] = policy_of(self._graph.definition(node))
        return self._policies[group]

    def _retry(self, node: int, attempt: int, delay: float, failure: Failure) -> None:
        assert self._group is not None
        self._last_failure[node] = attempt, failure
        now = self._clock.now()
        row_id = self._graph.ids[node]
        self._out.append(TaskRetrying(at=now, task_id=row_id, attempt=attempt, delay=delay, failure=failure))
        self._progress.retrying(now, row_id, self._graph.definition(node).name, attempt, delay, failure)
        self._delayed[node] = self._group.create_task(self._wait_and_retry(node, delay))

    async def _wait_and_retry(self, node: int, delay: float) -> None:
        try:
            await self._clock.sleep(delay)
        except asyncio.CancelledError:
            if self._has_given_up or not self.planner.stop_reason:
                raise
        del self._delayed[node]
        self.planner.retry(node)
        self._wake()

    def _drop_stopped(self) -> None:
        """End what was reserved but must not start any more."""
        if not self.planner.stop_reason or not self._queue:
            return
        waiting, self._queue = self._queue, deque()
        for reserved in waiting:
            settle = self.planner.drop(reserved.node)
            if settle is None:
                self._queue.append(reserved)
            else:
                self._settle(settle)

    def _settle(self, decision: Settle) -> None:
        """End a node without a (further) attempt."""
        node = decision.node
        if node in self._last_failure and decision.state is TaskState.CANCELLED:
            attempt, failure = self._last_failure[node]
            self._give_up(node, 0 if self._made[node] > attempt else attempt, failure)
        elif decision.failure is not None:
            self._give_up(node, 0, decision.failure)
        else:
            self._record(node, 0, Outcome(state=decision.state), decision.reason)

    def _record(self, node: int, attempt: int, outcome: Outcome, reason: str = "") -> None:
        definition = self._graph.definition(node)
        row_id = self._graph.ids[node]
        ignored = definition.ignore_failure and outcome.state is TaskState.FAILED
        event = end_of(outcome, self._clock.now(), row_id, attempt, reason, ignored=ignored)
        self._out.append(event)
        if self._progress.listens:
            self._progress.ended(event, definition.name)
        self.planner.ended(node, outcome.state, ignored=ignored)

    def _handle(self, node: int, failure: Failure) -> None:
        work = self._on_failed(node, failure)
        if work is not None:
            assert self._group is not None
            self._flush()  # the handler's start comes after what it handles
            self._handling += 1
            self._group.create_task(self._wait_for_handler(work))

    async def _wait_for_handler(self, work: Work) -> None:
        await work()
        self._handling -= 1
        self._wake()
