"""Docker and Podman as programs that run a container and answer questions."""

import asyncio
import os
from collections.abc import Callable, Sequence
from shutil import which

from runwright.core.containers import is_leaving, is_podman, is_unknown, remove_argv
from runwright.core.errors import Failure, TaskFailed
from runwright.core.pattern import pattern
from runwright.executors.finishing import finished
from runwright.ports.executor import Stream
from runwright.ports.isolation import Ledger
from runwright.ports.system import Command, Exit, Processes

ENGINE_FAILED, KILLED = 125, 137
PROBES = {
    "docker": ("docker", "version", "--format", "{{.Server.Version}}"),
    "podman": ("podman", "version", "--format", "{{.Client.Version}}"),
}
INIT_OF_PODMAN = (
    "/usr/libexec/podman/catatonit",
    "/usr/local/libexec/podman/catatonit",
    "/usr/lib/podman/catatonit",
)
SAID = pattern(r"(?m)^(?:docker: |Error: )(.+)$")
ANSWER_SECONDS = 30.0
"""How long an engine may take to answer what is not the task itself; then it counts as one that does not."""

PAUSES = (0.1, 0.4, 1.0)
"""Seconds before a container that the engine does not know is asked for again: it may be about to be made."""

NO_ENGINE = "neither Docker nor Podman answers; install one, or see that its daemon runs and lets you in"


class ContainerEngine:
    """Runs containers to their end, each of which is in the ledger while it may exist.

    Args:
        processes: Starts the program that talks to the engine.
        ledger: Remembers the containers.
        pauses: Seconds before each further try to remove a container that may not have been made yet.
        patience: Seconds that the engine may take to answer what is not the task itself.
    """

    def __init__(
        self,
        processes: Processes,
        ledger: Ledger,
        pauses: Sequence[float] = PAUSES,
        patience: float = ANSWER_SECONDS,
    ) -> None:
        self._processes = processes
        self._ledger = ledger
        self._pauses = pauses
        self._patience = patience
        self._found = ""

    async def find(self, wanted: str) -> str:
        """Return the program to use; for ``auto`` the first that answers, which is looked for once.

        Raises:
            TaskFailed: With code ``E_ENGINE`` if none answers.
        """
        if wanted != "auto":
            return wanted
        for engine, probe in PROBES.items() if not self._found else ():
            if (await self.ask(probe))[0] == 0:
                self._found = engine
                break
        if not self._found:
            raise TaskFailed(Failure(code="E_ENGINE", message=NO_ENGINE))
        return self._found

    async def run(
        self, engine: str, name: str, command: Command, on_output: Callable[[Stream, bytes], None]
    ) -> Exit:
        """Run a container; it is gone when this returns or raises."""
        self._ledger.enter(engine, name)
        is_gone, pauses = False, self._pauses
        try:
            exit_ = await self._processes.run(command, on_output)
            if exit_.signal is None:
                pauses = ()
                is_gone = exit_.code != ENGINE_FAILED  # it removes what it ran to the end
            return exit_
        except TaskFailed as error:
            is_gone = error.failure.code == "E_SPAWN"  # there never was one
            raise
        finally:
            if is_gone:
                self._ledger.leave(name)
            else:
                await finished(self._end(engine, name, pauses))

    async def _end(self, engine: str, name: str, pauses: Sequence[float]) -> None:
        """Remove a container; if that fails, it stays in the ledger, and the next engine tries again."""
        if await self._remove(engine, name, pauses):
            self._ledger.leave(name)

    async def _remove(self, engine: str, name: str, pauses: Sequence[float]) -> bool:
        """End a container and remove it; False if the engine does not do it.

        An engine goes on making a container when the program that asked for it has been killed, so one that is unknown
        may come to be a moment later.
        """
        for pause in (*pauses, None):
            code, said = await self.ask(remove_argv(engine, name))
            if not is_unknown(said):
                return code == 0 or is_leaving(said)
            if pause is not None:
                await asyncio.sleep(pause)
        return True

    async def ask(self, argv: tuple[str, ...]) -> tuple[int, str]:
        """Have the engine do something small; return its status and what it says, -1 if it can't be asked."""
        said = bytearray()
        command = Command(argv=argv, cwd="/", kill_grace=0.0)
        try:
            async with asyncio.timeout(self._patience):
                exit_ = await self._processes.run(command, lambda _, data: said.extend(data))
        except (TaskFailed, TimeoutError):
            return -1, ""
        return exit_.code, said.decode("utf-8", "replace")


def has_init(engine: str) -> bool:
    """Tell whether the engine has a first process to offer: Docker comes with one, Podman needs a package."""
    return not is_podman(engine) or which("catatonit") is not None or any(map(os.path.exists, INIT_OF_PODMAN))


def engine_fault(exit_: Exit, errors: str) -> str:
    """Return what the engine said if it could not run a container; empty if that is not why it ended."""
    said = SAID.findall(errors) if exit_.code == ENGINE_FAILED else ()
    return f"the container can't be run: {said[-1]}" if said else ""
