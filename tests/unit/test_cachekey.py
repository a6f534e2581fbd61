"""Keys: what makes them differ, what does not, and how a change is told."""

from types import MappingProxyType

import msgspec
import pytest
from msgspec.structs import replace

from runwright.core.cacheentry import MOST_DETAILS, Entry, Output, OutputKind, details, seal, unseal
from runwright.core.cachekey import (
    PARTS,
    SHOWN_LENGTH,
    Difference,
    Material,
    account_of,
    canonical,
    changed_parts,
    content_mark,
    differences,
    key_of,
    parts_of,
)
from runwright.core.task import Task, TaskId

MATERIAL = Material(
    executor="shell",
    args={"cmd": "gcc -O1 -c a.c", "clean_env": False},
    inputs={"a.c": "aa", "a.h": "bb"},
    env={"CC": "gcc", "LANG": None},
    outputs=("a.o",),
)
CHANGES = {
    "executor": {"executor": "python"},
    "args": {"args": {"cmd": "gcc -O2 -c a.c", "clean_env": False}},
    "inputs": {"inputs": {"a.c": "aa", "b.h": "bb"}},
    "input content": {"inputs": {"a.c": "aa", "a.h": "cc"}},
    "env": {"env": {"CC": "clang", "LANG": None}},
    "outputs": {"outputs": ("b.o",)},
}


def same(text: str) -> str:
    return text


def told(before: Material, after: Material) -> list[str]:
    return [one.text for one in differences(account_of(before, same), account_of(after, same))]


@pytest.mark.parametrize("part", PARTS)
def test_each_part_has_a_digest_of_its_own(part: str) -> None:
    after = replace(MATERIAL, **CHANGES[part])
    digests = zip(PARTS, parts_of(MATERIAL), parts_of(after), strict=True)
    differ = [name for name, old, new in digests if old != new]
    assert differ == [part]
    assert key_of(MATERIAL) != key_of(after)


@pytest.mark.parametrize("part", PARTS)
def test_a_comparison_names_the_part(part: str) -> None:
    found = differences(account_of(MATERIAL, same), account_of(replace(MATERIAL, **CHANGES[part]), same))
    assert changed_parts(found) == (part,)


def test_what_is_equal_has_one_key() -> None:
    other = replace(
        MATERIAL,
        args=MappingProxyType({"clean_env": False, "cmd": "gcc -O1 -c a.c"}),
        inputs={"a.h": "bb", "a.c": "aa"},
        env={"LANG": None, "CC": "gcc"},
    )
    assert key_of(other) == key_of(MATERIAL)
    assert told(MATERIAL, other) == []


@pytest.mark.parametrize(
    "values",
    [
        [1, 1.0, True, "1", b"1", None, [1], {"1": 1}],
        [0.0, -0.0, float("nan"), float("inf")],
        ["", None, [], {}, [[]], [""]],
        [["a", "b"], ["ab"], "ab", {"a": "b"}],
        [["\udc80", 1], ["\udc80", "1"], ["\udc80", None], ["\udc80", [1]]],
        ["\udc80", b"\xed\xb2\x80", "\udc81", ["\udc80"]],
        [{"a": "\udc80"}, [["a", "\udc80"]], {"a": "\udc81"}],
    ],
)
def test_different_data_have_different_encodings(values: list[object]) -> None:
    assert len({canonical(value) for value in values}) == len(values)


def test_what_is_not_plain_is_refused() -> None:
    with pytest.raises(TypeError, match="object is not plain data"):
        canonical({"a": object()})
    with pytest.raises(TypeError, match="keys"):
        canonical({1: "a"})


def test_the_right_to_execute_is_content() -> None:
    assert content_mark("aa", executable=True) != content_mark("aa", executable=False)


def test_differences_name_what_changed() -> None:
    after = Material(
        executor=["shell", {"shell": "bash"}],
        args={"cmd": "gcc -O2 -c a.c", "stdin": "x"},
        inputs={"a.c": "cc", "b.h": "bb"},
        env={"CC": "clang", "LC_ALL": None},
        outputs=("a.o", "a.d"),
    )
    assert told(MATERIAL, after) == [
        'executor changed from "shell" to "["shell",{"shell":"bash"}]"',
        "argument stdin is new",
        "argument clean_env is gone",
        'argument cmd changed from "-O1" to "-O2"',
        "input b.h is new",
        "input a.h is gone",
        "input a.c changed",
        "variable LC_ALL is new",
        "variable LANG is gone",
        'variable CC changed from "gcc" to "clang"',
        "declared output a.d is new",
    ]


def test_a_change_that_has_no_name_is_told_by_its_part() -> None:
    more = replace(MATERIAL, outputs=("a.o", "b.o"))
    assert told(more, replace(MATERIAL, outputs=("b.o", "a.o"))) == ["outputs changed"]


def test_long_or_hidden_changes_are_told_without_their_text() -> None:
    before = replace(MATERIAL, args={"cmd": "x" * 2 * SHOWN_LENGTH, "p": "secret1", "n": "\udc80"})
    after = replace(MATERIAL, args={"cmd": "y" * 2 * SHOWN_LENGTH, "p": "secret2", "n": "\udc81"})

    def masked(text: str) -> str:
        return "***" if text.startswith("secret") else text

    found = differences(account_of(before, masked), account_of(after, masked))
    assert [one.text for one in found] == [
        "argument cmd changed",
        "argument n changed",
        "argument p changed",
    ]
    assert "secret" not in str(account_of(before, masked))


ENTRY = Entry(
    key="k",
    task_id="build",
    account=account_of(MATERIAL, same),
    outputs=(Output("tree", "a.o", OutputKind.FILE, 0o644, "dd", 3),),
    value={"a": [1, None]},
    variables={"v": "1"},
    followups=(Task(id=TaskId("next"), args={"n": 1}),),
    own=("x",),
    seconds=1.5,
)


def test_an_entry_is_read_back_as_it_was() -> None:
    assert unseal(seal(ENTRY)) == ENTRY


@pytest.mark.parametrize("place", [0, 20, -1])
def test_a_damaged_entry_is_none(place: int) -> None:
    data = bytearray(seal(ENTRY))
    data[place] ^= 1
    assert unseal(bytes(data)) is None
    assert unseal(b"") is None


def test_what_is_whole_but_no_entry_is_none() -> None:
    from runwright.core.cacheentry import sealed

    assert unseal(sealed(msgspec.msgpack.encode([1]))) is None


def test_only_so_many_details_are_told() -> None:
    many = [Difference("args", str(number)) for number in range(20)]
    assert details(many[:MOST_DETAILS]) == tuple("01234567")
    assert details(many) == (*"0123456", "and 13 more changes")
