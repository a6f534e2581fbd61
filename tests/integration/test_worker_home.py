"""A worker's directory is its own, and remembers what a dead worker was at."""

import subprocess
import sys
from pathlib import Path

import pytest

from runwright.adapters.worker_home import JOBS, WorkerHome
from runwright.core.errors import ConflictError, StoreError
from runwright.core.job import Job
from runwright.ports.jobs import GivenJob


def given(number: int, attempt: int = 1) -> GivenJob:
    return GivenJob(job=Job(id=number, token="secret"), queue="q", attempt=attempt)


def test_what_a_dead_worker_was_at_is_known_after_it(tmp_path: Path) -> None:
    script = (
        "import os, sys\n"
        "from pathlib import Path\n"
        "from runwright.adapters.worker_home import WorkerHome\n"
        "from runwright.core.job import Job\n"
        "from runwright.ports.jobs import GivenJob\n"
        "home = WorkerHome.open(Path(sys.argv[1]))\n"
        "home.note([GivenJob(job=Job(id=5, token='secret'), queue='q', attempt=2)])\n"
        "print(home.boot_id, flush=True)\n"
        "os.kill(os.getpid(), 9)\n"
    )
    dead = subprocess.run(
        [sys.executable, "-c", script, tmp_path], capture_output=True, text=True, check=False
    ).stdout.strip()
    home = WorkerHome.open(tmp_path)
    assert [(job.id, job.queue, job.attempt) for job in home.left] == [(5, "q", 2)]
    assert home.boot_id != dead
    assert not home.is_alive(f"{dead}-5-2")
    assert home.is_alive(f"{home.boot_id}-5-2")
    assert home.is_alive("0123456789abcdef-1-1"), "another worker's, of which nothing is known"
    assert b"secret" not in (tmp_path / JOBS).read_bytes()
    home.close()


def test_jobs_keep_the_instant_at_which_they_came(tmp_path: Path) -> None:
    home = WorkerHome.open(tmp_path)
    home.note([given(1)])
    home.note([given(1), given(2)])
    home.close()
    home.close()
    again = WorkerHome.open(tmp_path)
    assert [job.id for job in again.left] == [1, 2]
    assert again.left[0].since <= again.left[1].since
    again.note([])
    again.close()
    assert WorkerHome.open(tmp_path).left == ()


def test_a_directory_has_one_worker(tmp_path: Path) -> None:
    home = WorkerHome.open(tmp_path)
    with pytest.raises(ConflictError, match="another worker"):
        WorkerHome.open(tmp_path)
    home.close()
    WorkerHome.open(tmp_path).close()


def test_the_identity_of_a_directory_stays(tmp_path: Path) -> None:
    first = WorkerHome.open(tmp_path / "new" / "home")
    first.close()
    second = WorkerHome.open(tmp_path / "new" / "home")
    assert first.boot_id[:8] == second.boot_id[:8]
    assert first.boot_id != second.boot_id
    assert (tmp_path / "new" / "home").stat().st_mode & 0o777 == 0o700
    assert all(path.stat().st_mode & 0o077 == 0 for path in (tmp_path / "new" / "home").iterdir())


def test_damaged_notes_are_no_obstacle(tmp_path: Path) -> None:
    (tmp_path / JOBS).write_bytes(b"nonsense")
    (tmp_path / "worker.id").write_text("xyz")
    home = WorkerHome.open(tmp_path)
    assert home.left == ()
    assert len(bytes.fromhex(home.boot_id)) == 8
    home.close()


def test_what_can_not_be_a_directory_is_an_error(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(StoreError, match="can't be a worker's directory"):
        WorkerHome.open(tmp_path / "file")
    (tmp_path / "home" / "worker.id").mkdir(parents=True)
    before = len(list(Path("/proc/self/fd").iterdir()))
    with pytest.raises(StoreError, match="can't be a worker's directory"):
        WorkerHome.open(tmp_path / "home")
    assert len(list(Path("/proc/self/fd").iterdir())) == before
