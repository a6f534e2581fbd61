"""Fakes of the doors that isolation needs."""

from collections.abc import Sequence


class FakeGroups:
    """Control groups that bound what they are told to, and remember what was asked of them."""

    def __init__(
        self, *, memory: bool = True, pids: bool = True, cpus: bool = True, killed: bool = False
    ) -> None:
        self.memory = memory
        self.pids = pids
        self.cpus = cpus
        self.killed = killed
        self.asked: list[tuple[int, int]] = []
        self.removed = 0
        self.swept = 0

    def sweep(self) -> None:
        self.swept += 1

    def make(self, memory_bytes: int, pids: int, cpus: float = 0.0) -> "FakeGroup":
        self.asked.append((memory_bytes, pids))
        return FakeGroup(self, memory_bytes, pids, cpus)


class FakeGroup:
    def __init__(self, groups: FakeGroups, memory_bytes: int, pids: int, cpus: float) -> None:
        self._groups = groups
        self.holds_memory = bool(memory_bytes) and groups.memory
        self.holds_pids = bool(pids) and groups.pids
        self.holds_cpus = bool(cpus) and groups.cpus
        held = self.holds_memory or self.holds_pids or self.holds_cpus
        self.entrances: Sequence[str] = ("/cg/cgroup.procs",) if held else ()

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
        self.left: list[tuple[str, str]] = []

    def enter(self, engine: str, name: str) -> None:
        self.entered.append((engine, name))
        self.open.append(name)

    def leave(self, name: str) -> None:
        self.open.remove(name)

    def abandoned(self) -> list[tuple[str, str]]:
        return self.left
