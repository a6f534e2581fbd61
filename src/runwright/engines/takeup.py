"""Taking up a run that has ended without success, or whose engine has died."""

from collections.abc import Awaitable, Callable
from typing import TypeVar

from msgspec import structs

from runwright.core.errors import Problem, UsageError
from runwright.core.run import Lease, Run
from runwright.core.states import RESUMABLE_RUN_STATES, RunState
from runwright.engines.leasekeeper import LEASE_SECONDS
from runwright.engines.prepare import Doors

T = TypeVar("T")


async def take_up(doors: Doors, run_id: str, prepare: Callable[[Run, Lease], Awaitable[T]]) -> T:
    """Take the lease of a run, and give it back if the run can't be made ready.

    Args:
        doors: Everything outside.
        run_id: Id of the run, or an unambiguous beginning of it.
        prepare: Makes it ready, given the run as it was found and the lease on it.

    Raises:
        RunIsActive: If another engine drives it.
        UsageError: If it has succeeded.
    """
    store = doors.store
    run = await store.find_run(run_id)
    require_resumable(run)
    lease = await store.take_lease(run.id, doors.owner, LEASE_SECONDS, doors.clock.now())
    try:
        return await prepare(_as_found(run, await store.find_run(run.id)), lease)
    except BaseException:
        await store.release_lease(lease)
        raise


def require_resumable(run: Run) -> None:
    """Refuse a run that can't be taken up.

    Raises:
        UsageError: If it has succeeded, or has not begun.
    """
    if run.state is RunState.SUCCEEDED:
        message = f"run {run.id} has succeeded, so there is nothing to resume"
        raise UsageError((Problem(message=message, suggestion=f"start a new run of {run.name}"),))
    if run.state not in RESUMABLE_RUN_STATES and run.owner is None:
        raise UsageError(f"run {run.id} is {run.state.value} and can't be resumed")


def _as_found(before: Run, now: Run) -> Run:
    """Return a run as it is under our lease, which makes what was interrupted look as if it ran."""
    if now.state is RunState.RUNNING:
        return structs.replace(now, state=before.state)
    require_resumable(now)
    return now
