"""The job queue: its durable state, and how a worker sees it."""

from collections.abc import Awaitable, Callable, Mapping, Sequence
from datetime import datetime
from pathlib import Path
from typing import Protocol

from msgspec import Struct, field

from runwright.core.job import DockerAuthConfig, Job
from runwright.core.job_rows import (
    Beat,
    BeatAnswer,
    Claim,
    Claimed,
    Ended,
    Ending,
    JobAttempt,
    JobFilter,
    JobLease,
    JobRow,
    LogRow,
    NewJob,
    QueueRow,
    QueueSettings,
    TokenHolder,
    TokenRole,
    TokenRow,
    WorkerRow,
)
from runwright.core.job_wire import (
    DequeueRequest,
    ExecutionLogEntry,
    HeartbeatRequest,
    HeartbeatResponse,
)
from runwright.ports.executor import Stream
from runwright.ports.system import Exit


class JobStore(Protocol):
    """Queues and their jobs.

    When a call that writes returns, what it wrote survives power loss. Calls that come at the same time share a commit.
    Every write to a job that is being worked on names its lease, and the statement itself refuses a stale one.
    How many jobs of a queue or of a key run is always counted from leases, never kept. `now` comes from the caller,
    whose clock never goes back; calls that waited for a store which was away may be made in another order.
    """

    async def submit(self, jobs: Sequence[NewJob], now: datetime) -> list[int]:
        """Queue jobs, all or none; returns their ids in the same order."""
        ...

    async def exchange(
        self, endings: Sequence[Ending], claim: Claim | None, now: datetime
    ) -> tuple[list[Ended], list[Claimed]]:
        """End attempts and take further jobs, in one transaction.

        Jobs are given out by queue in the order of the claim; within a queue by priority, then in turns of their keys,
        then by age. Left out are jobs before their time, jobs whose labels the worker lacks, and jobs whose queue or
        key is at its limit. A job takes its turn when it comes to wait: behind the jobs of its key, but not before those
        whose turn it is, so that a key which was quiet gets no more than its share. A job that errored and may be tried again waits for `core.job_rows.retry_delay_after`.
        The last word on an attempt may be said again with the same verdict, and changes nothing then.
        """
        ...

    async def heartbeat(self, beat: Beat, now: datetime) -> BeatAnswer:
        """Keep the leases that the worker holds, and tell it which they are; a late call makes none shorter."""
        ...

    async def promote(self, now: datetime) -> int:
        """Make jobs ready whose time has come; returns how many. `exchange` gives out only jobs that are ready."""
        ...

    async def expire(self, now: datetime) -> list[JobLease]:
        """End leases that have lapsed, each as `core.job_rows.state_after_lapse` says; returns them."""
        ...

    async def wait(self, queues: Sequence[str], seconds: float) -> bool:
        """Wait until a job may have become ready in one of the queues; False if that many seconds passed instead.

        What happens before the call may go unheard: begin to wait, then look, then wait on.
        """
        ...

    async def holder(self, digest: bytes) -> TokenHolder | None:
        """Return whom the token of a lease with this SHA-256 was given to."""
        ...

    async def lease_of(self, job_id: int, worker: str, token_id: int) -> JobLease | None:
        """Return the lease on a job that a worker holds which shows its own token instead of the lease's."""
        ...

    async def add_entry(self, lease: JobLease, entry: ExecutionLogEntry, now: datetime) -> int:
        """Begin an entry of the log; returns its number. The same key and start time again are the same entry.

        Raises:
            LeaseLost: If the lease does not hold.
            ConflictError: If the output would grow above its limit.
        """
        ...

    async def update_entry(
        self, lease: JobLease, number: int, entry: ExecutionLogEntry, out_offset: int | None, now: datetime
    ) -> None:
        """Replace an entry of the log.

        Args:
            lease: Of the attempt.
            number: Which entry, from 1.
            entry: What it is from now on.
            out_offset: Where in the output `entry.out` begins, in bytes; what is there already counts as written.
                None if it is the whole output.
            now: The current instant.

        Raises:
            LeaseLost: If the lease does not hold.
            JobNotFound: If the attempt has no such entry.
            ConflictError: If bytes between are missing, or the output would grow above its limit.
        """
        ...

    async def cancel(self, job_id: int, reason: str, now: datetime) -> JobRow:
        """Ask for a job to be stopped: at once if nobody works on it. A job that is canceled stays so, for its first reason.

        Raises:
            JobNotFound: If there is none.
            JobHasEnded: If it has completed or failed.
        """
        ...

    async def retry(self, job_id: int, now: datetime) -> JobRow:
        """Queue a job again that failed, was canceled or waits for its next attempt; failures count from 0 again.

        Raises:
            JobNotFound: If there is none.
            JobHasEnded: If it is queued, processing or completed.
        """
        ...

    async def job(self, job_id: int) -> JobRow:
        """Return a job.

        Raises:
            JobNotFound: If there is none.
        """
        ...

    async def payload(self, job_id: int) -> bytes:
        """Return the document of a job as it was submitted."""
        ...

    async def jobs(self, which: JobFilter) -> list[JobRow]:
        """Return jobs, newest first."""
        ...

    async def attempts(self, job_id: int) -> list[JobAttempt]:
        """Return every attempt at a job, oldest first."""
        ...

    async def entries(self, job_id: int) -> list[LogRow]:
        """Return every entry of a job's log, by attempt and number."""
        ...

    async def output(self, job_id: int, attempt: int, number: int, offset: int, limit: int) -> bytes:
        """Return at most `limit` bytes of an entry's output from `offset` on."""
        ...

    async def queues(self) -> list[QueueRow]:
        """Return every queue that has jobs or settings, by name."""
        ...

    async def set_queue(self, settings: QueueSettings) -> None:
        """Say how a queue is served from now on."""
        ...

    async def note_worker(self, worker: WorkerRow, now: datetime) -> None:
        """Keep what a worker says of itself."""
        ...

    async def workers(self) -> list[WorkerRow]:
        """Return every worker that was heard of, by name, with the number of its leases."""
        ...

    async def add_token(self, name: str, role: TokenRole, digest: bytes, now: datetime) -> TokenRow:
        """Keep a token.

        Raises:
            ConflictError: If one with this name is there and not revoked.
        """
        ...

    async def token(self, digest: bytes) -> TokenRow | None:
        """Return the token with this SHA-256, revoked or not."""
        ...

    async def tokens(self) -> list[TokenRow]:
        """Return every token, oldest first."""
        ...

    async def revoke_token(self, name: str, now: datetime) -> TokenRow:
        """End a token.

        Raises:
            StoreError: If there is none with this name.
        """
        ...

    async def prune(self, before: datetime, limit: int) -> int:
        """Remove at most `limit` jobs that ended before an instant, with their logs; returns how many."""
        ...

    async def close(self) -> None:
        """Wait until everything is durable, then free the store; safe to call twice."""
        ...


class GivenJob(Struct, frozen=True, kw_only=True):
    """A job as a worker gets it.

    Attributes:
        job: The document, with id and token.
        queue: Its queue, also where the document names none.
        attempt: From 1.
        lease_seconds: How long the lease holds after a heartbeat.
        labels: What the job asks a worker to offer.
    """

    job: Job
    queue: str
    attempt: int = 1
    lease_seconds: float = 25.0
    labels: tuple[str, ...] = ()

    @property
    def uid(self) -> str:
        """The job among those of all queues: ``<id>-<queue>``."""
        return f"{self.job.id}-{self.queue}"


class JobSource(Protocol):
    """A queue as a worker sees it.

    A call that can't reach the queue, or gets no sensible answer, raises `RemoteError` and may be made again: each is
    safe to repeat. One that is understood and turned down raises `Refused`; one whose lease has passed on, `LeaseLost`.
    """

    async def dequeue(self, ask: DequeueRequest) -> GivenJob | None:
        """Ask for a job; None if none came in the time that `ask` allows."""
        ...

    async def heartbeat(self, beat: HeartbeatRequest) -> HeartbeatResponse:
        """Say what the worker is at."""
        ...

    async def add_entry(self, given: GivenJob, entry: ExecutionLogEntry) -> int:
        """Begin an entry of the job's log; returns its id."""
        ...

    async def update_entry(
        self, given: GivenJob, entry_id: int, entry: ExecutionLogEntry, out_offset: int | None = None
    ) -> None:
        """Replace an entry, or with an offset add to its output."""
        ...

    async def complete(self, given: GivenJob) -> None:
        """Say that the job has succeeded."""
        ...

    async def errored(self, given: GivenJob, message: str, *, is_final: bool) -> None:
        """Say that the job has failed; if `is_final` it is not tried again."""
        ...

    async def hand_back(self, given: GivenJob, reason: str) -> None:
        """Give the job back, unfinished."""
        ...

    async def close(self) -> None:
        """Free the connections; safe to call twice."""
        ...


class JobLimits(Struct, frozen=True, kw_only=True):
    """What a job may use; 0 means no bound.

    Attributes:
        cpus: Processors kept busy.
        memory_bytes: Memory of each step.
        pids: Processes and threads at a time.
        disk_bytes: Size of the workspace.
        network: True if steps may use the network.
    """

    cpus: float = 0.0
    memory_bytes: int = 0
    pids: int = 0
    disk_bytes: int = 0
    network: bool = False


class JobPlace(Struct, frozen=True, kw_only=True):
    """Where a job is worked on.

    Attributes:
        name: Unique on this machine, safe in names of files, containers and machines.
        workspace: The job's own directory, absolute; steps see it as theirs.
        scratch: A directory beside it that steps don't see, for sockets, images and credentials of the runtime.
        limits: What its steps may use.
        docker_auth: Credentials for images.
        kill_grace: Seconds between SIGTERM and SIGKILL of a step that is stopped.
    """

    name: str
    workspace: Path
    scratch: Path
    limits: JobLimits = JobLimits()
    docker_auth: DockerAuthConfig | None = None
    kill_grace: float = 10.0


class RoomStep(Struct, frozen=True, kw_only=True):
    """A step as a runtime runs it: a script for a shell, or a program with its arguments.

    Attributes:
        key: Key of its log entry, for instance ``step.docker.0``.
        script: Lines for a shell, which ends at the first that fails; empty if there is `argv`.
        argv: Program and arguments.
        image: Where it runs; a runtime without images ignores it.
        dir: Working directory, relative to the workspace; it exists and lies within.
        env: Variables of its environment; nothing of the worker's own is inherited but PATH where there is no image.
    """

    key: str
    script: str = ""
    argv: tuple[str, ...] = ()
    image: str = ""
    dir: str = ""
    env: Mapping[str, str] = field(default_factory=dict)


OnOutput = Callable[[Stream, bytes], None]


class Room(Protocol):
    """Where the steps of one job run, one after another."""

    def command(self, step: RoomStep) -> tuple[str, ...]:
        """Return the command line of a step as the log shows it."""
        ...

    async def run(self, step: RoomStep, on_output: OnOutput) -> Exit:
        """Run one step to its end; when this returns or raises, nothing that it started is left.

        Cancelling ends the step: SIGTERM, the place's grace, SIGKILL.

        Raises:
            TaskFailed: If the step can't be run at all, with a code and a message for the job's log.
        """
        ...

    async def close(self) -> None:
        """Take the room down; safe to call twice, and after a cancellation."""
        ...


RoomLog = Callable[[str, tuple[str, ...], Callable[[OnOutput], Awaitable[Exit]]], Awaitable[Exit]]
"""Runs something as an entry of the job's log: its key, the command to show, and what does it."""


class Runtime(Protocol):
    """A way to isolate the steps of a job.

    Attributes:
        name: ``shell``, ``sandbox``, ``container`` or ``microvm``.
    """

    name: str

    async def open(self, place: JobPlace, log: RoomLog) -> Room:
        """Make a room for a job's steps, with entries in the log if that takes time (``setup.microvm.start``).

        Raises:
            TaskFailed: If it can't be made.
        """
        ...

    async def sweep(self, is_alive: Callable[[str], bool]) -> list[str]:
        """Remove what rooms left behind whose worker has died; returns a line for each.

        Args:
            is_alive: Tells whether the place with this name is one that a living worker is at.
        """
        ...

    async def faults(self) -> list[str]:
        """Return what keeps this runtime from working on this machine, a line each with what to do; none if it works."""
        ...
