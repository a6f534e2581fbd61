"""Runs within runs to look at: a workflow whose tasks are a workflow, a plan in that one, and a goal.

::

    release                 workflow, failed
      prepare
      deploy                its work is the workflow rollout, failed
        provision           its work is the plan servers, first interrupted, then failed
          network  wait_1  database  report
        notify
      heal                  its work is the goal tidy, which oscillated
"""

import asyncio
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from cli_state import OWNER, at, good

from runwright import wiring
from runwright.adapters.logs import FileLogs
from runwright.adapters.sqlite import SqliteStore
from runwright.core.definition import pin
from runwright.core.errors import Failure
from runwright.core.events import (
    AnyEvent,
    RoundPlanned,
    RunEnded,
    RunStarted,
    StateSaved,
    TaskEnded,
    TaskRetrying,
    TaskStarted,
)
from runwright.core.goal import GoalDefinition, GoalOptions, Round, oscillation_text
from runwright.core.plan import Hook, PauseDefinition, PlanDefinition, StepDefinition
from runwright.core.run import Run, TaskRow
from runwright.core.states import RunState, TaskRole, TaskState
from runwright.core.workflow import TaskDefinition, Workflow
from runwright.ports.executor import Stream
from runwright.ports.stores import RunStore

RELEASE = "019a0000-0000-7000-8000-000000000001"
ROLLOUT = "019a0001-0000-7000-8000-000000000002"
SERVERS_1 = "019a0002-0000-7000-8000-000000000003"
SERVERS = "019a0003-0000-7000-8000-000000000004"
TIDY = "019a0004-0000-7000-8000-000000000005"

FLOW = Workflow(
    name="release",
    tasks={
        "prepare": TaskDefinition(key="prepare", name="prepare", cmd="true"),
        "deploy": TaskDefinition(
            key="deploy", name="Deploy", executor="workflow", depends_on=("prepare",), args={"path": "x.toml"}
        ),
        "heal": TaskDefinition(key="heal", name="heal", executor="reconcile", depends_on=("prepare",)),
    },
)
ROLLOUT_FLOW = Workflow(
    name="rollout",
    tasks={
        "provision": TaskDefinition(key="provision", name="provision", executor="plan", retries=1),
        "notify": TaskDefinition(key="notify", name="notify", cmd="tell", depends_on=("provision",)),
    },
)
PLAN = PlanDefinition(
    name="servers",
    elements=(
        StepDefinition(name="network", hooks={Hook.EXEC: ("net up",), Hook.CLEANUP: ("net down",)}),
        PauseDefinition(name="wait_1", seconds=2.0),
        StepDefinition(name="database", hooks={Hook.EXEC: ("db up",), Hook.CLEANUP: ("db down",)}, retries=1),
        StepDefinition(name="report", hooks={Hook.EXEC: ("tell",)}),
    ),
)
GOAL = GoalDefinition(name="tidy", plan=("needed",), options=GoalOptions(errors_to_tolerate=3))
REFUSED = Failure(code="E_EXIT", message="exec: exit status 3", exit_code=3, stderr_tail="no room\n")
OSCILLATION = oscillation_text(
    [Round(number=3, actions=("mv a b",)), Round(number=4, actions=("mv b a",))], 10
)


def rows_of(names: Sequence[str]) -> list[TaskRow]:
    return [TaskRow(id=name, key=name, name=name, level=level) for level, name in enumerate(names)]


def ended(task: str, end: float, state: TaskState, **fields: Any) -> TaskEnded:
    return TaskEnded(at=at(end), **{"task_id": task, "attempt": 1, "state": state, **fields})


def did(
    task: str, start: float, end: float, state: TaskState = TaskState.SUCCEEDED, **fields: Any
) -> list[AnyEvent]:
    attempt, role = fields.get("attempt", 1), fields.get("role", TaskRole.TASK)
    begun = TaskStarted(at=at(start), task_id=task, attempt=attempt, role=role)
    return [begun, ended(task, end, state, **fields)]


async def add(
    store: RunStore,
    run: Run,
    definition: Any,
    names: Sequence[str],
    events: Sequence[AnyEvent],
    lease: float = 30,
) -> None:
    """Record a run with its events, under a lease of so many seconds."""
    pinned = pin(definition)
    begun = RunStarted(
        at=run.created_at,
        workflow=run.name,
        definition=pinned.digest,
        strategy="",
        workers=1,
        total=len(names),
    )
    run = Run(**{name: getattr(run, name) for name in run.__struct_fields__} | {"definition": pinned.digest})
    held = await store.create_run(run, pinned, rows_of(names), [begun], OWNER, lease)
    await store.append(held, list(events))


def a_run(run_id: str, name: str, kind: str, start: float, parent: str = "", task: str = "") -> Run:
    return Run(id=run_id, name=name, kind=kind, created_at=at(start), parent_id=parent, parent_task=task)


def release_events() -> list[AnyEvent]:
    bad = Failure(code="E_INNER", message="run of rollout failed")
    return [
        *good("prepare", 0, 1),
        *did("deploy", 1, 30, TaskState.FAILED, failure=bad, reason="run of rollout failed"),
        *did("heal", 1, 20, TaskState.FAILED, failure=Failure(code="E_INNER", message="run of tidy failed")),
        RunEnded(at=at(31), state=RunState.FAILED, reason="deploy failed"),
    ]


def rollout_events() -> list[AnyEvent]:
    bad = Failure(code="E_INNER", message="run of servers failed")
    return [
        TaskStarted(at=at(2), task_id="provision", attempt=1),
        TaskRetrying(at=at(9), task_id="provision", attempt=1, delay=1.0, failure=bad),
        *did("provision", 10, 29, TaskState.FAILED, attempt=2, failure=bad, reason="run of servers failed"),
        ended("notify", 29, TaskState.CANCELLED, attempt=0, reason="needs provision, which failed"),
        RunEnded(at=at(30), state=RunState.FAILED, reason="provision failed"),
    ]


def servers_events() -> list[AnyEvent]:
    saved = StateSaved(
        at=at(13),
        task_id="network",
        values={"cidr": '"10.0.0.0/8"', "ports": "[80, 443]"},
        lost={"socket": "a socket is not plain data"},
    )
    return [
        *did("network", 11, 12),
        saved,
        *did("wait_1", 13, 15),
        TaskStarted(at=at(15), task_id="database", attempt=1),
        TaskRetrying(at=at(17), task_id="database", attempt=1, delay=0.5, failure=REFUSED),
        *did("database", 18, 20, TaskState.FAILED, attempt=2, failure=REFUSED, reason=REFUSED.message),
        ended("report", 20, TaskState.CANCELLED, attempt=0, reason="database failed"),
        *did("network.cleanup", 21, 22, role=TaskRole.CLEANUP),
        RunEnded(at=at(23), state=RunState.FAILED, reason="database failed: exec: exit status 3"),
    ]


def tidy_events() -> list[AnyEvent]:
    bad = Failure(code="E_EXIT", message="perform: exit status 1", exit_code=1)
    unsaid = Failure(code="E_EXIT", message="plan: exit status 9", exit_code=9)
    return [
        *did("1", 2, 2),
        RoundPlanned(at=at(2), round=1, actions=("mv a b", "mkdir c")),
        *did("1.mv a b", 2, 3),
        *did("1.mkdir c", 3, 6),
        *did("1.mkdir c.chmod c", 4, 5),
        *did("2", 7, 7, TaskState.FAILED, failure=unsaid, reason=unsaid.message),
        RoundPlanned(at=at(7), round=2, failure=unsaid),
        *did("3", 8, 8),
        RoundPlanned(at=at(8), round=3, actions=("mv a b",)),
        *did("3.mv a b", 8, 9, TaskState.FAILED, failure=bad, reason=bad.message),
        *did("4", 10, 10),
        RoundPlanned(at=at(10), round=4, actions=("mv b a",)),
        *did("4.mv b a", 10, 11),
        RunEnded(at=at(12), state=RunState.FAILED, reason=OSCILLATION),
    ]


async def fill(store: RunStore) -> None:
    """Add the runs of the picture at the top to a store."""
    steps = [one.name for one in PLAN.elements]
    await add(store, a_run(RELEASE, "release", "workflow", 0), FLOW, list(FLOW.tasks), release_events())
    await add(
        store,
        a_run(ROLLOUT, "rollout", "workflow", 2, RELEASE, "deploy"),
        ROLLOUT_FLOW,
        list(ROLLOUT_FLOW.tasks),
        rollout_events(),
    )
    broken = [TaskStarted(at=at(3), task_id="network", attempt=1)]
    await add(store, a_run(SERVERS_1, "servers", "plan", 3, ROLLOUT, "provision"), PLAN, steps, broken)
    await add(
        store, a_run(SERVERS, "servers", "plan", 10, ROLLOUT, "provision"), PLAN, steps, servers_events()
    )
    await add(store, a_run(TIDY, "tidy", "goal", 2, RELEASE, "heal"), GOAL, [], tidy_events())


def logs() -> dict[tuple[str, str, int], list[tuple[Stream, bytes]]]:
    """Return what the tasks printed, by run, task and attempt."""
    return {
        (RELEASE, "prepare", 1): [("stdout", b"ready\n")],
        (SERVERS, "network", 1): [("stdout", b"net\n")],
        (SERVERS, "database", 1): [("stderr", b"no room\n")],
        (SERVERS, "database", 2): [("stderr", b"still no room\n")],
        (SERVERS, "network.cleanup", 1): [("stdout", b"gone\n")],
        (TIDY, "1.mv a b", 1): [("stdout", b"moved\n")],
    }


def project(folder: Path) -> Path:
    """Make a real store with the runs, and their real logs beside it; returns the store's file."""
    path = folder / "runs.db"

    async def work() -> None:
        store = SqliteStore.open(path)
        await fill(store)
        await store.close()

    asyncio.run(work())
    files = wiring.open_logs(wiring.state_location(f"sqlite:///{path}"))
    assert isinstance(files, FileLogs)
    for (run_id, task, number), chunks in logs().items():
        log = files.open(run_id, task, number, 1 << 20)
        for stream, data in chunks:
            log.write(stream, data)
        log.close()
    return path
