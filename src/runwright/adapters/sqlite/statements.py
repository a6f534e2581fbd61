"""SQLite's queries on a connection."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import apsw

from runwright.adapters.sql import queries
from runwright.adapters.sqlstore.records import MadeUp

SQL = queries("sqlite", "runs.sql")


class SqliteStatements:
    """Named queries on a connection; see `Statements`."""

    __slots__ = ("_connection", "made_up")

    def __init__(self, connection: apsw.Connection) -> None:
        self.made_up: MadeUp | None = None
        self._connection = connection

    def rows(self, name: str, parameters: Mapping[str, Any]) -> Iterator[Any]:
        """Execute a query and return its rows; see `Statements`."""
        found: Iterator[Any] = self._connection.execute(SQL[name], parameters)
        return found

    @contextmanager
    def snapshot(self) -> Iterator[None]:
        """Let all queries see one and the same state."""
        self._connection.execute("BEGIN")
        try:
            yield
        finally:
            self._connection.execute("ROLLBACK")
