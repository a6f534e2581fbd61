"""A hundred thousand tasks: a chain and a fan run to their ends in memory, in time that grows with their number."""

import asyncio
import os
import time

import pytest
from engine_bench import OWNER, Functions
from msgspec import structs

from runwright.core.options import RunOptions, Strategy
from runwright.core.states import RunState
from runwright.core.task import Result
from runwright.core.workflow import TaskDefinition, Workflow
from runwright.engines.prepare import Doors
from runwright.engines.workflow import WorkflowEngine
from runwright.executors.router import Router
from runwright.testing import FakeClock, FakeWorkspaces, MemoryLogs, MemoryStore

TASKS = int(os.environ.get("RUNWRIGHT_SCALE_TASKS", "100000"))
SECONDS = 60.0
"""What 100,000 tasks may take on a slow machine with other work; ten is usual."""

NOTHING = Result()


async def nothing(session: object, task: object) -> Result:
    return NOTHING


def tasks(shape: str, count: int) -> Workflow:
    one = TaskDefinition(key="", name="", executor="call.nothing")
    keys = [f"t{number:06}" for number in range(count)]
    made = {}
    for number, key in enumerate(keys):
        needs = (keys[number - 1],) if shape == "chain" and number else ()
        made[key] = structs.replace(one, key=key, name=key, depends_on=needs)
    return Workflow(name=shape, tasks=made)


@pytest.mark.parametrize("shape", ["chain", "fan"])
@pytest.mark.parametrize(
    ("strategy", "workers", "count"),
    [
        (Strategy.SEQUENTIAL, 1, TASKS // 10),
        (Strategy.LEVELS, 8, TASKS // 10),
        (Strategy.WORK_STEALING, 8, TASKS),
    ],
)
def test_very_many_tasks_run_to_the_end(shape: str, strategy: Strategy, workers: int, count: int) -> None:
    functions = Functions()
    functions.by_name["nothing"] = nothing
    clock = FakeClock()
    store = MemoryStore(now=clock.now)
    doors = Doors(
        store=store,
        logs=MemoryLogs(),
        workspaces=FakeWorkspaces(),
        clock=clock,
        executor=Router({"call": functions}),
        with_env=frozenset(),
        owner=OWNER,
        new_id=lambda: "00000000-0000-7000-8000-000000000000",
        draw=lambda: 0.0,
        environ={},
        directory="/project",
        skip_grace=lambda: None,
    )
    engine = WorkflowEngine(doors, strategy=strategy, workers=workers)
    begun = time.perf_counter()
    run = asyncio.run(engine.execute(tasks(shape, count), RunOptions()))
    spent = time.perf_counter() - begun
    print(f"{shape} of {count} tasks, {strategy}, {workers} at a time: {spent:.1f} s")
    assert run.state is RunState.SUCCEEDED
    assert run.counts.succeeded == count
    assert spent < SECONDS
