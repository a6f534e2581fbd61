"""Sealing: what was sealed is opened by the same key alone, and the key is nobody else's."""

import os
import stat
import sys
import threading
from pathlib import Path

import pytest

from runwright.adapters.sealer import AesSealer, open_sealer
from runwright.core.errors import StoreError, UsageError


def test_what_was_sealed_is_opened_and_looks_different_each_time(tmp_path: Path) -> None:
    sealer = open_sealer(tmp_path / "key")
    for data in (b"", b"secret", os.urandom(100_000)):
        once, again = sealer.seal(data), sealer.seal(data)
        assert once != again
        assert not data or data not in once
        assert sealer.unseal(once) == sealer.unseal(again) == data


def test_every_change_is_found(tmp_path: Path) -> None:
    sealer = open_sealer(tmp_path / "key")
    sealed = sealer.seal(b"secret")
    for place in range(len(sealed)):
        changed = bytearray(sealed)
        changed[place] ^= 1
        with pytest.raises(StoreError):
            sealer.unseal(bytes(changed))
    for cut in range(len(sealed)):
        with pytest.raises(StoreError):
            sealer.unseal(sealed[:cut])


def test_another_key_opens_nothing() -> None:
    with pytest.raises(StoreError, match="--key-file"):
        AesSealer(b"b" * 32).unseal(AesSealer(b"a" * 32).seal(b"secret"))


def test_the_key_is_made_once_for_its_owner_alone(tmp_path: Path) -> None:
    path = tmp_path / "new" / "key"
    sealed = open_sealer(path).seal(b"secret")
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert open_sealer(path).unseal(sealed) == b"secret"
    assert [each.name for each in path.parent.iterdir()] == ["key"]


def test_many_who_make_the_key_at_a_time_get_the_same_one(tmp_path: Path) -> None:
    path, sealed = tmp_path / "key", []
    barrier = threading.Barrier(8)

    def make() -> None:
        barrier.wait()
        sealed.append(open_sealer(path).seal(b"secret"))

    threads = [threading.Thread(target=make) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert {open_sealer(path).unseal(each) for each in sealed} == {b"secret"}
    assert len(sealed) == 8


@pytest.mark.parametrize("mode", [0o640, 0o604, 0o644, 0o666])
def test_a_key_that_others_can_read_is_refused(tmp_path: Path, mode: int) -> None:
    path = tmp_path / "key"
    open_sealer(path)
    path.chmod(mode)
    with pytest.raises(UsageError, match="others can read"):
        open_sealer(path)


@pytest.mark.parametrize("text", [b"", b"00", b"no key", b"\xff" * 64, b"0" * 63, b"0" * 66])
def test_what_is_no_key_is_refused(tmp_path: Path, text: bytes) -> None:
    path = tmp_path / "key"
    path.write_bytes(text)
    path.chmod(0o600)
    with pytest.raises(UsageError, match="no key file"):
        open_sealer(path)


def test_a_library_that_is_missing_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "cryptography.exceptions", None)
    with pytest.raises(UsageError) as caught:
        AesSealer(b"a" * 32)
    assert "pip install 'runwright[server]'" in caught.value.with_advice
