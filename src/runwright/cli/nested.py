"""Runs within runs: read once with all that is in them, and found by a path of tasks.

A path names a task of an inner run by the tasks on the way to it: ``deploy/database`` is the task `database` of the run
that is the work of the task `deploy`. If that task has had several runs, the newest that fits is meant.
"""

from collections.abc import Awaitable, Callable, Iterator, Sequence
from typing import Protocol, Self, TypeVar

from msgspec import Struct

from runwright.core.errors import Problem, UsageError
from runwright.core.run import Run, TaskRow
from runwright.core.suggest import did_you_mean
from runwright.ports.stores import RunFilter, RunStore

DEEPEST = 50
"""Most runs one inside the other that are read; those that lie deeper are counted."""
STEP = "/"

T = TypeVar("T")


class Nested(Protocol):
    """A run with its tasks and with the runs that are the work of these."""

    @property
    def run(self) -> Run:
        """Return the run."""
        ...

    @property
    def tasks(self) -> Sequence[TaskRow]:
        """Return its tasks."""
        ...

    @property
    def inner(self) -> Sequence[Self]:
        """Return the runs that are the work of these, oldest first."""
        ...


N = TypeVar("N", bound=Nested)


class Standing(Struct, frozen=True):
    """A run as far as it must be known to say where it stands.

    Attributes:
        inner: The runs that are the work of its tasks, oldest first.
        left_out: Number of inner runs that were not read because they lie too deep.
    """

    run: Run
    tasks: Sequence[TaskRow]
    inner: Sequence["Standing"] = ()
    left_out: int = 0


async def standing(store: RunStore, run: Run) -> Standing:
    """Read a run, its tasks, and the same of every run within it."""

    async def read(one: Run, inner: Sequence[Standing], left_out: int) -> Standing:
        return Standing(one, await store.tasks(one.id), inner, left_out)

    return await read_nested(store, run, read)


async def read_nested(
    store: RunStore,
    run: Run,
    read: Callable[[Run, Sequence[T], int], Awaitable[T]],
    room: int = DEEPEST,
) -> T:
    """Call `read` for every run within a run, innermost first, and for the run itself; returns what the last call did.

    Args:
        store: Where they are.
        run: The outermost.
        read: Given a run, what came of the runs directly in it (oldest first), and how many of those were left out.
        room: Most levels below this one.
    """
    runs = (await store.list_runs(RunFilter(parent=run.id)))[::-1]
    if not room:
        return await read(run, (), len(runs))
    inner = [await read_nested(store, one, read, room - 1) for one in runs]
    return await read(run, inner, 0)


def inner_of(found: N, task_id: str) -> list[N]:
    """Return the runs that are the work of a task, oldest first."""
    return [one for one in found.inner if one.run.parent_task == task_id]


def match(rows: Sequence[TaskRow], name: str) -> frozenset[str]:
    """Return the ids of the tasks with this id or key; of a goal's actions also those with this name in any round."""
    return frozenset(
        [row.id for row in rows if row.id == name]
        or [row.id for row in rows if row.key == name]
        or [row.id for row in rows if _without_round(row.id) == name]
    )


def _without_round(row_id: str) -> str:
    number, _, action = row_id.partition(".")
    return action if number.isdecimal() else ""


def locate(found: N, name: str) -> tuple[tuple[N, ...], frozenset[str]]:
    """Return the runs from the outermost to the one that has the task, and the ids of the task's nodes in it.

    Args:
        found: The outermost run.
        name: Id or key of a task, behind the ids of the outer tasks if it is a task of an inner run.

    Raises:
        UsageError: If there is none; with the nearest name.
    """
    place = _locate(found, name)
    if place is not None:
        return place
    suggestion = did_you_mean(name, paths(found)) or did_you_mean(name, (row.key for row in found.tasks))
    raise UsageError((Problem(message=f'the run has no task "{name}"', suggestion=suggestion),))


def _locate(found: N, name: str) -> tuple[tuple[N, ...], frozenset[str]] | None:
    ids = match(found.tasks, name)
    if ids:
        return (found,), ids
    for at in (at for at, letter in enumerate(name) if letter == STEP):
        for one in reversed(inner_of(found, name[:at])):
            place = _locate(one, name[at + 1 :])
            if place is not None:
                return (found, *place[0]), place[1]
    return None


def way(chain: Sequence[Nested]) -> str:
    """Return what stands before the names of tasks of the last of these runs, each of them in the one before it."""
    return "".join(one.run.parent_task + STEP for one in chain[1:])


def paths(found: Nested, before: str = "") -> Iterator[str]:
    """Yield the paths of all tasks of a run and of the runs within it."""
    for row in found.tasks:
        yield before + row.id
        for one in inner_of(found, row.id):
            yield from paths(one, before + row.id + STEP)


def last_rows(found: N, before: str = "") -> Iterator[tuple[str, TaskRow]]:
    """Yield the tasks of a run and of the last run within each of them, with their paths."""
    for row in found.tasks:
        yield before + row.id, row
        for one in inner_of(found, row.id)[-1:]:
            yield from last_rows(one, before + row.id + STEP)


def every(found: N) -> Iterator[N]:
    """Yield a run and all runs within it, each before those that it holds."""
    yield found
    for one in found.inner:
        yield from every(one)
