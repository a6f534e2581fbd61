"""`RunStore` on a file of SQLite: one writer thread with group commit, readers that leave no trace."""

from runwright.adapters.sqlite.store import SqliteStore

__all__ = ["SqliteStore"]
