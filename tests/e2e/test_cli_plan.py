"""Plans from the command line: ends and exit statuses, signals, state, resume, and runs inside runs."""

import json
import signal
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from cli_project import PATIENCE, Project, stop, wait_until

STEPS = """
name = "steps"
kill_grace = "{grace}"
[[steps]]
name = "first"
exec = "echo made >> trace"
cleanup = "echo 'first undone' >> trace"
[[steps]]
name = "second"
exec = "{work}"
cleanup = "echo 'second undone' >> trace"
[[steps]]
name = "third"
exec = "echo third >> trace"
"""
NAP = "echo $$ > pid; while :; do sleep 0.05; done"
STUBBORN = "trap '' TERM; " + NAP


@pytest.fixture
def project(tmp_path: Path) -> Project:
    return Project(tmp_path)


def steps(project: Project, work: str, grace: str = "60s") -> None:
    project.write("steps.toml", STEPS.format(work=work, grace=grace))


def trace(project: Project) -> list[str]:
    path = project.root / "trace"
    return path.read_text().splitlines() if path.exists() else []


def states(project: Project, run: str = "latest") -> dict[str, str]:
    return {task["id"]: task["state"] for task in project.json("inspect", run)["tasks"]}


# -- ends -------------------------------------------------------------------------------------------------------


def test_a_plan_that_succeeds_is_cleaned_up_last_to_first(project: Project) -> None:
    steps(project, "echo second >> trace")
    done = project("plan", "steps")
    assert done.returncode == 0, done.stderr
    assert trace(project) == ["made", "second", "third", "second undone", "first undone"]
    assert project.latest()["state"] == "succeeded"
    assert project("audit", "--verify").returncode == 0


def test_a_step_that_fails_ends_it_with_1_and_only_what_succeeded_is_cleaned_up(project: Project) -> None:
    steps(project, "echo no >&2; exit 3")
    done = project("plan", "steps.toml")
    assert done.returncode == 1
    assert trace(project) == ["made", "first undone"]
    run = project.latest()
    assert run["state"] == "failed"
    assert run["reason"] == "second failed: exit status 3"
    assert states(project)["third"] == "cancelled"


def test_a_cleanup_that_fails_ends_it_with_1_and_stops_no_other(project: Project) -> None:
    steps(project, "echo second >> trace")
    text = (project.root / "steps.toml").read_text()
    project.write("steps.toml", text.replace("echo 'second undone' >> trace", "exit 9"))
    done = project("plan", "steps")
    assert done.returncode == 1
    assert trace(project)[-1] == "first undone"
    run = project.latest()
    assert run["state"] == "succeeded", "a failed cleanup does not change what the plan has done"
    assert "cleanup of second failed: exit status 9" in run["reason"]
    assert json.loads(project("plan", "steps", "--json").stdout)["exit_status"] == 1
    assert "second cleanup" in project("plan", "steps", "--quiet").stderr


def test_bad_files_and_options_end_it_with_2_before_anything_runs(project: Project) -> None:
    project.write("bad.toml", '[[steps]]\nname = "a"\nexce = "touch ran"\n[[steps]]\npause = "-1s"\n')
    done = project("plan", "bad.toml")
    assert done.returncode == 2
    assert 'did you mean "exec"' in done.stderr
    assert "bad.toml:5" in done.stderr, "all errors at once"
    assert project("plan", "nowhere.toml").returncode == 2
    steps(project, "true")
    assert project("plan", "steps", "--json", "--events", "jsonl").returncode == 2
    assert not (project.root / "trace").exists()


def test_the_time_limit_ends_it_with_124_and_cleans_up(project: Project) -> None:
    steps(project, NAP)
    begun = time.monotonic()
    done = project("plan", "steps", "--timeout", "500ms")
    assert done.returncode == 124
    assert time.monotonic() - begun < PATIENCE / 2
    assert trace(project) == ["made", "first undone"]
    run = project.latest()
    assert run["state"] == "cancelled"
    assert "500ms" in run["reason"] or "0.5 s" in run["reason"]


def test_the_limit_of_the_file_breaks_off_a_pause_at_once(project: Project) -> None:
    project.write(
        "p.toml",
        'limit_duration = "300ms"\n[[steps]]\nname = "a"\nexec = "touch a"\ncleanup = "rm a"\n[[steps]]\npause = "1h"\n',
    )
    assert project("plan", "p.toml").returncode == 124
    assert not (project.root / "a").exists()


def test_continue_on_error_goes_on_and_still_fails(project: Project) -> None:
    steps(project, "exit 3")
    text = (project.root / "steps.toml").read_text()
    project.write("steps.toml", "continue_on_error = true\n" + text)
    assert project("plan", "steps").returncode == 1
    assert trace(project) == ["made", "third", "first undone"]


# -- what is shown ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("options", [(), ("--json",), ("--var", "x=1", "--timeout", "1s")])
def test_dry_run_writes_nothing(project: Project, options: tuple[str, ...]) -> None:
    steps(project, "echo second >> trace")
    before = project.state()
    done = project("plan", "steps", "--dry-run", *options)
    assert done.returncode == 0
    assert "second" in done.stdout
    assert project.state() == before
    project("plan", "steps")
    assert project.state() != before, "the control: a real run does write"


def test_print_output_shows_what_hooks_print(project: Project) -> None:
    steps(project, "echo something to say")
    assert "something to say" not in project("plan", "steps").stdout
    assert "something to say" in project("plan", "steps", "--print-output").stdout


def test_json_is_one_summary_and_events_are_lines(project: Project) -> None:
    steps(project, "true")
    done = project("plan", "steps", "--json")
    summary = json.loads(done.stdout)
    assert (summary["kind"], summary["state"], summary["exit_status"]) == ("plan", "succeeded", 0)
    lines = project("plan", "steps", "--events", "jsonl").stdout.splitlines()
    events: list[dict[str, Any]] = [json.loads(line) for line in lines]
    assert [event["kind"] for event in events][:1] == ["run_started"]
    assert events[-1]["kind"] == "run_done"
    done_in_order = [event["task_id"] for event in events if event["kind"] == "task_done"]
    assert done_in_order == ["first", "second", "third", "second.cleanup", "first.cleanup"]


def test_quiet_says_nothing_unless_it_fails(project: Project) -> None:
    steps(project, "true")
    done = project("plan", "steps", "--quiet")
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
    steps(project, "exit 3")
    done = project("plan", "steps", "--quiet")
    assert done.returncode == 1
    assert "second" in done.stdout + done.stderr


# -- state ------------------------------------------------------------------------------------------------------


def test_steps_in_any_language_share_the_state(project: Project) -> None:
    project.write(
        "count.py",
        "import json, os, sys\n"
        "path = os.environ['RUNWRIGHT_STATE']\n"
        "state = json.load(open(path))\n"
        "state['numbers'].append(state['numbers'][-1] + 1)\n"
        "state['by'] = 'python'\n"
        "json.dump(state, open(path, 'w'))\n",
    )
    project.write(
        "p.toml",
        f"""
        [state]
        numbers = [1]
        [[steps]]
        name = "python"
        exec = "{sys.executable} count.py"
        [[steps]]
        name = "shell"
        exec = '''
        test "$RUNWRIGHT_VAR_BY" = python
        echo "seen={{{{.numbers}}}} it's" >> "$RUNWRIGHT_STATE"
        '''
        [[steps]]
        name = "again"
        exec = "{sys.executable} count.py && echo {{{{.seen}}}} > seen"
        """,
    )
    done = project("plan", "p.toml")
    assert done.returncode == 0, done.stdout + done.stderr
    assert (project.root / "seen").read_text() == "[1,2] it's\n"
    values = {
        each["name"]: json.loads(each["value"]) for each in project.json("inspect", "latest")["variables"]
    }
    assert values == {"numbers": [1, 2, 3], "by": "python", "seen": "[1,2] it's"}


def test_var_gives_a_value_of_the_state(project: Project) -> None:
    project.write("p.toml", '[state]\nwho = "nobody"\n[[steps]]\nname = "a"\nexec = "echo {{.who}} > who"\n')
    assert project("plan", "p.toml", "--var", "who=Ada; rm -rf /").returncode == 0
    assert (project.root / "who").read_text() == "Ada; rm -rf /\n"


# -- stopping ---------------------------------------------------------------------------------------------------


class Running:
    """A plan in the middle of its second step."""

    def __init__(self, project: Project, work: str, grace: str) -> None:
        self.project = project
        steps(project, work, grace)
        self.process = project.start("plan", "steps")
        wait_until(self.begun, "the step")

    def begun(self) -> bool:
        pid = self.project.root / "pid"
        return pid.exists() and bool(pid.read_text().strip())

    def step_lives(self) -> bool:
        return Path("/proc", (self.project.root / "pid").read_text().strip()).exists()

    def ended(self) -> int:
        self.process.communicate(timeout=PATIENCE)
        return self.process.returncode


@pytest.fixture
def running(project: Project, request: pytest.FixtureRequest) -> Iterator[Running]:
    work, grace = getattr(request, "param", (NAP, "60s"))
    found = Running(project, work, grace)
    yield found
    stop(found.process)


stubborn = pytest.mark.parametrize("running", [(STUBBORN, "60s")], indirect=True)


@pytest.mark.parametrize(
    ("number", "status"), [(signal.SIGINT, 130), (signal.SIGTERM, 143), (signal.SIGHUP, 129)]
)
def test_one_signal_breaks_off_the_step_and_cleans_up(running: Running, number: int, status: int) -> None:
    running.process.send_signal(number)
    assert running.ended() == status
    assert not running.step_lives()
    assert trace(running.project) == ["made", "first undone"]
    assert running.project.latest()["state"] == "cancelled"


@stubborn
def test_a_second_signal_skips_the_grace_and_cleans_up(running: Running) -> None:
    running.process.send_signal(signal.SIGINT)
    assert running.process.stdout is not None
    for line in running.process.stdout:
        if "stopping" in line:
            break
    assert running.process.poll() is None, "the control: within its grace the step goes on"
    assert running.step_lives()
    running.process.send_signal(signal.SIGINT)
    assert running.ended() == 130
    assert not running.step_lives()
    assert trace(running.project) == ["made", "first undone"]


@stubborn
def test_three_signals_leave_at_once_and_resume_cleans_up(running: Running) -> None:
    deadline = time.monotonic() + PATIENCE
    while running.process.poll() is None:
        assert time.monotonic() < deadline
        running.process.send_signal(signal.SIGTERM)
        time.sleep(0.01)
    assert running.process.returncode in (143, -signal.SIGTERM)
    wait_until(lambda: not running.step_lives(), "the end of the step")
    project = running.project
    if project.latest()["state"] == "interrupted":
        assert project("resume", "latest").returncode == 0
    assert trace(project)[-1] == "first undone"


def test_cancel_from_elsewhere_waits_for_the_cleanups(running: Running) -> None:
    done = running.project("cancel", "latest", "--reason", "lunch")
    assert done.returncode == 0
    assert trace(running.project) == ["made", "first undone"]
    assert running.ended() == 1
    assert running.project.latest()["reason"] == "lunch"


# -- resume -----------------------------------------------------------------------------------------------------


def written(project: Project) -> dict[str, str]:
    """Return what is in the project, apart from the index of a log that nobody has closed, where readers leave marks."""
    return {name: what for name, what in project.state().items() if not name.endswith("-shm")}


def killed(running: Running) -> Project:
    running.process.send_signal(signal.SIGKILL)
    running.process.wait()
    wait_until(lambda: not running.step_lives(), "the end of the step")
    return running.project


def test_resume_cleans_up_what_a_killed_plan_has_left(running: Running) -> None:
    project = killed(running)
    assert trace(project) == ["made"], "the control: nothing is cleaned up by itself"
    before = written(project)
    shown = project("resume", "latest", "--dry-run")
    assert "second  its engine died in the middle of it" in shown.stdout
    assert written(project) == before
    done = project("resume", "latest")
    assert done.returncode == 0, done.stderr
    assert trace(project) == ["made", "second undone", "first undone"], "steps in doubt are cleaned up too"
    again = project("resume", "latest")
    assert again.returncode == 2
    assert "nothing to clean up" in again.stderr
    assert trace(project).count("first undone") == 1
    assert project("audit", "--verify").returncode == 0


def test_resume_with_continue_goes_on_where_it_was(running: Running) -> None:
    project = killed(running)
    steps(project, "echo second >> trace")
    done = project("resume", "latest", "--continue")
    assert done.returncode == 0, done.stderr
    assert trace(project) == ["made", "second undone", "second", "third", "second undone", "first undone"]
    assert project.latest()["state"] == "succeeded"
    assert states(project)["first"] == "succeeded"


def test_a_failed_plan_has_nothing_left_and_can_be_continued(project: Project) -> None:
    steps(project, "test -e ready")
    assert project("plan", "steps").returncode == 1
    assert project("resume", "latest").returncode == 2
    project.write("ready", "")
    assert project("resume", "latest", "--continue").returncode == 0
    assert trace(project) == ["made", "first undone", "made", "third", "second undone", "first undone"]
    done = project("resume", "latest", "--continue")
    assert done.returncode == 2
    assert "has succeeded" in done.stderr


def test_a_cleanup_that_failed_is_tried_again_by_resume(project: Project) -> None:
    steps(project, "exit 3")
    text = (project.root / "steps.toml").read_text()
    project.write("steps.toml", text.replace("echo 'first undone' >> trace", "test -e ready"))
    assert project("plan", "steps").returncode == 1
    assert project("resume", "latest").returncode == 1, "the control: it fails again"
    project.write("ready", "")
    done = project("resume", "latest")
    assert done.returncode == 0, done.stdout + done.stderr
    assert states(project)["first.cleanup"] == "succeeded"
    assert project.latest()["state"] == "failed", "the plan has failed, and stays so"


def test_the_run_of_a_plan_made_of_functions_is_left_to_its_program(project: Project) -> None:
    project.write(
        "program.py",
        "import os, signal\n"
        "from runwright import Plan, Step\n"
        "die = lambda state: os.kill(os.getpid(), signal.SIGKILL)\n"
        "undo = lambda state: None\n"
        "Plan(store='plans.db').add_step(Step('a', exec=lambda state: None, cleanup=undo)).add_step(Step('b', exec=die)).run()\n",
    )
    project.write("host.toml", f'[tasks.a]\ncmd = "{sys.executable} program.py"\n')
    assert project("run", "host.toml").returncode == 1
    done = project("--store", "plans.db", "resume", "latest")
    assert done.returncode == 2
    assert "are functions" in done.stderr
    assert "plan.resume(" in done.stderr
