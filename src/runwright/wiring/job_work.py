"""What runs a worker's jobs, put together."""

import os
import shlex
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from msgspec import structs

from runwright.core.checkout import GitAccess
from runwright.core.errors import Problem, UsageError
from runwright.core.repositories import PLACE_IN_TEMPLATE, repository_fault, scheme_of
from runwright.engines.job_tools import JobSettings
from runwright.ports.jobs import GivenJob, JobLimits, JobSource
from runwright.ports.system import Clock

if TYPE_CHECKING:
    from runwright.engines.job_run import JobEnd
    from runwright.engines.worker_job import RunJob
    from runwright.wiring.worker import Parts

GIT_VARIABLES = (
    "PATH",
    "SSH_AUTH_SOCK",
    "SSL_CERT_FILE",
    "SSL_CERT_DIR",
    "GIT_SSL_CAINFO",
    *(
        name
        for proxy in ("http_proxy", "https_proxy", "all_proxy", "no_proxy")
        for name in (proxy, proxy.upper())
    ),
)
"""What git gets of the worker's environment."""


def job_runner(parts: "Parts", clock: Clock) -> "RunJob":
    """Return what runs a job in the runtime that it asks for.

    Raises:
        UsageError: With everything that is wrong with how jobs are to be run.
    """
    from runwright.adapters.ids import draw
    from runwright.adapters.job_places import DirectoryPlaces
    from runwright.engines.job_run import run_job
    from runwright.engines.job_tools import JobTools
    from runwright.wiring.worker import chosen_runtime

    settings = job_settings(parts.how.tools, parts.how.limits, parts.token)
    places = DirectoryPlaces(parts.home.path / "jobs", parts.home.boot_id)
    names = tuple(parts.runtimes)

    async def run(given: GivenJob, source: JobSource) -> "JobEnd":
        tools = JobTools(
            source=source,
            runtime=parts.runtimes[chosen_runtime(given, names)],
            places=places,
            processes=parts.processes,
            clock=clock,
            draw=draw,
            settings=settings,
        )
        return await run_job(given, tools)

    return run


def job_settings(tools: Mapping[str, Any], limits: JobLimits, token: str) -> JobSettings:
    """Return how jobs are run.

    Args:
        tools: What the command line says: ``kill_grace``, ``step_timeout``, ``max_output``, ``cli_command`` and ``git_*``.
        limits: What a job may use.
        token: Of the worker, which is never shown.

    Raises:
        UsageError: With everything that is wrong with it.
    """
    git = _git_access(tools)
    settings = JobSettings(limits=limits, secrets=(token,), git=git)
    given = {
        "kill_grace": tools.get("kill_grace"),
        "step_seconds": tools.get("step_timeout"),
        "output_bytes": tools.get("max_output"),
        "cli_command": _words(tools.get("cli_command") or ""),
    }
    return structs.replace(settings, **{name: value for name, value in given.items() if value is not None})


def _words(command: str) -> tuple[str, ...]:
    try:
        return tuple(shlex.split(command))
    except ValueError as error:
        raise UsageError(f"--cli-command can't be read: {error}") from None


def _git_access(tools: Mapping[str, Any]) -> GitAccess:
    url, allow = tools.get("git_url") or "", tuple(tools.get("git_allow", ()))
    if fault := _url_fault(url):
        raise UsageError((Problem(message=fault, suggestion="write it like https://host/{repository}"),))
    return GitAccess(
        url=url,
        allow=allow,
        user=tools.get("git_user") or "git",
        password=_password(tools.get("git_password_file")),
        env={name: os.environ[name] for name in GIT_VARIABLES if name in os.environ},
    )


def _url_fault(url: str) -> str:
    """Say what is wrong with the address of repositories."""
    if not url:
        return ""
    if PLACE_IN_TEMPLATE not in url:
        return f"--git-url has no {PLACE_IN_TEMPLATE} in it"
    sample = url.replace(PLACE_IN_TEMPLATE, "x")
    if fault := repository_fault(sample):
        return f"--git-url: {fault.partition('; ')[0]}"
    return "" if scheme_of(sample) != "name" else f"--git-url {url} is no address"


def _password(path: Path | None) -> str:
    if path is None:
        return ""
    try:
        password = path.read_text().strip()
    except (OSError, UnicodeDecodeError) as error:
        raise UsageError(f"the password of git can't be read from {path}: {error}") from None
    if not password or not password.isprintable():
        raise UsageError(f"{path} holds no password; write it there, in one line")
    return password
