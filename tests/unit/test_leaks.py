"""Secrets that would be stored with a run."""

import pytest

from runwright.core.errors import Problem
from runwright.core.leaks import leaks
from runwright.core.run import Definition

SECRETS = {"TOK": "s3cr3t-value", "PIN": "p1n-of-many\nlines-of-it", "UNSET": ""}


def found(
    source: str = "", content: str = "", variables: dict[str, str] | None = None, *tags: str
) -> list[Problem]:
    definition = Definition(digest="d", content=content.encode(), source=source)
    return leaks(SECRETS, variables or {}, tags, definition, "flow.toml")


def test_nothing_is_said_of_what_holds_none() -> None:
    assert found("name = 'x'", '{"name": "x"}', {"a": "b"}, "nightly") == []


def test_each_line_of_the_file_is_named() -> None:
    problems = found("a = 1\n# TOK is s3cr3t-value\nb = 's3cr3t-value'\n")
    assert [(problem.file, problem.line) for problem in problems] == [("flow.toml", 2), ("flow.toml", 3)]
    assert "comments too" in problems[0].message


@pytest.mark.parametrize("source", ["x = '''p1n-of-many\nlines-of-it'''"])
def test_a_secret_of_several_lines_is_found_in_each(source: str) -> None:
    assert [problem.line for problem in found(source)] == [1, 2]


def test_a_secret_whose_lines_are_too_short_to_be_found_alone_has_no_line() -> None:
    definition = Definition(digest="d", content=b"", source="ab\ncd")
    (problem,) = leaks({"S": "ab\ncd"}, {}, (), definition, "flow.toml")
    assert (problem.file, problem.line) == ("flow.toml", 0)


def test_a_secret_that_the_file_only_spells_is_found_too() -> None:
    (problem,) = found("x = 's3cr3t\\u002dvalue'", '{"x": "s3cr3t-value"}')
    assert (problem.file, problem.line) == ("flow.toml", 0)
    assert "the workflow: holds" in problem.message


def test_variables_and_tags_are_named() -> None:
    problems = found("", "", {"ok": "x", "token": "s3cr3t-value"}, "fine", "s3cr3t-value")
    assert [problem.message.partition(":")[0] for problem in problems] == ["variable token", "a tag"]


def test_no_value_is_told() -> None:
    problems = found("# s3cr3t-value", "p1n-of-many", {"v": "s3cr3t-value"}, "s3cr3t-value")
    assert len(problems) == 4
    told = " ".join(f"{problem}" for problem in problems)
    assert "s3cr3t" not in told
    assert "p1n" not in told
    assert [problem.message.count('"TOK"') for problem in problems] == [1, 1, 1, 0]
