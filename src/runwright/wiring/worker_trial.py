"""What a worker would need, tried one by one without being one."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

from runwright.core.errors import Failure, TaskFailed
from runwright.ports.system import Command, Processes
from runwright.wiring.worker import Working, require_client

OLDEST_GIT = (2, 26)
"""Earlier ones can't fetch a single commit by protocol version 2 with what a sparse checkout needs."""


@asynccontextmanager
async def trial_processes() -> AsyncIterator[Processes]:
    """Open the door to processes for a trial."""
    from runwright.adapters.process import WardenProcesses

    processes = WardenProcesses()
    try:
        yield processes
    finally:
        await processes.close()


async def git_version(processes: Processes) -> str:
    """Return what git says of its version.

    Raises:
        TaskFailed: If there is none, or it fails.
    """
    said = bytearray()
    command = Command(argv=("git", "--version"), cwd="/", kill_grace=0.0)
    done = await processes.run(command, lambda _, data: said.extend(data))
    if done.code != 0:
        raise TaskFailed(Failure(code="E_EXIT", message=f"git --version ends with {done.code}"))
    return said.decode("utf-8", "replace").strip().removeprefix("git version ")


async def runtime_faults(how: Working, processes: Processes, folder: Path) -> dict[str, list[str]]:
    """Return what keeps each runtime from working here; an empty list for one that works.

    Args:
        how: Which runtimes, with their options.
        processes: Starts what is tried.
        folder: Directory for what they keep, to be removed afterwards.
    """
    from runwright.wiring.job_runtimes import RuntimeOptions, make_runtimes

    runtimes = make_runtimes(how.runtimes, processes, folder, RuntimeOptions(**how.runtime_options))
    try:
        return {name: await runtime.faults() for name, runtime in runtimes.items()}
    finally:
        runtimes.close()


async def greet_server(how: Working, token: str) -> None:
    """Find out whether the server takes the token.

    Raises:
        UsageError: If its address or the certificates are wrong, or the extra is not installed.
        Refused: If it does not.
        RemoteError: If it can't be reached.
    """
    require_client()
    from runwright.adapters.http.connection import Server
    from runwright.adapters.http.job_source import HttpJobSource

    source = HttpJobSource(Server(url=how.server, ca_file=how.ca_file), token, "doctor", ("doctor",))
    try:
        await source.check()
    finally:
        await source.close()
