"""What every `RunStore` does; one suite for the stores on databases and for the fake."""

import asyncio
import os
import random
from datetime import UTC, datetime

import pytest
from msgspec import structs
from store_samples import (
    DEFINITION,
    OTHER,
    OWNER,
    World,
    at,
    begins,
    create,
    ends,
    history,
    new_run,
    rows,
    run_async,
    run_id,
    started,
)

from runwright.adapters.postgres import PostgresStore
from runwright.adapters.sqlite import SqliteStore
from runwright.core.errors import AmbiguousRunId, Failure, LeaseLost, RunIsActive, RunNotFound, StoreError
from runwright.core.events import AttemptsReserved, CancelRequested, RunEnded, RunResumed, TaskRetrying
from runwright.core.run import Definition, TaskCounts
from runwright.core.states import RunState, TaskRole, TaskState
from runwright.ports.stores import RunFilter
from runwright.testing.stores import MemoryStore


@pytest.fixture
def world():
    return World()


@pytest.fixture(params=["sqlite", "postgres", "memory"])
def check(request, world, tmp_path):
    """Run a test's coroutine on a fresh store."""

    def make():
        how = {"now": world.now, "is_alive": world.is_alive}
        if request.param == "sqlite":
            return SqliteStore.open(tmp_path / "runs.db", **how)
        if request.param == "postgres":
            return PostgresStore.open(request.getfixturevalue("postgres").create_database(), **how)
        return MemoryStore(**how)

    def checked(work):
        async def whole():
            store = make()
            try:
                return await work(store)
            finally:
                await store.close()

        return run_async(whole())

    return checked


def test_a_new_run_is_there_with_everything_given(check, world):
    async def work(store):
        run = new_run(
            tags=("nightly", "x"),
            options={"variables": {"a": "1"}},
            path="/w.toml",
            parent_id="p",
            kind="plan",
        )
        lease = await store.create_run(run, DEFINITION, rows("a", "b[k=v]"), [started()], OWNER, 60.0)
        assert (lease.run_id, lease.token, lease.expires_at) == (run.id, 1, at(61))
        found = await store.find_run(run.id)
        assert found == structs.replace(
            run,
            state=RunState.RUNNING,
            strategy="levels",
            started_at=at(),
            counts=TaskCounts(total=2, pending=2),
            owner=OWNER,
            lease_expires_at=at(61),
            head_seq=1,
            head_hash=found.head_hash,
        )
        assert len(found.head_hash) == 64
        assert await store.tasks(run.id) == rows("a", "b[k=v]")
        assert await store.definition(DEFINITION.digest) == DEFINITION
        stored = await store.events(run.id)
        assert [(each.seq, each.event, each.hash) for each in stored] == [(1, started(), found.head_hash)]

    check(work)


def test_a_task_goes_through_its_life(check):
    async def work(store):
        lease = await create(store)
        boom = Failure(code="E_EXIT", message="boom", exit_code=2)
        await store.append(lease, [AttemptsReserved(at=at(), attempts={"a": 1})])
        assert [(row.state, row.attempts) for row in await store.tasks(lease.run_id)] == [
            ("pending", 1),
            ("pending", 0),
        ]
        assert [(each.number, each.state) for each in await store.attempts(lease.run_id)] == [(1, "pending")]
        await store.append(lease, [begins("a")])
        row = (await store.tasks(lease.run_id))[0]
        assert (row.state, row.attempts, row.started_at, row.ended_at) == (TaskState.RUNNING, 1, at(1), None)
        await store.append(lease, [TaskRetrying(at=at(2), task_id="a", attempt=1, delay=0.5, failure=boom)])
        row = (await store.tasks(lease.run_id))[0]
        assert (row.state, row.failure, row.reason) == (
            TaskState.RUNNING,
            boom,
            "attempt 1 failed, the next follows after 0.5 s",
        )
        await store.append(lease, [begins("a", 2, 3)])
        await store.append(lease, [ends("a", attempt=2, seconds=4, value={"n": [1]}, variables={"v": "1"})])
        row = (await store.tasks(lease.run_id))[0]
        assert (row.state, row.attempts, row.started_at, row.ended_at) == (
            TaskState.SUCCEEDED,
            2,
            at(1),
            at(4),
        )
        assert (row.failure, row.reason, row.value, row.name) == (None, "", {"n": [1]}, "A")
        first, second = await store.attempts(lease.run_id)
        assert (first.state, first.started_at, first.ended_at, first.failure) == (
            TaskState.FAILED,
            at(1),
            at(2),
            boom,
        )
        assert (second.state, second.started_at, second.ended_at) == (TaskState.SUCCEEDED, at(3), at(4))
        (variable,) = await store.variables(lease.run_id)
        assert (variable.name, variable.value, variable.set_by, variable.set_at) == ("v", "1", "a", at(4))
        assert (await store.find_run(lease.run_id)).counts == TaskCounts(total=2, pending=1, succeeded=1)

    check(work)


def test_what_was_reserved_and_never_began_is_no_attempt(check):
    async def work(store):
        lease = await create(store)
        await store.append(lease, [AttemptsReserved(at=at(), attempts={"a": 1, "b": 1})])
        await store.append(lease, [ends("a", TaskState.CANCELLED, attempt=0, reason="stopped")])
        await store.append(
            lease, [AttemptsReserved(at=at(), attempts={"b": 1}), ends("b", TaskState.SKIPPED, attempt=0)]
        )
        assert await store.attempts(lease.run_id) == []
        assert [(row.attempts, row.reason) for row in await store.tasks(lease.run_id)] == [
            (0, "stopped"),
            (0, ""),
        ]
        assert (await store.verify(lease.run_id)).ok

    check(work)


def test_handlers_and_cleanups_get_rows_as_they_come_and_are_not_counted(check):
    async def work(store):
        lease = await create(store, tasks=rows("b[k=v]", "a"))
        await store.append(lease, [begins("notify@b[k=v]", role=TaskRole.HANDLER)])
        await store.append(lease, [ends("b[k=v].cleanup", attempt=1, role=TaskRole.CLEANUP)])
        await store.append(lease, [ends("notify@b[k=v]", role=TaskRole.HANDLER)])
        listed = [
            (row.id, row.key, row.role, row.level, row.state) for row in await store.tasks(lease.run_id)
        ]
        assert listed[2:] == [
            ("notify@b[k=v]", "notify", TaskRole.HANDLER, -1, TaskState.SUCCEEDED),
            ("b[k=v].cleanup", "b", TaskRole.CLEANUP, -1, TaskState.SUCCEEDED),
        ]
        assert (await store.find_run("latest")).counts == TaskCounts(total=2, pending=2)

    check(work)


def test_tasks_get_rows_as_they_come_and_are_counted(check):
    async def work(store):
        lease = await create(store, tasks=[])
        assert (await store.find_run(lease.run_id)).counts == TaskCounts()
        await store.append(lease, [begins("1"), ends("1"), begins("1.make [x]@y", seconds=3)])
        counts = (await store.find_run(lease.run_id)).counts
        assert counts == TaskCounts(total=2, running=1, succeeded=1)
        boom = Failure(code="E_EXIT", message="boom")
        await store.append(lease, [ends("1.make [x]@y", TaskState.FAILED, failure=boom, seconds=4)])
        await asyncio.gather(
            store.append(lease, [begins("1.z", seconds=5)], lazy=True),
            store.append(lease, [ends("1.z", TaskState.CANCELLED, seconds=6)], lazy=True),
            store.append(lease, [begins("1.a", seconds=7), ends("1.a", seconds=8)]),
        )
        listed = [
            (row.id, row.name, row.role, row.level, row.state, row.attempts)
            for row in await store.tasks(lease.run_id)
        ]
        assert listed == [
            ("1", "1", TaskRole.TASK, -1, TaskState.SUCCEEDED, 1),
            ("1.make [x]@y", "1.make [x]@y", TaskRole.TASK, -1, TaskState.FAILED, 1),
            ("1.z", "1.z", TaskRole.TASK, -1, TaskState.CANCELLED, 1),
            ("1.a", "1.a", TaskRole.TASK, -1, TaskState.SUCCEEDED, 1),
        ]
        counts = (await store.find_run(lease.run_id)).counts
        assert counts == TaskCounts(total=4, succeeded=2, failed=1, cancelled=1)
        assert (await store.verify(lease.run_id)).ok

    check(work)


def test_a_resume_that_keeps_leaves_such_tasks_as_they_are_and_new_ones_follow(check, world):
    async def work(store):
        lease = await create(store, tasks=[])
        boom = Failure(code="E_EXIT", message="boom")
        await store.append(lease, [begins("1"), ends("1"), begins("1.a"), begins("1.b")])
        await store.append(lease, [ends("1.a", TaskState.FAILED, failure=boom)])
        world.dead.add(OWNER.pid)
        taken = await store.take_lease(lease.run_id, OTHER, 60, at(100))
        kept = await store.tasks(lease.run_id)
        resumed = RunResumed(
            at=at(101),
            from_state=RunState.INTERRUPTED,
            resume_count=1,
            definition=DEFINITION.digest,
            strategy="sequential",
            workers=1,
            total=3,
            reused=1,
            keeps=True,
        )
        closed = ends("1.b", TaskState.CANCELLED, seconds=101, reason="its engine died")
        run = new_run(kind="goal", strategy="sequential", workers=1)
        await store.resume_run(taken, run, DEFINITION, kept, [resumed, closed])
        await store.append(taken, [begins("2", seconds=102), ends("2", seconds=103)])
        await store.append(taken, [begins("2.a", seconds=104), ends("2.a", seconds=105)])
        await store.append(taken, [RunEnded(at=at(106), state=RunState.SUCCEEDED)])
        found = await store.find_run("latest")
        assert found.counts == TaskCounts(total=5, succeeded=3, failed=1, cancelled=1)
        assert [row.id for row in await store.tasks(lease.run_id)] == ["1", "1.a", "1.b", "2", "2.a"]
        report = await store.verify(lease.run_id)
        assert report.ok, report.problem

    check(work)


def test_variables_from_outside_belong_to_the_command_line(check):
    async def work(store):
        lease = await create(store, events=[started(variables={"b": "1", "a": "2"})])
        await store.append(lease, [ends("a", variables={"b": "3"})])
        found = [(each.name, each.value, each.set_by) for each in await store.variables(lease.run_id)]
        assert found == [("a", "2", "--var"), ("b", "3", "a")]

    check(work)


def test_a_run_ends_and_keeps_its_reason(check, world):
    async def work(store):
        lease = await create(store)
        await store.append(lease, [CancelRequested(at=at(3), reason="SIGINT")])
        asked = await store.find_run(lease.run_id)
        assert asked.cancel_requested_at == at(3)
        assert await store.cancel_reason(lease.run_id) == "SIGINT"
        await store.append(lease, [RunEnded(at=at(5), state=RunState.CANCELLED, reason="SIGINT")])
        run = await store.find_run(lease.run_id)
        assert (run.state, run.reason, run.ended_at, run.cancel_requested_at) == (
            RunState.CANCELLED,
            "SIGINT",
            at(5),
            None,
        )
        assert await store.cancel_reason(lease.run_id) == ""
        world.time = at(10_000)
        assert (await store.find_run(lease.run_id)).state is RunState.CANCELLED

    check(work)


def test_a_cancel_is_asked_for_once_and_only_of_what_has_not_ended(check):
    async def work(store):
        lease = await create(store)
        assert await store.cancel_reason(lease.run_id) == ""
        run = await store.request_cancel(lease.run_id, at(7), "somebody")
        assert (run.cancel_requested_at, run.state) == (at(7), RunState.RUNNING)
        run = await store.request_cancel(lease.run_id, at(8), "another")
        assert run.cancel_requested_at == at(7)
        assert await store.cancel_reason(lease.run_id) == "somebody"
        await store.append(lease, [CancelRequested(at=at(9), reason="the engine")])
        assert await store.cancel_reason(lease.run_id) == "somebody"
        await store.append(lease, [RunEnded(at=at(9), state=RunState.CANCELLED)])
        assert (await store.request_cancel(lease.run_id, at(10), "late")).cancel_requested_at is None
        with pytest.raises(RunNotFound, match="runwright runs"):
            await store.request_cancel(run_id(9), at(), "nobody")

    check(work)


def test_appends_take_effect_in_order_and_all_of_a_call_or_none(check):
    async def work(store):
        lease = await create(store, tasks=rows(*(f"t{n}" for n in range(200))))
        done = []
        for n in range(200):
            done.append(store.append(lease, [begins(f"t{n}"), ends(f"t{n}")]))
        bad = (
            store.append(lease, [begins("t0", 2), ends("t0", attempt=2, value=object())])
            if _is_disk(store)
            else None
        )
        done.append(store.append(lease, [RunEnded(at=at(9), state=RunState.SUCCEEDED)]))
        await asyncio.gather(*done)
        if bad is not None:
            with pytest.raises(StoreError, match="JSON"):
                await bad
        kinds = [type(each.event).__name__ for each in await store.events(lease.run_id)]
        assert kinds == ["RunStarted", *["TaskStarted", "TaskEnded"] * 200, "RunEnded"]
        assert [each.seq for each in await store.events(lease.run_id, after=398, limit=2)] == [399, 400]
        assert await store.events(lease.run_id, after=402) == []
        check = await store.verify(lease.run_id)
        run = await store.find_run("latest")
        assert (check.ok, check.events, check.head) == (True, 402, run.head_hash)
        assert (run.head_seq, run.counts) == (402, TaskCounts(total=200, succeeded=200))

    check(work)


def _is_disk(store):
    return not isinstance(store, MemoryStore)


def test_two_runs_share_a_store(check):
    async def work(store):
        one, two = await create(store, 1), await create(store, 2)
        await asyncio.gather(*(store.append(lease, [begins("a")]) for lease in (one, two, one, two)))
        for lease in (one, two):
            assert [each.seq for each in await store.events(lease.run_id)] == [1, 2, 3]
            assert (await store.verify(lease.run_id)).ok
        heads = {(await store.find_run(lease.run_id)).head_hash for lease in (one, two)}
        assert len(heads) == 2

    check(work)


def test_a_live_lease_keeps_others_out(check, world):
    async def work(store):
        lease = await create(store)
        with pytest.raises(RunIsActive, match="process 100 on here"):
            await store.take_lease(lease.run_id, OTHER, 60, at(30))
        await store.renew_lease(lease, 60, at(50))
        with pytest.raises(RunIsActive):
            await store.take_lease(lease.run_id, OTHER, 60, at(109))
        taken = await store.take_lease(lease.run_id, OTHER, 60, at(110))
        assert (taken.token, taken.expires_at) == (2, at(170))
        with pytest.raises(RunNotFound):
            await store.take_lease(run_id(9), OTHER, 60, at())

    check(work)


@pytest.mark.parametrize("how", ["released", "lapsed", "dead"])
def test_a_free_lease_is_taken_and_the_former_is_worth_nothing(check, world, how):
    async def work(store):
        lease = await create(store)
        kept = store.append(lease, [begins("a")])
        if how == "released":
            await store.release_lease(lease)
        if how == "dead":
            world.dead.add(OWNER.pid)
        await kept
        now = at(100) if how == "lapsed" else at(5)
        taken = await store.take_lease(lease.run_id, OTHER, 60, now)
        assert taken.token == 2
        late = [
            store.append(lease, [begins("b")]),
            store.append(taken, [ends("a")]),
            store.append(lease, [ends("b")]),
        ]
        results = await asyncio.gather(*late, return_exceptions=True)
        assert [type(result) for result in results] == [LeaseLost, type(None), LeaseLost]
        for stale in (
            store.renew_lease(lease, 60, at(5)),
            store.resume_run(lease, new_run(), DEFINITION, rows("a"), []),
        ):
            with pytest.raises(LeaseLost, match="passed on"):
                await stale
        await store.release_lease(lease)
        await store.append(taken, [begins("b")])
        assert [row.state for row in await store.tasks(lease.run_id)] == ["succeeded", "running"]
        assert (await store.verify(lease.run_id)).ok

    check(work)


def test_a_released_lease_writes_no_more(check):
    async def work(store):
        lease = await create(store)
        await store.release_lease(lease)
        with pytest.raises(LeaseLost):
            await store.append(lease, [begins("a")])
        unknown = structs.replace(lease, run_id=run_id(9))
        with pytest.raises(LeaseLost):
            await store.append(unknown, [begins("a")])
        await store.release_lease(unknown)

    check(work)


def test_a_run_without_a_driver_is_interrupted(check, world):
    async def work(store):
        lease = await create(store)
        assert (await store.find_run("latest")).state is RunState.RUNNING
        world.time = at(61)
        assert (await store.find_run("latest")).state is RunState.INTERRUPTED
        await store.renew_lease(lease, 60, at(60))
        assert (await store.find_run("latest")).state is RunState.RUNNING
        world.dead.add(OWNER.pid)
        assert (await store.list_runs(RunFilter()))[0].state is RunState.INTERRUPTED
        world.dead.clear()
        await store.release_lease(lease)
        run = await store.find_run("latest")
        assert (run.state, run.owner, run.lease_expires_at) == (RunState.INTERRUPTED, None, None)

    check(work)


def test_a_resume_replaces_the_tasks_and_closes_what_was_open(check):
    async def work(store):
        lease = await create(store, tasks=rows("a", "b", "c"))
        await store.append(lease, [begins("a"), ends("a", variables={"v": "1"}), begins("b")])
        await store.append(lease, [AttemptsReserved(at=at(2), attempts={"c": 1})])
        await store.append(lease, [begins("notify@a", role=TaskRole.HANDLER)])
        await store.request_cancel(lease.run_id, at(3), "somebody")
        taken = await store.take_lease(lease.run_id, OTHER, 60, at(100))
        former = {row.id: row for row in await store.tasks(lease.run_id)}
        kept = [former["a"], *rows("d"), *(structs.replace(row, attempts=1) for row in rows("b"))]
        resumed = RunResumed(
            at=at(101),
            from_state=RunState.INTERRUPTED,
            resume_count=1,
            definition="e" * 64,
            strategy="sequential",
            workers=1,
            total=3,
            reused=1,
            redo={"b": "interrupted", "d": "is new"},
            added=("d",),
            removed=("c",),
            variables={"v": "2"},
        )
        second = Definition(digest="e" * 64, content=b"{}")
        run = new_run(
            definition=second.digest, options={"workers": 1}, strategy="sequential", workers=1, tags=("t",)
        )
        await store.resume_run(taken, run, second, kept, [resumed])
        found = await store.find_run("latest")
        assert (found.state, found.resume_count, found.definition) == (RunState.RUNNING, 1, second.digest)
        assert (found.options, found.tags, found.workers) == ({"workers": 1}, ("t",), 1)
        assert (found.counts, found.started_at, found.cancel_requested_at) == (
            TaskCounts(total=3, pending=2, succeeded=1),
            at(),
            None,
        )
        assert await store.cancel_reason(lease.run_id) == ""
        assert await store.tasks(lease.run_id) == kept
        closed = [(each.task_id, each.number, each.state) for each in await store.attempts(lease.run_id)]
        assert closed == [
            ("a", 1, "succeeded"),
            ("b", 1, "cancelled"),
            ("c", 1, "cancelled"),
            ("notify@a", 1, "cancelled"),
        ]
        interrupted = (await store.attempts(lease.run_id))[1]
        assert (interrupted.failure.code, interrupted.ended_at) == ("E_INTERRUPTED", at(101))
        assert [(each.value, each.set_by) for each in await store.variables(lease.run_id)] == [("2", "--var")]
        await store.append(
            taken, [begins("b", 2, 102), ends("b", attempt=2, seconds=103), begins("d", 1, 104)]
        )
        report = await store.verify(lease.run_id)
        assert report.ok, report.problem
        assert (await store.definition(DEFINITION.digest)).source

    check(work)


def test_runs_are_found_by_prefix(check):
    async def work(store):
        with pytest.raises(RunNotFound, match="no run yet"):
            await store.find_run("latest")
        for number in (0x10, 0x11, 0x2A, 0x100):
            await create(store, number)
        assert (await store.find_run("0000002a")).id == run_id(0x2A)
        assert (await store.find_run("0000002A00007")).id == run_id(0x2A)
        assert (await store.find_run("0000002A-0000-7")).id == run_id(0x2A)
        assert (await store.find_run(run_id(0x11).replace("-", ""))).id == run_id(0x11)
        assert (await store.find_run("Latest")).id == run_id(0x100)
        with pytest.raises(AmbiguousRunId, match=f"{run_id(0x10)}, {run_id(0x11)};"):
            await store.find_run("0000001")
        for unknown in ("f", "", "xyz", "0000002a-0000-7000-8000-00000000002b", "%", "latest1"):
            with pytest.raises(RunNotFound, match="runwright runs"):
                await store.find_run(unknown)

    check(work)


def test_no_more_than_five_candidates_are_named(check):
    async def work(store):
        for number in range(1, 9):
            await create(store, number)
        with pytest.raises(AmbiguousRunId) as caught:
            await store.find_run("0000")
        assert str(caught.value).count("-7000-") == 5
        assert ", ..." in str(caught.value)

    check(work)


async def _a_year_of_runs(store):
    plan = [
        (1, "etl", 4, RunState.SUCCEEDED),
        (2, "ci", 9, RunState.FAILED),
        (3, "etl", 2, None),
        (4, "ci", 1, None),
    ]
    for number, name, seconds, end in plan:
        tasks = rows(*(f"t{n}" for n in range(5 - number)))
        begun = started(at=at(number * 100.25))
        lease = await create(
            store, number, tasks, [begun], name=name, tags=("x",) if number % 2 else ("x", "y")
        )
        if end is not None:
            await store.append(lease, [RunEnded(at=at(number * 100.25 + seconds), state=end)])
        if number == 4:
            await store.renew_lease(lease, 10_000, at())


@pytest.mark.parametrize(
    ("which", "expected"),
    [
        (RunFilter(), [4, 3, 2, 1]),
        (RunFilter(name="ci"), [4, 2]),
        (RunFilter(tag="y"), [4, 2]),
        (RunFilter(tag="z"), []),
        (RunFilter(state=RunState.FAILED), [2]),
        (RunFilter(state=RunState.RUNNING), [4]),
        (RunFilter(state=RunState.INTERRUPTED), [3]),
        (RunFilter(state=RunState.PENDING), []),
        (RunFilter(since=at(200.5)), [4, 3, 2]),
        (RunFilter(since=at(200.6), until=at(400)), [3]),
        (RunFilter(until=at(200.5)), [1]),
        (RunFilter(min_duration=9), [4, 3, 2]),
        (RunFilter(sort="name"), [4, 2, 3, 1]),
        (RunFilter(sort="duration"), [3, 4, 2, 1]),
        (RunFilter(sort="tasks"), [1, 2, 3, 4]),
        (RunFilter(sort="state"), [2, 3, 4, 1]),
        (RunFilter(sort="state", limit=2, offset=1), [3, 4]),
        (RunFilter(limit=2), [4, 3]),
        (RunFilter(limit=2, offset=3), [1]),
        (RunFilter(offset=3), [1]),
    ],
)
def test_runs_are_listed(check, world, which, expected):
    async def work(store):
        await _a_year_of_runs(store)
        world.time = at(1000)
        assert [int(run.id[:8], 16) for run in await store.list_runs(which)] == expected

    check(work)


@pytest.mark.parametrize(
    ("which", "expected"),
    [
        (RunFilter(), [3, 2, 1]),
        (RunFilter(kind="plan"), [3, 2]),
        (RunFilter(kind="goal"), []),
        (RunFilter(parent=""), [3, 1]),
        (RunFilter(kind="plan", parent=""), [3]),
        (RunFilter(parent=run_id(1)), [2]),
    ],
)
def test_runs_are_listed_by_kind_and_by_the_run_they_are_parts_of(check, which, expected):
    async def work(store):
        await create(store, 1)
        await create(store, 2, kind="plan", parent_id=run_id(1), parent_task="a")
        await create(store, 3, kind="plan")
        assert [int(run.id[:8], 16) for run in await store.list_runs(which)] == expected

    check(work)


def test_what_is_unknown_is_empty_or_said(check):
    async def work(store):
        for read in (store.tasks, store.attempts, store.variables, store.events):
            assert await read(run_id(9)) == []
        assert await store.cancel_reason(run_id(9)) == ""
        assert await store.list_runs(RunFilter()) == []
        with pytest.raises(StoreError, match="no definition"):
            await store.definition("f" * 64)
        with pytest.raises(RunNotFound):
            await store.verify(run_id(9))

    check(work)


def test_an_id_is_used_once(check):
    async def work(store):
        await create(store)
        with pytest.raises(StoreError, match="already there"):
            await create(store)
        assert len(await store.list_runs(RunFilter())) == 1

    check(work)


def test_a_beginning_that_has_no_json_is_refused_whole(check):
    async def work(store):
        with pytest.raises(StoreError, match="JSON"):
            await create(store, events=[started(), ends("a", value=object())])
        assert await store.list_runs(RunFilter()) == []
        lease = await create(store)
        with pytest.raises(StoreError, match="JSON"):
            await store.resume_run(lease, new_run(), DEFINITION, [], [ends("a", value=object())])
        assert len(await store.tasks(lease.run_id)) == 2

    check(work)


def test_the_fake_cannot_tell_who_lives(world):
    async def work():
        store = MemoryStore()
        lease = await create(store, created_at=datetime.now(UTC))
        assert (await store.find_run(lease.run_id)).state is RunState.RUNNING
        caller = store.append(lease, [begins("a")])
        caller.cancel()
        await store.append(lease, [ends("a")])

    run_async(work())


def test_a_closed_store_takes_nothing_more(check):
    async def work(store):
        lease = await create(store)
        last = store.append(lease, [begins("a")])
        await store.close()
        await last
        await store.close()
        with pytest.raises(StoreError, match="closed"):
            await store.append(lease, [ends("a")])
        with pytest.raises(StoreError, match="closed"):
            await create(store, 2)

    check(work)


def test_a_caller_that_is_cancelled_harms_nobody(check):
    async def work(store):
        lease = await create(store)
        first, second = store.append(lease, [begins("a")]), store.append(lease, [ends("a")])
        first.cancel()
        await second
        assert len(await store.events(lease.run_id)) == 3

    check(work)


SEED = int(os.environ.get("RUNWRIGHT_SEED", "20260301"))


@pytest.mark.parametrize("number", range(12))
def test_every_store_makes_the_same_rows_of_the_same_events(number, tmp_path, postgres):
    seed = SEED + number
    print(f"RUNWRIGHT_SEED={SEED}, case {number}")

    async def work():
        dice = random.Random(seed)
        ids = [f"task{n}" for n in range(30)]
        events = list(history(dice, ids))
        stores = [
            SqliteStore.open(tmp_path / "runs.db"),
            MemoryStore(),
            SqliteStore.open(tmp_path / "single.db"),
            PostgresStore.open(postgres.create_database()),
        ]
        seen = []
        for place, store in enumerate(stores):
            lease = await create(store, tasks=rows(*ids), events=events[:1])
            left = events[1:]
            while left:
                size = 1 if place == 2 else dice.randint(1, 40)
                await asyncio.gather(*(store.append(lease, [event]) for event in left[:size]))
                left = left[size:]
            report = await store.verify(lease.run_id)
            assert report.ok, report.problem
            run = await store.find_run(lease.run_id)
            seen.append(
                (
                    run.counts,
                    run.head_hash,
                    await store.tasks(run.id),
                    await store.attempts(run.id),
                    await store.variables(run.id),
                    run.state,
                    await store.events(run.id),
                )
            )
            await store.close()
        assert seen[0] == seen[1] == seen[2] == seen[3]

    run_async(work())
