"""`runwright graph` as people call it: files, names and runs, every format, hostile names, no trace left."""

import json
import shutil
import subprocess
import xml.etree.ElementTree as ET
from pathlib import Path

import pytest
from cli_project import Project

ETL = """
name = "etl"
description = "Fetch, compute, load"
on_failure = "alarm"
[tasks.fetch]
cmd = "true"
[tasks.compute]
cmd = "true {{.n}}"
depends_on = ["fetch"]
matrix = { n = ["1", "2", "3"] }
[tasks.flaky]
cmd = "test $RUNWRIGHT_ATTEMPT -gt 1"
retries = 1
[tasks.load]
cmd = "false"
depends_on = ["compute", "flaky"]
[tasks.tidy]
cmd = "true"
depends_on = ["load"]
[tasks.alarm]
type = "forensic"
cmd = "true"
"""

HOSTILE = r"""
name = "</script><script>document.title='pwned'</script>"
description = "\" onload=alert(1) \u202e --> ]]>"
[tasks.a]
name = "<img src=x onerror=\"document.title='pwned'\">\nsecond line"
cmd = "echo '</style>' \\ \" ; #quot; `x`"
[tasks.b]
name = "\u2066'\"];}\\"
cmd = "true"
depends_on = ["a"]
matrix = { v = ["<b>&amp;</b>", "--> n9;"] }
"""

FORMATS = ("ascii", "mermaid", "dot", "json", "svg", "html")
BROWSER = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)


@pytest.fixture
def project(tmp_path: Path) -> Project:
    made = Project(tmp_path)
    made.write("etl.toml", ETL)
    return made


@pytest.fixture(scope="module")
def ran(tmp_path_factory: pytest.TempPathFactory) -> Project:
    made = Project(tmp_path_factory.mktemp("ran"))
    made.write("etl.toml", ETL)
    assert made("run", "etl").returncode == 1
    return made


def drawn(project: Project, *words: str, **env: str) -> str:
    done = project("graph", *words, **env)
    assert done.returncode == 0, done.stderr
    assert done.stderr == ""
    return done.stdout


def test_a_workflow_is_found_by_file_and_by_name(project: Project) -> None:
    assert (
        drawn(project, "etl") == drawn(project, "etl.toml") == drawn(project, str(project.root / "etl.toml"))
    )


def test_the_tree_is_what_people_see_first(project: Project) -> None:
    assert drawn(project, "etl", "--handlers").splitlines() == [
        "etl",
        "Fetch, compute, load",
        "7 tasks · 4 levels",
        "",
        "○ fetch",
        "↓ ◫ compute  3 nodes",
        "   ┊ ○ n=1",
        "   ┊ ○ n=2",
        "   ┊ ○ n=3",
        "↓ ○ load  also after flaky",
        "↓ ○ tidy",
        "○ flaky",
        "◇ alarm  on failure of the workflow",
    ]


def test_where_utf8_is_not_spoken_the_tree_is_ascii(project: Project) -> None:
    assert drawn(project, "etl", PYTHONIOENCODING="ascii").isascii()


@pytest.mark.parametrize("chosen", FORMATS)
def test_every_format_draws_a_workflow_and_a_run_without_a_trace(ran: Project, chosen: str) -> None:
    before = ran.state()
    workflow, run = drawn(ran, "etl", "-f", chosen), drawn(ran, "latest", "--format", chosen)

    assert "fetch" in workflow
    assert "failed" in run
    assert drawn(ran, "latest", "-f", chosen) == run
    assert ran.state() == before


def test_a_run_shows_states_attempts_and_the_critical_path(ran: Project) -> None:
    shown = drawn(ran, "latest")

    assert "✗ load  exit status 1" in shown
    assert "✓ flaky  2 attempts" in shown
    assert "⊖ tidy" in shown
    assert "✓ alarm" in shown
    assert "★" in shown
    assert "\x1b" not in shown


def test_a_run_is_found_by_the_beginning_of_its_id(ran: Project) -> None:
    run_id = ran.latest()["id"]

    assert drawn(ran, run_id[:10]) == drawn(ran, run_id) == drawn(ran, "latest")


def test_a_workflow_of_that_name_goes_before_a_run(ran: Project) -> None:
    path = ran.write("latest.toml", 'name = "the-file"\n[tasks.only]\ncmd = "true"\n')
    try:
        assert "the-file" in drawn(ran, "latest")
    finally:
        path.unlink()


def test_json_of_a_run_is_complete(ran: Project) -> None:
    found = json.loads(drawn(ran, "latest", "--json"))
    states = {node["id"]: node["state"] for node in found["nodes"]}

    assert states == {
        "fetch": "succeeded",
        "flaky": "succeeded",
        "compute[n=1]": "succeeded",
        "compute[n=2]": "succeeded",
        "compute[n=3]": "succeeded",
        "load": "failed",
        "tidy": "cancelled",
    }
    assert found["critical_path"][-1] == "load"
    assert found["run"]["id"] == ran.latest()["id"]


def test_a_timeline_has_a_lane_for_every_task_that_ran(ran: Project, tmp_path: Path) -> None:
    target = tmp_path / "run.svg"
    done = ran("graph", "latest", "-f", "timeline", "-o", str(target))
    root = ET.parse(target).getroot()
    lanes = {one.get("data-id") for one in root.iter() if one.get("class") == "lane"}

    assert done.returncode == 0
    assert done.stdout == ""
    assert str(target) in done.stderr
    assert lanes >= {"fetch", "flaky", "compute[n=1]", "compute[n=2]", "compute[n=3]", "load"}
    assert "tidy" not in lanes


def test_the_name_of_the_output_chooses_the_format(project: Project) -> None:
    for name, beginning in (
        ("g.svg", "<svg "),
        ("g.HTML", "<!DOCTYPE html>"),
        ("g.dot", "digraph "),
        ("g.mmd", "%% etl"),
        ("g.json", "{\n"),
        ("g.txt", "etl\n"),
    ):
        assert project("graph", "etl", "-o", name).returncode == 0
        assert (project.root / name).read_text("utf-8").startswith(beginning)
    assert drawn(project, "etl", "-f", "svg", "-o", "-").startswith("<svg ")


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (["nothing-of-that-name"], 'no workflow "nothing-of-that-name"'),
        (["0123abcd"], 'neither a workflow nor a run "0123abcd"'),
        (["latest"], 'neither a workflow nor a run "latest"'),
        (["etl", "--format", "timeline"], "a timeline needs a run"),
        (["etl", "--format", "pdf"], "pdf"),
    ],
)
def test_what_can_not_be_drawn_is_said_in_a_line_with_exit_2(
    project: Project, words: list[str], says: str
) -> None:
    before = project.state()
    done = project("graph", *words)

    assert done.returncode == 2
    assert done.stdout == ""
    assert says in done.stderr
    assert "Traceback" not in done.stderr
    assert project.state() == before


def test_an_output_that_can_not_be_written_is_said_in_a_line(project: Project) -> None:
    done = project("graph", "etl", "-o", "no/such/directory/g.svg")

    assert done.returncode == 1
    assert "no/such/directory/g.svg" in done.stderr
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize("chosen", FORMATS)
def test_hostile_names_stay_text(project: Project, chosen: str) -> None:
    project.write("hostile.toml", HOSTILE)
    shown = drawn(project, "hostile", "-f", chosen, "--detail", "--matrix", "--handlers")

    assert "\u202e" not in shown
    assert "\u2066" not in shown
    if chosen == "svg":
        ET.fromstring(shown)
    if chosen in {"svg", "html"}:
        assert "<img" not in shown
        assert shown.count("<script") == (1 if chosen == "html" else 0)


@pytest.mark.skipif(BROWSER is None, reason="no browser is installed")
def test_a_browser_runs_our_script_and_nothing_else(project: Project, tmp_path: Path) -> None:
    project.write("hostile.toml", HOSTILE)
    assert project("graph", "hostile", "-o", "page.html").returncode == 0
    flags = ["--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run"]
    flags += ["--disable-background-networking", "--disable-component-update", "--disable-sync"]
    flags += [f"--user-data-dir={tmp_path / 'profile'}", "--dump-dom", f"file://{project.root / 'page.html'}"]
    done = subprocess.run(
        [str(BROWSER), *flags], capture_output=True, encoding="utf-8", timeout=120, check=False
    )

    assert "<title>pwned</title>" not in done.stdout
    assert "<title>&lt;/script&gt;" in done.stdout
    # Our script takes the paper away and sets the size of the view, so it ran under the page's own policy.
    assert 'class="paper"' not in done.stdout
    assert 'class="paper"' in (project.root / "page.html").read_text("utf-8")


def test_the_nodes_of_a_large_matrix_are_folded_and_the_tree_says_so(project: Project) -> None:
    values = json.dumps([str(n) for n in range(300)])
    project.write(
        "big.toml", f'name = "big"\n[tasks.a]\ncmd = "true"\nmatrix = {{ x = {values}, y = {values} }}\n'
    )
    folded, unfolded = drawn(project, "big"), drawn(project, "big", "--matrix")

    assert "90,000 matrix tasks are folded; --matrix unfolds them." in folded
    assert len(folded.splitlines()) < 10
    assert "matrix tasks are left out; --format json has them all." in unfolded
    assert len(unfolded.splitlines()) < 100
