"""Resuming with the real command line and store: files that change, go away or break; what carries over."""

from pathlib import Path
from typing import Any

import pytest
from cli_project import Project

FLOW = """
name = "flow"
[tasks.one]
cmd = "echo 1-{version} >> journal; echo v{version}"
register = "made"
[tasks.two]
depends_on = ["one"]
cmd = "echo two {{{{.made}}}} >> journal; test -e good"
[tasks.three]
depends_on = ["two"]
cmd = "echo three {{{{.colour}}}} >> journal"
[tasks.aside]
cmd = "echo aside >> journal"
"""


@pytest.fixture
def project(tmp_path: Path) -> Project:
    """Return a project with a run that failed in the second of its tasks."""
    project = Project(tmp_path)
    write(project)
    done = project("run", "flow", "--var", "colour=red", "--keep-going")
    assert done.returncode == 1, done.stdout + done.stderr
    assert sorted(journal(project)) == ["1-1", "aside", "two v1"]
    (project.root / "journal").unlink()
    return project


def write(project: Project, version: int = 1) -> None:
    project.write("flow.toml", FLOW.format(version=version))


def journal(project: Project) -> list[str]:
    path = project.root / "journal"
    return path.read_text().splitlines() if path.exists() else []


def tasks(project: Project) -> dict[str, dict[str, Any]]:
    return {task["id"]: task for task in project.json("status", "latest")["tasks"]}


def test_what_succeeded_is_reused_and_values_are_there_again(project: Project) -> None:
    project.write("good", "")
    run_id = project.latest()["id"]
    done = project("resume", "latest")
    assert done.returncode == 0, done.stdout + done.stderr
    assert journal(project) == ["two v1", "three red"], "--var carries over"
    assert "succeeded in attempt 1" in done.stdout
    assert "failed: exit status 1" in done.stdout
    run = project.latest()
    assert (run["id"], run["resume_count"], run["state"]) == (run_id, 1, "succeeded")
    assert tasks(project)["two"]["attempts"] == 2
    assert project("audit", "--verify").returncode == 0


def test_var_overrides(project: Project) -> None:
    project.write("good", "")
    assert project("resume", "latest", "--var", "colour=blue", "--var", "made=mine").returncode == 0
    assert journal(project) == ["two mine", "three blue"]


def test_a_dry_run_writes_nothing(project: Project) -> None:
    before = project.state()
    done = project("resume", "latest", "--dry-run")
    assert done.returncode == 0
    assert "two" in done.stdout
    assert project.state() == before


def test_what_changed_runs_with_the_new_text_and_all_that_follows(project: Project) -> None:
    write(project, 2)
    project.write("good", "")
    done = project("resume", "latest")
    assert done.returncode == 0, done.stdout + done.stderr
    assert "its cmd changed" in done.stdout
    assert journal(project) == ["1-2", "two v2", "three red"]


def test_pinned_keeps_the_text(project: Project) -> None:
    write(project, 2)
    project.write("good", "")
    assert project("resume", "latest", "--pinned").returncode == 0
    assert journal(project) == ["two v1", "three red"]


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        (["--from", "one"], ["1-1", "two v1", "three red"]),
        (["--from", "aside"], ["aside", "two v1", "three red"]),
        (["--only", "two"], ["two v1"]),
    ],
)
def test_from_and_only_choose(project: Project, words: list[str], expected: list[str]) -> None:
    project.write("good", "")
    project("resume", "latest", *words)
    assert sorted(journal(project)) == sorted(expected)


def test_a_file_that_is_gone_leaves_the_pinned_definition(project: Project) -> None:
    (project.root / "flow.toml").unlink()
    project.write("good", "")
    done = project("resume", "latest")
    assert done.returncode == 0, done.stdout + done.stderr
    assert journal(project) == ["two v1", "three red"]


@pytest.mark.parametrize(
    "fault", ['[tasks.one]\ncmd = "x"\ndepend_on = []\n', "[tasks", '[tasks.x]\ncmd = "echo {{.nobody}}"\n']
)
def test_a_file_that_has_become_wrong_suggests_pinned(project: Project, fault: str) -> None:
    project.write("flow.toml", fault)
    before = project.json("audit", "latest")
    done = project("resume", "latest")
    assert done.returncode == 2
    assert "flow.toml" in done.stderr
    assert "--pinned" in done.stderr
    assert "Traceback" not in done.stderr
    assert project.json("audit", "latest") == before
    project.write("good", "")
    assert project("resume", "latest", "--pinned").returncode == 0


def test_a_run_that_succeeded_is_refused(project: Project) -> None:
    project.write("good", "")
    assert project("resume", "latest").returncode == 0
    before = project.json("audit", "latest")
    done = project("resume", "latest")
    assert done.returncode == 2
    assert "has succeeded" in done.stderr
    assert project.json("audit", "latest") == before


def test_more_workers_may_be_asked_for(project: Project) -> None:
    project.write("good", "")
    assert project("resume", "latest", "-j", "4").returncode == 0
    run = project.latest()
    assert (run["workers"], run["strategy"]) == (4, "work-stealing")


def test_every_strategy_gives_the_same_outcomes(tmp_path: Path) -> None:
    found = []
    for words in (["--sequential"], ["--parallel", "-j", "3"], ["--work-stealing", "-j", "3"]):
        project = Project(tmp_path / words[0])
        project.root.mkdir()
        project.write(
            "mixed.toml",
            """
name = "mixed"
on_failure = "all"
[tasks.a]
cmd = "test -e again || { touch again; exit 75; }"
retries = 1
retry_on = [75]
[tasks.b]
depends_on = ["a"]
cmd = "echo {{.m}}; test {{.m}} != y"
matrix = { m = ["x", "y", "z"] }
on_failure = "tell"
[tasks.c]
depends_on = ["b"]
cmd = "true"
[tasks.d]
depends_on = ["b[m=x]"]
cmd = "true"
[tasks.e]
depends_on = ["b"]
if = "failed()"
cmd = "true"
[tasks.f]
cmd = "exit 4"
ignore_failure = true
[tasks.g]
depends_on = ["f"]
cmd = "sleep 60"
timeout = "200ms"
[tasks.tell]
type = "forensic"
cmd = "echo {{.failed_task}}"
[tasks.all]
type = "forensic"
cmd = "echo {{.failed_tasks}}"
""",
        )
        done = project("run", "mixed", "--keep-going", *words)
        assert done.returncode == 1, done.stdout + done.stderr
        rows = tasks(project).values()
        found.append(
            {
                row["id"]: (row["state"], row["attempts"], (row.get("failure") or {}).get("code"))
                for row in rows
            }
        )
    assert found[0] == found[1] == found[2]
    assert found[0] == {
        "a": ("succeeded", 2, None),
        "b[m=x]": ("succeeded", 1, None),
        "b[m=y]": ("failed", 1, "E_EXIT"),
        "b[m=z]": ("succeeded", 1, None),
        "c": ("cancelled", 0, None),
        "d": ("succeeded", 1, None),
        "e": ("succeeded", 1, None),
        "f": ("failed", 1, "E_EXIT"),
        "g": ("failed", 1, "E_TIMEOUT"),
        "tell@b[m=y]": ("succeeded", 1, None),
        "all@*": ("succeeded", 1, None),
    }
