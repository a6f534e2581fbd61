"""Who may write to a run, and what its state looks like to a reader; `now` and liveness are arguments."""

from datetime import datetime

from runwright.core.run import Owner
from runwright.core.states import RunState


def is_held(owner: Owner | None, expires_at: datetime | None, now: datetime, alive: bool | None) -> bool:
    """Tell whether a lease still keeps others out.

    Args:
        owner: Who holds it, None if it was released.
        expires_at: When it lapses.
        now: The current instant.
        alive: Whether the owner lives; None if nobody here can tell.
    """
    return owner is not None and expires_at is not None and now < expires_at and alive is not False


def visible_state(state: RunState, held: bool) -> RunState:
    """Return the state a reader should see: a run that nobody drives and that has not ended is interrupted."""
    unfinished = state in (RunState.PENDING, RunState.RUNNING)
    return RunState.INTERRUPTED if unfinished and not held else state


def busy_text(run_id: str, owner: Owner) -> str:
    """Say who holds a run, and what to do."""
    return (
        f"run {run_id} is driven by process {owner.pid} on {owner.host}; "
        f"wait for it to end, or stop it with `runwright cancel {run_id}`"
    )


def lost_text(run_id: str, token: int) -> str:
    """Say that a lease is stale, and what to do."""
    return (
        f"the right to write to run {run_id} (token {token}) has passed on; "
        f"`runwright status {run_id}` shows who drives it now"
    )
