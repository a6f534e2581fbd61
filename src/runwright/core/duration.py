"""Durations and sizes as people write them."""

import re

from runwright.core.pattern import pattern

UNITS = {"ns": 1e-9, "us": 1e-6, "µs": 1e-6, "μs": 1e-6, "ms": 1e-3, "s": 1.0, "m": 60.0, "h": 3600.0}
SIZES = {
    "b": 1,
    "kb": 10**3,
    "mb": 10**6,
    "gb": 10**9,
    "tb": 10**12,
    "kib": 1 << 10,
    "mib": 1 << 20,
    "gib": 1 << 30,
    "tib": 1 << 40,
}
LONGEST = 100 * 366 * 86400.0
"""Seconds; longer waits are a slip of the pen and would overflow timers."""
LARGEST = 1 << 60
"""Bytes."""

_PART = pattern(r"(\d+(?:\.\d*)?|\.\d+)(ns|us|µs|μs|ms|s|m|h)", re.ASCII)
_DURATION = pattern(rf"(?:{_PART.pattern})+", re.ASCII)
_SIZE = pattern(r"(\d+(?:\.\d+)?)\s*([a-zA-Z]+)?", re.ASCII)
_LONGEST_TEXT = 100


def parse_duration(value: str | float) -> float:
    """Return a duration in seconds, from ``"1m30s"`` or a number of seconds.

    Raises:
        ValueError: If it is not a duration, is negative, or is longer than 100 years; the message says what is.
    """
    seconds = _seconds_of_text(value) if isinstance(value, str) else value
    if not 0 <= seconds <= LONGEST:
        raise ValueError("a duration must not be negative or longer than 100 years")
    return float(seconds)


def _seconds_of_text(text: str) -> float:
    text = text.strip()
    if text == "0":
        return 0.0
    if len(text) > _LONGEST_TEXT or not _DURATION.fullmatch(text):
        raise ValueError('a duration is written like "500ms", "30s", "1m30s" or "2h"')
    return sum(float(number) * UNITS[unit] for number, unit in _PART.findall(text))


def format_duration(seconds: float) -> str:
    """Return a duration as `parse_duration` reads it, to the millisecond: ``1h2m3.5s``."""
    milliseconds = round(seconds * 1000)
    if milliseconds < 1000:
        return f"{milliseconds}ms" if milliseconds else "0s"
    minutes, rest = divmod(milliseconds, 60_000)
    hours, minutes = divmod(minutes, 60)
    parts = (
        f"{hours}h" if hours else "",
        f"{minutes}m" if minutes else "",
        f"{rest / 1000:g}s" if rest else "",
    )
    return "".join(parts)


def parse_size(value: str | int) -> int:
    """Return a size in bytes, from ``"10MiB"`` or a number of bytes.

    Raises:
        ValueError: If it is not a size or is negative; the message says what is.
    """
    if isinstance(value, int):
        return _in_range(value)
    text = value.strip()
    found = _SIZE.fullmatch(text) if len(text) <= _LONGEST_TEXT else None
    factor = SIZES.get((found[2] or "b").lower()) if found else None
    if found is None or factor is None:
        raise ValueError('a size is written like 4096, "64KiB", "10MiB" or "1GB"')
    return _in_range(int(float(found[1]) * factor) if "." in found[1] else int(found[1]) * factor)


def _in_range(size: int) -> int:
    if not 0 <= size <= LARGEST:
        raise ValueError("a size must not be negative or larger than 1 EiB")
    return size
