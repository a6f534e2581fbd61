"""What the outcome of a task depends on, as digests, and what differs between two of them.

The encoding is canonical: MessagePack with sorted keys, in which every value carries its type. So ``1``, ``1.0``,
``true`` and ``"1"`` are four values, and the order in which a table was written means nothing.
"""

from collections.abc import Callable, Iterator, Mapping
from typing import Any

import msgspec
from blake3 import blake3
from msgspec import Struct

PARTS = ("executor", "args", "inputs", "input content", "env", "outputs")
"""What a key is made of, in the order in which changes are told."""

FORMAT = b"runwright cache key 1\n"
"""Changes whenever the same task would get another key, so that entries of other versions are never met."""

SHOWN_LENGTH = 400
"""Most characters of a value that are kept to tell later what it was."""

_TEXT, _TABLE = 1, 2
"""MessagePack's own types for what has no UTF-8 form, and for tables with such texts in them."""


class Material(Struct, frozen=True, kw_only=True):
    """Everything that a task depends on.

    Attributes:
        executor: Its route, and what is configured under that name.
        args: Plain data.
        inputs: Digest by path of each file that it reads; see `content_mark`.
        env: Values of the variables that it declares; None for one that is not set.
        outputs: The paths and globs that it declares.
    """

    executor: Any
    args: Mapping[str, Any]
    inputs: Mapping[str, str]
    env: Mapping[str, str | None]
    outputs: tuple[str, ...]


class Shown(Struct, frozen=True, array_like=True):
    """A value as it is remembered: its digest, and its text as far as it may be shown."""

    digest: str
    text: str


class Account(Struct, frozen=True, kw_only=True):
    """What a key was made of, short and without secrets, so that it can be told later what has changed.

    Attributes:
        parts: Digest of each of `PARTS`, hexadecimal.
    """

    parts: tuple[str, ...]
    executor: Shown
    args: Mapping[str, Shown]
    inputs: Mapping[str, str]
    env: Mapping[str, Shown]
    outputs: tuple[str, ...]


class Difference(Struct, frozen=True):
    """One thing that is not as it was: the part of the key that it belongs to, and what to say of it."""

    part: str
    text: str


def _plain(value: Any) -> Any:
    if isinstance(value, Mapping):
        return dict(value)
    raise TypeError(f"{type(value).__name__} is not plain data")


_ENCODER = msgspec.msgpack.Encoder(order="deterministic", enc_hook=_plain)


def canonical(value: Any) -> bytes:
    """Return plain data as bytes that are the same for equal data of equal types, and for nothing else.

    Raises:
        TypeError: If it is not plain data, in which the keys of tables are texts.
    """
    try:
        return _ENCODER.encode(value)
    except UnicodeEncodeError:
        return _ENCODER.encode(_tagged(value))


def content_mark(digest: str, *, executable: bool) -> str:
    """Return what stands for the content of a file: whether it can be executed is part of that."""
    return f"{digest}+x" if executable else digest


def key_of(material: Material) -> str:
    """Return the key of a task: the digest of everything that it depends on, hexadecimal."""
    return blake3(FORMAT + canonical(_in_parts(material))).hexdigest()


def parts_of(material: Material) -> tuple[str, ...]:
    """Return the digest of each of `PARTS`, hexadecimal."""
    return tuple(blake3(canonical(part)).hexdigest() for part in _in_parts(material))


def _in_parts(material: Material) -> list[Any]:
    inputs = material.inputs
    names = sorted(inputs)
    contents = [inputs[name] for name in names]
    return [material.executor, material.args, names, contents, material.env, material.outputs]


def account_of(material: Material, redact: Callable[[str], str]) -> Account:
    """Return what to remember of the material of a key.

    Args:
        material: Of a key.
        redact: Takes secrets out of a text.
    """
    return Account(
        parts=parts_of(material),
        executor=_shown(material.executor, redact),
        args={name: _shown(value, redact) for name, value in material.args.items()},
        inputs=dict(material.inputs),
        env={name: _shown(value, redact) for name, value in material.env.items()},
        outputs=material.outputs,
    )


def differences(before: Account, after: Account) -> list[Difference]:
    """Return what changed from one account to another, in the order of `PARTS`."""
    found: list[Difference] = []
    if before.executor.digest != after.executor.digest:
        found.append(Difference("executor", _changed("executor", before.executor, after.executor)))
    found += _tables("args", "argument", before.args, after.args)
    found += _lists("inputs", "input", before.inputs, after.inputs)
    found += [
        Difference("input content", f"input {path} changed")
        for path in sorted(before.inputs.keys() & after.inputs.keys())
        if before.inputs[path] != after.inputs[path]
    ]
    found += _tables("env", "variable", before.env, after.env)
    found += _lists("outputs", "declared output", dict.fromkeys(before.outputs), dict.fromkeys(after.outputs))
    return [*found, *_untold(before, after, {one.part for one in found})]


def _untold(before: Account, after: Account, told: set[str]) -> Iterator[Difference]:
    """Yield the parts that differ in a way that the rest does not show, such as an order."""
    for part, old, new in zip(PARTS, before.parts, after.parts, strict=True):
        if old != new and part not in told and not (part == "input content" and "inputs" in told):
            yield Difference(part, f"{part} changed")


def changed_parts(found: list[Difference]) -> tuple[str, ...]:
    """Return the parts that differences belong to, each once, in the order of `PARTS`."""
    parts = {difference.part for difference in found}
    return tuple(part for part in PARTS if part in parts)


def _tagged(value: Any) -> Any:
    """Return data in which texts that have no UTF-8 form (names of files, mostly) stand as bytes of another type."""
    if isinstance(value, str):
        try:
            value.encode()
        except UnicodeEncodeError:
            return msgspec.msgpack.Ext(_TEXT, value.encode("utf-8", "surrogatepass"))
        return value
    if isinstance(value, Mapping):
        pairs = [[_tagged(name), _tagged(value[name])] for name in sorted(value)]
        return msgspec.msgpack.Ext(_TABLE, _ENCODER.encode(pairs))
    if isinstance(value, list | tuple):
        return [_tagged(inner) for inner in value]
    return value


def _shown(value: Any, redact: Callable[[str], str]) -> Shown:
    if isinstance(value, str):
        text = value
    else:
        text = "" if value is None else msgspec.json.encode(value, enc_hook=_plain).decode()
    text = redact(text.encode("utf-8", "replace").decode())
    cut = text if len(text) <= SHOWN_LENGTH else f"{text[:SHOWN_LENGTH]}..."
    return Shown(blake3(canonical(value)).hexdigest()[:32], cut)


def _tables(
    part: str, what: str, before: Mapping[str, Shown], after: Mapping[str, Shown]
) -> Iterator[Difference]:
    yield from _lists(part, what, before, after)
    for name in sorted(before.keys() & after.keys()):
        if before[name].digest != after[name].digest:
            yield Difference(part, _changed(f"{what} {name}", before[name], after[name]))


def _lists(
    part: str, what: str, before: Mapping[str, object], after: Mapping[str, object]
) -> Iterator[Difference]:
    for name in sorted(after.keys() - before.keys()):
        yield Difference(part, f"{what} {name} is new")
    for name in sorted(before.keys() - after.keys()):
        yield Difference(part, f"{what} {name} is gone")


MOST_CHANGED = 60
"""Most characters of a changed passage that are told."""


def _changed(what: str, before: Shown, after: Shown) -> str:
    """Tell a change by the words that differ, if both are short."""
    old, new = before.text.split(" "), after.text.split(" ")
    while old and new and old[0] == new[0]:
        del old[0], new[0]
    while old and new and old[-1] == new[-1]:
        del old[-1], new[-1]
    was, now = " ".join(old), " ".join(new)
    if was == now or max(len(was), len(now)) > MOST_CHANGED:
        return f"{what} changed"
    return f'{what} changed from "{was}" to "{now}"'
