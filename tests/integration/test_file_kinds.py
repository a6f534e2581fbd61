"""Which kind of thing a file defines, and what is said to who takes it for another."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from runwright import wiring
from runwright.core.errors import DefinitionError, Problem
from runwright.core.goal import GoalDefinition
from runwright.core.kinds import FileKind, kind_of
from runwright.core.plan import PlanDefinition
from runwright.core.workflow import Workflow

TEXTS = {
    FileKind.WORKFLOW: '[tasks.a]\ncmd = "true"\n',
    FileKind.PLAN: '[[steps]]\nname = "a"\nexec = "true"\n',
    FileKind.GOAL: 'plan = "true"\n',
}
LOADERS: dict[FileKind, Callable[[Path], Any]] = {
    FileKind.WORKFLOW: wiring.load,
    FileKind.PLAN: wiring.load_plan,
    FileKind.GOAL: wiring.load_goal,
}
RECORDS = {FileKind.WORKFLOW: Workflow, FileKind.PLAN: PlanDefinition, FileKind.GOAL: GoalDefinition}
COMMANDS = {FileKind.WORKFLOW: "run", FileKind.PLAN: "plan", FileKind.GOAL: "reconcile"}


def write(folder: Path, kind: FileKind) -> Path:
    path = folder / f"{kind.value}.toml"
    path.write_text("# first\n" + TEXTS[kind])
    return path


def problem_of(action: Callable[[], object]) -> Problem:
    with pytest.raises(DefinitionError) as caught:
        action()
    (problem,) = caught.value.problems
    return problem


@pytest.mark.parametrize(
    ("data", "kind"),
    [
        ({"steps": []}, FileKind.PLAN),
        ({"tasks": {}}, FileKind.WORKFLOW),
        ({"plan": ""}, FileKind.GOAL),
        ({"plan": "", "tasks": {}, "steps": 1}, FileKind.PLAN),
        ({"plan": "", "tasks": {}}, FileKind.WORKFLOW),
        ({"name": "x"}, None),
        ({}, None),
    ],
)
def test_a_key_tells_the_kind(data: dict[str, Any], kind: FileKind | None) -> None:
    assert kind_of(data) is kind


@pytest.mark.parametrize("kind", FileKind)
def test_each_kind_is_read_by_its_own_loader_and_by_the_one_for_all(tmp_path: Path, kind: FileKind) -> None:
    path = write(tmp_path, kind)
    assert wiring.kind_of(str(path)) is kind
    loaded = LOADERS[kind](path)
    assert type(loaded.definition) is RECORDS[kind]
    assert wiring.load_any(path) == loaded
    assert (loaded.path, loaded.source_text) == (path, path.read_text())


@pytest.mark.parametrize("wanted", FileKind)
@pytest.mark.parametrize("kind", FileKind)
def test_a_file_of_another_kind_is_named_with_its_command(
    tmp_path: Path, kind: FileKind, wanted: FileKind
) -> None:
    path = write(tmp_path, kind)
    if kind is wanted:
        LOADERS[wanted](path)
        return
    problem = problem_of(lambda: LOADERS[wanted](path))
    assert problem.message == f"this is a {kind.value}, not a {wanted.value}"
    assert problem.suggestion == f'run it with "runwright {COMMANDS[kind]} {path}"'
    assert (problem.file, problem.line) == (str(path), 2)
    assert problem.source_line == TEXTS[kind].partition("\n")[0]


@pytest.mark.parametrize(
    ("kind", "message"),
    [
        (FileKind.WORKFLOW, "a workflow needs at least one task"),
        (FileKind.PLAN, "a plan needs at least one step"),
        (FileKind.GOAL, "a goal needs a command that prints the actions still needed"),
    ],
)
def test_a_file_that_does_not_tell_gets_the_error_of_the_command(
    tmp_path: Path, kind: FileKind, message: str
) -> None:
    path = tmp_path / "x.toml"
    path.write_text('name = "x"\n')
    assert wiring.kind_of(path) is None
    assert problem_of(lambda: LOADERS[kind](path)).message == message
    assert problem_of(lambda: wiring.load_any(path)).message == "a workflow needs at least one task"


def test_a_stray_key_of_another_kind_is_an_unknown_key(tmp_path: Path) -> None:
    path = tmp_path / "x.toml"
    path.write_text('plan = "true"\n' + TEXTS[FileKind.WORKFLOW])
    assert problem_of(lambda: wiring.load(path)).message == 'unknown key "plan"'


def test_variables_from_outside_reach_a_goal_and_a_workflow(tmp_path: Path) -> None:
    path = tmp_path / "x.toml"
    path.write_text('plan = "echo {{.v}}"\n')
    assert wiring.load_goal(path, ["v"]) == wiring.load_any(path, ["v"])
    assert problem_of(lambda: wiring.load_any(path)).message == 'nothing sets "v"'
    path.write_text('tasks.a.cmd = "echo {{.v}}"\n')
    assert wiring.load_any(path, ["v"]) == wiring.load(path, ["v"])


def test_warnings_have_their_place(tmp_path: Path) -> None:
    for kind, name in ((FileKind.PLAN, "plan"), (FileKind.GOAL, "goal")):
        path = tmp_path / f"{name}.toml"
        path.write_text('\nname = "other"\n' + TEXTS[kind])
        (warning,) = wiring.load_any(path).warnings
        assert (warning.line, warning.column, warning.file) == (2, 1, str(path))


@pytest.mark.parametrize("load", [wiring.kind_of, wiring.load_any, wiring.load_plan, wiring.load_goal])
def test_what_is_no_file_or_no_toml_is_refused(tmp_path: Path, load: Callable[[Path], object]) -> None:
    assert "there is no such file" in problem_of(lambda: load(tmp_path / "x.toml")).message
    path = tmp_path / "y.toml"
    path.write_text("a = 1\nb = \n")
    problem = problem_of(lambda: load(path))
    assert problem.message.startswith("not valid TOML")
    assert (problem.file, problem.line) == (str(path), 2)
