"""Runs inside runs from the command line: outcomes, outputs, depth, cancellation, crash and secrets."""

import signal
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from cli_project import PATIENCE, Project, stop, wait_until

from runwright.engines.parent import DEEPEST

OUTER = """
name = "outer"
kill_grace = "60s"
[tasks.before]
cmd = "echo 7"
register = "number"
[tasks.middle]
depends_on = ["before"]
executor = "plan"
args = { file = "parts/inner.toml", variables = { given = "{{.number}}" }, outputs = ["made", "count"] }
[tasks.after]
depends_on = ["middle"]
cmd = "echo {{.middle.made}} {{.middle.count}} > after"
"""
INNER = """
name = "inner"
kill_grace = "60s"
[state]
count = 1
[[steps]]
name = "make"
exec = 'echo made >> trace; echo "made=$RUNWRIGHT_VAR_GIVEN things" >> "$RUNWRIGHT_STATE"'
cleanup = "echo undone >> trace"
[[steps]]
name = "work"
exec = "{work}"
"""
NAP = "echo $$ > pid; while :; do sleep 0.05; done"


@pytest.fixture
def project(tmp_path: Path) -> Project:
    return Project(tmp_path)


def nested(project: Project, work: str) -> None:
    project.write("outer.toml", OUTER)
    project.write("parts/inner.toml", INNER.replace("{work}", work))


def trace(project: Project) -> list[str]:
    path = project.root / "trace"
    return path.read_text().splitlines() if path.exists() else []


def children(project: Project) -> list[dict[str, Any]]:
    return [child["run"] for child in project.json("inspect", "latest")["children"]]


def test_a_plan_is_the_middle_of_a_workflow_and_its_outputs_go_on(project: Project) -> None:
    nested(project, "true")
    done = project("run", "outer")
    assert done.returncode == 0, done.stdout + done.stderr
    assert (project.root / "after").read_text() == "7 things 1\n"
    assert trace(project) == ["made", "undone"]
    (inner,) = children(project)
    outer = project.latest()
    assert (inner["kind"], inner["state"], inner["parent_task"]) == ("plan", "succeeded", "middle")
    assert inner["parent_id"] == outer["id"]
    assert "inner" in project("status", "latest").stdout
    assert [run["id"] for run in project.json("runs")] == [outer["id"]], "runs lists the outer ones"


def test_an_inner_run_that_fails_fails_its_task_with_the_reason(project: Project) -> None:
    nested(project, "echo broken >&2; exit 4")
    done = project("run", "outer")
    assert done.returncode == 1
    assert "plan inner failed: work failed: exit status 4" in done.stdout
    assert trace(project) == ["made", "undone"]
    assert not (project.root / "after").exists()


def test_an_output_that_is_not_set_is_an_error_that_names_it(project: Project) -> None:
    nested(project, "true")
    project.write(
        "outer.toml", OUTER.replace('"made", "count"', '"made", "mdae"').replace(" {{.middle.count}}", "")
    )
    done = project("run", "outer")
    assert done.returncode == 1
    assert "plan inner has set no mdae" in done.stdout
    assert trace(project) == ["made", "undone"], "the plan itself has done its work"


def test_faults_of_inner_files_are_shown_before_anything_runs(project: Project) -> None:
    nested(project, "true")
    text = (project.root / "parts" / "inner.toml").read_text()
    project.write("parts/inner.toml", text.replace("cleanup", "clenaup"))
    done = project("run", "outer")
    assert done.returncode == 2
    assert 'did you mean "cleanup"' in done.stderr
    assert trace(project) == []


def test_workflows_in_workflows_in_workflows(project: Project) -> None:
    task = '[tasks.a]\nexecutor = "workflow"\nargs = {{ file = "{}.toml", variables = {{ x = "{{{{.x}}}}{}" }}, outputs = ["y"] }}\n'
    pass_on = '[tasks.b]\ndepends_on = ["a"]\ncmd = "echo {{.a.y}}"\nregister = "y"\n[variables]\nx = "-"\n'
    project.write("one.toml", task.format("two", 1) + pass_on)
    project.write("two.toml", task.format("three", 2) + pass_on)
    project.write("three.toml", '[tasks.a]\ncmd = "echo {{.x}}3"\nregister = "y"\n[variables]\nx = "-"\n')
    done = project("run", "one", "--var", "x=0")
    assert done.returncode == 0, done.stdout + done.stderr
    record = project.json("inspect", "latest")
    values = {each["name"]: each["value"] for each in record["variables"]}
    assert values["y"] == "0123"
    (two,) = record["children"]
    (three,) = two["children"]
    assert three["run"]["parent_id"] == two["run"]["id"]
    assert project("audit", three["run"]["id"], "--verify").returncode == 0


def test_a_file_that_leads_back_to_itself_is_refused_with_the_way(project: Project) -> None:
    project.write("one.toml", '[tasks.a]\nexecutor = "workflow"\nargs = { file = "two.toml" }\n')
    project.write("two.toml", '[tasks.b]\nexecutor = "workflow"\nargs = { file = "one.toml" }\n')
    done = project("run", "one")
    assert done.returncode == 2
    assert "one.toml -> two.toml -> one.toml" in done.stderr


def test_a_circle_that_only_shows_while_it_runs_ends_with_a_limit(project: Project) -> None:
    """The file's name is a variable, so that nobody can see the circle before."""
    project.write(
        "one.toml",
        '[tasks.a]\nexecutor = "workflow"\n'
        'args = { file = "{{.file}}", variables = { file = "{{.file}}" } }\n[variables]\nfile = "one.toml"\n',
    )
    done = project("run", "one")
    assert done.returncode == 1
    record, depth = project.json("inspect", "latest"), 1
    while record["children"]:
        (inner,), depth = record["children"], depth + 1
        record = inner if inner["children"] else project.json("inspect", inner["run"]["id"])
    assert depth == 1 + DEEPEST
    assert f"more than {DEEPEST} deep" in record["tasks"][0]["reason"]


def test_secrets_of_the_outer_run_are_masked_in_the_inner_one(project: Project) -> None:
    nested(project, "echo it is $TOKEN")
    project.write("outer.toml", 'secrets = ["TOKEN"]\n' + OUTER)
    done = project("run", "outer", "--print-output", TOKEN="correct horse battery")
    assert done.returncode == 0, done.stdout + done.stderr
    (inner,) = children(project)
    log = project("logs", inner["id"]).stdout
    assert "it is " in log
    for text in (log, done.stdout, str(project.json("inspect", "latest"))):
        assert "correct horse" not in text
    stored = [path.read_bytes() for path in (project.root / ".runwright").rglob("*") if path.is_file()]
    assert stored
    assert not any(b"correct horse" in data for data in stored)
    project.write("outer.toml", OUTER)
    project("run", "outer", TOKEN="correct horse battery")
    assert "correct horse" in project("logs", children(project)[0]["id"]).stdout, (
        "the control: nothing is named"
    )


class Running:
    """An outer run whose inner plan is in the middle of a step."""

    def __init__(self, project: Project) -> None:
        self.project = project
        nested(project, NAP)
        self.process = project.start("run", "outer")
        wait_until(self.begun, "the step of the inner plan")

    def begun(self) -> bool:
        pid = self.project.root / "pid"
        return pid.exists() and bool(pid.read_text().strip())

    def step_lives(self) -> bool:
        return Path("/proc", (self.project.root / "pid").read_text().strip()).exists()


@pytest.fixture
def running(project: Project) -> Iterator[Running]:
    found = Running(project)
    yield found
    stop(found.process)


@pytest.mark.parametrize("how", ["signal", "cancel"])
def test_stopping_the_outer_run_cleans_the_inner_plan_up(running: Running, how: str) -> None:
    project = running.project
    if how == "signal":
        running.process.send_signal(signal.SIGINT)
    else:
        assert project("cancel", "latest").returncode == 0
    running.process.communicate(timeout=PATIENCE)
    assert running.process.returncode == (130 if how == "signal" else 1)
    assert not running.step_lives()
    assert trace(project) == ["made", "undone"]
    assert project.latest()["state"] == "cancelled"
    (inner,) = children(project)
    assert inner["state"] == "cancelled"
    assert inner["owner"] is None


def test_cancelling_the_inner_run_alone_fails_its_task(running: Running) -> None:
    project = running.project
    (inner,) = children(project)
    assert project("cancel", inner["id"], "--reason", "not this one").returncode == 0
    out, _ = running.process.communicate(timeout=PATIENCE)
    assert running.process.returncode == 1
    assert "not this one" in out
    assert project.latest()["state"] == "failed"
    assert trace(project) == ["made", "undone"]


def test_resume_of_a_killed_outer_run_continues_the_inner_plan(running: Running) -> None:
    project = running.project
    running.process.send_signal(signal.SIGKILL)
    running.process.wait()
    wait_until(lambda: not running.step_lives(), "the end of the step")
    assert trace(project) == ["made"], "the control: nothing is cleaned up by itself"
    (before,) = children(project)
    assert before["state"] == "interrupted"
    process = project.start("resume", "latest")
    try:
        wait_until(running.step_lives, "the step again")
        assert trace(project) == ["made"], "the step that stands is not done again"
        process.send_signal(signal.SIGINT)
        process.communicate(timeout=PATIENCE)
    finally:
        stop(process)
    assert trace(project) == ["made", "undone"]
    (after,) = children(project)
    assert after["id"] == before["id"], "it is the same inner run"
    assert after["resume_count"] == 1


def test_resume_of_an_inner_run_by_its_own_id_cleans_it_up(running: Running) -> None:
    project = running.project
    running.process.send_signal(signal.SIGKILL)
    running.process.wait()
    (inner,) = children(project)
    assert project("resume", inner["id"]).returncode == 0
    assert trace(project) == ["made", "undone"]
