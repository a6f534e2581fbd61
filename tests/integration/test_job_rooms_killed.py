"""After ``kill -9`` of a worker none of its steps lives on, and the next worker removes what is left."""

import asyncio
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from hostile import is_locked
from isolation import IMAGE, containers
from process_survivors import wait_until
from rooms import ENGINES, KINDS, Rooms

from runwright.executors.runtimes.container import HOME_LABEL
from runwright.wiring.job_runtimes import home_of

SECONDS = 30.0
"""Within which nothing of a killed worker is left."""
HOLD = "trap '' TERM; exec 9>>held; flock 9; echo x >>began; while :; do sleep 0.05; done"


@pytest.fixture(params=KINDS)
def rooms(request: pytest.FixtureRequest, tmp_path: Path) -> Rooms:
    if request.param in ENGINES:
        request.getfixturevalue(request.param)
    return Rooms(request.param, tmp_path)


@contextmanager
def working(rooms: Rooms, *options: str) -> Iterator["subprocess.Popen[bytes]"]:
    """Have a worker whose step holds a file."""
    script = Path(__file__).with_name("rooms_engine.py")
    with (rooms.folder / "log").open("wb") as log:
        worker = subprocess.Popen(
            [sys.executable, script, rooms.kind, rooms.folder, HOLD, *options], stdout=log, stderr=log
        )
    try:
        wait_until(lambda: (rooms.workspace / "began").exists() or worker.poll() is not None, 30)
        assert worker.poll() is None, (rooms.folder / "log").read_text()
        assert is_locked(rooms.workspace / "held")
        yield worker
    finally:
        worker.kill()
        worker.wait()


def sweep(rooms: Rooms, *alive: str) -> list[str]:
    """Do what the next worker does first."""

    async def scope() -> list[str]:
        async with rooms.runtime() as runtime:
            return await runtime.sweep(lambda name: name in alive)

    return asyncio.run(scope())


def test_nothing_of_a_killed_worker_lives_on(rooms: Rooms) -> None:
    with working(rooms) as worker:
        worker.kill()
        start = time.monotonic()
        wait_until(lambda: not is_locked(rooms.workspace / "held"), 5)
        if rooms.kind in ENGINES:
            wait_until(lambda: not containers(rooms.kind), SECONDS)
        assert time.monotonic() - start < SECONDS
    assert sweep(rooms) == []
    assert not (rooms.folder / "w/containers").exists()
    assert not groups_of(worker.pid)


def groups_of(pid: int) -> list[Path]:
    """Return the control groups that a process has made."""
    tops = [path for path in Path("/sys/fs/cgroup").iterdir() if path.is_dir()]
    return [path for top in tops for path in top.glob(f"**/runwright-{pid}-*")]


@pytest.mark.parametrize("kind", ENGINES)
def test_without_its_helper_a_container_lives_until_the_next_worker(
    kind: str, tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    """The control of the helper, and the proof of the sweep."""
    request.getfixturevalue(kind)
    rooms = Rooms(kind, tmp_path)
    with working(rooms, "--no-helper") as worker:
        worker.kill()
        worker.wait()
        with pytest.raises(AssertionError, match="not within"):
            wait_until(lambda: not containers(kind), 2)
    assert sweep(rooms) == ["removed the container runwright-place-1, whose worker has died"]
    assert containers(kind) == []
    assert not is_locked(rooms.workspace / "held")
    assert not (rooms.folder / "w/containers").exists()


@pytest.mark.parametrize("kind", ENGINES)
def test_a_sweep_leaves_the_living_and_what_is_others(
    kind: str, tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    request.getfixturevalue(kind)
    rooms = Rooms(kind, tmp_path)
    others = {
        "runwright-elsewhere-1": home_of(tmp_path / "other"),
        "runwright-dead-2": home_of(tmp_path / "w"),
    }
    for name, owner in others.items():
        label = f"{HOME_LABEL}={owner}"
        options = ["--detach", "--network", "none", "--name", name, "--label", label]
        subprocess.run([kind, "run", *options, IMAGE, "sleep", "600"], check=True, capture_output=True)
    try:
        with working(rooms):
            assert sweep(rooms, "place") == ["removed the container runwright-dead-2, whose worker has died"]
            assert is_locked(rooms.workspace / "held")
            assert sorted(containers(kind)) == ["runwright-elsewhere-1", "runwright-place-1"]
    finally:
        for name in others:
            subprocess.run([kind, "rm", "--force", name], check=False, capture_output=True)
    wait_until(lambda: not containers(kind), SECONDS)


def test_a_worker_without_an_engine_sweeps_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    assert sweep(Rooms("docker", tmp_path)) == []
