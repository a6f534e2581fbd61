"""What follows the ordinary tasks: handlers of failures, cleanups last to first, the workflow's own handler."""

from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence

from msgspec import structs

from runwright.core import condition
from runwright.core.errors import DefinitionError, Failure
from runwright.core.events import TaskRetrying, TaskStarted
from runwright.core.graph import Graph
from runwright.core.retry import delay_after, is_worth_another, policy_of
from runwright.core.states import TaskRole, TaskState
from runwright.core.workflow import TaskDefinition
from runwright.engines.attempt import Attempts
from runwright.engines.journal import Journal
from runwright.engines.outcome import Outcome, end_of
from runwright.engines.progress import Progress
from runwright.ports.system import Clock

AFTERMATH_SECONDS = 300.0
"""Longest a handler or the cleanups of one task may take if the file gives no `timeout`."""

WHOLE_RUN = "*"
"""Stands for the run in the id of the workflow's handler: ``notify@*``."""


class Aftermath:
    """Runs handlers and cleanups of one run; what becomes of them is recorded and changes nothing else.

    Args:
        graph: The run's nodes.
        attempts: Performs.
        journal: Records.
        progress: Tells listeners.
        clock: Time.
        draw: Random numbers in [0, 1) for jitter.
        made: Attempts made before, by row id, for a resumed run.
    """

    def __init__(
        self,
        graph: Graph,
        attempts: Attempts,
        journal: Journal,
        progress: Progress,
        clock: Clock,
        draw: Callable[[], float],
        made: Mapping[str, int],
    ) -> None:
        self._graph = graph
        self._handlers = graph.handlers()
        self._attempts = attempts
        self._journal = journal
        self._progress = progress
        self._clock = clock
        self._draw = draw
        self._made = dict(made)

    def work_after(self, node: int, failure: Failure) -> Callable[[], Awaitable[None]] | None:
        """Return how to run the handler of a task that failed for good or was stopped; None if it has none."""
        key = self._graph.definition(node).on_failure
        if key not in self._handlers:
            return None
        return lambda: self._handle(key, self._graph.ids[node], failure, {})

    async def run_failed(self, failed: Sequence[int], failure: Failure) -> None:
        """Run the workflow's handler.

        Args:
            failed: Nodes that failed, first failure first.
            failure: The first failure, or why the run was stopped.
        """
        workflow = self._graph.workflow
        if workflow.on_failure not in self._handlers:
            return
        ids = [self._graph.ids[node] for node in failed]
        told = {"failed_dag": workflow.name, "failed_tasks": " ".join(ids)}
        await self._handle(workflow.on_failure, WHOLE_RUN, failure, {**told, "failed_task": (ids or [""])[0]})

    async def clean_up(self, finished: Iterable[int]) -> None:
        """Run the cleanups of these tasks, one task after another, in the order given."""
        for node in finished:
            definition = self._graph.definition(node)
            if definition.cleanup:
                await self._clean_up_one(node, definition)

    async def _clean_up_one(self, node: int, definition: TaskDefinition) -> None:
        row_id = f"{self._graph.ids[node]}.cleanup"
        attempt = await self._begin(row_id, definition, TaskRole.CLEANUP)
        limit = definition.timeout or AFTERMATH_SECONDS
        outcome = await self._attempts.cleanup(
            row_id, self._graph.ids[node], definition, attempt, self._graph.matrix(node), limit
        )
        outcome = self._attempts.close_log(row_id, attempt, outcome, self._progress)
        self._end(row_id, definition, TaskRole.CLEANUP, attempt, outcome)

    async def _handle(self, key: str, failed_id: str, failure: Failure, told: Mapping[str, str]) -> None:
        """Run a handler, and if it fails and has a handler of its own, that one."""
        while key:
            definition = self._handlers[key]
            own = {**_told(failed_id, failure), **told}
            row_id = f"{key}@{failed_id}"
            outcome = await self._run_handler(row_id, definition, own)
            if outcome.state is not TaskState.FAILED or outcome.failure is None:
                return
            key, failed_id, failure = definition.on_failure, row_id, outcome.failure

    async def _run_handler(self, row_id: str, definition: TaskDefinition, own: Mapping[str, str]) -> Outcome:
        skipped = self._skips(row_id, definition, own)
        if skipped is not None:
            self._end(row_id, definition, TaskRole.HANDLER, 0, skipped)
            return skipped
        bounded = structs.replace(definition, timeout=definition.timeout or AFTERMATH_SECONDS)
        policy = policy_of(definition)
        made = 0
        while True:
            attempt = await self._begin(row_id, definition, TaskRole.HANDLER)
            made += 1
            outcome = await self._attempts.task(row_id, bounded, attempt, own)
            outcome = self._attempts.close_log(row_id, attempt, outcome, self._progress)
            failure = outcome.failure
            if failure is None or not is_worth_another(policy, made=made, failure=failure):
                break
            delay = delay_after(policy, made=made, draw=self._draw())
            self._retry(row_id, definition, attempt, delay, failure)
            await self._clock.sleep(delay)
        self._attempts.variables.set(row_id, outcome.variables)
        self._end(row_id, definition, TaskRole.HANDLER, attempt, outcome)
        return outcome

    def _skips(self, row_id: str, definition: TaskDefinition, own: Mapping[str, str]) -> Outcome | None:
        if not definition.condition:
            return None
        parsed = condition.parse(definition.condition)
        seen = self._attempts.variables.seen_by(row_id, own)
        try:
            holds = condition.evaluate(parsed, seen, condition.Status(failed=True))
        except DefinitionError as error:
            failure = Failure(
                code="E_CONDITION", message=f"condition `{definition.condition}`: {error.with_advice}"
            )
            return Outcome(state=TaskState.FAILED, failure=failure)
        if holds:
            return None
        return Outcome(
            state=TaskState.SKIPPED, reason=f"its condition is false: {condition.explain(parsed, seen)}"
        )

    async def _begin(self, row_id: str, definition: TaskDefinition, role: TaskRole) -> int:
        """Record that an attempt begins, and wait until that is durable."""
        attempt = self._made[row_id] = self._made.get(row_id, 0) + 1
        now = self._clock.now()
        self._progress.started(now, row_id, definition.name, attempt, role)
        await self._journal.append([TaskStarted(at=now, task_id=row_id, attempt=attempt, role=role)])
        return attempt

    def _retry(
        self, row_id: str, definition: TaskDefinition, attempt: int, delay: float, failure: Failure
    ) -> None:
        now, role = self._clock.now(), TaskRole.HANDLER
        event = TaskRetrying(at=now, task_id=row_id, attempt=attempt, delay=delay, failure=failure, role=role)
        self._journal.append([event])
        self._progress.retrying(now, row_id, definition.name, attempt, delay, failure, role)

    def _end(
        self, row_id: str, definition: TaskDefinition, role: TaskRole, attempt: int, outcome: Outcome
    ) -> None:
        reason = outcome.failure.message if outcome.failure is not None else outcome.reason
        event = end_of(outcome, self._clock.now(), row_id, attempt, reason, role)
        self._journal.append([event])
        self._progress.ended(event, definition.name)


def _told(failed_id: str, failure: Failure) -> dict[str, str]:
    return {
        "failed_task": failed_id,
        "error_message": failure.stderr_tail.strip() or failure.message,
        "exit_code": "" if failure.exit_code is None else str(failure.exit_code),
    }
