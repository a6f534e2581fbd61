"""Writing to a file of SQLite; what is done in which order is the shared writer's business."""

from collections.abc import Callable
from contextlib import suppress
from typing import Any

import apsw

from runwright.adapters.failpoints import failpoint
from runwright.adapters.sqlite.connection import rollback
from runwright.adapters.sqlite.errors import explain, patiently
from runwright.adapters.sqlite.statements import SqliteStatements
from runwright.adapters.sqlstore.batches import RunBatch, read_head
from runwright.adapters.sqlstore.records import Head
from runwright.adapters.sqlstore.writer import Refused, Stale, Unusable, Writer
from runwright.core.errors import InternalError
from runwright.core.run import Lease

_REFUSALS = (apsw.ConstraintError, apsw.SQLError)
"""Errors that are about what is written, not about the disk."""

_STALE = "stale lease"
"""What the batch's trigger says if the run's token or head is not the expected one."""


class SqliteWriter(Writer[apsw.Connection]):
    """Owns the connection that writes; see `Writer`."""

    def __init__(self, path: str, connection: apsw.Connection) -> None:
        super().__init__(path)
        self._connection = connection
        self._statements = SqliteStatements(connection)

    def transact(self, action: Callable[[apsw.Connection], Any]) -> Any:
        """Do an action in a transaction; see `Writer`."""
        return patiently(lambda: self._in_transaction(action))

    def _in_transaction(self, action: Callable[[apsw.Connection], Any]) -> Any:
        connection = self._connection
        connection.execute("BEGIN IMMEDIATE")
        try:
            result = action(connection)
            failpoint("store.before_commit")
            connection.execute("COMMIT")
            failpoint("store.after_commit")
        except BaseException:
            rollback(connection)
            raise
        return result

    def write_batches(self, batches: list[RunBatch], heads: list[Head]) -> None:
        """Write all or none; see `Writer`."""
        try:
            patiently(lambda: self._write_batches(batches))
        except _REFUSALS as error:
            refusal = Stale() if _STALE in str(error) else Refused(str(error))
            raise refusal from error

    def _write_batches(self, batches: list[RunBatch]) -> None:
        failpoint("store.before_commit")
        if len(batches) == 1:
            batches[0].write(self._statements)  # one statement is a transaction by itself
        else:
            self._write_together(batches)
        failpoint("store.after_commit")

    def _write_together(self, batches: list[RunBatch]) -> None:
        self._connection.execute("BEGIN IMMEDIATE")
        try:
            for batch in batches:
                batch.write(self._statements)
            self._connection.execute("COMMIT")
        except BaseException:
            rollback(self._connection)
            raise

    def read_head(self, lease: Lease) -> Head:
        """Return the end of a run's log; see `Writer`."""
        return read_head(self._statements, lease)

    def explain(self, error: Exception) -> Exception:
        """Return what stands for an error of SQLite; see `Writer`."""
        if not isinstance(error, apsw.Error | OSError):
            return InternalError(f"the writer of the store failed: {error!r}")
        refusal = explain(self._place, error)
        refusal.__cause__ = error
        return refusal if isinstance(error, apsw.BusyError | apsw.ConstraintError) else Unusable(refusal)

    def free(self) -> None:
        """Close the connection; see `Writer`."""
        with suppress(
            apsw.Error
        ):  # what was acknowledged is safe in the log even if it can't be moved into the file
            self._connection.close()
