"""What the commands share: opening the store, finding runs, short ids, exit statuses."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from itertools import pairwise
from pathlib import Path
from typing import TypeVar

from msgspec import Struct

from runwright import wiring
from runwright.cli.arguments import Arguments
from runwright.core.errors import AmbiguousRunId, Problem, StoreError, UsageError
from runwright.core.run import TIMEOUT_REASON, Run
from runwright.core.states import RunState, TaskRole, TaskState
from runwright.ports.stores import RunStore
from runwright.ports.system import Logs

T = TypeVar("T")
EXIT_FAILED = 1
SHORTEST_ID = 8
ID_LENGTH = 36


class Reading(Struct, frozen=True):
    """A store that is only read from, with the logs beside it."""

    store: RunStore
    logs: Logs
    location: wiring.StateLocation


class Ended(Struct, frozen=True):
    """A run that this process has driven to an end: its record, the exit status, and the seconds it took here."""

    run: Run
    status: int
    spent: float


def now() -> datetime:
    """Return the current instant."""
    return datetime.now(UTC)


@asynccontextmanager
async def reading(args: Arguments) -> AsyncIterator[Reading]:
    """Open the store and the logs for reading; nothing is written, not even a missing directory.

    Raises:
        UsageError: If the command line names a store that is not there; one of the project is empty until it is made.
    """
    location = wiring.state_location(args.store)
    if args.store and not location.is_server and not location.database.exists():
        text = f"there is no store at {location.database}"
        advice = "check --store; a store is made by the first run in it"
        raise UsageError((Problem(message=text, suggestion=advice),))
    store = wiring.open_store(location, read_only=True)
    try:
        yield Reading(store, wiring.open_logs(location), location)
    finally:
        await store.close()


def with_reading(args: Arguments, work: Callable[[Reading], Awaitable[T]]) -> T:
    """Run `work` on the opened store, to its end."""

    async def inside() -> T:
        async with reading(args) as state:
            return await work(state)

    return asyncio.run(inside())


async def short_id(store: RunStore, run_id: str, length: int = SHORTEST_ID) -> str:
    """Return the shortest beginning of a run id that names it alone, of `length` characters at least."""
    while length < ID_LENGTH:
        try:
            await store.find_run(run_id[:length])
        except AmbiguousRunId:
            length += 1
        except StoreError:
            return run_id
        else:
            break
    return run_id[:length].rstrip("-")


async def short_ids(store: RunStore, run_ids: Sequence[str]) -> dict[str, str]:
    """Return a beginning of each id that names it alone in the whole store, all equally long."""
    length = common_length(run_ids)
    for run_id in run_ids:
        length = max(length, len(await short_id(store, run_id, length)))
    return {run_id: run_id[:length].rstrip("-") for run_id in run_ids}


def common_length(run_ids: Sequence[str]) -> int:
    """Return how many leading characters tell these ids apart, `SHORTEST_ID` at least."""
    ordered = sorted(run_ids)
    length = SHORTEST_ID
    for left, right in pairwise(ordered):
        while length < ID_LENGTH and left[:length] == right[:length]:
            length += 1
    return length


def exit_status(run: Run) -> int:
    """Return the exit status that stands for how a run ended: 0 succeeded, 124 its time limit, else 1."""
    if run.state is RunState.SUCCEEDED:
        return 0
    return 124 if ended_by_timeout(run) else EXIT_FAILED


async def not_cleaned(store: RunStore, run: Run) -> list[str]:
    """Return the ids of the cleanups of a run that did not succeed."""
    rows = await store.tasks(run.id)
    return [row.id for row in rows if row.role is TaskRole.CLEANUP and row.state is not TaskState.SUCCEEDED]


def ended_by_timeout(run: Run) -> bool:
    """Return whether the run's own time limit ended it."""
    return run.state is RunState.CANCELLED and run.reason.startswith(TIMEOUT_REASON)


def find_workflow(name: str) -> Path:
    """Return the file of a workflow given by path or by name, as seen from the current directory.

    Raises:
        UsageError: If there is none.
    """
    return Path(relative(wiring.find_workflow(name)))


def is_module(name: str) -> bool:
    """Tell whether a name is that of a workflow made in code: ``module:name``, or a Python file with or without a name."""
    return name.endswith(".py") or (":" in name and not Path(name).exists())


def relative(path: Path) -> str:
    """Return a path as seen from the current directory, if it lies in it."""
    try:
        return str(path.relative_to(Path.cwd()))
    except ValueError:
        return str(path)
