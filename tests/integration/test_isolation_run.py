"""Sandboxes and containers as tasks of workflows, and sandboxes on machines that give less."""

import asyncio
import os
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec
import pytest
from hostile import Jail
from isolation import IMAGE, containers, needs_bubblewrap, needs_root

from runwright.adapters.container_ledger import Entry
from runwright.adapters.owner import current_owner
from runwright.adapters.process import WardenProcesses
from runwright.core.errors import TaskFailed
from runwright.core.task import Result, Task, TaskId
from runwright.executors.sandbox import Sandbox
from runwright.executors.sandbox_argv import Cage, identity_files, system_link, task_files, to_argv
from runwright.executors.sandbox_files import lay_out
from runwright.testing.sessions import LocalSession
from runwright.wiring import Engine, decode_workflow

USER = 1234
FORK_MANY = 'i=0; while [ $i -lt 40 ]; do sleep 3 & i=$((i+1)); done; echo "started $i"'


def run(folder: Path, tasks: dict[str, Any], monkeypatch: pytest.MonkeyPatch, **top: Any) -> str:
    """Run a workflow in a directory; return the state of the run."""
    monkeypatch.chdir(folder)

    async def scope() -> str:
        async with Engine(folder / ".runwright/runs.db") as engine:
            return (await engine.execute(decode_workflow({"tasks": tasks, **top}))).state.value

    return asyncio.run(scope())


def logged(folder: Path, task: str) -> str:
    """Return the log of the only run's task."""
    (file,) = (folder / ".runwright/logs").glob(f"*/{task}/1.log")
    return file.read_text()


# -- in workflows


@needs_bubblewrap
def test_outputs_of_one_task_are_inputs_of_the_next(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "src").mkdir()
    (tmp_path / "src/a.txt").write_text("text of a\n")
    cat = {"cmd": "cat src/*.txt >build/all; echo {{.word}} >>build/all; echo done"}
    tasks = {
        "make": {
            "executor": "sandbox",
            "inputs": ["src/*.txt"],
            "outputs": ["build/all"],
            "args": cat,
            "register": "said",
        },
        "use": {
            "executor": "small",
            "inputs": ["build/all"],
            "depends_on": ["make"],
            "args": {"cmd": 'cat build/all; echo "{{.said}} by $RUNWRIGHT_TASK_ID"; ls'},
        },
    }
    hostile = 'it\'s; $HOME `id` "x"\n-n'
    small = {"executor": "sandbox", "pids": 20}
    state = run(tmp_path, tasks, monkeypatch, variables={"word": hostile}, executors={"small": small})
    assert state == "succeeded"
    expected = f"text of a\n{hostile}\n"
    assert (tmp_path / "build/all").read_text() == expected
    assert logged(tmp_path, "use") == f"{expected}done by use\nbuild\n"
    assert sorted(path.name for path in tmp_path.iterdir()) == [".runwright", "build", "src"]


def test_a_container_in_a_workflow(engine: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "data").write_text("of the tree\n")
    monkeypatch.setenv("TOKEN", "secret-token")
    args = {
        "image": IMAGE,
        "engine": engine,
        "pull": "never",
        "cmd": 'cat /tree/data; echo {{.word}}; echo "$TOKEN"; echo end; echo A=1 >"$RUNWRIGHT_OUTPUT"',
        "mounts": [{"source": ".", "target": "/tree"}],
        "inherit": ["TOKEN"],
    }
    tmp_path.chmod(0o755)
    tasks = {
        "box": {"executor": "container", "args": args},
        "after": {"cmd": "echo got {{.box.A}}", "depends_on": ["box"]},
    }
    word = "it's; $HOME `id`"
    state = run(tmp_path, tasks, monkeypatch, variables={"word": word}, secrets=["TOKEN"])
    assert state == "succeeded"
    assert logged(tmp_path, "box") == f"of the tree\n{word}\n***\nend\n"
    assert logged(tmp_path, "after") == "got 1\n"
    assert not (tmp_path / ".runwright/containers").exists()


def test_an_engine_removes_what_a_dead_one_left(
    engine: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    owner = msgspec.structs.replace(current_owner(), pid=2**22 + 1)
    label = f"runwright.owner={owner.host}:{owner.boot_id}:{owner.pid}:{owner.process_started}"
    options = ["--detach", "--network", "none", "--name", "rw-left", "--label", label]
    subprocess.run([engine, "run", *options, IMAGE, "sleep", "600"], check=True, capture_output=True)
    folder = tmp_path / ".runwright/containers"
    folder.mkdir(parents=True)
    entry = Entry(engine=engine, name="rw-left", owner=owner)
    (folder / "rw-left").write_bytes(msgspec.json.encode(entry))
    assert containers(engine) == ["rw-left"]
    assert run(tmp_path, {"a": {"cmd": "true"}}, monkeypatch) == "succeeded"
    assert containers(engine) == []
    assert not folder.exists()


# -- where the machine gives less


class NoGroups:
    """Control groups of a machine that lets us make none."""

    entrances: tuple[str, ...] = ()
    holds_memory = holds_pids = False

    def make(self, memory_bytes: int, pids: int) -> "NoGroups":
        return self

    def ran_out_of_memory(self) -> bool:
        return False

    def remove(self) -> None:
        pass


def without_groups(folder: Path, **args: object) -> tuple[Result | TaskFailed, str]:
    session = LocalSession(folder)
    task = Task(id=TaskId("t"), args=args)

    async def scope() -> Result | TaskFailed:
        processes = WardenProcesses()
        try:
            return await Sandbox(processes, NoGroups()).execute(session, task)
        except TaskFailed as error:
            return error
        finally:
            await processes.close()

    return asyncio.run(scope()), session.log(task.id).read().decode()


@needs_bubblewrap
def test_processes_are_bounded_without_control_groups(tmp_path: Path) -> None:
    outcome, printed = without_groups(tmp_path, cmd=FORK_MANY, pids=10)
    assert isinstance(outcome, TaskFailed)
    assert "started 40" not in printed
    four = "i=0; while [ $i -lt 4 ]; do sleep 1 & i=$((i+1)); done; wait; echo fine"
    assert isinstance(without_groups(tmp_path, cmd=four, pids=5)[0], Result)
    assert "started 40" in without_groups(tmp_path, cmd=FORK_MANY, pids=60)[1], "the control"


@needs_bubblewrap
def test_memory_that_can_t_be_bounded_is_an_error(tmp_path: Path) -> None:
    outcome, _ = without_groups(tmp_path, cmd="true", memory="64MiB")
    assert isinstance(outcome, TaskFailed)
    assert outcome.failure.code == "E_LIMIT"


# -- as an ordinary user


@pytest.fixture
def users_folder() -> Iterator[Path]:
    """A directory of a user who is not root, in a place that he can reach."""
    folder = Path(tempfile.mkdtemp(prefix="rw-user-"))
    yield folder
    shutil.rmtree(folder)


@needs_bubblewrap
@needs_root
def test_the_sandbox_of_an_ordinary_user(users_folder: Path) -> None:
    source = users_folder / "source"
    source.mkdir()
    (source / "in").write_text("input\n")
    layout = lay_out(users_folder / "box", source, ("in",), ("out",), "", -1)
    for name, text in identity_files(USER).items():
        (layout.etc / name).write_text(text)
    subprocess.run(["chown", "-R", f"{USER}:{USER}", users_folder], check=True)
    cmd = (
        f"cat in; id -un; (echo x >in); (echo x >/usr/x); (cat {source}/in); echo made >out; "
        "(unshare --user true && echo escaped); grep CapEff /proc/self/status; sleep 1 & sleep 1 & sleep 1 & sleep 1 &"
    )
    cage = Cage(etc=layout.etc, files=task_files(layout), limits=("--nproc=4",))
    argv = to_argv(shutil.which("bwrap") or "", cage, ("/bin/sh", "-c", cmd), system_link)
    become = ["setpriv", f"--reuid={USER}", f"--regid={USER}", "--clear-groups", "--"]
    done = subprocess.run(
        [*become, *argv], env={"PATH": os.environ["PATH"]}, capture_output=True, text=True, check=False
    )
    assert done.stdout == "input\ntask\nCapEff:\t0000000000000000\n"
    assert done.stderr.count("Read-only file system") == 2
    assert "Cannot fork" in done.stderr
    assert "No such file or directory" in done.stderr
    assert (layout.work / "out").read_text() == "made\n"


@needs_bubblewrap
def test_a_sandbox_that_can_t_be_made_says_why(tmp_path: Path) -> None:
    (tmp_path / "source").mkdir()
    mount = {"source": ".", "target": "/usr/there/can/be/nothing/here"}
    tried = Jail("sandbox", tmp_path).attempt("true", mounts=[mount])
    assert tried.failure is not None
    assert tried.failure.code == "E_SANDBOX"
    assert "/usr/there" in tried.failure.message
