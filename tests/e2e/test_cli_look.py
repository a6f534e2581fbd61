"""Looking at runs by the installed command: nothing is written, and what is written out can be used."""

import io
import json
import os
import subprocess
import tarfile
from pathlib import Path

import pytest
from cli_project import RUNWRIGHT, Project, environment

WORKFLOW = """
name = "shapes"
tags = ["demo"]
[tasks.make]
matrix = { os = ["linux", "mac/x"] }
cmd = "echo {{.os}}"
register = "name"
[tasks.flaky]
cmd = "echo try $RUNWRIGHT_ATTEMPT; test $RUNWRIGHT_ATTEMPT -gt 1"
retries = 1
[tasks.stop]
cmd = "echo stopped >&2; exit 4"
depends_on = ["make", "flaky"]
"""

LOOKING = [
    ["runs"],
    ["runs", "--json"],
    ["list"],
    ["validate"],
    ["status", "latest"],
    ["status", "latest", "--wait"],
    ["logs", "latest"],
    ["logs", "latest", "-f"],
    ["explain", "latest"],
    ["explain", "latest", "stop"],
    ["inspect", "latest"],
    ["audit", "latest"],
    ["audit", "--verify"],
    ["diff", "latest", "latest"],
    ["export", "latest"],
    ["resume", "latest", "--dry-run"],
    ["run", "shapes", "--dry-run"],
    ["graph", "shapes"],
    ["graph", "latest"],
    ["schema"],
    ["completion", "bash"],
]


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Project:
    project = Project(tmp_path_factory.mktemp("look"))
    project.write("shapes.toml", WORKFLOW)
    assert project("run", "shapes").returncode == 1
    return project


@pytest.mark.parametrize("words", LOOKING, ids=" ".join)
def test_looking_writes_nothing(project: Project, words: list[str]) -> None:
    before = project.state()
    done = project(*words)
    assert done.returncode in {0, 1}, done.stderr
    assert "Traceback" not in done.stderr
    assert "\x1b" not in done.stdout
    assert project.state() == before


def test_the_instrument_sees_what_is_written(project: Project) -> None:
    before = project.state()
    project("run", "shapes", "-q")
    assert project.state() != before


@pytest.mark.parametrize("words", LOOKING[:17], ids=" ".join)
def test_looking_where_there_is_nothing_writes_nothing(tmp_path: Path, words: list[str]) -> None:
    empty = Project(tmp_path)
    done = empty(*words)
    assert done.returncode in {0, 1, 2}
    assert "Traceback" not in done.stderr
    assert "bug" not in done.stderr
    assert not list(tmp_path.iterdir())


def test_looking_works_where_writing_is_not_allowed(project: Project) -> None:
    state = project.root / ".runwright"
    if os.geteuid() == 0:
        pytest.skip("nothing is forbidden to root")
    state.chmod(0o500)
    try:
        assert project("runs").returncode == 0
    finally:
        state.chmod(0o700)


def test_logs_name_tasks_and_attempts(project: Project) -> None:
    lines = project("logs", "latest").stdout.splitlines()
    assert "make[os=linux] | linux" in lines
    assert "make[os=mac/x] | mac/x" in lines
    assert "flaky#2 | try 2" in lines
    assert project("logs", "latest", "make[os=mac/x]").stdout == "mac/x\n"
    assert project("logs", "latest", "flaky", "--attempt", "2").stdout == "try 2\n"


def test_workflows_of_the_project(project: Project) -> None:
    (found,) = project.json("list")
    assert found["name"] == "shapes"
    assert found["tasks"] == 4
    assert found["tags"] == ["demo"]
    assert found["last_run"]["state"] == "failed"
    assert project.json("list", "--tag", "other") == []


def test_an_export_as_json(project: Project, tmp_path: Path) -> None:
    target = tmp_path / "run.json"
    assert project("export", "latest", "-o", target).returncode == 0
    assert target.stat().st_mode & 0o777 == 0o600
    found = json.loads(target.read_text())
    assert {"format", "exported_at", "run", "tasks", "attempts", "variables", "events", "definition"} <= set(
        found
    )
    assert json.loads(project("export", "latest").stdout)["run"] == found["run"]
    again = project("export", "latest", "-o", target)
    assert again.returncode == 2
    assert "--force" in again.stderr
    assert project("export", "latest", "-o", target, "--force").returncode == 0


@pytest.mark.parametrize("to_file", [True, False])
def test_an_export_with_logs(project: Project, tmp_path: Path, to_file: bool) -> None:
    target = tmp_path / "run.tar.gz"
    words = [RUNWRIGHT, "export", "latest", "-f", "tar"]
    done = subprocess.run(
        [*words, "-o", str(target)] if to_file else words,
        cwd=project.root,
        env=environment(),
        stdin=subprocess.DEVNULL,
        capture_output=True,
        check=True,
    )
    data = target.read_bytes() if to_file else done.stdout
    with tarfile.open(fileobj=io.BytesIO(data)) as archive:
        names = archive.getnames()
        assert len(names) == len(set(names))
        assert names[0] == "run.json"
        assert "logs/make[os=mac%2Fx]/1.log" in names
        assert {"logs/flaky/1.log", "logs/flaky/2.log"} <= set(names)
        member = archive.extractfile("logs/flaky/2.log")
        assert member is not None
        assert member.read() == b"try 2\n"
        assert all(entry.mode == 0o600 for entry in archive)
    if to_file:
        assert target.stat().st_mode & 0o777 == 0o600


def test_an_edited_event_is_found(project: Project, tmp_path: Path) -> None:
    import apsw

    kept = project.json("audit", "latest", "--verify")[0]["head"]
    assert project("audit", "latest", "--expect", kept).returncode == 0
    copy = tmp_path / "runs.db"
    copy.write_bytes((project.root / ".runwright" / "runs.db").read_bytes())
    assert project("audit", "--verify", "--store", str(copy)).returncode == 0, "the control"
    connection = apsw.Connection(str(copy))
    connection.execute("DROP TRIGGER IF EXISTS events_are_final")
    for (name,) in list(connection.execute("SELECT name FROM sqlite_master WHERE type = 'trigger'")):
        connection.execute(f'DROP TRIGGER "{name}"')
    connection.execute("DELETE FROM events WHERE seq = 3")
    connection.close()
    done = project("audit", "--verify", "--store", str(copy))
    assert done.returncode == 1
    assert "✗" in done.stdout


def test_errors_of_all_files(tmp_path: Path) -> None:
    project = Project(tmp_path)
    project.write("good.toml", '[tasks.a]\ncmd = "true"\n')
    project.write("workflows/one.toml", '[tasks.a]\ncmd = "true"\ndepends_on = ["b"]\nretries = -1\n')
    project.write("workflows/two.toml", "[tasks.a]\ncmd = \n")
    done = project("validate")
    assert done.returncode == 2
    assert "✓ good.toml  workflow, 1 task in 1 level" in done.stdout
    assert done.stderr.count("workflows/one.toml:") == 2
    assert "workflows/two.toml:2:" in done.stderr
    found = {one["path"]: one for one in json.loads(project("validate", "--json").stdout)}
    assert found["good.toml"]["valid"] is True
    assert found["workflows/one.toml"]["valid"] is False
    assert {error["line"] for error in found["workflows/one.toml"]["errors"]} == {3, 4}
    assert project("validate", "good.toml").returncode == 0
    assert project("validate", "none.toml").returncode == 2
    assert project("list").stdout.count("error") == 2
    assert not (tmp_path / ".runwright").exists()


def test_init_never_overwrites(tmp_path: Path) -> None:
    project = Project(tmp_path)
    assert project("init", "new").returncode == 0
    inside = Project(tmp_path / "new")
    assert inside("validate").returncode == 0
    assert inside("run", "hello", "--print-output").stdout.count("Hello from") == 1
    inside.write("workflows/hello.toml", "# mine\n")
    assert inside.json("init") == [
        {"path": "runwright.toml", "written": False},
        {"path": "workflows/hello.toml", "written": False},
    ]
    assert (tmp_path / "new/workflows/hello.toml").read_text() == "# mine\n"


def test_doctor(tmp_path: Path) -> None:
    project = Project(tmp_path)
    found = {check["name"]: check["result"] for check in project.json("doctor")}
    assert set(found) == {
        "python",
        "sqlite",
        "clock",
        "subreaper",
        "cgroups",
        "store",
        "disk",
        "processes",
        "runs",
    }
    assert "failure" not in found.values()
    assert not list(tmp_path.iterdir())
    project.write("a.toml", '[tasks.a]\ncmd = "true"\n')
    project("run", "a")
    (tmp_path / ".runwright").chmod(0o755)
    done = project("doctor")
    assert done.returncode == 0
    assert f"chmod 700 {tmp_path / '.runwright'}" in done.stdout


def test_plans_and_goals_beside_workflows(tmp_path: Path) -> None:
    project = Project(tmp_path)
    project.write("flow.toml", '[tasks.a]\ncmd = "true"\n')
    project.write("make.toml", 'tags = ["x"]\n[[steps]]\nname = "a"\nexec = "true"\n[[steps]]\npause = 1\n')
    project.write("tree.toml", 'plan = "true"\n')
    project.write("wrong.toml", 'plan = ""\n')
    project.write("garbled.toml", "a =\n")
    done = project("validate")
    assert done.returncode == 2
    assert "✓ flow.toml  workflow, 1 task in 1 level\n" in done.stdout
    assert "✓ make.toml  plan, 1 step, 1 pause\n" in done.stdout
    assert "✓ tree.toml  goal\n" in done.stdout
    assert 'wrong.toml:1:1: error: an element of "plan" is empty' in done.stderr
    checked = json.loads(project("validate", "--json").stdout)
    listed = project.json("list")
    for found in (checked, listed):
        assert {Path(one["path"]).name: (one["kind"], one["tasks"], one["valid"]) for one in found} == {
            "flow.toml": ("workflow", 1, True),
            "make.toml": ("plan", 2, True),
            "tree.toml": ("goal", None, True),
            "wrong.toml": ("goal", None, False),
            "garbled.toml": (None, None, False),
        }
    assert [one["name"] for one in project.json("list", "--tag", "x")] == ["make"]
    shown = {line.split()[0]: line.split()[1:4] for line in project("list").stdout.splitlines()}
    assert shown["NAME"][0] == "KIND"
    assert shown["make"] == ["plan", "2", "never"]
    assert shown["tree"] == ["goal", "never", "tree.toml"]
    assert shown["wrong"] == ["goal", "1", "error"]


def test_a_namesake_of_another_kind_has_runs_of_its_own(tmp_path: Path) -> None:
    project = Project(tmp_path)
    project.write("a.toml", 'name = "same"\n[tasks.a]\ncmd = "true"\n')
    project.write("b.toml", 'name = "same"\n[[steps]]\nname = "a"\nexec = "true"\n')
    assert project("run", "a").returncode == 0
    last = {one["kind"]: one["last_run"] for one in project.json("list")}
    assert last["workflow"]["state"] == "succeeded"
    assert last["plan"] is None


def test_the_wrong_command_for_a_file_names_the_right_one(tmp_path: Path) -> None:
    project = Project(tmp_path)
    project.write("make.toml", '[[steps]]\nname = "a"\nexec = "true"\n')
    project.write("tree.toml", 'plan = "true"\n')
    done = project("run", "make")
    assert done.returncode == 2
    assert "make.toml:1:3: error: this is a plan, not a workflow" in done.stderr
    assert 'run it with "runwright plan ' in done.stderr
    assert 'run it with "runwright reconcile tree.toml"' in project("run", "tree.toml").stderr
    assert not (tmp_path / ".runwright").exists()


@pytest.mark.parametrize("kind", ["workflow", "plan", "goal"])
def test_the_schema_is_one(project: Project, kind: str) -> None:
    from jsonschema import Draft202012Validator

    found = json.loads(project("schema", kind).stdout)
    Draft202012Validator.check_schema(found)
    assert found["title"] == f"Runwright {kind}"
    assert kind != "workflow" or found == json.loads(project("schema").stdout)


def test_there_is_no_schema_of_anything_else(project: Project) -> None:
    done = project("schema", "job")
    assert done.returncode == 2
    assert "job" in done.stderr
