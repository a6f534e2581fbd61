"""Stores on a server of PostgreSQL that several machines share."""

from runwright.adapters.postgres.store import PostgresStore

__all__ = ["PostgresStore"]
