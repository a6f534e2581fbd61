"""What the command line says to somebody who has made a small mistake."""

import json
from pathlib import Path

import pytest
from cli_project import Project

GREET = """
name = "greet"

[variables]
greeting = "hello"

[tasks.say]
cmd = "echo {{.greeting}}"
"""


@pytest.fixture
def project(tmp_path: Path) -> Project:
    made = Project(tmp_path)
    made.write("greet.toml", GREET)
    return made


def test_a_variable_that_nothing_reads_is_a_warning(project: Project) -> None:
    done = project("run", "greet", "--var", "greting=1", "--var", "other=2")
    assert done.returncode == 0
    assert done.stderr.splitlines() == [
        'warning: --var greting: nothing in the workflow reads it; did you mean "greeting"?',
        "warning: --var other: nothing in the workflow reads it; tasks see it as $RUNWRIGHT_VAR_other",
    ]


@pytest.mark.parametrize("words", [("--var", "greeting=1"), ("--var", "greting=1", "--quiet"), ()])
def test_nothing_is_said_of_others_or_when_quiet(project: Project, words: tuple[str, ...]) -> None:
    done = project("run", "greet", *words)
    assert (done.returncode, done.stderr) == (0, "")


def test_variables_of_a_file_may_serve_several_workflows(project: Project) -> None:
    project.write("more.env", "greting=1\n")
    assert project("run", "greet", "--var-file", "more.env").stderr == ""


def test_a_store_that_is_named_and_not_there_is_an_error(project: Project) -> None:
    done = project("runs", "--store", "nowhere/runs.db")
    assert (done.returncode, done.stdout) == (2, "")
    assert f"there is no store at {project.root}/nowhere/runs.db" in done.stderr
    assert not (project.root / "nowhere").exists()


def test_the_project_s_own_store_is_empty_until_it_is_made(project: Project) -> None:
    done = project("runs", "--json")
    assert (done.returncode, json.loads(done.stdout), done.stderr) == (0, [], "")
    done = project("runs", RUNWRIGHT_STORE="later.db")
    assert (done.returncode, done.stderr) == (0, "")


def test_a_dry_run_shows_what_is_known_and_nothing_that_is_left_out(project: Project) -> None:
    project.write(
        "copy.toml",
        """
[tasks.prepare]
cmd = "true"
[tasks.copy]
cmd = "cp {{.from}} {{.rest}}"
matrix = { from = ["a", "b"] }
depends_on = ["prepare"]
[tasks.end]
cmd = "true"
depends_on = ["copy[from=a]", "prepare"]
[variables]
rest = "c"
""",
    )
    whole = project("run", "copy.toml", "--dry-run").stdout
    assert "  copy[from=b]  after prepare  cp b {{.rest}}\n" in whole
    part = project("run", "copy.toml", "--only", "copy", "--only", "end", "--dry-run").stdout
    assert "  copy[from=a]  cp a {{.rest}}\n" in part
    assert "  end  after copy[from=a]  true\n" in part
    assert "prepare" not in part
