"""The files of a store: their modes, what reading does to them, and what is refused."""

import asyncio
import hashlib
import os
import stat
import subprocess
import sys
from pathlib import Path

import apsw
import pytest
from stored import NOW, create, life, make, run_id

from runwright.adapters import sql
from runwright.adapters.sqlite import SqliteStore, connection
from runwright.core.errors import RunNotFound, StoreCorrupt, StoreError
from runwright.core.states import RunState
from runwright.ports.stores import RunFilter


def mode(path) -> str:
    return oct(stat.S_IMODE(path.stat().st_mode))


def fingerprint(folder) -> dict:
    """Return names, contents, times and modes of everything in a directory, itself included."""
    found = {".": (folder.stat().st_mtime_ns, mode(folder))}
    for path in folder.iterdir():
        found[path.name] = (
            hashlib.sha256(path.read_bytes()).hexdigest(),
            path.stat().st_mtime_ns,
            mode(path),
        )
    return found


async def read_everything(path):
    """Use every reading call of a store opened for reading."""
    store = SqliteStore.open(path, read_only=True)
    try:
        run = await store.find_run("latest")
        assert await store.list_runs(RunFilter(sort="state"))
        for read in (store.tasks, store.attempts, store.variables, store.events, store.cancel_reason):
            await read(run.id)
        assert await store.definition(run.definition)
        return run, await store.verify(run.id)
    finally:
        await store.close()


def test_files_are_private_from_the_first_byte(tmp_path):
    former = os.umask(0)
    seen = {}
    try:

        async def work():
            store = SqliteStore.open(tmp_path / "deep" / "state" / "runs.db")
            await create(store)
            for path in (tmp_path / "deep" / "state").iterdir():
                seen[path.name] = mode(path)
            await store.close()

        asyncio.run(work())
    finally:
        os.umask(former)
    assert seen == {"runs.db": "0o600", "runs.db-wal": "0o600", "runs.db-shm": "0o600"}
    assert mode(tmp_path / "deep" / "state") == "0o700"


def test_reading_leaves_no_trace(tmp_path):
    folder = tmp_path / "state"
    path = folder / "runs.db"
    asyncio.run(make(path, events=10))
    before = fingerprint(folder)
    assert list(before) == [".", "runs.db"]
    run, report = asyncio.run(read_everything(path))
    assert (report.ok, report.events, run.state) == (True, 11, RunState.RUNNING)
    assert fingerprint(folder) == before
    folder.chmod(0o500)
    path.chmod(0o400)
    try:
        assert asyncio.run(read_everything(path))[1].ok
    finally:
        folder.chmod(0o700)


def test_the_fingerprint_notices_an_ordinary_connection(tmp_path):
    folder = tmp_path / "state"
    asyncio.run(make(folder / "runs.db", events=10))
    before = fingerprint(folder)
    ordinary = apsw.Connection(str(folder / "runs.db"))
    ordinary.execute("SELECT count(*) FROM runs").fetchall()
    assert fingerprint(folder) != before
    ordinary.close()


def test_a_missing_store_reads_as_an_empty_one(tmp_path):
    async def work():
        store = SqliteStore.open(tmp_path / "none" / "runs.db", read_only=True)
        assert await store.list_runs(RunFilter()) == []
        assert await store.tasks(run_id()) == []
        assert await store.events(run_id()) == []
        assert await store.cancel_reason(run_id()) == ""
        for missing in (store.find_run("latest"), store.verify(run_id())):
            with pytest.raises(RunNotFound):
                await missing
        with pytest.raises(StoreError, match="no definition"):
            await store.definition("d")
        with pytest.raises(StoreError, match="reading only"):
            await store.request_cancel(run_id(), NOW, "x")
        await store.close()
        with pytest.raises(StoreError, match="closed"):
            await store.find_run("latest")

    asyncio.run(work())
    assert list(tmp_path.iterdir()) == []


def test_a_live_writer_is_read_beside(tmp_path):
    path = tmp_path / "state" / "runs.db"

    async def work():
        store = SqliteStore.open(path)
        reader = SqliteStore.open(path, read_only=True)
        lease = await create(store)
        for number, event in enumerate(life(5), 2):
            await store.append(lease, [event])
            assert (await reader.find_run("latest")).head_seq == number
        await store.close()
        before = fingerprint(path.parent)
        assert (await reader.verify(run_id())).events == 11
        assert fingerprint(path.parent) == before
        await reader.close()

    asyncio.run(work())


CRASH = """
import asyncio, os, signal, sys
sys.path.insert(0, sys.argv[2])
from stored import create, life
from runwright.adapters.sqlite import SqliteStore
async def work():
    store = SqliteStore.open(sys.argv[1])
    lease = await create(store)
    await store.append(lease, life(5))
    os.kill(os.getpid(), signal.SIGKILL)
asyncio.run(work())
"""


def crash(path, **environment):
    command = [sys.executable, "-c", CRASH, str(path), str(Path(__file__).parent)]
    return subprocess.run(command, env=os.environ | environment, check=False, timeout=60).returncode


def test_what_a_killed_process_left_is_read(tmp_path):
    folder = tmp_path / "state"
    path = folder / "runs.db"
    assert crash(path) == -9
    before = fingerprint(folder)
    assert path.with_name("runs.db-wal").stat().st_size > 0
    run, report = asyncio.run(read_everything(path))
    assert (report.ok, report.events, run.state) == (True, 11, RunState.INTERRUPTED)
    after = fingerprint(folder)
    assert set(after) == set(before)
    for name in ("runs.db", "runs.db-wal"):
        assert after[name] == before[name]


def test_the_newest_version_only(tmp_path):
    path = tmp_path / "runs.db"
    asyncio.run(make(path))
    database = apsw.Connection(str(path))
    database.execute("INSERT INTO migrations VALUES (99, '0099_future')")
    database.close()
    for read_only in (True, False):
        with pytest.raises(StoreError, match=r"newer Runwright .*upgrade"):
            SqliteStore.open(path, read_only=read_only)


def test_files_of_others_are_refused(tmp_path):
    foreign = tmp_path / "foreign.db"
    database = apsw.Connection(str(foreign))
    database.execute("CREATE TABLE accounts (id INTEGER)")
    database.close()
    text = tmp_path / "notes.db"
    text.write_text("not a database at all, but long enough to look at " * 100)
    for path, read_only in ((foreign, True), (foreign, False), (text, True), (text, False)):
        before = path.read_bytes()
        with pytest.raises(StoreCorrupt, match=r"--store") as caught:
            SqliteStore.open(path, read_only=read_only)
        assert str(path) in str(caught.value)
        if path is text:
            assert path.read_bytes() == before


def test_a_damaged_file_is_said_to_be_damaged(tmp_path):
    path = tmp_path / "runs.db"
    asyncio.run(make(path, events=60))
    content = bytearray(path.read_bytes())
    for page in range(1, len(content) // 4096):
        content[page * 4096 : page * 4096 + 2048] = os.urandom(2048)
    path.write_bytes(content)

    async def work():
        store = SqliteStore.open(path, read_only=True)
        try:
            await store.events(run_id())
        finally:
            await store.close()

    with pytest.raises(StoreCorrupt, match="damaged"):
        asyncio.run(work())


def schema(path) -> list:
    database = apsw.Connection(str(path))
    try:
        return sorted(
            database.execute("SELECT type, name, sql FROM sqlite_schema WHERE name NOT LIKE 'sqlite_%'")
        )
    finally:
        database.close()


NEXT = (
    connection.newest_version() + 1,
    "9999_test",
    "ALTER TABLE runs ADD COLUMN note TEXT; CREATE TABLE notes (text TEXT) STRICT;",
)


def test_every_old_version_migrates_to_the_newest_schema(tmp_path, monkeypatch):
    known = [*sql.migrations("sqlite"), NEXT]
    fresh = tmp_path / "fresh.db"
    monkeypatch.setattr(connection, "migrations", lambda vendor: known)
    connection.open_for_writing(str(fresh), "full").close()
    for old in range(1, len(known)):
        path = tmp_path / f"{old}.db"
        monkeypatch.setattr(connection, "migrations", lambda vendor, old=old: known[:old])
        connection.open_for_writing(str(path), "full").close()
        assert schema(path) != schema(fresh)
        monkeypatch.setattr(connection, "migrations", lambda vendor: known)
        connection.open_for_writing(str(path), "full").close()
        assert schema(path) == schema(fresh)


def test_an_old_store_is_read_without_being_migrated(tmp_path, monkeypatch):
    path = tmp_path / "runs.db"
    known = sql.migrations("sqlite")
    monkeypatch.setattr(connection, "migrations", lambda vendor: known[:1])
    connection.open_for_writing(str(path), "full").close()
    database = apsw.Connection(str(path))
    database.execute(
        "INSERT INTO runs (id, name, kind, state, reason, definition, path, tags, strategy, workers, options,"
        " parent_id, created_at, resume_count, token, head_seq, head_hash)"
        " VALUES ('r', 'old', 'workflow', 'failed', '', '', '', '[]', '', 1, '{}', '', '2026-01-01T00:00:00.000000Z',"
        " 0, 1, 0, x'00')"
    )
    database.close()
    monkeypatch.undo()
    before = path.read_bytes()

    async def work():
        store = SqliteStore.open(path, read_only=True)
        (run,) = await store.list_runs(RunFilter())
        await store.close()
        return run

    run = asyncio.run(work())
    assert (run.name, run.parent_task) == ("old", "")
    assert path.read_bytes() == before


def test_a_migration_that_fails_leaves_the_old_version(tmp_path, monkeypatch):
    path = tmp_path / "runs.db"
    asyncio.run(make(path, events=4))
    before = schema(path)
    broken = (*NEXT[:2], NEXT[2] + "SELECT no_such_function();")
    monkeypatch.setattr(connection, "migrations", lambda vendor: [*sql.migrations("sqlite"), broken])
    with pytest.raises(StoreError, match="no_such_function"):
        SqliteStore.open(path)
    monkeypatch.undo()
    assert schema(path) == before
    assert asyncio.run(read_everything(path))[1].ok


@pytest.mark.parametrize(("place", "version"), [("before", 0), ("after", connection.newest_version())])
def test_a_process_killed_while_it_migrates_leaves_one_version_or_the_other(tmp_path, place, version):
    path = tmp_path / "runs.db"
    assert crash(path, RUNWRIGHT_FAILPOINT=f"store.{place}_migration:1") == -9
    database = apsw.Connection(str(path))
    assert connection.schema_version(database) == version
    database.close()
    assert crash(path) == -9
    assert asyncio.run(read_everything(path))[1].ok


@pytest.mark.parametrize("count", [1, 2])
@pytest.mark.parametrize("place", ["before", "after"])
def test_a_process_killed_at_a_commit_keeps_all_of_it_or_nothing(tmp_path, place, count):
    path = tmp_path / "runs.db"
    assert crash(path, RUNWRIGHT_FAILPOINT=f"store.{place}_commit:{count}") == -9

    async def work():
        store = SqliteStore.open(path, read_only=True)
        runs = await store.list_runs(RunFilter())
        events = [(await store.verify(run.id)).events for run in runs]
        await store.close()
        return events

    expected = {("before", 1): [], ("after", 1): [1], ("before", 2): [1], ("after", 2): [11]}
    assert asyncio.run(work()) == expected[place, count]
