"""What isolates tasks, put together when it is first used.

Imports stay inside functions, because the start of a run is measured.
"""

from pathlib import Path
from typing import TYPE_CHECKING

from runwright.ports.executor import Executor
from runwright.ports.system import Processes

if TYPE_CHECKING:
    from runwright.adapters.container_ledger import FileLedger

ISOLATING = ("sandbox", "container")
"""Names of the executors that isolate."""


class Isolation:
    """Makes the executors that isolate, and remembers the containers that they use.

    Args:
        folder: Where the containers are noted; it is there only while there are any.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._ledger: FileLedger | None = None

    def executor(self, name: str, processes: Processes) -> Executor:
        """Return one of the `ISOLATING`."""
        if name == "sandbox":
            from runwright.adapters.cgroups import LinuxControlGroups
            from runwright.executors.sandbox import Sandbox

            return Sandbox(processes, LinuxControlGroups())
        from runwright.adapters.container_ledger import FileLedger
        from runwright.adapters.owner import current_owner
        from runwright.executors.container import Container

        if self._ledger is None:
            self._ledger = FileLedger(self._folder, current_owner())
        return Container(processes, self._ledger)

    async def sweep(self, processes: Processes) -> None:
        """Remove the containers of engines that have died; asks no container engine if none is left."""
        if self._folder.is_dir():
            from runwright.adapters.container_ledger import sweep_containers

            await sweep_containers(self._folder, processes)

    def close(self) -> None:
        """Let go what watches over the containers; safe to call twice."""
        if self._ledger is not None:
            self._ledger.close()
