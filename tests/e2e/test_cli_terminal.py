"""On a terminal: the live view, its colours, and their absence where they are not wanted."""

import os
import pty
import re
import struct
import termios
from fcntl import ioctl
from pathlib import Path

import pytest
from cli_project import Project, environment, stop

WORKFLOW = """
name = "seen"
[tasks.a]
cmd = "echo hello; sleep 0.3"
[tasks.m]
matrix = { os = ["linux", "mac"] }
depends_on = ["a"]
cmd = "true"
[tasks.bad]
depends_on = ["m"]
cmd = "printf '\\\\033[31mred\\\\033[0m\\\\033[2J\\\\n' >&2; exit 1"
"""
COLOUR = re.compile(r"\x1b\[[0-9;]*m")


@pytest.fixture
def project(tmp_path: Path) -> Project:
    project = Project(tmp_path)
    project.write("seen.toml", WORKFLOW)
    return project


def on_terminal(project: Project, *words: str, columns: int = 100, **env: str) -> tuple[int, str]:
    """Run a command on a pseudo-terminal; returns its exit status and everything it drew."""
    ours, theirs = pty.openpty()
    ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", 30, columns, 0, 0))
    process = project.start(*words, stdout=theirs, stderr=theirs, env=environment(**env))
    os.close(theirs)
    drawn = b""
    try:
        while chunk := read(ours):
            drawn += chunk
        return process.wait(), drawn.decode()
    finally:
        stop(process)
        os.close(ours)


def read(descriptor: int) -> bytes:
    try:
        return os.read(descriptor, 1 << 16)
    except OSError:
        return b""


def test_the_tree_stays_on_the_screen(project: Project) -> None:
    status, drawn = on_terminal(project, "run", "seen", "-j", "2")
    assert status == 1
    assert COLOUR.search(drawn)
    last = COLOUR.sub("", drawn[drawn.rindex("seen") - 2000 :])
    for line in ("├─ ✓ m  2/2", "│  ╰─ ✓ [os=mac]", "╰─ ✗ bad", "4/4  ✓ 3  ✗ 1"):
        assert line in last
    assert drawn.count("\x1b[?25l") == drawn.count("\x1b[?25h"), "the cursor is shown again"
    assert "\x1b[2J" not in drawn
    assert "\x1b[31mred" in drawn, "colours of tasks stay"


def test_without_colours(project: Project) -> None:
    for env, words in (({"NO_COLOR": "1"}, []), ({}, ["--no-color"])):
        _, drawn = on_terminal(project, "run", "seen", *words, **env)
        assert not COLOUR.search(drawn.replace("\x1b[0m", ""))
        assert "4/4" in drawn


@pytest.mark.parametrize("words", [["--plain"], []])
def test_plain_lines_where_nothing_can_be_drawn_over(project: Project, words: list[str]) -> None:
    _, drawn = on_terminal(project, "run", "seen", *words, TERM="xterm" if words else "dumb")
    assert "\x1b[?25l" not in drawn
    assert "→ a" in COLOUR.sub("", drawn)


def test_output_stands_above_the_tree(project: Project) -> None:
    _, drawn = on_terminal(project, "run", "seen", "--print-output")
    assert "│ hello" in COLOUR.sub("", drawn)


@pytest.mark.parametrize("columns", [200, 60, 30])
def test_tables_keep_to_the_width(project: Project, columns: int) -> None:
    project("run", "seen")
    for words in (["runs"], ["list"], ["inspect", "latest"], ["audit", "latest"]):
        status, drawn = on_terminal(project, *words, columns=columns)
        assert status == 0
        table = COLOUR.sub("", drawn).split("\r\n\r\n")[-1 if words[0] != "inspect" else 1]
        assert all(len(line) <= columns for line in table.splitlines())


def test_logs_cannot_drive_the_terminal(project: Project) -> None:
    project("run", "seen")
    _, drawn = on_terminal(project, "logs", "latest")
    assert "\x1b[2J" not in drawn
    assert "\x1b[31mred" in drawn
    assert "\x1b[2J" in project("logs", "latest", "bad").stdout, "the control: it is in the log"


def test_a_tar_archive_is_not_for_a_terminal(project: Project) -> None:
    project("run", "seen")
    status, drawn = on_terminal(project, "export", "latest", "-f", "tar")
    assert status == 2
    assert "-o FILE" in drawn
