"""Tasks that try to break out, run in each kind of isolation and, as a control, in none."""

import asyncio
import fcntl
import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from isolation import IMAGE, needs_bubblewrap

from runwright.adapters.cgroups import LinuxControlGroups
from runwright.adapters.container_ledger import FileLedger
from runwright.adapters.owner import current_owner
from runwright.adapters.process import WardenProcesses
from runwright.core.errors import Failure, TaskFailed
from runwright.core.task import Result, Task, TaskId
from runwright.executors.container import Container
from runwright.executors.sandbox import Sandbox
from runwright.executors.shell import Shell
from runwright.ports.executor import Executor
from runwright.testing.sessions import LocalSession

ID = TaskId("hostile")
KINDS = [pytest.param("sandbox", marks=needs_bubblewrap), "docker", "podman"]


class Try:
    """What came of a task.

    Attributes:
        result: If it succeeded.
        failure: If it did not.
        printed: Its output.
    """

    def __init__(self, result: Result | None, failure: Failure | None, printed: str) -> None:
        self.result = result
        self.failure = failure
        self.printed = printed


class Jail:
    """One kind of isolation, or none.

    Attributes:
        kind: ``sandbox``, ``docker``, ``podman``, or ``none``.
        folder: Directory of the test, in which ``source`` is the source tree.
    """

    def __init__(self, kind: str, folder: Path) -> None:
        self.kind = kind
        self.folder = folder
        self.source = folder / "source"
        self.source.mkdir(parents=True, exist_ok=True)

    def attempt(self, cmd: str, **args: Any) -> Try:
        """Run a command line to its end."""
        return asyncio.run(self._attempt(cmd, args))

    def uncaged(self) -> "Jail":
        """Return the same without isolation, for controls."""
        return Jail("none", self.folder)

    async def _attempt(self, cmd: str, args: dict[str, Any]) -> Try:
        session = LocalSession(self.folder)
        processes = WardenProcesses()
        ledger = FileLedger(self.folder / "ledger", current_owner())
        task = Task(id=ID, args={"cmd": cmd, "kill_grace": 1.0, **self.common(), **args})
        result, failure = None, None
        try:
            result = await self.executor(processes, ledger).execute(session, task)
        except TaskFailed as error:
            failure = error.failure
        finally:
            await processes.close()
            ledger.close()
        return Try(result, failure, session.log(ID).read().decode("utf-8", "replace"))

    def executor(self, processes: WardenProcesses, ledger: FileLedger) -> Executor:
        """Return what runs tasks in this kind of isolation."""
        if self.kind == "none":
            return Shell(processes)
        return (
            Sandbox(processes, LinuxControlGroups())
            if self.kind == "sandbox"
            else Container(processes, ledger)
        )

    def common(self) -> dict[str, Any]:
        """Return the arguments that every task needs."""
        if self.kind in ("docker", "podman"):
            return {"image": IMAGE, "engine": self.kind, "pull": "never"}
        return {}


@contextmanager
def listener(address: str) -> Iterator[tuple[int, Callable[[], int]]]:
    """Listen at an address; yields the port, and how many have come."""
    with socket.create_server((address, 0)) as server:
        visitors: list[object] = []

        def serve() -> None:
            while True:
                try:
                    peer, _ = server.accept()
                except OSError:
                    return
                visitors.append(peer)
                peer.sendall(b"reached\n")
                peer.close()

        thread = threading.Thread(target=serve, daemon=True)
        thread.start()
        yield server.getsockname()[1], lambda: len(visitors)
        server.shutdown(socket.SHUT_RDWR)
    thread.join()


def outer_address() -> str:
    """Return an address of this machine that is not its loopback; empty if it has none."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        try:
            probe.connect(("198.51.100.1", 9))  # sends nothing: it only asks which way it would go
        except OSError:
            return ""
        address: str = probe.getsockname()[0]
        return "" if address.startswith("127.") else address


def is_locked(file: Path) -> bool:
    """Tell whether any process holds the lock of a file."""
    with file.open("ab") as own:
        try:
            fcntl.flock(own, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return True
    return False


def home() -> Path:
    return Path.home()
