"""Runwright: one engine for workflows, plans, goals and jobs.

The public names are imported on first use, so that ``import runwright`` stays cheap.
"""

TYPE_CHECKING = False
if TYPE_CHECKING:
    from runwright.core.errors import AmbiguousRunId as AmbiguousRunId
    from runwright.core.errors import ConflictError as ConflictError
    from runwright.core.errors import DefinitionError as DefinitionError
    from runwright.core.errors import DuplicateExecutor as DuplicateExecutor
    from runwright.core.errors import ExecutionError as ExecutionError
    from runwright.core.errors import Failure as Failure
    from runwright.core.errors import FatalError as FatalError
    from runwright.core.errors import GoalCancelled as GoalCancelled
    from runwright.core.errors import GoalFailed as GoalFailed
    from runwright.core.errors import GoalTimeout as GoalTimeout
    from runwright.core.errors import InternalError as InternalError
    from runwright.core.errors import JobHasEnded as JobHasEnded
    from runwright.core.errors import JobNotFound as JobNotFound
    from runwright.core.errors import LeaseLost as LeaseLost
    from runwright.core.errors import NoExecutorFound as NoExecutorFound
    from runwright.core.errors import Oscillation as Oscillation
    from runwright.core.errors import PlanCancelled as PlanCancelled
    from runwright.core.errors import PlanFailed as PlanFailed
    from runwright.core.errors import PlanTimeout as PlanTimeout
    from runwright.core.errors import Problem as Problem
    from runwright.core.errors import RemoteError as RemoteError
    from runwright.core.errors import RunIsActive as RunIsActive
    from runwright.core.errors import RunNotFound as RunNotFound
    from runwright.core.errors import RunwrightError as RunwrightError
    from runwright.core.errors import StoreCorrupt as StoreCorrupt
    from runwright.core.errors import StoreError as StoreError
    from runwright.core.errors import TaskFailed as TaskFailed
    from runwright.core.errors import TasksFailed as TasksFailed
    from runwright.core.errors import UnopenedSession as UnopenedSession
    from runwright.core.errors import UsageError as UsageError
    from runwright.core.events import ProgressEvent as ProgressEvent
    from runwright.core.events import ProgressKind as ProgressKind
    from runwright.core.goal import GoalOutcome as GoalOutcome
    from runwright.core.job import CliStep as CliStep
    from runwright.core.job import DockerStep as DockerStep
    from runwright.core.job import Job as Job
    from runwright.core.job_wire import AddExecutionLogEntryRequest as AddExecutionLogEntryRequest
    from runwright.core.job_wire import DequeueRequest as DequeueRequest
    from runwright.core.job_wire import HeartbeatRequest as HeartbeatRequest
    from runwright.core.job_wire import MarkCompleteRequest as MarkCompleteRequest
    from runwright.core.job_wire import MarkErroredRequest as MarkErroredRequest
    from runwright.core.options import FailurePolicy as FailurePolicy
    from runwright.core.options import ResumePlan as ResumePlan
    from runwright.core.options import RunOptions as RunOptions
    from runwright.core.options import Strategy as Strategy
    from runwright.core.plan import PlanOutcome as PlanOutcome
    from runwright.core.planstate import State as State
    from runwright.core.retry import RetryPolicy as RetryPolicy
    from runwright.core.run import Run as Run
    from runwright.core.states import JobState as JobState
    from runwright.core.states import RunState as RunState
    from runwright.core.states import TaskRole as TaskRole
    from runwright.core.states import TaskState as TaskState
    from runwright.core.task import CacheUse as CacheUse
    from runwright.core.task import Result as Result
    from runwright.core.task import Task as Task
    from runwright.core.workflow import TaskDefinition as TaskDefinition
    from runwright.engines.actions import Action as Action
    from runwright.engines.actions import Goal as Goal
    from runwright.engines.goal_options import ReconcilerOptions as ReconcilerOptions
    from runwright.engines.steps import Step as Step
    from runwright.executors.calls import Calls as Calls
    from runwright.executors.followups import Followups as Followups
    from runwright.executors.observe import Observe as Observe
    from runwright.executors.retry import Retry as Retry
    from runwright.executors.router import Router as Router
    from runwright.ports.executor import Executor as Executor
    from runwright.ports.executor import NoSessions as NoSessions
    from runwright.ports.executor import Session as Session
    from runwright.ports.stores import RunFilter as RunFilter
    from runwright.ports.stores import RunStore as RunStore
    from runwright.wiring import Engine as Engine
    from runwright.wiring import decode_workflow as decode_workflow
    from runwright.wiring import load_workflow as load_workflow
    from runwright.wiring import open_store as open_store
    from runwright.wiring.caches import Cache as Cache
    from runwright.wiring.flow import Workflow as Workflow
    from runwright.wiring.goals import Reconciler as Reconciler
    from runwright.wiring.local import LocalSession as LocalSession
    from runwright.wiring.plans import Plan as Plan
    from runwright.wiring.plugins import Remote as Remote
    from runwright.wiring.plugins import serve as serve

__version__ = "0.1.0"

_HOMES = {
    "Action": "runwright.engines.actions",
    "AddExecutionLogEntryRequest": "runwright.core.job_wire",
    "AmbiguousRunId": "runwright.core.errors",
    "Cache": "runwright.wiring.caches",
    "CacheUse": "runwright.core.task",
    "Calls": "runwright.executors.calls",
    "CliStep": "runwright.core.job",
    "ConflictError": "runwright.core.errors",
    "DefinitionError": "runwright.core.errors",
    "DequeueRequest": "runwright.core.job_wire",
    "DockerStep": "runwright.core.job",
    "DuplicateExecutor": "runwright.core.errors",
    "Engine": "runwright.wiring",
    "ExecutionError": "runwright.core.errors",
    "Executor": "runwright.ports.executor",
    "Failure": "runwright.core.errors",
    "FailurePolicy": "runwright.core.options",
    "FatalError": "runwright.core.errors",
    "Followups": "runwright.executors.followups",
    "Goal": "runwright.engines.actions",
    "GoalCancelled": "runwright.core.errors",
    "GoalFailed": "runwright.core.errors",
    "GoalOutcome": "runwright.core.goal",
    "GoalTimeout": "runwright.core.errors",
    "HeartbeatRequest": "runwright.core.job_wire",
    "InternalError": "runwright.core.errors",
    "Job": "runwright.core.job",
    "JobHasEnded": "runwright.core.errors",
    "JobNotFound": "runwright.core.errors",
    "JobState": "runwright.core.states",
    "LeaseLost": "runwright.core.errors",
    "LocalSession": "runwright.wiring.local",
    "MarkCompleteRequest": "runwright.core.job_wire",
    "MarkErroredRequest": "runwright.core.job_wire",
    "NoExecutorFound": "runwright.core.errors",
    "NoSessions": "runwright.ports.executor",
    "Observe": "runwright.executors.observe",
    "Oscillation": "runwright.core.errors",
    "Plan": "runwright.wiring.plans",
    "PlanCancelled": "runwright.core.errors",
    "PlanFailed": "runwright.core.errors",
    "PlanOutcome": "runwright.core.plan",
    "PlanTimeout": "runwright.core.errors",
    "Problem": "runwright.core.errors",
    "ProgressEvent": "runwright.core.events",
    "ProgressKind": "runwright.core.events",
    "Reconciler": "runwright.wiring.goals",
    "ReconcilerOptions": "runwright.engines.goal_options",
    "Remote": "runwright.wiring.plugins",
    "RemoteError": "runwright.core.errors",
    "Result": "runwright.core.task",
    "ResumePlan": "runwright.core.options",
    "Retry": "runwright.executors.retry",
    "RetryPolicy": "runwright.core.retry",
    "Router": "runwright.executors.router",
    "Run": "runwright.core.run",
    "RunFilter": "runwright.ports.stores",
    "RunIsActive": "runwright.core.errors",
    "RunNotFound": "runwright.core.errors",
    "RunOptions": "runwright.core.options",
    "RunState": "runwright.core.states",
    "RunStore": "runwright.ports.stores",
    "RunwrightError": "runwright.core.errors",
    "Session": "runwright.ports.executor",
    "State": "runwright.core.planstate",
    "Step": "runwright.engines.steps",
    "StoreCorrupt": "runwright.core.errors",
    "StoreError": "runwright.core.errors",
    "Strategy": "runwright.core.options",
    "Task": "runwright.core.task",
    "TaskDefinition": "runwright.core.workflow",
    "TaskFailed": "runwright.core.errors",
    "TaskRole": "runwright.core.states",
    "TaskState": "runwright.core.states",
    "TasksFailed": "runwright.core.errors",
    "UnopenedSession": "runwright.core.errors",
    "UsageError": "runwright.core.errors",
    "Workflow": "runwright.wiring.flow",
    "decode_workflow": "runwright.wiring",
    "load_workflow": "runwright.wiring",
    "open_store": "runwright.wiring",
    "serve": "runwright.wiring.plugins",
}

__all__ = ["__version__", *sorted(_HOMES)]  # pyright: ignore[reportUnsupportedDunderAll]


def __getattr__(name: str) -> object:
    """Import a public name from its home on first use."""
    home = _HOMES.get(name)
    if home is None:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from importlib import import_module  # noqa: PLC0415 - `--version` does without it

    value = getattr(import_module(home), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *_HOMES})
