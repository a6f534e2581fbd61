"""The part of `doctor` that tells whether a worker with the same options would work."""

import os
import shutil
from collections.abc import AsyncIterator
from pathlib import Path
from tempfile import TemporaryDirectory

from runwright.cli.arguments import Arguments
from runwright.cli.doctor import FAILURE, OK, WARNING, Check
from runwright.cli.worker import possible
from runwright.core.errors import DefinitionError, RunwrightError, TaskFailed
from runwright.ports.system import Processes
from runwright.wiring.queue_clients import read_token
from runwright.wiring.worker import Working
from runwright.wiring.worker_trial import (
    OLDEST_GIT,
    git_version,
    greet_server,
    runtime_faults,
    trial_processes,
)

LEAST_ROOM_BYTES = 1 << 30
"""Free disk that workspaces need, or a job's own limit if that is more."""


async def worker_checks(args: Arguments) -> AsyncIterator[Check]:
    """Yield what came of each check."""
    how = possible(args)
    async with trial_processes() as processes:
        yield await git_check(processes)
        async for check in runtime_checks(how, processes):
            yield check
    yield place_check(how.work_dir)
    token = ""
    if args.token_file or how.token_file.is_file():
        check, token = token_check(how.token_file)
        yield check
    else:
        yield Check("token", WARNING, "none was named", "add --token-file FILE to try it")
    if how.server:
        yield await server_check(how, token)
    else:
        yield Check("server", WARNING, "none was named", "add --server URL to try it")


async def git_check(processes: Processes) -> Check:
    """Check git, which jobs with a repository need."""
    try:
        version = await git_version(processes)
    except TaskFailed as error:
        return Check("git", FAILURE, str(error), "install git: jobs with a repository need it")
    numbers = [int(part) for part in version.split()[0].split(".")[:2] if part.isdigit()]
    if tuple(numbers) < OLDEST_GIT:
        wanted = ".".join(map(str, OLDEST_GIT))
        return Check("git", FAILURE, version, f"use git {wanted} or newer")
    return Check("git", OK, version)


async def runtime_checks(how: Working, processes: Processes) -> AsyncIterator[Check]:
    """Yield whether each runtime works on this machine."""
    with TemporaryDirectory(prefix="runwright-doctor-") as folder:
        found = await runtime_faults(how, processes, Path(folder))
    for name, faults in found.items():
        if faults:
            yield Check(name, FAILURE, faults[0], "\n".join(faults[1:]))
        else:
            yield Check(name, OK, "works here")


def place_check(work_dir: Path) -> Check:
    """Check where workspaces would be."""
    parent = next(folder for folder in (work_dir, *work_dir.parents) if folder.exists())
    if not parent.is_dir() or not os.access(parent, os.W_OK | os.X_OK):
        return Check("work dir", FAILURE, f"{parent} can't be written to", "choose another --work-dir")
    free = shutil.disk_usage(parent).free
    detail = f"{work_dir}, {free / 1e9:.1f} GB free"
    if free < LEAST_ROOM_BYTES:
        return Check("work dir", WARNING, detail, "make room: workspaces of jobs are kept there")
    return Check("work dir", OK, detail)


def token_check(path: Path) -> tuple[Check, str]:
    """Check the file with the token; returns the token, too."""
    try:
        token = read_token(path)
    except DefinitionError as error:
        return Check("token", FAILURE, error.problems[0].message, error.problems[0].suggestion), ""
    if path.stat().st_mode & 0o077:
        return Check("token", WARNING, f"others can read {path}", f"chmod 600 {path}"), token
    return Check("token", OK, f"{path}, private"), token


async def server_check(how: Working, token: str) -> Check:
    """Check that the server can be reached and takes the token."""
    try:
        await greet_server(how, token or "none")
    except DefinitionError as error:
        return Check("server", FAILURE, error.problems[0].message, error.problems[0].suggestion)
    except RunwrightError as error:
        advice = "" if token else "without a token it can't be asked for more"
        return Check("server", FAILURE, str(error), advice)
    return Check("server", OK, f"{how.server} takes the token")
