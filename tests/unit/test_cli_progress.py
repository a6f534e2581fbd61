"""Progress: the picture folded from events, as a tree, as lines, as JSON; slow and absent readers."""

import json
import os
import re
from threading import Event as Flag
from typing import Any, TextIO

import pytest
from cli_state import START, Screen, at, pipe, terminal, text
from msgspec import structs

from runwright.cli.render.progress import Progress, label
from runwright.cli.render.progress_jsonl import JsonLines
from runwright.cli.render.progress_live import LiveView
from runwright.cli.render.progress_plain import PlainView
from runwright.cli.render.silence import Silence
from runwright.cli.render.terminal import Out
from runwright.cli.render.tree import Tree
from runwright.cli.render.writer import Writer
from runwright.core.events import ProgressEvent, ProgressKind
from runwright.core.states import RunState, TaskRole, TaskState

TASKS = ["fetch", "build[os=linux]", "build[os=mac]", "load"]


def event(kind: str, task: str = "", seconds: float = 0, **fields: object) -> ProgressEvent:
    return ProgressEvent(kind=ProgressKind(kind), run_id="r1", at=at(seconds), task_id=task, **fields)  # type: ignore[arg-type]


def history() -> list[ProgressEvent]:
    return [
        event("run_started", total=4, run_state=RunState.RUNNING),
        event("task_started", "fetch", 0, attempt=1),
        event("task_retrying", "fetch", 1, attempt=1, delay=0.5, error="exit status 7"),
        event("task_started", "fetch", 2, attempt=2),
        event("task_done", "fetch", 3, attempt=2, state=TaskState.SUCCEEDED),
        event("task_started", "build[os=linux]", 3, attempt=1),
        event("task_output", "build[os=linux]", 3, output="made\n\x1b[2Jit\n", truncated=True),
        event("task_failed", "build[os=linux]", 5, attempt=1, state=TaskState.FAILED, error="exit status 1"),
        event("task_done", "load", 5, state=TaskState.CANCELLED, error="needs build"),
        event("task_started", "alarm@build", 5, attempt=1, role=TaskRole.HANDLER),
        event("task_started", "build[os=mac]", 5, attempt=1, task_name="Build"),
    ]


def folded() -> Progress:
    progress = Progress(4)
    for one in history():
        progress.fold(one)
    return progress


def test_fold() -> None:
    progress = folded()
    assert progress.done == 3
    assert progress.counts[TaskState.SUCCEEDED] == 1
    assert progress.retries == {"fetch": 1}
    assert progress.failed == ["build[os=linux]"]
    assert set(progress.running) == {"alarm@build", "build[os=mac]"}
    assert progress.spent["fetch"] == 3.0


def test_tree() -> None:
    tree = Tree(pipe(), "etl", TASKS, folded())
    assert tree.frame(at(6), 30) == [
        "etl  run r1",
        "├─ ✓ fetch  3.0 s  ↻1",
        "├─ ⠋ build  1/2",
        "│  ├─ ✗ [os=linux]  2.0 s  exit status 1",
        "│  ╰─ ⠋ [os=mac]  1.0 s",
        "├─ ⊖ load  needs build",
        "╰─ ⠋ alarm (handler of build)  1.0 s",
        "",
        "━━━━━━━━━━━━━━━━━━━━━━━━━━━╸────────  3/4  ✓ 1  ✗ 1  ⊖ 1  ↻ 1  6.0 s",
    ]


def test_tree_in_ascii() -> None:
    lines = Tree(pipe("ascii"), "etl", TASKS, folded()).frame(at(6), 30)
    assert all(line.isascii() for line in lines)
    assert lines[1] == "|- + fetch  3.0 s  ~1"


@pytest.mark.parametrize("room", [30, 10, 9, 8, 7, 5, 4, 3, 1])
def test_tree_keeps_to_its_room(room: int) -> None:
    lines = Tree(pipe(), "etl", TASKS, folded()).frame(at(6), room)
    assert len(lines) <= max(room, 1)


def test_matrices_fold_when_room_is_short() -> None:
    tasks = ["a", *(f"m[n={n}]" for n in range(20)), "z"]
    progress = Progress(22)
    progress.fold(event("task_started", "m[n=7]", 0, attempt=1))
    lines = Tree(pipe(), "etl", tasks, progress).frame(at(1), 12)
    assert lines[2:5] == ["├─ ⠋ m  0/20", "│  ╰─ ⠋ [n=7]  1.0 s", "╰─ · z"]


def test_large_runs_show_what_goes_on() -> None:
    tasks = [f"t{n}" for n in range(5000)]
    progress = Progress(5000)
    for n in range(40):
        progress.fold(event("task_started", f"t{n}", 0, attempt=1))
    progress.fold(event("task_failed", "t0", 1, attempt=1, error="exit status 9"))
    lines = Tree(pipe(), "etl", tasks, progress).frame(at(1), 20)
    assert len(lines) <= 20
    assert "exit status 9" in lines[1]
    assert lines[-3].endswith("more running")


def test_a_resume_shows_what_it_reuses() -> None:
    progress = Progress(4, {"fetch", "build[os=linux]"})
    lines = Tree(pipe(), "etl", TASKS, progress).frame(at(0), 30)
    assert lines[1] == "├─ ✓ fetch  reused"
    assert lines[-1].split()[1] == "2/4"


def test_lines() -> None:
    out = pipe()
    view = PlainView(out, "etl")
    for one in history():
        view.event(one)
    view.event(event("run_done", run_state=RunState.FAILED))
    view.note("a note")
    view.close()
    view.abandon()
    assert text(out).splitlines() == [
        "▶ etl  run r1",
        "→ fetch",
        "↻ fetch  attempt 1 failed: exit status 7; again in 500 ms",
        "→ fetch  attempt 2",
        "✓ fetch  3.0 s",
        "→ build[os=linux]",
        "  │ made",
        "  │ it",
        "  │ (cut here; the log has all of it)",
        "✗ build[os=linux]  2.0 s  exit status 1",
        "⊖ load  needs build",
        "→ alarm (handler of build)",
        "→ build[os=mac]  Build",
        "a note",
    ]


def test_a_cleanup_is_not_a_task_that_starts() -> None:
    events = [
        event("task_started", "env[k=v].cleanup", 1, attempt=1, role=TaskRole.CLEANUP, task_name="env"),
        event(
            "task_done",
            "env[k=v].cleanup",
            2,
            role=TaskRole.CLEANUP,
            task_name="env",
            state=TaskState.SUCCEEDED,
        ),
    ]
    out = pipe()
    view = PlainView(out, "etl")
    progress = Progress(1)
    for one in events:
        view.event(one)
        progress.fold(one)
    view.close()
    assert text(out).splitlines() == ["↺ env[k=v] cleanup", "✓ env[k=v] cleanup  1.0 s"]
    assert "╰─ ✓ env[k=v] cleanup  1.0 s" in Tree(pipe(), "etl", ["env[k=v]"], progress).frame(at(3), 30)


def test_json_lines() -> None:
    out = pipe()
    view = JsonLines(out)
    for one in history():
        view.event(one)
    view.note("not an event")
    view.close()
    view.abandon()
    found = [json.loads(line) for line in text(out).splitlines()]
    assert [one["kind"] for one in found] == [one.kind.value for one in history()]
    assert all({"kind", "run_id", "at"} <= set(one) for one in found)


def test_live_view_draws_and_leaves_the_end_on_the_screen() -> None:
    out = terminal(80)
    view = LiveView(out, "etl", TASKS, (), lambda: at(6), height=30)
    for one in history():
        view.event(one)
    view.note("a note")
    view.close()
    shown = text(out)
    assert "a note" in shown
    assert "it" in shown
    assert "\x1b[2J" not in shown
    assert shown.rstrip().splitlines()[-1].count("3/4") == 1
    assert "exit status 1" in shown.splitlines()[-5]


def test_a_terminal_that_goes_away_is_no_error() -> None:
    screen = Screen()
    out = Out(screen, environ={"TERM": "xterm", "COLUMNS": "80"})
    view = LiveView(out, "etl", TASKS, (), lambda: START, height=30)
    screen.close()
    view.event(history()[0])
    view.close()
    view.abandon()


@pytest.mark.parametrize("full", [False, True])
def test_leaving_at_once_shows_the_cursor_but_waits_for_no_reader(full: bool) -> None:
    reader, writer = os.pipe()
    os.set_blocking(writer, False)
    while full:
        try:
            os.write(writer, b"x" * 4096)
        except BlockingIOError:
            break
    os.set_blocking(writer, True)
    with os.fdopen(writer, "w", encoding="utf-8") as stream:
        view = LiveView(Out(Redirected(stream), environ={}), "etl", TASKS, (), lambda: START, height=30)
        view.abandon()
        view.close()
    with os.fdopen(reader, "rb") as shown:
        assert (b"\x1b[?25h" in shown.read()) is not full


class Redirected(Screen):
    """Has the descriptor of another stream."""

    def __init__(self, stream: TextIO) -> None:
        super().__init__()
        self._descriptor = stream.fileno()

    def fileno(self) -> int:
        return self._descriptor


class SlowScreen(Screen):
    """Takes nothing until it is told to."""

    def __init__(self) -> None:
        super().__init__(terminal=False)
        self.ready = Flag()

    def write(self, text: str) -> int:
        assert self.ready.wait(30)
        return super().write(text)


def test_a_slow_reader_holds_nobody_up_and_misses_nothing() -> None:
    screen = SlowScreen()
    writer = Writer(Out(screen, environ={}))
    for number in range(1000):
        writer.line(str(number))
    assert screen.getvalue() == ""
    screen.ready.set()
    writer.close()
    assert screen.getvalue().split() == [str(number) for number in range(1000)]


class BrokenScreen(Screen):
    """Its reader has gone away."""

    writes = 0

    def write(self, text: str) -> int:
        self.writes += 1
        raise BrokenPipeError


def test_a_reader_that_has_gone_is_written_to_once() -> None:
    screen = BrokenScreen(terminal=False)
    view = PlainView(Out(screen, environ={}), "etl")
    for one in history():
        view.event(one)
    view.close()
    assert screen.writes == 1


def test_silence() -> None:
    view = Silence()
    for one in history():
        view.event(one)
    view.note("")
    view.close()
    view.abandon()
    assert not view.listens


@pytest.mark.parametrize(
    ("task", "name", "expected"),
    [
        ("build", "build", "build"),
        ("build", "", "build"),
        ("build[os=x]", "build", "build[os=x]"),
        ("build", "The build", "build  The build"),
        ("alarm@load", "alarm", "alarm@load"),
        ("x", "\x1b", "x  \\x1b"),
    ],
)
def test_labels(task: str, name: str, expected: str) -> None:
    assert label(task, name) == expected


# -- runs within tasks ------------------------------------------------------------------------------------------


def inner(
    kind: str, run: str, within: str, task: str = "", seconds: float = 0, **fields: Any
) -> ProgressEvent:
    found = event(kind, task, seconds, **fields)
    return structs.replace(found, run_id=run, within=tuple(within.split("/")))


def nested_history() -> list[ProgressEvent]:
    return [
        event("run_started", total=2, run_state=RunState.RUNNING),
        event("task_started", "deploy", 0, attempt=1),
        inner("run_started", "r2", "deploy", total=3, run_state=RunState.RUNNING),
        inner("task_started", "r2", "deploy", "network", 1, attempt=1),
        inner("task_done", "r2", "deploy", "network", 3, attempt=1, state=TaskState.SUCCEEDED),
        inner("task_started", "r2", "deploy", "servers", 3, attempt=1),
        inner("run_started", "r3", "deploy/servers", total=1, run_state=RunState.RUNNING),
        inner("task_started", "r3", "deploy/servers", "boot", 4, attempt=1),
        inner("task_output", "r3", "deploy/servers", "boot", 4, output="hello\n"),
        inner(
            "task_retrying", "r3", "deploy/servers", "boot", 5, attempt=1, error="exit status 1", delay=1.0
        ),
        inner("task_started", "r3", "deploy/servers", "boot", 6, attempt=2),
        inner(
            "task_failed",
            "r3",
            "deploy/servers",
            "boot",
            7,
            attempt=2,
            state=TaskState.FAILED,
            error="exit status 1",
        ),
        inner("run_done", "r3", "deploy/servers", run_state=RunState.FAILED, error="boot failed"),
        inner("task_started", "r2", "deploy", "network.cleanup", 8, attempt=1, role=TaskRole.CLEANUP),
    ]


def fold_nested() -> Progress:
    progress = Progress(2)
    for one in nested_history():
        progress.fold(one)
    return progress


def test_what_happens_in_inner_runs_counts_in_them_alone() -> None:
    progress = fold_nested()
    assert (progress.run_id, progress.total, progress.done) == ("r1", 2, 0)
    assert set(progress.states) == {"deploy"}
    assert progress.retries == {}
    deploy = progress.inner["deploy"]
    assert (deploy.run_id, deploy.done, deploy.spent["network"]) == ("r2", 1, 2.0)
    servers = deploy.inner["servers"]
    assert (servers.failed, servers.retries) == (["boot"], {"boot": 1})


def test_another_run_of_the_same_task_begins_anew() -> None:
    progress = fold_nested()
    progress.fold(inner("task_started", "r9", "deploy", "network", 9, attempt=1))
    assert progress.inner["deploy"].states == {"network": TaskState.RUNNING}
    progress.fold(inner("task_started", "r9", "deploy", "servers", 9, attempt=1))
    assert set(progress.inner["deploy"].states) == {"network", "servers"}


def test_the_tree_shows_inner_runs_under_their_task_and_counts_the_outer_tasks() -> None:
    assert Tree(pipe(), "etl", ["deploy", "tell"], fold_nested()).frame(at(9), 30) == [
        "etl  run r1",
        "├─ ⠋ deploy  9.0 s",
        "│  ├─ ✓ network  2.0 s",
        "│  ├─ ⠋ servers  6.0 s",
        "│  │  ╰─ ✗ boot  3.0 s  ↻1  exit status 1",
        "│  ╰─ ⠋ network cleanup  1.0 s",
        "╰─ · tell",
        "",
        "╸───────────────────────────────────  0/2  9.0 s",
    ]


def test_inner_runs_shrink_to_what_tells_most_when_room_is_short() -> None:
    lines = Tree(pipe(), "etl", ["deploy", "tell"], fold_nested()).frame(at(9), 8)
    assert len(lines) == 8
    assert not any("✓ network" in line for line in lines)
    assert any("✗ boot" in line for line in lines)


@pytest.mark.parametrize("room", [30, 8, 7, 6, 5, 4, 3, 2, 1])
@pytest.mark.parametrize("tasks", [["deploy", "tell"], []])
def test_the_tree_of_inner_runs_keeps_to_its_room(room: int, tasks: list[str]) -> None:
    assert len(Tree(pipe(), "etl", tasks, fold_nested()).frame(at(9), room)) <= max(room, 1)


def test_a_task_that_has_succeeded_hides_the_run_within_it() -> None:
    progress = fold_nested()
    progress.fold(event("task_done", "deploy", 9, attempt=1, state=TaskState.SUCCEEDED))
    assert len(Tree(pipe(), "etl", ["deploy"], progress).frame(at(9), 30)) == 4


def test_matrix_nodes_show_the_runs_within_them() -> None:
    progress = Progress(2)
    progress.fold(event("task_started", "m[n=1]", 0, attempt=1))
    progress.fold(inner("task_started", "r2", "m[n=1]", "step", 0, attempt=1))
    lines = Tree(pipe(), "etl", ["m[n=1]", "m[n=2]"], progress).frame(at(1), 30)
    assert lines[2:5] == ["   ├─ ⠋ [n=1]  1.0 s", "   │  ╰─ ⠋ step  1.0 s", "   ╰─ · [n=2]"]


def nested_lines(out: Out) -> list[str]:
    view = PlainView(out, "etl")
    for one in nested_history():
        view.event(one)
    view.close()
    return text(out).splitlines()


def test_lines_name_inner_tasks_behind_outer_ones() -> None:
    assert nested_lines(pipe()) == [
        "▶ etl  run r1",
        "→ deploy",
        "→ deploy › network",
        "✓ deploy › network  2.0 s",
        "→ deploy › servers",
        "→ deploy › servers › boot",
        "  │ hello",
        "↻ deploy › servers › boot  attempt 1 failed: exit status 1; again in 1.0 s",
        "→ deploy › servers › boot  attempt 2",
        "✗ deploy › servers › boot  3.0 s  exit status 1",
        "↺ deploy › network cleanup",
    ]


def test_lines_in_ascii() -> None:
    lines = nested_lines(pipe("ascii"))
    assert "> deploy > servers > boot" in lines
    assert all(line.isascii() for line in lines)


def test_json_lines_tell_what_they_are_within() -> None:
    out = pipe()
    view = JsonLines(out)
    for one in nested_history():
        view.event(one)
    view.close()
    found = [json.loads(line) for line in text(out).splitlines()]
    assert "within" not in found[0]
    assert found[2]["within"] == ["deploy"]
    assert (found[7]["within"], found[7]["run_id"]) == (["deploy", "servers"], "r3")


def test_a_terminal_heads_output_with_the_whole_path_and_goes_on_after_an_inner_end() -> None:
    out = terminal()
    view = LiveView(out, "etl", ["deploy"], (), lambda: at(9), height=20)
    for one in nested_history():
        view.event(one)
    view.event(event("task_done", "deploy", 9, attempt=1, state=TaskState.SUCCEEDED))
    view.close()
    shown = re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", text(out))
    assert "deploy › servers › boot" in shown
    assert "1/2" in shown
