"""Stores on servers, whose libraries come with an extra."""

from importlib.util import find_spec

from runwright.core.errors import UsageError
from runwright.ports.stores import RunStore


def open_postgres(url: str, *, read_only: bool = False) -> RunStore:
    """Open the store of runs in a database of PostgreSQL; the caller closes it.

    Raises:
        UsageError: If the URL is not well formed, or the extra is not installed.
        StoreError: If the database can't be used.
    """
    require_postgres()
    from runwright.adapters.postgres import PostgresStore

    return PostgresStore.open(url, read_only=read_only)


def require_postgres() -> None:
    """Find out whether the client of PostgreSQL is installed, without loading it.

    Raises:
        UsageError: If it is not.
    """
    if find_spec("psycopg") is None:
        raise UsageError(
            "a store on PostgreSQL needs the extra postgres (psycopg can't be found): pip install 'runwright[postgres]'"
        )


def shown_postgres(url: str) -> str:
    """Return the URL of a database as messages may show it, without its password."""
    require_postgres()
    from runwright.adapters.postgres.address import parse

    return parse(url).shown
