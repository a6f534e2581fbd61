"""Random workflows, a clock that jumps, and a model of the outcomes that knows nothing of the planner."""

from collections.abc import Callable, Mapping
from heapq import heappop, heappush
from typing import Any

from hypothesis import strategies as st
from msgspec import Struct, field

from runwright.core.graph import Graph, build
from runwright.core.options import FailurePolicy, Strategy
from runwright.core.planner import Planner, Settle
from runwright.core.runvars import RunVariables
from runwright.core.states import FINAL_TASK_STATES, TaskState
from runwright.core.workflow import TaskDefinition, Workflow

VARIABLES = {"x": "1"}
CONDITIONS = ("", "", "", "", "succeeded()", "failed()", "always()", "x == 1", "x == 2", "nobody == 1")
STATUS = ("succeeded()", "failed()", "always()")
GOOD = (TaskState.SUCCEEDED, TaskState.SKIPPED)


class Spec(Struct):
    """A random task: `bad` attempts fail before one succeeds, of at most `tries`; `seconds` by node."""

    key: str
    needs: tuple[str, ...]
    values: tuple[str, ...]
    condition: str
    ignored: bool
    bad: list[int]
    seconds: list[int]
    tries: int

    def nodes(self) -> list[str]:
        return [f"{self.key}[m={value}]" for value in self.values] or [self.key]

    def definition(self) -> TaskDefinition:
        return TaskDefinition(
            key=self.key,
            name=self.key,
            cmd="true",
            depends_on=self.needs,
            matrix={"m": self.values} if self.values else {},
            condition=self.condition,
            ignore_failure=self.ignored,
            retries=self.tries - 1,
        )


@st.composite
def specs(draw: st.DrawFn, *, failures: bool = True, conditions: bool = True) -> list[Spec]:
    """Draw up to ten tasks, each needing some of those before it, named so that names tell no order."""
    keys = draw(st.permutations("abcdefghij"))[: draw(st.integers(1, 10))]
    made: list[Spec] = []
    for key in keys:
        places = [place for spec in made for place in ([spec.key] + (spec.nodes() if spec.values else []))]
        needs = draw(st.lists(st.sampled_from(places), max_size=3, unique=True)) if places else []
        values = ("1", "2", "3")[: draw(st.sampled_from((0, 0, 0, 2, 3)))]
        size = len(values) or 1
        tries = draw(st.integers(1, 3))
        made.append(
            Spec(
                key=key,
                needs=tuple(needs),
                values=values,
                condition=draw(st.sampled_from(CONDITIONS)) if conditions else "",
                ignored=failures and draw(st.booleans()) and draw(st.booleans()),
                bad=[draw(st.sampled_from((0, 0, 0, 1, 2, 3))) if failures else 0 for _ in range(size)],
                seconds=[draw(st.integers(1, 5)) for _ in range(size)],
                tries=tries,
            )
        )
    return made


def workflow_of(made: list[Spec]) -> Workflow:
    return Workflow(name="w", tasks={spec.key: spec.definition() for spec in made}, variables=VARIABLES)


# -- the model: outcomes under keep-going, from the specs alone ------------------------------------------------


def model(made: list[Spec], left_out: Mapping[str, TaskState]) -> dict[str, TaskState]:
    """Return the state of every node; tasks come in an order in which each follows what it needs."""
    states: dict[str, TaskState] = dict(left_out)
    bad: set[str] = set()
    nodes = {spec.key: spec.nodes() for spec in made}
    for spec in made:
        needed = [node for name in spec.needs for node in nodes.get(name, [name])]
        blocked = any(node in bad for node in needed)
        for number, node in enumerate(spec.nodes()):
            if node in left_out:
                continue
            states[node] = _model_state(spec, number, blocked=blocked)
            if states[node] not in GOOD and not (spec.ignored and states[node] is TaskState.FAILED):
                bad.add(node)
    return states


def _model_state(spec: Spec, number: int, *, blocked: bool) -> TaskState:
    if blocked and spec.condition not in STATUS:
        return TaskState.CANCELLED
    if spec.condition == "nobody == 1":
        return TaskState.FAILED
    holds = {"succeeded()": not blocked, "failed()": blocked, "x == 2": False}.get(spec.condition, True)
    if not holds:
        return TaskState.SKIPPED
    return TaskState.SUCCEEDED if spec.bad[number] < spec.tries else TaskState.FAILED


# -- the simulator ---------------------------------------------------------------------------------------------


class Trace(Struct):
    """What was seen of a run."""

    graph: Graph
    states: list[TaskState]
    started: list[tuple[int, int]] = field(default_factory=list)
    ended: list[int] = field(default_factory=list)
    most: int = 0
    start_after_failure: list[int] = field(default_factory=list)

    def by_id(self) -> dict[str, TaskState]:
        return dict(zip(self.graph.ids, self.states, strict=True))


class Simulator:
    """Drives a planner as an engine does, with as many workers as asked for.

    Args:
        listen: Called with what happens: ``start``, ``retry`` or ``end``, the node, the attempt and the state.
    """

    def __init__(
        self,
        made: list[Spec],
        strategy: Strategy,
        policy: FailurePolicy,
        workers: int,
        kept: Mapping[int, TaskState] | None = None,
        listen: Callable[..., None] = lambda *_: None,
        before: Mapping[int, int] | None = None,
    ) -> None:
        self.graph = build(workflow_of(made))
        self.policy = policy
        self.workers = workers
        self.listen = listen
        self.kept = dict(kept or {})
        self.specs = {spec.key: spec for spec in made}
        variables = RunVariables(VARIABLES, {})
        self.planner = Planner(self.graph, strategy, policy, variables, self.kept)
        self.trace = Trace(self.graph, self.planner.states)
        self.before = dict(before or {})
        self.made: dict[int, int] = {}
        self.running: list[tuple[int, int]] = []
        self.idle: list[tuple[int, list[int]]] = []
        self.now = 0

    def run(self) -> Trace:
        while True:
            self.fill()
            if not self.running:
                break
            self.now, node = heappop(self.running)
            self.finish(node)
        assert self.planner.left == 0
        return self.trace

    def fill(self) -> None:
        while len(self.running) < self.workers and (decision := self.planner.next()) is not None:
            if isinstance(decision, Settle):
                self.end(decision.node, decision.state, 0)
            else:
                self.start(decision.node)
        if len(self.running) < self.workers:
            self.check_idle()

    def start(self, node: int) -> None:
        self.check_needs(node)
        spec, number = self.spec(node)
        self.planner.started(node)
        attempt = self.made[node] = self.made.get(node, 0) + 1
        self.trace.started.append((node, self.now))
        if self.planner.failed and attempt == 1:
            self.trace.start_after_failure.append(node)
        heappush(self.running, (self.now + spec.seconds[number], node))
        self.trace.most = max(self.trace.most, len(self.running))
        self.listen("start", node, self.attempt(node), None)

    def attempt(self, node: int) -> int:
        return self.before.get(node, 0) + self.made.get(node, 0)

    def finish(self, node: int) -> None:
        spec, number = self.spec(node)
        if self.made[node] > spec.bad[number]:
            self.end(node, TaskState.SUCCEEDED, self.attempt(node))
        elif self.made[node] < spec.tries and not self.planner.stop_reason:
            self.listen("retry", node, self.attempt(node), None)
            self.planner.retry(node)
        else:
            self.end(node, TaskState.FAILED, self.attempt(node))
        if self.planner.fails_fast:
            stopped, self.running = self.running, []
            for _, other in stopped:
                self.end(other, TaskState.CANCELLED, self.attempt(other))

    def end(self, node: int, state: TaskState, attempt: int) -> None:
        assert self.planner.states[node] not in FINAL_TASK_STATES, "a node ends once"
        self.trace.ended.append(node)
        ignored = self.specs[self.graph.definition(node).key].ignored and state is TaskState.FAILED
        self.planner.ended(node, state, ignored=ignored)
        self.listen("end", node, attempt, state)

    def spec(self, node: int) -> tuple[Spec, int]:
        group = self.graph.group_of[node]
        return self.specs[self.graph.definition(node).key], node - self.graph.first[group]

    def needed(self, node: int) -> list[int]:
        """Return what a node needs, read from its spec and not from the graph's edges."""
        names = self.spec(node)[0].needs
        wanted = {
            text for name in names for text in (self.specs[name].nodes() if name in self.specs else [name])
        }
        return [number for number, text in enumerate(self.graph.ids) if text in wanted]

    def check_needs(self, node: int) -> None:
        for other in self.needed(node):
            assert self.planner.states[other] in FINAL_TASK_STATES, "what it needs has not ended"

    def check_idle(self) -> None:
        """Note what could have started while a worker had nothing to do."""
        ready = [
            node
            for node, state in enumerate(self.planner.states)
            if state is TaskState.PENDING
            and all(self.planner.states[other] in FINAL_TASK_STATES for other in self.needed(node))
        ]
        self.idle.append((self.now, ready))


def levels(trace: Trace) -> list[int]:
    return [trace.graph.level[trace.graph.group_of[node]] for node in range(len(trace.graph))]


def any_of(values: Any) -> Any:
    """Return a hypothesis strategy for the members of an enum."""
    return st.sampled_from(list(values))
