"""Durations and instants, for people."""

from datetime import datetime

MINUTE = 60
HOUR = 3600
DAY = 86400


def duration(seconds: float | None) -> str:
    """Return a duration as people say it: ``350 ms``, ``1.2 s``, ``3 m 04 s``, ``2 h 05 m``, ``3 d 04 h``."""
    if seconds is None:
        return ""
    seconds = max(0.0, seconds)
    if seconds < 0.9995:
        return f"{round(seconds * 1000)} ms"
    if seconds < 59.95:
        return f"{seconds:.1f} s"
    whole = round(seconds)
    if whole < HOUR:
        return f"{whole // MINUTE} m {whole % MINUTE:02} s"
    if whole < DAY:
        return f"{whole // HOUR} h {whole % HOUR // MINUTE:02} m"
    return f"{whole // DAY} d {whole % DAY // HOUR:02} h"


def instant(at: datetime | None) -> str:
    """Return an instant in local time, to the second."""
    return "" if at is None else at.astimezone().strftime("%Y-%m-%d %H:%M:%S")


def precise(at: datetime) -> str:
    """Return an instant in local time, to the millisecond."""
    local = at.astimezone()
    return f"{local:%Y-%m-%d %H:%M:%S}.{local.microsecond // 1000:03}"


def elapsed(start: datetime | None, end: datetime | None, now: datetime | None = None) -> float | None:
    """Return seconds from `start` to `end`, or to `now` for what has not ended; None if it has not begun."""
    last = end or now
    if start is None or last is None:
        return None
    return max(0.0, (last - start).total_seconds())


def ago(at: datetime, now: datetime) -> str:
    """Return how long ago an instant was, roughly: ``5 m ago``."""
    seconds = round(max(0.0, (now - at).total_seconds()))
    if seconds < MINUTE:
        return f"{seconds} s ago"
    if seconds < HOUR:
        return f"{seconds // MINUTE} m ago"
    if seconds < DAY:
        return f"{seconds // HOUR} h ago"
    return f"{seconds // DAY} d ago"
