"""Opening the file of a store: its modes, its settings and its migrations."""

import os
from pathlib import Path
from typing import Any, Literal

import apsw

from runwright.adapters.failpoints import failpoint
from runwright.adapters.sql import migrations
from runwright.adapters.sqlite.errors import patiently
from runwright.core.errors import StoreCorrupt, StoreError

Durability = Literal["full", "off"]

CHECKPOINT_PAGES = 2_000
"""Size of the write-ahead log, in pages of 4 KiB, from which a commit also moves it into the file."""

_BUSY_MS = 5_000
_SETTINGS = "PRAGMA foreign_keys = ON; PRAGMA synchronous = {level}; PRAGMA wal_autocheckpoint = {pages}"


def open_for_writing(path: str, durability: Durability) -> apsw.Connection:
    """Open the file, created if it is missing, and bring it to the newest version.

    Raises:
        StoreError: If it is of a newer version.
        StoreCorrupt: If it is the file of another program.
        apsw.Error: If SQLite can't use it.
        OSError: If the system refuses it.
    """
    create_file(path)
    connection = apsw.Connection(path, flags=apsw.SQLITE_OPEN_READWRITE)
    try:
        connection.set_busy_timeout(_BUSY_MS)
        patiently(lambda: connection.execute("PRAGMA journal_mode = WAL").fetchall())
        level = "FULL" if durability == "full" else "OFF"
        connection.execute(_SETTINGS.format(level=level, pages=CHECKPOINT_PAGES)).fetchall()
        # Else a statement on a table with partial indexes is compiled anew for each set of parameters.
        connection.config(apsw.SQLITE_DBCONFIG_ENABLE_QPSG, 1)
        migrate(connection, path)
    except BaseException:
        connection.close(True)
        raise
    return connection


def create_file(path: str) -> None:
    """Create the file (0600) and its directory (0700) if they are missing, and make that durable."""
    try:
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
    except FileExistsError:
        return
    except FileNotFoundError:
        directory = Path(path).parent
        directory.mkdir(mode=0o700, parents=True, exist_ok=True)
        _sync_directory(directory.parent)
        create_file(path)
        return
    os.close(descriptor)
    _sync_directory(Path(path).parent)


def _sync_directory(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def migrate(connection: apsw.Connection, path: str) -> None:
    """Apply the migrations that are missing, all in one transaction: a fresh file is common, and must be quick."""
    known = migrations("sqlite")
    version = schema_version(connection)
    check_version(version, known[-1][0], path)
    if version < known[-1][0]:
        patiently(lambda: _apply(connection, known))


def check_version(version: int, newest: int, path: str) -> None:
    """Refuse a file that this version of Runwright can't know.

    Raises:
        StoreError: If the file is of a newer version.
        StoreCorrupt: If it is not a store at all.
    """
    if version < 0:
        raise StoreCorrupt(f"{path}: this is a database of another program; name another file with --store")
    if version > newest:
        raise StoreError(
            f"{path}: the store was written by a newer Runwright (its version is {version}, this one knows "
            f"up to {newest}); upgrade Runwright, or name another file with --store"
        )


def newest_version() -> int:
    """Return the version of the schema that this Runwright writes."""
    return migrations("sqlite")[-1][0]


def schema_version(connection: apsw.Connection) -> int:
    """Return the number of the last migration; 0 for an empty database, -1 for one of another program."""
    tables = [name for (name,) in connection.execute("SELECT name FROM sqlite_schema WHERE type = 'table'")]
    if "migrations" not in tables:
        return -1 if tables else 0
    return int(value(connection, "SELECT coalesce(max(version), 0) FROM migrations"))


def _apply(connection: apsw.Connection, known: list[tuple[int, str, str]]) -> None:
    connection.execute("BEGIN IMMEDIATE")
    try:
        version = schema_version(connection)  # another process may have been faster
        connection.execute(
            "CREATE TABLE IF NOT EXISTS migrations (version INTEGER PRIMARY KEY, name TEXT NOT NULL) STRICT"
        )
        for number, name, text in known:
            if number > version:
                connection.execute(text)
                connection.execute("INSERT INTO migrations (version, name) VALUES (?, ?)", (number, name))
        failpoint("store.before_migration")
        connection.execute("COMMIT")
        failpoint("store.after_migration")
    except BaseException:
        rollback(connection)
        raise


def rollback(connection: apsw.Connection) -> None:
    """End the transaction, if there is one, without effect; SQLite may have done so itself."""
    if connection.in_transaction:
        connection.execute("ROLLBACK")


def value(connection: apsw.Connection, query: str, parameters: Any = None) -> Any:
    """Return the first column of the first row, or None if there is no row."""
    for row in connection.execute(query, parameters):
        return row[0]
    return None
