"""The state that steps share: a mapping, safe under threads, of which plain data is stored."""

import sys
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from typing import Any

import pytest

from runwright import State
from runwright.core.planstate import VALUE_BYTES, Difference, Stored, Unstorable, from_json, to_json


def test_a_state_is_a_mapping() -> None:
    state = State({"a": 1})
    state["b"] = 2
    state.update({"c": 3}, d=4)
    assert (state["a"], state.get("x"), len(state), "b" in state, "x" in state) == (1, None, 4, True, False)
    assert list(state) == ["a", "b", "c", "d"]
    assert list(state.items()) == [("a", 1), ("b", 2), ("c", 3), ("d", 4)]
    assert list(state.values()) == [1, 2, 3, 4]
    assert (state.pop("d"), state.pop("d", 9), state.popitem()) == (4, 9, ("c", 3))
    del state["b"]
    assert (state.setdefault("a", 7), state.setdefault("e", 8)) == (1, 8)
    assert repr(state) == "State({'a': 1, 'e': 8})"
    assert state == {"a": 1, "e": 8}
    state.clear()
    assert state == {}


def test_what_is_not_there_is_a_key_error() -> None:
    for missing in (
        lambda s: s["x"],
        lambda s: s.pop("x"),
        lambda s: s.__delitem__("x"),
        lambda s: s.popitem(),
    ):
        with pytest.raises(KeyError):
            missing(State())


def test_names_are_texts() -> None:
    with pytest.raises(TypeError, match="int"):
        State()[1] = 2  # type: ignore[index]


def test_a_snapshot_and_an_iteration_are_of_one_moment() -> None:
    state = State({"a": 1, "b": 2})
    names, items, values, snapshot = iter(state), iter(state.items()), iter(state.values()), state.snapshot()
    state.replace({"c": 3})
    assert (list(names), list(items), list(values)) == (["a", "b"], [("a", 1), ("b", 2)], [1, 2])
    assert snapshot == {"a": 1, "b": 2}
    assert state == {"c": 3}


@pytest.fixture
def hasty_threads() -> Iterator[None]:
    before = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    yield
    sys.setswitchinterval(before)


@pytest.mark.usefixtures("hasty_threads")
def test_threads_never_see_it_broken() -> None:
    state, done = State(), threading.Event()

    def read() -> int:
        looks = 0
        while not done.is_set():
            for name, value in state.items():
                assert name == value
            assert all(isinstance(value, str) for value in state.values())
            assert state.snapshot().keys() >= set()
            looks += 1
        return looks

    def write(thread: int) -> None:
        for number in range(2000):
            name = f"{thread}.{number}"
            state[name] = name
            assert state.pop(name) == name

    with ThreadPoolExecutor(4) as pool:
        readers = [pool.submit(read) for _ in range(2)]
        try:
            for writer in [pool.submit(write, thread) for thread in range(2)]:
                writer.result()
        finally:
            done.set()
        assert all(reader.result() > 0 for reader in readers)
    assert state == {}


@pytest.mark.usefixtures("hasty_threads")
def test_one_caller_alone_sets_a_default() -> None:
    state, barrier = State(), threading.Barrier(4)

    def ask(_: int) -> list[object]:
        barrier.wait()
        return [state.setdefault(str(number), object()) for number in range(500)]

    with ThreadPoolExecutor(4) as pool:
        first, *others = pool.map(ask, range(4))
    assert all(found == first for found in others)


# -- what is stored --------------------------------------------------------------------------------------------

PLAIN = [None, True, 0, -1, 2**63, 2**70, 1.5, "", "é\n\0", [], [1, [2]], {}, {"a": {"b": [None]}}]


@pytest.mark.parametrize("value", PLAIN)
def test_plain_data_comes_back_the_same(value: Any) -> None:
    text = to_json(value)
    assert isinstance(text, str)
    back = from_json({"x": text})["x"]
    assert (back, type(back)) == (value, type(value))


OTHER = [
    (1, 2),
    {1, 2},
    b"x",
    {1: 2},
    [(1,)],
    {"a": (1,)},
    object(),
    print,
    datetime(2026, 1, 1, tzinfo=UTC),
    float("nan"),
    float("inf"),
    "\ud800",
    type("Text", (str,), {})("x"),
]


@pytest.mark.parametrize("value", OTHER, ids=lambda value: type(value).__name__)
def test_everything_else_is_named_as_lost(value: Any) -> None:
    assert to_json(value) == Unstorable(f"a {type(value).__name__} is not plain data")


def test_what_holds_itself_is_lost() -> None:
    circle: list[Any] = []
    circle.append(circle)
    assert isinstance(to_json(circle), Unstorable)


def test_large_values_are_lost() -> None:
    assert to_json("x" * (VALUE_BYTES - 2)) == '"' + "x" * (VALUE_BYTES - 2) + '"'
    found = to_json("x" * VALUE_BYTES)
    assert found == Unstorable(f"it takes {VALUE_BYTES + 2} bytes as JSON, more than {VALUE_BYTES}")


def test_only_what_has_changed_is_stored() -> None:
    stored, state = Stored({"a": "1"}), State({"a": 1, "b": [1]})
    assert stored.difference(state) == Difference(values={"b": "[1]"})
    assert not stored.difference(state)
    state["b"].append(2)
    assert stored.difference(state) == Difference(values={"b": "[1,2]"})
    del state["a"]
    assert stored.difference(state) == Difference(removed=("a",))


def test_what_can_not_be_stored_any_more_is_removed_and_lost() -> None:
    stored, state = Stored(), State({"a": 1})
    assert stored.difference(state)
    state["a"] = object()
    reason = "a object is not plain data"
    assert stored.difference(state) == Difference(removed=("a",), lost={"a": reason})
    state["a"] = object()
    assert not stored.difference(state), "it is lost already"
    state["a"] = 2
    assert stored.difference(state) == Difference(values={"a": "2"})
