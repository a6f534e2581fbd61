"""Values on their way into functions and out of them, in this process and in others."""

import asyncio
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from runwright.core.errors import StoreCorrupt, TaskFailed
from runwright.core.runvars import VALUE_BYTES
from runwright.core.task import Task, TaskId
from runwright.core.values import STORED, Form, StoredValue, stored_value
from runwright.executors import python_child
from runwright.executors.python import Python
from runwright.executors.python_child import plain_fault
from runwright.ports.system import Command, Exit
from runwright.testing import LocalSession, MemoryValues

LARGE = {"rows": list(range(VALUE_BYTES))}


@dataclass(frozen=True)
class Row:
    """An object that is no plain data."""

    number: int


class InThisProcess:
    """Runs the interpreter of a call in this process, so that it can be seen."""

    def __init__(self) -> None:
        self.commands: list[Command] = []

    async def run(self, command: Command, on_output: Any) -> Exit:
        self.commands.append(command)
        before = list(sys.path)
        try:
            python_child.main(*command.argv[2:])
        finally:
            sys.path[:] = before
        return Exit(code=0)

    def skip_grace(self) -> None: ...

    async def close(self) -> None: ...


def give(value: Any) -> Any:
    return value


async def give_soon(value: Any) -> Any:
    return value


def make_rows(count: int) -> list[Row]:
    return [Row(number) for number in range(count)]


def make_large() -> Any:
    return LARGE


def make_odd(what: str) -> Any:
    return {
        "set": {1},
        "nan": float("nan"),
        "key": {1: 2},
        "mark": {STORED: 1},
        "lambda": lambda: 1,
        "half": "\ud800",
    }[what]


def total(rows: list[Row], *more: int, factor: int = 1) -> int:
    return factor * (sum(row.number for row in rows) + sum(more))


def size(data: Any) -> int:
    return len(data["rows"])


class Bench:
    """The executor of functions with a store of values."""

    def __init__(self, path: Path, *, store: bool = True, secrets: tuple[str, ...] = ()) -> None:
        self.session = LocalSession(path, secrets=secrets)
        self.values = MemoryValues()
        self.processes = InThisProcess()
        self.python = Python(self.processes, self.values if store else None)
        self._number = 0

    def call(self, function: Any, mode: str, *args: Any, pickled: bool = False, **kwargs: Any) -> Any:
        """Call a function as a task; returns what is recorded of its value."""
        self._number += 1
        given = {"function": f"{__name__}:{function.__name__}", "args": args, "kwargs": kwargs, "mode": mode}
        task = Task(id=TaskId(f"t{self._number}"), args={**given, "pickle": pickled})

        async def scenario() -> Any:
            await self.python.open_session(self.session)
            try:
                return (await self.python.execute(self.session, task)).value
            finally:
                await self.python.close_session(self.session.id)

        return asyncio.run(scenario())


@pytest.fixture
def bench(tmp_path: Path) -> Bench:
    return Bench(tmp_path)


MODES = [("thread", give), ("async", give_soon), ("process", give)]


@pytest.mark.parametrize(("mode", "function"), MODES)
@pytest.mark.parametrize("value", [None, 0, "", "x", [1, {"a": None}], {"b": 1.5}])
def test_a_small_value_is_recorded_as_it_is(bench: Bench, mode: str, function: Any, value: Any) -> None:
    assert bench.call(function, mode, value) == value
    assert bench.values.kept == {}


@pytest.mark.parametrize("mode", ["thread", "process"])
def test_a_large_value_is_stored_and_arrives_equal(bench: Bench, mode: str) -> None:
    recorded = bench.call(make_large, mode)
    stored = stored_value(recorded)
    assert stored is not None
    assert stored.form is Form.JSON
    assert list(bench.values.kept) == [stored.digest]
    for taker in ("thread", "process"):
        assert bench.call(size, taker, data=recorded) == VALUE_BYTES
        assert bench.call(size, taker, recorded) == VALUE_BYTES
        assert stored_value(bench.call(give, taker, {"deep": [recorded]})) is not None


@pytest.mark.parametrize("mode", ["thread", "process"])
def test_objects_are_pickled_where_that_is_asked_for(bench: Bench, mode: str) -> None:
    recorded = bench.call(make_rows, mode, 4, pickled=True)
    stored = stored_value(recorded)
    assert stored is not None
    assert stored.form is Form.PICKLE
    for taker in ("thread", "process"):
        assert bench.call(total, taker, recorded, 10, factor=2) == 32
        assert bench.call(total, taker, rows=recorded) == 6
        nested = bench.call(give, taker, value=[{"rows": recorded}], pickled=True)
        assert bench.call(give, "thread", nested, pickled=True)
    assert bench.call(give, mode, None, pickled=True) is None


@pytest.mark.parametrize("mode", ["thread", "process"])
@pytest.mark.parametrize(
    ("what", "message"),
    [
        ("set", "not plain data"),
        ("nan", "not plain data"),
        ("key", "not plain data: the key 1 of a table is no text"),
        ("half", "not plain data"),
        ("mark", f'its value holds the name "{STORED.replace("$", "[$]")}"'),
    ],
)
def test_a_value_that_would_not_come_back_is_refused(
    bench: Bench, mode: str, what: str, message: str
) -> None:
    with pytest.raises(TaskFailed, match=message) as caught:
        bench.call(make_odd, mode, what)
    assert caught.value.failure.code == "E_VALUE"


@pytest.mark.parametrize("mode", ["thread", "process"])
def test_what_can_not_be_pickled_is_refused(bench: Bench, mode: str) -> None:
    with pytest.raises(TaskFailed, match="can't be pickled") as caught:
        bench.call(make_odd, mode, "lambda", pickled=True)
    assert caught.value.failure.code == "E_VALUE"


def test_objects_are_no_plain_data() -> None:
    assert "Row is not one of the types of JSON" in plain_fault([Row(1)])
    assert plain_fault(float("-inf"))
    assert plain_fault([1, (2, {"a": [True, None, "x", 1.5]})]) == ""


@pytest.mark.parametrize("mode", ["thread", "process"])
def test_a_large_value_with_a_mark_is_refused(bench: Bench, mode: str) -> None:
    with pytest.raises(TaskFailed, match="holds the name"):
        bench.call(give, mode, [{STORED: "x" * VALUE_BYTES}])


@pytest.mark.parametrize("pickled", [False, True])
def test_a_secret_does_not_get_into_the_store(tmp_path: Path, pickled: bool) -> None:
    bench = Bench(tmp_path, secrets=("hush-hush",))
    with pytest.raises(TaskFailed) as caught:
        bench.call(give, "thread", ["hush-" * 2, "x" * VALUE_BYTES, "a hush-hush b"], pickled=pickled)
    assert caught.value.failure.code == "E_SECRET"
    assert bench.values.kept == {}
    assert bench.call(give, "thread", ["x" * VALUE_BYTES, "open"], pickled=pickled), "the control"


def test_without_a_store_large_values_are_refused(tmp_path: Path) -> None:
    bench = Bench(tmp_path, store=False)
    with pytest.raises(TaskFailed, match="bytes as JSON, and only the engine"):
        bench.call(make_large, "thread")
    with pytest.raises(TaskFailed, match="bytes as a pickle, and only the engine"):
        bench.call(give, "thread", 1, pickled=True)
    stored = StoredValue(digest="0" * 64, size_bytes=1, form=Form.JSON)
    with pytest.raises(TaskFailed, match="there is no store of values here"):
        bench.call(give, "thread", stored.recorded())


@pytest.mark.parametrize("mode", ["thread", "process"])
def test_an_altered_value_reaches_no_function(bench: Bench, mode: str) -> None:
    recorded = bench.call(make_rows, "thread", 4, pickled=True)
    (digest,) = bench.values.kept
    bench.values.kept[digest] += b"!"
    with pytest.raises(StoreCorrupt, match="altered"):
        bench.call(total, mode, recorded)


def test_plain_data_are_never_taken_for_a_pickle(bench: Bench) -> None:
    recorded = bench.call(make_large, "thread")
    lie = {STORED: {**recorded[STORED], "form": "pickle"}}
    with pytest.raises(StoreCorrupt, match="not in the form of pickle"):
        bench.call(size, "thread", lie)


def test_a_pickle_that_can_not_be_read_fails_the_task(bench: Bench) -> None:
    digest = asyncio.run(bench.values.put(Form.PICKLE.head + b"nonsense"))
    stored = StoredValue(digest=digest, size_bytes=8, form=Form.PICKLE)
    with pytest.raises(TaskFailed, match="can't be unpickled: UnpicklingError"):
        bench.call(give, "thread", stored.recorded())


def test_the_interpreter_finds_modules_where_the_engine_does(
    bench: Bench, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys, "path", [*sys.path, str(tmp_path / "more")])
    bench.call(give, "process", 1)
    (command,) = bench.processes.commands
    assert command.argv[5].split(":")[-1] == str(tmp_path / "more")
