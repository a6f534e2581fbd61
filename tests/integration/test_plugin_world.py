"""Plugins and the machine: memory, files that travel, processes after a ``kill -9``, and what a run makes of them."""

import asyncio
import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from msgspec import structs
from plugin_rig import QUICK, ROGUE, rogue

from runwright import Engine, decode_workflow
from runwright.adapters.plugin import files
from runwright.adapters.plugin.folder import PREFIX, PluginFolder
from runwright.adapters.plugin.remote import Remote
from runwright.core.errors import TaskFailed
from runwright.core.options import FailurePolicy, RunOptions
from runwright.core.task import Task, TaskId
from runwright.testing import LocalSession

HERE = Path(__file__).parent
SERVER = HERE.parent / "contract/plugin_server.py"
FLOOD_MIB = 1024 if os.environ.get("RUNWRIGHT_LONG") else 200
MOST_MIB = 64


def until(holds: Callable[[], Any], seconds: float) -> bool:
    end = time.monotonic() + seconds
    while not holds():
        if time.monotonic() > end:
            return False
        time.sleep(0.01)
    return True


def flooded(how: str) -> tuple[int, int]:
    env = {name: value for name, value in os.environ.items() if not name.startswith("COVERAGE")}
    command = [sys.executable, str(HERE / "plugin_flood.py"), how, str(FLOOD_MIB)]
    done = subprocess.run(command, env=env, capture_output=True, text=True, check=True)
    grown, seen = done.stdout.split()
    return int(grown), int(seen)


@pytest.mark.skipif(sys.platform != "linux", reason="looks into /proc")
@pytest.mark.parametrize("how", ["flood", "print_much"])
def test_a_flood_of_output_leaves_the_memory_as_it_is(how: str) -> None:
    grown, seen = flooded(how)
    assert seen >= FLOOD_MIB
    assert grown < MOST_MIB


@pytest.mark.skipif(sys.platform != "linux", reason="looks into /proc")
def test_control_output_that_is_kept_shows() -> None:
    grown, _ = flooded("keep")
    assert grown > MOST_MIB


def alive(pid: int) -> bool:
    try:
        state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except (FileNotFoundError, ProcessLookupError):
        return False
    return state != "Z"


@pytest.mark.skipif(sys.platform != "linux", reason="looks into /proc")
def test_after_a_kill_of_the_engine_nothing_of_the_plugin_lives(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with tempfile.TemporaryDirectory(dir="/tmp") as short:
        monkeypatch.setenv("TMPDIR", short)
        monkeypatch.setattr(tempfile, "tempdir", short)
        kill_an_engine(tmp_path, Path(short))


def kill_an_engine(tmp_path: Path, temporary: Path) -> None:
    engine = subprocess.Popen([sys.executable, str(HERE / "plugin_engine.py"), str(tmp_path)])
    pids_file = tmp_path / "pids"
    assert until(lambda: pids_file.exists() and len(pids_file.read_text().split()) == 2, 30)
    pids = [int(pid) for pid in pids_file.read_text().split()]
    left = list(temporary.glob(f"{PREFIX}*"))
    assert len(left) == 1
    assert (left[0].stat().st_mode & 0o777) == 0o700
    engine.kill()
    engine.wait()
    assert until(lambda: not any(map(alive, pids)), 2), "processes live on"
    assert until(lambda: not _speaks(left[0] / "s"), 2), "the plugin lives on"
    assert left[0].exists(), "the control: nobody is left to remove the directory"
    PluginFolder().remove()
    assert not list(temporary.glob(f"{PREFIX}*")), "the next plugin removes it"


def _speaks(path: Path) -> bool:
    import socket

    with socket.socket(socket.AF_UNIX) as door:
        try:
            door.connect(str(path))
        except OSError:
            return False
    return True


def test_a_directory_that_is_in_use_stays(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    first = PluginFolder()
    (tmp_path / f"{PREFIX}file").touch()
    second = PluginFolder()
    assert first.temporary.is_dir()
    for folder in (first, second, second):
        folder.remove()
    assert [path.name for path in tmp_path.iterdir()] == [f"{PREFIX}file"]
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / ("x" * 90)))
    far = PluginFolder()
    assert len(str(far.socket)) < 100
    far.remove()


# -- files that travel -----------------------------------------------------------------------------------------


def sent(folder: Path, cmd: str, *inputs: str) -> Any:
    async def run() -> Any:
        remote = Remote([sys.executable, str(HERE / "copying_plugin.py")], shared_files=False)
        session = LocalSession(folder, source=folder / "tree")
        await remote.open_session(session)
        try:
            task = Task(id=TaskId("task"), args={"cmd": cmd}, inputs=inputs)
            result = await remote.execute(session, task)
            return result, session.output_dir(TaskId("task"))
        finally:
            await remote.close_session(session.id)

    return asyncio.run(run())


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    root = tmp_path / "tree"
    (root / "src/deep").mkdir(parents=True)
    (root / "src/a.txt").write_text("a")
    (root / "src/deep/b.txt").write_text("b")
    (root / "src/.hidden").write_text("h")
    (root / "run.sh").write_text("#!/bin/sh\necho ran\n")
    (root / "run.sh").chmod(0o755)
    (root / "empty").touch()
    (root / "large").write_bytes(os.urandom(3 << 20))
    (root / "secret").write_text("not declared")
    return root


def test_inputs_and_outputs_travel(tree: Path) -> None:
    cmd = "find . -type f | sort; ./run.sh; cp large ../outputs/copy; mkdir ../outputs/d; echo x > ../outputs/d/y"
    result, folder = sent(tree.parent, cmd, "src", "run.sh", "e*", "lar?e", "!src/deep/**")
    assert result.value.splitlines() == [
        "./empty", "./large", "./run.sh", "./src/.hidden", "./src/a.txt", "ran",
    ]  # fmt: skip
    assert sorted(result.outputs) == ["copy", "d/y"]
    assert (folder / "copy").read_bytes() == (tree / "large").read_bytes()
    assert (folder / "d/y").read_text() == "x\n"


def test_everything_below_a_directory(tree: Path) -> None:
    result, _ = sent(tree.parent, "find . -type f | sort; chmod 700 run.sh; cp run.sh ../outputs/", "**")
    assert len(result.value.splitlines()) == 7
    assert result.outputs == ("run.sh",)


@pytest.mark.parametrize("pattern", ["/etc/passwd", "../x", "a/../../x", "link", "src/../../x"])
def test_inputs_never_leave_the_tree(pattern: str, tree: Path) -> None:
    (tree / "link").symlink_to("/etc/passwd")
    with pytest.raises(TaskFailed, match="leads out of the source tree"):
        sent(tree.parent, "true", pattern)


def test_an_input_that_can_t_be_read(tree: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from runwright.adapters.plugin import call

    monkeypatch.setattr(call, "find_inputs", lambda source, inputs: ["is/gone"])
    with pytest.raises(TaskFailed, match="can't be read") as caught:
        sent(tree.parent, "true", "src")
    assert caught.value.failure.code == "E_INPUT"


SENT: list[tuple[list[tuple[str, str, bool]], list[str], str]] = [
    ([("../x", "1", True)], ["../x"], "is no path below a directory"),
    ([("/tmp/x", "1", True)], ["/tmp/x"], "is no path below a directory"),
    ([("a", "1", True), ("a", "2", True)], ["a"], "comes twice"),
    ([("a", "1", False), ("b", "2", True)], ["a", "b"], "before 'a' is complete"),
    ([("a", "1", False)], ["a"], "is not complete"),
    ([("a", "1", True)], [], "it names other outputs than it sent: 'a'"),
    ([], ["a"], "it names other outputs than it sent: 'a'"),
    ([("up/x", "1", True)], ["up/x"], "can't be written"),
    ([("a", "1", True), ("a/b", "1", True)], ["a", "a/b"], "can't be written"),
]


@pytest.mark.parametrize(("chunks", "names", "message"), SENT, ids=[message for *_, message in SENT])
def test_files_that_a_plugin_must_not_send(
    chunks: list[tuple[str, str, bool]], names: list[str], message: str, tmp_path: Path
) -> None:
    async def check() -> None:
        async with rogue(tmp_path, shared_files=False) as rig:
            folder = rig.session.output_dir(TaskId("task"))
            (folder / "up").symlink_to(tmp_path)
            with pytest.raises(TaskFailed, match=message):
                await rig.run("send", files=chunks, names=names)
            assert [path.name for path in folder.iterdir()] == ["up"], "what came is removed"
            assert not (tmp_path / "x").exists()
            good = await rig.run("send", files=[("d/a", "1", False), ("d/a", "2", True)], names=["d/a"])
            assert good.outputs == ("d/a",)
            assert (folder / "d/a").read_text() == "12"

    asyncio.run(check())


def test_control_a_link_that_is_followed_leads_out(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(files, "FOLDER_FLAGS", os.O_RDONLY | os.O_DIRECTORY)

    async def check() -> None:
        async with rogue(tmp_path, shared_files=False) as rig:
            (rig.session.output_dir(TaskId("task")) / "up").symlink_to(tmp_path)
            await rig.run("send", files=[("up/x", "1", True)], names=["up/x"])
            assert (tmp_path / "x").exists()

    asyncio.run(check())


def test_a_plugin_that_does_not_wait_for_its_inputs(tree: Path) -> None:
    async def check() -> None:
        async with rogue(tree.parent, "hasty", shared_files=False) as rig:
            rig.session.source = tree
            work = [rig.run("ok", f"task-{number}", inputs=("**",)) for number in range(5)]
            ends = await asyncio.gather(*work, return_exceptions=True)
            assert all(
                getattr(end, "value", 0) == 1 or "before it had taken all inputs" in str(end) for end in ends
            )

    asyncio.run(check())


def test_files_that_are_too_large(tmp_path: Path) -> None:
    async def check() -> None:
        async with rogue(
            tmp_path, options=structs.replace(QUICK, output_bytes=1 << 20), shared_files=False
        ) as rig:
            large = [(f"f{number}", "x", True) for number in range(20)]
            with pytest.raises(TaskFailed, match="more than 1048576 bytes") as caught:
                await rig.run("send", files=large, times=100_000, names=[])
            assert caught.value.failure.code == "E_PLUGIN_LIMIT"
            assert not list(rig.session.output_dir(TaskId("task")).iterdir())

    asyncio.run(check())


# -- a run -----------------------------------------------------------------------------------------------------


def test_a_run_with_a_rogue_plugin_loses_nothing_else(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    deeds = {
        "crash": {}, "abort": {}, "garbage": {}, "large_value": {"mib": 8},
        "told": {"reports": []}, "outputs": {"names": ["../x"]}, "ok": {"value": "fine"},
    }  # fmt: skip
    table = {"plugin": [sys.executable, str(ROGUE)]}
    tasks: dict[str, Any] = {
        do: {"executor": f"p-{do}", "args": {"do": do, **args}} for do, args in deeds.items()
    }
    tasks["late"] = {"executor": "p-late", "args": {"do": "ok"}}
    tasks["old"] = {"executor": "p-old", "args": {"do": "ok"}}
    tasks["plain"] = {"cmd": "sleep 1; echo done", "register": "word"}
    tasks["after"] = {"cmd": "test '{{.ok.value}}' = fine", "depends_on": ["ok"]}
    executors: dict[str, Any] = {f"p-{do}": table for do in (*deeds, "late")}
    executors["p-late"] = {**table, "startup_timeout": "30s"}
    executors["p-old"] = {"plugin": [*table["plugin"], "version"]}
    workflow = decode_workflow({"name": "rogue", "executors": executors, "tasks": tasks})

    async def check() -> None:
        async with Engine(tmp_path / "store", workers=4) as engine:
            run = await engine.execute(workflow, RunOptions(failure_policy=FailurePolicy.KEEP_GOING))
            rows = {row.id: row for row in await engine.store.tasks(run.id)}
            failed = {name: row.failure.code for name, row in rows.items() if row.failure is not None}
            assert failed == {
                "crash": "E_PLUGIN_CRASHED",
                "abort": "E_PLUGIN",
                "garbage": "E_PLUGIN",
                "large_value": "E_PLUGIN_LIMIT",
                "told": "E_PLUGIN",
                "outputs": "E_PLUGIN",
                "old": "E_PLUGIN_VERSION",
            }
            assert {rows[name].state.value for name in ("ok", "plain", "after", "late")} == {"succeeded"}

    asyncio.run(check())


def test_serve_outside_of_runwright_says_what_it_is_for(capfd: pytest.CaptureFixture[str]) -> None:
    done = subprocess.run([sys.executable, str(SERVER), "shell"], capture_output=True, text=True, check=False)
    assert done.returncode == 2
    assert "this is a plugin of Runwright, which starts it" in done.stderr


def test_without_the_extra_the_message_says_what_to_install(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from importlib import util

    from runwright.core.errors import UsageError

    real = util.find_spec
    monkeypatch.setattr(util, "find_spec", lambda name: None if name == "grpc" else real(name))
    with pytest.raises(UsageError, match=r"pip install 'runwright\[grpc\]'"):
        Remote(["anything"])


def test_a_stopped_plugin_ends_its_tasks_and_itself(tmp_path: Path) -> None:
    socket = tmp_path / "s"
    env = {**os.environ, "RUNWRIGHT_PLUGIN_SOCKET": str(socket)}
    plugin = subprocess.Popen([sys.executable, str(SERVER), "shell"], env=env)
    assert until(socket.exists, 30)
    plugin.send_signal(signal.SIGTERM)
    assert plugin.wait(10) == 0
