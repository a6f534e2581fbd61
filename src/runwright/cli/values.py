"""Values of options, as people write them."""

import re
from datetime import datetime, timedelta

AGO = r"([0-9]+)(d|w)"
DAY = r"[0-9]{4}-[0-9]{2}-[0-9]{2}"
VARIABLE = r"[A-Za-z0-9_.+\-\[\]=,]+"
"""Compiled on first use: the start of a run is measured."""

DAYS = {"d": 1, "w": 7}


def _refusal(message: str) -> Exception:
    from argparse import ArgumentTypeError  # noqa: PLC0415 - slow to load

    return ArgumentTypeError(message)


def seconds(text: str) -> float:
    """Return a duration in seconds; ``7d`` and ``2w`` beside what workflow files take.

    Raises:
        ArgumentTypeError: If it is no duration.
    """
    from runwright.core.duration import parse_duration  # noqa: PLC0415 - only for such an option

    found = re.fullmatch(AGO, text)
    if found:
        return int(found[1]) * DAYS[found[2]] * 86400.0
    try:
        return parse_duration(float(text) if text.replace(".", "", 1).isdigit() else text)
    except ValueError as error:
        raise _refusal(f'"{text}" is no duration: {error}') from None


def size(text: str) -> int:
    """Return a size in bytes, from ``10MiB`` or a number.

    Raises:
        ArgumentTypeError: If it is no size.
    """
    from runwright.core.duration import parse_size  # noqa: PLC0415 - only for such an option

    try:
        return parse_size(int(text) if text.isdigit() else text)
    except ValueError as error:
        raise _refusal(f'"{text}" is no size: {error}') from None


def since(text: str) -> datetime:
    """Return the instant from which on runs count: a date, a date with time, or a duration before now.

    Raises:
        ArgumentTypeError: If it is none of these.
    """
    return _instant(text)


def until(text: str) -> datetime:
    """Return the instant before which runs count; a plain date includes that day.

    Raises:
        ArgumentTypeError: If it is no date and no duration.
    """
    at = _instant(text)
    return at + timedelta(days=1) if re.fullmatch(DAY, text) else at


def _instant(text: str) -> datetime:
    from argparse import ArgumentTypeError  # noqa: PLC0415 - slow to load

    now = datetime.now().astimezone()
    if text in {"today", "yesterday"}:
        midnight = now.replace(hour=0, minute=0, second=0, microsecond=0)
        return midnight - timedelta(days=text == "yesterday")
    try:
        return datetime.fromisoformat(text).astimezone()
    except ValueError:
        pass
    try:
        return now - timedelta(seconds=seconds(text))
    except (ArgumentTypeError, OverflowError):
        raise _refusal(
            f'"{text}" is neither a date (2026-01-31), a date with time, nor a duration (7d, 12h)'
        ) from None


def assignment(text: str) -> tuple[str, str]:
    """Return name and value of ``NAME=VALUE``.

    Raises:
        ArgumentTypeError: If there is no ``=``, the name is not one, or the value can't be passed to a process.
    """
    name, equals, value = _split_assignment(text)
    if not equals:
        raise _refusal(f'"{text}" has no "=": write NAME=VALUE')
    if not re.fullmatch(VARIABLE, name):
        raise _refusal(f'"{name}" can\'t name a variable: use letters, digits, "_", "-" and "."')
    try:
        value.encode()
    except UnicodeEncodeError:
        raise _refusal(f'the value of "{name}" is not valid UTF-8') from None
    return name, value


def _split_assignment(text: str) -> tuple[str, str, str]:
    """Split at the first ``=`` that does not stand inside brackets: ``build[os=linux].digest=x``."""
    depth = 0
    for position, char in enumerate(text):
        depth += (char == "[") - (char == "]")
        if char == "=" and depth <= 0:
            return text[:position], "=", text[position + 1 :]
    return text.partition("=")


def workers(text: str) -> int:
    """Return a number of tasks at a time.

    Raises:
        ArgumentTypeError: If it is no whole number from 1 on.
    """
    if not text.isdecimal() or int(text) < 1:
        raise _refusal(f'"{text}" is no number of tasks from 1 on')
    return int(text)


def count(text: str) -> int:
    """Return a whole number that is not negative.

    Raises:
        ArgumentTypeError: If it is not one.
    """
    if not text.isdecimal():
        raise _refusal(f'"{text}" is no whole number from 0 on')
    return int(text)


def number(text: str) -> float:
    """Return a number that is not negative, such as 1.5.

    Raises:
        ArgumentTypeError: If it is not one.
    """
    if not re.fullmatch(r"[0-9]+(\.[0-9]+)?", text):
        raise _refusal(f'"{text}" is no number from 0 on')
    return float(text)
