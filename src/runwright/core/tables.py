"""What the tables of all definition files share: types of values, and how plain data is brought into their shape."""

from collections.abc import Mapping, Sequence
from typing import Annotated, Any, TypeVar

import msgspec
from msgspec import Meta, Struct

from runwright.core.check_fields import Path
from runwright.core.errors import Problem

T = TypeVar("T")

Duration = Annotated[
    str | int | float,
    Meta(
        description='A duration: "500ms", "30s", "1m30s", "2h", or a number of seconds.',
        extra_json_schema={"examples": ["30s", "1m30s", 5]},
    ),
]
Size = Annotated[
    str | int,
    Meta(description='A size: "64KiB", "10MiB", "1GB", or a number of bytes.'),
]
Commands = Annotated[
    str | list[str],
    Meta(description="One command line, or several that run in order."),
]
Environment = dict[str, str]
Secrets = Annotated[
    list[str],
    Meta(description="Environment variables whose values must appear nowhere."),
]
Variables = Annotated[
    dict[str, str],
    Meta(description="Values for `{{.name}}` unless --var gives others."),
]
FileName = Annotated[str, Meta(description="The file's name without .toml by default.")]
Retries = Annotated[int, Meta(description="Attempts after the first.", extra_json_schema={"minimum": 0})]


class Shaped(Struct, frozen=True):
    """Plain data in the shape of a record type.

    Attributes:
        data: What is left of it; required keys may be missing.
        problems: What was wrong with it.
        broken: Paths whose value had to be left out.
        raw: The data as they were.
    """

    data: Mapping[str, Any]
    problems: list[Problem]
    broken: set[Path]
    raw: Mapping[str, Any]

    def numbered(self, path: Path, kept: Sequence[T]) -> list[tuple[int, T]]:
        """Return the elements that are left of an array, each with its index in the file."""
        whole = _value_at(self.raw, path)
        size = len(whole) if isinstance(whole, list | tuple) else 0
        places = [index for index in range(size) if (*path, index) not in self.broken]
        return list(zip(places if len(places) == len(kept) else range(len(kept)), kept, strict=True))

    def has(self, path: Path) -> bool:
        """Tell whether a path is in the data as they were; one with a misspelt key is not."""
        return _value_at(self.raw, path) is not None


def _value_at(data: Any, path: Path) -> Any:
    """Return what stands at a path; None if nothing does."""
    for part in path:
        if isinstance(data, Mapping):
            data = data.get(part)
        elif isinstance(data, list | tuple) and isinstance(part, int) and part < len(data):
            data = data[part]
        else:
            return None
    return data


def shaped(data: Mapping[str, Any], kind: type[Struct]) -> Shaped:
    """Return data in the shape of a record type, with everything that is wrong with it."""
    try:
        msgspec.convert(data, kind)
    except msgspec.ValidationError:
        return mended(data, kind)
    return Shaped(data, [], set(), data)


def mended(data: Mapping[str, Any], kind: type[Struct]) -> Shaped:
    """Return what is left of data that is known to have faults in its shape."""
    from runwright.core.shape import mend  # noqa: PLC0415 - only for files with faults

    found = mend(data, kind)
    return Shaped(found.value, found.problems, found.broken, data)
