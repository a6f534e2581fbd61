"""The disk of a machine, read without trust: real file systems, and what a hostile guest may make of them."""

import os
import random
import stat
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest
from machines import needs_mke2fs

from runwright.adapters.microvm.disk import GUEST_USER, Disk, make_argv
from runwright.adapters.microvm.ext4 import BLOCK, Ext4, ImageFault, Inode, read_geometry

pytestmark = needs_mke2fs
SIZE = 16 << 20
SEED = int(os.environ.get("RUNWRIGHT_SEED", random.randrange(1 << 32)))
ROUNDS = 5000 if os.environ.get("RUNWRIGHT_LONG") else 400


@pytest.fixture
def work(tmp_path: Path) -> Path:
    folder = tmp_path / "work"
    (folder / "a/b").mkdir(parents=True)
    (folder / "a/b/file").write_text("content\n")
    (folder / "a/large").write_bytes(random.Random(1).randbytes(3_000_000))
    (folder / "a/short").symlink_to("b/file")
    (folder / "a/long").symlink_to("b/" + "x" * 200)
    for number in range(300):
        (folder / f"name-{number:060}").touch()
    return folder


def make(image: Path, folder: Path) -> Path:
    image.touch()
    os.truncate(image, SIZE)
    subprocess.run(make_argv(str(image), folder), check=True)
    return image


@pytest.fixture
def image(tmp_path: Path, work: Path) -> Path:
    return make(tmp_path / "disk", work)


def opened(image: Path) -> Ext4:
    data = image.read_bytes()

    def read(offset: int, size: int) -> bytes:
        return data[offset : offset + size]

    return Ext4(read, read_geometry(read))


def debugfs(image: Path, *commands: str) -> None:
    """Change an image as a guest could that is its own kernel."""
    text = "\n".join(commands)
    done = subprocess.run(
        ["debugfs", "-w", "-f", "-", image], input=text, capture_output=True, text=True, check=True
    )
    assert "not found" not in done.stderr, done.stderr


def ready(tmp_path: Path, image: Path, most: int = SIZE) -> Disk:
    target = tmp_path / "target"
    target.mkdir()
    subprocess.run(["cp", "-a", f"{tmp_path}/work/.", target], check=True)
    disk = Disk(image, target, most)
    disk.prepare()
    return disk


def tree(folder: Path) -> dict[str, object]:
    found: dict[str, object] = {}
    for path in sorted(folder.rglob("*")):
        kind = path.lstat()
        if stat.S_ISLNK(kind.st_mode):
            content: object = path.readlink()
        else:
            content = path.read_bytes() if path.is_file() else "directory"
        found[str(path.relative_to(folder))] = (stat.S_IMODE(kind.st_mode), content)
    return found


def test_all_that_was_put_in_is_read(image: Path, work: Path) -> None:
    system = opened(image)
    found = dict(system.walk())
    names = {os.fsencode(path.relative_to(work)) for path in work.rglob("*")}
    assert set(found) == names | {b"lost+found"}
    assert system.target(found[b"a/short"]) == b"b/file"
    assert system.target(found[b"a/long"]) == b"b/" + b"x" * 200
    assert found[b"a/large"].mtime_ns // 10**9 == int((work / "a/large").stat().st_mtime)
    assert sum(extent.length for extent in system.extents(found[b"a/large"])) == -(-3_000_000 // BLOCK)


def test_everything_belongs_to_the_steps_user(tmp_path: Path, image: Path) -> None:
    ready(tmp_path, image)
    asked = subprocess.run(
        ["debugfs", "-R", "ls -l a", image], capture_output=True, text=True, check=True
    ).stdout
    owners = {tuple(line.split()[3:5]) for line in asked.splitlines() if line.strip()}
    assert owners == {(str(GUEST_USER), str(GUEST_USER))}


def test_what_has_not_changed_is_left_alone(tmp_path: Path, image: Path) -> None:
    disk = ready(tmp_path, image)
    target = tmp_path / "target"
    before = tree(target)
    (target / "a/b/file").write_text("of this side")
    disk.fetch()
    assert tree(target) == {**before, "a/b/file": (0o644, b"of this side")}


def test_changes_are_carried_over_twice(tmp_path: Path, image: Path) -> None:
    disk = ready(tmp_path, image)
    target = tmp_path / "target"
    given = tmp_path / "given"
    given.write_text("given\n")
    debugfs(image, f"write {given} new", "rm a/b/file", "rmdir a/b", "symlink link a/large", "mkdir b")
    disk.fetch()
    assert (target / "new").read_text() == "given\n"
    assert not (target / "a/b").exists()
    assert (target / "link").readlink() == Path("a/large")
    given.write_text("other\n")
    debugfs(image, "rm new", f"write {given} b/new", "rm link", f"write {given} link")
    disk.fetch()
    assert not (target / "new").exists()
    assert (target / "link").read_text() == (target / "b/new").read_text() == "other\n"
    assert disk.told() == ""


def test_what_this_side_has_put_in_the_way_is_replaced(tmp_path: Path, image: Path) -> None:
    """And no link of this side is followed."""
    disk = ready(tmp_path, image)
    target, outside, given = tmp_path / "target", tmp_path / "outside", tmp_path / "given"
    outside.mkdir()
    (outside / "precious").write_text("precious")
    given.write_text("given\n")
    subprocess.run(["rm", "-r", target / "a"], check=True)
    (target / "a").symlink_to(outside)
    (target / "new").symlink_to(outside / "precious")
    (target / "dir/full").mkdir(parents=True)
    (target / "dir/full/file").touch()
    debugfs(image, f"write {given} a/precious", f"write {given} new", f"write {given} dir", "rm a/b/file")
    disk.fetch()
    assert [path.name for path in outside.iterdir()] == ["precious"]
    assert (outside / "precious").read_text() == "precious"
    assert (target / "new").read_text() == (target / "dir").read_text() == "given\n"


@pytest.mark.parametrize(
    ("commands", "left"),
    [
        (["mknod device b 8 0", "mknod pipe p"], "device, pipe"),
        (["symlink out /etc/passwd", "symlink up a/../../x"], "out, up"),
        (["symlink a/up ../../x", "symlink a/in ../a"], "a/up"),
    ],
)
def test_what_may_not_come_out_does_not(tmp_path: Path, image: Path, commands: list[str], left: str) -> None:
    disk = ready(tmp_path, image)
    before = tree(tmp_path / "target")
    debugfs(image, *commands)
    disk.fetch()
    told = disk.told()
    assert told.endswith(f": {left}\n")
    assert set(tree(tmp_path / "target")) - set(before) <= {"a/in"}


def test_a_link_that_led_out_before_stays_until_the_guest_removes_it(tmp_path: Path, work: Path) -> None:
    (work / "out").symlink_to("/etc/passwd")
    (work / "other").symlink_to("/etc/group")
    image = make(tmp_path / "disk", work)
    disk = ready(tmp_path, image)
    disk.fetch()
    assert (tmp_path / "target/out").readlink() == Path("/etc/passwd")
    assert disk.told() == ""
    debugfs(image, "rm out", "rm other", "symlink other /etc/shadow")
    disk.fetch()
    disk.fetch()
    assert not {"out", "other"} & set(tree(tmp_path / "target"))
    assert disk.told().endswith(": other\n")
    debugfs(image, "rm other", "symlink other a")
    disk.fetch()
    assert (tmp_path / "target/other").readlink() == Path("a")
    assert disk.told() == ""


def poke(image: Path, offset: int, data: bytes) -> None:
    with image.open("r+b") as file:
        file.seek(offset)
        file.write(data)


def place_of(image: Path, path: bytes) -> tuple[int, Inode]:
    data = image.read_bytes()
    geometry = read_geometry(lambda offset, size: data[offset : offset + size])
    inode = dict(opened(image).walk())[path]
    return geometry.place(inode.number), inode


def spoil(image: Path, offset: int, data: bytes) -> None:
    """Change a file's inode, and what tells that it has changed."""
    place, _ = place_of(image, b"a/large")
    poke(image, place + 100, b"\x07")
    poke(image, place + offset, data)


def rename(image: Path, old: bytes, new: bytes) -> None:
    data = image.read_bytes()
    at = data.index(old + bytes(-len(old) % 4), BLOCK * 4)
    poke(image, at, new)


ATTACKS: dict[str, tuple[Callable[[Path], None], str]] = {
    "a name that climbs": (
        lambda image: rename(
            image,
            b"large",
            b"../..",
        ),
        "can't be the name",
    ),
    "an absolute name": (lambda image: rename(image, b"large", b"/etc/"), "can't be the name"),
    "a name with NUL": (lambda image: rename(image, b"large", b"la\0ge"), "can't be the name"),
    "a directory in itself": (
        lambda image: debugfs(image, "link a a/b/loop", "set_inode_field a links_count 5"),
        "has another name",
    ),
    "a size beyond all": (
        lambda image: debugfs(image, "set_inode_field a/large size 0x7fffffffffff"),
        "larger together",
    ),
    "extents outside": (
        lambda image: spoil(image, 60, b"\xff" * 4),
        "out of order|leaves the image",
    ),
    "no extents": (lambda image: spoil(image, 32, bytes(4)), "has no extents"),
    "no tree": (lambda image: spoil(image, 40, b"xx"), "no tree"),
    "a tree too deep": (
        lambda image: spoil(image, 46, b"\x09\0"),
        "no tree",
    ),
    "an endless link": (lambda image: debugfs(image, "set_inode_field a/short size 5000"), "bytes long"),
    "an inode that is not there": (
        lambda image: debugfs(image, "set_inode_field a/short links_count 0"),
        "no links",
    ),
    "a directory without end": (
        lambda image: debugfs(image, "set_inode_field a size 0x7fffffff000"),
        "directories are larger",
    ),
}


@pytest.mark.parametrize("name", ATTACKS)
def test_an_attack_is_found_and_changes_nothing(tmp_path: Path, image: Path, name: str) -> None:
    attack, told = ATTACKS[name]
    disk = ready(tmp_path, image)
    before = tree(tmp_path / "target")
    attack(image)
    with pytest.raises(ImageFault, match=told):
        disk.fetch()
    assert tree(tmp_path / "target") == before


def test_an_image_that_ends_early_is_found(tmp_path: Path, image: Path) -> None:
    disk = ready(tmp_path, image)
    os.truncate(image, SIZE // 64)
    with pytest.raises(ImageFault, match="ends too early"):
        disk.fetch()


def test_moved_tables_change_nothing(tmp_path: Path, image: Path) -> None:
    """The guest's kernel can write what it likes where tables are described; that was read before."""
    disk = ready(tmp_path, image)
    before = tree(tmp_path / "target")
    poke(image, 1024, b"\xff" * 1024)
    poke(image, BLOCK, b"\xff" * BLOCK)
    disk.fetch()
    assert tree(tmp_path / "target") == before


def test_another_file_system_is_not_taken(tmp_path: Path, work: Path) -> None:
    other = tmp_path / "other"
    other.touch()
    os.truncate(other, SIZE)
    subprocess.run(["mke2fs", "-q", "-F", "-t", "ext3", other], check=True)
    with pytest.raises(ImageFault, match="no file system of the kind"):
        Disk(other, work, SIZE).prepare()


def test_noise_is_refused_or_read_in_time_and_never_leads_out(tmp_path: Path, image: Path) -> None:
    """Bytes of the tables are changed at random; what comes is a fault that we know, or files in the workspace."""
    print(f"seed {SEED}")
    chance = random.Random(SEED)
    system = opened(image)
    data = image.read_bytes()
    inodes = [place for place, _ in (place_of(image, path) for path in (b"a", b"a/b", b"a/large", b"a/long"))]
    blocks = [
        extent.physical * BLOCK
        for _, inode in system.walk()
        if stat.S_ISDIR(inode.mode)
        for extent in system.extents(inode)
    ]
    places = [range(start, start + 256) for start in inodes] + [range(start, start + 128) for start in blocks]
    geometry = read_geometry(lambda offset, size: data[offset : offset + size])
    refused = 0
    for _ in range(ROUNDS):
        noisy = bytearray(data)
        for _ in range(chance.randrange(1, 4)):
            noisy[chance.choice(chance.choice(places))] = chance.choice((0, 1, 255, chance.randrange(256)))
        refused += _is_refused(bytes(noisy), geometry)
    assert 0 < refused < ROUNDS


def _is_refused(data: bytes, geometry: object) -> bool:
    def read(offset: int, size: int) -> bytes:
        if offset + size > len(data):
            raise ImageFault("it ends too early")
        return data[offset : offset + size]

    system = Ext4(read, geometry)  # type: ignore[arg-type]
    try:
        for path, inode in system.walk():
            assert not path.startswith(b"/")
            assert not {b"", b".", b".."} & set(path.split(b"/"))
            if stat.S_ISLNK(inode.mode):
                system.target(inode)
            elif stat.S_ISREG(inode.mode) and inode.size <= SIZE:
                assert sum(extent.length for extent in system.extents(inode)) <= SIZE // BLOCK
    except ImageFault:
        return True
    return False
