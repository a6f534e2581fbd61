"""Faults of definitions, as a compiler shows them: place, line, caret, next step."""

from collections.abc import Iterator, Sequence

from runwright.cli.render.terminal import Out, cell_width, clean
from runwright.core.errors import Problem

TAB = "    "


def render_problems(problems: Sequence[Problem], out: Out, kind: str = "error") -> Iterator[str]:
    """Yield the lines for all problems, with their number at the end if there are several."""
    for problem in problems:
        yield from render_problem(problem, out, kind)
    if len(problems) > 1:
        yield out.paint(f"{len(problems)} {kind}s", "strong")


def render_problem(problem: Problem, out: Out, kind: str = "error") -> Iterator[str]:
    """Yield the lines for one problem.

    ::

        etl.toml:12:16: error: task "load" depends on "extrac", which does not exist
           12 | depends_on = ["extrac"]
              |                ^
              = did you mean "extract"?
    """
    label = out.paint(f"{kind}:", "bad" if kind == "error" else "warn")
    message = "\n".join(clean(part) for part in problem.message.split("\n"))
    yield f"{_place(problem, out)}{label} {message}"
    margin = "  "
    if problem.line and problem.source_line:
        number = f"{problem.line:>5}"
        margin = " " * len(number)
        yield from _source(problem, out, number)
    if problem.suggestion:
        sign = f"{margin} {out.paint('=', 'dim')} " if margin.strip() or len(margin) > 2 else margin
        yield f"{sign}{clean(problem.suggestion)}"


def _place(problem: Problem, out: Out) -> str:
    if not problem.file:
        return ""
    place = problem.file
    if problem.line:
        place += f":{problem.line}:{max(1, problem.column)}"
    return out.paint(clean(place), "strong") + ": "


def _source(problem: Problem, out: Out, number: str) -> Iterator[str]:
    bar = out.paint("|", "dim")
    column = max(1, problem.column) - 1
    text = problem.source_line
    room = (out.width or 160) - len(number) - 4
    if len(text) > room > 20:
        text, column = _window(text, column, room)
    yield f"{out.paint(number, 'dim')} {bar} {_shown(text)}"
    if problem.column:
        space = " " * cell_width(_shown(text[:column]))
        yield f"{' ' * len(number)} {bar} {space}{out.paint('^', 'bad')}"


def _shown(text: str) -> str:
    return clean(text.replace("\t", TAB))


def _window(text: str, column: int, room: int) -> tuple[str, int]:
    """Cut a long line so that the fault stays in sight; returns the piece and the column in it."""
    start = max(0, min(column - room // 2, len(text) - room))
    return text[start : start + room], column - start
