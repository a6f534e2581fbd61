"""Find every fault in the shape of plain data: unknown keys, missing keys, values of the wrong type.

Runs only once `msgspec.convert` has refused the data, because that stops at the first fault. What is wrong is mended
as well as can be (a misspelt key counts as the one it resembles), so that later checks find the remaining faults and
do not report consequences of the first ones.
"""

from collections.abc import Collection, Mapping
from datetime import date, time
from functools import cache
from typing import Any

import msgspec
from msgspec import Struct, inspect

from runwright.core.errors import Problem
from runwright.core.suggest import closest, meant_key

Path = tuple[str | int, ...]

_DROPPED = object()
_MANY_KEYS = 8
MOST_SUGGESTIONS = 1000
_EXAMPLES = {
    "a string": 'write it in quotes, for instance "text"',
    "an integer": "write a whole number without quotes, for instance 3",
    "a number": "write a number without quotes, for instance 1.5",
    "true or false": "write true or false without quotes",
    "an array": 'write it in brackets, for instance ["a", "b"]',
    "a table": 'write it in braces, for instance { name = "value" }',
}


class Mended(Struct, frozen=True):
    """What is left of data once its faults are taken out.

    Attributes:
        value: The data; of the right shape, except that required keys may be missing.
        problems: The faults.
        broken: Paths whose value had to be dropped; what is missing there is not missing in the file.
    """

    value: Any
    problems: list[Problem]
    broken: set[Path]


def mend(value: Any, kind: type[Struct], path: Path = ()) -> Mended:
    """Check data against a record type and return what is wrong with it and what is left.

    Args:
        value: Plain data.
        kind: The record type it should have.
        path: Where the data stands in the document.
    """
    walker = _Walker()
    left = walker.walk(_type_info(kind), value, path)
    if not walker.problems:
        walker.note_refusal(left, kind, path)
    return Mended({} if left is _DROPPED else left, walker.problems, walker.broken)


def is_faultless(value: Any, kind: type[Struct]) -> bool:
    """Tell whether `mend` would find nothing; much faster, as long as there is nothing to find."""
    try:
        msgspec.convert(value, kind)
    except msgspec.ValidationError:
        return False
    return not plain_faults(value, ())


def plain_faults(value: Any, path: Path) -> list[Problem]:
    """Return what is wrong with data that has no record of its own."""
    walker = _Walker()
    walker.walk(inspect.AnyType(), value, path)
    return walker.problems


@cache
def _type_info(kind: type[Struct]) -> inspect.Type:
    """Look into a record type once: it costs as much as checking many records."""
    return inspect.type_info(kind)


class _Walker:
    def __init__(self) -> None:
        self.problems: list[Problem] = []
        self.broken: set[Path] = set()
        self.meant: dict[tuple[type, str], str | None] = {}

    def walk(self, kind: inspect.Type, value: Any, path: Path) -> Any:
        """Return a value without what does not fit its type, and note each fault with its place."""
        kind = _bare(kind)
        if isinstance(kind, inspect.UnionType):
            return self._union(kind, value, path)
        if isinstance(kind, inspect.StructType):
            return self._struct(kind, value, path)
        if isinstance(kind, inspect.DictType):
            return self._dict(kind, value, path)
        if isinstance(
            kind, inspect.ListType | inspect.VarTupleType | inspect.SetType | inspect.FrozenSetType
        ):
            return self._array(kind.item_type, value, path)
        if isinstance(kind, inspect.EnumType):
            return self._choice([member.value for member in kind.cls], value, path)
        if isinstance(kind, inspect.LiteralType):
            return self._choice(list(kind.values), value, path)
        if isinstance(kind, inspect.AnyType):
            return self._plain(value, path)
        return value if _fits(kind, value) else self._wrong_type(expectation(kind), value, path)

    def _union(self, kind: inspect.UnionType, value: Any, path: Path) -> Any:
        options = [_bare(option) for option in kind.types]
        for option in options:
            if _outline_fits(option, value):
                return self.walk(option, value, path)
        known = [expectation(option) for option in options if not isinstance(option, inspect.NoneType)]
        return self._wrong_type(" or ".join(dict.fromkeys(known)), value, path)

    def _struct(self, kind: inspect.StructType, value: Any, path: Path) -> Any:
        if not isinstance(value, Mapping):
            return self._wrong_type("a table", value, path)
        fields = {field.encode_name: field for field in kind.fields}
        left: dict[str, Any] = {}
        for key, inner in value.items():
            name = key if key in fields else self._unknown(kind, fields, value, str(key), path)
            if name is None:
                continue
            walked = self.walk(fields[name].type, inner, (*path, key))
            if walked is not _DROPPED:
                left[name] = walked
            elif key != name:
                self.broken.add((*path, name))
        self._missing(fields, left.keys() | value.keys(), path)
        return left

    def _missing(self, fields: Mapping[str, inspect.Field], found: Collection[str], path: Path) -> None:
        for name, field in fields.items():
            if field.required and name not in found and (*path, name) not in self.broken:
                self.problems.append(
                    Problem(
                        message=f'{_place(path)} needs "{name}"',
                        path=path,
                        suggestion=f"add {_key(path, name)} = {_example(field.type)}",
                    )
                )
                self.broken.add((*path, name))

    def _unknown(
        self,
        kind: inspect.StructType,
        fields: Mapping[str, inspect.Field],
        value: Mapping[str, Any],
        key: str,
        path: Path,
    ) -> str | None:
        """Report a key that the record has not, and return the one it stands for, if it is still free."""
        if not kind.forbid_unknown_fields:
            return None
        meant = self._meant(kind, fields, key)
        if meant is not None:
            suggestion = f'did you mean "{meant}"?'
        else:
            shown = [name for name in fields if name not in value or len(fields) < _MANY_KEYS]
            suggestion = f"remove it; known keys: {', '.join(sorted(shown))}"
        self.problems.append(
            Problem(message=f'unknown key "{key}"', path=(*path, key), suggestion=suggestion)
        )
        return meant if meant is not None and meant not in value else None

    def _meant(self, kind: inspect.StructType, fields: Mapping[str, inspect.Field], key: str) -> str | None:
        """Remember what a key was taken for, as a slip is often made in many tasks."""
        if (kind.cls, key) not in self.meant:
            self.meant[kind.cls, key] = meant_key(key, fields) if len(self.meant) < MOST_SUGGESTIONS else None
        return self.meant[kind.cls, key]

    def _dict(self, kind: inspect.DictType, value: Any, path: Path) -> Any:
        if not isinstance(value, Mapping):
            return self._wrong_type("a table", value, path)
        left = {}
        for key, inner in value.items():
            walked = self.walk(kind.value_type, inner, (*path, key))
            if walked is not _DROPPED:
                left[str(key)] = walked
        return left

    def _array(self, item: inspect.Type, value: Any, path: Path) -> Any:
        if not isinstance(value, list | tuple):
            of_tables = path and isinstance(_bare(item), inspect.StructType)
            return self._wrong_type(
                "an array", value, path, f"write each as [[{path[-1]}]]" if of_tables else ""
            )
        left = [self.walk(item, inner, (*path, index)) for index, inner in enumerate(value)]
        if any(inner is _DROPPED for inner in left):
            self.broken.add(path)
        return [inner for inner in left if inner is not _DROPPED]

    def _choice(self, allowed: list[Any], value: Any, path: Path) -> Any:
        if any(value == option and type(value) is type(option) for option in allowed):
            return value
        texts = [str(option) for option in allowed]
        near = closest(value, texts) if isinstance(value, str) else None
        names = " or ".join(f'"{text}"' for text in texts)
        self.problems.append(
            Problem(
                message=f"{_place(path)} must be {names}, not {_shown(value)}",
                path=path,
                suggestion=f'did you mean "{near}"?' if near else f"write {names}",
            )
        )
        self.broken.add(path)
        return _DROPPED

    def _plain(self, value: Any, path: Path) -> Any:
        """Check data without a record of its own: anything but dates and numbers that no file can keep."""
        pending = [(value, path)]
        while pending:
            inner, place = pending.pop()
            if isinstance(inner, Mapping):
                pending.extend((item, (*place, key)) for key, item in inner.items())
            elif isinstance(inner, list | tuple):
                pending.extend((item, (*place, index)) for index, item in enumerate(inner))
            elif inner is not None and not isinstance(inner, str | bool):
                self._plain_number(inner, place)
        return value

    def _plain_number(self, value: Any, path: Path) -> None:
        if not isinstance(value, int | float):
            self._wrong_type("a string", value, path)
        elif not -(1 << 63) <= value < 1 << 64:
            text = f"{_place(path)} is a number that can't be kept: infinite, not a number, or over 64 bits"
            self.problems.append(Problem(message=text, path=path, suggestion="write it in quotes"))

    def _wrong_type(self, expected: str, value: Any, path: Path, advice: str = "") -> Any:
        suggestion = " or ".join(_EXAMPLES[part] for part in expected.split(" or ") if part in _EXAMPLES)
        self.problems.append(
            Problem(
                message=f"{_place(path)} must be {expected}, not {type_name(value)}",
                path=path,
                suggestion=advice or _correction(expected, value) or _EXAMPLES.get(expected) or suggestion,
            )
        )
        self.broken.add(path)
        return _DROPPED

    def note_refusal(self, value: Any, kind: type[Struct], path: Path) -> None:
        """Report what only the record type itself knows, such as a range."""
        try:
            msgspec.convert(value, kind)
        except msgspec.ValidationError as error:
            message = f"{_place(path)}: {error}"
            self.problems.append(
                Problem(message=message, path=path, suggestion="see the executor's documentation")
            )


def _bare(kind: inspect.Type) -> inspect.Type:
    while isinstance(kind, inspect.Metadata):
        kind = kind.type
    return kind


def _fits(kind: inspect.Type, value: Any) -> bool:
    if isinstance(kind, inspect.StrType):
        return isinstance(value, str)
    if isinstance(kind, inspect.BoolType):
        return isinstance(value, bool)
    if isinstance(kind, inspect.IntType):
        return isinstance(value, int) and not isinstance(value, bool)
    if isinstance(kind, inspect.FloatType):
        return isinstance(value, int | float) and not isinstance(value, bool)
    if isinstance(kind, inspect.NoneType):
        return value is None
    return True


def _outline_fits(kind: inspect.Type, value: Any) -> bool:
    if isinstance(kind, inspect.StructType | inspect.DictType):
        return isinstance(value, Mapping)
    if isinstance(kind, inspect.ListType | inspect.VarTupleType):
        return isinstance(value, list | tuple)
    return _fits(kind, value)


def expectation(kind: inspect.Type) -> str:
    """Say in words what a type takes."""
    kind = _bare(kind)
    if isinstance(kind, inspect.UnionType):
        options = (option for option in kind.types if not isinstance(option, inspect.NoneType))
        return " or ".join(dict.fromkeys(expectation(option) for option in options))
    for known, words in _WORDS:
        if isinstance(kind, known):
            return words
    return "a value"


_WORDS: list[tuple[type[inspect.Type], str]] = [
    (inspect.StrType, "a string"),
    (inspect.BoolType, "true or false"),
    (inspect.IntType, "an integer"),
    (inspect.FloatType, "a number"),
    (inspect.EnumType, "a string"),
    (inspect.LiteralType, "a string"),
    (inspect.StructType, "a table"),
    (inspect.DictType, "a table"),
    (inspect.ListType, "an array"),
    (inspect.VarTupleType, "an array"),
]


def type_name(value: Any) -> str:
    """Say in words what a value is."""
    if value is None or isinstance(value, bool):
        return {None: "null", True: "true", False: "false"}[value]
    names = (
        (str, "a string"),
        (int, "an integer"),
        (float, "a number"),
        (Mapping, "a table"),
        (list, "an array"),
    )
    for kind, name in names:
        if isinstance(value, kind):
            return name
    return "a date or time" if isinstance(value, date | time) else type(value).__name__


def _correction(expected: str, value: Any) -> str:
    """Show the value as it should be written, where that is plain."""
    if expected.startswith("a string") and isinstance(value, bool | int | float | date | time):
        text = str(value).lower() if isinstance(value, bool) else str(value)
        return f'write it in quotes: "{text}"'
    if expected == "an integer" and isinstance(value, str) and value.strip().lstrip("-").isdigit():
        return f"write it without quotes: {value.strip()}"
    if expected == "true or false" and str(value).lower() in ("true", "yes", "on", "1"):
        return "write true without quotes"
    if expected == "true or false" and str(value).lower() in ("false", "no", "off", "0"):
        return "write false without quotes"
    if expected == "an array" and isinstance(value, str) and len(value) < 40 and value.isprintable():
        return f'write it in brackets: ["{value}"]'
    return ""


def _shown(value: Any) -> str:
    return f'"{value[:40]}"' if isinstance(value, str) else type_name(value)


def _place(path: Path) -> str:
    """Name the value at a path: the innermost key, or the element of an array."""
    if not path:
        return "the file"
    if isinstance(path[-1], int):
        owner = next((part for part in reversed(path) if isinstance(part, str)), "the array")
        return f'element {path[-1] + 1} of "{owner}"'
    if len(path) == 2 and path[0] in ("tasks", "executors"):
        return f'{str(path[0])[:-1]} "{path[1]}"'
    return f'"{path[-1]}"'


def _key(path: Path, name: str) -> str:
    """Return a key as it can be written in the table of a task."""
    return f"args.{name}" if path[-1:] == ("args",) else name


def _example(kind: inspect.Type) -> str:
    """Return a value as it could be written, if the record gives an example, else what is expected."""
    known = kind.extra_json_schema or {} if isinstance(kind, inspect.Metadata) else {}
    examples = known.get("examples")
    return f'"{examples[0]}"' if examples else f"... ({expectation(kind)})"
