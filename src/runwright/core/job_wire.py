"""What workers and the server say to each other, besides the job itself. JSON names are exactly the protocol's.

Every request may have fields that are not here: newer workers have more to say.
"""

from datetime import datetime

import msgspec
from msgspec import Struct

JobId = int | str
"""On the wire an id is a number or its text; answers for several queues have ``<id>-<queue>``."""


class ExecutionLogEntry(Struct, frozen=True, kw_only=True, rename="camel", omit_defaults=True):
    """What one command of a job did.

    Attributes:
        key: Names it, for instance ``setup.git.fetch`` or ``step.docker.0``.
        command: Program and arguments.
        start_time: When it began.
        exit_code: None until it has ended; -1 if it could not be started, or was stopped.
        out: Its output so far, each line after ``stdout: `` or ``stderr: ``.
        duration_ms: Milliseconds; None until it has ended.
    """

    key: str
    command: tuple[str, ...] = ()
    start_time: datetime | None = None
    exit_code: int | None = None
    out: str = ""
    duration_ms: int | None = None


class DequeueRequest(Struct, frozen=True, kw_only=True, rename="camel"):
    """Asks for a job.

    Attributes:
        executor_name: Name of the worker.
        version: Of the worker; from 4.3.0 on, or ``dev``, it understands version 2 of the job document.
        num_cpus: Processors that a job may use; in JSON ``numCPUs``.
        memory: For instance ``12G``.
        disk_space: Likewise.
        queues: Which queues, where the path names none.
        labels: What the worker offers; a job that asks for more is not given to it. Ours.
        boot_id: Tells a worker that has been started again from what it was before. Ours.
        wait_seconds: How long the answer may wait for a job to come. Ours.
    """

    executor_name: str = ""
    version: str = ""
    num_cpus: int = msgspec.field(default=0, name="numCPUs")
    memory: str = ""
    disk_space: str = ""
    queues: tuple[str, ...] = ()
    labels: tuple[str, ...] = ()
    boot_id: str = ""
    wait_seconds: float = 0.0


class QueueJobIds(Struct, frozen=True, kw_only=True, rename="camel"):
    """Jobs of one queue that a worker is at."""

    queue_name: str
    job_ids: tuple[JobId, ...] = ()


class HeartbeatRequest(Struct, frozen=True, kw_only=True, rename="camel"):
    """Keeps the leases of the jobs that a worker is at.

    Attributes:
        executor_name: Name of the worker.
        job_ids: Its jobs, where the path names the queue.
        version: ``V2`` from workers that want an object as the answer.
        queue_names: All its queues, where the path names none.
        job_ids_by_queue: Its jobs, where the path names no queue.
        os: Operating system.
        architecture: Of the machine.
        docker_version: Of its container engine.
        executor_version: Of the worker.
        git_version: Of its git.
        ignite_version: Of the program that made virtual machines once.
        src_cli_version: Of the command of its command line steps.
        prometheus_metrics: Metrics of the worker in the text format.
        boot_id: As in `DequeueRequest`. Ours.
        slots: Jobs that it can be at, at a time. Ours.
        draining: True if it takes no more. Ours.
        labels: What it offers. Ours.
    """

    executor_name: str = ""
    job_ids: tuple[JobId, ...] = ()
    version: str = ""
    queue_names: tuple[str, ...] = ()
    job_ids_by_queue: tuple[QueueJobIds, ...] = ()
    os: str = ""
    architecture: str = ""
    docker_version: str = ""
    executor_version: str = ""
    git_version: str = ""
    ignite_version: str = ""
    src_cli_version: str = ""
    prometheus_metrics: str = ""
    boot_id: str = ""
    slots: int = 0
    draining: bool = False
    labels: tuple[str, ...] = ()


class HeartbeatResponse(Struct, frozen=True, kw_only=True, rename="camel"):
    """What the server knows of a worker's jobs: it holds the known ones, and must stop those to cancel."""

    known_ids: tuple[str, ...] = ()
    cancel_ids: tuple[str, ...] = ()


class CanceledJobsRequest(Struct, frozen=True, kw_only=True, rename="camel"):
    """Asks which jobs are to be stopped: a call of the time before heartbeats told."""

    executor_name: str = ""
    known_job_ids: tuple[JobId, ...] = ()


class AddExecutionLogEntryRequest(
    ExecutionLogEntry, frozen=True, kw_only=True, rename="camel", omit_defaults=True
):
    """Begins an entry of a job's log; the answer is its id, a bare number from 1."""

    executor_name: str = ""
    job_id: int = 0


class UpdateExecutionLogEntryRequest(
    ExecutionLogEntry, frozen=True, kw_only=True, rename="camel", omit_defaults=True
):
    """Replaces an entry of a job's log.

    Attributes:
        entry_id: Which one.
        out_offset: If it is there, `out` is what follows the first `out_offset` bytes (UTF-8) of the output, which stay
            as they are: so the cost of a log is linear in its size. Ours.
    """

    executor_name: str = ""
    job_id: int = 0
    entry_id: int = 0
    out_offset: int | None = None


class MarkCompleteRequest(Struct, frozen=True, kw_only=True, rename="camel"):
    """Says that a job has succeeded."""

    executor_name: str = ""
    job_id: int = 0


class MarkErroredRequest(Struct, frozen=True, kw_only=True, rename="camel"):
    """Says that a job has failed, and why; also the body of ``markFailed``, after which it is not tried again."""

    executor_name: str = ""
    job_id: int = 0
    error_message: str = ""


class HandBackRequest(Struct, frozen=True, kw_only=True, rename="camel"):
    """Gives a job back that a worker will not finish; it is queued again and no attempt is counted. Ours."""

    executor_name: str = ""
    job_id: int = 0
    reason: str = ""


class SubmitRequest(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Submits a job: the body of ``POST /api/jobs``.

    Attributes:
        queue: Name of the queue.
        job: The document, of any version.
        priority: The higher, the sooner.
        labels: What a worker must offer.
        delay: Seconds before it may start.
        max_attempts: How often it is tried when attempts end in ordinary failures.
        retry_delay: Seconds before the second attempt; each further delay is twice as long, at most an hour.
        key: Jobs of one key share a limit, and keys take turns; empty for none.
        idempotency_key: A second job with the same key is not made; the answer has the id of the first.
    """

    queue: str
    job: msgspec.Raw
    priority: int = 0
    labels: tuple[str, ...] = ()
    delay: float = 0.0
    max_attempts: int = 1
    retry_delay: float = 10.0
    key: str = ""
    idempotency_key: str = ""
