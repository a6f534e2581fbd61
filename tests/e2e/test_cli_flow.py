"""Workflows made in code from the command line: run, kill, resume, and every view of the run."""

import json
import os
import signal
import subprocess
from pathlib import Path

import pytest
from cli_project import Project, stop, wait_until

FLOW = """
import os, sys, time
from pathlib import Path
from runwright import Workflow

flow = Workflow("etl", secrets=["TOKEN"])


def note(word: str) -> None:
    with Path(__file__).with_name("journal").open("a") as file:
        file.write(word + "\\n")


@flow.task
def extract(day: str) -> list[int]:
    note("extract")
    return list(range(int(day)))


@flow.task(pickle=True)
def index(rows: list[int]) -> set[int]:
    note("index")
    return set(rows)


@flow.task
async def small() -> dict[str, int]:
    note("small")
    return {"a": 1}


@flow.task
def load(rows: list[int], known: set[int], small: dict[str, int]) -> int:
    note("load")
    while not Path("ready").exists():
        time.sleep(0.01)
    assert set(rows) == known
    return sum(rows) + small["a"]


@flow.task
def leak(rows: list[int]) -> list[str]:
    return [os.environ["TOKEN"], "x" * 100_000]


rows = extract(flow.param("day"))
load(rows, index(rows), small())

leaky = Workflow("leaky", secrets=["TOKEN"])
leaky.task(leak.function)([])
"""
COUNT = 100_000
TOTAL = sum(range(COUNT)) + 1


@pytest.fixture
def project(tmp_path: Path) -> Project:
    project = Project(tmp_path)
    project.write("runwright.toml", "")
    project.write("etl.py", FLOW)
    return project


def journal(project: Project) -> list[str]:
    file = project.root / "journal"
    return file.read_text().split() if file.exists() else []


def value(project: Project, task: str) -> object:
    tasks = project.json("inspect", "latest")["tasks"]
    return next(one["value"] for one in tasks if one["id"] == task)


@pytest.mark.parametrize("name", ["etl:flow", "etl.py:flow"])
def test_a_workflow_of_a_module_runs(project: Project, name: str) -> None:
    project.write("ready", "")
    done = project("run", name, "--var", f"day={COUNT}", "--workers", "2")
    assert done.returncode == 0, done.stdout + done.stderr
    assert sorted(journal(project)) == ["extract", "index", "load", "small"]
    assert value(project, "load") == TOTAL
    stored = value(project, "extract")
    assert isinstance(stored, dict)
    assert stored["$stored"]["form"] == "json"
    digest = stored["$stored"]["digest"]
    assert json.loads(
        (project.root / ".runwright/values" / digest[:2] / digest).read_bytes().partition(b"\n")[2]
    ) == list(range(COUNT))


def kill_while_it_loads(project: Project) -> None:
    process = project.start("run", "etl:flow", "--var", f"day={COUNT}")
    try:
        wait_until(lambda: "load" in journal(project), "load has begun")
        os.kill(process.pid, signal.SIGKILL)
    finally:
        stop(process)
    project.write("ready", "")


@pytest.mark.parametrize("how", [(), ("--pinned",)])
def test_after_a_kill_values_are_reused(project: Project, how: tuple[str, ...]) -> None:
    kill_while_it_loads(project)
    (project.root / "journal").unlink()
    done = project("resume", "latest", *how)
    assert done.returncode == 0, done.stdout + done.stderr
    assert journal(project) == ["load"]
    assert value(project, "load") == TOTAL


def test_a_resume_imports_the_module_again_wherever_it_is_called(project: Project) -> None:
    kill_while_it_loads(project)
    (project.root / "journal").unlink()
    project.write(
        "etl.py", FLOW.replace("small())\n", 'small())\nnote_again = small.with_options(key="again")()\n', 1)
    )
    (project.root / "below").mkdir()
    done = Project(project.root / "below")("resume", "latest")
    assert done.returncode == 0, done.stdout + done.stderr
    assert "again  is new" in done.stdout
    assert sorted(journal(project)) == ["load", "small"]


def test_a_module_that_is_gone_can_be_done_without(project: Project) -> None:
    kill_while_it_loads(project)
    project.write("etl.py", FLOW.replace("flow = Workflow", "renamed = flow = Workflow") + "\ndel flow\n")
    done = project("resume", "latest")
    assert done.returncode == 2
    assert 'module "etl" has no "flow"' in done.stderr
    assert "--pinned" in done.stderr
    done = project("resume", "latest", "--pinned")
    assert done.returncode == 0, done.stdout + done.stderr


def test_a_value_that_was_altered_reaches_nobody(project: Project) -> None:
    kill_while_it_loads(project)
    (project.root / "journal").unlink()
    for file in (project.root / ".runwright/values").rglob("*"):
        if file.is_file() and file.read_bytes().startswith(b"pickle"):
            file.write_bytes(file.read_bytes() + b"!")
    done = project("resume", "latest")
    assert done.returncode == 1
    assert "has been altered; remove the file, and run its task again" in done.stderr + done.stdout
    assert journal(project) == []
    done = project("resume", "latest", "--from", "index")
    assert done.returncode == 0, done.stdout + done.stderr
    assert journal(project) == ["index", "load"]


def test_a_large_value_with_a_secret_is_refused(project: Project) -> None:
    done = project("run", "etl:leaky", TOKEN="hush-hush-secret")
    assert done.returncode == 1
    assert "holds a secret of the run" in done.stderr + done.stdout
    found = subprocess.run(
        ["grep", "-rl", "hush-hush-secret", ".runwright"], cwd=project.root, capture_output=True, check=False
    )
    assert found.stdout == b""


def test_views_see_no_difference(project: Project) -> None:
    assert project("validate", "etl:flow", "etl.py:leaky").returncode == 0
    assert [one["name"] for one in project.json("validate", "etl:flow")] == ["etl"]
    assert "load" in project("graph", "etl:flow").stdout
    assert "load" in project("run", "etl:flow", "--dry-run", "--var", "day=1").stdout
    assert not (project.root / ".runwright").exists()
    assert project("run", "etl:flow", "--var", "day=1", "--only", "small").returncode == 0
    for command in ("status", "explain", "graph", "inspect", "audit"):
        done = project(command, "latest")
        assert done.returncode == 0, done.stderr
        assert "etl" in done.stdout


def test_what_is_missing_is_told(project: Project) -> None:
    for name, message in {
        "etl:flow": 'nothing sets "day"',
        "etl:flwo": 'did you mean "flow"?',
        "elt:flow": 'there is no module "elt"',
        "etl:note": "etl:note is a function, not a Workflow",
        "missing.py": "there is no file",
    }.items():
        done = project("run", name)
        assert done.returncode == 2, name
        assert message in done.stderr
        assert "Traceback" not in done.stderr
