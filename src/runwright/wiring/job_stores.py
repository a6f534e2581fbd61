"""The store of the job queue, by its URL."""

from pathlib import Path

from runwright.adapters.project import StateLocation, state_location
from runwright.ports.jobs import JobStore


def open_job_store(location: StateLocation | str | Path | None = None) -> JobStore:
    """Open the durable job queue of a project; the caller closes it.

    Args:
        location: Where it is, by URL or path; None means where `state_location` finds it. On SQLite it shares the file
            of the runs.

    Raises:
        UsageError: If its URL is not well formed, or asks for an extra that is not installed.
        StoreError: If it can't be used.
    """
    text = None if location is None or isinstance(location, StateLocation) else str(location)
    where = location if isinstance(location, StateLocation) else state_location(text)
    if where.is_server:
        from runwright.wiring.servers import require_postgres

        require_postgres()
        from runwright.adapters.postgres.jobs import PostgresJobStore

        return PostgresJobStore.open(where.store_url)
    from runwright.adapters.sqlite.jobs import SqliteJobStore

    return SqliteJobStore.open(where.database)
