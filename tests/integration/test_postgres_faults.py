"""Runs on a real PostgreSQL while the server, the connections and the engines fail; each fault has its control."""

import asyncio
import random
import threading
from contextlib import suppress
from datetime import timedelta
from pathlib import Path

import psycopg
import pytest
from stored import DEFINITION, NOW, create, life, run_id

from runwright import wiring
from runwright.adapters.owner import current_owner
from runwright.adapters.postgres import PostgresStore, connection, statements, writer
from runwright.adapters.postgres.address import parse
from runwright.core.errors import LeaseLost, RunIsActive, StoreError
from runwright.core.run import Definition, Owner, Run
from runwright.core.states import RunState, TaskState
from runwright.ports.stores import RunFilter

ELSEWHERE = Owner(host="elsewhere", boot_id="another", pid=1, process_started="1@space")
TASKS = 60


@pytest.fixture
def url(postgres):
    return postgres.create_database()


def database_of(url: str) -> str:
    return parse(url).shown.rpartition("/")[2]


class LostAnswers:
    """Ends the server's side of a connection right after a commit, so that its answer never comes."""

    def __init__(self, postgres):
        self._postgres = postgres
        self.left = 1

    def __call__(self, connection):
        if self.left:
            self.left -= 1
            pid = connection.info.backend_pid
            self._postgres.execute(f"SELECT pg_terminate_backend({pid}, 10000)")
            connection.execute("SELECT 1")


async def whole_life(store):
    """Do everything that writes to a log and to a lease, and return the events that should be there."""
    lease = await create(store)
    await store.append(lease, life(3))
    await store.release_lease(lease)
    taken = await store.take_lease(lease.run_id, current_owner(), 60, NOW)
    run = await store.find_run(lease.run_id)
    definition = Definition(digest="e" * 64, content=b"{}")
    await store.resume_run(taken, run, definition, await store.tasks(run.id), life(4)[6:])
    await store.renew_lease(taken, 60, NOW)
    return [event.event for event in await store.events(lease.run_id)][1:]


@pytest.mark.parametrize("which", ["create", "release", "take", "resume", "renew", "append"])
def test_a_write_whose_answer_is_lost_takes_effect_once(postgres, url, monkeypatch, which):
    async def work():
        store = PostgresStore.open(url)
        lose = LostAnswers(postgres)
        calls = iter(("create", "release", "take", "resume", "renew", "take again"))
        transact, execute = writer.PostgresWriter.transact, writer._execute

        def lossy(self, action):
            call = next(calls)
            with_commit = self._link.run

            def run(whole):
                def lost(connection):
                    result = whole(connection)
                    if call == which:
                        lose(connection)
                    return result

                return with_commit(lost)

            monkeypatch.setattr(self._link, "run", run)
            try:
                return transact(self, action)
            finally:
                monkeypatch.setattr(self._link, "run", with_commit)

        def lossy_batch(connection, batches):
            execute(connection, batches)
            if which == "append":
                lose(connection)

        monkeypatch.setattr(writer.PostgresWriter, "transact", lossy)
        monkeypatch.setattr(writer, "_execute", lossy_batch)
        assert await whole_life(store) == life(4)
        assert lose.left == 0
        report = await store.verify(run_id())
        assert report.ok, report.problem
        assert (await store.take_lease(run_id(), ELSEWHERE, 60, NOW + timedelta(hours=2))).token == 3
        await store.close()

    asyncio.run(work())


def test_control_without_a_look_for_what_is_there_a_lost_answer_is_harmful(postgres, url, monkeypatch):
    async def work():
        store = PostgresStore.open(url)
        lose = LostAnswers(postgres)
        execute = writer._execute

        def lossy_batch(connection, batches):
            execute(connection, batches)
            lose(connection)

        monkeypatch.setattr(writer, "_execute", lossy_batch)
        monkeypatch.setattr(writer, "is_written", lambda statements, head: False)
        lease = await create(store)
        await store.append(lease, life(1))
        seen = len(await store.events(lease.run_id))
        await store.close()
        return seen

    assert asyncio.run(work()) == 1 + 2 * len(life(1))


async def append_until_the_server_dies(postgres, url):
    """Append event by event while the server crashes; return how many were acknowledged and how many are there."""
    store = PostgresStore.open(url, patience=0)
    lease = await create(store)
    acknowledged = 0
    crash = threading.Thread(target=lambda: (enough.wait(60), postgres.restart("immediate")))
    enough = threading.Event()
    crash.start()
    with suppress(StoreError):
        for event in life(400):
            await store.append(lease, [event])
            acknowledged += 1
            if acknowledged == 100:
                enough.set()
    await asyncio.to_thread(crash.join)
    await store.close()
    again = PostgresStore.open(url)
    there = len(await again.events(run_id())) - 1
    report = await again.verify(run_id())
    assert report.ok, report.problem
    await again.close()
    return acknowledged, there


def test_what_was_acknowledged_survives_a_crash_of_the_server(postgres, url):
    postgres.execute(f"ALTER DATABASE {database_of(url)} SET synchronous_commit = off")
    acknowledged, there = asyncio.run(append_until_the_server_dies(postgres, url))
    assert 100 <= acknowledged <= there <= acknowledged + 1


def test_control_a_server_that_answers_before_it_has_written_loses_events(postgres, url, monkeypatch):
    monkeypatch.setattr(connection, "_SETTINGS", "SET search_path = runwright; SET TimeZone = 'UTC';")
    postgres.execute(f"ALTER DATABASE {database_of(url)} SET synchronous_commit = off")
    postgres.execute("ALTER SYSTEM SET wal_writer_delay = '10s'")
    postgres.execute("SELECT pg_reload_conf()")
    try:
        acknowledged, there = asyncio.run(append_until_the_server_dies(postgres, url))
    finally:
        postgres.execute("ALTER SYSTEM RESET wal_writer_delay")
        postgres.execute("SELECT pg_reload_conf()")
    assert there < acknowledged


def workflow(folder: Path) -> Path:
    lines = ['name = "restarted"']
    for number in range(TASKS):
        lines.append(f'[tasks.t{number}]\ncmd = "echo {number} >> {folder}/did; sleep 0.02"')
        if number >= 2:
            lines.append(f'depends_on = ["t{number - 2}"]')
    path = folder / "restarted.toml"
    path.write_text("\n".join(lines) + "\n")
    return path


def did(folder: Path) -> list[int]:
    path = folder / "did"
    return [int(line) for line in path.read_text().split()] if path.exists() else []


async def run_through_restarts(postgres, store, folder, restarts=2):
    """Run the workflow while the server is restarted several times; return the run, or None if its engine gave up."""

    def restart_in_between():
        for number in range(1, restarts + 1):
            while len(did(folder)) < number * TASKS // (restarts + 2) and not over.wait(0.01):
                pass
            postgres.restart("immediate")

    over = threading.Event()
    restarts_thread = threading.Thread(target=restart_in_between)
    restarts_thread.start()
    try:
        async with wiring.Engine(store, workers=2) as engine:
            return await engine.execute(str(workflow(folder)))
    except StoreError:
        return None
    finally:
        over.set()
        await asyncio.to_thread(restarts_thread.join)


def test_a_run_goes_on_when_the_server_comes_back(postgres, url, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)

    async def work():
        store = PostgresStore.open(url)
        run = await run_through_restarts(postgres, store, tmp_path)
        assert run is not None
        assert run.state is RunState.SUCCEEDED, run.reason
        assert sorted(did(tmp_path)) == list(range(TASKS))
        report = await store.verify(run.id)
        assert report.ok, report.problem
        await store.close()

    asyncio.run(work())


def test_control_without_patience_the_engine_gives_up_and_the_run_is_resumed(
    postgres, url, tmp_path, monkeypatch
):
    monkeypatch.chdir(tmp_path)

    async def work():
        store = PostgresStore.open(url, patience=0)
        run = await run_through_restarts(postgres, store, tmp_path, restarts=1)
        await store.close()
        assert run is None or run.state is not RunState.SUCCEEDED
        store = PostgresStore.open(url)
        (left,) = await store.list_runs(RunFilter())
        kept = {row.id for row in await store.tasks(left.id) if row.state is TaskState.SUCCEEDED}
        assert 0 < len(kept) < TASKS
        await asyncio.to_thread(postgres.execute, "UPDATE runwright.runs SET owner = NULL", database_of(url))
        async with wiring.Engine(store, workers=2) as engine:
            assert (await engine.resume(left.id)).state is RunState.SUCCEEDED
        done = did(tmp_path)
        assert set(done) == set(range(TASKS))
        assert all(done.count(int(task.removeprefix("t"))) == 1 for task in kept)
        report = await store.verify(left.id)
        assert report.ok, report.problem
        await store.close()

    asyncio.run(work())


async def take_at_once(url):
    """Let two engines of two machines take a free lease at the same moment; return the tokens that they got."""
    first = PostgresStore.open(url)
    lease = await create(first)
    meeting = threading.Barrier(2)

    def is_alive(owner):
        with suppress(threading.BrokenBarrierError):
            meeting.wait(2)  # with the lock, the other one never gets here
        return False if owner == current_owner() else None

    stores = [PostgresStore.open(url, is_alive=is_alive) for _ in range(2)]
    owners = [Owner(host=f"host{n}", boot_id="b", pid=n, process_started="1@s") for n in (1, 2)]
    results = await asyncio.gather(
        *(
            store.take_lease(lease.run_id, owner, 60, NOW)
            for store, owner in zip(stores, owners, strict=True)
        ),
        return_exceptions=True,
    )
    for store in (first, *stores):
        await store.close()
    return results


def test_two_engines_never_drive_one_run(url):
    results = asyncio.run(take_at_once(url))
    taken = [result for result in results if not isinstance(result, Exception)]
    refused = [result for result in results if isinstance(result, RunIsActive)]
    assert ([lease.token for lease in taken], len(refused)) == ([2], 1)


def test_control_without_the_lock_on_the_row_both_take_it(url, monkeypatch):
    unlocked = statements.SQL["lease"].replace("FOR NO KEY UPDATE", "")
    monkeypatch.setitem(statements.SQL, "lease", unlocked)
    assert [lease.token for lease in asyncio.run(take_at_once(url))] == [2, 2]


def test_the_write_of_a_stale_lease_is_refused_in_the_statement_itself(url):
    async def work():
        old, new = PostgresStore.open(url), PostgresStore.open(url)
        lease = await create(old)
        await old.append(lease, life(1))  # from here on it knows the end of the log, and asks nobody
        later = NOW + timedelta(hours=2)
        taken = await new.take_lease(lease.run_id, ELSEWHERE, 60, later)
        late = [old.append(lease, life(2)[2:]), old.append(lease, life(3)[4:], lazy=True)]
        results = await asyncio.gather(*late, return_exceptions=True)
        assert [type(result) for result in results] == [LeaseLost, LeaseLost]
        await new.append(taken, life(2)[2:])
        assert [each.event for each in await new.events(lease.run_id)][1:] == life(2)
        assert (await new.verify(lease.run_id)).ok
        await old.close()
        await new.close()

    asyncio.run(work())


def test_control_a_statement_that_asks_for_no_token_lets_it_through(postgres, url):
    async def work():
        old, new = PostgresStore.open(url), PostgresStore.open(url)
        name = database_of(url)
        (body,) = postgres.execute(
            "SELECT pg_get_functiondef(oid) FROM pg_proc WHERE proname = 'write_batch'", name
        )
        postgres.execute(
            "SET search_path = runwright;"
            + body[0].replace("token = the_token AND owner IS NOT NULL", "true"),
            name,
        )
        lease = await create(old)
        await old.append(lease, life(1))
        await new.take_lease(lease.run_id, ELSEWHERE, 60, NOW + timedelta(hours=2))
        await old.append(lease, life(2)[2:])
        assert len(await new.events(lease.run_id)) == 1 + len(life(2))
        await old.close()
        await new.close()

    asyncio.run(work())


def test_the_log_is_append_only_and_what_is_changed_all_the_same_is_found(postgres, url):
    async def work():
        store = PostgresStore.open(url)
        lease = await create(store)
        await store.append(lease, life(3))
        name = database_of(url)
        change = "UPDATE runwright.events SET body = '{}' WHERE seq = 3"
        with pytest.raises(psycopg.errors.RaiseException, match="append-only"):
            postgres.execute(change, name)
        assert (await store.verify(lease.run_id)).ok
        postgres.execute(f"SET session_replication_role = replica; {change}", name)
        report = await store.verify(lease.run_id)
        assert not report.ok
        assert "3" in report.problem
        await store.close()

    asyncio.run(work())


@pytest.mark.parametrize("name", ["no\0name", "".join(random.Random(1).choices("0123456789abcdef", k=9_000))])
def test_only_the_guilty_append_is_refused(url, name):
    async def work():
        store = PostgresStore.open(url)
        lease = await create(store)
        good, other = life(2)[:2], life(2)[2:]
        odd = life(1)[0]
        nameless = type(odd)(at=NOW, task_id=name, attempt=1)
        calls = [store.append(lease, [event]) for event in (*good, nameless, *other)]
        results = await asyncio.gather(*calls, return_exceptions=True)
        assert [type(result) for result in results] == [type(None)] * 2 + [StoreError] + [type(None)] * 2
        assert [each.event for each in await store.events(lease.run_id)][1:] == life(2)
        assert (await store.verify(lease.run_id)).ok
        await store.close()

    asyncio.run(work())


def test_a_run_whose_name_can_not_be_stored_says_why(url):
    async def work():
        store = PostgresStore.open(url)
        run = Run(id=run_id(), name="no\0name", definition=DEFINITION.digest, created_at=NOW)
        with pytest.raises(StoreError, match="may hold no NUL"):
            await store.create_run(run, DEFINITION, [], [], current_owner(), 60)
        assert await store.list_runs(RunFilter()) == []
        await create(store)
        await store.close()

    asyncio.run(work())


def test_a_store_that_is_given_up_takes_nothing_more(postgres, url):
    async def work():
        store = PostgresStore.open(url, patience=0)
        lease = await create(store)
        await asyncio.to_thread(postgres.stop, "immediate")
        try:
            with pytest.raises(StoreError, match=r"runwright resume|nobody listens"):
                await store.append(lease, life(1))
        finally:
            await asyncio.to_thread(postgres.start)
        with pytest.raises(StoreError):
            await store.append(lease, life(1))
        with pytest.raises(StoreError):
            await store.release_lease(lease)
        await store.close()

    asyncio.run(work())


def test_a_reader_of_an_empty_database_sees_what_comes_later(url):
    async def work():
        reader = PostgresStore.open(url, read_only=True)
        assert await reader.list_runs(RunFilter()) == []
        store = PostgresStore.open(url)
        await create(store)
        assert len(await reader.list_runs(RunFilter())) == 1
        with pytest.raises(StoreError, match="reading only"):
            await create(reader, 2)
        await store.close()
        await reader.close()

    asyncio.run(work())
