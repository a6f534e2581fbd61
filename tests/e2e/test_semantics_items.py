"""Items of a list and follow-ups of functions, seen from the command line: recorded, shown, resumed after `kill -9`."""

import signal
from collections import Counter
from pathlib import Path

import pytest
from cli_project import Project, stop, wait_until

ITEMS = """
name = "items"

[tasks.find]
cmd = "seq -s, 1 30 | sed 's/.*/[&]/'"
register = "found"

[tasks.each]
for_each = "{{.found}}"
cmd = "echo {{.item}} >> journal; sleep 0.05; echo done {{.item}}"
register = "all"
depends_on = ["find"]
pool = 2

[tasks.after]
cmd = "echo {{.all}}"
depends_on = ["each"]
"""

ASKS = """
from pathlib import Path

from runwright import Result, Task


def root():
    first = Task(id="first", executor="shell", args={"cmd": "echo first >> journal"})
    gate = Task(id="gate", executor="shell", args={"cmd": "test -e open"}, dependencies=("first",))
    last = Task(id="last", executor="python", args={"function": "asks:leaf"}, dependencies=("gate",))
    return Result(value="asked", followups=(last, gate, first))


def leaf():
    return len(Path("journal").read_text().split())
"""

FOLLOWUPS = """
name = "followups"

[tasks.root]
executor = "python"
args = { function = "asks:root" }

[tasks.after]
cmd = "echo {{.root.last.value}} of {{.root.value}}"
register = "told"
depends_on = ["root"]
"""


@pytest.fixture
def project(tmp_path: Path) -> Project:
    return Project(tmp_path)


def states(project: Project) -> dict[str, str]:
    return {row["id"]: row["state"] for row in project.json("inspect", "latest")["tasks"]}


def journal(project: Project) -> Counter[str]:
    path = project.root / "journal"
    return Counter(path.read_text().split()) if path.exists() else Counter()


def test_items_after_a_kill(project: Project) -> None:
    project.write("items.toml", ITEMS)
    engine = project.start("run", "items.toml", "--workers", "3")
    try:
        wait_until(lambda: len(journal(project)) >= 6, "six items began")
        engine.send_signal(signal.SIGKILL)
    finally:
        stop(engine)
    before = states(project)
    done = {name for name, state in before.items() if state == "succeeded" and "." in name}
    assert done
    assert before["each"] == "running"
    resumed = project("resume", "latest", "--workers", "3")
    assert resumed.returncode == 0, resumed.stdout
    after = states(project)
    assert {name for name in after if "." in name} == {f"each.{number}" for number in range(30)}
    assert set(after.values()) == {"succeeded"}
    counts = journal(project)
    assert set(counts) == {str(number) for number in range(1, 31)}
    assert {name: counts[str(int(name.partition(".")[2]) + 1)] for name in done} == dict.fromkeys(done, 1)
    assert "done 30" in project("logs", "latest", "each.29").stdout
    assert project("audit", "--verify", "latest").returncode == 0


def test_follow_ups_of_a_function(project: Project) -> None:
    project.write("asks.py", ASKS)
    project.write("followups.toml", FOLLOWUPS)
    assert project("run", "followups.toml").returncode == 1
    assert states(project) == {
        "root": "failed",
        "after": "cancelled",
        "root.first": "succeeded",
        "root.gate": "failed",
        "root.last": "cancelled",
    }
    explained = project("explain", "latest", "root.gate").stdout
    assert "it is a child of root" in explained
    assert (
        "it has 3 children (1 succeeded, 1 failed, 1 cancelled)"
        in project("explain", "latest", "root").stdout
    )
    project.write("open", "")
    assert project("resume", "latest").returncode == 0
    assert set(states(project).values()) == {"succeeded"}
    assert journal(project)["first"] == 1, "what had succeeded was reused"
    values = {one["name"]: one["value"] for one in project.json("inspect", "latest")["variables"]}
    assert values["told"] == "1 of asked"
    assert project("audit", "--verify", "latest").returncode == 0


def test_the_plan_says_what_a_task_is_mapped_over(project: Project) -> None:
    project.write("items.toml", ITEMS)
    assert "for each of {{.found}}" in project("run", "items.toml", "--dry-run").stdout


def test_follow_ups_on_executors_that_no_task_names(project: Project) -> None:
    project.write(
        "more.py",
        "from runwright import Result, Task\n\n\n"
        "def root():\n"
        '    inner = Task(id="inner", executor="workflow", args={"file": "inner.toml"})\n'
        '    loud = Task(id="loud", executor="loud", args={"cmd": "echo $WORD >> journal"})\n'
        "    return Result(followups=(inner, loud))\n",
    )
    project.write("inner.toml", 'name = "inner"\n[tasks.a]\ncmd = "echo inner >> journal"\n')
    project.write(
        "more.toml",
        'name = "more"\n[executors.loud]\nexecutor = "shell"\nenv = { WORD = "loud" }\n'
        '[tasks.root]\nexecutor = "python"\nargs = { function = "more:root" }\n',
    )
    done = project("run", "more.toml")
    assert done.returncode == 0, done.stdout + done.stderr
    assert states(project) == dict.fromkeys(("root", "root.inner", "root.loud"), "succeeded")
    assert journal(project) == {"inner": 1, "loud": 1}
