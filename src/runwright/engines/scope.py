"""What surrounds the driving of every run: its session, its progress, and the end of both."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Protocol

from msgspec import Struct

from runwright.core.options import RunOptions
from runwright.core.redact import Redactor
from runwright.core.run import Lease
from runwright.engines.journal import Journal
from runwright.engines.parent import Parent
from runwright.engines.prepare import Doors
from runwright.engines.progress import Listener, Progress
from runwright.engines.session import RunSession


class Ready(Protocol):
    """A run that holds its lease, of whatever kind."""

    @property
    def run_id(self) -> str:
        """Its id."""
        ...

    @property
    def options(self) -> RunOptions:
        """Its options."""
        ...

    @property
    def lease(self) -> Lease:
        """The right to write to it."""
        ...

    @property
    def redactor(self) -> Redactor:
        """Knows its secrets."""
        ...


class Scope(Struct, frozen=True):
    """What a driver works with.

    Attributes:
        session: Open on the executor of the doors.
        progress: Tells the listener.
        journal: Records.
    """

    session: RunSession
    progress: Progress
    journal: Journal


@asynccontextmanager
async def opened(doors: Doors, run: Ready, parent: Parent, listener: Listener | None) -> AsyncIterator[Scope]:
    """Open what a run is driven with; at the end close it, remove the run's files and give the lease back.

    Args:
        doors: Everything outside.
        run: Whose scope.
        parent: The outer run, if this one is the work of a task of it; then that is told what happens.
        listener: Told otherwise, unless the options name another one.
    """
    options = run.options
    progress = Progress(run.run_id, doors.clock, parent.tell or options.progress or listener, parent.within)
    session = RunSession(
        run.run_id,
        Path(options.directory),
        doors.logs,
        doors.workspaces,
        run.redactor,
        capture=options.print_output or parent.captures,
        tell=progress.pass_on,
    )
    try:
        await doors.executor.open_session(session)
        try:
            yield Scope(session, progress, Journal(doors.store, run.lease))
        finally:
            await doors.executor.close_session(session.id)
    finally:
        doors.workspaces.discard(run.run_id)
        await doors.store.release_lease(run.lease)
