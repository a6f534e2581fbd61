"""After ``kill -9`` of the engine no task in isolation lives on, and the rest is removed at the next start."""

# ruff: noqa: ASYNC110 - the files tell what lives, and no event can

import asyncio
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from hostile import ID, KINDS, Jail, is_locked
from isolation import containers, needs_bubblewrap
from process_survivors import wait_until

from runwright.adapters.container_ledger import FileLedger, sweep_containers
from runwright.adapters.owner import current_owner
from runwright.adapters.process import WardenProcesses
from runwright.core.task import Task
from runwright.testing.sessions import LocalSession

SECONDS = 2.0
"""Within which the processes of a killed engine are gone."""
HOLD = "trap '' TERM; exec 9>>/shared/held; flock 9; echo x >>/shared/began; while :; do sleep 0.05; done"


@contextmanager
def running(kind: str, folder: Path, *options: str) -> Iterator["subprocess.Popen[bytes]"]:
    """Have an engine whose task holds a file."""
    source = folder / "source"
    source.mkdir()
    source.chmod(0o777)
    script = Path(__file__).with_name("isolation_engine.py")
    with (folder / "log").open("wb") as log:
        engine = subprocess.Popen(
            [sys.executable, script, kind, folder, HOLD, *options], stdout=log, stderr=log
        )
    try:
        wait_until(lambda: (source / "began").exists() or engine.poll() is not None, 30)
        assert engine.poll() is None, (folder / "log").read_text()
        assert is_locked(source / "held")
        yield engine
    finally:
        engine.kill()
        engine.wait()


def sweep(folder: Path) -> None:
    """Do what the next engine does first."""

    async def scope() -> None:
        processes = WardenProcesses()
        try:
            await sweep_containers(folder / "ledger", processes)
        finally:
            await processes.close()

    asyncio.run(scope())


@needs_bubblewrap
def test_the_task_of_a_killed_engine_ends_in_the_sandbox(tmp_path: Path) -> None:
    with running("sandbox", tmp_path) as engine:
        engine.kill()
        wait_until(lambda: not is_locked(tmp_path / "source/held"), SECONDS)


def test_the_container_of_a_killed_engine_ends(engine: str, tmp_path: Path) -> None:
    with running(engine, tmp_path) as process:
        (name,) = containers(engine)
        process.kill()
        wait_until(lambda: not is_locked(tmp_path / "source/held"), SECONDS)
    wait_until(lambda: not containers(engine))
    assert [path.name for path in (tmp_path / "ledger").iterdir()] == [name]
    sweep(tmp_path)
    assert not (tmp_path / "ledger").exists()


def test_without_its_helper_a_container_lives_until_the_next_start(docker: str, tmp_path: Path) -> None:
    """The control of the helper: a daemon of its own keeps the container. And the proof of the sweep."""
    with running(docker, tmp_path, "--no-helper") as process:
        process.kill()
        process.wait()
        with pytest.raises(AssertionError, match="not within"):
            wait_until(lambda: not is_locked(tmp_path / "source/held"), SECONDS)
    sweep(tmp_path)
    assert not is_locked(tmp_path / "source/held")
    assert containers(docker) == []
    assert not (tmp_path / "ledger").exists()


def test_the_sweep_leaves_the_containers_of_the_living(engine: str, tmp_path: Path) -> None:
    with running(engine, tmp_path) as process:
        sweep(tmp_path)
        assert is_locked(tmp_path / "source/held")
        assert len(containers(engine)) == 1
        process.kill()
    wait_until(lambda: not containers(engine))


@pytest.mark.parametrize("kind", KINDS)
def test_a_stopped_task_gets_its_grace(kind: str, tmp_path: Path, request: pytest.FixtureRequest) -> None:
    if kind != "sandbox":
        request.getfixturevalue(kind)
    assert asyncio.run(_stopped(kind, tmp_path)) == "heeded\n"


async def _stopped(kind: str, folder: Path) -> str:
    """Stop a task that takes half a second to end, and return what it wrote then."""
    jail = Jail(kind, folder)
    jail.source.chmod(0o777)
    processes, ledger = WardenProcesses(), FileLedger(folder / "ledger", current_owner())
    cmd = "trap 'sleep 0.3; echo heeded >/shared/end; exit' TERM; echo x >/shared/began; while :; do sleep 0.05; done"
    mount = {"source": ".", "target": "/shared", "writable": True}
    task = Task(id=ID, args={"cmd": cmd, "mounts": [mount], "kill_grace": 20.0, **jail.common()})
    try:
        work = asyncio.create_task(jail.executor(processes, ledger).execute(LocalSession(folder), task))
        async with asyncio.timeout(30):
            while not (jail.source / "began").exists():
                await asyncio.sleep(0.01)
        work.cancel()
        await asyncio.wait([work])
        assert work.cancelled()
    finally:
        await processes.close()
        ledger.close()
    return (jail.source / "end").read_text()
