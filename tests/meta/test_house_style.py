"""Sizes, docstrings and words of the repository's own text."""

import ast
import re
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
MODULES = sorted((ROOT / "src").rglob("*.py"))
LINES_IN_A_MODULE = 400
LINES_IN_A_FUNCTION = 60

FORBIDDEN = {
    "an absolute path of somebody's machine": r"(?<![\w.:/-])/(root|Users/\w+|home/\w+|work/(main|shared|iso|tree|flow))/\w",
    "the host of a package registry": r"(pypi\.|pythonhosted\.|registry\.npmjs\.|crates\.|rubygems\.)(org|io)\b",
    "a mark of unfinished work": r"\b(TO" + r"DO|FIX" + r"ME|XX" + r"X)\b",
    "a token that opens something": r"\b(ghp_|glpat-|AKIA)\w{12,}",
}


def label(path: Path) -> str:
    return str(path.relative_to(ROOT))


@pytest.mark.parametrize("path", MODULES, ids=label)
def test_module_is_short_and_documented(path: Path) -> None:
    text = path.read_text()
    tree = ast.parse(text)
    long = {
        node.name: size
        for node in ast.walk(tree)
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
        and (size := (node.end_lineno or 0) - node.lineno + 1) > LINES_IN_A_FUNCTION
    }
    assert (ast.get_docstring(tree) or "").strip()
    assert len(text.splitlines()) <= LINES_IN_A_MODULE
    assert not long


@pytest.mark.parametrize("path", sorted((ROOT / "src/runwright/core").rglob("*.py")), ids=label)
def test_core_reads_no_clock_and_opens_nothing(path: Path) -> None:
    calls = [node.func for node in ast.walk(ast.parse(path.read_text())) if isinstance(node, ast.Call)]
    attributes = {func.attr for func in calls if isinstance(func, ast.Attribute)}
    names = {func.id for func in calls if isinstance(func, ast.Name)}
    assert not attributes & {"now", "utcnow", "today", "urlopen"}
    assert not names & {"open", "print", "input", "urlopen"}


def repository_texts() -> list[tuple[str, str]]:
    listing = subprocess.run(["git", "ls-files", "-z"], cwd=ROOT, capture_output=True, text=True, check=True)
    files = [ROOT / name for name in listing.stdout.split("\0") if name]
    return [(label(file), file.read_text(errors="replace")) for file in files if file.is_file()]


@pytest.mark.parametrize("what", FORBIDDEN)
def test_no_file_holds(what: str) -> None:
    pattern = re.compile(FORBIDDEN[what])
    assert not [
        f"{name}:{number}: {line.strip()}"
        for name, text in repository_texts()
        for number, line in enumerate(text.splitlines(), 1)
        if pattern.search(line)
    ]


@pytest.mark.parametrize(
    ("what", "line"),
    [
        ("an absolute path of somebody's machine", "cd /" + "home/ann/project"),
        ("an absolute path of somebody's machine", "x = '/" + "root/x'"),
        ("the host of a package registry", "https://pypi" + ".org/simple"),
        ("a mark of unfinished work", "# TO" + "DO: later"),
        ("a token that opens something", "ghp" + "_0123456789abcdef"),
    ],
)
def test_the_patterns_find_what_they_name(what: str, line: str) -> None:
    assert re.search(FORBIDDEN[what], line)
