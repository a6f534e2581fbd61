"""`run` and `resume` by the installed command: what they print, write and return."""

import json
import re
import subprocess
from pathlib import Path

import pytest
from cli_project import Project, stop, wait_until

GOOD = """
name = "good"
[tasks.one]
cmd = "echo one; echo careful >&2"
register = "first"
[tasks.two]
cmd = "echo {{.first}} {{.who}}"
depends_on = ["one"]
[variables]
who = "world"
"""

BAD = """
name = "bad"
[tasks.first]
cmd = "true"
[tasks.breaks]
cmd = "echo it broke >&2; test -e mended"
depends_on = ["first"]
[tasks.after]
cmd = "true"
depends_on = ["breaks"]
"""


@pytest.fixture
def project(tmp_path: Path) -> Project:
    project = Project(tmp_path)
    project.write("good.toml", GOOD)
    project.write("bad.toml", BAD)
    return project


def test_a_run_that_succeeds(project: Project) -> None:
    done = project("run", "good.toml")
    assert done.returncode == 0
    assert done.stderr == ""
    assert "\x1b" not in done.stdout
    lines = [re.sub(r"  \d+ m?s$", "", line) for line in done.stdout.splitlines()]
    assert lines[1:5] == ["→ one", "✓ one", "→ two", "✓ two"]
    assert lines[-1] == "  2 tasks: 2 succeeded"
    assert project.latest()["id"] in done.stdout


def test_a_run_that_fails_says_why_and_what_next(project: Project) -> None:
    done = project("run", "bad")
    assert done.returncode == 1
    short = project.latest()["id"][:8]
    assert "  │ it broke" in done.stdout.splitlines()
    assert done.stdout.splitlines()[-2:] == [
        f"→ runwright logs {short} breaks",
        f"→ runwright resume {short}",
    ]


def test_a_resume_says_what_it_does_and_does_it(project: Project) -> None:
    project("run", "bad")
    before = project.state()
    planned = project("resume", "latest", "--dry-run")
    assert planned.returncode == 0
    assert "first  succeeded in attempt 1" in planned.stdout
    assert "breaks  failed: exit status 1" in planned.stdout
    assert planned.stdout.endswith("nothing was run\n")
    assert project.state() == before
    assert set(project.json("resume", "latest", "--dry-run")["redo"]) == {"breaks", "after"}
    assert project.state() == before
    project.write("mended", "")
    done = project("resume", "latest")
    assert done.returncode == 0
    assert done.stdout.index("reuse 1 task") < done.stdout.index("✓ breaks")
    assert project.latest()["resume_count"] == 1
    again = project("resume", "latest")
    assert again.returncode == 2
    assert "succeeded" in again.stderr


def test_bad_input_shows_every_fault_and_writes_nothing(project: Project) -> None:
    path = project.write("wrong.toml", 'nam = "x"\n[tasks.a]\ncmd = 3\ndepend_on = ["b"]\n')
    before = project.state()
    done = project("run", path.name)
    assert done.returncode == 2
    assert done.stdout == ""
    assert "Traceback" not in done.stderr
    places = re.findall(r"^wrong\.toml:(\d+):\d+: error: ", done.stderr, re.MULTILINE)
    assert {"1", "3", "4"} <= set(places)
    assert project.state() == before


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["run", "god"], 'did you mean "good"?'),
        (["run"], "FILE|NAME"),
        (["run", "good", "--only", "three"], '"three"'),
        (["run", "good", "-j", "0"], "no number of tasks"),
        (["run", "good", "--var", "x"], 'no "="'),
        (["run", "good", "--time", "3s"], "no option"),
        (["resume", "latest"], "no run"),
        (["run", "good", "--store", "mysql://x"], "sqlite:///"),
    ],
)
def test_bad_command_lines_write_nothing(project: Project, words: list[str], message: str) -> None:
    done = project(*words)
    assert done.returncode in {1, 2}
    assert message in done.stderr
    assert "Traceback" not in done.stderr
    assert not (project.root / ".runwright").exists()


def test_the_time_limit_has_its_own_status(project: Project) -> None:
    project.write("slow.toml", '[tasks.nap]\ncmd = "sleep 60"\n')
    done = project("run", "slow", "--timeout", "300ms")
    assert done.returncode == 124
    assert project.latest()["state"] == "cancelled"


@pytest.mark.parametrize("option", [(), ("--json",)])
def test_a_dry_run_shows_the_plan_and_writes_nothing(project: Project, option: tuple[str, ...]) -> None:
    before = project.state()
    done = project("run", "good", "--dry-run", *option)
    assert done.returncode == 0
    assert project.state() == before
    if option:
        plan = json.loads(done.stdout)
        assert [[task["id"] for task in level["tasks"]] for level in plan["levels"]] == [["one"], ["two"]]
        assert plan["total_tasks"] == 2
    else:
        assert "level 1\n  two  after one" in done.stdout


def test_a_dry_run_of_a_part(project: Project) -> None:
    done = project("run", "good", "--dry-run", "--only", "two", "-j", "2")
    assert "two" in done.stdout
    assert "level 0" not in done.stdout
    assert "1 task left out by --only" in done.stdout


def test_events_are_json_lines_and_nothing_else(project: Project) -> None:
    done = project("run", "bad", "--events", "jsonl", "--print-output")
    assert done.returncode == 1
    events = [json.loads(line) for line in done.stdout.splitlines()]
    kinds = [event["kind"] for event in events]
    assert kinds[0] == "run_started"
    assert kinds[-1] == "run_done"
    assert {"task_started", "task_done", "task_failed", "task_output"} <= set(kinds)
    assert events[-1]["run_state"] == "failed"
    assert [e["output"] for e in events if e["kind"] == "task_output"] == ["it broke\n"]
    assert done.stderr == ""


def test_the_summary_as_json(project: Project) -> None:
    done = project("run", "bad", "--json")
    assert done.returncode == 1
    found = json.loads(done.stdout)
    assert found["state"] == "failed"
    assert found["exit_status"] == 1
    assert [task["id"] for task in found["failed_tasks"]] == ["breaks"]
    assert found["failed_tasks"][0]["failure"]["stderr_tail"] == "it broke\n"
    resumed = project("resume", found["id"][:13], "--json")
    assert json.loads(resumed.stdout)["resume_count"] == 1
    assert "reuse 1 task" in resumed.stderr


def test_quiet_means_nothing_unless_it_fails(project: Project) -> None:
    done = project("run", "good", "--quiet")
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
    done = project("run", "bad", "-q")
    assert (done.returncode, done.stdout) == (1, "")
    assert "it broke" in done.stderr


def test_output_and_variables(project: Project) -> None:
    project.write("vars", "who=file\n")
    done = project("run", "good", "--print-output", "--var-file", "vars")
    assert "  │ one file" in done.stdout
    assert "  │ careful" in done.stdout
    done = project("run", "good", "--print-output", "--var-file", "vars", "--var", "who=you; exit 1 $(x)")
    assert "  │ one you; exit 1 $(x)" in done.stdout


@pytest.mark.parametrize("words", [["--parallel"], ["-j", "2"], ["--sequential"], ["--strategy", "levels"]])
def test_strategies_are_recorded(project: Project, words: list[str]) -> None:
    assert project("run", "good", *words, "--tag", "mine").returncode == 0
    expected = {
        "--parallel": "levels",
        "-j": "work-stealing",
        "--sequential": "sequential",
        "--strategy": "levels",
    }
    run = project.latest()
    assert run["strategy"] == expected[words[0]]
    assert run["tags"] == ["mine"]


def test_the_store_can_be_elsewhere(project: Project, tmp_path: Path) -> None:
    where = tmp_path / "elsewhere" / "my.db"
    assert project("run", "good", "--store", f"sqlite:///{where}").returncode == 0
    assert where.exists()
    assert not (project.root / ".runwright").exists()
    assert len(json.loads(project("runs", "--json", RUNWRIGHT_STORE=str(where)).stdout)) == 1
    assert project.json("runs") == []


def test_another_directory(project: Project, tmp_path: Path) -> None:
    inside = tmp_path / "deep" / "inside"
    inside.mkdir(parents=True)
    done = Project(inside)("-C", "../..", "run", "good")
    assert done.returncode == 0
    assert len(Project(inside).json("runs", "-C", str(tmp_path))) == 1


def test_a_reader_that_goes_away_does_not_break_the_run(project: Project) -> None:
    process = project.start("run", "good", "--print-output", stderr=subprocess.PIPE)
    assert process.stdout is not None
    assert process.stderr is not None
    process.stdout.close()
    assert process.stderr.read() == ""
    process.stderr.close()
    assert process.wait() == 0
    assert project.latest()["state"] == "succeeded"


def test_a_reader_that_sleeps_does_not_hold_the_run_up(project: Project) -> None:
    """The pipe is full long before the run has printed everything, yet the run ends in the store."""
    project.write(
        "loud.toml",
        '[tasks.say]\nmatrix = { n = ["1", "2", "3", "4"] }\ncmd = "head -c 65000 /dev/zero | tr \'\\\\0\' x"\n',
    )
    project("run", "good")
    process = project.start("run", "loud", "--print-output", stderr=subprocess.DEVNULL)
    try:
        wait_until(lambda: project.json("runs", "-w", "loud", "-s", "succeeded"), "the end")
        assert process.poll() is None, "the control: it can't have printed everything"
        assert process.stdout is not None
        assert process.stdout.read().count("x") >= 4 * 65000
        assert process.wait() == 0
    finally:
        stop(process)


def test_a_full_disk_behind_stdout_does_not_break_the_run(project: Project) -> None:
    with Path("/dev/full").open("w") as full:
        process = project.start("run", "good", stdout=full, stderr=subprocess.PIPE)
        assert process.stderr is not None
        assert "Traceback" not in process.stderr.read()
        process.stderr.close()
        assert process.wait() == 0
    assert project.latest()["state"] == "succeeded"


def test_names_cannot_drive_the_terminal(project: Project) -> None:
    project.write(
        "evil.toml",
        'name = "evil\\u001b[2J"\n[tasks.a]\nname = "x\\u001b]0;t\\u0007"\ncmd = "printf \'\\\\033[2Jhi\\\\n\' >&2; exit 1"\n',
    )
    done = project("run", "evil.toml", "--print-output")
    assert "\x1b" not in done.stdout
    assert "evil\\x1b[2J" in done.stdout
    for words in (["runs"], ["inspect", "latest"], ["explain", "latest", "a"], ["audit", "latest"], ["list"]):
        assert "\x1b" not in project(*words).stdout


def test_marks_fall_back_to_ascii(project: Project) -> None:
    done = project("run", "good", PYTHONIOENCODING="ascii")
    assert done.returncode == 0
    assert done.stdout.isascii()
    assert "+ one" in done.stdout
