"""What every store of values holds to."""

import asyncio
from collections.abc import Callable, Coroutine
from pathlib import Path
from typing import Any

import pytest
from blake3 import blake3

from runwright.adapters.values import DirectoryValues
from runwright.core.errors import StoreCorrupt
from runwright.ports.stores import ValueStore
from runwright.testing import MemoryValues

Alter = Callable[[str], None]


@pytest.fixture(params=["memory", "directory"])
def opened(request: pytest.FixtureRequest, tmp_path: Path) -> tuple[ValueStore, Alter]:
    if request.param == "directory":
        root = tmp_path / "state" / "values"
        return DirectoryValues(root), lambda digest: _append(root / digest[:2] / digest)
    memory = MemoryValues()

    def alter(digest: str) -> None:
        memory.kept[digest] += b"!"

    return memory, alter


def _append(path: Path) -> None:
    path.write_bytes(path.read_bytes() + b"!")


def run(main: Coroutine[Any, Any, Any]) -> Any:
    return asyncio.run(main)


@pytest.mark.parametrize("data", [b"", b"x", bytes(range(256)) * 1000])
def test_what_is_kept_comes_back(opened: tuple[ValueStore, Alter], data: bytes) -> None:
    store, _ = opened
    digest = run(store.put(data))
    assert digest == blake3(data).hexdigest()
    assert run(store.put(data)) == digest
    assert run(store.get(digest)) == data


def test_many_at_once(opened: tuple[ValueStore, Alter]) -> None:
    store, _ = opened

    async def scenario() -> None:
        data = [b"%d" % (number % 7) for number in range(50)]
        digests = await asyncio.gather(*map(store.put, data))
        assert await asyncio.gather(*map(store.get, digests)) == data

    run(scenario())


@pytest.mark.parametrize("digest", ["0" * 64, "no digest", "../../etc/passwd", ""])
def test_what_was_never_kept_is_corrupt(opened: tuple[ValueStore, Alter], digest: str) -> None:
    with pytest.raises(StoreCorrupt):
        run(opened[0].get(digest))


def test_what_was_altered_is_corrupt_until_it_is_kept_again(opened: tuple[ValueStore, Alter]) -> None:
    store, alter = opened
    digest = run(store.put(b"value"))
    alter(digest)
    with pytest.raises(StoreCorrupt, match="altered"):
        run(store.get(digest))
    assert run(store.put(b"value")) == digest
    assert run(store.get(digest)) == b"value"
