"""Control groups on directories that look like those of the kernel."""

from collections.abc import Callable
from pathlib import Path

import pytest

from runwright.adapters import cgroups
from runwright.adapters.cgroups import LinuxControlGroup, LinuxControlGroups

FILES = {
    "memory": ("memory.limit_in_bytes", "memory.memsw.limit_in_bytes", "memory.oom_control"),
    "pids": ("pids.max",),
    "cpu": ("cpu.cfs_period_us", "cpu.cfs_quota_us"),
    "v2": ("memory.max", "memory.swap.max", "memory.events", "pids.max", "cpu.max"),
}


class Machine:
    """Directories in the place of ``/sys/fs/cgroup``; a new group gets the files that the kernel would make."""

    def __init__(self, root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        self.root = root
        self.mounts: list[str] = ["22 1 8:1 / / rw - ext4 /dev/root rw"]
        self.memberships: list[str] = []
        made = Path.mkdir

        def mkdir(path: Path, *args: int, **options: bool) -> None:
            made(path, *args, **options)
            kind = next((name for name in FILES if root / name in path.parents), "")
            if path.name.startswith(cgroups.PREFIX):
                for name in ("cgroup.procs", *FILES[kind]):
                    (path / name).touch()

        monkeypatch.setattr(Path, "mkdir", mkdir)

    def tree(self, name: str, own: str, *, root: str = "/", subtree: str | None = None) -> Path:
        """Add a tree with our own group; return the group's directory."""
        kind, options = ("cgroup2", "rw") if name == "v2" else ("cgroup", f"rw,{name}")
        self.mounts.append(f"30 22 0:1 {root} {self.root / name} rw,nosuid - {kind} {kind} {options}")
        self.memberships.append(f"3:{'' if name == 'v2' else name}:{own}")
        folder = self.root / name / own.lstrip("/")
        folder.mkdir(parents=True, exist_ok=True)
        for place in (folder, *folder.parents):
            if place == self.root:
                break
            (place / "cgroup.procs").touch()
            if subtree is not None:
                (place / "cgroup.subtree_control").write_text(subtree)
        return folder

    def make(self, memory: int, pids: int, cpus: float = 0.0) -> LinuxControlGroup:
        return self.groups().make(memory, pids, cpus)

    def groups(self) -> LinuxControlGroups:
        (self.root / "mountinfo").write_text("\n".join(self.mounts))
        (self.root / "self").write_text("\n".join(self.memberships))
        return LinuxControlGroups(self.root / "mountinfo", self.root / "self")


@pytest.fixture
def machine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Machine:
    return Machine(tmp_path, monkeypatch)


def remove(group: LinuxControlGroup) -> None:
    """Remove a group as the kernel does, whose files are no obstacle."""
    for entrance in group.entrances:
        for file in Path(entrance).parent.iterdir():
            file.unlink()
    group.remove()


def test_nothing_is_made_for_no_bound(machine: Machine) -> None:
    group = machine.make(0, 0)
    assert (list(group.entrances), group.holds_memory, group.holds_pids) == ([], False, False)
    assert not group.ran_out_of_memory()
    group.remove()


def test_version_1_has_a_group_in_each_tree(machine: Machine) -> None:
    memory, pids = machine.tree("memory", "/user"), machine.tree("pids", "/")
    group = machine.make(1 << 20, 7)
    assert (group.holds_memory, group.holds_pids) == (True, True)
    first, second = (Path(entrance).parent for entrance in group.entrances)
    assert (first.parent, second.parent) == (memory, pids)
    assert (first / "memory.limit_in_bytes").read_text() == str(1 << 20)
    assert (first / "memory.memsw.limit_in_bytes").read_text() == str(1 << 20)
    assert (second / "pids.max").read_text() == "7"
    (first / "memory.oom_control").write_text("under_oom 0\noom_kill 0\n")
    assert not group.ran_out_of_memory()
    (first / "memory.oom_control").write_text("under_oom 0\noom_kill 2\n")
    assert group.ran_out_of_memory()
    remove(group)
    assert not first.exists()
    assert not second.exists()
    assert not group.ran_out_of_memory()


def test_version_2_has_one_group(machine: Machine) -> None:
    own = machine.tree("v2", "/user/own", subtree="cpu memory pids")
    group = machine.make(1 << 20, 7)
    (entrance,) = group.entrances
    folder = Path(entrance).parent
    assert folder.parent == own
    assert [(folder / name).read_text() for name in ("memory.max", "memory.swap.max", "pids.max")] == [
        str(1 << 20),
        "0",
        "7",
    ]
    (folder / "memory.events").write_text("oom 1\noom_kill 1\n")
    assert group.ran_out_of_memory()


def test_cpu_is_bounded_in_version_1(machine: Machine) -> None:
    own = machine.tree("cpu", "/user")
    group = machine.make(0, 0, 1.5)
    folder = Path(group.entrances[0]).parent
    assert folder.parent == own
    assert (group.holds_cpus, group.holds_memory, group.holds_pids) == (True, False, False)
    assert (folder / "cpu.cfs_period_us").read_text() == "100000"
    assert (folder / "cpu.cfs_quota_us").read_text() == "150000"


def test_cpu_is_bounded_in_version_2(machine: Machine) -> None:
    machine.tree("v2", "/user/own", subtree="cpu pids")
    group = machine.make(0, 7, 0.25)
    assert (group.holds_cpus, group.holds_pids) == (True, True)
    assert (Path(group.entrances[0]).parent / "cpu.max").read_text() == "25000 100000"


def test_version_2_goes_up_to_where_a_controller_is_handed_on(machine: Machine) -> None:
    own = machine.tree("v2", "/user/own", subtree="memory")
    (own / "cgroup.subtree_control").unlink()
    (own / "cgroup.subtree_control").mkdir()
    group = machine.make(1 << 20, 0)
    assert group.holds_memory
    assert Path(group.entrances[0]).parent.parent == own.parent


def test_version_2_is_asked_to_hand_a_controller_on(machine: Machine) -> None:
    own = machine.tree("v2", "/", subtree="cpu")
    assert not machine.make(1 << 20, 0).holds_memory
    assert (own / "cgroup.subtree_control").read_text() == "+memory"


def test_a_container_sees_its_own_group_as_the_root(machine: Machine) -> None:
    own = machine.tree("pids", "/", root="/docker/abc")
    machine.memberships = ["4:pids:/docker/abc"]
    assert Path(machine.make(0, 7).entrances[0]).parent.parent == own
    machine.memberships = ["4:pids:/somewhere/else"]
    assert Path(machine.make(0, 7).entrances[0]).parent.parent == own


def test_where_nothing_can_be_made_nothing_is_held(machine: Machine, monkeypatch: pytest.MonkeyPatch) -> None:
    machine.tree("memory", "/")
    machine.tree("v2", "/", subtree="pids")
    monkeypatch.setattr(cgroups.os, "access", lambda *_: False)
    group = machine.make(1 << 20, 7)
    assert (list(group.entrances), group.holds_memory, group.holds_pids) == ([], False, False)


def test_a_bound_that_is_refused_is_not_held(machine: Machine, monkeypatch: pytest.MonkeyPatch) -> None:
    machine.tree("pids", "/")
    machine.tree("memory", "/")
    monkeypatch.setitem(FILES, "pids", ())

    def refuse(_path: Path, _text: str) -> int:
        raise PermissionError

    monkeypatch.setattr(Path, "write_text", _only_outside(cgroups.PREFIX, Path.write_text, refuse))
    group = machine.make(1 << 20, 7)
    assert (group.holds_memory, group.holds_pids) == (False, False)
    assert len(group.entrances) == 2
    remove(group)


def _only_outside(prefix: str, plain: object, inside: object) -> object:
    return lambda path, text: (inside if path.parent.name.startswith(prefix) else plain)(path, text)  # type: ignore[operator]


def test_a_directory_that_can_t_be_made(machine: Machine, monkeypatch: pytest.MonkeyPatch) -> None:
    machine.tree("pids", "/")
    (machine.root / "mountinfo").write_text("\n".join(machine.mounts))
    monkeypatch.setattr(Path, "mkdir", lambda *_args, **_options: (_ for _ in ()).throw(OSError("full")))
    assert not machine.make(0, 7).holds_pids


def test_without_control_groups(tmp_path: Path) -> None:
    groups = LinuxControlGroups(tmp_path / "none", tmp_path / "none")
    assert not groups.make(1 << 20, 7).holds_memory


@pytest.mark.parametrize(
    "sweep", [lambda machine: machine.groups().sweep(), lambda machine: machine.make(0, 7)]
)
def test_groups_of_the_dead_are_removed(machine: Machine, sweep: Callable[[Machine], object]) -> None:
    own = machine.tree("pids", "/")
    group = machine.make(0, 7)
    living = Path(group.entrances[0]).parent
    dead = own / f"{cgroups.PREFIX}{living.name.split('-')[1]}-0-1"
    foreign = own / f"{cgroups.PREFIX}x-y-z"
    for folder in (dead, foreign):
        folder.mkdir()
        for file in folder.iterdir():
            file.unlink()
    sweep(machine)
    assert not dead.exists()
    assert living.exists()
    assert foreign.exists()


def test_groups_of_the_dead_are_removed_above_us_too(machine: Machine) -> None:
    own = machine.tree("v2", "/user/own", subtree="pids")
    dead = own.parent / f"{cgroups.PREFIX}4000000-0-1"
    dead.mkdir()
    for file in dead.iterdir():
        file.unlink()
    machine.groups().sweep()
    assert not dead.exists()
