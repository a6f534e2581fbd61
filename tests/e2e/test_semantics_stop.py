"""Ends of a run as a person at a terminal makes them: Ctrl-C once, twice, three times, a closed terminal, a limit.

After each of them nothing of the run is left: the detector finds processes by the directory they run in.
"""

import asyncio
import fcntl
import os
import pty
import signal
import struct
import subprocess
import sys
import termios
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from cli_project import PATIENCE, RUNWRIGHT, Project, environment, wait_until

from runwright import Engine, RunOptions
from runwright.core.options import FailurePolicy, Strategy
from runwright.core.states import RunState, TaskState
from runwright.core.workflow import TaskDefinition, Workflow

sys.path.insert(0, str(Path(__file__).parents[1] / "integration"))
from process_survivors import alive_in, kill_all_in, state

STUBBORN = """
name = "long"
kill_grace = "{grace}"
[tasks.first]
cmd = "echo made"
cleanup = ["echo undone > undone"]
[tasks.nap]
depends_on = ["first"]
cmd = '''
trap '' TERM INT HUP
(setsid sh -c 'sleep 3600 & sleep 3600' >/dev/null 2>&1 &)
nohup sleep 3600 >/dev/null 2>&1 &
touch begun
while :; do sleep 0.05; done
'''
"""


class Terminal:
    """A run on a terminal of its own, whose keys we press.

    Attributes:
        shown: All that has come so far.
    """

    def __init__(self, project: Project, *words: str) -> None:
        self.shown = b""
        self._lead, self.follow = pty.openpty()
        fcntl.ioctl(self.follow, termios.TIOCSWINSZ, struct.pack("HHHH", 24, 100, 0, 0))
        self.process = subprocess.Popen(
            [RUNWRIGHT, *words],
            cwd=project.root,
            env=environment(),
            stdin=self.follow,
            stdout=self.follow,
            stderr=self.follow,
            start_new_session=True,
            preexec_fn=lambda: fcntl.ioctl(0, termios.TIOCSCTTY, 0),  # noqa: PLW1509 - no thread runs yet
        )
        os.close(self.follow)
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    def _read(self) -> None:
        while True:
            try:
                data = os.read(self._lead, 65536)
            except OSError:
                return
            if not data:
                return
            self.shown += data

    def press_ctrl_c(self) -> None:
        os.write(self._lead, b"\x03")

    def hang_up(self) -> None:
        """Close the terminal's other end, as a window manager does."""
        self._lead, lead = -1, self._lead
        os.close(lead)

    def shows(self, text: str) -> None:
        wait_until(lambda: text.encode() in self.shown, f"{text} on the terminal")

    def status(self) -> int:
        return self.process.wait(timeout=PATIENCE)

    def close(self) -> None:
        if self.process.poll() is None:
            self.process.kill()
            self.process.wait()
        if self._lead >= 0:
            self._reader.join(timeout=PATIENCE)
            os.close(self._lead)


@pytest.fixture
def project(tmp_path: Path) -> Iterator[Project]:
    yield Project(tmp_path)
    kill_all_in(tmp_path)


@pytest.fixture
def terminal(project: Project, request: pytest.FixtureRequest) -> Iterator[Terminal]:
    grace, words = request.param
    project.write("long.toml", STUBBORN.format(grace=grace))
    found = Terminal(project, "run", "long", "-j", "2", *words)
    wait_until((project.root / "begun").exists, "the task")
    assert len(alive_in(project.root)) >= 4, "the control: the detector sees them"
    yield found
    found.close()


def on_terminal(grace: str, *words: str) -> pytest.MarkDecorator:
    return pytest.mark.parametrize("terminal", [(grace, words)], indirect=True)


def has_pending(pid: int, number: int) -> bool:
    """Tell whether a signal waits for a process to go on."""
    lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    mask = next(int(line.split()[1], 16) for line in lines if line.startswith("ShdPnd:"))
    return bool(mask & 1 << (number - 1))


def nothing_left(project: Project) -> None:
    wait_until(lambda: not alive_in(project.root), "the end of all processes")


@on_terminal("200ms")
def test_ctrl_c_once(project: Project, terminal: Terminal) -> None:
    terminal.press_ctrl_c()
    assert terminal.status() == 130
    assert alive_in(project.root) == []
    run = project.latest()
    assert (run["state"], run["reason"]) == ("cancelled", "stopped by Ctrl-C")
    assert (project.root / "undone").exists()


@on_terminal("1h")
def test_ctrl_c_twice(project: Project, terminal: Terminal) -> None:
    terminal.press_ctrl_c()
    terminal.shows("stopping")
    assert terminal.process.poll() is None, "the control: it waits for the grace"
    assert alive_in(project.root)
    terminal.press_ctrl_c()
    assert terminal.status() == 130
    assert alive_in(project.root) == []
    assert project.latest()["state"] == "cancelled"
    assert (project.root / "undone").exists(), "cleanups run"


@on_terminal("1h")
def test_ctrl_c_three_times(project: Project, terminal: Terminal) -> None:
    terminal.press_ctrl_c()
    terminal.shows("stopping")
    os.kill(terminal.process.pid, signal.SIGSTOP)  # so that two more come at once
    wait_until(lambda: state(terminal.process.pid) == "T", "the pause")
    terminal.process.send_signal(signal.SIGTERM)
    terminal.press_ctrl_c()
    wait_until(lambda: has_pending(terminal.process.pid, signal.SIGINT), "the key")
    os.kill(terminal.process.pid, signal.SIGCONT)
    assert terminal.status() in {130, 143}, "128 and the number of the last one, whichever that is"
    nothing_left(project)
    wait_until(lambda: project.latest()["state"] == "interrupted", "the lease to lapse")
    assert not (project.root / "undone").exists(), "there was no time for cleanups"


@on_terminal("100ms")
def test_a_closed_terminal_stops_the_run(project: Project, terminal: Terminal) -> None:
    terminal.hang_up()
    assert terminal.status() == 129
    nothing_left(project)
    assert project.latest()["state"] == "cancelled"


@on_terminal("100ms", "--timeout", "1s")
def test_the_limit_of_the_run(project: Project, terminal: Terminal) -> None:
    assert terminal.status() == 124
    assert alive_in(project.root) == []
    run = project.latest()
    assert run["state"] == "cancelled"
    assert run["reason"].startswith("run timeout")
    assert (project.root / "undone").exists()


@on_terminal("100ms")
def test_sigterm(project: Project, terminal: Terminal) -> None:
    terminal.process.send_signal(signal.SIGTERM)
    assert terminal.status() == 143
    assert alive_in(project.root) == []


@on_terminal("100ms")
def test_a_stopped_run_is_resumed(project: Project, terminal: Terminal) -> None:
    terminal.press_ctrl_c()
    assert terminal.status() == 130
    project.write("long.toml", STUBBORN.format(grace="1s").replace("while :; do sleep 0.05; done", "exit 0"))
    done = project("resume", "latest")
    assert done.returncode == 0, done.stdout + done.stderr
    assert alive_in(project.root) == []
    tasks = {task["id"]: task for task in project.json("status", "latest")["tasks"]}
    assert tasks["first"]["attempts"] == 2, "its cleanup had undone it"
    assert tasks["nap"]["attempts"] == 2


@on_terminal("100ms")
def test_a_request_to_cancel_is_noticed_within_a_second(project: Project, terminal: Terminal) -> None:
    begun = time.time()
    assert project("cancel", "latest", "--reason", "lunch").returncode == 0
    terminal.status()
    events = project.json("audit", "latest")
    text = str(events)
    assert "cancel_requested" in text
    stopping = (project.root / "undone").stat().st_mtime - begun
    assert stopping < 5.0, "a start of Python, a second to notice, the grace and the cleanup"
    assert project.latest()["reason"] == "lunch"


def task(key: str, cmd: str, *needs: str, **fields: object) -> TaskDefinition:
    return TaskDefinition(key=key, name=key, cmd=cmd, depends_on=needs, **fields)  # type: ignore[arg-type]


def test_a_library_call_that_is_cancelled_leaves_nothing(project: Project) -> None:
    flow = Workflow(
        name="lib",
        kill_grace=0.2,
        tasks={
            "a": task("a", "sleep 3600 & touch begun; trap '' TERM; while :; do sleep 0.05; done"),
            "b": task("b", "touch ran", "a"),
        },
    )

    async def scenario() -> None:
        async with Engine(project.root / ".runwright", workers=2) as engine:
            options = RunOptions(directory=str(project.root))
            running = asyncio.ensure_future(engine.execute(flow, options))
            while not (project.root / "begun").exists():  # noqa: ASYNC110 - a file tells nobody
                await asyncio.sleep(0.01)
            assert alive_in(project.root)
            running.cancel()
            with pytest.raises(asyncio.CancelledError):
                await running
            assert alive_in(project.root) == []
            run = await engine.store.find_run("latest")
            assert (run.state, run.owner) == (RunState.CANCELLED, None)
            states = {row.id: row.state for row in await engine.store.tasks(run.id)}
            assert states == {"a": TaskState.CANCELLED, "b": TaskState.CANCELLED}

    asyncio.run(scenario())
    assert not (project.root / "ran").exists()


@pytest.mark.parametrize("strategy", list(Strategy))
def test_fail_fast_stops_running_siblings(project: Project, strategy: Strategy) -> None:
    workers = 1 if strategy is Strategy.SEQUENTIAL else 2
    wait = "while [ ! -e begun ]; do sleep 0.01; done; exit 3" if workers > 1 else "exit 3"
    flow = Workflow(
        name="ff",
        kill_grace=0.2,
        tasks={"bad": task("bad", wait), "long": task("long", "touch begun; sleep 3600 & sleep 3600")},
    )

    async def scenario() -> None:
        async with Engine(project.root / ".runwright", workers=workers, strategy=strategy) as engine:
            options = RunOptions(directory=str(project.root), failure_policy=FailurePolicy.FAIL_FAST)
            run = await engine.execute(flow, options)
            assert alive_in(project.root) == []
            assert run.state is RunState.FAILED
            states = {row.id: row.state for row in await engine.store.tasks(run.id)}
            assert states == {"bad": TaskState.FAILED, "long": TaskState.CANCELLED}

    asyncio.run(scenario())
