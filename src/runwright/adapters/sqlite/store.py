"""`RunStore` on a file of SQLite."""

import os
from collections.abc import Awaitable, Callable, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any, TypeVar

import apsw
from msgspec import structs

from runwright.adapters import owner as owners
from runwright.adapters.sqlite import actions, queries
from runwright.adapters.sqlite.actions import Liveness
from runwright.adapters.sqlite.connection import Durability, open_for_writing
from runwright.adapters.sqlite.errors import explain
from runwright.adapters.sqlite.reader import Reader
from runwright.adapters.sqlite.writer import Action, Writer
from runwright.core.errors import RunNotFound, StoreError
from runwright.core.events import AnyEvent
from runwright.core.lease import is_held, visible_state
from runwright.core.run import Attempt, Definition, Lease, Owner, Run, TaskRow, Variable
from runwright.core.runids import not_found_text
from runwright.core.states import FINAL_RUN_STATES, RunState
from runwright.ports.stores import Integrity, RunFilter, StoredEvent

T = TypeVar("T")


def _now() -> datetime:
    return datetime.now(UTC)


class SqliteStore:
    """Runs in one file of SQLite, written by one thread and shared safely between processes.

    Make one with `open`.
    """

    def __init__(
        self,
        path: str,
        writer: Writer | None,
        reader: Reader,
        now: Callable[[], datetime],
        is_alive: Liveness,
    ) -> None:
        self._path = path
        self._writer = writer
        self._reader = reader
        self._now = now
        self._is_alive = is_alive

    @classmethod
    def open(
        cls,
        path: str | os.PathLike[str],
        read_only: bool = False,
        durability: Durability = "full",
        now: Callable[[], datetime] = _now,
        is_alive: Liveness = owners.is_alive,
    ) -> "SqliteStore":
        """Open the store in a file; it and its directory are created (modes 0600 and 0700) if they are missing.

        Args:
            path: The file.
            read_only: Write nothing at all, not even into the directory of the file. A missing file is an empty store.
            durability: ``full`` survives power loss. ``off`` does not: it exists so that tests of durability can show
                that they would notice its absence.
            now: Gives the current instant, against which readers compare leases.
            is_alive: Tells whether the owner of a lease lives; None if it can't tell.

        Raises:
            StoreError: If the file can't be used, or was written by a newer Runwright.
            StoreCorrupt: If it is damaged, or the file of another program.
        """
        name = os.fspath(path)
        reader = Reader(name, shared=not read_only)
        if read_only:
            reader.run_here(lambda connection: None, None)  # says at once what is wrong with the file
            return cls(name, None, reader, now, is_alive)
        try:
            connection = open_for_writing(name, durability)
        except (apsw.Error, OSError) as error:
            raise explain(name, error) from error
        return cls(name, Writer(name, connection), reader, now, is_alive)

    async def create_run(
        self,
        run: Run,
        definition: Definition,
        tasks: Sequence[TaskRow],
        events: Sequence[AnyEvent],
        owner: Owner,
        lease_seconds: float,
    ) -> Lease:
        """Record a new run and hold the lease on it; see `RunStore`."""
        expires_at = run.created_at + timedelta(seconds=lease_seconds)

        def action(connection: apsw.Connection) -> None:
            head = actions.create_run(connection, run, definition, tasks, events, owner, expires_at)
            self._writing().remember(run.id, head)

        await self._write(action)
        return Lease(run_id=run.id, token=1, expires_at=expires_at)

    async def take_lease(self, run_id: str, owner: Owner, lease_seconds: float, now: datetime) -> Lease:
        """Take the right to write to a run; see `RunStore`."""

        def action(connection: apsw.Connection) -> Lease:
            self._writing().forget(run_id)
            return actions.take_lease(connection, run_id, owner, lease_seconds, now, self._is_alive)

        lease: Lease = await self._write(action)
        return lease

    async def renew_lease(self, lease: Lease, lease_seconds: float, now: datetime) -> Lease:
        """Hold the lease for longer; see `RunStore`."""
        expires_at = now + timedelta(seconds=lease_seconds)
        renewed: Lease = await self._write(
            lambda connection: actions.renew_lease(connection, lease, expires_at)
        )
        return renewed

    async def release_lease(self, lease: Lease) -> None:
        """Give the right back; see `RunStore`."""

        def action(connection: apsw.Connection) -> None:
            self._writing().forget(lease.run_id)
            actions.release_lease(connection, lease)

        await self._write(action)

    def append(self, lease: Lease, events: Sequence[AnyEvent], *, lazy: bool = False) -> Awaitable[None]:
        """Append events; see `RunStore`."""
        return self._writing().append(lease, events, lazy=lazy)

    def hurry(self) -> None:
        """Put off no commit any longer; see `RunStore`."""
        self._writing().hurry()

    async def resume_run(
        self,
        lease: Lease,
        run: Run,
        definition: Definition,
        tasks: Sequence[TaskRow],
        events: Sequence[AnyEvent],
    ) -> None:
        """Replace what a run is made of and append events; see `RunStore`."""

        def action(connection: apsw.Connection) -> None:
            head = actions.resume_run(connection, lease, run, definition, tasks, events)
            self._writing().remember(run.id, head)

        await self._write(action)

    async def request_cancel(self, run_id: str, at: datetime, reason: str) -> Run:
        """Ask whoever drives the run to stop; see `RunStore`."""
        run: Run = await self._write(
            lambda connection: actions.request_cancel(connection, run_id, at, reason)
        )
        return self._seen(run)

    async def cancel_reason(self, run_id: str) -> str:
        """Return why the run was asked to stop; see `RunStore`."""
        return await self._reader.run(lambda connection: queries.cancel_reason(connection, run_id), "")

    async def find_run(self, prefix: str) -> Run:
        """Return the one run whose id starts so; see `RunStore`."""
        run = await self._reader.run(lambda connection: queries.find_run(connection, prefix), None)
        if run is None:
            raise RunNotFound(not_found_text(prefix))
        return self._seen(run)

    async def list_runs(self, which: RunFilter) -> list[Run]:
        """Return runs with their counts; see `RunStore`."""
        now = self._now()
        if which.state in FINAL_RUN_STATES:
            state = which.state.value
        elif which.state is None and which.sort != "state":
            state = None
        else:
            return await self._list_by_seen_state(which, now)
        return [self._seen(run) for run in await self._select(which, now, state)]

    async def _list_by_seen_state(self, which: RunFilter, now: datetime) -> list[Run]:
        """Choose or sort by a state that only the lease can tell: page after that, not before."""
        every = structs.replace(which, limit=0, offset=0)
        state = None if which.state is None else "live"
        rows = map(self._seen, await self._select(every, now, state))
        runs = [run for run in rows if which.state in (None, run.state)]
        if which.sort == "state":
            runs.sort(key=lambda run: run.state)
        return runs[which.offset :][: which.limit or None]

    async def _select(self, which: RunFilter, now: datetime, state: str | None) -> list[Run]:
        return await self._reader.run(
            lambda connection: queries.select_runs(connection, which, now, state), []
        )

    async def tasks(self, run_id: str) -> list[TaskRow]:
        """Return every task of a run; see `RunStore`."""
        return await self._reader.run(lambda connection: queries.select_tasks(connection, run_id), [])

    async def attempts(self, run_id: str) -> list[Attempt]:
        """Return every attempt of a run; see `RunStore`."""
        return await self._reader.run(lambda connection: queries.select_attempts(connection, run_id), [])

    async def variables(self, run_id: str) -> list[Variable]:
        """Return the variables of a run; see `RunStore`."""
        return await self._reader.run(lambda connection: queries.select_variables(connection, run_id), [])

    async def definition(self, digest: str) -> Definition:
        """Return a pinned definition; see `RunStore`."""
        found = await self._reader.run(lambda connection: queries.select_definition(connection, digest), None)
        if found is None:
            raise StoreError(
                f"{self._path}: the store holds no definition {digest}; `runwright runs` lists its runs"
            )
        return found

    async def events(self, run_id: str, after: int = 0, limit: int = 0) -> list[StoredEvent]:
        """Return events in order; see `RunStore`."""
        return await self._reader.run(
            lambda connection: queries.select_events(connection, run_id, after, limit), []
        )

    async def verify(self, run_id: str) -> Integrity:
        """Check the event chain of a run against its rows; see `RunStore`."""
        found = await self._reader.run(lambda connection: queries.verify(connection, run_id), None)
        if found is None:
            raise RunNotFound(not_found_text(run_id))
        return found

    async def close(self) -> None:
        """Wait until everything appended is durable, then free the store; safe to call twice."""
        self._reader.close()
        if self._writer is not None:
            await self._writer.close()

    async def _write(self, action: Action) -> Any:
        return await self._writing().call(action)

    def _writing(self) -> Writer:
        if self._writer is None:
            raise StoreError(f"{self._path}: the store was opened for reading only")
        return self._writer

    def _seen(self, run: Run) -> Run:
        """Show a run as a reader should see it."""
        if run.state not in (RunState.PENDING, RunState.RUNNING):
            return run
        alive = None if run.owner is None else self._is_alive(run.owner)
        held = is_held(run.owner, run.lease_expires_at, self._now(), alive)
        return structs.replace(run, state=visible_state(run.state, held))
