"""Values as files: for their owner alone, whole or not at all, and errors that say which file."""

import asyncio
import os
from pathlib import Path

import pytest

from runwright.adapters.values import DirectoryValues
from runwright.core.errors import StoreError


def put(store: DirectoryValues, data: bytes) -> str:
    return asyncio.run(store.put(data))


def test_files_are_their_owners_alone(tmp_path: Path) -> None:
    digest = put(DirectoryValues(tmp_path / "state" / "values"), b"x")
    file = tmp_path / "state" / "values" / digest[:2] / digest
    assert file.stat().st_mode & 0o777 == 0o600
    assert file.parent.stat().st_mode & 0o077 == 0
    assert file.parent.parent.stat().st_mode & 0o077 == 0
    assert [path.name for path in file.parent.iterdir()] == [digest]


def test_a_failure_on_the_way_leaves_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    store = DirectoryValues(tmp_path)

    def full(handle: int) -> None:
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as broken:
        broken.setattr(os, "fsync", full)
        with pytest.raises(StoreError, match=r"can't be kept in .*: No space left"):
            put(store, b"value")
    assert [path for path in tmp_path.rglob("*") if path.is_file()] == []
    assert put(store, b"value")


def test_what_can_not_be_read_is_an_error_with_its_path(tmp_path: Path) -> None:
    store = DirectoryValues(tmp_path)
    digest = put(store, b"value")
    file = tmp_path / digest[:2] / digest
    file.unlink()
    file.mkdir()
    with pytest.raises(StoreError, match=f"{digest} can't be read"):
        asyncio.run(store.get(digest))
