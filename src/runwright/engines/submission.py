"""From what somebody submits to what a store keeps."""

from collections.abc import Callable, Iterable, Iterator
from typing import Any

import msgspec
from msgspec import structs

from runwright.core.errors import DefinitionError, Problem, UsageError
from runwright.core.job import Job, decode_job
from runwright.core.job_mask import secrets_of
from runwright.core.job_requests import canonical, submission_problems
from runwright.core.job_rows import NewJob
from runwright.core.job_wire import SubmitRequest
from runwright.core.redact import Redactor
from runwright.ports.sealing import Sealer

HANDED_OUT = b'{"id":0,"version":2,"token":"","queue":"",'
KEPT = b'{"version":2,'
"""How the document of a job begins, and how what is kept of it does."""

JobCheck = Callable[[Job], Iterable[Problem]]
"""Finds what is wrong with a job, paths from the top of its document."""


def new_job(ask: SubmitRequest, check: JobCheck, sealer: Sealer | None) -> NewJob:
    """Return what is to be kept of a submission; a job with secrets is sealed.

    Raises:
        DefinitionError: With everything that is wrong with it.
        UsageError: If it has secrets, and there is nothing to seal them with.
    """
    ask = canonical(ask)
    job, problems = _decoded(ask.job)
    problems = [*submission_problems(ask), *problems, *(_inside(check(job)) if job is not None else ())]
    if job is not None and not problems:
        problems += _leaks(ask, job)
    if problems or job is None:
        raise DefinitionError(problems)
    payload, is_secret = _payload(job), has_secrets(job)
    if is_secret:
        payload = _sealed(payload, sealer)
    return NewJob(
        queue=ask.queue,
        payload=payload,
        sealed=is_secret,
        priority=ask.priority,
        labels=ask.labels,
        key=ask.key,
        delay=ask.delay,
        max_attempts=ask.max_attempts,
        retry_delay=ask.retry_delay,
        idempotency_key=ask.idempotency_key,
    )


def has_secrets(job: Job) -> bool:
    """Return whether a job says things that nobody may read in a store."""
    auth = job.docker_auth_config
    return bool(job.redacted_values or (auth is not None and auth.auths))


def opened_job(payload: bytes, sealer: Sealer | None, *, is_sealed: bool) -> Job:
    """Return the job that was kept as a payload.

    Raises:
        StoreError: If it was sealed with another key, or altered.
        UsageError: If it is sealed, and there is nothing to open it with.
    """
    if is_sealed:
        if sealer is None:
            raise UsageError("the job is sealed, and there is no key to open it with; give the key file")
        payload = sealer.unseal(payload)
    return msgspec.json.decode(payload, type=Job)


def _decoded(raw: msgspec.Raw) -> tuple[Job | None, list[Problem]]:
    try:
        document: Any = msgspec.json.decode(raw)
        if not isinstance(document, dict):
            return None, [Problem(message="the job is not an object", path=("job",))]
        return decode_job(document), []
    except msgspec.ValidationError as error:
        return None, [Problem(message=str(error), path=("job",))]


def _inside(problems: Iterable[Problem]) -> Iterator[Problem]:
    return (structs.replace(problem, path=("job", *problem.path)) for problem in problems)


def _leaks(ask: SubmitRequest, job: Job) -> Iterator[Problem]:
    """Yield each fact about a job that holds one of its secrets: they are kept and shown as they are."""
    facts = (("labels", ask.labels), ("key", (ask.key,)), ("idempotency_key", (ask.idempotency_key,)))
    given = [(name, texts) for name, texts in facts if any(texts)]
    redactor = Redactor(secrets_of(job) if given else ())
    for name, texts in given:
        if any(redactor.finds(text) for text in texts):
            message = f"{name}: holds a secret of the job, which would be stored"
            yield Problem(message=message, path=(name,), suggestion="choose another")


def _payload(job: Job) -> bytes:
    """Return the document of a job without what it gets when it is handed out; a large one is not copied for that."""
    whole = msgspec.json.encode(structs.replace(job, id=0, version=2, token="", queue=""))
    assert whole.startswith(HANDED_OUT)
    return KEPT + whole[len(HANDED_OUT) :]


def _sealed(payload: bytes, sealer: Sealer | None) -> bytes:
    if sealer is None:
        message = "the job has secrets, and there is no key to seal them with"
        raise UsageError((Problem(message=message, suggestion="give the key file"),))
    return sealer.seal(payload)
