"""Runs, owners and a steerable world for the tests of stores."""

import asyncio
import random
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta

from runwright.core.errors import Failure
from runwright.core.events import (
    AnyEvent,
    AttemptsReserved,
    CancelRequested,
    RunEnded,
    RunStarted,
    TaskEnded,
    TaskRetrying,
    TaskStarted,
)
from runwright.core.run import Definition, Lease, Owner, Run, TaskRow
from runwright.core.states import RunState, TaskRole, TaskState

START = datetime(2026, 3, 1, 12, 0, 0, tzinfo=UTC)
OWNER = Owner(host="here", boot_id="boot", pid=100, process_started="1@space")
OTHER = Owner(host="there", boot_id="boot", pid=200, process_started="2@space")
DEFINITION = Definition(digest="d" * 64, content=b'{"name":"w"}', source="name = 'w'\n")


def at(seconds: float = 0.0) -> datetime:
    return START + timedelta(seconds=seconds)


class World:
    """Time and the life of processes, as the store under test sees them."""

    def __init__(self) -> None:
        self.time = START
        self.dead: set[int] = set()

    def now(self) -> datetime:
        return self.time

    def is_alive(self, owner: Owner) -> bool | None:
        return False if owner.pid in self.dead else None


def run_id(number: int) -> str:
    return f"{number:08x}-0000-7000-8000-00000000{number:04x}"


def new_run(number: int = 1, **fields: object) -> Run:
    values = {
        "id": run_id(number),
        "name": "w",
        "definition": DEFINITION.digest,
        "created_at": at(number),
        "workers": 2,
    }
    return Run(**(values | fields))


def rows(*ids: str) -> list[TaskRow]:
    return [TaskRow(id=name, key=name.partition("[")[0], name=name.title()) for name in ids]


def started(**fields: object) -> RunStarted:
    values = {
        "at": at(),
        "workflow": "w",
        "definition": DEFINITION.digest,
        "strategy": "levels",
        "workers": 2,
        "total": 2,
    }
    return RunStarted(**(values | fields))


def begins(task_id: str, attempt: int = 1, seconds: float = 1, **fields: object) -> TaskStarted:
    return TaskStarted(at=at(seconds), task_id=task_id, attempt=attempt, **fields)


def ends(
    task_id: str,
    state: TaskState = TaskState.SUCCEEDED,
    attempt: int = 1,
    seconds: float = 2,
    **fields: object,
) -> TaskEnded:
    return TaskEnded(at=at(seconds), task_id=task_id, attempt=attempt, state=state, **fields)


async def create(
    store, number: int = 1, tasks: list[TaskRow] | None = None, events=None, **fields: object
) -> Lease:
    tasks = rows("a", "b") if tasks is None else tasks
    return await store.create_run(
        new_run(number, **fields), DEFINITION, tasks, events or [started()], OWNER, 60.0
    )


def history(dice: random.Random, ids: list[str]) -> Iterator[AnyEvent]:
    """Yield a random but legal life of a run."""
    clock = (at(dice.random() / 3 + number) for number in range(10_000))
    yield RunStarted(
        at=next(clock),
        workflow="w",
        definition="d",
        strategy="levels",
        workers=2,
        total=len(ids),
        variables={"given": "1"},
    )
    attempts = dict.fromkeys(ids, 0)
    waiting, running = set(ids), set()
    while waiting or running:
        kind = dice.random()
        name = dice.choice(sorted(waiting | running))
        failure = Failure(code="E_EXIT", message='it\nbroke "so" \0 ü', exit_code=3)
        if name in waiting and kind < 0.2:
            some = [each for each in sorted(waiting) if dice.random() < 0.3]
            yield AttemptsReserved(at=next(clock), attempts={each: attempts[each] + 1 for each in some})
        elif name in waiting and kind < 0.3:
            waiting.discard(name)
            state = dice.choice((TaskState.SKIPPED, TaskState.CANCELLED, TaskState.FAILED))
            yield TaskEnded(at=next(clock), task_id=name, attempt=0, state=state, reason="no\0pe")
        elif name in waiting:
            waiting.discard(name)
            running.add(name)
            attempts[name] += 1
            yield TaskStarted(at=next(clock), task_id=name, attempt=attempts[name])
        elif kind < 0.3:
            yield TaskRetrying(
                at=next(clock), task_id=name, attempt=attempts[name], delay=1.5, failure=failure
            )
            attempts[name] += 1
            if dice.random() < 0.5:
                yield AttemptsReserved(at=next(clock), attempts={name: attempts[name]})
            yield TaskStarted(at=next(clock), task_id=name, attempt=attempts[name])
        else:
            running.discard(name)
            yield _end(dice, next(clock), name, attempts[name], failure)
            if dice.random() < 0.2:
                handler = f"notify@{name}"
                yield TaskStarted(at=next(clock), task_id=handler, attempt=1, role=TaskRole.HANDLER)
                yield TaskEnded(
                    at=next(clock),
                    task_id=handler,
                    attempt=1,
                    state=TaskState.SUCCEEDED,
                    role=TaskRole.HANDLER,
                )
        if dice.random() < 0.02:
            yield CancelRequested(at=next(clock), reason="a test")
    yield RunEnded(at=next(clock), state=dice.choice((RunState.FAILED, RunState.CANCELLED)), reason="done")


def _end(dice: random.Random, instant: datetime, name: str, attempt: int, failure: Failure) -> TaskEnded:
    if dice.random() < 0.3:
        return TaskEnded(
            at=instant,
            task_id=name,
            attempt=attempt,
            state=TaskState.FAILED,
            failure=failure,
            ignored=dice.random() < 0.5,
        )
    value = dice.choice((None, 7, "text", "null", 1.5, {"a": [1, None]}, [], True, 2**70, "\0"))
    variables = {"shared": name, f"{name}.digest": "ä\n'\""}
    return TaskEnded(
        at=instant, task_id=name, attempt=attempt, state=TaskState.SUCCEEDED, value=value, variables=variables
    )


def run_async(work):
    """Run a coroutine to its end."""
    return asyncio.run(work)
