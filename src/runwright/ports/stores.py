"""Durable state, as the engines see it."""

from collections.abc import Awaitable, Sequence
from datetime import datetime
from typing import Protocol

from msgspec import Struct

from runwright.core.events import AnyEvent
from runwright.core.run import Attempt, Definition, Lease, Owner, Run, TaskRow, Variable
from runwright.core.states import RunState


class StoredEvent(Struct, frozen=True, kw_only=True):
    """An event as it stands in the log of a run.

    Attributes:
        seq: From 1, without gaps.
        event: The fact.
        hash: Digest of this event and of everything before it, hexadecimal.
    """

    seq: int
    event: AnyEvent
    hash: str


class RunFilter(Struct, frozen=True, kw_only=True):
    """Which runs to list, newest first unless `sort` says otherwise; every field narrows.

    Attributes:
        kind: ``workflow``, ``plan`` or ``goal``; empty for all.
        state: As a reader sees it, `interrupted` included.
        tag: Exact tag.
        parent: Id of the run that they are parts of; empty for runs of their own alone; None for all.
        since: Started at or after this instant.
        until: Started before this instant.
        min_duration: Seconds.
        sort: ``time``, ``name``, ``duration``, ``tasks`` or ``state``.
        limit: Most runs to return; 0 means all.
    """

    name: str = ""
    kind: str = ""
    state: RunState | None = None
    tag: str = ""
    parent: str | None = None
    since: datetime | None = None
    until: datetime | None = None
    min_duration: float = 0.0
    sort: str = "time"
    limit: int = 0
    offset: int = 0


class Integrity(Struct, frozen=True, kw_only=True):
    """The result of checking the event chain of a run.

    Attributes:
        ok: True if every event is there, in order and unaltered, and the rows agree with the run's head.
        events: How many were read.
        head: Digest of the whole chain; keep it elsewhere to prove later that nothing was rewritten.
        problem: The first thing that is wrong, naming the event; empty if `ok`.
    """

    ok: bool
    events: int
    head: str
    problem: str = ""


class RunStore(Protocol):
    """Runs and everything recorded about them.

    Every write is durable (it survives power loss) when its awaitable completes, and all of one call is written or
    none of it. Reading never writes.
    """

    async def create_run(
        self,
        run: Run,
        definition: Definition,
        tasks: Sequence[TaskRow],
        events: Sequence[AnyEvent],
        owner: Owner,
        lease_seconds: float,
    ) -> Lease:
        """Record a new run with its definition, tasks and first events, and hold the lease on it (token 1)."""
        ...

    async def take_lease(self, run_id: str, owner: Owner, lease_seconds: float, now: datetime) -> Lease:
        """Take the right to write to a run whose former lease is released, has lapsed, or whose owner is dead.

        The token grows by one, so all writes under the former lease are refused from here on.

        Raises:
            RunIsActive: If another engine holds a live lease; the message names host and pid.
            RunNotFound: If there is no such run.
        """
        ...

    async def renew_lease(self, lease: Lease, lease_seconds: float, now: datetime) -> Lease:
        """Hold the lease for longer.

        Raises:
            LeaseLost: If somebody else has taken it.
        """
        ...

    async def release_lease(self, lease: Lease) -> None:
        """Give the right back; does nothing if it is already lost."""
        ...

    def append(self, lease: Lease, events: Sequence[AnyEvent], *, lazy: bool = False) -> Awaitable[None]:
        """Append events to the run's log and bring tasks, attempts, variables and the run itself up to date.

        Returns at once; calls take effect in the order in which they were made, and many calls may share one
        commit. A lazy call says that nobody waits for it now: its commit may be put off for some milliseconds (20 in
        SQLite), to have company, unless one that is not lazy or `hurry` follows. The awaitable completes when the
        events are durable. What follows from an event for the rows is defined by `core.project`, so that every store
        agrees.

        Raises (when awaited):
            LeaseLost: If the lease is stale; nothing was written.
            StoreError: If the store can't write; nothing was written, and later appends fail too.
        """
        ...

    def hurry(self) -> None:
        """Put off no commit any longer: somebody has begun to wait for one."""
        ...

    async def resume_run(
        self,
        lease: Lease,
        run: Run,
        definition: Definition,
        tasks: Sequence[TaskRow],
        events: Sequence[AnyEvent],
    ) -> None:
        """Replace definition, options, strategy and task rows of a run that is to continue, and append `events`.

        Attempts, variables and earlier events stay. `tasks` is the complete list from here on.
        """
        ...

    async def request_cancel(self, run_id: str, at: datetime, reason: str) -> Run:
        """Ask whoever drives the run to stop; returns the run. A finished run is left as it is."""
        ...

    async def cancel_reason(self, run_id: str) -> str:
        """Return why the run was asked to stop, or an empty text."""
        ...

    async def find_run(self, prefix: str) -> Run:
        """Return the one run whose id starts so; ``latest`` names the newest that is not a part of another.

        Raises:
            RunNotFound: If there is none.
            AmbiguousRunId: If there are several.
        """
        ...

    async def list_runs(self, which: RunFilter) -> list[Run]:
        """Return runs with their counts."""
        ...

    async def tasks(self, run_id: str) -> list[TaskRow]:
        """Return every task of a run, in the order in which they were given, handlers and cleanups last."""
        ...

    async def attempts(self, run_id: str) -> list[Attempt]:
        """Return every attempt of a run, oldest first."""
        ...

    async def variables(self, run_id: str) -> list[Variable]:
        """Return the variables of a run, sorted by name."""
        ...

    async def definition(self, digest: str) -> Definition:
        """Return a pinned definition."""
        ...

    async def events(self, run_id: str, after: int = 0, limit: int = 0) -> list[StoredEvent]:
        """Return events with `seq` above `after`, in order; at most `limit` if it is not 0."""
        ...

    async def verify(self, run_id: str) -> Integrity:
        """Check the event chain of a run against its rows."""
        ...

    async def close(self) -> None:
        """Wait until everything appended is durable, then free the store; safe to call twice."""
        ...
