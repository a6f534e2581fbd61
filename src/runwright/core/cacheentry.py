"""What is kept of a task that succeeded, so that it need not run again, as records and as bytes."""

from collections.abc import Mapping
from enum import StrEnum
from typing import Any

import msgspec
from blake3 import blake3
from msgspec import Struct, field

from runwright.core.cachekey import Account, Difference
from runwright.core.task import Task


class OutputKind(StrEnum):
    """What an output is."""

    FILE = "file"
    LINK = "link"
    DIRECTORY = "directory"


class Output(Struct, frozen=True, array_like=True):
    """One file, link or directory that a task left.

    Attributes:
        place: ``tree`` if `path` is relative to the session's source tree, ``own`` if to the task's output directory.
        path: With ``/`` between its parts.
        kind: What it is.
        mode: Permission bits.
        digest: BLAKE3 of the content of a file, hexadecimal; where a link leads; empty for a directory.
        size_bytes: Of a file.
    """

    place: str
    path: str
    kind: OutputKind
    mode: int
    digest: str
    size_bytes: int = 0


class Entry(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """A task's success under its key.

    Attributes:
        key: Digest of the key.
        task_id: Of the task that ran.
        account: What the key was made of.
        outputs: What the task left, in the order of their paths.
        value: As in `Result`.
        variables: As in `Result`.
        followups: As in `Result`.
        own: `Result.outputs`.
        seconds: How long the task took.
        made_at: Seconds since the epoch.
    """

    key: str
    task_id: str
    account: Account
    outputs: tuple[Output, ...] = ()
    value: Any = None
    variables: Mapping[str, str] = field(default_factory=dict)
    followups: tuple[Task, ...] = ()
    own: tuple[str, ...] = ()
    seconds: float = 0.0
    made_at: float = 0.0


CHECK_BYTES = 16
_ENCODER = msgspec.msgpack.Encoder()
_DECODER = msgspec.msgpack.Decoder(Entry)


def seal(entry: Entry) -> bytes:
    """Return an entry as bytes that tell when they are damaged.

    Raises:
        TypeError: If its value is not plain data.
    """
    return sealed(_ENCODER.encode(entry))


def unseal(data: bytes) -> Entry | None:
    """Return the entry, or None if the bytes are not what was sealed."""
    body = opened(data)
    return None if body is None else entry_of(body)


def entry_of(body: bytes) -> Entry | None:
    """Return the entry that was in sealed bytes; None if they hold something else."""
    try:
        return _DECODER.decode(body)
    except msgspec.MsgspecError:
        return None


def sealed(body: bytes) -> bytes:
    """Return bytes with a digest before them."""
    return blake3(body).digest(CHECK_BYTES) + body


def opened(data: bytes) -> bytes | None:
    """Return what was sealed, or None if it is damaged."""
    body = data[CHECK_BYTES:]
    return body if blake3(body).digest(CHECK_BYTES) == data[:CHECK_BYTES] else None


MOST_DETAILS = 8
"""Most lines that tell why a task ran; with what else `explain` says that makes ten at most."""


def details(found: list[Difference]) -> tuple[str, ...]:
    """Return differences as lines, the first ones and how many more there are."""
    texts = [difference.text for difference in found]
    if len(texts) <= MOST_DETAILS:
        return tuple(texts)
    return (*texts[: MOST_DETAILS - 1], f"and {len(texts) - MOST_DETAILS + 1} more changes")
