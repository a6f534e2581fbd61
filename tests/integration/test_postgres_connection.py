"""Connections to a real PostgreSQL: ways in that fail, migrations, and servers that are restarted."""

import asyncio
import threading

import psycopg
import pytest

from runwright.adapters import sql
from runwright.adapters.postgres import connection as connections
from runwright.adapters.postgres.address import parse
from runwright.adapters.postgres.connection import SCHEMA, Link, value
from runwright.adapters.postgres.pool import Pool
from runwright.core.errors import InternalError, StoreError, UsageError

NEWEST = sql.migrations("postgres")[-1][0]


@pytest.fixture
def url(postgres):
    return postgres.create_database()


@pytest.fixture
def link(url):
    link = Link.open(parse(url))
    yield link
    link.close()


def tables(url):
    with psycopg.connect(url) as connection:
        query = "SELECT table_name FROM information_schema.tables WHERE table_schema = %s"
        return {name for (name,) in connection.execute(query, (SCHEMA,))}


def test_a_fresh_database_is_migrated_once_whoever_comes_first(url):
    failed = []

    def open_and_close():
        try:
            Link.open(parse(url)).close()
        except StoreError as error:
            failed.append(error)

    threads = [threading.Thread(target=open_and_close) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not failed
    assert {"runs", "tasks", "events", "migrations"} <= tables(url)


def test_a_link_that_reads_makes_no_table_and_writes_nothing(url):
    link = Link.open(parse(url), read_only=True)
    assert link.is_empty
    with pytest.raises(StoreError, match="takes no writes"):
        link.run(lambda connection: connection.execute("CREATE TABLE public.mine (a int)"))
    link.close()
    assert tables(url) == set()


def test_a_newer_store_is_refused(url, link):
    link.run(lambda connection: connection.execute("INSERT INTO migrations VALUES (99, '0099_future')"))
    for read_only in (False, True):
        with pytest.raises(StoreError, match=r"newer Runwright.*version is 99.*--store"):
            Link.open(parse(url), read_only=read_only)


def test_a_migration_that_fails_leaves_the_old_version(url, link, monkeypatch):
    broken = (NEWEST + 1, "broken", "CREATE TABLE half (a int); SELECT nonsense")
    monkeypatch.setattr(connections, "migrations", lambda vendor: [*sql.migrations(vendor), broken])
    with pytest.raises(StoreError, match="nonsense"):
        Link.open(parse(url))
    assert "half" not in tables(url)
    assert link.run(connections.schema_version) == NEWEST


def test_what_is_acknowledged_is_durable_whatever_the_server_has_for_a_default(postgres, url):
    name = parse(url).shown.rpartition("/")[2]
    postgres.execute(f"ALTER DATABASE {name} SET synchronous_commit = off")
    with psycopg.connect(url) as control:
        assert value(control, "SHOW synchronous_commit") == "off"
    link = Link.open(parse(url))
    assert link.run(lambda connection: value(connection, "SHOW synchronous_commit")) == "on"
    link.close()


@pytest.mark.parametrize(
    ("change", "what"),
    [
        (lambda url: url.replace("s3cret", "gue55ed"), "user or the password is wrong.*PGPASSWORD"),
        (lambda url: url.rpartition("/")[0] + "/nowhere", "no such user or database.*createdb"),
        (lambda url: url.replace("127.0.0.1", "no-such-host.invalid"), "no such host"),
        (lambda url: url.rpartition(":")[0] + ":1/t", "nobody listens there"),
    ],
)
def test_a_way_in_that_fails_says_what_to_do_and_not_the_password(url, change, what):
    wrong = change(url)
    with pytest.raises(StoreError, match=what) as caught:
        Link.open(parse(wrong))
    error = caught.value
    while error is not None:
        assert "s3cret" not in str(error)
        assert "gue55ed" not in str(error)
        error = error.__cause__


@pytest.mark.parametrize(
    "wrong",
    [
        "postgresql://me:s3cret@more@host/db",
        "postgresql://me:s3cret/more@host/db",
        "postgresql://me:s3cret%zz@host/db",
        "postgresql://host/db?nonsense=s3cret",
        "postgresql://me:s3cret?user=x/y@host/db",
    ],
)
def test_a_url_that_is_not_well_formed_is_not_repeated(wrong):
    with pytest.raises(UsageError) as caught:
        parse(wrong)
    assert "s3cret" not in str(caught.value)
    assert caught.value.__cause__ is None


@pytest.mark.parametrize(
    ("url", "shown"),
    [
        ("postgresql://me:s3cret@host:7/db?sslmode=require", "postgresql://me@host:7/db"),
        ("postgres://host/db?user=me&password=s3cret", "postgresql://me@host/db"),
        ("postgresql:///db?host=/run/pg&port=7", "postgresql:///db?host=/run/pg"),
        ("postgresql://", "postgresql:///"),
    ],
)
def test_what_is_shown_of_a_url_has_no_password(url, shown):
    address = parse(url)
    assert address.shown == shown
    assert address.clean("a s3cret\n  text") == ("a *** text" if "s3cret" in url else "a s3cret text")


def test_an_old_server_and_one_that_loses_texts_are_refused(postgres, url, monkeypatch):
    monkeypatch.setattr(connections, "OLDEST_SERVER", 99)
    with pytest.raises(StoreError, match=r"this is PostgreSQL \d+; upgrade the server to 99"):
        Link.open(parse(url))
    monkeypatch.undo()
    postgres.execute("CREATE DATABASE latin ENCODING 'LATIN1' TEMPLATE template0")
    with pytest.raises(StoreError, match=r"keeps texts as LATIN1.*createdb --encoding UTF8"):
        Link.open(parse(postgres.url("latin")))


@pytest.mark.parametrize("mode", ["fast", "immediate"])
def test_a_link_comes_back_when_the_server_does(postgres, link, mode):
    link.run(lambda connection: connection.execute("CREATE TABLE kept (a int)"))
    postgres.restart(mode)
    link.transaction(lambda connection: connection.execute("INSERT INTO kept VALUES (1)"))
    assert link.run(lambda connection: value(connection, "SELECT count(*) FROM kept")) == 1


def test_work_that_is_broken_off_in_the_middle_is_done_again_whole(postgres, link):
    link.run(lambda connection: connection.execute("CREATE TABLE kept (a int)"))
    tries = []

    def work(connection):
        tries.append(connection)
        connection.execute("INSERT INTO kept VALUES (1)")
        if len(tries) == 1:
            postgres.restart("immediate")
        connection.execute("INSERT INTO kept VALUES (2)")

    link.transaction(work)
    assert len(tries) == 2
    assert link.run(lambda connection: value(connection, "SELECT sum(a) FROM kept")) == 3


def test_a_server_that_stays_away_is_given_up(postgres, url):
    link = Link.open(parse(url), patience=0.2)
    postgres.stop()
    try:
        with pytest.raises(StoreError, match=r"nobody listens there|connection was lost"):
            link.run(lambda connection: connection.execute("SELECT 1"))
    finally:
        postgres.start()
    link.run(lambda connection: connection.execute("SELECT 1"))
    link.close()


def test_a_pool_does_work_side_by_side_and_ends_what_was_begun(url, link):
    async def work():
        pool = Pool(parse(url), size=2)
        meet = threading.Barrier(2)

        def wait(connection):
            meet.wait(30)  # a single connection would never get the second one here
            return value(connection, "SELECT pg_backend_pid()")

        pids = await asyncio.gather(pool.run(wait), pool.transaction(wait))
        assert len(set(pids)) == 2
        last = asyncio.ensure_future(pool.run(lambda connection: value(connection, "SELECT 7")))
        await asyncio.sleep(0)
        await pool.close()
        await pool.close()
        assert await last == 7
        with pytest.raises(StoreError, match="closed"):
            await pool.run(wait)

    asyncio.run(work())


def test_a_pool_tells_bugs_from_refusals(url, link):
    async def work():
        pool = Pool(parse(url))
        with pytest.raises(InternalError, match="KeyError"):
            await pool.run(lambda connection: {}[1])
        with pytest.raises(StoreError, match="syntax"):
            await pool.run(lambda connection: connection.execute("nonsense"))
        waiting = asyncio.ensure_future(pool.run(lambda connection: connection.execute("SELECT 1")))
        await asyncio.sleep(0)
        waiting.cancel()
        assert await pool.run(lambda connection: value(connection, "SELECT 7")) == 7
        await pool.close()

    asyncio.run(work())
