"""`RunStore` over a writer and a reader of some SQL database."""

from collections.abc import Awaitable, Callable, Sequence
from datetime import datetime, timedelta
from typing import Generic, Protocol, TypeVar

from msgspec import structs

from runwright.adapters.sqlstore import actions, queries
from runwright.adapters.sqlstore.actions import Liveness
from runwright.adapters.sqlstore.batches import is_written
from runwright.adapters.sqlstore.records import Head
from runwright.adapters.sqlstore.statements import Statements
from runwright.adapters.sqlstore.writer import Writer
from runwright.core.errors import RunNotFound, StoreError
from runwright.core.events import AnyEvent
from runwright.core.lease import is_held, visible_state
from runwright.core.run import Attempt, Definition, Lease, Owner, Run, TaskRow, Variable
from runwright.core.runids import not_found_text
from runwright.core.states import FINAL_RUN_STATES, RunState
from runwright.ports.stores import Integrity, RunFilter, StoredEvent

C = TypeVar("C")
C_co = TypeVar("C_co", covariant=True)
T = TypeVar("T")
Query = Callable[[Statements], T]


class AnyReader(Protocol[C_co]):
    """Runs queries on a connection that can't write."""

    async def run(self, query: Callable[[C_co], T], missing: T) -> T:
        """Return what the query finds, or `missing` if there is no store yet."""
        ...

    async def close(self) -> None:
        """Free the connection; safe to call twice."""
        ...


class SqlStore(Generic[C]):
    """Runs in an SQL database; a vendor's store says how one is opened.

    What an action does may have to be done again where a connection can be lost while its commit is on the way: it
    keeps what it was about to leave behind, and looks for that first.

    Args:
        place: How messages name the store.
        statements: Makes the vendor's named queries of a connection.
        writer: None if the store was opened for reading only.
        reader: Of the same database.
        now: Gives the current instant, against which readers compare leases.
        is_alive: Tells whether the owner of a lease lives; None if it can't tell.
        secrets: Texts that open the store, such as a password.

    Attributes:
        secrets: No record of a run may hold one of these.
    """

    def __init__(
        self,
        place: str,
        statements: Callable[[C], Statements],
        writer: Writer[C] | None,
        reader: AnyReader[C],
        now: Callable[[], datetime],
        is_alive: Liveness,
        secrets: Sequence[str] = (),
    ) -> None:
        self.secrets = secrets
        self._place = place
        self._statements = statements
        self._writer = writer
        self._reader = reader
        self._now = now
        self._is_alive = is_alive

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

        def action(statements: Statements) -> Head:
            return actions.create_run(statements, run, definition, tasks, events, owner, expires_at)

        await self._write_log(run.id, action)
        return Lease(run_id=run.id, token=1, expires_at=expires_at)

    async def take_lease(self, run_id: str, owner: Owner, lease_seconds: float, now: datetime) -> Lease:
        """Take the right to write to a run; see `RunStore`."""
        taken: list[Lease] = []

        def action(statements: Statements) -> Lease:
            self._writing().forget(run_id)
            if taken and actions.is_taken(statements, taken[-1], owner):
                return taken[-1]
            taken.append(actions.take_lease(statements, run_id, owner, lease_seconds, now, self._is_alive))
            return taken[-1]

        return await self._write(action)

    async def renew_lease(self, lease: Lease, lease_seconds: float, now: datetime) -> Lease:
        """Hold the lease for longer; see `RunStore`."""
        expires_at = now + timedelta(seconds=lease_seconds)
        return await self._write(lambda statements: actions.renew_lease(statements, lease, expires_at))

    async def release_lease(self, lease: Lease) -> None:
        """Give the right back; see `RunStore`."""

        def action(statements: Statements) -> None:
            self._writing().forget(lease.run_id)
            actions.release_lease(statements, lease)

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

        def action(statements: Statements) -> Head:
            return actions.resume_run(statements, lease, run, definition, tasks, events)

        await self._write_log(run.id, action)

    async def request_cancel(self, run_id: str, at: datetime, reason: str) -> Run:
        """Ask whoever drives the run to stop; see `RunStore`."""
        run = await self._write(lambda statements: actions.request_cancel(statements, run_id, at, reason))
        return self._seen(run)

    async def cancel_reason(self, run_id: str) -> str:
        """Return why the run was asked to stop; see `RunStore`."""
        return await self._read(lambda statements: queries.cancel_reason(statements, run_id), "")

    async def find_run(self, prefix: str) -> Run:
        """Return the one run whose id starts so; see `RunStore`."""
        run = await self._read(lambda statements: queries.find_run(statements, prefix), None)
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
        return await self._read(lambda statements: queries.select_runs(statements, which, now, state), [])

    async def tasks(self, run_id: str) -> list[TaskRow]:
        """Return every task of a run; see `RunStore`."""
        return await self._read(lambda statements: queries.select_tasks(statements, run_id), [])

    async def attempts(self, run_id: str) -> list[Attempt]:
        """Return every attempt of a run; see `RunStore`."""
        return await self._read(lambda statements: queries.select_attempts(statements, run_id), [])

    async def variables(self, run_id: str) -> list[Variable]:
        """Return the variables of a run; see `RunStore`."""
        return await self._read(lambda statements: queries.select_variables(statements, run_id), [])

    async def definition(self, digest: str) -> Definition:
        """Return a pinned definition; see `RunStore`."""
        found = await self._read(lambda statements: queries.select_definition(statements, digest), None)
        if found is None:
            raise StoreError(
                f"{self._place}: the store holds no definition {digest}; `runwright runs` lists its runs"
            )
        return found

    async def events(self, run_id: str, after: int = 0, limit: int = 0) -> list[StoredEvent]:
        """Return events in order; see `RunStore`."""
        return await self._read(
            lambda statements: queries.select_events(statements, run_id, after, limit), []
        )

    async def verify(self, run_id: str) -> Integrity:
        """Check the event chain of a run against its rows; see `RunStore`."""
        found = await self._read(lambda statements: queries.verify(statements, run_id), None)
        if found is None:
            raise RunNotFound(not_found_text(run_id))
        return found

    async def close(self) -> None:
        """Wait until everything appended is durable, then free the store; safe to call twice."""
        await self._reader.close()
        if self._writer is not None:
            await self._writer.close()

    async def _write_log(self, run_id: str, action: Query[Head]) -> None:
        """Do what writes to a run's log and note the log's new end."""
        left: list[Head] = []

        def once(statements: Statements) -> None:
            if not left or not is_written(statements, left[-1]):
                left.append(action(statements))
            self._writing().remember(run_id, left[-1])

        await self._write(once)

    async def _write(self, action: Query[T]) -> T:
        done: T = await self._writing().call(lambda connection: action(self._statements(connection)))
        return done

    async def _read(self, query: Query[T], missing: T) -> T:
        return await self._reader.run(lambda connection: query(self._statements(connection)), missing)

    def _writing(self) -> Writer[C]:
        if self._writer is None:
            raise StoreError(f"{self._place}: the store was opened for reading only")
        return self._writer

    def _seen(self, run: Run) -> Run:
        """Show a run as a reader should see it."""
        if run.state not in (RunState.PENDING, RunState.RUNNING):
            return run
        alive = None if run.owner is None else self._is_alive(run.owner)
        held = is_held(run.owner, run.lease_expires_at, self._now(), alive)
        return structs.replace(run, state=visible_state(run.state, held))
