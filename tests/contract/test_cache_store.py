"""One suite for every cache: the directory on a disk, and the fake in memory."""

import asyncio
import os
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest
from blake3 import blake3
from msgspec.structs import replace

from runwright.adapters.cachestore import DirectoryCache
from runwright.core.cacheentry import Entry, Output, OutputKind
from runwright.core.cachekey import Material, account_of
from runwright.core.errors import StoreError
from runwright.core.task import Task, TaskId
from runwright.testing import MemoryCache

DAY = 24 * 3600.0
ACCOUNT = account_of(Material(executor="shell", args={}, inputs={}, env={}, outputs=()), str)


class World:
    """A cache with what the tests do behind its back."""

    def __init__(self, kind: str, folder: Path) -> None:
        self.kind = kind
        self.root = folder / "cache"
        self.folder = folder
        self._memory = MemoryCache()

    def open(self) -> Any:
        return self._memory if self.kind == "memory" else DirectoryCache(self.root)

    def blob(self, digest: str) -> Path:
        return self.root / "blobs" / digest[:2] / digest[2:]

    def entry(self, key: str) -> Path:
        return self.root / "entries" / key[:2] / key[2:]

    def damage_blob(self, digest: str) -> None:
        if self.kind == "memory":
            self._memory.blobs[digest] = b"!" + self._memory.blobs[digest][1:]
        else:
            data = self.blob(digest).read_bytes()
            self.blob(digest).write_bytes(b"!" + data[1:])

    def lose_blob(self, digest: str) -> None:
        if self.kind == "memory":
            del self._memory.blobs[digest]
        else:
            self.blob(digest).unlink()

    def damage_entry(self, key: str) -> None:
        if self.kind == "memory":
            self._memory.entries[key] = self._memory.entries[key][:-1]
        else:
            data = self.entry(key).read_bytes()
            self.entry(key).write_bytes(data[:-1])

    def age(self, key: str, seconds: float) -> None:
        if self.kind == "memory":
            self._memory.age(key, seconds)
            return
        then = time.time() - seconds
        os.utime(self.entry(key), (then, then))


@pytest.fixture(params=["memory", "directory"])
def world(request: pytest.FixtureRequest, tmp_path: Path) -> World:
    return World(request.param, tmp_path)


@pytest.fixture
def store(world: World) -> Any:
    return world.open()


def key(name: str) -> str:
    return blake3(name.encode()).hexdigest()


def entry(name: str, *outputs: Output, **fields: Any) -> Entry:
    return Entry(key=key(name), task_id=name, account=ACCOUNT, outputs=outputs, **fields)


def kept(store: Any, folder: Path, name: str, content: bytes, **fields: Any) -> Entry:
    """Keep a file and an entry that needs it."""
    file = folder / name
    file.write_bytes(content)
    digest, size = store.keep_file(file)
    found = entry(name, Output("tree", name, OutputKind.FILE, 0o644, digest, size), **fields)
    store.keep(found)
    return found


def test_what_is_kept_is_found_by_all(world: World, store: Any) -> None:
    full = entry(
        "a",
        Output("own", "x", OutputKind.LINK, 0o777, "y"),
        value={"n": [1, 2.5, None, "x"]},
        variables={"v": "1"},
        followups=(Task(id=TaskId("f"), args={"a": 1}),),
        own=("x",),
        made_at=5.0,
    )
    assert store.entry(full.key) is None
    store.keep(full)
    assert world.open().entry(full.key) == full
    store.keep(replace(full, value=2))
    assert store.entry(full.key).value == 2
    assert store.find(full.key[:5]) == [full.key]
    assert store.find("") == [full.key]
    assert store.find("xyz") == []


def test_what_is_not_plain_is_refused(store: Any) -> None:
    with pytest.raises(TypeError):
        store.keep(entry("a", value=object()))
    assert store.entry(key("a")) is None


def test_a_damaged_entry_is_missing(world: World, store: Any) -> None:
    store.keep(entry("a"))
    world.damage_entry(key("a"))
    assert store.entry(key("a")) is None
    store.keep(entry("a"))
    assert store.entry(key("a")) is not None


@pytest.mark.parametrize("content", [b"", b"hello", b"x" * 3_000_000])
def test_files_come_back_as_they_were(world: World, store: Any, tmp_path: Path, content: bytes) -> None:
    source, target = tmp_path / "source", tmp_path / "target"
    source.write_bytes(content)
    digest, size = store.keep_file(source)
    assert (digest, size) == (blake3(content).hexdigest(), len(content))
    assert store.keep_file(source) == (digest, size)
    target.write_bytes(b"something else")
    target.chmod(0o400)
    assert world.open().fetch_file(digest, target, 0o755)
    assert target.read_bytes() == content
    assert target.stat().st_mode & 0o7777 == 0o755
    assert not store.fetch_file(key("nothing"), target, 0o644)
    assert target.read_bytes() == content


def test_a_link_in_the_way_is_replaced_not_followed(store: Any, tmp_path: Path) -> None:
    source, target, other = tmp_path / "source", tmp_path / "target", tmp_path / "other"
    source.write_bytes(b"new")
    other.write_bytes(b"old")
    target.symlink_to(other)
    digest, _ = store.keep_file(source)
    assert store.fetch_file(digest, target, 0o644)
    assert not target.is_symlink()
    assert (target.read_bytes(), other.read_bytes()) == (b"new", b"old")


def test_damaged_content_is_never_handed_out(world: World, store: Any, tmp_path: Path) -> None:
    found = kept(store, tmp_path, "a", b"content")
    digest = found.outputs[0].digest
    world.damage_blob(digest)
    target = tmp_path / "target"
    assert not store.fetch_file(digest, target, 0o644)
    assert not target.exists()
    assert store.keep_file(tmp_path / "a") == (digest, 7)
    assert store.fetch_file(digest, target, 0o644)


def test_a_file_that_can_not_be_read_is_an_error(store: Any, tmp_path: Path) -> None:
    with pytest.raises(OSError):
        store.keep_file(tmp_path / "missing")


def test_trees_remember(world: World, store: Any, tmp_path: Path) -> None:
    one = store.tree(tmp_path, "flow")
    assert one.last("a") is None
    one.note("a", entry("a"))
    one.note("a", entry("a2"))
    one.note("b[\udc80]", entry("b"))
    one.files["x.c"] = (1, 2, 3, 4, "d")
    one.close()
    one.close()
    two = world.open().tree(tmp_path, "flow")
    assert two.last("a") == entry("a2")
    assert two.last("b[\udc80]") == entry("b")
    assert dict(two.files) == {"x.c": (1, 2, 3, 4, "d")}
    assert store.tree(tmp_path, "other").last("a") is None
    assert store.tree(tmp_path.parent, "flow").last("a") is None
    two.close()


def test_one_at_a_time_for_a_key(store: Any) -> None:
    inside: list[str] = []
    most = 0

    async def work(name: str) -> None:
        nonlocal most
        async with store.flight(key(name[0])):
            inside.append(name)
            most = max(most, len([one for one in inside if one[0] == name[0]]))
            for _ in range(3):
                await asyncio.sleep(0)
            inside.remove(name)

    async def all_of_them() -> None:
        await asyncio.gather(*(work(f"{name}{number}") for name in "ab" for number in range(4)))

    asyncio.run(all_of_them())
    assert most == 1


def test_a_flight_that_fails_or_is_cancelled_lets_the_next_in(store: Any) -> None:
    async def work() -> None:
        with pytest.raises(ValueError):
            async with store.flight(key("a")):
                raise ValueError
        async with store.flight(key("a")):
            waiting = asyncio.ensure_future(_enter(store))
            await asyncio.sleep(0)
            waiting.cancel()
            await asyncio.wait([waiting])
        async with store.flight(key("a")):
            pass

    asyncio.run(work())


async def _enter(store: Any) -> None:
    async with store.flight(key("a")):
        pass


def test_a_collection_removes_what_is_old(world: World, store: Any, tmp_path: Path) -> None:
    now = time.time()
    for name, age in (("a", 10 * DAY), ("b", 3 * DAY), ("c", 0.0)):
        kept(store, tmp_path, name, name.encode() * 100)
        world.age(key(name), age)
    store.used(entry("b"), now)
    assert store.collect(max_bytes=None, max_age=2 * DAY, now=now).entries == 1
    assert {item.task_id for item in store.items()} == {"b", "c"}
    later = store.collect(max_bytes=None, max_age=None, now=now + DAY)
    assert later.files + later.entries <= 1
    assert store.verify(repair=False) == []


def test_a_collection_makes_the_rest_small(world: World, store: Any, tmp_path: Path) -> None:
    for number, name in enumerate("abcd"):
        kept(store, tmp_path, name, (b"same" if name in "ab" else name.encode()) * 25)
        world.age(key(name), (10 - number) * 60.0)
    now = time.time()
    assert store.collect(max_bytes=10_000, max_age=None, now=now).entries == 0
    store.collect(max_bytes=60, max_age=None, now=now)
    assert {item.task_id for item in store.items()} == {"c", "d"}
    assert store.collect(max_bytes=0, max_age=None, now=now + DAY).entries == 2
    assert list(store.items()) == []


def test_items_tell_when_and_how_much(store: Any, tmp_path: Path) -> None:
    kept(store, tmp_path, "a", b"12345", made_at=7.0)
    (item,) = store.items()
    assert (item.key, item.task_id, item.size_bytes, item.made_at) == (key("a"), "a", 5, 7.0)
    assert abs(item.used_at - time.time()) < 60


@pytest.mark.parametrize("harm", ["damage_blob", "lose_blob", "damage_entry"])
def test_damage_is_found_and_repaired(world: World, store: Any, tmp_path: Path, harm: str) -> None:
    bad, good = kept(store, tmp_path, "a", b"one"), kept(store, tmp_path, "b", b"two")
    assert store.verify(repair=False) == []
    getattr(world, harm)(bad.key if harm == "damage_entry" else bad.outputs[0].digest)
    found = store.verify(repair=False)
    assert any(bad.key[:16] in line for line in found)
    assert store.verify(repair=True) == found
    assert store.verify(repair=False) == []
    assert store.entry(bad.key) is None
    assert store.entry(good.key) == good


# -- the directory alone ---------------------------------------------------------------------------------------


@pytest.fixture
def disk(tmp_path: Path) -> World:
    return World("directory", tmp_path)


def modes(root: Path) -> set[tuple[bool, int]]:
    return {(path.is_dir(), path.stat().st_mode & 0o7777) for path in (root, *root.rglob("*"))}


def fill(disk: World) -> None:
    store = disk.open()
    kept(store, disk.folder, "a", b"one")
    tree = store.tree(disk.folder, "")
    tree.note("a", entry("a"))
    tree.files["a"] = (1, 1, 1, 1, "d")
    tree.close()


def test_everything_is_private(disk: World) -> None:
    fill(disk)
    assert modes(disk.root) == {(True, 0o700), (False, 0o600)}


def test_a_directory_of_a_group_is_for_the_group(disk: World) -> None:
    disk.root.mkdir()
    disk.root.chmod(0o2770)
    fill(disk)
    assert modes(disk.root) == {(True, 0o2770), (False, 0o640)}


def test_nothing_is_made_to_read(disk: World) -> None:
    store = disk.open()
    assert store.entry(key("a")) is None
    assert not store.fetch_file(key("a"), disk.folder / "x", 0o644)
    assert list(store.items()) == []
    assert store.verify(repair=False) == []
    tree = store.tree(disk.folder, "")
    assert tree.last("a") is None
    tree.close()
    assert not disk.root.exists()


def test_what_can_not_be_written_is_an_error(disk: World) -> None:
    disk.root.write_text("in the way")
    (disk.folder / "f").write_text("x")
    store = disk.open()
    with pytest.raises(StoreError, match="can't write to the cache"):
        store.keep(entry("a"))
    with pytest.raises(StoreError, match="can't write to the cache"):
        store.keep_file(disk.folder / "f")
    tree = store.tree(disk.folder, "")
    tree.note("a", entry("a"))
    assert tree.last("a") == entry("a")
    tree.files["f"] = (1, 1, 1, 1, "d")
    tree.close()
    asyncio.run(_enter(store))


def test_files_are_fetched_where_the_cache_can_not_be_written(
    disk: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    found = kept(disk.open(), disk.folder, "a", b"one")
    target = disk.folder / "target"

    def fails(self: Any) -> Path:
        raise PermissionError

    monkeypatch.setattr("runwright.adapters.cachefiles.CacheFiles.temporary", fails)
    assert disk.open().fetch_file(found.outputs[0].digest, target, 0o644)
    assert target.read_bytes() == b"one"


def test_files_are_fetched_to_another_file_system(disk: World, monkeypatch: pytest.MonkeyPatch) -> None:
    found = kept(disk.open(), disk.folder, "a", b"one")
    target = disk.folder / "target"
    real, tried = Path.replace, []

    def refuse_from_outside(self: Path, other: Path) -> Path:
        tried.append(self)
        if self.parent != Path(other).parent:
            raise OSError(18, "Invalid cross-device link")
        return real(self, other)

    monkeypatch.setattr(Path, "replace", refuse_from_outside)
    assert disk.open().fetch_file(found.outputs[0].digest, target, 0o644)
    assert target.read_bytes() == b"one"
    assert len(tried) == 2
    assert {path.name for path in disk.folder.iterdir()} == {"a", "cache", "target"}


def test_a_target_that_can_not_be_written_is_an_error(disk: World) -> None:
    found = kept(disk.open(), disk.folder, "a", b"one")
    with pytest.raises(OSError):
        disk.open().fetch_file(found.outputs[0].digest, disk.folder / "none" / "x", 0o644)


def test_a_torn_record_is_cut_off_and_the_rest_stays(disk: World) -> None:
    tree = disk.open().tree(disk.folder, "")
    tree.note("a", entry("a"))
    tree.note("b", entry("b"))
    tree.close()
    (log,) = disk.root.glob("trees/*/last-*")
    whole = log.read_bytes()
    for size in range(len(whole)):
        log.write_bytes(whole[:size])
        tree = disk.open().tree(disk.folder, "")
        assert tree.last("b") is None
        assert tree.last("a") in (None, entry("a"))
        if size % 7 == 0:
            tree.note("c", entry("c"))
            again = disk.open().tree(disk.folder, "")
            assert (again.last("a"), again.last("c")) == (tree.last("a"), entry("c"))
        tree.close()


@pytest.mark.parametrize("damaged", [b"", b"x", b"\0" * 40])
def test_damaged_marks_are_forgotten(disk: World, damaged: bytes) -> None:
    fill(disk)
    (marks,) = disk.root.glob("trees/*/files")
    marks.write_bytes(damaged)
    tree = disk.open().tree(disk.folder, "")
    assert tree.files == {}


def test_marks_of_another_shape_are_forgotten(disk: World) -> None:
    from runwright.core.cacheentry import sealed

    fill(disk)
    (marks,) = disk.root.glob("trees/*/files")
    marks.write_bytes(sealed(b"\x01"))
    assert disk.open().tree(disk.folder, "").files == {}


def test_two_processes_write_one_log(disk: World) -> None:
    one, two = (disk.open().tree(disk.folder, "") for _ in range(2))
    for number in range(50):
        one.note(f"a{number}", entry("a"))
        two.note(f"b{number}", entry("b"))
    one.close()
    two.close()
    found = disk.open().tree(disk.folder, "")
    assert all(found.last(f"a{n}") == entry("a") and found.last(f"b{n}") == entry("b") for n in range(50))


def test_a_long_log_is_written_anew_while_another_uses_it(disk: World) -> None:
    one, two = (disk.open().tree(disk.folder, "") for _ in range(2))
    two.note("b", entry("b"))
    for number in range(400):
        one.note("a", entry("a", value="x" * 500, made_at=float(number)))
    (log,) = disk.root.glob("trees/*/last-*")
    before = log.stat().st_size
    one.close()
    assert log.stat().st_size < before / 100
    two.note("c", entry("c"))
    two.close()
    found = disk.open().tree(disk.folder, "")
    assert found.last("a") == entry("a", value="x" * 500, made_at=399.0)
    assert (found.last("b"), found.last("c")) == (entry("b"), entry("c"))


HOLDER = """
import asyncio, sys
from pathlib import Path
from runwright.adapters.cachestore import DirectoryCache
async def main():
    async with DirectoryCache(Path(sys.argv[1])).flight(sys.argv[2]):
        print("in", flush=True)
        await asyncio.sleep(3600)
asyncio.run(main())
"""


def test_a_dead_process_lets_the_next_in(disk: World) -> None:
    command = [sys.executable, "-c", HOLDER, str(disk.root), key("a")]
    holder = subprocess.Popen(command, stdout=subprocess.PIPE)
    assert holder.stdout is not None
    assert holder.stdout.readline() == b"in\n"

    async def work() -> None:
        waiting = asyncio.ensure_future(_enter(disk.open()))
        done, _ = await asyncio.wait([waiting], timeout=0.3)
        assert not done, "two are in one flight"
        owner = (disk.root / "locks" / key("a")).read_text()
        assert f'"pid":{holder.pid}' in owner
        holder.kill()
        await asyncio.wait_for(waiting, 30)

    try:
        asyncio.run(work())
    finally:
        holder.kill()
        holder.wait()
        holder.stdout.close()
    assert not list((disk.root / "locks").iterdir())


def test_where_there_are_no_locks_nobody_waits(disk: World, monkeypatch: pytest.MonkeyPatch) -> None:
    def no_locks(handle: int, how: int) -> None:
        raise OSError(37, "No locks available")

    monkeypatch.setattr("fcntl.flock", no_locks)

    async def work() -> None:
        async with disk.open().flight(key("a")), disk.open().flight(key("a")):
            pass

    asyncio.run(asyncio.wait_for(work(), 30))


def test_a_collection_spares_what_has_just_come(disk: World, tmp_path: Path) -> None:
    store = disk.open()
    (tmp_path / "f").write_bytes(b"orphan")
    digest, size = store.keep_file(tmp_path / "f")
    assert store.collect(max_bytes=None, max_age=None, now=time.time()).files == 0
    later = store.collect(max_bytes=None, max_age=None, now=time.time() + 7200)
    assert (later.files, later.size_bytes) == (1, size)
    assert not disk.blob(digest).exists()


def test_a_collection_forgets_abandoned_trees_and_files(disk: World) -> None:
    fill(disk)
    rest = disk.root / "tmp" / "rest"
    rest.write_text("x")
    store = disk.open()
    store.collect(max_bytes=None, max_age=9 * DAY, now=time.time())
    assert rest.exists()
    store.collect(max_bytes=None, max_age=9 * DAY, now=time.time() + 10 * DAY)
    assert not rest.exists()
    assert list((disk.root / "trees").iterdir()) == []
