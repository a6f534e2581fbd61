"""What tasks hand on and what they are told, with the real shell and the real store; secrets that nobody may see."""

import base64
import json
import os
import sqlite3
from pathlib import Path

import pytest
from cli_project import Project, environment, stop, wait_until

SECRET = "hunter2-s3cr3t"


@pytest.fixture
def project(tmp_path: Path) -> Project:
    return Project(tmp_path)


def log(project: Project, task: str, *more: str) -> str:
    done = project("logs", "latest", task, *more)
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_values_go_from_task_to_task(project: Project) -> None:
    project.write("work.py", "def double(n):\n    return {'twice': 2 * int(n)}\n")
    project.write(
        "flow.toml",
        """
name = "flow"
[tasks.line]
cmd = "echo first; echo 'it'\\\\''s 21 '; echo"
register = "line"
[tasks.named]
cmd = '''printf 'n=21\\nspaced=a  b = c\\n' >> "$RUNWRIGHT_OUTPUT"'''
[tasks.each]
cmd = "echo {{.os}}-out"
matrix = { os = ["linux", "mac"] }
register = "built"
[tasks.python]
executor = "python"
depends_on = ["named"]
[tasks.python.args]
function = "work:double"
kwargs = { n = "{{.named.n}}" }
[tasks.end]
depends_on = ["line", "named", "each", "python"]
cmd = '''printf '<%s>\\n' {{.line}} {{.named.spaced}} {{.each[os=linux].built}} {{.each[os=mac].built}} {{.python.value}}'''
register = "last"
""",
    )
    done = project("run", "flow")
    assert done.returncode == 0, done.stdout + done.stderr
    expected = ["<it's 21>", "<a  b = c>", "<linux-out>", "<mac-out>", '<{"twice":42}>']
    assert log(project, "end").splitlines() == expected
    found = {v["name"]: v["value"] for v in project.json("inspect", "latest")["variables"]}
    assert found["each[os=mac].built"] == "mac-out"
    assert found["named.spaced"] == "a  b = c"
    assert found["last"] == expected[-1]


def test_two_owners_of_a_variable_are_told_apart_before_anything_runs(project: Project) -> None:
    project.write(
        "two.toml", '[tasks.a]\ncmd = "echo 1"\nregister = "v"\n[tasks.b]\ncmd = "echo 2"\nregister = "v"\n'
    )
    done = project("run", "two")
    assert done.returncode == 2
    assert '"v"' in done.stderr
    assert not (project.root / ".runwright").exists()


@pytest.mark.parametrize("clean", [False, True])
def test_the_environment_of_a_task(project: Project, clean: bool) -> None:
    project.write(
        "env.toml",
        """
name = "env"
[tasks.show]
matrix = { m = ["x"] }
cmd = "env -0 | tr '\\\\0' '\\\\n'"
[tasks.show.env]
OWN = "1"
""",
    )
    flags = ["--clean-env"] if clean else []
    done = project("run", "env", "--var", "region=eu", *flags, INHERITED="yes")
    assert done.returncode == 0, done.stdout + done.stderr
    env = dict(line.partition("=")[::2] for line in log(project, "show[m=x]").splitlines())
    run_id = project.latest()["id"]
    expected = {
        "RUNWRIGHT_RUN_ID": run_id,
        "RUNWRIGHT_WORKFLOW": "env",
        "RUNWRIGHT_TASK_ID": "show[m=x]",
        "RUNWRIGHT_ATTEMPT": "1",
        "RUNWRIGHT_VAR_region": "eu",
        "RUNWRIGHT_VAR_REGION": "eu",
        "RUNWRIGHT_VAR_M": "x",
        "OWN": "1",
    }
    assert {name: env.get(name) for name in expected} == expected
    assert ("INHERITED" in env) is not clean
    assert ("HOME" in env) is not clean


# -- secrets ---------------------------------------------------------------------------------------------------

NOISY = """
name = "noisy"
{secrets}
[tasks.out]
cmd = '''printf '%s' "$TOKEN" | cut -c1-5 | tr -d '\\n'; printf '%s\\n' "$TOKEN" | cut -c6-; echo "$TOKEN" >&2'''
[tasks.encoded]
cmd = '''printf '%s' "$TOKEN" | base64'''
[tasks.linger]
cmd = '''touch here; while [ ! -e go ]; do sleep 0.02; done; echo "$TOKEN"'''
cleanup = ['''echo "undo $TOKEN"''']
[tasks.bad]
depends_on = ["out", "linger"]
cmd = '''echo "failing for $TOKEN" >&2; exit 3'''
on_failure = "tell"
[tasks.tell]
type = "forensic"
cmd = '''echo {{.error_message}} "$TOKEN"'''
"""


def everything_written(project: Project) -> dict[str, bytes]:
    return {str(path): path.read_bytes() for path in project.root.rglob("*") if path.is_file()}


def all_arguments() -> bytes:
    found = b""
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit() and int(entry.name) != os.getpid():
            try:
                found += (entry / "cmdline").read_bytes()
            except OSError:
                continue
    return found


def run_noisy(project: Project, secrets: str) -> tuple[str, bytes]:
    """Run with a secret in the environment; returns all that was printed and all arguments of processes."""
    project.write("noisy.toml", NOISY.replace("{secrets}", secrets))
    process = project.start(
        "run", "noisy", "-j", "3", "--print-output", "--keep-going", env=environment(TOKEN=SECRET)
    )
    try:
        wait_until((project.root / "here").exists, "the task")
        arguments = all_arguments()
        project.write("go", "")
        out, _ = process.communicate(timeout=60)
        assert process.returncode == 1, out
    finally:
        stop(process)
    for words in (["inspect", "latest", "--json"], ["export", "latest"], ["explain", "latest", "bad"]):
        out += project(*words).stdout
    for words in (["logs", "latest"], ["audit", "latest"], ["status", "latest"], ["runs", "--json"]):
        out += project(*words).stdout
    return out, arguments


def test_a_secret_of_the_run_appears_nowhere(project: Project) -> None:
    out, arguments = run_noisy(project, 'secrets = ["TOKEN"]')
    assert SECRET not in out
    assert SECRET.encode() not in arguments
    forms = (SECRET.encode(), base64.b64encode(SECRET.encode()))
    assert [
        name for name, data in everything_written(project).items() for form in forms if form in data
    ] == []
    assert "failing for ***" in out
    row = sqlite3.connect(project.root / ".runwright" / "runs.db")
    assert row.execute("SELECT count(*) FROM runs").fetchone() == (1,)
    row.close()


def test_the_instrument_sees_a_secret_that_nobody_declared(project: Project) -> None:
    out, _ = run_noisy(project, "")
    assert SECRET in out
    holders = [name for name, data in everything_written(project).items() if SECRET.encode() in data]
    assert any("logs" in name for name in holders)
    assert any("runs.db" in name for name in holders)


def test_a_variable_that_would_hold_a_secret_fails_the_task(project: Project) -> None:
    project.write(
        "leak.toml",
        'name = "leak"\nsecrets = ["TOKEN"]\n[tasks.a]\ncmd = "echo $TOKEN"\nregister = "v"\n'
        '[tasks.b]\ndepends_on = ["a"]\ncmd = "echo {{.v}}"\n',
    )
    done = project("run", "leak", TOKEN=SECRET)
    assert done.returncode == 1
    assert SECRET not in done.stdout + done.stderr
    tasks = {task["id"]: task for task in project.json("status", "latest")["tasks"]}
    assert tasks["a"]["failure"]["code"] == "E_SECRET"
    assert not any(SECRET.encode() in data for data in everything_written(project).values())


@pytest.mark.parametrize("where", ["variable", "file"])
def test_what_would_store_a_secret_is_refused(project: Project, where: str) -> None:
    text = SECRET if where == "file" else "nothing"
    project.write("flow.toml", f'name = "flow"\nsecrets = ["TOKEN"]\n[tasks.a]\ncmd = "echo {text}"\n')
    words = ["--var", f"v=a{SECRET}b"] if where == "variable" else []
    done = project("run", "flow", *words, TOKEN=SECRET)
    assert done.returncode == 2
    assert "holds the value of a secret" in done.stderr
    assert SECRET not in done.stdout + done.stderr
    database = project.root / ".runwright" / "runs.db"
    if database.exists():
        assert SECRET.encode() not in database.read_bytes()
        assert project.json("runs") == []


def test_events_are_json_lines_without_the_secret(project: Project) -> None:
    project.write("one.toml", 'secrets = ["TOKEN"]\n[tasks.a]\ncmd = "echo <$TOKEN>; exit 1"\n')
    done = project("run", "one.toml", "--events", "jsonl", "--print-output", TOKEN=SECRET)
    kinds = [json.loads(line)["kind"] for line in done.stdout.splitlines()]
    assert kinds == ["run_started", "task_started", "task_output", "task_failed", "run_done"]
    assert SECRET not in done.stdout
