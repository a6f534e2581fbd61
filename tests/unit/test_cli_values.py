"""Values of options: durations, instants, variables; strategy and workers; files of variables."""

from argparse import ArgumentTypeError
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from runwright.cli import run, values
from runwright.cli.arguments import Arguments
from runwright.cli.common import common_length
from runwright.cli.parser import Parser, parse
from runwright.cli.resume import chosen_schedule
from runwright.cli.schedule import check_display, read_variables, schedule, variables
from runwright.core.errors import UsageError
from runwright.core.options import FailurePolicy, RunOptions, Strategy


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("7d", 604800.0),
        ("2w", 1209600.0),
        ("90s", 90.0),
        ("1m30s", 90.0),
        ("90", 90.0),
        ("0.5", 0.5),
        ("0", 0.0),
    ],
)
def test_durations(text: str, expected: float) -> None:
    assert values.seconds(text) == expected


@pytest.mark.parametrize(
    ("reader", "text"),
    [
        (values.seconds, "soon"),
        (values.seconds, "-5s"),
        (values.seconds, ""),
        (values.since, "soon"),
        (values.since, "2026-13-01"),
        (values.since, "99999999999d"),
        (values.until, "1.5.2026"),
        (values.workers, "0"),
        (values.workers, "-1"),
        (values.workers, "two"),
        (values.workers, "²"),
        (values.count, "-1"),
        (values.count, "1.5"),
        (values.assignment, "name"),
        (values.assignment, "=value"),
        (values.assignment, "a b=c"),
        (values.assignment, "name=\udcff"),
    ],
)
def test_bad_values(reader: Callable[[str], Any], text: str) -> None:
    with pytest.raises(ArgumentTypeError):
        reader(text)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("a=b", ("a", "b")),
        ("a=", ("a", "")),
        ("a=b=c", ("a", "b=c")),
        ("build[os=linux].digest=x=y", ("build[os=linux].digest", "x=y")),
        ("a=[b", ("a", "[b")),
    ],
)
def test_variables(text: str, expected: tuple[str, str]) -> None:
    assert values.assignment(text) == expected


def test_instants() -> None:
    day = datetime(2026, 1, 31).astimezone()
    assert values.since("2026-01-31") == day
    assert values.until("2026-01-31") == day + timedelta(days=1)
    assert values.until("2026-01-31T10:00:00+00:00") == datetime(2026, 1, 31, 10, tzinfo=UTC)
    now = datetime.now(UTC)
    assert abs(values.since("2h") - (now - timedelta(hours=2))) < timedelta(minutes=1)
    assert values.since("yesterday") < values.since("today") <= now


def parsed(*words: str) -> Arguments:
    parser = Parser("run", "", "")
    run.configure(parser)
    return parse(parser, ["flow.toml", *words], {})


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        ("", (Strategy.SEQUENTIAL, 1)),
        ("-j 1", (Strategy.SEQUENTIAL, 1)),
        ("-j 8", (Strategy.WORK_STEALING, 8)),
        ("-j8", (Strategy.WORK_STEALING, 8)),
        ("--workers=8", (Strategy.WORK_STEALING, 8)),
        ("--max-parallel 2", (Strategy.WORK_STEALING, 2)),
        ("--parallel", (Strategy.LEVELS, 4)),
        ("--parallel -j 2", (Strategy.LEVELS, 2)),
        ("--work-stealing", (Strategy.WORK_STEALING, 4)),
        ("--work-stealing --workers 1", (Strategy.WORK_STEALING, 1)),
        ("--sequential -j 8", (Strategy.SEQUENTIAL, 1)),
        ("--strategy levels", (Strategy.LEVELS, 4)),
    ],
)
def test_strategy_and_workers(words: str, expected: tuple[Strategy, int]) -> None:
    assert schedule(parsed(*words.split())) == expected


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        ("", (None, None)),
        ("-j 1", (None, 1)),
        ("-j 3", (Strategy.WORK_STEALING, 3)),
        ("--parallel", (Strategy.LEVELS, None)),
        ("--sequential -j 3", (Strategy.SEQUENTIAL, 1)),
    ],
)
def test_a_resume_overrides_only_what_is_said(
    words: str, expected: tuple[Strategy | None, int | None]
) -> None:
    assert chosen_schedule(parsed(*words.split())) == expected


@pytest.mark.parametrize(
    "words",
    ["--parallel --sequential", "--fail-fast --keep-going", "--strategy luck", "--events xml", "-j 0"],
)
def test_contradictions_are_refused(words: str) -> None:
    with pytest.raises(UsageError):
        parsed(*words.split())


def test_events_and_json_do_not_mix() -> None:
    with pytest.raises(UsageError, match="standard output"):
        check_display(parsed("--events", "jsonl", "--json"))
    check_display(parsed("--events", "jsonl"))


def test_options_of_a_run(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.chdir(tmp_path)
    words = (
        "--var a=1 --var b=2 --timeout 90s --keep-going --clean-env --print-output --only x --tag t --tag u"
    )
    assert run.options_of(parsed(*words.split())) == RunOptions(
        variables={"a": "1", "b": "2"},
        clean_env=True,
        print_output=True,
        timeout=90.0,
        failure_policy=FailurePolicy.KEEP_GOING,
        only=("x",),
        tags=("t", "u"),
        directory=str(tmp_path),
    )


def test_files_of_variables(tmp_path: Path) -> None:
    (tmp_path / "a.env").write_text("# words\nname=value with spaces\n\n  empty=\n")
    (tmp_path / "a.json").write_text('{"name": "json", "number": 3, "float": 1.5, "yes": true}')
    found = variables(
        parsed(
            "--var-file", str(tmp_path / "a.env"), "--var-file", str(tmp_path / "a.json"), "--var", "yes=no"
        )
    )
    assert found == {"name": "json", "empty": "", "number": "3", "float": "1.5", "yes": "no"}


@pytest.mark.parametrize(
    ("content", "line", "message"),
    [
        (b"a=1\nno equals\n", 2, 'has no "="'),
        (b"\xff=1\n", 0, "not UTF-8"),
        (b'{"a": [1]}', 0, "can't take variables"),
        (b'{"a": ', 0, "truncated"),
    ],
)
def test_bad_files_of_variables(content: bytes, line: int, message: str, tmp_path: Path) -> None:
    (tmp_path / "vars").write_bytes(content)
    with pytest.raises(UsageError, match=message) as caught:
        read_variables(str(tmp_path / "vars"))
    (problem,) = caught.value.problems
    assert (problem.file, problem.line) == (str(tmp_path / "vars"), line)


def test_a_missing_file_of_variables(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="No such file"):
        read_variables(str(tmp_path / "none"))


@pytest.mark.parametrize(
    ("ids", "expected"),
    [
        ([], 8),
        (["0195abcd-1111"], 8),
        (["0195abcd-1111", "0195abce-1111"], 8),
        (["0195abcd-1111", "0196abce-1111", "0195abcd-1211"], 11),
    ],
)
def test_how_many_characters_tell_ids_apart(ids: list[str], expected: int) -> None:
    assert common_length(ids) == expected
