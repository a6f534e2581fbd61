"""A job run for real: repositories, workspaces and processes are real, only the server is in memory."""

import asyncio
import os
import subprocess
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from msgspec import structs

from runwright.adapters.cgroups import LinuxControlGroups
from runwright.adapters.clock import SystemClock
from runwright.adapters.job_places import DirectoryPlaces
from runwright.adapters.process import WardenProcesses
from runwright.core.checkout import GitAccess
from runwright.core.errors import RemoteError
from runwright.core.job import Job, decode_job
from runwright.core.job_wire import DequeueRequest, ExecutionLogEntry
from runwright.engines.job_run import JobEnd, run_job
from runwright.engines.job_tools import JobSettings, JobTools
from runwright.executors.runtimes.shell import ShellRuntime
from runwright.ports.jobs import GivenJob
from runwright.testing import MemorySource
from runwright.testing.job_sources import SourceCall

PATH = os.environ["PATH"]


class Rig:
    """What a worker has, and what came of a job.

    Attributes:
        root: Directory of the test.
        places: Where the worker's workspaces are.
        source: The server.
        sent: Every entry that was sent, as it was sent.
        processes: Of the job that runs.
    """

    def __init__(self, root: Path, **settings: Any) -> None:
        self.root = root
        self.places = root / "places"
        git = GitAccess(allow=(f"{root}/", f"file://{root}/"), env={"PATH": PATH})
        self.settings = structs.replace(JobSettings(git=git, kill_grace=1.0), **settings)
        self.source = Recording()
        self.processes: WardenProcesses | None = None

    @property
    def sent(self) -> list[ExecutionLogEntry]:
        return self.source.sent

    @property
    def log(self) -> dict[str, ExecutionLogEntry]:
        return {entry.key: entry for entry in self.source.jobs[1].log}

    def out(self, key: str) -> str:
        return self.log[key].out

    def run(self, watch: Callable[["Rig"], Any] | None = None, **document: Any) -> JobEnd:
        """Run a job; nothing of it is left.

        Args:
            watch: Started beside it.
            document: Of the job.
        """
        return asyncio.run(self.run_here(decode_job(document), watch))

    async def run_here(self, job: Job, watch: Callable[["Rig"], Any] | None = None) -> JobEnd:
        self.processes = WardenProcesses()
        watching = asyncio.ensure_future(watch(self)) if watch else None
        try:
            return await run_job(await self.given(job), self.tools(self.processes))
        finally:
            if watching is not None:
                watching.cancel()
                await asyncio.gather(watching, return_exceptions=True)
            await self.processes.close()
            assert list(self.places.iterdir()) == [], "the workspace is gone after every end"

    async def given(self, job: Job) -> GivenJob:
        self.source.add(job)
        given = await self.source.dequeue(DequeueRequest(executor_name="w", queues=("q",)))
        assert given is not None
        return given

    def tools(self, processes: WardenProcesses) -> JobTools:
        self.places.mkdir(exist_ok=True, mode=0o700)
        return JobTools(
            source=self.source,
            runtime=ShellRuntime(processes, LinuxControlGroups(), PATH),
            places=DirectoryPlaces(self.places, "boot"),
            processes=processes,
            clock=SystemClock(),
            draw=lambda: 0.5,
            settings=self.settings,
        )


class Recording(MemorySource):
    """A queue that keeps everything it was sent."""

    def __init__(self) -> None:
        super().__init__(SystemClock(), lease_seconds=10_000.0)
        self.sent: list[ExecutionLogEntry] = []

    async def add_entry(self, given: GivenJob, entry: ExecutionLogEntry) -> int:
        self.sent.append(entry)
        return await super().add_entry(given, entry)

    async def update_entry(
        self, given: GivenJob, entry_id: int, entry: ExecutionLogEntry, out_offset: int | None = None
    ) -> None:
        self.sent.append(entry)
        await super().update_entry(given, entry_id, entry, out_offset)


def away_until(source: MemorySource, calls: int) -> None:
    """Let the server be away for a number of calls."""
    left = [calls]

    def trouble(_call: SourceCall) -> RemoteError | None:
        left[0] -= 1
        return RemoteError("nobody answers") if left[0] >= 0 else None

    source.trouble = trouble


class Repository:
    """A real repository.

    Attributes:
        path: Its directory.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        path.mkdir(parents=True)
        self.git("init", "--quiet", "--initial-branch=main")

    def git(self, *argv: str) -> str:
        name = ("-c", "user.name=n", "-c", "user.email=a@b.c", "-c", "protocol.file.allow=always")
        done = subprocess.run(
            ["git", *name, *argv], cwd=self.path, check=True, capture_output=True, text=True
        )
        return done.stdout.strip()

    def commit(self, files: dict[str, str | bytes | Path], message: str = "m") -> str:
        """Commit files; a path as content is a link. Returns the hash."""
        for name, content in files.items():
            path = self.path / name
            path.parent.mkdir(parents=True, exist_ok=True)
            if isinstance(content, Path):
                path.symlink_to(content)
            else:
                path.write_bytes(content.encode() if isinstance(content, str) else content)
        self.git("add", "--all", "--force")
        self.git("commit", "--quiet", "--allow-empty", "-m", message)
        return self.git("rev-parse", "HEAD")


def script(*commands: str, key: str = "", **more: Any) -> dict[str, Any]:
    return {"key": key, "commands": list(commands), **more}


def steps(*commands: str) -> Sequence[dict[str, Any]]:
    return [script(*commands)]
