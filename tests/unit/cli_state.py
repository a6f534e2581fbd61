"""A project for the command line to look at: a fake store with runs in every state, fake logs, fake screens."""

import asyncio
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime, timedelta
from io import StringIO
from pathlib import Path

from runwright.cli.render.terminal import Out
from runwright.core.definition import pin
from runwright.core.errors import Failure
from runwright.core.events import (
    AnyEvent,
    AttemptsReserved,
    CancelRequested,
    RunEnded,
    RunResumed,
    RunStarted,
    TaskEnded,
    TaskRetrying,
    TaskStarted,
)
from runwright.core.run import Definition, Lease, Owner, Run, TaskRow
from runwright.core.states import RunState, TaskRole, TaskState
from runwright.core.workflow import TaskDefinition, TaskType, Workflow
from runwright.ports.system import LogChunk
from runwright.testing.stores import MemoryStore

START = datetime(2026, 3, 1, 12, 0, tzinfo=UTC)
OWNER = Owner(host="forge", boot_id="b", pid=4711, process_started="1")

FAILED = "01950000-0000-7000-8000-00000000000a"
SUCCEEDED = "01950001-0000-7000-8000-00000000000b"
TWIN = "01950001-0000-7000-8000-0000000000bb"
LIVE = "01960000-0000-7000-8000-00000000000c"
DEAD = "01970000-0000-7000-8000-00000000000d"

ETL = Workflow(
    name="etl",
    tags=("nightly",),
    tasks={
        "extract": TaskDefinition(key="extract", name="extract", cmd="get rows", register="rows"),
        "build": TaskDefinition(
            key="build", name="Build", cmd="make", matrix={"os": ("linux", "mac")}, depends_on=("extract",)
        ),
        "load": TaskDefinition(key="load", name="load", cmd="put", depends_on=("build",), retries=1),
        "maybe": TaskDefinition(key="maybe", name="maybe", cmd="x", condition='rows == "0"'),
        "report": TaskDefinition(key="report", name="report", cmd="tell", depends_on=("load",)),
        "alarm": TaskDefinition(key="alarm", name="alarm", cmd="ring", type=TaskType.FORENSIC),
    },
)


def at(seconds: float) -> datetime:
    return START + timedelta(seconds=seconds)


def rows() -> list[TaskRow]:
    plain = [("extract", "extract", 0), ("maybe", "maybe", 0), ("build[os=linux]", "build", 1)]
    plain += [("build[os=mac]", "build", 1), ("load", "load", 2), ("report", "report", 3)]
    return [TaskRow(id=i, key=k, name=ETL.tasks[k].name, level=level) for i, k, level in plain]


def refused() -> Failure:
    return Failure(
        code="E_EXIT", message="exit status 3", exit_code=3, stderr_tail="refused\n\x1b[31mred\x1b[0m \x07\n"
    )


def good(task: str, start: float, end: float, attempt: int = 1, **fields: object) -> list[AnyEvent]:
    state = TaskState.SUCCEEDED
    return [
        AttemptsReserved(at=at(start), attempts={task: attempt}),
        TaskStarted(at=at(start), task_id=task, attempt=attempt),
        TaskEnded(at=at(end), task_id=task, attempt=attempt, state=state, **fields),  # type: ignore[arg-type]
    ]


def failed_events() -> list[AnyEvent]:
    return [
        *good("extract", 0, 1.5, value="rows", variables={"rows": "12", "extract.value": "12"}),
        TaskEnded(
            at=at(1.5), task_id="maybe", attempt=0, state=TaskState.SKIPPED, reason="its condition is false"
        ),
        *good("build[os=linux]", 2, 4),
        *good("build[os=mac]", 2, 5),
        AttemptsReserved(at=at(6), attempts={"load": 1}),
        TaskStarted(at=at(6), task_id="load", attempt=1),
        TaskRetrying(at=at(7), task_id="load", attempt=1, delay=2.0, failure=refused()),
        AttemptsReserved(at=at(9), attempts={"load": 2}),
        TaskStarted(at=at(9), task_id="load", attempt=2),
        TaskEnded(
            at=at(10),
            task_id="load",
            attempt=2,
            state=TaskState.FAILED,
            reason="exit status 3",
            failure=refused(),
        ),
        TaskEnded(
            at=at(10),
            task_id="report",
            attempt=0,
            state=TaskState.CANCELLED,
            reason='needs task "load", which failed',
        ),
        TaskStarted(at=at(10), task_id="alarm@load", attempt=1, role=TaskRole.HANDLER),
        TaskEnded(
            at=at(11), task_id="alarm@load", attempt=1, state=TaskState.SUCCEEDED, role=TaskRole.HANDLER
        ),
        RunEnded(at=at(11), state=RunState.FAILED, reason='task "load" failed'),
    ]


def good_events(start: float) -> list[AnyEvent]:
    names = [row.id for row in rows()]
    ended = [event for name in names for event in good(name, start, start + 1)]
    ended[2] = TaskEnded(
        at=at(start + 1),
        task_id="extract",
        attempt=1,
        state=TaskState.SUCCEEDED,
        variables={"rows": "15", "extract.value": "15"},
    )
    return [*ended, RunEnded(at=at(start + 3), state=RunState.SUCCEEDED)]


class Store(MemoryStore):
    """A store that stays open, so that several commands can look at it."""

    async def close(self) -> None:
        """Stay open."""


def end_soon(store: Store, run_id: str, looks: int) -> None:
    """Make the run end as cancelled after it has been looked at so many times."""
    lease = Lease(run_id=run_id, token=1, expires_at=at(1e6))
    left = [looks]
    find = store.find_run

    async def counting(prefix: str) -> Run:
        left[0] -= 1
        if left[0] == 0:
            end = RunEnded(at=at(110), state=RunState.CANCELLED, reason="enough")
            await store.append(lease, [end])
        return await find(prefix)

    store.find_run = counting  # type: ignore[method-assign]


def add_other_definition(store: Store, source: str) -> str:
    """Add a run of a changed workflow; returns its id."""
    run_id = "01980000-0000-7000-8000-00000000000e"
    changed = Workflow(
        name="etl", tasks={"extract": TaskDefinition(key="extract", name="extract", cmd="other")}
    )
    asyncio.run(add_run(store, run_id, 300, [], 1e6, pinned=pin(changed, source)))
    return run_id


class FakeLogs:
    """Logs held in memory, as chunks of (stream, data)."""

    def __init__(self, chunks: Mapping[tuple[str, int], list[tuple[str, bytes]]]) -> None:
        self.chunks = dict(chunks)

    def read(self, run_id: str, task_id: str, attempt: int, offset: int = 0) -> Iterator[LogChunk]:
        position = 0
        for stream, data in self.chunks.get((task_id, attempt), []):
            if position + len(data) > offset:
                cut = max(0, offset - position)
                yield LogChunk(position + cut, stream, data[cut:])  # type: ignore[arg-type]
            position += len(data)

    def path(self, run_id: str, task_id: str, attempt: int) -> Path:
        return Path("/nowhere", run_id, task_id, f"{attempt}.log")


LOGS = {
    ("extract", 1): [("stdout", b"one\ntw"), ("stderr", b"careful\n"), ("stdout", b"o\nthree")],
    ("build[os=linux]", 1): [("stdout", b"linux\n")],
    ("build[os=mac]", 1): [("stdout", b"mac\n")],
    ("load", 1): [("stderr", b"refused\n")],
    ("load", 2): [("stderr", b"refused \x1b[31magain\x1b[0m\n")],
}


async def add_run(
    store: Store,
    run_id: str,
    start: float,
    events: list[AnyEvent],
    lease_seconds: float,
    pinned: Definition | None = None,
) -> Lease:
    definition = pinned or pin(ETL, 'name = "etl"\n')
    run = Run(
        id=run_id,
        name="etl",
        definition=definition.digest,
        path="/project/etl.toml",
        tags=("nightly",),
        strategy="work-stealing",
        workers=4,
        created_at=at(start),
    )
    begun = RunStarted(
        at=at(start),
        workflow="etl",
        definition=definition.digest,
        strategy="work-stealing",
        workers=4,
        total=6,
    )
    lease = await store.create_run(run, definition, rows(), [begun], OWNER, lease_seconds)
    if events:
        await store.append(lease, events)
    return lease


async def _filled(now: datetime) -> Store:
    store = Store(now=lambda: now, is_alive=lambda owner: None)
    await add_run(store, FAILED, 0, failed_events(), 30)
    await add_run(store, SUCCEEDED, 60, good_events(60), 30)
    await add_run(store, TWIN, 61, good_events(61), 30)
    live = await add_run(store, LIVE, 100, good("extract", 100, 101), 1e6)
    await store.append(live, [TaskStarted(at=at(102), task_id="build[os=mac]", attempt=1)])
    await add_run(store, DEAD, 200, good("extract", 200, 201), 30)
    return store


def filled_store(now: datetime | None = None) -> Store:
    """Return a store with a run that failed, two that succeeded, one that runs, and one whose engine died."""
    return asyncio.run(_filled(now or at(5000)))


def resumed_store() -> Store:
    """Return a store whose failed run has been resumed and cancelled."""
    store = filled_store()

    async def work() -> None:
        lease = await store.take_lease(FAILED, OWNER, 30, at(5000))
        run = await store.find_run(FAILED)
        kept = [row for row in await store.tasks(FAILED) if row.role is TaskRole.TASK]
        resumed = RunResumed(
            at=at(5000),
            from_state=RunState.FAILED,
            resume_count=1,
            definition=run.definition,
            strategy="sequential",
            workers=1,
            total=6,
            reused=3,
            redo={"load": "failed: exit status 3", "report": "cancelled"},
        )
        await store.resume_run(lease, run, await store.definition(run.definition), kept, [resumed])
        ends = [
            CancelRequested(at=at(5001), reason="stopped by Ctrl-C"),
            *good("load", 5001, 5002, attempt=3),
            RunEnded(at=at(5003), state=RunState.CANCELLED, reason="stopped by Ctrl-C"),
        ]
        await store.append(lease, ends)

    asyncio.run(work())
    return store


class Screen(StringIO):
    """A stream that says it is a terminal."""

    def __init__(self, encoding: str = "utf-8", *, terminal: bool = True) -> None:
        super().__init__()
        self._encoding = encoding
        self._terminal = terminal

    @property
    def encoding(self) -> str:  # type: ignore[override]
        return self._encoding

    def isatty(self) -> bool:
        return self._terminal


def terminal(width: int = 80, *, encoding: str = "utf-8", **environ: str) -> Out:
    """Return a terminal of that width."""
    return Out(Screen(encoding), environ={"TERM": "xterm", "COLUMNS": str(width), **environ})


def pipe(encoding: str = "utf-8") -> Out:
    """Return a stream that is no terminal."""
    return Out(Screen(encoding, terminal=False), environ={"TERM": "xterm"})


def text(out: Out) -> str:
    """Return what was written."""
    assert isinstance(out.stream, StringIO)
    return out.stream.getvalue()
