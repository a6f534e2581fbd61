"""The file that ``$RUNWRIGHT_STATE`` names: what is written, and what a command may make of it."""

import json
import os
import stat
from pathlib import Path
from typing import Any

import pytest

from runwright.core.errors import TaskFailed
from runwright.executors.output_file import MAX_BYTES
from runwright.executors.state_file import take_state, write_state

AWKWARD = {
    "quotes": 'it\'s "so"',
    "lines": "a\nb\r\n\tc\0",
    "shell": "$(rm -rf /) `x` \\",
    "": "no name",
    "é": "ü\U0001f600",
}
UNSTORABLE = object()


def taken(path: Path, before: dict[str, Any] | None = None) -> dict[str, Any]:
    found = take_state(path, before or {})
    assert not path.exists(), "it is taken once"
    return found


def with_text(tmp_path: Path, text: str | bytes, before: dict[str, Any] | None = None) -> dict[str, Any]:
    path = tmp_path / "state"
    path.write_bytes(text.encode() if isinstance(text, str) else text)
    return taken(path, before)


def refused(tmp_path: Path, text: str | bytes) -> str:
    with pytest.raises(TaskFailed) as caught:
        with_text(tmp_path, text, {"x": 1})
    assert caught.value.failure.code == "E_OUTPUT"
    assert not (tmp_path / "state").exists()
    return caught.value.failure.message


def test_the_state_is_one_line_of_json_that_only_its_owner_can_read(tmp_path: Path) -> None:
    path = tmp_path / "state"
    state = {**AWKWARD, "list": [1, None, True, {"a": 1.5}], "other": UNSTORABLE}
    write_state(path, state)
    data = path.read_bytes()
    assert data.count(b"\n") == 1
    assert data.endswith(b"\n")
    del state["other"]
    assert json.loads(data) == state
    assert stat.S_IMODE(path.stat().st_mode) == 0o600


def test_an_untouched_file_changes_nothing(tmp_path: Path) -> None:
    path = tmp_path / "state"
    before = {**AWKWARD, "n": [1], "other": UNSTORABLE}
    write_state(path, before)
    assert taken(path, before) == before


def test_lines_after_the_object_change_what_they_name(tmp_path: Path) -> None:
    path = tmp_path / "state"
    before = {"a": 1, "b": 2, "other": UNSTORABLE}
    write_state(path, before)
    with path.open("a") as file:
        file.write("b=two words\nnew=a=b\n\nempty=\n")
    assert taken(path, before) == {**before, "b": "two words", "new": "a=b", "empty": ""}


def test_lines_alone_change_what_they_name_and_keep_the_rest(tmp_path: Path) -> None:
    assert with_text(tmp_path, "a=1\n", {"a": 0, "b": [2]}) == {"a": "1", "b": [2]}


def test_a_new_object_is_the_whole_state(tmp_path: Path) -> None:
    text = '\n {"a": {"b": [1, 2]},\n "c": null}\nd=4'
    before = {"gone": 1, "kept": UNSTORABLE}
    assert with_text(tmp_path, text, before) == {"a": {"b": [1, 2]}, "c": None, "d": "4", "kept": UNSTORABLE}


@pytest.mark.parametrize("text", ["", "\n \n"])
def test_an_empty_file_changes_nothing(tmp_path: Path, text: str) -> None:
    assert with_text(tmp_path, text, {"a": 1}) == {"a": 1}


def test_a_file_that_is_gone_changes_nothing(tmp_path: Path) -> None:
    assert take_state(tmp_path / "state", {"a": 1}) == {"a": 1}


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("nonsense", "$RUNWRIGHT_STATE, line 1: NAME=value was expected"),
        ("a=1\nnonsense", "$RUNWRIGHT_STATE, line 2: NAME=value was expected"),
        ('{"a": 1}\n\nb=1\n2c=1', "$RUNWRIGHT_STATE, line 4: a name must be letters, digits and underscores"),
        ('{"a":\n1,\n}', "$RUNWRIGHT_STATE, line 3: one JSON object was expected"),
        ('{"a": 1', "$RUNWRIGHT_STATE, line 1: one JSON object was expected"),
        ('{"a": 1} {"b": 2}', "$RUNWRIGHT_STATE, line 1: NAME=value was expected"),
        ('{"a": NaN}', "$RUNWRIGHT_STATE, line 1: one JSON object was expected"),
        ('{"a":' + "[" * 100_000, "$RUNWRIGHT_STATE, line 1: one JSON object was expected"),
        ('{"a": 1' + "1" * 5000, "$RUNWRIGHT_STATE, line 1: one JSON object was expected"),
        ('["a"]', "$RUNWRIGHT_STATE, line 1: NAME=value was expected"),
        (b'{"a": 1}\nb=\xff', "$RUNWRIGHT_STATE, line 2: it is not UTF-8"),
        (b"x" * (MAX_BYTES + 1), f"$RUNWRIGHT_STATE: it holds more than {MAX_BYTES} bytes"),
    ],
    ids=range(12),
)
def test_what_can_not_be_read_is_named_with_its_line_and_without_its_content(
    tmp_path: Path, text: str | bytes, message: str
) -> None:
    assert refused(tmp_path, text).startswith(message)


def test_a_link_leads_nowhere(tmp_path: Path) -> None:
    other = tmp_path / "other"
    other.write_text("a=1")
    path = tmp_path / "state"
    path.symlink_to(other)
    with pytest.raises(TaskFailed, match="symbolic link"):
        take_state(path, {})
    path.symlink_to(other)
    with pytest.raises(OSError, match="symbolic"):
        write_state(path, {"a": 2})
    assert other.read_text() == "a=1"


def test_a_pipe_makes_nobody_wait(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "state")
    with pytest.raises(TaskFailed, match="not a plain file"):
        take_state(tmp_path / "state", {})
