"""`RunStore` on a server of PostgreSQL."""

from collections.abc import Callable
from datetime import UTC, datetime

from runwright.adapters import owner as owners
from runwright.adapters.postgres.address import parse
from runwright.adapters.postgres.connection import PATIENCE_SECONDS, Connection, Link
from runwright.adapters.postgres.reader import PostgresReader
from runwright.adapters.postgres.statements import PostgresStatements
from runwright.adapters.postgres.writer import PostgresWriter
from runwright.adapters.sqlstore.actions import Liveness
from runwright.adapters.sqlstore.store import SqlStore


def _now() -> datetime:
    return datetime.now(UTC)


class PostgresStore(SqlStore[Connection]):
    """Runs in one database of PostgreSQL, which engines of several machines share.

    Make one with `open`. Whether the owner of a lease lives can only be told on its own machine; for all others the
    end of the lease alone counts.
    """

    @classmethod
    def open(
        cls,
        url: str,
        read_only: bool = False,
        now: Callable[[], datetime] = _now,
        is_alive: Liveness = owners.is_alive,
        patience: float = PATIENCE_SECONDS,
    ) -> "PostgresStore":
        """Connect to a database; tables are made or brought up to date unless it is opened for reading.

        Args:
            url: ``postgresql://user@host:port/database``, with any option that libpq knows.
            read_only: Write nothing at all. A database without tables is an empty store.
            now: Gives the current instant, against which readers compare leases.
            is_alive: Tells whether the owner of a lease lives; None if it can't tell.
            patience: Seconds to wait for a server that was lost.

        Raises:
            UsageError: If the URL is not well formed.
            StoreError: If the database can't be used, or was written by a newer Runwright.
        """
        address = parse(url)
        link = Link.open(address, read_only, patience)
        writer = None
        if read_only:
            link.close()  # it has said what is wrong, if anything is; the reader opens its own
        else:
            writer = PostgresWriter(link)
        reader = PostgresReader(address, patience)
        return cls(address.shown, PostgresStatements, writer, reader, now, is_alive, address.secrets)
