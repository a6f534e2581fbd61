"""Writing runs to PostgreSQL; what is done in which order is the shared writer's business."""

from collections.abc import Callable
from typing import Any, TypeVar

import psycopg

from runwright.adapters.failpoints import failpoint
from runwright.adapters.postgres.connection import Connection, Link, Work
from runwright.adapters.postgres.statements import PostgresStatements
from runwright.adapters.sqlstore.batches import RunBatch, is_written, read_head
from runwright.adapters.sqlstore.records import Head
from runwright.adapters.sqlstore.writer import Refused, Stale, Unusable, Writer
from runwright.core.errors import InternalError, StoreError
from runwright.core.run import Lease

T = TypeVar("T")

_STALE = "RW001"
"""State with which `write_batch` refuses a token or a head that is not the expected one."""

_TOO_LARGE = "54"
"""Class of states for what exceeds a bound of the server, such as that of an id in an index."""


class PostgresWriter(Writer[Connection]):
    """Owns the link that writes; see `Writer`."""

    def __init__(self, link: Link) -> None:
        super().__init__(link.address.shown)
        self._link = link

    def transact(self, action: Callable[[Connection], Any]) -> Any:
        """Do an action in a transaction; see `Writer`."""

        def whole(connection: Connection) -> Any:
            with connection.transaction():
                result = action(connection)
                failpoint("store.before_commit")
            failpoint("store.after_commit")
            return result

        return self._link.run(whole)

    def write_batches(self, batches: list[RunBatch], heads: list[Head]) -> None:
        """Write all or none; see `Writer`."""
        tries = 0

        def once(connection: Connection) -> None:
            nonlocal tries
            tries += 1
            # The connection may have been lost between the commit and its answer: then it is there already.
            if tries == 1 or not is_written(PostgresStatements(connection), heads[0]):
                _write(connection, batches)

        self._usable(once)

    def read_head(self, lease: Lease) -> Head:
        """Return the end of a run's log; see `Writer`."""
        return self._usable(lambda connection: read_head(PostgresStatements(connection), lease))

    def explain(self, error: Exception) -> Exception:
        """Return what stands for an error that nobody expects; see `Writer`."""
        return InternalError(f"the writer of the store failed: {error!r}")

    def free(self) -> None:
        """Close the connection; see `Writer`."""
        self._link.close()

    def _usable(self, work: Work[T]) -> T:
        """Do work; a server that can't do it can't be trusted to write what comes later either."""
        try:
            return self._link.run(work)
        except StoreError as error:
            raise Unusable(error) from error


def _write(connection: Connection, batches: list[RunBatch]) -> None:
    """Write batches in one commit, and tell refusals from failures."""
    failpoint("store.before_commit")
    try:
        _execute(connection, batches)
    except psycopg.Error as error:
        state = error.sqlstate or ""
        if state == _STALE:
            raise Stale from error
        if isinstance(error, psycopg.DataError | psycopg.IntegrityError) or state.startswith(_TOO_LARGE):
            raise Refused(str(error)) from error
        raise
    failpoint("store.after_commit")


def _execute(connection: Connection, batches: list[RunBatch]) -> None:
    if len(batches) == 1:
        batches[0].write(PostgresStatements(connection))  # one statement is a transaction by itself
        return
    with connection.transaction():
        for batch in batches:
            batch.write(PostgresStatements(connection))
