"""Connections to PostgreSQL: opening them, bringing the tables up to date, and coming back after a restart.

How to use it::

    address = parse("postgresql://user@host/database")
    link = Link.open(address)               # migrates; says at once what is wrong
    link.run(lambda connection: ...)        # each statement commits by itself
    link.transaction(lambda connection: ...)  # all or nothing
    link.close()

Code that is async uses a `Pool` (next door), which is some links, each in a thread of its own. Whatever is given to
`run` and `transaction` may be called again after the connection was lost, and then it can't be known whether the first
call took effect: it must find that out for itself, or do no harm when done twice.

Every connection commits by itself (autocommit), counts time in UTC, and finds the tables in the schema `SCHEMA`.
"""

import threading
import time
from collections.abc import Callable
from typing import Any, TypeVar

import psycopg

from runwright.adapters.failpoints import failpoint
from runwright.adapters.postgres.address import Address
from runwright.adapters.postgres.errors import Passes, explain, is_coming, is_lost, is_passing
from runwright.adapters.sql import migrations
from runwright.core.errors import StoreError

Connection = psycopg.Connection[tuple[Any, ...]]

T = TypeVar("T")
Work = Callable[[Connection], T]

SCHEMA = "runwright"
"""Schema of all tables, so that they get along with those of other programs in the same database."""

PATIENCE_SECONDS = 60.0
"""How long a store waits for a server that was lost before it gives up."""

CONNECT_SECONDS = 10
"""How long one try to connect may take."""

OLDEST_SERVER = 14

_FIRST_PAUSE = 0.05
_LONGEST_PAUSE = 1.0
_MIGRATION_LOCK = 0x72756E7772696768
"""Number of the lock that one who migrates holds; the letters ``runwrigh``."""

_DEFAULTS = {
    "application_name": "runwright",
    "connect_timeout": str(CONNECT_SECONDS),
    # A peer that vanished is noticed within half a minute.
    "keepalives_idle": "10",
    "keepalives_interval": "5",
    "keepalives_count": "3",
    "tcp_user_timeout": "30000",
}
_SETTINGS = f"""
SET search_path = {SCHEMA};
SET TimeZone = 'UTC';
SELECT set_config('synchronous_commit', 'on', false) WHERE current_setting('synchronous_commit') IN ('off', 'local');
"""
_IS_THERE = "SELECT 1 FROM pg_catalog.pg_tables WHERE schemaname = %s AND tablename = 'migrations'"
_READ_ONLY = "SET default_transaction_read_only = on;"


def connect(address: Address, read_only: bool = False) -> Connection:
    """Open a connection, which commits by itself; the caller closes it.

    Args:
        address: Of the database.
        read_only: Have the server refuse every write.

    Raises:
        psycopg.Error: If there is no way in.
        StoreError: If the server is too old, or its database can't hold every text.
    """
    connection: Connection = psycopg.connect(_with_defaults(address.url), autocommit=True)
    try:
        _check_server(connection, address)
        connection.execute(_SETTINGS + (_READ_ONLY if read_only else ""))
    except BaseException:
        connection.close()
        raise
    return connection


def _with_defaults(url: str) -> str:
    asked: dict[str, Any] = psycopg.conninfo.conninfo_to_dict(url)
    return psycopg.conninfo.make_conninfo(**(_DEFAULTS | asked))


def _check_server(connection: Connection, address: Address) -> None:
    version = connection.info.server_version // 10_000
    if version < OLDEST_SERVER:
        raise StoreError(
            f"{address.shown}: this is PostgreSQL {version}; upgrade the server to {OLDEST_SERVER} or newer"
        )
    encoding = connection.info.parameter_status("server_encoding")
    if encoding != "UTF8":
        raise StoreError(
            f"{address.shown}: the database keeps texts as {encoding}; create one with "
            "`createdb --encoding UTF8 --template template0 NAME`"
        )


def migrate(connection: Connection, address: Address) -> None:
    """Apply the migrations that are missing, all in one transaction; one at a time, whoever else tries.

    Raises:
        StoreError: If the tables are of a newer version.
    """
    known = migrations("postgres")
    version = schema_version(connection)
    check_version(version, address)
    if version == known[-1][0]:
        return
    with connection.transaction():
        connection.execute("SELECT pg_advisory_xact_lock(%s)", (_MIGRATION_LOCK,))
        version = schema_version(connection)  # another process may have been faster
        if not version:
            connection.execute(f"CREATE SCHEMA IF NOT EXISTS {SCHEMA}")
            connection.execute("CREATE TABLE migrations (version INTEGER PRIMARY KEY, name TEXT NOT NULL)")
        for number, name, text in known:
            if number > version:
                connection.execute(text)
                connection.execute("INSERT INTO migrations VALUES (%s, %s)", (number, name))
        failpoint("store.before_migration")
    failpoint("store.after_migration")


def schema_version(connection: Connection) -> int:
    """Return the number of the last migration; 0 for a database without our tables."""
    # Not `to_regclass`, which may remember from before another process made the table that there is none.
    there = value(connection, _IS_THERE, (SCHEMA,))
    return int(value(connection, "SELECT coalesce(max(version), 0) FROM migrations")) if there else 0


def check_version(version: int, address: Address) -> None:
    """Refuse tables that this version of Runwright can't know.

    Raises:
        StoreError: If they are of a newer version.
    """
    newest = migrations("postgres")[-1][0]
    if version > newest:
        raise StoreError(
            f"{address.shown}: the store was written by a newer Runwright (its version is {version}, this one knows "
            f"up to {newest}); upgrade Runwright, or name another database with --store"
        )


def value(connection: Connection, query: str, parameters: Any = None) -> Any:
    """Return the first column of the first row, or None if there is no row."""
    row = connection.execute(query, parameters).fetchone()
    return None if row is None else row[0]


class Link:
    """One connection that is made again when it is lost; for one thread at a time. Make one with `open`.

    Attributes:
        is_empty: The database had no tables of ours when it was last looked at; only a link that reads finds that.
    """

    def __init__(self, address: Address, read_only: bool = False, patience: float = PATIENCE_SECONDS) -> None:
        self.address = address
        self.is_empty = False
        self._read_only = read_only
        self._patience = patience
        self._connection: Connection | None = None
        self._closing = threading.Event()

    @classmethod
    def open(cls, address: Address, read_only: bool = False, patience: float = PATIENCE_SECONDS) -> "Link":
        """Connect, and bring the tables up to date unless the link only reads.

        Raises:
            StoreError: If the server can't be reached now, or its tables can't be used.
        """
        link = cls(address, read_only, patience)
        link._patiently(lambda connection: None, is_coming)
        return link

    def run(self, work: Work[T]) -> T:
        """Do work on the connection; again if the connection is lost meanwhile and comes back in time.

        Raises:
            StoreError: If it does not, or the server refuses the work.
        """
        return self._patiently(work, is_passing)

    def transaction(self, work: Work[T]) -> T:
        """Do work in one transaction; see `run`."""

        def whole(connection: Connection) -> T:
            with connection.transaction():
                return work(connection)

        return self.run(whole)

    def has_tables(self, connection: Connection) -> bool:
        """Tell whether there are tables of ours by now."""
        if self.is_empty:
            self._look(connection)
        return not self.is_empty

    def give_up(self) -> None:
        """Wait for no lost server any longer; safe to call from another thread."""
        self._closing.set()

    def close(self) -> None:
        """Close the connection; safe to call twice."""
        self._closing.set()
        if self._connection is not None:
            self._connection.close()

    def _patiently(self, work: Work[T], passes: Passes) -> T:
        deadline = None
        pause = _FIRST_PAUSE
        while True:
            try:
                return work(self._connected())
            except psycopg.Error as error:
                now = time.monotonic()
                deadline = deadline or now + self._patience
                if not passes(error, self._connection) or now >= deadline:
                    raise explain(self.address, error) from error
                self._drop_if_lost(error)
            if self._closing.wait(pause):
                raise StoreError(f"{self.address.shown}: the store has been closed")
            pause = min(2 * pause, _LONGEST_PAUSE)

    def _connected(self) -> Connection:
        if self._connection is None:
            connection = connect(self.address, self._read_only)
            try:
                self._look(connection)
            except BaseException:
                connection.close()
                raise
            self._connection = connection
        return self._connection

    def _look(self, connection: Connection) -> None:
        if self._read_only:
            version = schema_version(connection)
            check_version(version, self.address)
            self.is_empty = not version
        else:
            migrate(connection, self.address)

    def _drop_if_lost(self, error: psycopg.Error) -> None:
        if self._connection is not None and is_lost(error, self._connection):
            self._connection.close()
            self._connection = None
