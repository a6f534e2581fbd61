"""Syntax errors of a TOML file, all of them as far as they can be told apart, as problems."""

import re
from typing import Any

import rtoml

from runwright.core.errors import Problem
from runwright.core.pattern import pattern

MOST_ERRORS = 20
MOST_TEXT = 256 * 1024
"""Characters; in longer files only the first error is looked for, as each further one costs a reading."""

_AT = pattern(r"(?s)(.*) at line (\d+) column (\d+)\Z")
_TABLE = pattern(r"\s*\[\[?\s*[A-Za-z_][\w.\- \"']*\]\]?\s*(?:#.*)?\Z", re.ASCII)
_PAIR = pattern(r"\s*[\w.\-]+\s*=", re.ASCII)
_ADVICE = (
    ("string values must be quoted", 'put the text in quotes: "..."'),
    ("invalid basic string", 'close the string with "; text of several lines stands in """..."""'),
    ("invalid literal string", "close the string with '; text of several lines stands in '''...'''"),
    ("invalid multi-line basic", 'close the string with """'),
    ("invalid multi-line literal", "close the string with '''"),
    ("duplicate key", "remove one of the two, or rename it"),
    ("missing escaped value", "write \\\\ for a backslash, or put the text in single quotes: '...'"),
    ("key with no value", "write key = value; a name with a space stands in quotes"),
    ("unclosed table", "close the name of the table with ]"),
    ("unclosed array", "close the array with ]"),
    ("unclosed inline table", "close the table with }"),
    ("missing comma between array elements", "put a comma between the elements, or close the array with ]"),
    ("missing comma between key-value pairs", "put a comma between the pairs, or close the table with }"),
    ("unexpected leading zero", "write the number without leading zeros, or in quotes"),
    ("invalid boolean", "write true or false, or put text in quotes"),
    ("invalid unquoted key", 'use letters, digits, - and _ in names, or put the name in quotes: "..."'),
    ("unquoted keys cannot be empty", "write a name before the ="),
    ("unexpected key or value", "start a new line after each value"),
    ("cannot extend value", "rename the key, or the table"),
    ("cannot recurse further", "nest less deep"),
)


def parse(text: str) -> dict[str, Any] | list[Problem]:
    """Return what a TOML text holds, or its syntax errors with line and column."""
    data, found = _parse(text)
    if found is None:
        return data
    lines = text.split("\n")
    if len(text) > MOST_TEXT:
        return [_problem(found, 1, lines)]
    problems = _in_statements(lines) + _between_statements(lines)
    return sorted(problems, key=lambda problem: (problem.line, problem.column)) or [_problem(found, 1, lines)]


def _parse(text: str) -> tuple[dict[str, Any], str | None]:
    try:
        return rtoml.loads(text), None
    except rtoml.TomlParsingError as error:
        return {}, str(error)


def _problem(message: str, first: int, lines: list[str], *, is_statement: bool = False) -> Problem:
    """Turn the parser's message about the text that starts at line `first` into a problem."""
    found = _AT.match(message)
    what, line, column = (found[1], int(found[2]), int(found[3])) if found else (message, 1, 1)
    line += first - 1
    if line > len(lines) or (line == len(lines) and not lines[-1] and line > 1):
        line = min(line, len(lines)) - 1
        column = len(lines[line - 1]) + 1
    advice = next((advice for start, advice in _ADVICE if what.startswith(start)), "check this line")
    if is_statement and first < line:
        advice += f" (this value starts in line {first})"
    return Problem(
        message=f"not valid TOML: {what}",
        suggestion=advice,
        line=line,
        column=column,
        source_line=lines[line - 1],
    )


def _in_statements(lines: list[str]) -> list[Problem]:
    """Read every statement by itself; one with an error is taken out of `lines`, its place remains."""
    problems: list[Problem] = []
    shown = list(lines)
    line = 1
    while line <= len(lines) and len(problems) < MOST_ERRORS:
        length = _length(lines, line)
        statement = lines[line - 1 : line - 1 + length]
        if statement != [""]:
            _, found = _parse("\n".join(statement))
            if found is not None:
                problems.append(_problem(found, line, shown[: line - 1 + length], is_statement=True))
                _take_out(lines, line, length)
        line += length
    return problems


def _between_statements(lines: list[str]) -> list[Problem]:
    """Read the whole, for what is wrong between statements: keys and tables that are there twice."""
    problems: list[Problem] = []
    shown = list(lines)
    while len(problems) < MOST_ERRORS:
        _, found = _parse("\n".join(lines))
        if found is None:
            break
        problem = _problem(found, 1, shown)
        if problems and problem.line <= problems[-1].line:
            break
        problems.append(problem)
        _take_out(lines, problem.line, 1)
    return problems


def _take_out(lines: list[str], line: int, length: int) -> None:
    """Blank a statement; a table gets another name, so that its keys don't land in the table before it."""
    is_table = lines[line - 1].lstrip().startswith("[")
    lines[line - 1 : line - 1 + length] = [""] * length
    if is_table:
        lines[line - 1] = f"[fault-in-line-{line}]"


def _length(lines: list[str], line: int) -> int:
    """Return how many lines the statement that starts at a line has; a lost end is taken to be near."""
    open_brackets: list[str] = []
    quote = ""
    for number in range(line, len(lines) + 1):
        if number > line and not quote and _is_new_statement(lines[number - 1], open_brackets):
            return number - line
        if number == line and lines[number - 1].lstrip().startswith("["):
            return 1
        quote = _brackets(lines[number - 1], open_brackets, quote)
        if not open_brackets and not quote:
            return number - line + 1
    return len(lines) - line + 1


def _is_new_statement(text: str, open_brackets: list[str]) -> bool:
    if _TABLE.match(text):
        return True
    return open_brackets[-1:] == ["["] and _PAIR.match(text) is not None


def _brackets(text: str, open_brackets: list[str], quote: str) -> str:
    """Follow brackets and quotes through a line; return the quotes of a string that goes on in the next."""
    at = 0
    while True:
        if quote:
            end = _END_OF_STRING[quote].match(text, at)
            if end is None:
                return quote
            at, quote = end.end(), ""
        found = _SIGN.search(text, at)
        if found is None or found[0] == "#":
            return ""
        at = found.end()
        if found[0] in _END_OF_STRING:
            quote = found[0]
        elif found[0] in "[{":
            open_brackets.append(found[0])
        elif found[0] in "]}" and open_brackets:
            open_brackets.pop()


_SIGN = pattern(r"\"\"\"|'''|\"(?:\\.|[^\"\\])*(?:\"|\Z)|'[^']*(?:'|\Z)|[\[\]{}#]")
_END_OF_STRING = {
    '"""': pattern(r'(?:\\.|[^\\])*?"""+|(?:\\.|[^\\])*?"""'),
    "'''": pattern(r".*?'''+"),
}
