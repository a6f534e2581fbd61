"""How results look: times, tables, errors, escapes, marks."""

from datetime import timedelta

import pytest
from cli_state import START, pipe, terminal

from runwright.cli.render.ansi import only_colours, without_escapes
from runwright.cli.render.names import said
from runwright.cli.render.problems import render_problems
from runwright.cli.render.progress import label
from runwright.cli.render.tables import Cell, Column, table
from runwright.cli.render.terminal import cell_width, clean, shorten
from runwright.cli.render.times import ago, duration, elapsed, precise
from runwright.core.errors import Problem
from runwright.core.states import TaskRole

DANGEROUS = "\x1b]0;title\x07\x1b[2J\x9b31m\r\n\t\u202eevil\u2066\x00\x7f"


@pytest.mark.parametrize(
    ("seconds", "expected"),
    [
        (None, ""),
        (-1.0, "0 ms"),
        (0.0004, "0 ms"),
        (0.35, "350 ms"),
        (0.9994, "999 ms"),
        (0.9996, "1.0 s"),
        (1.23, "1.2 s"),
        (59.94, "59.9 s"),
        (59.96, "1 m 00 s"),
        (184.2, "3 m 04 s"),
        (3599.6, "1 h 00 m"),
        (7500, "2 h 05 m"),
        (86399, "23 h 59 m"),
        (273600, "3 d 04 h"),
    ],
)
def test_durations(seconds: float | None, expected: str) -> None:
    assert duration(seconds) == expected


@pytest.mark.parametrize(
    ("seconds", "expected"),
    [(5, "5 s ago"), (300, "5 m ago"), (7200, "2 h ago"), (300000, "3 d ago"), (-5, "0 s ago")],
)
def test_ago(seconds: int, expected: str) -> None:
    assert ago(START, START + timedelta(seconds=seconds)) == expected


def test_elapsed() -> None:
    later = START + timedelta(seconds=2)
    assert elapsed(None, later) is None
    assert elapsed(START, None) is None
    assert elapsed(START, None, later) == 2.0
    assert elapsed(later, START) == 0.0
    assert precise(START).endswith(".000")


def test_text_from_outside_is_harmless() -> None:
    shown = clean(DANGEROUS)
    assert shown.isprintable()
    assert "evil" in shown
    assert "\\x1b]0;title\\x07" in shown
    assert clean("plain ünïcode 漢字 nbsp\u00a0") == "plain ünïcode 漢字 nbsp\u00a0"


def test_width_counts_columns() -> None:
    assert cell_width("abc") == 3
    assert cell_width("漢字") == 4
    assert cell_width("e\u0301") == 1
    assert shorten("漢字漢字", 5) == "漢字…"
    assert shorten("abc", 3) == "abc"
    assert shorten("abcd", 3, "...") == "..."
    assert shorten("abcd", 0) == "abcd"


def test_colours_of_tasks_stay_and_nothing_else() -> None:
    assert only_colours("\x1b[31mred\x1b[0m") == "\x1b[31mred\x1b[0m\x1b[0m"
    assert only_colours("a\x1b[2Jb\x1b]8;;http://x\x07c\x1b]0;t\x1b\\d\x1bM") == "abcd"
    assert without_escapes("\x1b[31mred\x1b[0m") == "red"
    assert without_escapes("10 %\r20 %\r") == "20 %"
    assert without_escapes("a\tb\x07") == "a       b\\x07"
    assert "\x1b" not in only_colours(DANGEROUS)


COLUMNS = (Column("name", least=4), Column("n", right=True), Column("extra", optional=True))


def test_tables_in_a_pipe_are_as_wide_as_they_need() -> None:
    lines = list(table(COLUMNS, [("x" * 300, "1", "e"), (Cell("y\n", "bad"), "22", "")], pipe()))
    assert lines == [
        f"{'NAME':<300}   N  EXTRA",
        f"{'x' * 300}   1  e",
        f"{'y' + chr(92) + 'n':<300}  22",
    ]


@pytest.mark.parametrize("width", [200, 40, 20, 12, 6, 3])
def test_tables_keep_to_the_terminal(width: int) -> None:
    out = terminal(width, NO_COLOR="1")
    lines = list(table(COLUMNS, [("a long name " * 5, "1", "extra"), ("漢字" * 20, "12345", "x")], out))
    assert all(cell_width(line) <= width for line in lines) or width < 7
    assert all(line == line.rstrip() for line in lines)
    assert ("EXTRA" in lines[0]) is (width >= 20)


def test_tables_are_coloured_on_a_terminal_only() -> None:
    assert "\x1b[31m" in "".join(table(COLUMNS, [(Cell("x", "bad"), "", "")], terminal()))
    assert "\x1b" not in "".join(table(COLUMNS, [(Cell("x", "bad"), "", "")], terminal(NO_COLOR="1")))
    assert "\x1b" not in "".join(table(COLUMNS, [(Cell("x", "bad"), "", "")], pipe()))


def problem(**fields: object) -> Problem:
    known: dict[str, object] = {"message": "bad thing", "file": "a.toml", "line": 12, "column": 3}
    return Problem(**{**known, **fields})  # type: ignore[arg-type]


def test_problems_show_place_line_and_caret() -> None:
    found = problem(source_line="a = 1", column=5, suggestion="write 2")
    assert list(render_problems([found], pipe())) == [
        "a.toml:12:5: error: bad thing",
        "   12 | a = 1",
        "      |     ^",
        "      = write 2",
    ]


@pytest.mark.parametrize(
    ("source", "column", "before"),
    [("\tx = 1", 2, "    "), ("漢 = x", 5, "漢 = "), ("a\x1b = x", 6, "a\\x1b = ")],
)
def test_the_caret_stands_below_the_fault(source: str, column: int, before: str) -> None:
    lines = list(render_problems([problem(source_line=source, column=column)], pipe()))
    assert lines[1].startswith(f"   12 | {before}")
    assert lines[2] == f"      | {' ' * cell_width(before)}^"


def test_long_lines_are_cut_around_the_fault() -> None:
    source = "a = [" + "x, " * 200 + "FAULT" + ", y" * 200 + "]"
    column = source.index("FAULT") + 1
    lines = list(render_problems([problem(source_line=source, column=column)], terminal(60, NO_COLOR="1")))
    assert all(len(line) <= 60 for line in lines[1:])
    assert lines[1][lines[2].index("^") :].startswith("FAULT")


def test_problems_without_a_place() -> None:
    found = [Problem(message="one", suggestion="try"), problem(line=0, column=0), problem(source_line="")]
    assert list(render_problems(found, pipe(), "warning")) == [
        "warning: one",
        "  try",
        "a.toml: warning: bad thing",
        "a.toml:12:3: warning: bad thing",
        "3 warnings",
    ]


@pytest.mark.parametrize(
    ("row_id", "role", "words"),
    [
        ("test[py=3.12]", TaskRole.TASK, "test[py=3.12]"),
        ("env[k=v].cleanup", TaskRole.CLEANUP, "env[k=v] cleanup"),
        ("notify@test[py=3.12]", TaskRole.HANDLER, "notify (handler of test[py=3.12])"),
        ("notify@test[at=a@b]", TaskRole.HANDLER, "notify (handler of test[at=a@b])"),
        ("notify@*", TaskRole.HANDLER, "notify (handler of the run)"),
        ("last@notify@*", TaskRole.HANDLER, "last (handler of handler notify)"),
    ],
)
def test_ids_in_words(row_id: str, role: TaskRole, words: str) -> None:
    assert said(row_id, role) == words
    assert label(row_id, row_id.partition("[")[0].partition("@")[0], role) == words
    assert label(row_id, "A name", role) == f"{words}  A name"
