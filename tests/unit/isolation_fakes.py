"""Fakes of the doors that isolation needs."""

from collections.abc import Sequence


class FakeGroups:
    """Control groups that bound what they are told to, and remember what was asked of them."""

    def __init__(self, *, memory: bool = True, pids: bool = True, killed: bool = False) -> None:
        self.memory = memory
        self.pids = pids
        self.killed = killed
        self.asked: list[tuple[int, int]] = []
        self.removed = 0

    def make(self, memory_bytes: int, pids: int) -> "FakeGroup":
        self.asked.append((memory_bytes, pids))
        return FakeGroup(self, memory_bytes, pids)


class FakeGroup:
    def __init__(self, groups: FakeGroups, memory_bytes: int, pids: int) -> None:
        self._groups = groups
        self.holds_memory = bool(memory_bytes) and groups.memory
        self.holds_pids = bool(pids) and groups.pids
        self.entrances: Sequence[str] = ("/cg/cgroup.procs",) if self.holds_memory or self.holds_pids else ()

    def ran_out_of_memory(self) -> bool:
        return self._groups.killed

    def remove(self) -> None:
        self._groups.removed += 1


class FakeLedger:
    """A ledger in memory."""

    owner = "host:boot:1:2"

    def __init__(self) -> None:
        self.entered: list[tuple[str, str]] = []
        self.open: list[str] = []

    def enter(self, engine: str, name: str) -> None:
        self.entered.append((engine, name))
        self.open.append(name)

    def leave(self, name: str) -> None:
        self.open.remove(name)
