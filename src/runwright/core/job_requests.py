"""What a request to the queue must be before anything is done with it, and what is made of it where it may be unclean."""

from collections.abc import Iterator, Sequence
from datetime import UTC, datetime
from typing import Any, TypeVar

import msgspec
from msgspec import structs

from runwright.core.errors import Problem
from runwright.core.job_rows import QueueSettings
from runwright.core.job_wire import (
    DequeueRequest,
    ExecutionLogEntry,
    HeartbeatRequest,
    JobId,
    QueueJobIds,
    SubmitRequest,
)
from runwright.core.pattern import pattern

T = TypeVar("T")

NAME = pattern(r"[A-Za-z0-9][A-Za-z0-9._-]{0,99}")
NAME_ADVICE = 'use letters, digits, ".", "_" and "-", at most 100, and begin with a letter or digit'
TEXT = pattern(r"[^\x00-\x1f\x7f]*")

LONGEST_TEXT = 200
"""Characters of a label, a key or the name of a worker."""

LONGEST_MESSAGE = 64 * 1024
"""Characters of the message of a verdict or of the reason of a cancellation that are kept."""

MOST_LABELS = 64
MOST_ATTEMPTS = 1_000
MOST_PRIORITY = 1_000_000
LONGEST_DELAY = 366 * 86_400.0
"""Seconds that a job may be put off."""

MOST_QUEUES = 1_000
"""Queues that one request names."""

MOST_JOBS = 10_000
"""Jobs in one heartbeat, and slots of one worker."""

MOST_SETTING = 1_000_000
"""What a bound of a queue may be."""

LARGEST_ID = 2**63 - 1
LARGEST_NUMBER = 2**63 - 1
FIRST_WITH_BYTES = (4, 3, 0)
FIRST_BUILD_WITH_BYTES = "2022-11-24"
RELEASE = pattern(r"v?([0-9]{1,6})\.([0-9]{1,6})\.([0-9]{1,6})([-+][0-9A-Za-z.+-]*)?")
BUILD = pattern(r"[0-9]+_([0-9]{4}-[0-9]{2}-[0-9]{2})_[0-9.]*-?[0-9a-f]+")


def decode(data: bytes | bytearray, kind: type[T]) -> T:
    """Return a request of a worker: numbers may be texts, and lists that nobody filled may be null.

    Raises:
        msgspec.DecodeError: If it is no JSON; its kind `ValidationError` if it is JSON of another shape.
    """
    try:
        return msgspec.json.decode(data, type=kind, strict=False)
    except msgspec.ValidationError:
        found = msgspec.json.decode(data)
        return msgspec.convert(without_nulls(found), kind, strict=False)


def without_nulls(value: Any) -> Any:
    """Leave out what is null in an object, and in the objects within."""
    if isinstance(value, dict):
        return {name: without_nulls(each) for name, each in value.items() if each is not None}
    return [without_nulls(each) for each in value] if isinstance(value, list) else value


def document_version(version: str) -> int:
    """Return which version of the job document a worker of a version understands: 1 or 2.

    Raises:
        ValueError: If the text is no version: neither a release, a build with its date, ``dev``, nor empty.
    """
    if version == "dev":
        return 2
    if found := RELEASE.fullmatch(version):
        release = tuple(int(part) for part in found.groups()[:3])
        return 2 if release >= FIRST_WITH_BYTES or version == "0.0.0+dev" else 1
    if found := BUILD.fullmatch(version):
        return 2 if found[1] >= FIRST_BUILD_WITH_BYTES else 1
    if version:
        raise ValueError(f'"{version[:LONGEST_TEXT]}" is no version: write 4.3.0, or dev')
    return 1


def job_number(wire_id: JobId) -> int | None:
    """Return the number of a job from how it is written on the wire: 5, "5" or "5-queue"; None if it is none of these."""
    text = str(wire_id).partition("-")[0]
    number = int(text) if text.isascii() and text.isdigit() and len(text) < 20 else 0
    return number if 0 < number <= LARGEST_ID else None


def job_numbers(wire_ids: Sequence[JobId]) -> tuple[int, ...]:
    """Return the numbers of jobs, each once; what is no id of a job is left out, since nobody holds that."""
    found = (job_number(wire_id) for wire_id in wire_ids)
    return tuple(dict.fromkeys(number for number in found if number is not None))


def text_problem(what: str, text: str, *, may_be_empty: bool = False) -> Iterator[Problem]:
    """Yield what is wrong with a name that people and programs choose freely."""
    if not text and not may_be_empty:
        yield Problem(message=f"{what} is empty", path=(what,), suggestion="give it a name")
    elif len(text) > LONGEST_TEXT or not TEXT.fullmatch(text):
        advice = f"write at most {LONGEST_TEXT} characters, none of them a control character"
        yield Problem(message=f"{what} is too long or not plain text", path=(what,), suggestion=advice)


def queue_problem(name: str, path: tuple[str | int, ...] = ("queue",)) -> Iterator[Problem]:
    """Yield what is wrong with the name of a queue."""
    if not NAME.fullmatch(name):
        message = f'"{name[:LONGEST_TEXT]}" can\'t name a queue'
        yield Problem(message=message, path=path, suggestion=NAME_ADVICE)


def submission_problems(ask: SubmitRequest) -> Iterator[Problem]:
    """Yield everything that is wrong with a submission, but for its job."""
    yield from queue_problem(ask.queue)
    yield from text_problem("key", ask.key, may_be_empty=True)
    yield from text_problem("idempotency_key", ask.idempotency_key, may_be_empty=True)
    yield from label_problems(ask.labels)
    bounds: tuple[tuple[str, float, float, float], ...] = (
        ("priority", ask.priority, -MOST_PRIORITY, MOST_PRIORITY),
        ("delay", ask.delay, 0, LONGEST_DELAY),
        ("max_attempts", ask.max_attempts, 1, MOST_ATTEMPTS),
        ("retry_delay", ask.retry_delay, 0, LONGEST_DELAY),
    )
    for name, value, least, most in bounds:
        if not least <= value <= most:
            advice = f"it must be in {least:,.0f} to {most:,.0f}"
            yield Problem(message=f"{name} is out of range", path=(name,), suggestion=advice)


def label_problems(labels: Sequence[str]) -> Iterator[Problem]:
    """Yield what is wrong with labels."""
    yield from too_many("labels", len(labels), MOST_LABELS)
    for label in labels[:MOST_LABELS]:
        yield from text_problem("labels", label)


def dequeue_problems(ask: DequeueRequest, queues: Sequence[str]) -> Iterator[Problem]:
    """Yield everything that is wrong with a request for a job in some queues."""
    yield from _caller_problems(ask)
    yield from too_many("queues", len(queues), MOST_QUEUES)
    for name in queues[:MOST_QUEUES]:
        yield from queue_problem(name, ("queues",))
    try:
        document_version(ask.version)
    except ValueError as error:
        yield Problem(message=str(error), path=("version",))


def heartbeat_problems(
    beat: HeartbeatRequest, groups: Sequence[QueueJobIds], queues: Sequence[str]
) -> Iterator[Problem]:
    """Yield everything that is wrong with a heartbeat for jobs in some queues."""
    yield from _caller_problems(beat)
    if not queues:
        yield Problem(message="queueNames is empty", path=("queueNames",), suggestion="name your queues")
    yield from too_many("queueNames", len(queues), MOST_QUEUES)
    for name in queues[:MOST_QUEUES]:
        yield from queue_problem(name, ("queueNames",))
    if strange := sorted({group.queue_name for group in groups} - set(queues)):
        both = f"jobIdsByQueue names {', '.join(strange)}; queueNames are {', '.join(queues)}"
        yield Problem(message=both[:500], path=("jobIdsByQueue",), suggestion="name every queue in both")
    yield from too_many("jobIds", sum(len(group.job_ids) for group in groups), MOST_JOBS)
    if not 0 <= beat.slots <= MOST_JOBS:
        yield Problem(message=f"slots must be in 0 to {MOST_JOBS:,}", path=("slots",))


def _caller_problems(ask: DequeueRequest | HeartbeatRequest) -> Iterator[Problem]:
    yield from text_problem("executorName", ask.executor_name)
    yield from text_problem("bootId", ask.boot_id, may_be_empty=True)
    yield from label_problems(ask.labels)


def settings_problems(settings: QueueSettings) -> Iterator[Problem]:
    """Yield what is wrong with how a queue is to be served."""
    yield from queue_problem(settings.name, ("name",))
    for name in ("limit", "key_limit", "max_resets"):
        if not 0 <= getattr(settings, name) <= MOST_SETTING:
            yield Problem(message=f"{name} must be in 0 to {MOST_SETTING:,}", path=(name,))


def too_many(what: str, count: int, most: int) -> Iterator[Problem]:
    """Yield that there are too many of something, if there are."""
    if count > most:
        yield Problem(message=f"there are {count} {what}; at most {most:,}", path=(what,))


def entry_problems(entry: ExecutionLogEntry, out_offset: int | None = None) -> Iterator[Problem]:
    """Yield what is wrong with an entry of a log."""
    yield from text_problem("key", entry.key)
    if out_offset is not None and not 0 <= out_offset <= LARGEST_NUMBER:
        yield Problem(message="outOffset is out of range", path=("outOffset",))
    for name, value in (("exitCode", entry.exit_code), ("durationMs", entry.duration_ms)):
        if value is not None and abs(value) > LARGEST_NUMBER:
            yield Problem(message=f"{name} is out of range", path=(name,), suggestion="write 64 bits at most")


def settled_entry(entry: ExecutionLogEntry) -> ExecutionLogEntry:
    """Return the plain entry of a request, as every store can keep it: no NUL in its command, its start in UTC."""
    return ExecutionLogEntry(
        key=entry.key,
        command=tuple(without_nul(part) for part in entry.command),
        start_time=settled_time(entry.start_time),
        exit_code=entry.exit_code,
        out=entry.out,
        duration_ms=entry.duration_ms,
    )


def settled_time(at: datetime | None) -> datetime | None:
    """Return an instant in UTC; None for one before 1970, which is how some programs write that there is none."""
    if at is None or not 1970 <= at.year < 9999:
        return None
    return at.replace(tzinfo=UTC) if at.tzinfo is None else at.astimezone(UTC)


def without_nul(text: str) -> str:
    """Return a text with U+FFFD where it has NUL, which not every store can keep."""
    return text.replace("\0", "\ufffd")


def message_text(text: str) -> str:
    """Return the message of a verdict as it is kept."""
    return without_nul(text[:LONGEST_MESSAGE])


def canonical(ask: SubmitRequest) -> SubmitRequest:
    """Return a submission whose labels stand in order, each once."""
    return structs.replace(ask, labels=tuple(sorted(set(ask.labels))))
