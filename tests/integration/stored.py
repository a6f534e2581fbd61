"""Runs for the tests of the store on disk."""

from datetime import UTC, datetime, timedelta
from pathlib import Path

import apsw

from runwright.adapters.owner import current_owner
from runwright.adapters.sqlite import SqliteStore
from runwright.core.events import RunStarted, TaskEnded, TaskStarted
from runwright.core.run import Definition, Lease, Run, TaskRow
from runwright.core.states import TaskState

NOW = datetime.now(UTC)
DEFINITION = Definition(digest="d" * 64, content=b"{}")


def run_id(number: int = 1) -> str:
    return f"{number:08x}-0000-7000-8000-{number:012x}"


def rows(count: int) -> list[TaskRow]:
    return [TaskRow(id=f"task_{n}", key=f"task_{n}", name=f"task {n}") for n in range(count)]


def started() -> RunStarted:
    return RunStarted(at=NOW, workflow="w", definition="d" * 64, strategy="levels", workers=2, total=4)


async def create(store, number: int = 1, tasks: int = 40) -> Lease:
    run = Run(id=run_id(number), name="w", definition="d" * 64, created_at=NOW + timedelta(seconds=number))
    return await store.create_run(run, DEFINITION, rows(tasks), [started()], current_owner(), 3600.0)


def life(count: int) -> list:
    """Return the events of some tasks that start and succeed."""
    events = []
    for n in range(count):
        events.append(TaskStarted(at=NOW, task_id=f"task_{n}", attempt=1))
        end = TaskEnded(
            at=NOW,
            task_id=f"task_{n}",
            attempt=1,
            state=TaskState.SUCCEEDED,
            value="x" * (n * 37 % 900),
            variables={"v": str(n)},
        )
        events.append(end)
    return events


async def make(path: Path, events: int = 0) -> Lease:
    """Make a store with one run and some of its events, and close it."""
    store = SqliteStore.open(path, durability="off")
    lease = await create(store)
    if events:
        await store.append(lease, life(40)[:events])
    await store.close()
    return lease


def integrity(path: Path) -> str:
    connection = apsw.Connection(str(path))
    try:
        return connection.execute("PRAGMA integrity_check").get
    finally:
        connection.close()


async def what_is_left(path: Path) -> tuple[int, str]:
    """Return how many events a store holds after its disk failed, and what is wrong with it."""
    problem = integrity(path)
    if problem != "ok":
        return 0, problem
    store = SqliteStore.open(path, durability="off")
    try:
        report = await store.verify(run_id())
        return report.events, report.problem
    finally:
        await store.close()
