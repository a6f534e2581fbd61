"""What the store costs an engine: ``python -m benchmarks.commit``.

Each number stands beside its floor, measured in the same run: the same loop on the store in memory, a bare loop of
SQLite that commits one row at a time, and for the bulk the time of the processor, which other programs disturb less.
"""

import asyncio
import tempfile
import time
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime
from pathlib import Path

import apsw

from runwright.adapters.owner import current_owner
from runwright.adapters.sqlite import SqliteStore
from runwright.core.events import RunStarted, TaskEnded, TaskStarted
from runwright.core.run import Definition, Run, TaskRow
from runwright.core.states import TaskState
from runwright.testing import MemoryStore

TASKS = 10_000
ROUND_TRIPS = 300
MANY = 100_000
NOW = datetime.now(UTC)


async def create(store, number: int, tasks: int):
    run = Run(id=f"{number:08x}-0000-7000-8000-{number:012x}", name="bench", definition="d", created_at=NOW)
    rows = [TaskRow(id=f"task_{n}", key=f"task_{n}", name=f"task {n}") for n in range(tasks)]
    begun = RunStarted(at=NOW, workflow="w", definition="d", strategy="levels", workers=2, total=tasks)
    began = time.perf_counter()
    lease = await store.create_run(
        run, Definition(digest="d", content=b"{}"), rows, [begun], current_owner(), 3600.0
    )
    return lease, time.perf_counter() - began


async def no_ops(store, number: int) -> tuple[float, float]:
    """Append start and end of every task, one event a call, from a loop that is always busy."""
    lease, _ = await create(store, number, TASKS)
    wall, processor = time.perf_counter(), time.process_time()
    ends = []
    for n in range(TASKS):
        store.append(lease, [TaskStarted(at=NOW, task_id=f"task_{n}", attempt=1)])
        end = TaskEnded(at=NOW, task_id=f"task_{n}", attempt=1, state=TaskState.SUCCEEDED)
        ends.append(store.append(lease, [end]))
        if n % 8 == 0:
            await asyncio.sleep(0)
    await asyncio.gather(*ends)
    return time.perf_counter() - wall, time.process_time() - processor


async def round_trips(store, number: int) -> float:
    """Append and wait, one event after another."""
    lease, _ = await create(store, number, ROUND_TRIPS)
    began = time.perf_counter()
    for n in range(ROUND_TRIPS):
        await store.append(lease, [TaskStarted(at=NOW, task_id=f"task_{n}", attempt=1)])
    return (time.perf_counter() - began) / ROUND_TRIPS


def bare_commits(path: Path) -> float:
    database = apsw.Connection(str(path))
    database.execute("PRAGMA journal_mode = WAL; PRAGMA synchronous = FULL; CREATE TABLE t (x)").fetchall()
    began = time.perf_counter()
    for _ in range(ROUND_TRIPS):
        database.execute("INSERT INTO t VALUES (?)", ("x" * 100,))
    passed = time.perf_counter() - began
    database.close()
    return passed / ROUND_TRIPS


async def timed(work: Callable[[], Awaitable]) -> float:
    began = time.perf_counter()
    await work()
    return time.perf_counter() - began


async def measure(folder: Path) -> None:
    store, memory = SqliteStore.open(folder / "runs.db"), MemoryStore()
    for number in range(1, 4):
        floor, floor_cpu = await no_ops(memory, number)
        wall, processor = await no_ops(store, number)
        more, more_cpu = (1e6 * (a - b) / TASKS for a, b in ((wall, floor), (processor, floor_cpu)))
        print(
            f"{TASKS:,} no-op tasks: {1e6 * wall / TASKS:.1f} us a task, in memory {1e6 * floor / TASKS:.1f}; "
            f"durable costs {more:.1f} us more (processor {more_cpu:.1f} us)"
        )
    for number in range(4, 7):
        bare = bare_commits(folder / f"bare{number}.db")
        trip = await round_trips(store, number)
        print(
            f"one append awaited: {1e6 * trip:.0f} us; a bare commit: {1e6 * bare:.0f} us; ratio {trip / bare:.2f}"
        )
    processor = time.process_time()
    lease, passed = await create(store, 7, MANY)
    print(
        f"create a run of {MANY:,} tasks: {passed:.2f} s (processor {time.process_time() - processor:.2f} s)"
    )
    print(f"load {MANY:,} tasks: {await timed(lambda: store.tasks(lease.run_id)):.2f} s")
    print(
        f"load {2 * TASKS:,} events: {await timed(lambda: store.events(f'{1:08x}-0000-7000-8000-{1:012x}')):.2f} s"
    )
    print(
        f"verify {2 * TASKS:,} events: {await timed(lambda: store.verify(f'{1:08x}-0000-7000-8000-{1:012x}')):.2f} s"
    )
    await store.close()


if __name__ == "__main__":
    with tempfile.TemporaryDirectory(prefix="runwright-commit-") as name:
        asyncio.run(measure(Path(name)))
