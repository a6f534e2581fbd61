"""Named queries on a connection, as what the stores share sees them."""

from collections.abc import Iterator, Mapping
from contextlib import AbstractContextManager
from typing import Any, Protocol

from runwright.adapters.sqlstore.records import MadeUp


class Statements(Protocol):
    """The queries of one vendor on one connection; all vendors have the same names, parameters and columns.

    Attributes:
        made_up: Makes of what people and programs make up (a reason, a failure, a value) what its column takes within
            JSON; None if that is the thing itself.
    """

    made_up: MadeUp | None

    def rows(self, name: str, parameters: Mapping[str, Any]) -> Iterator[Any]:
        """Execute a query at once; return its rows as tuples, if it gives any."""
        ...

    def snapshot(self) -> AbstractContextManager[None]:
        """Return a scope in which all queries see one and the same state."""
        ...


def first(statements: Statements, name: str, parameters: Mapping[str, Any]) -> Any:
    """Return the first column of the first row, or None if there is no row."""
    for row in statements.rows(name, parameters):
        return row[0]
    return None
