"""Opening what is recorded, for engines whose work is functions."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

from runwright.adapters.workspace import DirectoryWorkspaces
from runwright.engines.prepare import Doors
from runwright.executors.router import Router
from runwright.ports.stores import RunStore
from runwright.wiring.doors import make_doors
from runwright.wiring.engine import open_logs, open_store, state_location


@asynccontextmanager
async def opened_doors(store: RunStore | str | Path) -> AsyncIterator[Doors]:
    """Open a store with the logs beside it, and close what was opened here.

    Args:
        store: A store, which stays open, or the path or URL of one.
    """
    is_place = isinstance(store, str | Path)
    location = state_location(str(store) if is_place else None)
    opened = open_store(location) if is_place else store
    assert not isinstance(opened, str | Path)
    workspaces = DirectoryWorkspaces(location.work_dir)
    workspaces.sweep()
    try:
        yield make_doors(opened, open_logs(location), workspaces, Router(), _nothing)
    finally:
        if is_place:
            await opened.close()


def _nothing() -> None:
    """Skip no grace: there are no processes."""
