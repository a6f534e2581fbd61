"""A disk that fails or is full, at every operation of a short life: a clear error, no hang, and a sound file."""

import asyncio

import apsw
import pytest
from powerloss import Disk
from stored import NOW, create, integrity, life, make, run_id, what_is_left

from runwright.adapters.owner import current_owner
from runwright.adapters.sqlite import SqliteStore, connection
from runwright.core.errors import StoreError


class Fault:
    """Fails the operations of the disk from one of them on."""

    def __init__(self, kind: type[apsw.Error], first: int) -> None:
        self.kind = kind
        self.first = first
        self.disk = Disk(self.operation)

    def operation(self, number: int) -> None:
        if number >= self.first:
            raise self.kind("a fault")


async def scenario(path, lease, acknowledged):
    """Use an existing store a little; note how many events were acknowledged."""
    store = SqliteStore.open(path)
    try:
        first = [store.append(lease, [event]) for event in life(4)]
        for result in await asyncio.gather(*first, return_exceptions=True):
            if isinstance(result, Exception):
                raise result
            acknowledged.append(1)
        await store.renew_lease(lease, 60, NOW)
        await store.append(lease, life(6)[8:])
        acknowledged += [1] * 4
        await create(store, 2, tasks=10)
    finally:
        await store.close()


async def beginning(path, lease, acknowledged):
    """Make a new store."""
    del lease, acknowledged
    store = SqliteStore.open(path)
    try:
        await create(store)
    finally:
        await store.close()


def suffer(work, path, lease, kind, first):
    """Return the number of operations, what was acknowledged, and the error that came out."""
    fault = Fault(kind, first)
    acknowledged: list[int] = []
    error = None
    try:
        asyncio.run(asyncio.wait_for(work(path, lease, acknowledged), 60))
    except StoreError as caught:
        error = caught
    finally:
        fault.disk.unregister()
    return fault.disk.operations, len(acknowledged), error


@pytest.mark.parametrize(
    ("kind", "advice"),
    [(apsw.IOError, "check it and the space left"), (apsw.FullError, "free some space")],
)
def test_every_operation_may_fail(tmp_path, monkeypatch, kind, advice):
    monkeypatch.setattr(connection, "CHECKPOINT_PAGES", 8)
    lease = asyncio.run(make(tmp_path / "template.db"))
    content = (tmp_path / "template.db").read_bytes()
    path = tmp_path / "runs.db"
    path.write_bytes(content)
    total, _, error = suffer(scenario, path, lease, kind, 1 << 60)
    assert error is None
    assert total > 20
    refused = 0
    for first in range(1, total + 1):
        for old in tmp_path.glob("runs.db*"):
            old.unlink()
        path.write_bytes(content)
        _, acknowledged, error = suffer(scenario, path, lease, kind, first)
        if error is not None:
            refused += 1
            assert str(path) in str(error)
            assert advice in str(error)
        found, problem = asyncio.run(what_is_left(path))
        assert problem == ""
        assert found >= 1 + acknowledged
    assert refused > total / 2


def test_a_store_whose_creation_fails_is_created_the_next_time(tmp_path):
    path = tmp_path / "new" / "runs.db"
    total, _, error = suffer(beginning, path, None, apsw.FullError, 1 << 60)
    assert error is None
    for first in range(1, total + 1):
        for old in path.parent.glob("runs.db*"):
            old.unlink()
        _, _, error = suffer(beginning, path, None, apsw.FullError, first)
        assert error is None or str(path) in str(error)

        async def again(error=error):
            store = SqliteStore.open(path)
            try:
                if error is not None:
                    await create(store, 3)
                return (await store.find_run(run_id(3 if error else 1))).id
            finally:
                await store.close()

        assert asyncio.run(again())
        assert integrity(path) == "ok"


def test_a_failed_commit_poisons_what_follows_with_the_same_error(tmp_path):
    path = tmp_path / "runs.db"
    lease = asyncio.run(make(path))

    async def work():
        fault = Fault(apsw.FullError, 1 << 60)
        try:
            store = SqliteStore.open(path)
            await store.append(lease, life(1)[:1])
            fault.first = 0
            results = await asyncio.gather(
                *(store.append(lease, [event]) for event in life(3)), return_exceptions=True
            )
            fault.first = 1 << 60
            for late in (store.append(lease, life(1)), store.renew_lease(lease, 60, NOW), create(store, 2)):
                with pytest.raises(StoreError) as caught:
                    await late
                assert caught.value is results[0]
            assert len(await store.events(lease.run_id)) == 2
            await store.close()
            return set(results)
        finally:
            fault.disk.unregister()

    assert len(asyncio.run(work())) == 1


def test_a_place_that_refuses_is_named(tmp_path):
    with pytest.raises(StoreError, match=r"is a file|this is a directory|no permission|can't be"):
        SqliteStore.open(tmp_path)
    blocked = tmp_path / "file"
    blocked.write_text("")
    with pytest.raises(StoreError, match=r"file/runs\.db"):
        SqliteStore.open(blocked / "runs.db")


def test_a_thread_that_fails_answers_all_the_same(tmp_path, monkeypatch):
    async def work():
        store = SqliteStore.open(tmp_path / "runs.db")
        lease = await create(store)
        owner = current_owner()

        def broken(*arguments):
            raise KeyError("a bug")

        monkeypatch.setattr("runwright.adapters.sqlstore.batches.batch_parameters", broken)
        with pytest.raises(Exception, match="writer of the store failed"):
            await store.append(lease, life(1))
        monkeypatch.undo()
        await store.append(lease, life(1))
        assert (await store.find_run("latest")).owner == owner
        await store.close()

    asyncio.run(work())
