"""URLs of PostgreSQL: what may be shown of them, and the password that may not."""

from typing import Any

from msgspec import Struct
from psycopg import ProgrammingError
from psycopg.conninfo import conninfo_to_dict

from runwright.core.errors import UsageError

MASK = "***"

_ENCODE = "write every @, /, ?, # and % of the user's name and the password as %40, %2F, %3F, %23 and %25"

_UNCLEAR = (
    f"the URL of the store can't be understood; give postgresql://USER@HOST:PORT/DATABASE, and {_ENCODE}"
)


class Address(Struct, frozen=True, kw_only=True):
    """Where a database is, and how to get in.

    Attributes:
        url: As the user gave it; it may hold a password, so it is shown nowhere.
        shown: The same place for messages, without password and options.
        password: Empty if the URL has none.
        secrets: The password as it is and as the URL spells it; empty if there is none.
    """

    url: str
    shown: str
    password: str
    secrets: tuple[str, ...] = ()

    def clean(self, text: str) -> str:
        """Return a vendor's text without the password, in one line."""
        line = " ".join(text.split())
        return line.replace(self.password, MASK) if self.password else line


def parse(url: str) -> Address:
    """Take a URL apart.

    Raises:
        UsageError: If it is not well formed; its text is not repeated, since it may hold a password.
    """
    _check_signs(url)
    try:
        parts: dict[str, Any] = conninfo_to_dict(url)
    except ProgrammingError:  # its text may repeat a part of the password
        raise UsageError(_UNCLEAR) from None
    if not str(parts.get("port") or 0).replace(",", "").isdecimal():  # the password, up to its ?
        raise UsageError(_UNCLEAR)
    password = str(parts.get("password") or "")
    spelled = url.partition("://")[2].partition("@")[0].partition(":")[2]
    secrets = tuple(dict.fromkeys(text for text in (password, spelled) if password and text))
    return Address(url=url, shown=_shown(parts), password=password, secrets=secrets)


def _check_signs(url: str) -> None:
    """Refuse what libpq would take apart at another place than its author meant."""
    before_options = url.partition("?")[0]
    if before_options.count("@") > 1 or "@" in before_options.partition("://")[2].partition("/")[2]:
        raise UsageError(f"the URL of the store has an @ where none can be; {_ENCODE}")


def _shown(parts: dict[str, Any]) -> str:
    user = f"{parts['user']}@" if parts.get("user") else ""
    host = str(parts.get("host") or "")
    port = f":{parts['port']}" if parts.get("port") else ""
    if host.startswith("/"):  # the directory of a socket stands among the options
        return f"postgresql://{user}/{parts.get('dbname') or ''}?host={host}"
    return f"postgresql://{user}{host}{port}/{parts.get('dbname') or ''}"
