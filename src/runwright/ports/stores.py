"""Durable state, as the engines see it."""

from collections.abc import Awaitable, Iterator, Sequence
from contextlib import AbstractAsyncContextManager
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

from msgspec import Struct

from runwright.core.events import AnyEvent
from runwright.core.run import Attempt, Definition, Lease, Owner, Run, TaskRow, Variable
from runwright.core.states import RunState

if TYPE_CHECKING:
    from runwright.core.cacheentry import Entry


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
        commit. A lazy call says that nobody waits for it now: its commit may be put off for some milliseconds (20 in a
        database), to have company, unless one that is not lazy or `hurry` follows. The awaitable completes when the
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


FileMark = tuple[int, int, int, int, str]
"""Inode, size in bytes, times of the last change of content and of status in nanoseconds, and digest of a file."""


class TreeMemory(Protocol):
    """What a cache remembers of one source tree on this machine.

    Attributes:
        files: Marks of files by their path, so that a file whose status is as it was need not be read again. Whoever
            adds one has read the file and made sure that a later change can't leave the same mark.
    """

    files: dict[str, FileMark]

    def last(self, task_id: str) -> "Entry | None":
        """Return the entry that a task of this tree was last found up to date with."""
        ...

    def note(self, task_id: str, entry: "Entry") -> None:
        """Remember that a task of this tree is up to date with an entry."""
        ...

    def close(self) -> None:
        """Save the marks of files; safe to call twice."""
        ...


class CacheItem(Struct, frozen=True, kw_only=True):
    """An entry as it is listed.

    Attributes:
        key: Digest of its key.
        used_at: Seconds since the epoch; a use within a day of another may not be noted.
        size_bytes: Of its outputs.
    """

    key: str
    task_id: str
    made_at: float
    used_at: float
    size_bytes: int


class Collected(Struct, frozen=True, kw_only=True):
    """What a collection of garbage removed."""

    entries: int
    files: int
    size_bytes: int


class CacheStore(Protocol):
    """Outcomes by key and the content of files by digest, shared by all who can reach it.

    It only makes work unnecessary. What is lost or damaged is found when it is read and taken for missing, so nothing
    waits for the disk. Reading is safe from any thread.
    """

    def entry(self, key: str) -> "Entry | None":
        """Return what is kept under a key; None if there is nothing, or if it is damaged."""
        ...

    def find(self, prefix: str) -> list[str]:
        """Return the keys that begin so, sorted."""
        ...

    def keep(self, entry: "Entry") -> None:
        """Keep an entry under its key, in the place of a former one; the content of its outputs is there already.

        Raises:
            TypeError: If its value is not plain data.
            StoreError: If it can't be written.
        """
        ...

    def used(self, entry: "Entry", now: float) -> None:
        """Note that an entry was used, so that a collection does not take it for old; at most once a day."""
        ...

    def keep_file(self, path: Path) -> tuple[str, int]:
        """Keep the content of a file; returns its digest and its size in bytes.

        Raises:
            OSError: If the file can't be read.
            StoreError: If it can't be written.
        """
        ...

    def fetch_file(self, digest: str, target: Path, mode: int) -> bool:
        """Put a file with that content in the place of what is there, whole or not at all.

        Returns:
            False if the content is missing or damaged; then it is not kept any longer.

        Raises:
            OSError: If the target can't be written.
        """
        ...

    def tree(self, source: Path, scope: str) -> TreeMemory:
        """Return what is remembered of a source tree.

        Args:
            source: Absolute path.
            scope: Tells apart those who use the same ids of tasks for different things.
        """
        ...

    def flight(self, key: str) -> AbstractAsyncContextManager[None]:
        """Return a scope in which nobody else who uses this store on this machine is, for one key.

        Entering waits for the one who is in it; if that process dies, the next one gets in at once.
        """
        ...

    def items(self) -> Iterator[CacheItem]:
        """Yield all entries, in no order."""
        ...

    def collect(self, *, max_bytes: int | None, max_age: float | None, now: float) -> Collected:
        """Remove entries that were not used for long, the oldest until the rest is small, and content of no entry.

        Args:
            max_bytes: Most bytes that outputs may take; None for any number.
            max_age: Most seconds since an entry was used; None for any number.
            now: Seconds since the epoch.
        """
        ...

    def verify(self, *, repair: bool) -> list[str]:
        """Read everything and return what is damaged or missing, one line each.

        Args:
            repair: Remove what is damaged, and entries that need what is missing.
        """
        ...


class ValueStore(Protocol):
    """Values of tasks by the digest of their content; what is kept once never changes."""

    async def put(self, data: bytes) -> str:
        """Keep bytes and return their digest (BLAKE3, hexadecimal); when it returns they survive power loss.

        Raises:
            StoreError: If they can't be written.
        """
        ...

    async def get(self, digest: str) -> bytes:
        """Return the bytes of a digest.

        Raises:
            StoreCorrupt: If they are not there, or are not what was kept.
            StoreError: If they can't be read.
        """
        ...
