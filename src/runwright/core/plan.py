"""A plan of steps, and what it does next as a pure function of what has happened.

An engine asks `next_action`, performs it, records it, tells the `PlanProgress` and asks again. An execution, the rest of an
interrupted one, and the cleanup of one that died differ only in the progress they begin with.

The rules:

* The three hooks of a step run in order, and a failed one skips the rest of its attempt. A step succeeds if all three do.
* A failed step is tried again, all hooks of it, `retries` times, whatever `continue_on_error` says.
* After a failure nothing new starts, unless the plan continues on errors. A plan that is stopped starts nothing either.
* Cleanups run last to first at every end, over the steps that succeeded; whatever becomes of one, the next one runs.
* Pauses are elements of the plan; cleanup has none.

Source: ``seeds/3-plan-of-steps``, the package whose plans run steps of four hooks.
"""

from collections.abc import Iterator, Mapping
from enum import StrEnum
from typing import Any

from msgspec import Struct, field

from runwright.core.errors import Failure
from runwright.core.retry import RetryPolicy, is_worth_another
from runwright.core.run import TIMEOUT_REASON
from runwright.core.states import RunState, TaskState

CLEANUP_SECONDS = 300.0
"""Longest the cleanup of one step may take unless the plan says otherwise."""


class Hook(StrEnum):
    """The parts of a step, in their order; `CLEANUP` undoes the others."""

    PRE_EXEC = "pre_exec"
    EXEC = "exec"
    POST_EXEC = "post_exec"
    CLEANUP = "cleanup"


WORKING_HOOKS = (Hook.PRE_EXEC, Hook.EXEC, Hook.POST_EXEC)


class StepDefinition(Struct, frozen=True, kw_only=True, omit_defaults=True, tag="step"):
    """One step; durations are seconds.

    Attributes:
        name: Unique in its plan.
        hooks: The commands of each hook it has; the hooks of a step made in code have none.
        retries: Attempts after the first.
        retry_delay: Before each of them.
        timeout: Longest an attempt may take, all hooks together; 0 means no limit.
        env: Environment of its commands, on top of the plan's.
        working_dir: Where its commands run; empty for the run's directory.
    """

    name: str
    hooks: Mapping[Hook, tuple[str, ...]]
    description: str = ""
    retries: int = 0
    retry_delay: float = 0.0
    timeout: float = 0.0
    env: Mapping[str, str] = field(default_factory=dict)
    working_dir: str = ""


class PauseDefinition(Struct, frozen=True, kw_only=True, omit_defaults=True, tag="pause"):
    """A wait between two steps, in seconds."""

    name: str
    seconds: float


Element = StepDefinition | PauseDefinition


class PlanDefinition(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """A plan, checked and complete; durations are seconds.

    Attributes:
        elements: Steps and pauses in order.
        limit_duration: Longest the steps and pauses may take together; 0 means no limit.
        cleanup_timeout: Longest the cleanup of one step may take.
        state: What the shared state begins with, as plain data.
        env: Environment of all commands.
        secrets: Names of environment variables whose values must appear nowhere.
        kill_grace: Between SIGTERM and SIGKILL, when a command is stopped.
        max_log_bytes: Size past which the log of an attempt keeps head and tail only.
    """

    name: str
    elements: tuple[Element, ...] = ()
    description: str = ""
    tags: tuple[str, ...] = ()
    continue_on_error: bool = False
    limit_duration: float = 0.0
    cleanup_timeout: float = CLEANUP_SECONDS
    state: Mapping[str, Any] = field(default_factory=dict)
    env: Mapping[str, str] = field(default_factory=dict)
    secrets: tuple[str, ...] = ()
    kill_grace: float = 10.0
    max_log_bytes: int = 1 << 30


# -- what to do -------------------------------------------------------------------------------------------------


class Begin(Struct, frozen=True):
    """Record that this attempt at a step begins, or that a pause does; nothing of it may run before that is durable."""

    index: int
    attempt: int


class Call(Struct, frozen=True):
    """Run a hook of the step."""

    index: int
    hook: Hook


class Wait(Struct, frozen=True):
    """Let the pause pass."""

    index: int
    seconds: float


class Again(Struct, frozen=True):
    """Record that the attempt failed, and wait before the next one."""

    index: int
    attempt: int
    delay: float
    failure: Failure


class End(Struct, frozen=True):
    """Record how the step or pause ended."""

    index: int
    attempt: int
    state: TaskState
    failure: Failure | None = None
    reason: str = ""


class Abandon(Struct, frozen=True):
    """Record that these elements never start."""

    indices: tuple[int, ...]
    reason: str


class CleanUp(Struct, frozen=True):
    """Run the cleanup of a step."""

    index: int


class Finish(Struct, frozen=True):
    """End the plan."""

    state: RunState
    reason: str


Action = Begin | Call | Wait | Again | End | Abandon | CleanUp | Finish


class Stage(StrEnum):
    """Where the current element stands."""

    READY = "ready"
    RUNNING = "running"
    PASSED = "passed"
    FAILED = "failed"
    STOPPED = "stopped"


class PlanProgress:
    """What has happened in one execution of a plan.

    Args:
        plan: Whose elements.
        todo: Indices of the elements to work on, in order; None means all.
        due: Indices of the steps whose cleanup is due at the end, in the order in which they succeeded.
        undo: Indices of the steps that are cleaned up before anything else, in the order in which they began.
        attempts: Attempts made at steps before this execution, by index.
        base: How the plan ends if no step fails and nobody stops it; None means that it has succeeded.

    Attributes:
        errors: Why steps failed, by index, in the order in which they did.
        cleanup_errors: Why cleanups failed, by index, in the order in which they did.
        stop_reason: Why it was stopped; empty while it was not.
    """

    def __init__(
        self,
        plan: PlanDefinition,
        *,
        todo: tuple[int, ...] | None = None,
        due: tuple[int, ...] = (),
        undo: tuple[int, ...] = (),
        attempts: Mapping[int, int] | None = None,
        base: Finish | None = None,
    ) -> None:
        self.plan = plan
        self.todo = tuple(range(len(plan.elements))) if todo is None else todo
        self.position = 0
        self.stage = Stage.READY
        self.hook = Hook.PRE_EXEC
        self.tries = 0
        self.attempts = dict(attempts or {})
        self.failure: Failure | None = None
        self.due = list(due)
        self.undo = list(undo)
        self.base = base or Finish(RunState.SUCCEEDED, "")
        self.errors: dict[int, Failure] = {}
        self.cleanup_errors: dict[int, Failure] = {}
        self.stop_reason = ""

    @property
    def is_cleaning(self) -> bool:
        """True once no element is left to work on."""
        return self.position == len(self.todo)

    @property
    def index(self) -> int:
        """The element being worked on."""
        return self.todo[self.position]

    def stop(self, reason: str) -> None:
        """Start nothing more, cleanups apart; the first reason stands, and none counts once cleanup has begun."""
        if not self.stop_reason and not self.is_cleaning:
            self.stop_reason = reason

    def begun(self) -> None:
        """Take note that the attempt's beginning, or the pause's, is recorded."""
        index = self.index
        self.attempts[index] = self.attempts.get(index, 0) + 1
        self.tries += 1
        self.stage, self.failure = Stage.RUNNING, None
        self._go_to(iter(WORKING_HOOKS))

    def hook_ended(self, failure: Failure | None) -> None:
        """Take note of how the hook ended."""
        if failure is not None:
            self.stage, self.failure = Stage.FAILED, failure
            return
        self._go_to(iter(WORKING_HOOKS[WORKING_HOOKS.index(self.hook) + 1 :]))

    def waited(self) -> None:
        """Take note that the pause has passed."""
        self.stage = Stage.PASSED

    def interrupted(self) -> None:
        """Take note that the hook or pause was broken off because the plan is stopped."""
        self.stage = Stage.STOPPED

    def retrying(self) -> None:
        """Take note that the failed attempt is recorded and its delay has passed."""
        self.stage = Stage.READY

    def ended(self, end: End) -> None:
        """Take note that the end of the element is recorded."""
        if end.state is TaskState.SUCCEEDED and has_cleanup(self.plan, end.index):
            self.due.append(end.index)
        elif end.state is TaskState.FAILED and end.failure is not None:
            self.errors[end.index] = end.failure
        self.position += 1
        self.stage, self.tries, self.failure = Stage.READY, 0, None

    def abandoned(self) -> None:
        """Take note that nothing more will start."""
        self.position = len(self.todo)

    def cleaned(self, index: int, failure: Failure | None) -> None:
        """Take note of how a cleanup ended."""
        left = self.undo or self.due
        left.pop(-1 if left[-1] == index else left.index(index))  # it is the last, which is quick to find
        if failure is not None:
            self.cleanup_errors[index] = failure

    def _go_to(self, hooks: Iterator[Hook]) -> None:
        """Come to the next of these hooks that the step has."""
        element = self.plan.elements[self.index]
        if isinstance(element, PauseDefinition):
            return
        found = next((hook for hook in hooks if hook in element.hooks), None)
        if found is None:
            self.stage = Stage.PASSED
        else:
            self.hook = found


def next_action(progress: PlanProgress) -> Action:
    """Return what a plan does next."""
    if progress.undo:
        return CleanUp(progress.undo[-1])
    if progress.is_cleaning:
        return CleanUp(progress.due[-1]) if progress.due else _finish(progress)
    if progress.stage is Stage.READY:
        return _nothing_more(progress) or Begin(progress.index, progress.attempts.get(progress.index, 0) + 1)
    if progress.stage is Stage.RUNNING and not progress.stop_reason:
        return _work(progress)
    return _ending(progress)


def _work(progress: PlanProgress) -> Action:
    element = progress.plan.elements[progress.index]
    if isinstance(element, PauseDefinition):
        return Wait(progress.index, element.seconds)
    return Call(progress.index, progress.hook)


def _ending(progress: PlanProgress) -> Action:
    """Return how the current element ends, or that it is tried again."""
    index, attempt, failure = progress.index, progress.attempts[progress.index], progress.failure
    if progress.stage is Stage.PASSED:
        return End(index, attempt, TaskState.SUCCEEDED)
    if failure is None:
        stopped = Failure(code="E_CANCELLED", message=progress.stop_reason)
        return End(index, attempt, TaskState.CANCELLED, stopped, progress.stop_reason)
    element = progress.plan.elements[index]
    assert isinstance(element, StepDefinition)
    policy = RetryPolicy(retries=element.retries)
    if not progress.stop_reason and is_worth_another(policy, made=progress.tries, failure=failure):
        return Again(index, attempt, element.retry_delay, failure)
    return End(index, attempt, TaskState.FAILED, failure, failure.message)


def _nothing_more(progress: PlanProgress) -> Abandon | None:
    """Return that what is left never starts, if that is so."""
    if progress.stop_reason:
        reason = progress.stop_reason
    elif progress.errors and not progress.plan.continue_on_error:
        reason = f"{progress.plan.elements[next(iter(progress.errors))].name} failed"
    else:
        return None
    return Abandon(progress.todo[progress.position :], reason)


def _finish(progress: PlanProgress) -> Finish:
    base = progress.base
    if progress.stop_reason:
        base = Finish(RunState.CANCELLED, progress.stop_reason)
    elif progress.errors:
        base = Finish(RunState.FAILED, "; ".join(_failed(progress, "", progress.errors)))
    left = _failed(progress, "cleanup of ", progress.cleanup_errors)
    return Finish(base.state, "; ".join(filter(None, (base.reason, *left))))


def _failed(progress: PlanProgress, what: str, errors: Mapping[int, Failure]) -> Iterator[str]:
    for index, failure in errors.items():
        yield f"{what}{progress.plan.elements[index].name} failed: {failure.message}"


def has_cleanup(plan: PlanDefinition, index: int) -> bool:
    """Tell whether an element is a step that leaves something to clean up."""
    element = plan.elements[index]
    return isinstance(element, StepDefinition) and Hook.CLEANUP in element.hooks


def timeout_reason(seconds: float) -> str:
    """Return why a plan stops that took longer than it may."""
    return f"{TIMEOUT_REASON}: {seconds:g} s"


class PlanOutcome(Struct, frozen=True, kw_only=True):
    """What came of a plan.

    Attributes:
        state: `succeeded` if every step did, `failed`, or `cancelled` if it was stopped or took too long.
        reason: Why it did not succeed, in one line, or which cleanups failed.
        errors: Why steps failed, by name, in the order in which they did.
        cleanup_errors: Why cleanups failed, by name of the step; they change nothing about the state.
        run_id: Its run in the store; empty if it was not recorded.
    """

    state: RunState
    reason: str = ""
    errors: Mapping[str, Exception] = field(default_factory=dict)
    cleanup_errors: Mapping[str, Exception] = field(default_factory=dict)
    run_id: str = ""
