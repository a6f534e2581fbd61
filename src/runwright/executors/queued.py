"""Tasks as jobs of a queue: a worker somewhere runs them, and their logs come back while they do."""

import asyncio
import base64
import os
import shlex
from collections.abc import Awaitable, Callable, Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any, TypeVar

import msgspec
from msgspec import Meta, Struct, field

from runwright.core.errors import (
    DefinitionError,
    Failure,
    JobHasEnded,
    JobNotFound,
    Refused,
    RemoteError,
    TaskFailed,
)
from runwright.core.job_rows import JobFilter
from runwright.core.job_wire import SubmitRequest
from runwright.core.log_lines import LineReader
from runwright.core.states import FINAL_JOB_STATES, JobState
from runwright.core.task import Result, SessionId, Task
from runwright.executors.calls import Calls
from runwright.executors.command_output import CommandOutput
from runwright.executors.finishing import finished
from runwright.executors.isolated_args import check_command, check_names, relative_fault
from runwright.executors.sandbox_files import find_inputs
from runwright.ports.executor import Session
from runwright.ports.queue_client import JobQueueClient

T = TypeVar("T")

STOP_SECONDS = 30.0
"""How long the stop of a job may take to be confirmed before its task ends without that."""

PAUSES = (0.5, 1.0, 2.0, 4.0, 8.0)
"""Seconds before the queue is asked again that has not answered, each time; then the task fails."""

LARGEST_FILES = 32 * 1024 * 1024
"""Bytes of all the files that a task sends with its job."""

ATTEMPT = "RUNWRIGHT_ATTEMPT"
STEP = "step."


class QueuedArgs(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Arguments of the ``queued`` executor.

    Attributes:
        queue: Name of the queue.
        server: Address of the server; empty for ``$RUNWRIGHT_SERVER``.
        token_file: File with a token of role ``admin``; empty for ``$RUNWRIGHT_TOKEN_FILE``.
        cmd: Command line for the shell of the worker's runtime.
        argv: Program and its arguments.
        job: The whole document of a job, in the place of `cmd` and `argv`.
        image: Where the command runs, if the worker's runtime has images.
        repository: Repository to check out; empty for none.
        commit: Which commit of it.
        priority: The higher, the sooner.
        labels: What a worker must offer.
        delay: Seconds before it may start.
        max_attempts: How often the queue itself tries it.
        key: Jobs of one key take turns with others; empty for the run.
        env: Variables of its environment.
        secrets: Names of variables of our environment that the job gets and that appear in no log.
        clean_env: The environment is always clean.
        working_dir: Relative to the job's workspace.
        kill_grace: The worker's own counts.
    """

    queue: Annotated[str, Meta(min_length=1, examples=["build"])]
    server: str = ""
    token_file: str = ""
    cmd: str = ""
    argv: tuple[str, ...] = ()
    job: Mapping[str, Any] | None = None
    image: str = ""
    repository: str = ""
    commit: str = ""
    priority: int = 0
    labels: tuple[str, ...] = ()
    delay: Annotated[float, Meta(ge=0)] = 0.0
    max_attempts: Annotated[int, Meta(ge=1)] = 1
    key: str = ""
    env: Mapping[str, str] = field(default_factory=dict)
    secrets: tuple[str, ...] = ()
    clean_env: bool = True
    working_dir: str = ""
    kill_grace: float = 10.0

    def __post_init__(self) -> None:
        if self.job is None:
            check_command(self.cmd, self.argv, needed=True)
        elif self.cmd or self.argv or self.repository:
            raise ValueError("`job` is a whole job; leave out `cmd`, `argv` and `repository`, or `job`")
        check_names((*self.secrets, *self.env))
        if self.working_dir and (fault := relative_fault(self.working_dir)):
            raise ValueError(f"`working_dir` {fault}")


Connect = Callable[[str, str], JobQueueClient]
"""Makes a client of the server at an address, with the token in a file."""


class Queued:
    """Submits each task as a job, follows its log, and ends as the job does.

    An attempt that follows one whose engine died takes over the job of that one, if it has not ended. A task that is
    cancelled cancels its job and waits until the worker has stopped it.

    Args:
        connect: Makes clients.
        stop_seconds: How long the stop of a job may take to be confirmed.
        pauses: Seconds before a queue is asked again that has not answered, each time.
    """

    Args = QueuedArgs

    def __init__(
        self, connect: Connect, stop_seconds: float = STOP_SECONDS, pauses: Sequence[float] = PAUSES
    ) -> None:
        self._connect = connect
        self._stop_seconds = stop_seconds
        self._pauses = pauses
        self._clients: dict[SessionId, dict[tuple[str, str], JobQueueClient]] = {}
        self._calls = Calls()

    async def open_session(self, session: Session) -> None:
        """Begin to keep connections for the session."""
        self._clients[session.id] = {}

    async def execute(self, session: Session, task: Task) -> Result:
        """Run the task as a job, to its end.

        Raises:
            TaskFailed: With code ``E_JOB`` if the job failed, ``E_JOB_CANCELED`` if somebody canceled it, ``E_QUEUE`` if
                the queue can't be reached or refuses it, ``E_INPUT`` if a file can't be sent, ``E_ARGS`` if the arguments
                are wrong, ``E_SESSION`` if its session was closed meanwhile.
        """
        with self._calls.of(session.id):
            args = _to_args(task)
            if task.outputs:
                message = "executor queued: files that a job makes do not come back; remove `outputs`, and hand them on in another way"
                raise TaskFailed(Failure(code="E_ARGS", message=message))
            return await _told(self._run(session, task, args))

    async def close_session(self, session_id: SessionId) -> None:
        """End what still runs, and close the session's connections."""
        await self._calls.end(session_id)
        for client in self._clients.pop(session_id, {}).values():
            await client.close()

    def _client(self, session: Session, args: QueuedArgs) -> JobQueueClient:
        clients = self._clients[session.id]
        place = (args.server, args.token_file)
        if place not in clients:
            clients[place] = self._connect(*place)
        return clients[place]

    async def _run(self, session: Session, task: Task, args: QueuedArgs) -> Result:
        client = self._client(session, args)
        begun: list[int] = []
        try:
            await finished(self._begin(client, _request(session, task, args), args, begun))
            await _followed(client, begun[0], log := _JobLog(CommandOutput(session.log(task.id))))
            return _result(session, await self._answer(lambda: client.job(begun[0])), log)
        except asyncio.CancelledError:
            for job_id in begun:
                await finished(self._stopped(client, job_id))
            raise

    async def _begin(
        self, client: JobQueueClient, ask: SubmitRequest, args: QueuedArgs, begun: list[int]
    ) -> None:
        """Find or submit the job; to its end, since nobody would stop a job whose id was not waited for."""
        job_id = await self._answer(lambda: self._former(client, ask, args))
        if job_id is None:
            job_id = await self._answer(lambda: client.submit(ask))
        begun.append(job_id)

    async def _former(self, client: JobQueueClient, ask: SubmitRequest, args: QueuedArgs) -> int | None:
        """Return the job of the attempts before, if their engines died and the job lives on."""
        attempt = args.env.get(ATTEMPT, "1")
        for before in range(int(attempt) - 1 if attempt.isdecimal() else 0, 0, -1):
            key = _key_of_attempt(ask.idempotency_key, before)
            if found := await client.jobs(JobFilter(idempotency_key=key, limit=1)):
                is_alive = JobState(found[0]["state"]) not in FINAL_JOB_STATES
                return int(found[0]["id"]) if is_alive else None
        return None

    async def _answer(self, ask: Callable[[], Awaitable[T]]) -> T:
        """Return what the queue answers; a server that is away for a while is asked again."""
        for pause in self._pauses:
            try:
                return await ask()
            except Refused:
                raise
            except RemoteError:
                await asyncio.sleep(pause)
        return await ask()

    async def _stopped(self, client: JobQueueClient, job_id: int) -> None:
        """Cancel a job and wait for its end, as long as that may take."""
        try:
            async with asyncio.timeout(self._stop_seconds):
                await client.cancel(job_id, "its task was stopped")
                async for _ in client.follow(job_id):
                    pass
        except (JobHasEnded, JobNotFound, RemoteError, TimeoutError):
            return  # nobody is left who could be told


async def _followed(client: JobQueueClient, job_id: int, log: "_JobLog") -> None:
    """Bring the log of a job into that of its task, until the job has ended."""
    async for news in client.follow(job_id):
        log.take(news)


def _result(session: Session, job: Mapping[str, Any], log: "_JobLog") -> Result:
    """Return what came of a job.

    Raises:
        TaskFailed: If it did not complete.
    """
    if JobState(job["state"]) is JobState.COMPLETED:
        return Result(value=log.output.last_line())
    raise TaskFailed(_failure(session, job, log))


class _JobLog:
    """What the log of a job tells: output of its steps, and how its commands ended."""

    def __init__(self, output: CommandOutput) -> None:
        self.output = output
        self.exit_code: int | None = None
        self._keys: dict[tuple[int, int], str] = {}
        self._readers: dict[tuple[int, int], LineReader] = {}

    def take(self, news: Mapping[str, Any]) -> None:
        """Take up one piece of news of the log."""
        if news["kind"] == "end":
            return
        entry = (int(news["attempt"]), int(news["entry"]))
        if news["kind"] == "entry":
            self._entry(entry, news)
        elif self._keys.get(entry, STEP).startswith(STEP):
            for stream, data in self._readers.setdefault(entry, LineReader()).feed(news["out"]):
                self.output.take("stderr" if stream == "stderr" else "stdout", data)

    def _entry(self, entry: tuple[int, int], news: Mapping[str, Any]) -> None:
        self._keys[entry] = news["key"]
        code = news.get("exitCode")
        if code is None:
            return
        if entry in self._readers:
            for stream, data in self._readers.pop(entry).flush():
                self.output.take("stderr" if stream == "stderr" else "stdout", data)
        self.exit_code = code or self.exit_code


def _failure(session: Session, job: Mapping[str, Any], log: _JobLog) -> Failure:
    state, said = JobState(job["state"]), str(job.get("message") or "no reason was given")
    code = "E_JOB_CANCELED" if state is JobState.CANCELED else "E_JOB"
    message = f"job {job['id']} of queue {job['queue']} {state.value}: {said}"
    if state not in FINAL_JOB_STATES:
        code, message = (
            "E_QUEUE",
            f"job {job['id']} is still {state.value}, but the queue tells no more of it",
        )
    return Failure(
        code=code,
        message=session.redact(message),
        exit_code=log.exit_code if code == "E_JOB" else None,
        stderr_tail=log.output.errors(session),
    )


async def _told(work: Awaitable[Result]) -> Result:
    """Turn what goes wrong between us and the queue into the failure of the task."""
    try:
        return await work
    except DefinitionError as error:
        raise TaskFailed(Failure(code="E_ARGS", message=f"executor queued: {error.with_advice}")) from error
    except (RemoteError, JobNotFound) as error:
        raise TaskFailed(Failure(code="E_QUEUE", message=str(error))) from error


def _to_args(task: Task) -> QueuedArgs:
    try:
        return msgspec.convert(task.args, QueuedArgs)
    except msgspec.ValidationError as error:
        raise TaskFailed(Failure(code="E_ARGS", message=f"executor queued: {error}")) from None


def _key_of_attempt(key: str, attempt: int) -> str:
    return f"{key.rpartition('/')[0]}/{attempt}"


def _request(session: Session, task: Task, args: QueuedArgs) -> SubmitRequest:
    document = dict(args.job) if args.job is not None else _document(session, task, args)
    text = msgspec.json.encode(document)
    found = session.redactor.found_in(text.decode())
    if found:
        document["redactedValues"] = {**dict.fromkeys(found, "***"), **document.get("redactedValues", {})}
        text = msgspec.json.encode(document)
    return SubmitRequest(
        queue=args.queue,
        job=msgspec.Raw(text),
        priority=args.priority,
        labels=args.labels,
        delay=args.delay,
        max_attempts=args.max_attempts,
        key=args.key or session.id,
        idempotency_key=f"{session.id}/{task.id}/{args.env.get(ATTEMPT, '1')}",
    )


def _document(session: Session, task: Task, args: QueuedArgs) -> dict[str, Any]:
    hidden = {name: os.environ[name] for name in args.secrets if name in os.environ}
    env = {**args.env, **hidden}
    step = {
        "key": "task",
        "image": args.image,
        "commands": [args.cmd or shlex.join(args.argv)],
        "dir": args.working_dir,
        "env": [f"{name}={value}" for name, value in env.items()],
    }
    return {
        "version": 2,
        "repositoryName": args.repository,
        "commit": args.commit,
        "shallowClone": True,
        "files": _files(session.source, task.inputs),
        "dockerSteps": [step],
        "redactedValues": {value: f"${{{name}}}" for name, value in hidden.items() if value},
    }


def _files(source: Path, patterns: Sequence[str]) -> dict[str, dict[str, str]]:
    """Return the files that inputs name, as a document has them.

    Raises:
        TaskFailed: With code ``E_INPUT`` if one is missing or leads out of the tree, or if they are too large.
    """
    files, size = {}, 0
    for name, path in find_inputs(source, patterns).items():
        size += path.stat().st_size
        if size > LARGEST_FILES:
            message = f"the inputs are larger than {LARGEST_FILES} bytes, more than a job can carry; let the job check out a repository"
            raise TaskFailed(Failure(code="E_INPUT", message=message))
        files[name] = {"content": base64.b64encode(path.read_bytes()).decode()}
    return files
