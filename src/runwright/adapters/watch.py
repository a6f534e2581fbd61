"""Being told of changes below a directory."""

from collections.abc import Iterator
from pathlib import Path, PurePath

from runwright.core.errors import Problem, UsageError

PATIENCE_MS = 2000
IGNORED = frozenset({".runwright", ".git", "__pycache__"})


def wakes(folder: Path) -> Iterator[None]:
    """Return what yields whenever something has changed below a directory, and every two seconds in any case.

    It raises KeyboardInterrupt if the user has had enough.

    Raises:
        UsageError: If the library for it is not installed.
    """
    try:
        from watchfiles import watch  # noqa: PLC0415 - an extra
    except ImportError:
        advice = 'install it: pip install "runwright[watch]"'
        raise UsageError((Problem(message="--watch needs watchfiles", suggestion=advice),)) from None
    changes = watch(
        folder,
        watch_filter=_counts,
        raise_interrupt=True,
        yield_on_timeout=True,
        rust_timeout=PATIENCE_MS,
        ignore_permission_denied=True,
    )
    return (None for _ in changes)


def _counts(_: object, path: str) -> bool:
    return IGNORED.isdisjoint(PurePath(path).parts)
