"""Every malformed file of the corpora gives all its errors, each with its place and what to do.

Beside each ``NAME.toml`` stands ``NAME.json``: the errors in order, as line, column, message and suggestion.
``RUNWRIGHT_REWRITE=1`` writes them anew from what is found; look at the difference before you believe it.
"""

import json
import os
from collections.abc import Callable
from pathlib import Path

import pytest
from msgspec import Struct

from runwright.adapters.toml import load_goal, load_plan, load_workflow
from runwright.core.errors import DefinitionError

CORPUS = Path(__file__).parent.parent / "corpus"


class FunctionArgs(Struct, forbid_unknown_fields=True):
    function: str
    kwargs: dict[str, int] = {}


EXECUTORS = {"python": FunctionArgs, "free": None}
LOADERS: dict[str, Callable[[Path], object]] = {
    "malformed": lambda path: load_workflow(path, executor_args=EXECUTORS),
    "malformed_plans": load_plan,
    "malformed_goals": load_goal,
}
LEAST = {"malformed": 60, "malformed_plans": 25, "malformed_goals": 15}
FILES = [path for folder in LOADERS for path in sorted((CORPUS / folder).glob("*.toml"))]


@pytest.mark.parametrize("folder", LOADERS)
def test_the_corpus_is_large_enough_and_complete(folder: str) -> None:
    names = {path.stem for path in (CORPUS / folder).glob("*.toml")}
    assert len(names) >= LEAST[folder]
    assert names == {path.stem for path in (CORPUS / folder).glob("*.json")}


@pytest.mark.parametrize("path", FILES, ids=lambda path: f"{path.parent.name}/{path.stem}")
def test_all_errors_are_found_and_placed(path: Path) -> None:
    with pytest.raises(DefinitionError) as caught:
        LOADERS[path.parent.name](path)
    problems = caught.value.problems
    found = [[p.line, p.column, p.message, p.suggestion.replace(str(path), path.name)] for p in problems]
    expected = path.with_suffix(".json")
    if os.environ.get("RUNWRIGHT_REWRITE") == "1":
        expected.write_text(json.dumps(found, indent=1, ensure_ascii=False) + "\n")
    assert found == json.loads(expected.read_text())
    lines = (
        path.read_bytes().decode(errors="replace").removeprefix("\ufeff").replace("\r\n", "\n").split("\n")
    )
    for problem in problems:
        assert problem.file == str(path)
        assert problem.suggestion
        assert problem.source_line == lines[problem.line - 1]
        assert 1 <= problem.column <= len(problem.source_line) + 1
    assert caught.value.exit_status == 2
