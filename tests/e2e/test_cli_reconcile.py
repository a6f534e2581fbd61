"""Goals from the command line, written in plain sh: ends and exit statuses, errors, oscillation, signals, resume."""

import json
import signal
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from cli_project import PATIENCE, Project, stop, wait_until

NAP = "echo $$ > pid; while :; do sleep 0.05; done"


@pytest.fixture
def project(tmp_path: Path) -> Project:
    return Project(tmp_path)


def action(name: str, perform: str, **more: str) -> str:
    """Return a command that prints an action."""
    line = json.dumps({"name": name, "perform": perform, **more})
    return f"printf '%s\\n' '{line}'"


def goal(project: Project, plan: str, **options: object) -> None:
    """Write ``goal.toml``, in a hurry unless the options say otherwise."""
    settings = {"sleep_between_runs": "10ms", "longest_sleep": "20ms", "errors_to_tolerate": 2, **options}
    lines = [f"{key} = {json.dumps(value)}" for key, value in settings.items()]
    project.write("goal.toml", "\n".join(['name = "goal"', *lines, f"plan = {json.dumps(plan)}"]) + "\n")


def lines(project: Project, name: str) -> list[str]:
    path = project.root / name
    return path.read_text().splitlines() if path.exists() else []


def rounds(project: Project) -> int:
    return len(lines(project, "asked"))


MAKE_TWO = f"""
echo . >> asked
test -e one || {action("make one", "touch one")}
test -e two || {action("make two", "touch two")}
"""


# -- ends -------------------------------------------------------------------------------------------------------


def test_a_goal_in_plain_sh_is_reached(project: Project) -> None:
    goal(project, MAKE_TWO)
    done = project("reconcile", "goal")
    assert done.returncode == 0, done.stdout + done.stderr
    assert rounds(project) == 2, "one that needs two actions, and one that needs none"
    assert (project.root / "two").exists()
    run = project.latest()
    assert (run["kind"], run["state"]) == ("goal", "succeeded")
    assert project("audit", "--verify").returncode == 0


def test_a_goal_that_is_reached_already_performs_nothing(project: Project) -> None:
    goal(project, "echo . >> asked")
    assert project("reconcile", "goal.toml").returncode == 0
    assert rounds(project) == 1


def test_errors_are_tolerated_until_one_more_than_the_budget(project: Project) -> None:
    goal(project, f"echo . >> asked; {action('try', 'echo no >&2; exit 5')}")
    done = project("reconcile", "goal")
    assert done.returncode == 1
    assert rounds(project) == 3, "two errors are tolerated, the third is not"
    assert project.latest()["state"] == "failed"
    assert "3 errors" in project.latest()["reason"]


def test_errors_within_the_budget_do_not_matter(project: Project) -> None:
    perform = "echo . >> tries; test $(wc -l < tries) -ge 3 && touch made"
    goal(project, f"test -e made || {action('make', perform)}")
    assert project("reconcile", "goal").returncode == 0
    assert len(lines(project, "tries")) == 3


def test_a_plan_that_fails_counts_as_an_error(project: Project) -> None:
    goal(project, "echo . >> asked; exit 4")
    assert project("reconcile", "goal").returncode == 1
    assert rounds(project) == 3


def test_exit_status_100_is_fatal_at_once(project: Project) -> None:
    goal(project, f"echo . >> asked; {action('try', 'exit 100')}")
    done = project("reconcile", "goal")
    assert done.returncode == 1
    assert rounds(project) == 1
    assert "going on is useless" in done.stdout


def test_pre_that_fails_skips_perform_and_post(project: Project) -> None:
    line = action("try", "echo perform >> trace", pre="echo pre >> trace; exit 1", post="echo post >> trace")
    goal(project, line, errors_to_tolerate=0)
    assert project("reconcile", "goal").returncode == 1
    assert lines(project, "trace") == ["pre"]


def test_children_are_performed_after_post(project: Project) -> None:
    child = json.dumps({"name": "child", "perform": "echo child >> trace; touch made"})
    project.write("child.json", child + "\n")
    perform = 'echo perform >> trace; cat child.json >> "$RUNWRIGHT_ACTIONS"'
    goal(project, f"test -e made || {action('parent', perform, post='echo post >> trace')}")
    assert project("reconcile", "goal").returncode == 0
    assert lines(project, "trace") == ["perform", "post", "child"]


def test_an_answer_that_is_no_action_is_an_error_that_names_the_line(project: Project) -> None:
    broken = 'printf \'{"name": "b", "perfrom": "true"}\\n\''
    goal(project, f"{action('a', 'touch performed')}; {broken}", errors_to_tolerate=0)
    done = project("reconcile", "goal")
    assert done.returncode == 1
    assert "line 2" in done.stdout
    assert 'did you mean "perform"' in done.stdout
    assert not (project.root / "performed").exists(), "nothing of that answer is performed"


# -- rounds that lead nowhere -----------------------------------------------------------------------------------


def test_a_goal_that_never_converges_is_stopped_with_the_rounds_that_repeat(project: Project) -> None:
    plan = f"""
    echo . >> asked
    if test -e flag; then {action("take the flag down", "rm flag")}
    else {action("put the flag up", "touch flag")}; fi
    """
    goal(project, plan, oscillation_limit=3)
    done = project("reconcile", "goal")
    assert done.returncode == 1
    assert rounds(project) == 6
    reason = project.latest()["reason"]
    assert "the same 2 rounds came 3 times in a row" in reason
    assert "put the flag up" in reason
    assert "take the flag down" in reason
    assert "round 5" in reason
    assert "round 6" in reason
    assert reason in done.stdout


def test_control_without_the_limit_it_goes_on_until_its_time_is_over(project: Project) -> None:
    goal(project, f"echo . >> asked; {action('again', 'true')}", oscillation_limit=0, execution_timeout="1s")
    assert project("reconcile", "goal").returncode == 124
    assert rounds(project) > 10


def test_the_time_limit_breaks_off_an_action_with_124(project: Project) -> None:
    goal(project, action("nap", NAP), kill_grace="60s")
    done = project("reconcile", "goal", "--timeout", "500ms")
    assert done.returncode == 124
    assert project.latest()["state"] == "cancelled"
    pid = (project.root / "pid").read_text().strip()
    assert not Path("/proc", pid).exists()


def test_a_long_sleep_is_broken_off_by_the_time_limit(project: Project) -> None:
    goal(project, action("again", "true"), sleep_between_runs="1h", execution_timeout="500ms")
    assert project("reconcile", "goal").returncode == 124


# -- what is shown ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("options", [(), ("--json",)])
def test_dry_run_asks_and_writes_nothing(project: Project, options: tuple[str, ...]) -> None:
    goal(project, MAKE_TWO.replace("echo . >> asked", ""))
    before = project.state()
    done = project("reconcile", "goal", "--dry-run", *options)
    assert done.returncode == 0
    assert "make two" in done.stdout
    assert project.state() == before
    project("reconcile", "goal")
    assert project.state() != before, "the control: a real run does write"
    assert "reached" in project("reconcile", "goal", "--dry-run").stdout


def test_bad_files_end_it_with_2(project: Project) -> None:
    project.write("bad.toml", 'plan = "true"\nwokers = 2\noscillation_limit = -1\n')
    done = project("reconcile", "bad.toml")
    assert done.returncode == 2
    assert 'did you mean "workers"' in done.stderr
    assert "bad.toml:3" in done.stderr, "all errors at once"


def test_var_is_filled_in_safely(project: Project) -> None:
    make = action("make", 'touch "$RUNWRIGHT_VAR_NAME"')
    goal(project, f"test -e {{{{.name}}}} || {make}")
    text = (project.root / "goal.toml").read_text()
    project.write("goal.toml", text + '[variables]\nname = "x"\n')
    assert project("reconcile", "goal", "--var", "name=a b; touch c").returncode == 0
    assert (project.root / "a b; touch c").exists()
    assert not (project.root / "c").exists()


def test_json_and_events(project: Project) -> None:
    goal(project, MAKE_TWO)
    summary = json.loads(project("reconcile", "goal", "--json").stdout)
    assert (summary["kind"], summary["state"], summary["exit_status"]) == ("goal", "succeeded", 0)
    (project.root / "one").unlink()
    events = [
        json.loads(line) for line in project("reconcile", "goal", "--events", "jsonl").stdout.splitlines()
    ]
    assert events[0]["kind"] == "run_started"
    assert events[-1]["kind"] == "run_done"
    assert "make one" in {event["task_name"] for event in events if event["kind"] == "task_done"}


def test_inspect_and_explain_tell_of_rounds(project: Project) -> None:
    goal(project, MAKE_TWO)
    project("reconcile", "goal")
    shown = project("inspect", "latest").stdout
    assert "round 1" in shown
    assert "make two" in shown
    assert "round 2" in shown
    assert project("explain", "latest").returncode == 0


# -- stopping and going on --------------------------------------------------------------------------------------


class Running:
    """A goal in the middle of its second action."""

    def __init__(self, project: Project) -> None:
        self.project = project
        goal(
            project,
            f"test -e one || {action('make one', 'touch one')}\ntest -e two || {action('make two', NAP)}",
            kill_grace="60s",
        )
        self.process = project.start("reconcile", "goal")
        wait_until(self.begun, "the action")

    def begun(self) -> bool:
        pid = self.project.root / "pid"
        return pid.exists() and bool(pid.read_text().strip())

    def action_lives(self) -> bool:
        return Path("/proc", (self.project.root / "pid").read_text().strip()).exists()


@pytest.fixture
def running(project: Project) -> Iterator[Running]:
    found = Running(project)
    yield found
    stop(found.process)


@pytest.mark.parametrize(
    ("number", "status"), [(signal.SIGINT, 130), (signal.SIGTERM, 143), (signal.SIGHUP, 129)]
)
def test_a_signal_breaks_off_the_action(running: Running, number: int, status: int) -> None:
    running.process.send_signal(number)
    running.process.communicate(timeout=PATIENCE)
    assert running.process.returncode == status
    assert not running.action_lives()
    assert running.project.latest()["state"] == "cancelled"


def test_cancel_from_elsewhere(running: Running) -> None:
    assert running.project("cancel", "latest", "--reason", "lunch").returncode == 0
    running.process.communicate(timeout=PATIENCE)
    assert running.process.returncode == 1
    assert not running.action_lives()
    assert running.project.latest()["reason"] == "lunch"


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGKILL])
def test_resume_asks_again_and_goes_on(running: Running, number: int) -> None:
    project = running.project
    running.process.send_signal(number)
    running.process.communicate(timeout=PATIENCE)
    wait_until(lambda: not running.action_lives(), "the end of the action")
    run_id = project.latest()["id"]
    project.write("two", "")
    done = project("resume", "latest")
    assert done.returncode == 0, done.stdout + done.stderr
    run = project.latest()
    assert (run["id"], run["state"], run["resume_count"]) == (run_id, "succeeded", 1)
    assert project("resume", "latest").returncode == 2, "it has succeeded"
    assert project("audit", "--verify").returncode == 0


def test_a_goal_is_the_task_of_a_workflow(project: Project) -> None:
    goal(project, MAKE_TWO)
    project.write(
        "flow.toml",
        '[tasks.reach]\nexecutor = "reconcile"\nargs = { file = "goal.toml" }\n'
        '[tasks.after]\ndepends_on = ["reach"]\ncmd = "test -e two"\n',
    )
    done = project("run", "flow")
    assert done.returncode == 0, done.stdout + done.stderr
    (inner,) = project.json("inspect", "latest")["children"]
    assert (inner["run"]["kind"], inner["run"]["state"]) == ("goal", "succeeded")
    (project.root / "one").unlink()
    goal(project, action("try", "exit 3"), errors_to_tolerate=0)
    done = project("run", "flow")
    assert done.returncode == 1
    assert "goal goal failed" in done.stdout


def test_the_run_of_a_goal_made_of_functions_is_left_to_its_program(project: Project) -> None:
    project.write(
        "program.py",
        "from runwright import Action, Goal, GoalFailed, Reconciler, ReconcilerOptions\n"
        "def fail(): raise ValueError('no')\n"
        "options = ReconcilerOptions(errors_to_tolerate=0)\n"
        "try:\n"
        "    Reconciler(options, store='goals.db').run_sync(Goal(lambda: [Action('a', fail)]))\n"
        "except GoalFailed as error:\n"
        "    assert isinstance(error.__cause__, ValueError)\n"
        "    print('failed as it should')\n",
    )
    project.write("host.toml", f'[tasks.a]\ncmd = "{sys.executable} program.py"\n')
    done = project("run", "host.toml", "--print-output")
    assert "failed as it should" in done.stdout
    done = project("--store", "goals.db", "resume", "latest")
    assert done.returncode == 2
    assert "resume" in done.stderr
    assert project("--store", "goals.db", "status", "latest").returncode == 0
