"""The state that the steps of a plan share, and which part of it can be stored."""

from collections.abc import ItemsView, Iterator, Mapping, MutableMapping, ValuesView
from typing import Any

import msgspec
from msgspec import Struct, field

VALUE_BYTES = 64 * 1024
"""Longest value that is stored, in bytes as JSON."""


class State(MutableMapping[str, Any]):
    """Values by name, shared by the steps of one execution of a plan.

    It may be used from several threads at once: each operation is atomic, iteration is over what there was when it began, and `setdefault` gives every caller the same value.
    """

    __slots__ = ("_values",)

    def __init__(self, values: Mapping[str, Any] | None = None) -> None:
        self._values: dict[str, Any] = dict(values or {})

    def __getitem__(self, name: str) -> Any:
        return self._values[name]

    def __setitem__(self, name: str, value: Any) -> None:
        if not isinstance(name, str):
            raise TypeError(f"names of state values are texts, not {type(name).__name__}")
        self._values[name] = value

    def __delitem__(self, name: str) -> None:
        del self._values[name]

    def __iter__(self) -> Iterator[str]:
        return iter(tuple(self._values))

    def __len__(self) -> int:
        return len(self._values)

    def __contains__(self, name: object) -> bool:
        return name in self._values

    def __repr__(self) -> str:
        return f"State({self._values!r})"

    def setdefault(self, name: str, default: Any = None) -> Any:
        """Return the value of a name, which is `default` from now on if it had none."""
        return self._values.setdefault(name, default)

    def pop(self, name: str, *default: Any) -> Any:
        """Remove a name and return its value, or `default` if it has none; raises KeyError without a default."""
        return self._values.pop(name, *default)

    def popitem(self) -> tuple[str, Any]:
        """Remove the latest name and return it with its value; raises KeyError if there is none."""
        return self._values.popitem()

    def clear(self) -> None:
        """Remove every name."""
        self._values = {}

    def items(self) -> ItemsView[str, Any]:
        """Return names and values as they are now."""
        return self.snapshot().items()

    def values(self) -> ValuesView[Any]:
        """Return the values as they are now."""
        return self.snapshot().values()

    def replace(self, values: Mapping[str, Any]) -> None:
        """Hold these values from now on, and no others."""
        self._values = dict(values)

    def snapshot(self) -> dict[str, Any]:
        """Return the values as they are at one moment."""
        return dict(self._values)


class Difference(Struct, frozen=True, kw_only=True):
    """What has changed since the state was last stored.

    Attributes:
        values: New values as JSON, by name.
        removed: Names that are no more, or whose value can't be stored any more.
        lost: Why values can't be stored, by name.
    """

    values: Mapping[str, str] = field(default_factory=dict)
    removed: tuple[str, ...] = ()
    lost: Mapping[str, str] = field(default_factory=dict)

    def __bool__(self) -> bool:
        return bool(self.values or self.removed or self.lost)


class Stored:
    """What of a state has been stored so far.

    Attributes:
        values: As JSON, by name.
        lost: Why the others could not be, by name.
    """

    def __init__(
        self, values: Mapping[str, str] | None = None, lost: Mapping[str, str] | None = None
    ) -> None:
        self.values = dict(values or {})
        self.lost = dict(lost or {})

    def difference(self, state: State) -> Difference:
        """Return what is to be stored now, and take it as stored."""
        values: dict[str, str] = {}
        lost: dict[str, str] = {}
        for name, value in state.snapshot().items():
            text = to_json(value)
            if isinstance(text, Unstorable):
                lost[name] = text.reason
            else:
                values[name] = text
        changed = {name: text for name, text in values.items() if self.values.get(name) != text}
        removed = tuple(sorted(self.values.keys() - values.keys()))
        newly_lost = {name: why for name, why in lost.items() if self.lost.get(name) != why}
        self.values, self.lost = values, lost
        return Difference(values=changed, removed=removed, lost=newly_lost)


class Unstorable(Struct, frozen=True):
    """A value that has no JSON from which it comes back the same."""

    reason: str


def to_json(value: Any) -> str | Unstorable:
    """Return a value as JSON if it is plain data, which means that it comes back equal, with equal types."""
    try:
        text = msgspec.json.encode(value)
        if not _same(msgspec.json.decode(text), value):
            return Unstorable(f"a {type(value).__name__} is not plain data")
    except (TypeError, ValueError, RecursionError, msgspec.MsgspecError):
        return Unstorable(f"a {type(value).__name__} is not plain data")
    if len(text) > VALUE_BYTES:
        return Unstorable(f"it takes {len(text)} bytes as JSON, more than {VALUE_BYTES}")
    return text.decode()


def from_json(values: Mapping[str, str]) -> dict[str, Any]:
    """Return stored values."""
    return {name: msgspec.json.decode(text) for name, text in values.items()}


def _same(back: Any, value: Any) -> bool:
    if type(back) is not type(value):
        return False
    if isinstance(value, dict):
        return back.keys() == value.keys() and all(_same(back[name], value[name]) for name in value)
    if isinstance(value, list):
        return len(back) == len(value) and all(map(_same, back, value))
    return bool(back == value)
