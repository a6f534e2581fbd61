"""What a run does next, as a function of what has happened: the one place that decides about tasks.

The engine asks `Planner.next` until it answers None, performs what it is told, and reports each end with
`Planner.ended`. A fresh run, a resumed one and a dry run differ only in the states they begin with.
"""

from collections.abc import Mapping

from msgspec import Struct

from runwright.core import condition
from runwright.core.errors import DefinitionError, Failure
from runwright.core.graph import Graph
from runwright.core.options import FailurePolicy, Strategy
from runwright.core.run import TaskCounts
from runwright.core.runvars import RunVariables
from runwright.core.states import FINAL_TASK_STATES, RunState, TaskState
from runwright.core.strategy import Frontier


class Start(Struct, frozen=True):
    """Begin an attempt of this node."""

    node: int


class Settle(Struct, frozen=True):
    """End this node without an attempt."""

    node: int
    state: TaskState
    reason: str
    failure: Failure | None = None


Decision = Start | Settle

_GOOD = frozenset({TaskState.SUCCEEDED, TaskState.SKIPPED})


class Planner:
    """The nodes of one run and their states.

    Args:
        graph: Whose nodes.
        strategy: In which order ready nodes start.
        policy: What a failure does to the rest.
        variables: What conditions read.
        states: States of nodes that are not to run at all; they count as settled, and as good for what depends on
            them.
    """

    def __init__(
        self,
        graph: Graph,
        strategy: Strategy,
        policy: FailurePolicy,
        variables: RunVariables,
        states: Mapping[int, TaskState],
    ) -> None:
        self.graph = graph
        self.policy = policy
        self.states = [TaskState.PENDING] * len(graph)
        for node, state in states.items():
            self.states[node] = state
        self.failed: list[int] = []
        self.left = len(graph) - len(states)
        self.stop_reason = ""
        self.cancelled = False
        self._variables = variables
        self._frontier = Frontier(graph, strategy, set(states))
        self._bad: dict[int, int] = {}
        self._conditions: dict[int, condition.Condition] = {
            group: condition.parse(definition.condition)
            for group, definition in enumerate(graph.groups)
            if definition.condition
        }
        self._bad_nodes: set[int] = set()
        self._retried: set[int] = set()

    def next(self) -> Decision | None:
        """Return what to do next, or None if nothing can be decided before something else ends."""
        node = self._frontier.take()
        return None if node is None else self._judge(node)

    def started(self, node: int) -> None:
        """Note that an attempt of a node runs."""
        self.states[node] = TaskState.RUNNING

    def retry(self, node: int) -> None:
        """Note that another attempt of a node is due; `next` will hand it out again, or settle it.

        Its condition held when it began, and is not asked again.
        """
        self.states[node] = TaskState.PENDING
        self._retried.add(node)
        self._frontier.put_back(node)

    def ended(self, node: int, state: TaskState, *, ignored: bool = False) -> None:
        """Note the final state of a node, and what it means for the others."""
        self.states[node] = state
        self.left -= 1
        if state not in _GOOD and not ignored:
            self._mark_bad(node)
            if state is TaskState.FAILED:
                self._note_failure(node)
        self._frontier.settle(node)

    def cancel(self, reason: str) -> None:
        """Note that the whole run is to stop: from here on nothing starts, whatever its condition says."""
        self.cancelled = True
        self.stop_reason = reason

    def stop_reason_for(self, node: int) -> str:
        """Return why nothing more of a node that has begun is to start; empty while it may."""
        settle = self.drop(node)
        return "" if settle is None else settle.reason

    def drop(self, node: int) -> Settle | None:
        """Return how to end a node that was about to start, if the run has been stopped meanwhile."""
        if not self.stop_reason or (self._ignores_stop(self.graph.group_of[node]) and not self.cancelled):
            return None
        return Settle(node, TaskState.CANCELLED, self.stop_reason)

    @property
    def fails_fast(self) -> bool:
        """True once running tasks have to be stopped because of a failure."""
        return self.policy is FailurePolicy.FAIL_FAST and bool(self.failed)

    def outcome(self) -> tuple[RunState, str]:
        """Return the state in which the run ends, and why."""
        if self.cancelled:
            return RunState.CANCELLED, self.stop_reason
        if not self.failed:
            return RunState.SUCCEEDED, ""
        first = f'task "{self.graph.ids[self.failed[0]]}" failed'
        more = len(self.failed) - 1
        return RunState.FAILED, f"{first}, and {more} more" if more else first

    def _note_failure(self, node: int) -> None:
        self.failed.append(node)
        if self.policy is not FailurePolicy.KEEP_GOING and not self.stop_reason:
            self.stop_reason = f'the run stopped after task "{self.graph.ids[node]}" failed'

    def _mark_bad(self, node: int) -> None:
        self._bad_nodes.add(node)
        self._bad.setdefault(self.graph.group_of[node], node)

    def _judge(self, node: int) -> Decision:
        group = self.graph.group_of[node]
        blocker = self._blocker(group) if self._bad_nodes else None
        if self.cancelled or not self._ignores_stop(group):
            if blocker is not None:
                return Settle(node, TaskState.CANCELLED, self._needs(blocker))
            if self.stop_reason:
                return Settle(node, TaskState.CANCELLED, self.stop_reason)
        if group in self._conditions and node not in self._retried:
            return self._check_condition(node, group, failed=blocker is not None)
        return Start(node)

    def _ignores_stop(self, group: int) -> bool:
        parsed = self._conditions.get(group)
        return parsed is not None and condition.uses_status(parsed)

    def _check_condition(self, node: int, group: int, *, failed: bool) -> Decision:
        seen = self._variables.seen_by(self.graph.ids[node], self.graph.matrix(node))
        text = self.graph.groups[group].condition
        try:
            holds = condition.evaluate(self._conditions[group], seen, condition.Status(failed=failed))
        except DefinitionError as error:
            failure = Failure(code="E_CONDITION", message=f"condition `{text}`: {error.with_advice}")
            return Settle(node, TaskState.FAILED, failure.message, failure)
        if not holds:
            why = condition.explain(self._conditions[group], seen)
            return Settle(node, TaskState.SKIPPED, f"its condition is false: {why}")
        return Start(node)

    def _blocker(self, group: int) -> int | None:
        """Return a node that this group needs and that did not end well, or None."""
        for source in self.graph.sources[group]:
            if source >= 0 and source in self._bad:
                return self._bad[source]
            if source < 0 and -1 - source in self._bad_nodes:
                return -1 - source
        return None

    def _needs(self, blocker: int) -> str:
        did = "failed" if self.states[blocker] is TaskState.FAILED else "was cancelled"
        return f'needs task "{self.graph.ids[blocker]}", which {did}'


def count(states: list[TaskState]) -> TaskCounts:
    """Return how many nodes are in each state."""
    return TaskCounts(total=len(states), **{state.value: states.count(state) for state in TaskState})


def unfinished(states: list[TaskState]) -> list[int]:
    """Return the nodes that have no final state."""
    return [node for node, state in enumerate(states) if state not in FINAL_TASK_STATES]
