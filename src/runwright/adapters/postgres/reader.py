"""Reading runs from PostgreSQL, on a connection for which the server refuses every write."""

from collections.abc import Callable
from typing import TypeVar

from msgspec import DecodeError

from runwright.adapters.postgres.address import Address
from runwright.adapters.postgres.connection import Connection, Link
from runwright.adapters.postgres.pool import Pool
from runwright.core.errors import StoreCorrupt

T = TypeVar("T")


class PostgresReader:
    """Runs queries in a thread of its own.

    Args:
        address: Of the database.
        patience: Seconds to wait for a server that was lost.
    """

    def __init__(self, address: Address, patience: float) -> None:
        self._address = address
        self._pool = Pool(address, read_only=True, patience=patience)

    async def run(self, query: Callable[[Connection], T], missing: T) -> T:
        """Return what the query finds, or `missing` if there is no table yet.

        Raises:
            StoreError: If the store can't be read.
        """

        def ask(link: Link) -> T:
            return link.run(lambda connection: query(connection) if link.has_tables(connection) else missing)

        try:
            return await self._pool.ask(ask)
        except DecodeError as error:
            text = f"what is stored can't be read ({error}); `runwright audit --verify` tells which run"
            raise StoreCorrupt(f"{self._address.shown}: {text}") from error

    async def close(self) -> None:
        """End the thread and close the connection; safe to call twice."""
        await self._pool.close()
