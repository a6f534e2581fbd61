"""`RunStore` on a file of SQLite."""

import os
from collections.abc import Callable
from datetime import UTC, datetime

import apsw

from runwright.adapters import owner as owners
from runwright.adapters.sqlite.connection import Durability, open_for_writing
from runwright.adapters.sqlite.errors import explain
from runwright.adapters.sqlite.reader import Reader
from runwright.adapters.sqlite.statements import SqliteStatements
from runwright.adapters.sqlite.writer import SqliteWriter
from runwright.adapters.sqlstore.actions import Liveness
from runwright.adapters.sqlstore.store import SqlStore


def _now() -> datetime:
    return datetime.now(UTC)


class SqliteStore(SqlStore[apsw.Connection]):
    """Runs in one file of SQLite, written by one thread and shared safely between processes.

    Make one with `open`.
    """

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
            return cls(name, SqliteStatements, None, reader, now, is_alive)
        try:
            connection = open_for_writing(name, durability)
        except (apsw.Error, OSError) as error:
            raise explain(name, error) from error
        return cls(name, SqliteStatements, SqliteWriter(name, connection), reader, now, is_alive)
