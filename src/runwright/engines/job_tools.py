"""What running jobs takes, and how a worker does it."""

from collections.abc import Callable

from msgspec import Struct

from runwright.core.checkout import GitAccess
from runwright.core.errors import Failure, TaskFailed
from runwright.core.job import Job
from runwright.core.job_mask import secrets_of
from runwright.core.redact import Redactor
from runwright.ports.job_places import JobPlaces
from runwright.ports.jobs import JobLimits, JobSource, Runtime
from runwright.ports.system import Clock, Processes

OUTPUT_BYTES = 16 * 1024 * 1024
"""Output of one step that is kept, unless the worker is told otherwise."""


class JobSettings(Struct, frozen=True, kw_only=True):
    """How a worker runs jobs.

    Attributes:
        limits: What a job may use.
        kill_grace: Seconds between SIGTERM and SIGKILL of a step that is stopped.
        step_seconds: How long a step may take; 0 for any time.
        output_bytes: Output of one step that is kept: its beginning and its end.
        cli_command: What runs command line steps, with its first arguments; empty if nothing does.
        git: How repositories are reached.
        secrets: What is never shown besides the job's own secrets, for instance the worker's token.
    """

    limits: JobLimits = JobLimits()
    kill_grace: float = 10.0
    step_seconds: float = 0.0
    output_bytes: int = OUTPUT_BYTES
    cli_command: tuple[str, ...] = ()
    git: GitAccess = GitAccess()
    secrets: tuple[str, ...] = ()


class JobTools(Struct, frozen=True, kw_only=True):
    """What running a job takes.

    Attributes:
        source: Takes the log.
        runtime: Isolates the steps.
        places: Has the workspaces.
        processes: Runs git.
        clock: Time.
        draw: Random numbers in [0, 1).
        settings: How.
    """

    source: JobSource
    runtime: Runtime
    places: JobPlaces
    processes: Processes
    clock: Clock
    draw: Callable[[], float]
    settings: JobSettings = JobSettings()


def redactor_of(job: Job, settings: JobSettings) -> Redactor:
    """Return what knows everything that must not be shown of a job."""
    known = (*settings.secrets, settings.git.password, job.token, *secrets_of(job))
    return Redactor([text for text in known if text], job.redacted_values)


def failed(code: str, message: str) -> TaskFailed:
    """Return the failure of a job."""
    return TaskFailed(Failure(code=code, message=message))
