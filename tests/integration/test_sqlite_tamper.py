"""Nothing in the log of a run, or in its rows, can be changed unseen."""

import asyncio

import apsw
import pytest
from stored import life, make, run_id

from runwright.adapters.sqlite import SqliteStore

OPEN = "DROP TRIGGER events_never_change;"


def tampered(tmp_path, statements, events=20):
    """Return what `verify` finds after somebody ran SQL on the file."""
    path = tmp_path / "runs.db"
    asyncio.run(make(path, events=events))
    database = apsw.Connection(str(path))
    database.execute(statements)
    database.close()

    async def work():
        store = SqliteStore.open(path, read_only=True)
        try:
            return await store.verify(run_id())
        finally:
            await store.close()

    return asyncio.run(work())


def test_an_untouched_run_is_in_order(tmp_path):
    report = tampered(tmp_path, "")
    assert (report.ok, report.events, report.problem) == (True, 21, "")


@pytest.mark.parametrize(
    ("statements", "problem"),
    [
        (
            OPEN + "UPDATE events SET body = replace(body, 'task_1', 'task_2') WHERE seq = 5",
            "event 5 is not what was",
        ),
        (OPEN + "UPDATE events SET body = body || ' ' WHERE seq = 5", "event 5 is not what was"),
        (OPEN + "UPDATE events SET hash = zeroblob(32) WHERE seq = 7", "event 7 is not what was"),
        ("DELETE FROM events WHERE seq = 4", "event 4 is missing"),
        ("DELETE FROM events WHERE seq > 19", "event 20 is missing: the log ends before event 21"),
        ("DELETE FROM events", "event 1 is missing"),
        (
            OPEN + "UPDATE events SET seq = 100 WHERE seq = 5; UPDATE events SET seq = 5 WHERE seq = 6;"
            "UPDATE events SET seq = 6 WHERE seq = 100",
            "event 5 is not what was",
        ),
        (OPEN + "UPDATE events SET seq = seq + 100", "event 1 is missing"),
        (
            "INSERT INTO events (run, seq, body, hash) SELECT run, 22, body, hash FROM events WHERE seq = 21",
            "event 22 is not what was",
        ),
        ("UPDATE runs SET head_seq = 20", "the run's head names event 20"),
        ("UPDATE runs SET head_hash = zeroblob(32)", "the run's head names event 21"),
        ("UPDATE runs SET created_at = '2020-01-01T00:00:00.000000Z'", "event 1 is not what was"),
        (
            "UPDATE tasks SET state = 'failed' WHERE id = 'task_3'",
            "task task_3 is failed in its row, but succeeded",
        ),
        (
            "UPDATE tasks SET state = 'succeeded' WHERE id = 'task_30'",
            "task task_30 is succeeded in its row, but pending",
        ),
        ("DELETE FROM tasks WHERE id = 'task_3'", "task task_3 is succeeded by the events, but has no row"),
        (
            "UPDATE attempts SET state = 'failed' WHERE task_id = 'task_3'",
            "attempt 1 of task task_3 is failed in its row",
        ),
        ("DELETE FROM attempts WHERE task_id = 'task_3'", "attempt 1 of task task_3 is missing"),
        ("UPDATE variables SET value = 'x'", "variable v is not what"),
        ("UPDATE runs SET pending = pending + 1", "counts"),
        ("UPDATE attempts SET state = 'odd' WHERE task_id = 'task_3'", "a row can't be read"),
    ],
)
def test_a_change_is_found(tmp_path, statements, problem):
    report = tampered(tmp_path, statements)
    assert not report.ok
    assert problem in report.problem


def test_the_log_refuses_a_change_by_itself(tmp_path):
    with pytest.raises(apsw.ConstraintError, match="append-only"):
        tampered(tmp_path, "UPDATE events SET body = '{}'")


def test_a_log_rewritten_with_its_chain_is_found_by_its_rows_or_its_head(tmp_path):
    from runwright.core.chain import canonical, genesis, links

    path = tmp_path / "runs.db"
    asyncio.run(make(path, events=4))

    async def head():
        store = SqliteStore.open(path, read_only=True)
        run = await store.find_run("latest")
        report = await store.verify(run.id)
        await store.close()
        return run, report

    run, report = asyncio.run(head())
    database = apsw.Connection(str(path))
    bodies = [
        bytes(body) for (body,) in database.execute("SELECT CAST(body AS BLOB) FROM events ORDER BY seq")
    ]
    bodies[-1] = canonical(life(2)[3:])[0].replace(b"succeeded", b"failed")
    made = links(genesis(run.id, run.created_at), 1, run.id, bodies)
    database.execute(OPEN)
    for seq, (body, link) in enumerate(zip(bodies, made, strict=True), 1):
        database.execute("UPDATE events SET body = ?, hash = ? WHERE seq = ?", (body.decode(), link, seq))
    database.execute("UPDATE runs SET head_hash = ?", (made[-1],))
    database.close()
    _, forged = asyncio.run(head())
    assert forged.problem.startswith("task task_1 is succeeded in its row, but failed")
    assert forged.head != report.head
