"""Children of a run's tasks: the items a task is mapped over, and the tasks its executor asks for next.

They are recorded like tasks, under ids such as ``deploy.3``. A child starts once its start is durable, and its end stands
in the log before the start of what depends on it. A child has succeeded when all that follows from it has.
"""

import asyncio
from collections.abc import Callable, Mapping, Sequence
from datetime import datetime
from typing import Any

from runwright.core.children import failure_of, fingerprint, item_tasks, item_values, items_of
from runwright.core.errors import Failure, TaskFailed
from runwright.core.events import AnyEvent, ChildrenPlanned, TaskEnded, TaskRetrying, TaskStarted
from runwright.core.graph import Graph
from runwright.core.retry import delay_after, is_worth_another, policy_of
from runwright.core.run import TaskRow
from runwright.core.states import TaskRole, TaskState
from runwright.core.task import Result, Task, TaskId
from runwright.core.workflow import ItemFailures, TaskDefinition
from runwright.engines.attempt import Attempts
from runwright.engines.family import Family, Member, children_of
from runwright.engines.journal import Journal
from runwright.engines.outcome import PLAIN_SUCCESS, Outcome
from runwright.engines.progress import Progress
from runwright.engines.slots import Slots
from runwright.ports.system import Clock

RESERVED = "cleanup"
"""No child may have this name: ``task.cleanup`` is the cleanup of a task."""


class Children:
    """Runs the children of one run's tasks.

    Args:
        graph: The run's nodes.
        attempts: Performs.
        journal: Records.
        progress: Tells listeners.
        clock: Time.
        draw: Random numbers in [0, 1) for jitter.
        slots: The run's workers.
        stopped: Says why nothing new of a node is to start; empty while it may.
        fails_fast: True if the failure of a child ends its siblings at once.
        rows: The run's tasks as they were recorded before, by id.
        former: Fingerprints by id of the children whose outcome stands if they are asked for again.
    """

    def __init__(
        self,
        *,
        graph: Graph,
        attempts: Attempts,
        journal: Journal,
        progress: Progress,
        clock: Clock,
        draw: Callable[[], float],
        slots: Slots,
        stopped: Callable[[int], str],
        fails_fast: bool,
        rows: Mapping[str, TaskRow],
        former: Mapping[str, str],
    ) -> None:
        self.graph = graph
        self.attempts = attempts
        self.journal = journal
        self.progress = progress
        self.clock = clock
        self.draw = draw
        self.slots = slots
        self.stopped = stopped
        self.fails_fast = fails_fast
        self.former = former
        self.rows = {row.id: row for row in rows.values() if row.role is TaskRole.CHILD}
        self.made = {row.id: row.attempts for row in self.rows.values()}

    async def of_items(self, node: int, attempt: int) -> Outcome:
        """Map a task over its list; the value is the list of the items' values."""
        try:
            values = items_of(self.attempts.list_of(node))
        except TaskFailed as error:
            return self.failed(error.failure)
        items = item_tasks(self.graph.ids[node], values)
        household = _Household(self, node)
        outcome = await household.map(attempt, items, values)
        if outcome.state is not TaskState.SUCCEEDED:
            return outcome
        results = household.family.results()
        return self.attempts.collected(
            node, [results[task.id].value if task.id in results else None for task in items]
        )

    async def of_followups(self, node: int, attempt: int, own: Outcome) -> Outcome:
        """Run what the executor of a task asked for; the task's outcome is its own, or that its children failed."""
        task = Task(id=TaskId(self.graph.ids[node]))
        try:
            children = children_of(task, Result(followups=own.followups))
        except TaskFailed as error:
            return self.failed(error.failure)
        outcome = await _Household(self, node).run(attempt, children)
        return own if outcome.state is TaskState.SUCCEEDED else outcome

    def failed(self, failure: Failure) -> Outcome:
        """Return the outcome of a task that failed so."""
        return Outcome(state=TaskState.FAILED, failure=self.attempts.redacted(failure))


class _Household:
    """The children of one node in one attempt, and all that follows from them."""

    def __init__(self, house: Children, node: int) -> None:
        self._house = house
        self._node = node
        self._node_id = house.graph.ids[node]
        self._definition: TaskDefinition = house.graph.definition(node)
        self._policy = policy_of(self._definition)
        self._items: Mapping[str, Mapping[str, Any]] = {}
        self._recorded: set[str] = set()
        self._decided: dict[str, Outcome] = {}
        self._ignores = False
        self._keeps_going = False

    async def map(self, attempt: int, tasks: Sequence[Task], values: Sequence[Any]) -> Outcome:
        """Run the task once for each item."""
        self._items = {
            task.id: item_values(value, index)
            for index, (task, value) in enumerate(zip(tasks, values, strict=True))
        }
        self._ignores = self._definition.item_failures is ItemFailures.IGNORE
        self._keeps_going = self._definition.item_failures is not ItemFailures.STOP
        return await self.run(attempt, tasks)

    async def run(self, attempt: int, tasks: Sequence[Task]) -> Outcome:
        """Run tasks and all that follows from them."""
        house, definition = self._house, self._definition
        self.family = Family(
            self._body,
            house.slots,
            pool=definition.pool,
            keeps_going=self._keeps_going,
            halts=lambda: bool(house.stopped(self._node)),
            on_whole=self._whole,
        )
        try:
            self._plan(self._node_id, attempt, tasks)
            await self.family.run(tasks)
        except TaskFailed as error:
            return house.failed(error.failure)
        finally:
            self._record_rest()
        return self._outcome()

    def _outcome(self) -> Outcome:
        errors, members = self.family.errors, self.family.members
        if errors and not self._ignores:
            return self._house.failed(failure_of(errors, len(members)))
        if self._house.stopped(self._node) and not all(one.is_whole or one.error for one in members):
            return Outcome(state=TaskState.CANCELLED)
        return Outcome(state=TaskState.SUCCEEDED)

    def _plan(self, parent_id: str, attempt: int, tasks: Sequence[Task]) -> None:
        """Record what is to run before any of it does.

        Raises:
            TaskFailed: With code ``E_FOLLOWUPS`` if it can't be recorded.
        """
        if any(task.id == f"{parent_id}.{RESERVED}" for task in tasks):
            message = (
                f'a follow-up can\'t be "{RESERVED}": "{parent_id}.{RESERVED}" is the cleanup of the task'
            )
            raise TaskFailed(Failure(code="E_FOLLOWUPS", message=message))
        digests = {str(task.id): fingerprint(task) for task in tasks}
        self._append(
            ChildrenPlanned(at=self._now(), task_id=parent_id, attempt=attempt, children=digests), lazy=True
        )

    async def _body(self, task: Task) -> Result:
        """Run a child, or take over what it did before; its follow-ups come out with the result."""
        house = self._house
        if house.former.get(task.id) == fingerprint(task):
            self._recorded.add(task.id)
            return Result(value=house.rows[task.id].value)
        made = 0
        while True:
            made += 1
            number = house.made[task.id] = house.made.get(task.id, 0) + 1
            outcome = await self._attempt(task, number)
            failure = outcome.failure
            if failure is None:
                return self._succeeded(task, number, outcome)
            if house.stopped(self._node) or not is_worth_another(self._policy, made=made, failure=failure):
                self._end(task.id, number, TaskState.FAILED, failure=failure)
                if house.fails_fast and not self._keeps_going:
                    self.family.abort()
                raise TaskFailed(failure)
            await self._wait(task, number, made, failure)

    async def _attempt(self, task: Task, number: int) -> Outcome:
        house, now = self._house, self._now()
        try:
            started = TaskStarted(at=now, task_id=task.id, attempt=number, role=TaskRole.CHILD)
            await asyncio.shield(self._append(started))
            house.progress.started(now, task.id, task.id, number, TaskRole.CHILD)
            if task.id in self._items:
                own = {**house.graph.matrix(self._node), **task.args}
                typed = self._items[task.id]
                outcome = await house.attempts.item(task.id, self._definition, number, own, typed)
            else:
                outcome = await house.attempts.followup(task, self._definition, number)
        except asyncio.CancelledError:
            house.attempts.close_log(task.id, number, Outcome(state=TaskState.CANCELLED), house.progress)
            why = house.stopped(self._node) or "another child failed"
            self._end(task.id, number, TaskState.CANCELLED, reason=why)
            raise
        return house.attempts.close_log(task.id, number, outcome, house.progress)

    def _succeeded(self, task: Task, number: int, outcome: Outcome) -> Result:
        house = self._house
        house.attempts.variables.set(task.id, outcome.variables)
        result = Result(value=outcome.value, variables=outcome.variables, followups=outcome.followups)
        if outcome.reason:
            self._decided[task.id] = outcome
        try:
            if result.followups:
                self._plan(task.id, number, children_of(task, result))
        except TaskFailed as error:
            failure = house.attempts.redacted(error.failure)
            self._end(task.id, number, TaskState.FAILED, failure=failure)
            raise TaskFailed(failure) from None
        return result

    async def _wait(self, task: Task, number: int, made: int, failure: Failure) -> None:
        house = self._house
        delay = delay_after(self._policy, made=made, draw=house.draw())
        now = self._now()
        self._append(
            TaskRetrying(
                at=now,
                task_id=task.id,
                attempt=number,
                delay=delay,
                failure=failure,
                role=TaskRole.CHILD,
            )
        )
        house.progress.retrying(now, task.id, task.id, number, delay, failure, TaskRole.CHILD)
        try:
            async with house.slots.lent():
                await house.clock.sleep(delay)
        except asyncio.CancelledError:
            self._end(task.id, number, TaskState.FAILED, failure=failure)
            raise

    def _whole(self, member: Member) -> None:
        """Record that a child and all that follows from it has succeeded."""
        task_id, result = member.task.id, member.result
        if task_id not in self._recorded and result is not None:
            number = self._house.made[task_id]
            decided = self._decided.pop(task_id, PLAIN_SUCCESS)
            self._end(task_id, number, TaskState.SUCCEEDED, result=result, decided=decided)

    def _record_rest(self) -> None:
        """End the children that have not: what did not start, and what waited for its own."""
        why = self._house.stopped(self._node) or "nothing more was started after a failure"
        for member in self.family.members:
            task_id = member.task.id
            if task_id in self._recorded:
                continue
            if member.result is None:
                self._end(task_id, 0, TaskState.CANCELLED, reason=why)
            else:
                self._end(
                    task_id, self._house.made[task_id], TaskState.CANCELLED, reason=f"its own children: {why}"
                )

    def _end(
        self,
        task_id: str,
        number: int,
        state: TaskState,
        *,
        reason: str = "",
        failure: Failure | None = None,
        result: Result | None = None,
        decided: Outcome = PLAIN_SUCCESS,
    ) -> None:
        self._recorded.add(task_id)
        event = TaskEnded(
            at=self._now(),
            task_id=task_id,
            attempt=number,
            state=state,
            reason=(reason or decided.reason) if failure is None else failure.message,
            failure=failure,
            value=None if result is None else result.value,
            variables={} if result is None else result.variables,
            ignored=self._ignores and state is TaskState.FAILED,
            role=TaskRole.CHILD,
            details=decided.details,
            spared=decided.spared,
        )
        self._append(event, lazy=True)
        self._house.progress.ended(event, task_id)

    def _append(self, event: AnyEvent, *, lazy: bool = False) -> "asyncio.Future[None]":
        return self._house.journal.append([event], lazy=lazy)

    def _now(self) -> datetime:
        return self._house.clock.now()
