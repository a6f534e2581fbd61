"""PostgreSQL's queries of runs on a connection."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

from runwright.adapters.postgres.connection import Connection
from runwright.adapters.sql import queries
from runwright.adapters.sqlstore.records import MadeUp, text

SQL = queries("postgres", "runs.sql")

_AS_JSON = frozenset(("reason", "cancel_reason", "tag"))
"""Texts that stand in columns of JSON here, since they may hold a NUL."""


class PostgresStatements:
    """Named queries on a connection; see `Statements`."""

    __slots__ = ("_connection", "made_up")

    def __init__(self, connection: Connection) -> None:
        self.made_up: MadeUp | None = text  # a text within JSON in which no NUL is left to trip over
        self._connection = connection

    def rows(self, name: str, parameters: Mapping[str, Any]) -> Iterator[Any]:
        """Execute a query and return its rows; see `Statements`."""
        given = {key: text(value) if key in _AS_JSON else value for key, value in parameters.items()}
        return iter(self._connection.execute(SQL[name], given))

    @contextmanager
    def snapshot(self) -> Iterator[None]:
        """Let all queries see one and the same state."""
        with self._connection.transaction():
            self._connection.execute("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ")
            yield
