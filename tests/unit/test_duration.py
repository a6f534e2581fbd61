"""Durations and sizes."""

import math

import pytest

from runwright.core.duration import format_duration, parse_duration, parse_size


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("0", 0),
        ("0s", 0),
        ("500ms", 0.5),
        ("30s", 30),
        ("1m30s", 90),
        ("2h", 7200),
        ("1.5s", 1.5),
        (".5s", 0.5),
        ("10us", 1e-5),
        ("10µs", 1e-5),
        ("100ns", 1e-7),
        (" 5m ", 300),
        (5, 5),
        (1.5, 1.5),
    ],
)
def test_durations_are_read(text: str | float, seconds: float) -> None:
    assert parse_duration(text) == pytest.approx(seconds)


@pytest.mark.parametrize(
    "text", ["", "30", "5 min", "1d", "-1s", "s", "1e3s", "9" * 200 + "s", -1, math.nan, math.inf]
)
def test_what_is_no_duration_is_refused(text: str | float) -> None:
    with pytest.raises(ValueError, match="duration"):
        parse_duration(text)
    with pytest.raises(ValueError, match="100 years"):
        parse_duration(10**400)


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (0, "0s"),
        (0.25, "250ms"),
        (1, "1s"),
        (90, "1m30s"),
        (3600, "1h"),
        (3723.5, "1h2m3.5s"),
        (0.0001, "0s"),
    ],
)
def test_durations_are_written(seconds: float, text: str) -> None:
    assert format_duration(seconds) == text


@pytest.mark.parametrize(
    ("text", "size"),
    [
        (4096, 4096),
        ("4096", 4096),
        ("64KiB", 65536),
        ("10 MiB", 10 << 20),
        ("1.5kb", 1500),
        ("1GB", 10**9),
        ("7B", 7),
    ],
)
def test_sizes_are_read(text: str | int, size: int) -> None:
    assert parse_size(text) == size


@pytest.mark.parametrize("text", ["", "10 megs", "-1", -1, "1" * 200, "MiB", 1 << 61, "9999999TiB"])
def test_what_is_no_size_is_refused(text: str | int) -> None:
    with pytest.raises(ValueError, match="size"):
        parse_size(text)
