"""The doors that tasks in a sandbox or a container need beside processes."""

from collections.abc import Sequence
from typing import Protocol


class ControlGroup(Protocol):
    """A group of processes whose use of the machine the kernel bounds."""

    @property
    def entrances(self) -> Sequence[str]:
        """Files into which a process writes ``0`` to join with all that it starts; none if nothing is bounded."""
        ...

    @property
    def holds_memory(self) -> bool:
        """True if the bound of memory holds."""
        ...

    @property
    def holds_pids(self) -> bool:
        """True if the bound of processes holds."""
        ...

    @property
    def holds_cpus(self) -> bool:
        """True if the bound of CPU holds."""
        ...

    def ran_out_of_memory(self) -> bool:
        """Tell whether the kernel has killed one of its processes because of the bound."""
        ...

    def remove(self) -> None:
        """Take the group away; its processes must have ended."""
        ...


class ControlGroups(Protocol):
    """Makes control groups, as far as this machine lets us."""

    def make(self, memory_bytes: int, pids: int, cpus: float = 0.0) -> ControlGroup:
        """Make a group with these bounds; 0 means none. What can't be bounded here is told by the group.

        Args:
            memory_bytes: Of all its processes together.
            pids: Processes and threads at a time.
            cpus: Processors kept busy.
        """
        ...

    def sweep(self) -> None:
        """Remove the groups that processes left which have died."""
        ...


class Ledger(Protocol):
    """Remembers which containers there are, so that they are removed also if this process is killed."""

    @property
    def owner(self) -> str:
        """Name of this process: host, boot, process id and start."""
        ...

    def enter(self, engine: str, name: str) -> None:
        """Remember a container that is about to be made.

        Args:
            engine: Program that removes it.
            name: What it will be called.
        """
        ...

    def leave(self, name: str) -> None:
        """Forget a container that has been removed, whoever entered it."""
        ...

    def abandoned(self) -> Sequence[tuple[str, str]]:
        """Return what processes entered that have died: the engine's program and the container's name."""
        ...
