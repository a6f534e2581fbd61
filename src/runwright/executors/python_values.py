"""Values on their way into functions and out of them: plain data, and what a content store keeps."""

import asyncio
import pickle
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import msgspec
from msgspec import Struct

from runwright.core.errors import Failure, StoreCorrupt, TaskFailed
from runwright.core.runvars import VALUE_BYTES
from runwright.core.values import STORED, STORED_MARK, Form, StoredValue, stored_value
from runwright.executors.python_child import plain_fault
from runwright.ports.executor import Session
from runwright.ports.stores import ValueStore

Place = tuple[str | int, ...]
"""Names and numbers that lead from the arguments of a call to one value in them."""


class Call(Struct, frozen=True):
    """What a function is called with.

    Attributes:
        args: By position.
        kwargs: By name.
    """

    args: Sequence[Any]
    kwargs: dict[str, Any]


class FunctionValues:
    """Takes stored values out for functions, and keeps what they return.

    Args:
        store: Where large values and pickled objects are; None refuses both.
    """

    def __init__(self, store: ValueStore | None) -> None:
        self._store = store

    async def taken(self, call: Call) -> Call:
        """Return a call with every stored value in its place."""
        places = list(stored_in([call.args, call.kwargs]))
        if not places:
            return call
        data = msgspec.to_builtins([list(call.args), call.kwargs])
        for place, stored in places:
            content = await self._content(stored)
            _put(data, place, await asyncio.to_thread(_decoded, stored.form, content))
        return Call(data[0], data[1])

    async def taken_by_process(self, call: Call, folder: Path) -> dict[str, Any]:
        """Return a call as an interpreter reads it: pickled objects in files, which it is told of by their places."""
        data = msgspec.to_builtins([list(call.args), call.kwargs])
        pickles: list[tuple[Place, str]] = []
        for number, (place, stored) in enumerate(list(stored_in(data))):
            content = await self._content(stored)
            if stored.form is Form.JSON:
                _put(data, place, msgspec.Raw(content))
                continue
            file = folder / f".argument-{number}"
            file.write_bytes(content)
            pickles.append((place, str(file)))
        parts = {"args": data[0], "kwargs": data[1], "pickles": pickles}
        return {name: part for name, part in parts.items() if part}

    async def kept(self, session: Session, value: Any, *, pickled: bool) -> Any:
        """Return what is recorded of a value that a function of this process returned.

        Raises:
            TaskFailed: With code ``E_VALUE`` if it can't be kept, ``E_SECRET`` if it holds a secret.
        """
        if value is None:
            return None
        if pickled:
            return await self.kept_pickle(session, _pickled(value))
        data = _json(value)
        if fault := plain_fault(value):
            raise not_plain(fault)
        return (
            await self._kept(session, Form.JSON, data) if len(data) > VALUE_BYTES else _unmarked(data, value)
        )

    async def kept_json(self, session: Session, data: bytes) -> Any:
        """Return what is recorded of a value that another process returned as JSON."""
        try:
            value = msgspec.json.decode(data)
        except (msgspec.DecodeError, UnicodeDecodeError) as error:
            raise not_plain(error) from None
        return (
            await self._kept(session, Form.JSON, data) if len(data) > VALUE_BYTES else _unmarked(data, value)
        )

    async def kept_pickle(self, session: Session, data: bytes) -> Any:
        """Return what is recorded of a value that was pickled."""
        return await self._kept(session, Form.PICKLE, data)

    async def _kept(self, session: Session, form: Form, data: bytes) -> Any:
        if self._store is None:
            what = f"{len(data)} bytes as {'JSON' if form is Form.JSON else 'a pickle'}"
            raise refused(f"its value is {what}, and only the engine of a project keeps those; return a path")
        if session.redactor.finds_in(data):
            message = "its value holds a secret of the run; hand it on by environment or file instead"
            raise TaskFailed(Failure(code="E_SECRET", message=message))
        if form is Form.JSON:
            _unmarked(data, None)
        digest = await self._store.put(form.head + data)
        return StoredValue(digest=digest, size_bytes=len(data), form=form).recorded()

    async def _content(self, stored: StoredValue) -> bytes:
        """Return what is stored; only what begins as its form does was written by `_kept`."""
        if self._store is None:
            raise refused("an argument is a stored value, and there is no store of values here")
        data = await self._store.get(stored.digest)
        if not data.startswith(stored.form.head):
            raise StoreCorrupt(f"the value {stored.digest} is not in the form of {stored.form.value}")
        return data[len(stored.form.head) :]


def stored_in(data: Any, place: Place = ()) -> Iterator[tuple[Place, StoredValue]]:
    """Yield the stored values that stand in arguments, each with its place."""
    if isinstance(data, dict):
        if (stored := stored_value(data)) is not None:
            yield place, stored
            return
        for name, inner in data.items():
            yield from stored_in(inner, (*place, name))
    elif isinstance(data, list | tuple):
        for number, inner in enumerate(data):
            yield from stored_in(inner, (*place, number))


def refused(message: str) -> TaskFailed:
    """Return the failure of a task whose value can't be kept, or taken."""
    return TaskFailed(Failure(code="E_VALUE", message=message))


def not_plain(why: object) -> TaskFailed:
    """Return the failure of a task whose value is none that JSON could tell."""
    return refused(f"its value is not plain data: {why}")


def _put(data: Any, place: Place, value: Any) -> None:
    *way, last = place
    for step in way:
        data = data[step]
    data[last] = value


def _json(value: Any) -> bytes:
    try:
        return msgspec.json.encode(value)
    except (TypeError, ValueError, RecursionError) as error:
        raise not_plain(error) from None


def _unmarked(data: bytes, value: Any) -> Any:
    """Return a value, given as JSON too, unless it could be mistaken for a stored one."""
    if STORED_MARK in data:
        raise refused(
            f'its value holds the name "{STORED}", which stands for stored values; use another name'
        )
    return value


def _pickled(value: Any) -> bytes:
    try:
        return pickle.dumps(value, protocol=5)
    except Exception as error:
        raise refused(f"its value can't be pickled: {error}") from error


def _decoded(form: Form, content: bytes) -> Any:
    if form is Form.JSON:
        return msgspec.json.decode(content)
    try:
        return pickle.loads(content)  # noqa: S301 - only a function of a run could put it into the store
    except Exception as error:
        raise refused(f"an argument can't be unpickled: {type(error).__name__}: {error}") from error
