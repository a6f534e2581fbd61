"""The events of one run that go into one commit."""

from asyncio import Future
from collections.abc import Sequence

from runwright.adapters.sqlstore.records import Head, batch_parameters
from runwright.adapters.sqlstore.statements import Statements
from runwright.core.chain import canonical, links
from runwright.core.errors import LeaseLost, StoreError
from runwright.core.events import AnyEvent
from runwright.core.lease import lost_text
from runwright.core.project import Changes
from runwright.core.run import Lease


class Append:
    """A call of `append` that waits for its commit."""

    __slots__ = ("events", "future", "lazy", "lease")

    def __init__(self, future: "Future[None]", lease: Lease, events: Sequence[AnyEvent], lazy: bool) -> None:
        self.future = future
        self.lazy = lazy
        self.lease = lease
        self.events = events


class RunBatch:
    """The events of one run that go into one commit."""

    __slots__ = ("appends", "bodies", "changes", "hashes", "head", "run_id")

    def __init__(self, run_id: str, head: Head) -> None:
        self.run_id = run_id
        self.head = head
        self.changes = Changes(head.seq)
        self.bodies: list[bytes] = []
        self.hashes: list[bytes] = []
        self.appends: list[Append] = []

    def add(self, events: Sequence[AnyEvent]) -> None:
        """Take in the events of one call, all or none of them.

        Raises:
            StoreError: If one of them has no JSON.
        """
        try:
            bodies = canonical(events)
        except (TypeError, ValueError, RecursionError) as error:
            raise StoreError(f"an event of run {self.run_id} can't be written as JSON ({error})") from error
        self.bodies += bodies
        self.changes.extend(events)

    def seal(self) -> Head:
        """Make the links, once everything is taken in; return the end of the log as it will be."""
        head = self.head
        self.hashes = links(head.hash, head.seq + 1, self.run_id, self.bodies)
        last = self.hashes[-1] if self.hashes else head.hash
        return Head(head.key, head.token, head.seq + len(self.hashes), last)

    def write(self, statements: Statements) -> None:
        """Write everything in one statement; it is sealed."""
        made_up = statements.made_up
        parameters = batch_parameters(self.head, self.bodies, self.hashes, self.changes, made_up)
        statements.rows("write_batch", parameters)


def read_head(statements: Statements, lease: Lease) -> Head:
    """Return the end of a run's log.

    Raises:
        LeaseLost: If the lease is stale.
    """
    for key, token, held, seq, digest in statements.rows("head", {"id": lease.run_id}):
        if held and token == lease.token:
            return Head(key, token, seq, digest)
    raise LeaseLost(lost_text(lease.run_id, lease.token))


def is_written(statements: Statements, head: Head) -> bool:
    """Tell whether a write has taken effect that should have led to this end of a log.

    Its link covers all that was written, so it is there only if this very write is; whoever has written more since.
    """
    return any(statements.rows("link", {"key": head.key, "seq": head.seq, "hash": head.hash}))
