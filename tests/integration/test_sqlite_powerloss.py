"""Power is lost at random instants: what was acknowledged is there, and nothing contradicts itself."""

import asyncio
import os
import random
import shutil

import apsw
import pytest
from powerloss import Power
from stored import life, make, what_is_left

from runwright.adapters.sqlite import SqliteStore, connection
from runwright.core.errors import StoreError

LOSSES = int(os.environ.get("RUNWRIGHT_LOSSES", "1000"))
SEED = int(os.environ.get("RUNWRIGHT_SEED", "20260302"))


async def scenario(path, lease, power, dice, durability):
    """Append events in random groups until the power fails."""
    store = SqliteStore.open(path, durability=durability)
    left = life(20)
    try:
        while left and power.files is None:
            group, left = left[: (size := dice.randint(1, 8))], left[size:]
            futures = [store.append(lease, [event]) for event in group]
            for future in futures:
                future.add_done_callback(power.acknowledge)
            await asyncio.gather(*futures, return_exceptions=True)
        if power.files is None:
            power.fail()
    finally:
        await store.close()


def lose(tmp_path, lease, dice, fails_at, durability):
    """Return how many acknowledged events were lost, what is wrong with the rest, and how far the disk came."""
    work, after = tmp_path / "work", tmp_path / "after"
    for folder in (work, after):
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir()
    shutil.copy(tmp_path / "template.db", work / "runs.db")
    power = Power(dice, fails_at)
    try:
        asyncio.run(scenario(work / "runs.db", lease, power, dice, durability))
    except StoreError:
        assert power.files is not None
    finally:
        power.disk.unregister()
    if power.files is None:
        power.fail()
    for name, content in power.files.items():
        (after / name).write_bytes(content)
    found, problem = asyncio.run(what_is_left(after / "runs.db"))
    return max(0, 1 + power.acknowledged_at_loss - found), problem, power.disk.operations


@pytest.fixture
def template(tmp_path, monkeypatch):
    monkeypatch.setattr(connection, "CHECKPOINT_PAGES", 12)
    return asyncio.run(make(tmp_path / "template.db"))


@pytest.mark.timeout(1200)
def test_no_acknowledged_event_is_lost(tmp_path, template):
    print(f"RUNWRIGHT_SEED={SEED} RUNWRIGHT_LOSSES={LOSSES}")
    dice = random.Random(SEED)
    most = lose(tmp_path, template, dice, 0, "full")[2]
    for number in range(LOSSES):
        lost, problem, _ = lose(tmp_path, template, dice, dice.randint(1, most), "full")
        assert (lost, problem) == (0, ""), f"loss {number}"


def test_the_simulation_notices_a_store_that_does_not_sync(tmp_path, template):
    print(f"RUNWRIGHT_SEED={SEED}")
    dice = random.Random(SEED)
    most = lose(tmp_path, template, dice, 0, "off")[2]
    results = []
    for _ in range(30):
        try:
            lost, problem, _ = lose(tmp_path, template, dice, dice.randint(1, most), "off")
        except (StoreError, apsw.Error) as error:
            lost, problem = 0, str(error)
        results.append(bool(lost or problem))
    assert sum(results) >= 5
