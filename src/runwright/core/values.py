"""Values that tasks hand on and that are too large, or not plain enough, to be recorded with their run.

Such a value is kept in a content store, and what is recorded in its place is plain data that says where:
``{"$stored": {"digest": ..., "size_bytes": ..., "form": ...}}``.
"""

from enum import StrEnum
from typing import Any

import msgspec
from msgspec import Struct

STORED = "$stored"
"""The name that stands for a stored value; no value of a task may have it."""

STORED_MARK = f'"{STORED}"'.encode()
"""The same as it stands in JSON."""


class Form(StrEnum):
    """How a stored value is written; the first line of what is stored says so too."""

    JSON = "json"
    PICKLE = "pickle"

    @property
    def head(self) -> bytes:
        """What stored values of this form begin with."""
        return self.value.encode() + b"\n"


class StoredValue(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Where a value is.

    Attributes:
        digest: BLAKE3 of what is stored, hexadecimal.
        size_bytes: Of the value without the head of its form.
        form: How it is written.
    """

    digest: str
    size_bytes: int
    form: Form

    def recorded(self) -> dict[str, Any]:
        """Return what is recorded in place of the value."""
        return {STORED: msgspec.to_builtins(self)}


def stored_value(value: Any) -> StoredValue | None:
    """Return where a recorded value is; None if it is there itself."""
    if not isinstance(value, dict) or value.keys() != {STORED}:
        return None
    try:
        return msgspec.convert(value[STORED], StoredValue)
    except msgspec.ValidationError:
        return None
