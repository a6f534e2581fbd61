"""A worker, put together: its directory, its connections, its runtimes, and what runs a job.

Imports stay inside functions: whoever asks for help needs none of this.
"""

import asyncio
import os
import platform
import sys
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any

from msgspec import Struct

from runwright.core.errors import Problem, UsageError
from runwright.ports.jobs import GivenJob, JobLimits

if TYPE_CHECKING:
    from runwright.adapters.process import WardenProcesses
    from runwright.adapters.worker_home import WorkerHome
    from runwright.core.job_wire import HeartbeatRequest
    from runwright.engines.worker import Worker
    from runwright.wiring.job_runtimes import JobRuntimes

RUNTIME_LABEL = "runtime="
VERSION_SECONDS = 5.0
"""How long programs may take to tell their versions when a worker starts."""

SIGKILL = 9
NAME_BYTES = 3
Say = Callable[[str], None]


class Working(Struct, frozen=True, kw_only=True):
    """How a worker works.

    Attributes:
        server: Address of the server.
        token_file: File with the worker's token.
        ca_file: Certificates to trust besides the system's.
        queues: Whose jobs it takes.
        runtimes: Ways to isolate steps; the first is for jobs that ask for none.
        runtime_options: What these take.
        work_dir: Its own directory.
        name: Empty for one made of the host's name.
        labels: What it offers besides its runtimes.
        limits: What a job may use.
        settings: Times and numbers, as `WorkerSettings` has them.
        tools: What running a job takes besides, by the names that the command line gives it.
    """

    server: str
    token_file: Path
    queues: tuple[str, ...]
    work_dir: Path
    ca_file: Path | None = None
    runtimes: tuple[str, ...] = ("sandbox",)
    runtime_options: dict[str, Any] = {}
    name: str = ""
    labels: tuple[str, ...] = ()
    limits: JobLimits = JobLimits()
    settings: dict[str, Any] = {}
    tools: dict[str, Any] = {}


class Opened(Struct, frozen=True):
    """A worker that is ready to run.

    Attributes:
        worker: Runs when it is told to.
        name: What the server knows it by.
        runtimes: What it offers.
    """

    worker: "Worker"
    name: str
    runtimes: tuple[str, ...]


@asynccontextmanager
async def open_worker(how: Working, say: Say, on_ready: Callable[[str], None]) -> AsyncIterator[Opened]:
    """Make a worker, after removing what a dead one in the same directory has left; its end takes all of it down.

    Args:
        how: How it works.
        say: Told what happens, a line at a time.
        on_ready: Called with the worker's name when the server has first answered.

    Raises:
        UsageError: If something is missing or wrong; with all faults of the runtimes.
        ConflictError: If another worker has the directory.
    """
    require_client()
    from runwright.adapters.process import WardenProcesses
    from runwright.adapters.worker_home import WorkerHome
    from runwright.wiring.job_runtimes import RuntimeOptions, make_runtimes

    token = checked_token(how.token_file, say)
    async with AsyncExitStack() as held:
        home = WorkerHome.open(how.work_dir)
        held.callback(home.close)
        processes = WardenProcesses()
        held.push_async_callback(processes.close)
        options = RuntimeOptions(**how.runtime_options)
        runtimes = make_runtimes(how.runtimes, processes, home.path, options)
        held.callback(runtimes.close)
        await refuse_faults(runtimes)
        parts = Parts(how=how, token=token, home=home, processes=processes, runtimes=runtimes, say=say)
        await _swept(parts)
        about = await _about(parts)
        worker = _make(parts, about, lambda: on_ready(about.executor_name))
        yield Opened(worker, about.executor_name, tuple(runtimes))


class Parts(Struct, frozen=True, kw_only=True):
    """What a worker is put together from."""

    how: Working
    token: str
    home: "WorkerHome"
    processes: "WardenProcesses"
    runtimes: "JobRuntimes"
    say: Say


def _make(parts: Parts, about: "HeartbeatRequest", on_ready: Callable[[], None]) -> "Worker":
    from runwright.adapters.clock import AwakeClock
    from runwright.adapters.http.connection import Server
    from runwright.adapters.http.job_source import HttpJobSource
    from runwright.adapters.ids import draw
    from runwright.adapters.side_loop import ThreadLoop
    from runwright.engines.worker import Worker, WorkerDoors, WorkerSettings
    from runwright.wiring.job_work import job_runner

    how = parts.how
    server = Server(url=how.server, ca_file=how.ca_file)

    def source() -> HttpJobSource:
        return HttpJobSource(server, parts.token, about.executor_name, how.queues)

    clock = AwakeClock()
    doors = WorkerDoors(
        source=source(),
        open_pulse=source,
        beside=ThreadLoop(),
        clock=clock,
        draw=draw,
        run=job_runner(parts, clock),
        kill=parts.processes.skip_grace,
        note=parts.home.note,
        say=parts.say,
        abandon=abandon,
    )
    settings = WorkerSettings(queues=how.queues, about=about, version="dev", **how.settings)
    return Worker(settings, doors, on_ready)


def abandon(reason: str) -> None:
    """End this process at once, and by that everything that it runs."""
    print(f"runwright: {reason}: this worker ends at once", file=sys.stderr, flush=True)  # noqa: T201 - its last word
    os.kill(os.getpid(), SIGKILL)


async def refuse_faults(runtimes: "JobRuntimes") -> None:
    """Refuse runtimes that don't work on this machine.

    Raises:
        UsageError: With every fault.
    """
    faults = [
        Problem(message=f"the runtime {name} can't be used here: {fault}")
        for name, runtime in runtimes.items()
        for fault in await runtime.faults()
    ]
    if faults:
        raise UsageError(faults)


async def _swept(parts: Parts) -> None:
    """Remove what a worker left that died in this directory."""
    from runwright.adapters.job_places import DirectoryPlaces

    home = parts.home
    for job in home.left:
        parts.say(
            f"job {job.id}-{job.queue}: attempt {job.attempt} was lost with the worker that was here before"
        )
    places = DirectoryPlaces(home.path / "jobs", home.boot_id)
    for sweep in (*(runtime.sweep for runtime in parts.runtimes.values()), places.sweep):
        for line in await sweep(home.is_alive):
            parts.say(line)
    home.note(())


async def _about(parts: Parts) -> "HeartbeatRequest":
    from runwright import __version__
    from runwright.core.job_wire import HeartbeatRequest

    how = parts.how
    offered = {*how.labels, *(f"{RUNTIME_LABEL}{name}" for name in how.runtimes)}
    git, engine = await asyncio.gather(
        _version(parts, "git", "--version"),
        _version(parts, "docker", "--version") if "container" in how.runtimes else _nothing(),
    )
    return HeartbeatRequest(
        executor_name=how.name or default_name(),
        boot_id=parts.home.boot_id,
        labels=tuple(sorted(offered)),
        os=platform.system().lower(),
        architecture=platform.machine(),
        executor_version=__version__,
        git_version=git,
        docker_version=engine,
    )


def default_name() -> str:
    """Return a name of this host's, and another one each time."""
    return f"{os.uname().nodename}-{os.urandom(NAME_BYTES).hex()}"


async def _version(parts: Parts, *argv: str) -> str:
    """Return what a program says of its version; empty if it says nothing in time."""
    from runwright.core.errors import TaskFailed
    from runwright.ports.system import Command

    said = bytearray()
    command = Command(argv=argv, cwd="/", kill_grace=0.0)
    try:
        async with asyncio.timeout(VERSION_SECONDS):
            done = await parts.processes.run(command, lambda _, data: said.extend(data))
    except (TimeoutError, TaskFailed):
        return ""
    return (
        said.decode("utf-8", "replace").strip().removeprefix("git version ")[:100] if done.code == 0 else ""
    )


async def _nothing() -> str:
    return ""


def chosen_runtime(given: GivenJob, offered: Sequence[str]) -> str:
    """Return the runtime that a job's labels ask for, or else the first there is."""
    asked = (label.removeprefix(RUNTIME_LABEL) for label in given.labels if label.startswith(RUNTIME_LABEL))
    return next((name for name in asked if name in offered), offered[0])


def work_dir(store: str | None) -> Path:
    """Return where a worker works that was not told: beside the state of the project."""
    from runwright.adapters.project import state_location

    return state_location(store).work_dir.parent / "worker"


def require_client() -> None:
    """Find out whether what speaks HTTP is installed, without loading it.

    Raises:
        UsageError: If it is not.
    """
    if find_spec("httpx2") is None:
        message = "what speaks HTTP is not installed: httpx2 is missing"
        raise UsageError((Problem(message=message, suggestion="pip install 'runwright[worker]'"),))


def checked_token(path: Path, say: Say) -> str:
    """Return the token in a file; says so if others can read it.

    Raises:
        UsageError: If there is none.
    """
    from runwright.wiring.queue_clients import read_token

    token = read_token(path)
    if path.stat().st_mode & 0o077:
        say(f"warning: others can read the token in {path}; chmod 600 {path}")
    return token
