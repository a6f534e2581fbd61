"""Every exception of Runwright.

::

    RunwrightError
    ├── DefinitionError          what the user wrote is wrong                  exit 2
    │   ├── UsageError           a command line or an argument is wrong        exit 2
    │   └── DuplicateExecutor    two executors want one name                   exit 2
    ├── ExecutionError           a task or a run did not succeed               exit 1
    │   ├── TaskFailed           the body of a task failed; carries a Failure
    │   ├── TasksFailed          several tasks of one call failed; a group of their errors
    │   ├── NoExecutorFound      nobody runs tasks of this route
    │   ├── UnopenedSession      a task came for a session that is not open
    │   ├── PlanFailed           a step of a plan failed
    │   │   ├── PlanTimeout      the plan took longer than it may
    │   │   └── PlanCancelled    the plan was stopped
    │   ├── GoalFailed           a goal was not reached: too many errors, or a fatal one
    │   │   ├── GoalTimeout      it took longer than it may
    │   │   ├── GoalCancelled    the reconciliation was stopped
    │   │   └── Oscillation      the same rounds come again and again
    │   └── FatalError           what an action raises to stop its reconciliation at once
    ├── ConflictError            somebody else holds what is asked for         exit 1
    │   ├── RunIsActive          another engine drives this run
    │   ├── LeaseLost            this engine's right to the run, or this worker's to the job, has passed on
    │   ├── JobHasEnded          what is asked for can't be done to a job in this state
    │   └── TooMuchOutput        a job has written more than is kept of one
    ├── StoreError               the durable state can't be read or written    exit 1
    │   ├── RunNotFound          no run has this id
    │   ├── AmbiguousRunId       several runs share this prefix
    │   ├── JobNotFound          no job has this id, or no entry of its log
    │   └── StoreCorrupt         what is stored contradicts itself
    └── RemoteError              the far end of a connection failed            exit 1
        └── Refused              the far end understood, and said no: a token, a limit, a state

    InternalError                our bug, on purpose outside the tree

A failing task is data (an outcome with a `Failure`), not an exception that crosses an engine;
`TaskFailed` is how an executor reports it to the engine that called it.
"""

from collections.abc import Sequence
from typing import Any, ClassVar

from msgspec import Struct


class Failure(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """An error as plain data, as it is stored and sent between processes.

    Attributes:
        code: Stable upper-case identifier, for instance ``E_EXIT`` or ``E_TIMEOUT``.
        message: What went wrong, in one or a few lines, already redacted.
        exit_code: Exit status of the process, 128 + signal number if a signal ended it.
        signal: Number of the signal that ended the process.
        stderr_tail: The end of standard error, at most 4 KiB, already redacted.
    """

    code: str
    message: str
    exit_code: int | None = None
    signal: int | None = None
    stderr_tail: str = ""


class Problem(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """One fault in a definition: what, where, and what to do.

    Attributes:
        message: What is wrong, one sentence without a final full stop.
        path: Keys from the top of the document to the fault, for instance ``("tasks", "build", "cmd")``.
        offset: Characters into the string value at `path` where the fault starts, if it lies inside one.
        suggestion: The next step, for instance ``did you mean "depends_on"?``.
        file: Name of the file as the user gave it; empty until the reader of the file fills it in.
        line: From 1; 0 while unknown.
        column: From 1, in characters; 0 while unknown.
        source_line: The offending line, without its end; empty while unknown.
    """

    message: str
    path: tuple[str | int, ...] = ()
    offset: int | None = None
    suggestion: str = ""
    file: str = ""
    line: int = 0
    column: int = 0
    source_line: str = ""


class RunwrightError(Exception):
    """Base of every error a caller may want to catch."""

    exit_status: ClassVar[int] = 1
    code: ClassVar[str] = "E_RUNWRIGHT"


class DefinitionError(RunwrightError):
    """What the user wrote is wrong; carries every problem found, not only the first."""

    exit_status = 2
    code = "E_DEFINITION"

    def __init__(self, problems: Sequence[Problem] | str) -> None:
        if isinstance(problems, str):
            problems = (Problem(message=problems),)
        self.problems = tuple(problems)
        super().__init__("; ".join(problem.message for problem in self.problems))

    @property
    def with_advice(self) -> str:
        """The message of each problem followed by its suggestion, in one line, for where no place can be shown."""
        parts = [part for problem in self.problems for part in (problem.message, problem.suggestion) if part]
        return "; ".join(parts)


class UsageError(DefinitionError):
    """A command line or an argument of a call is wrong."""

    code = "E_USAGE"


class DuplicateExecutor(DefinitionError):
    """Two executors want one name."""

    code = "E_DUPLICATE_EXECUTOR"


class ExecutionError(RunwrightError):
    """A task or a run did not succeed."""

    code = "E_EXECUTION"


class TaskFailed(ExecutionError):
    """The body of a task failed."""

    code = "E_FAILED"

    def __init__(self, failure: Failure) -> None:
        self.failure = failure
        super().__init__(failure.message)


class TasksFailed(ExecutionError, ExceptionGroup[Exception]):
    """Several tasks of one call failed; `exceptions` are their errors, in the order in which they came."""

    code = "E_TASKS"

    def derive(self, excs: Sequence[Exception], /) -> "TasksFailed":  # type: ignore[override]
        """Return a group of some of these errors; ``except*`` asks for it."""
        return TasksFailed(self.message, excs)


class NoExecutorFound(ExecutionError):
    """Nobody runs tasks of this route; the message names who is known."""

    code = "E_NO_EXECUTOR"


class UnopenedSession(ExecutionError):
    """A task came for a session that is not open here: before `open_session` or after `close_session`."""

    code = "E_SESSION"

    def __init__(self, session_id: str) -> None:
        self.session_id = session_id
        super().__init__(f'session "{session_id}" is not open; open_session comes before any task')


class PlanFailed(ExecutionError):
    """A step of a plan failed; the first error of a step is the cause.

    Attributes:
        outcome: The `PlanOutcome` of the execution.
    """

    code = "E_PLAN"

    def __init__(self, message: str, outcome: Any = None) -> None:
        self.outcome = outcome
        super().__init__(message)


class PlanTimeout(PlanFailed):
    """A plan took longer than its limit; cleanups have run."""

    code = "E_PLAN_TIMEOUT"


class PlanCancelled(PlanFailed):
    """A plan was stopped; cleanups have run."""

    code = "E_PLAN_CANCELLED"


class GoalFailed(ExecutionError):
    """A goal was not reached: an error was fatal, or one more than is tolerated; that error is the cause.

    Attributes:
        outcome: The `GoalOutcome` of the reconciliation.
    """

    code = "E_GOAL"

    def __init__(self, message: str, outcome: Any = None) -> None:
        self.outcome = outcome
        super().__init__(message)


class GoalTimeout(GoalFailed):
    """A reconciliation took longer than its limit."""

    code = "E_GOAL_TIMEOUT"


class GoalCancelled(GoalFailed):
    """A reconciliation was stopped."""

    code = "E_GOAL_CANCELLED"


class Oscillation(GoalFailed):
    """Rounds without an error repeat the same cycle of plans; the message names the cycle's actions."""

    code = "E_OSCILLATION"


class FatalError(ExecutionError):
    """What an action or a goal raises to stop its reconciliation at once, whatever errors are tolerated."""

    code = "E_FATAL"


class ConflictError(RunwrightError):
    """Somebody else holds what is asked for."""

    code = "E_CONFLICT"


class RunIsActive(ConflictError):
    """Another engine drives this run."""

    code = "E_RUN_ACTIVE"


class LeaseLost(ConflictError):
    """This engine's right to the run, or this worker's to the job, has passed on; none of its writes is accepted."""

    code = "E_LEASE_LOST"


class JobHasEnded(ConflictError):
    """What is asked for can't be done to a job in the state it is in; the message names the state."""

    code = "E_JOB_STATE"


class TooMuchOutput(ConflictError):
    """A job has written more output than is kept of one; what was kept stays."""

    code = "E_OUTPUT_LIMIT"


class StoreError(RunwrightError):
    """The durable state can't be read or written."""

    code = "E_STORE"


class RunNotFound(StoreError):
    """No run has this id."""

    code = "E_RUN_NOT_FOUND"


class AmbiguousRunId(StoreError):
    """Several runs share this prefix."""

    code = "E_RUN_AMBIGUOUS"


class JobNotFound(StoreError):
    """No job has this id, or its log has no such entry."""

    code = "E_JOB_NOT_FOUND"


class StoreCorrupt(StoreError):
    """What is stored contradicts itself."""

    code = "E_STORE_CORRUPT"


class RemoteError(RunwrightError):
    """The far end of a connection failed."""

    code = "E_REMOTE"


class Refused(RemoteError):
    """The far end understood what was asked and said no; asking again does not help.

    Attributes:
        status: HTTP status of the answer.
    """

    code = "E_REFUSED"

    def __init__(self, message: str, status: int = 0) -> None:
        self.status = status
        super().__init__(message)


class InternalError(Exception):
    """A state that our own code should have made impossible: a bug of Runwright."""
