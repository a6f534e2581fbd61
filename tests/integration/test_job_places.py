"""Places of jobs: what hostile trees can't do to them."""

import asyncio
import os
import shutil
import stat
import subprocess
import time
from collections.abc import Callable, Coroutine, Iterator
from datetime import UTC, datetime
from pathlib import Path
from threading import Event
from typing import Any, TypeVar

import pytest

from runwright.adapters import job_trees
from runwright.adapters.job_places import DirectoryPlaces
from runwright.adapters.waiting import in_thread
from runwright.core.errors import TaskFailed
from runwright.core.job import Job, JobFile
from runwright.ports.jobs import GivenJob, JobLimits, JobPlace

T = TypeVar("T")
GIVEN = GivenJob(job=Job(id=7), queue="q", attempt=2)
SECRET = "of somebody else"


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def do(work: Coroutine[Any, Any, T]) -> T:
    return asyncio.run(work)


class Rig:
    def __init__(self, folder: Path) -> None:
        self.places = DirectoryPlaces(folder / "places", "boot")
        self.place = self.places.make(GIVEN, JobLimits(), 1.0)
        self.workspace = self.place.workspace
        self.outside = folder / "outside"
        self.outside.mkdir()
        (self.outside / "victim").write_text(SECRET)

    def write(self, path: str, content: bytes = b"new", **more: Any) -> int:
        return do(self.places.write(self.place, path, JobFile(content=content, **more)))

    def refused(self, path: str) -> str:
        with pytest.raises(TaskFailed) as caught:
            self.write(path)
        assert caught.value.failure.code == "E_PATH"
        assert (self.outside / "victim").read_text() == SECRET
        assert names(self.outside) == ["victim"]
        return caught.value.failure.message


@pytest.fixture
def rig(tmp_path: Path) -> Iterator[Rig]:
    made = Rig(tmp_path)
    yield made
    assert do(made.places.remove(made.place)) == []
    assert list((tmp_path / "places").iterdir()) == []
    assert (made.outside / "victim").read_text() == SECRET


def mode(path: Path) -> int:
    return stat.S_IMODE(path.lstat().st_mode)


def test_a_place_is_nobody_elses(rig: Rig) -> None:
    assert rig.place.name == "boot-7-2"
    for path in (rig.workspace.parent, rig.workspace, rig.place.scratch):
        assert mode(path) == 0o700
    other = rig.places.make(GIVEN, JobLimits(), 1.0)
    assert other.name == "boot-7-2-2", "ids repeat among queues"
    assert do(rig.places.remove(other)) == []


@pytest.fixture
def narrow_umask() -> Iterator[None]:
    former = os.umask(0o077)
    yield
    os.umask(former)


@pytest.mark.usefixtures("narrow_umask")
def test_files(rig: Rig) -> None:
    at = datetime(2020, 1, 2, 3, 4, 5, 678000, tzinfo=UTC)
    assert rig.write("a/b/plain.txt", b"x\0y", modified_at=at) == 0o644
    assert rig.write("run.sh", b"#!/bin/sh\n") == 0o755
    assert rig.write("run.sh", b"plain", modified_at=datetime(1, 1, 1, tzinfo=UTC)) == 0o644
    plain = rig.workspace / "a/b/plain.txt"
    assert (plain.read_bytes(), plain.stat().st_mtime) == (b"x\0y", at.timestamp())
    assert (mode(plain), mode(plain.parent), mode(rig.workspace / "run.sh")) == (0o644, 0o755, 0o644)
    assert abs((rig.workspace / "run.sh").stat().st_mtime - time.time()) < 60


@pytest.mark.skipif(os.getuid() != 0, reason="needs root")
def test_what_is_made_in_a_workspace_that_was_given_away_is_its_owners(rig: Rig) -> None:
    os.chown(rig.workspace, 65534, 65534)
    do(rig.places.make_directory(rig.place, "a/b"))
    assert {(path.stat().st_uid, path.stat().st_gid) for path in rig.workspace.rglob("*")} == {(65534, 65534)}


@pytest.mark.parametrize("path", ["../outside/victim", "a/../../outside/victim", "/etc/x", "", ".git/config"])
def test_a_path_does_not_leave(rig: Rig, path: str) -> None:
    rig.refused(path)


@pytest.mark.parametrize("target", ["../../../outside", "absolute", ".", "missing"])
def test_links_to_directories_are_not_followed(rig: Rig, target: str) -> None:
    (rig.workspace / "a").symlink_to(rig.outside if target == "absolute" else target)
    assert "is a link" in rig.refused("a/victim")
    with pytest.raises(TaskFailed, match="is a link"):
        do(rig.places.make_directory(rig.place, "a/b"))


def test_links_to_files_are_not_followed(rig: Rig) -> None:
    (rig.workspace / "victim").symlink_to(rig.outside / "victim")
    assert "a link is there" in rig.refused("victim")


def test_what_else_can_be_in_the_way(rig: Rig) -> None:
    (rig.workspace / "d").mkdir()
    os.mkfifo(rig.workspace / "fifo")
    (rig.workspace / "f").touch()
    assert "a directory is there" in rig.refused("d")
    assert "no plain file is there" in rig.refused("fifo")
    assert "is a file" in rig.refused("f/x")


def test_a_file_with_two_names_keeps_the_other(rig: Rig) -> None:
    os.link(rig.outside / "victim", rig.workspace / "victim")
    rig.write("victim")
    assert (rig.workspace / "victim").read_bytes() == b"new"
    assert (rig.outside / "victim").read_text() == SECRET


def test_a_way_that_follows_links_writes_outside(rig: Rig) -> None:
    """The control of the tests above: these traps work."""
    (rig.workspace / "a").symlink_to(rig.outside)
    (rig.workspace / "a/fresh").write_text("x")
    assert (rig.outside / "fresh").read_text() == "x"
    (rig.outside / "fresh").unlink()


SWAP = """
import os, shutil, sys

def begin():
    for name in ("a", "real", "link"):
        os.unlink(name) if os.path.islink(name) else shutil.rmtree(name, ignore_errors=True)
    os.mkdir("a")
    os.symlink(sys.argv[2], "link")

os.chdir(sys.argv[1])
print("ready", flush=True)
while True:
    try:
        begin()
        while True:
            for old, new in (("a", "real"), ("link", "a"), ("a", "link"), ("real", "a")):
                os.rename(old, new)
    except OSError:  # the one who writes has made a directory while there was none
        continue
"""


def test_a_link_that_comes_and_goes_is_never_followed(rig: Rig) -> None:
    """A process of the job that swaps a directory for a link while we write does not win."""
    argv = ["python3", "-c", SWAP, str(rig.workspace), str(rig.outside)]
    with subprocess.Popen(argv, stdout=subprocess.PIPE) as process:
        try:
            assert process.stdout is not None
            process.stdout.readline()
            begun = time.monotonic()
            written = refused = 0
            while time.monotonic() - begun < 1.0 or (
                not (written and refused) and time.monotonic() - begun < 30.0
            ):
                try:
                    rig.write("a/fresh")
                    written += 1
                except TaskFailed:
                    refused += 1
        finally:
            process.kill()
    assert names(rig.outside) == ["victim"]
    assert written, "it was a directory at times"
    assert refused, "and a link at others"


def test_a_note_is_taken(rig: Rig) -> None:
    note = rig.workspace / "note"

    def take() -> bytes | None:
        return do(rig.places.take(rig.place, "note", 10))

    assert take() is None
    note.write_bytes(b"step.1")
    assert take() == b"step.1"
    assert not note.exists()
    note.write_bytes(b"x" * 11)
    with pytest.raises(TaskFailed, match="more than 10 bytes"):
        take()
    note.symlink_to(rig.outside / "victim")
    with pytest.raises(TaskFailed, match="can't be read"):
        take()
    note.unlink()
    os.mkfifo(note)
    with pytest.raises(TaskFailed, match="no plain file"):
        take()


def test_the_disk_is_measured(rig: Rig) -> None:
    def used(limit: int = 1 << 40) -> int:
        return do(rig.places.used_bytes(rig.place, limit))

    empty = used()
    (rig.workspace / "a/b").mkdir(parents=True)
    (rig.workspace / "a/b/x").write_bytes(os.urandom(1_000_000))
    os.link(rig.workspace / "a/b/x", rig.workspace / "again")
    (rig.workspace / "out").symlink_to("/usr")
    with (rig.workspace / "sparse").open("wb") as file:
        file.truncate(1 << 30)
    assert 1_000_000 <= used() - empty < 1_100_000
    assert used(500_000) > 500_000


def test_a_tree_that_takes_too_long_to_measure_is_too_large(
    rig: Rig, monkeypatch: pytest.MonkeyPatch
) -> None:
    deep = rig.workspace
    for _ in range(120):
        deep = deep / "d"
        deep.mkdir()
    assert do(rig.places.used_bytes(rig.place, 1 << 40)) > 1 << 40
    monkeypatch.setattr(job_trees, "DEEPEST_MEASURED", 200)
    assert do(rig.places.used_bytes(rig.place, 1 << 40)) < 1 << 20
    monkeypatch.setattr(job_trees, "MOST_MEASURED", 50)
    assert do(rig.places.used_bytes(rig.place, 1 << 40)) > 1 << 40


def no_rights(workspace: Path) -> None:
    (workspace / "a/b").mkdir(parents=True)
    (workspace / "a/b/x").touch()
    (workspace / "a/b").chmod(0)
    (workspace / "a").chmod(0)
    workspace.chmod(0)


def very_deep(workspace: Path) -> None:
    script = """
import os
for _ in range(3000):
    os.mkdir("dddd")
    os.chdir("dddd")
open("leaf", "w").close()
"""
    subprocess.run(["python3", "-c", script], cwd=workspace, check=True)


def many_files(workspace: Path) -> None:
    for number in range(2_500):
        (workspace / str(number)).touch()
    (workspace / "more").mkdir()
    for number in range(2_500):
        (workspace / "more" / str(number)).touch()


def foreign_owner(workspace: Path) -> None:
    (workspace / "a").mkdir()
    (workspace / "a/x").touch()
    for path in (workspace / "a/x", workspace / "a"):
        os.chown(path, 65534, 65534)
    (workspace / "a").chmod(0o500)


def immutable(workspace: Path) -> None:
    (workspace / "a").mkdir()
    (workspace / "a/x").touch()
    subprocess.run(["chattr", "+i", str(workspace / "a/x"), str(workspace / "a")], check=True)


def odd_names(workspace: Path) -> None:
    for name in (b"-rf", b"\xff\xfe", b"a\nb", b" "):
        (workspace / os.fsdecode(name)).mkdir()
    os.mkfifo(workspace / "fifo")
    (workspace / "loop").symlink_to("loop")


def links_outside(workspace: Path) -> None:
    (workspace / "out").symlink_to(workspace.parents[2] / "outside")
    os.link(workspace.parents[2] / "outside/victim", workspace / "victim")


TREES = [no_rights, very_deep, many_files, foreign_owner, immutable, odd_names, links_outside]


@pytest.mark.parametrize("build", TREES)
def test_every_tree_is_removed(rig: Rig, build: Callable[[Path], None]) -> None:
    if build in (foreign_owner, immutable) and os.getuid():
        pytest.skip("needs root")
    if build is immutable and not _can_freeze(rig.outside):
        pytest.skip("files of this file system can't be immutable")
    build(rig.workspace)  # the fixture removes it


def _can_freeze(folder: Path) -> bool:
    if shutil.which("chattr") is None:
        return False
    probe = folder / "probe"
    probe.touch()
    frozen = subprocess.run(["chattr", "+i", str(probe)], check=False, capture_output=True).returncode == 0
    subprocess.run(["chattr", "-i", str(probe)], check=False, capture_output=True)
    probe.unlink()
    return frozen


def test_what_is_left_is_told(rig: Rig, monkeypatch: pytest.MonkeyPatch) -> None:
    (rig.workspace / "a").mkdir()
    for name in ("stuck", "other"):
        (rig.workspace / "a" / name).touch()
    unlink = os.unlink

    def failing(name: str, **more: Any) -> None:
        if name == "stuck":
            raise OSError(16, "Device or resource busy")
        unlink(name, **more)

    with monkeypatch.context() as patch:
        patch.setattr(job_trees.os, "unlink", failing)
        left = do(rig.places.remove(rig.place))
    assert any("stuck: Device or resource busy" in line for line in left)
    assert not list(rig.workspace.parent.rglob("other")), "what stands beside it is gone"


def test_removal_gives_up_in_time(rig: Rig) -> None:
    many_files(rig.workspace)
    stop = Event()
    stop.set()
    assert job_trees.remove_tree(rig.workspace, stop) == ["there was no time to remove all"]


def test_a_cancelled_call_waits_for_its_thread() -> None:
    async def scenario() -> None:
        begun, ended = Event(), Event()

        def work(stop: Event) -> None:
            begun.set()
            stop.wait(30)
            ended.set()

        call = asyncio.create_task(in_thread(work))
        await asyncio.to_thread(begun.wait, 30)
        call.cancel()
        with pytest.raises(asyncio.CancelledError):
            await call
        assert ended.is_set()

    do(scenario())


def test_places_of_the_dead_are_swept(tmp_path: Path) -> None:
    dead = DirectoryPlaces(tmp_path / "places", "dead").make(GIVEN, JobLimits(), 1.0)
    no_rights(dead.workspace)
    places = DirectoryPlaces(tmp_path / "places", "living")
    own = places.make(GIVEN, JobLimits(), 1.0)

    def sweep(places: DirectoryPlaces) -> list[str]:
        return do(places.sweep(lambda name: name.startswith("living-")))

    assert sweep(places) == ["removed workspace dead-7-2"]
    assert names(tmp_path / "places") == [own.name]
    assert sweep(DirectoryPlaces(tmp_path / "nowhere", "x")) == []


def test_a_spool_has_no_name(rig: Rig) -> None:
    spool = rig.places.spool()
    spool.append(b"abc")
    spool.append(b"def")
    assert (spool.read(2, 2), spool.read(4, 100), spool.read(9, 1)) == (b"cd", b"ef", b"")
    assert names(rig.workspace.parents[1]) == [rig.place.name]
    spool.close()
    spool.close()


def test_a_full_disk_is_told() -> None:
    class Full:
        def write(self, data: bytes) -> int:
            raise OSError(28, "No space left on device")

        def close(self) -> None: ...

    from runwright.adapters.job_places import FileSpool

    spool = FileSpool.__new__(FileSpool)
    spool._file = Full()  # type: ignore[assignment]
    with pytest.raises(TaskFailed, match="No space left"):
        spool.append(b"x")


def test_a_file_that_can_not_be_finished_leaves_nothing(rig: Rig, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: Any, **__: Any) -> None:
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(os, "rename", full)
        with pytest.raises(TaskFailed, match="No space left") as caught:
            rig.write("a")
    assert caught.value.failure.code == "E_WORKSPACE"
    assert names(rig.workspace) == []


def test_a_place_that_cannot_be_made(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(TaskFailed) as caught:
        DirectoryPlaces(tmp_path / "file/x", "boot").make(GIVEN, JobLimits(), 1.0)
    assert caught.value.failure.code == "E_WORKSPACE"
    place = JobPlace(name="x", workspace=tmp_path / "gone", scratch=tmp_path)
    places = DirectoryPlaces(tmp_path, "boot")
    for work in (places.make_directory(place, "a"), places.write(place, "a", JobFile())):
        with pytest.raises(TaskFailed) as caught:
            do(work)
        assert caught.value.failure.code == "E_WORKSPACE"
    assert do(places.remove(place)) == []
