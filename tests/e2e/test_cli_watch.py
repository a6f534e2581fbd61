"""`run --watch`, with the real thing that tells of changes."""

import signal
import subprocess
from pathlib import Path

import pytest
from cli_project import Project, wait_until

FLOW = """
name = "flow"
[tasks.up]
cmd = "tr a-z A-Z < a.txt > a.up && echo x >> count"
cache = true
inputs = ["a.txt"]
outputs = ["a.up"]
[tasks.always]
cmd = "date > stamp.up"
inputs = ["*.up"]
outputs = ["stamp.up"]
"""


@pytest.fixture
def project(tmp_path: Path) -> Project:
    found = Project(tmp_path)
    found.write("flow.toml", FLOW)
    found.write("a.txt", "one")
    return found


def end(process: "subprocess.Popen[str]") -> str:
    process.send_signal(signal.SIGINT)
    out, _ = process.communicate(timeout=60)
    return out


def waits(log: Path, times: int) -> bool:
    return log.read_text().count("waiting for changes") == times


def test_a_change_of_content_runs_it_again(project: Project, tmp_path: Path) -> None:
    pytest.importorskip("watchfiles")
    log = tmp_path / "log"
    with log.open("w") as stream:
        process = project.start("run", "flow.toml", "--watch", stdout=stream, stderr=stream)
    try:
        wait_until(lambda: waits(log, 1), "the first run")
        project.write("a.txt", "two")
        wait_until(lambda: waits(log, 2), "a second run")
        assert (tmp_path / "a.up").read_text() == "TWO"
        (tmp_path / "a.txt").touch()
        project.write("other", "not an input")
        project.write("flow.toml", "nonsense")
        wait_until(lambda: waits(log, 3), "a run of the wrong file")
        assert "error:" in log.read_text()
        project.write("flow.toml", FLOW.replace("tr a-z A-Z < a.txt", "cat a.txt"))
        wait_until(lambda: waits(log, 4), "a run of the mended file")
        assert (tmp_path / "a.up").read_text() == "two"
    finally:
        process.send_signal(signal.SIGINT)
        assert process.wait(60) == 0
    assert (tmp_path / "count").read_text().count("x") == 3
    assert log.read_text().count("a.txt changed") == 1


def test_what_can_not_be_watched_is_refused(project: Project) -> None:
    assert "contradict" in project("run", "flow.toml", "--watch", "--dry-run").stderr
    project.write("bare.toml", 'name = "bare"\n[tasks.a]\ncmd = "true"\n')
    done = project("run", "bare.toml", "--watch")
    assert (done.returncode, "nothing to watch" in done.stderr) == (2, True)


def test_without_the_library_it_says_what_to_install(project: Project, tmp_path: Path) -> None:
    project.write("hidden/watchfiles.py", "raise ImportError\n")
    done = project("run", "flow.toml", "--watch", PYTHONPATH=str(tmp_path / "hidden"))
    assert done.returncode == 2
    assert 'pip install "runwright[watch]"' in done.stderr
    assert not (tmp_path / "a.up").exists()
