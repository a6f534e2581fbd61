"""The command that looks after the cache, on a real one in a directory."""

import json
import os
import time
from pathlib import Path
from typing import Any

import pytest

from runwright.adapters.cachestore import DirectoryCache
from runwright.cli import values
from runwright.cli.cache import size_text
from runwright.cli.main import main
from runwright.core.cacheentry import Entry, Output, OutputKind
from runwright.core.cachekey import Material, account_of, key_of

MATERIAL = Material(
    executor="shell",
    args={"cmd": "cc -c a.c"},
    inputs={"a.c": "abc"},
    env={"CC": "gcc"},
    outputs=("a.o",),
)


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> DirectoryCache:
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("RUNWRIGHT_STORE", raising=False)
    monkeypatch.delenv("RUNWRIGHT_CACHE", raising=False)
    return DirectoryCache(tmp_path / ".runwright" / "cache")


def keep(cache: DirectoryCache, folder: Path, name: str, age: float = 0.0) -> Entry:
    file = folder / f"{name}.o"
    file.write_text(name * 10)
    digest, size = cache.keep_file(file)
    outputs = (
        Output("tree", file.name, OutputKind.FILE, 0o644, digest, size),
        Output("tree", "link", OutputKind.LINK, 0o777, "a.o"),
    )
    key = key_of(MATERIAL)[:-1] + name
    entry = Entry(
        key=key,
        task_id=name,
        account=account_of(MATERIAL, str),
        outputs=outputs,
        value="1.2",
        seconds=0.5,
        made_at=time.time() - age,
    )
    cache.keep(entry)
    then = time.time() - age
    os.utime(folder / ".runwright" / "cache" / "entries" / key[:2] / key[2:], (then, then))
    return entry


def call(capsys: pytest.CaptureFixture[str], *words: str, status: int = 0) -> str:
    assert main(["cache", *words]) == status
    found = capsys.readouterr()
    return found.out + found.err


def data(capsys: pytest.CaptureFixture[str], *words: str, status: int = 0) -> Any:
    return json.loads(call(capsys, *words, "--json", status=status))


def test_an_empty_cache(cache: DirectoryCache, capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    assert call(capsys, "ls") == "the cache is empty\n"
    assert data(capsys, "ls") == []
    assert call(capsys, "verify") == "everything is as it was kept\n"
    assert not (tmp_path / ".runwright").exists()
    assert call(capsys, "gc") == "removed 0 entries and 0 files, 0 B\n"


def test_entries_are_listed_and_shown(
    cache: DirectoryCache, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    entry = keep(cache, tmp_path, "a")
    text = call(capsys, "ls")
    assert entry.key[:12] in text
    assert "1 entry, 10 B" in text
    (item,) = data(capsys, "ls")
    assert (item["key"], item["task_id"], item["size_bytes"]) == (entry.key, "a", 10)
    text = call(capsys, "show", entry.key[:20])
    for part in (entry.key, "cc -c a.c", "gcc", "input a.c", "output a.o", "link to a.o", "in 500 ms"):
        assert part in text
    shown = data(capsys, "show", entry.key)
    assert shown["args"] == {"cmd": "cc -c a.c"}
    assert shown["outputs"][0]["path"] == "a.o"
    assert (shown["value"], shown["inputs"]) == ("1.2", {"a.c": "abc"})


def test_keys_must_name_one_entry(
    cache: DirectoryCache, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    one, _ = keep(cache, tmp_path, "a"), keep(cache, tmp_path, "b")
    assert "2 entries begin with" in call(capsys, "show", one.key[:5], status=2)
    assert "no entry begins with" in call(capsys, "show", "xyz", status=2)
    path = tmp_path / ".runwright" / "cache" / "entries" / one.key[:2] / one.key[2:]
    path.write_bytes(b"x")
    assert "is damaged" in call(capsys, "show", one.key, status=2)


def test_room_is_made(cache: DirectoryCache, capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    keep(cache, tmp_path, "a", age=10 * 86400)
    keep(cache, tmp_path, "b")
    assert call(capsys, "gc", "--max-age", "30d").startswith("removed 0 entries")
    assert call(capsys, "gc", "--max-age", "7d").startswith("removed 1 entry")
    assert [item["task_id"] for item in data(capsys, "ls")] == ["b"]
    assert data(capsys, "gc", "--max-size", "5")["entries"] == 1
    assert data(capsys, "ls") == []


def test_damage_is_found(cache: DirectoryCache, capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    entry = keep(cache, tmp_path, "a")
    digest = entry.outputs[0].digest
    (tmp_path / ".runwright" / "cache" / "blobs" / digest[:2] / digest[2:]).write_bytes(b"no")
    text = call(capsys, "verify", status=1)
    assert f"the content {digest[:16]} is damaged" in text
    assert "--repair" in text
    assert data(capsys, "verify", status=1)["ok"] is False
    assert "removed; the next run makes it again" in call(capsys, "verify", "--repair")
    assert data(capsys, "verify") == {"ok": True, "problems": [], "repaired": False}


@pytest.mark.parametrize(
    "words",
    [["show"], ["ls", "abc"], ["ls", "--max-size", "1"], ["verify", "--max-age", "1d"], ["gc", "--repair"]],
)
def test_options_of_another_action_are_refused(
    cache: DirectoryCache, capsys: pytest.CaptureFixture[str], words: list[str]
) -> None:
    assert "error" in call(capsys, *words, status=2)


def test_the_environment_names_the_cache(
    cache: DirectoryCache, capsys: pytest.CaptureFixture[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    keep(cache, tmp_path, "a")
    monkeypatch.setenv("RUNWRIGHT_CACHE", str(tmp_path / "elsewhere"))
    assert data(capsys, "ls") == []


@pytest.mark.parametrize(
    ("size", "text"),
    [
        (0, "0 B"),
        (999, "999 B"),
        (1000, "1.0 KiB"),
        (4_300_000, "4.1 MiB"),
        (1 << 37, "128 GiB"),
        (1 << 60, "1048576 TiB"),
    ],
)
def test_sizes_as_people_say_them(size: int, text: str) -> None:
    assert size_text(size) == text


def test_sizes_as_people_write_them() -> None:
    assert (values.size("10MiB"), values.size("7")) == (10 << 20, 7)
    with pytest.raises(Exception, match="is no size"):
        values.size("much")
