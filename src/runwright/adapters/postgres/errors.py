"""What errors of PostgreSQL mean to the user of a store, and which of them pass by themselves."""

from collections.abc import Callable
from typing import Any

import psycopg

from runwright.adapters.postgres.address import Address
from runwright.core.errors import StoreError

Passes = Callable[[psycopg.Error, "psycopg.Connection[Any] | None"], bool]

_AGAIN = ("40001", "40P01")
"""States of transactions that were broken off for another's sake: the same again may well succeed."""

_FULL = "the server's disk is full; free some space, then `runwright resume` the run"

_ENDS = ("08", "57P0")
"""How states begin that tell of a lost connection, or of a server that stops or starts."""

_BY_STATE = {
    "25006": "this server takes no writes now (it is a standby, or set to read-only); name the one that does",
    "42501": "this user may not do that here; grant it CREATE on the database, or let the owner of its tables connect",
    "53100": _FULL,
    "53300": "the server has no connection left; raise its max_connections, or end some clients",
    "42P01": "its tables are of an older Runwright; the next command that writes brings them up to date",
    "42703": "its tables are of an older Runwright; the next command that writes brings them up to date",
}
"""What to do, by SQLSTATE."""

_AT_THE_DOOR: tuple[tuple[str, str], ...] = (
    (
        "password authentication failed",
        "the user or the password is wrong; mend the URL, PGPASSWORD or ~/.pgpass",
    ),
    ("no password supplied", "the server asks for a password; put it in the URL, PGPASSWORD or ~/.pgpass"),
    (
        "no pg_hba.conf entry",
        "the server lets this user in from elsewhere only; add this host to its pg_hba.conf",
    ),
    ("does not exist", "there is no such user or database; create it (`createdb`), or mend the URL"),
    ("permission denied for database", "this user may not connect to the database; grant it CONNECT"),
    ("could not translate host name", "there is no such host; mend the URL"),
    ("failed to resolve host", "there is no such host; mend the URL"),
    ("too many clients", _BY_STATE["53300"]),
    ("remaining connection slots", _BY_STATE["53300"]),
    ("too many connections for", _BY_STATE["53300"]),
    ("Connection refused", "nobody listens there; start the server, or mend host and port"),
    ("No such file or directory", "nobody listens there; start the server, or mend host and port"),
    ("server does not support SSL", "the server speaks no TLS, and sslmode asks for it; change one of them"),
    ("certificate", "the server's certificate is not trusted; mend it, or name its root with sslrootcert"),
    ("timeout", "the server does not answer; check host, port and firewall"),
)
"""What to do about refusals on connecting, which have no SQLSTATE, by a part of their text."""

_FINAL = 7
"""So many of these refusals, from the first on, do not pass by themselves."""

_SOON = ("starting up", "shutting down", "not yet accepting connections", "in recovery mode")


def explain(address: Address, error: Exception) -> StoreError:
    """Return the error of the store that stands for one of PostgreSQL; the password is in no part of it."""
    text = address.clean(str(error))
    advice = _BY_STATE.get(getattr(error, "sqlstate", None) or "", "") or _advice(text)
    if not advice and isinstance(error, psycopg.OperationalError | psycopg.InterfaceError):
        advice = "the connection was lost; check the server, then `runwright resume` the run"
    if not advice and isinstance(error, psycopg.DataError):
        advice = "this can't be stored here; a name or a tag may hold no NUL"
    advice = advice or "the store can't be used"
    return StoreError(f"{address.shown}: {advice} ({text or type(error).__name__})")


def _advice(text: str) -> str:
    return next((advice for part, advice in _AT_THE_DOOR if part in text), "")


def is_passing(error: psycopg.Error, connection: psycopg.Connection[Any] | None) -> bool:
    """Tell whether work that was broken off may succeed when it is done again, on a new connection if need be.

    Args:
        error: What broke it off.
        connection: The connection that it was done on; None if there was none to be had.
    """
    if connection is None:
        return not any(part in str(error) for part, _ in _AT_THE_DOOR[:_FINAL])
    return is_lost(error, connection) or error.sqlstate in _AGAIN


def is_lost(error: psycopg.Error, connection: psycopg.Connection[Any]) -> bool:
    """Tell whether an error was the end of its connection."""
    return connection.closed or (error.sqlstate or "").startswith(_ENDS)


def is_coming(error: psycopg.Error, connection: psycopg.Connection[Any] | None) -> bool:
    """Tell the same of the first connection: only a server that says that it is about to come is waited for."""
    return connection is None and any(part in str(error) for part in _SOON)
