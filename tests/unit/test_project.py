"""What events do to rows, and how rows are held against events."""

from datetime import UTC, datetime, timedelta

import pytest
from msgspec import structs

from runwright.core.audit import ChainCheck, Replay
from runwright.core.chain import canonical, genesis, links
from runwright.core.errors import Failure
from runwright.core.events import (
    AttemptsReserved,
    CancelRequested,
    RunEnded,
    RunResumed,
    RunStarted,
    TaskEnded,
    TaskRetrying,
    TaskStarted,
)
from runwright.core.lease import is_held, visible_state
from runwright.core.project import LATE_POSITION, Changes, definition_key
from runwright.core.rows import Rows
from runwright.core.run import Attempt, Owner, Run, TaskCounts, TaskRow, Variable
from runwright.core.runids import id_range
from runwright.core.states import RunState, TaskRole, TaskState

START = datetime(2026, 3, 1, tzinfo=UTC)
BOOM = Failure(code="E_EXIT", message="boom")


def at(seconds):
    return START + timedelta(seconds=seconds)


def rows(*ids):
    return Rows(
        Run(id="r", name="w", created_at=START), [TaskRow(id=name, key=name, name=name) for name in ids]
    )


def fold(*events, head=0):
    changes = Changes(head)
    changes.extend(events)
    return changes


def resumed(**fields):
    values = {
        "at": at(50),
        "from_state": RunState.FAILED,
        "resume_count": 1,
        "definition": "e",
        "strategy": "levels",
        "workers": 3,
        "total": 1,
        "reused": 0,
    }
    return RunResumed(**(values | fields))


def begin(name, attempt=1, seconds=1, **fields):
    return TaskStarted(at=at(seconds), task_id=name, attempt=attempt, **fields)


def end(name, attempt=1, seconds=2, state=TaskState.SUCCEEDED, **fields):
    return TaskEnded(at=at(seconds), task_id=name, attempt=attempt, state=state, **fields)


def test_a_life_in_one_batch_is_one_change():
    changes = fold(
        AttemptsReserved(at=at(0), attempts={"a": 1}),
        begin("a"),
        TaskRetrying(at=at(2), task_id="a", attempt=1, delay=1, failure=BOOM),
        begin("a", 2, 3),
        end("a", 2, 4, value=7),
        head=10,
    )
    (change,) = changes.tasks.values()
    assert (change.position, change.state, change.attempts) == (LATE_POSITION + 11, TaskState.SUCCEEDED, 2)
    assert (change.started_at, change.ended_at, change.failure, change.value) == (at(1), at(4), None, 7)
    assert [(each.number, each.seq, each.state) for each in changes.attempts.values()] == [
        (1, 11, "failed"),
        (2, 14, "succeeded"),
    ]
    assert changes.seq == 15


def test_batches_may_be_cut_anywhere():
    life = [
        RunStarted(
            at=at(0),
            workflow="w",
            definition="d",
            strategy="levels",
            workers=2,
            total=2,
            variables={"v": "0"},
        ),
        AttemptsReserved(at=at(0), attempts={"a": 1, "b": 1}),
        begin("a"),
        TaskRetrying(at=at(2), task_id="a", attempt=1, delay=1, failure=BOOM),
        AttemptsReserved(at=at(2), attempts={"a": 2}),
        begin("a", 2, 3),
        end("a", 2, 4, TaskState.FAILED, failure=BOOM, variables={"v": "1"}),
        begin("h@a", role=TaskRole.HANDLER),
        end("h@a", role=TaskRole.HANDLER),
        end("b", 0, 5, TaskState.CANCELLED, reason="a failed"),
        CancelRequested(at=at(6), reason="SIGINT"),
        CancelRequested(at=at(7), reason="again"),
        RunEnded(at=at(8), state=RunState.CANCELLED, reason="SIGINT"),
    ]
    results = []
    for cut in range(len(life) + 1):
        table = rows("a", "b")
        table.apply(fold(*life[:cut]))
        table.apply(fold(*life[cut:], head=cut))
        results.append((table.run, table.tasks, table.attempts, table.variables, table.cancel_reason))
    assert all(result == results[0] for result in results)
    run, tasks, attempts, variables, reason = results[0]
    assert (run.state, run.reason, run.started_at, run.ended_at) == (
        RunState.CANCELLED,
        "SIGINT",
        at(0),
        at(8),
    )
    assert (run.definition, run.workers, run.cancel_requested_at, reason) == ("d", 2, None, "")
    assert [(row.id, row.state, row.attempts) for row in tasks.values()] == [
        ("a", "failed", 2),
        ("b", "cancelled", 0),
        ("h@a", "succeeded", 1),
    ]
    assert list(attempts) == [("a", 1), ("a", 2), ("h@a", 1)]
    assert variables["v"].set_by == "a"


def test_a_request_to_cancel_stands_until_the_state_changes():
    table = rows()
    table.apply(fold(CancelRequested(at=at(1), reason="one")))
    table.apply(fold(CancelRequested(at=at(2), reason="two")))
    assert (table.run.cancel_requested_at, table.cancel_reason) == (at(1), "one")
    table.apply(fold(resumed(), CancelRequested(at=at(60), reason="three")))
    assert (table.run.cancel_requested_at, table.cancel_reason, table.run.state) == (
        at(60),
        "three",
        "running",
    )
    assert (table.run.resume_count, table.run.definition, table.run.workers) == (1, "e", 3)


def test_a_resume_closes_open_attempts_in_the_batch_and_before_it():
    table = rows("a", "b", "c")
    table.apply(fold(begin("a"), begin("b"), end("b")))
    table.apply(
        fold(
            begin("c"),
            TaskRetrying(at=at(2), task_id="c", attempt=1, delay=1, failure=BOOM),
            begin("c", 2),
            resumed(),
            head=3,
        )
    )
    states = {attempt.task_id: attempt.state for attempt in table.listed_attempts()}
    assert states == {"a": "cancelled", "b": "succeeded", "c": "cancelled"}
    assert table.attempts["c", 1][1].state is TaskState.FAILED


def test_what_is_reserved_twice_is_reserved_once():
    table = rows("a")
    for number in range(2):
        table.apply(fold(AttemptsReserved(at=at(number), attempts={"a": 1}), head=number))
    (attempt,) = table.listed_attempts()
    assert (attempt.state, attempt.started_at) == ("pending", at(0))


def test_what_was_reserved_for_an_unknown_task_makes_no_row():
    table = rows("a")
    table.apply(fold(AttemptsReserved(at=at(0), attempts={"z": 1})))
    assert list(table.tasks) == ["a"]


def test_an_end_without_a_start_still_counts_the_attempt():
    table = rows("a")
    table.apply(fold(end("a", 1, 5)))
    (attempt,) = table.listed_attempts()
    assert (attempt.started_at, attempt.ended_at, attempt.state) == (at(5), at(5), "succeeded")
    assert table.counts() == TaskCounts(total=1, succeeded=1)


@pytest.mark.parametrize(
    ("task_id", "key"),
    [("a", "a"), ("a[k=v]", "a"), ("h@a[k=v@x]", "h"), ("a.cleanup", "a"), ("a[k=v].cleanup", "a")],
)
def test_the_key_of_a_definition(task_id, key):
    assert definition_key(task_id) == key


HISTORY = [begin("a"), end("a", variables={"v": "1"}), begin("b"), begin("h@a", role=TaskRole.HANDLER)]


def replayed(events, tamper=lambda table: None, tasks=("a", "b", "c")):
    table = rows(*tasks)
    replay = Replay()
    for number, event in enumerate(events):
        table.apply(fold(event, head=number))
        if isinstance(event, RunResumed):
            table.tasks = {
                row.id: structs.replace(row, state=TaskState.PENDING) if row.id in event.redo else row
                for row in table.tasks.values()
                if row.id not in event.removed
            }
    tamper(table)
    replay.extend(events)
    return replay.problem(
        list(table.tasks.values()), table.listed_attempts(), list(table.variables.values()), table.counts()
    )


def test_rows_that_agree_have_no_problem():
    assert replayed(HISTORY) == ""
    assert replayed([]) == ""


def test_a_resume_begins_a_new_chapter():
    events = [*HISTORY, resumed(redo={"b": "it was running"}, removed=("c", "a"), added=("d",))]

    def drop_handler(table):
        del table.tasks["h@a"]

    assert replayed(events, drop_handler) == ""
    left_out = [*HISTORY, resumed(redo={"a": "named by --only"}), begin("a", 2), end("a", 2)]

    def leave_out(table):
        for name in ("b", "c"):
            table.tasks[name] = structs.replace(table.tasks[name], state=TaskState.CANCELLED)

    assert replayed(left_out, leave_out) == ""
    assert "task b is running in its row, but cancelled by the events" in replayed(left_out)
    assert "h@a is running by the events, but has no row" in replayed(HISTORY, drop_handler)


@pytest.mark.parametrize(
    ("tamper", "problem"),
    [
        (
            lambda t: t.tasks.update(a=structs.replace(t.tasks["a"], state=TaskState.FAILED)),
            "task a is failed in its row",
        ),
        (
            lambda t: t.tasks.update(c=structs.replace(t.tasks["c"], state=TaskState.RUNNING)),
            "but pending by the events",
        ),
        (lambda t: t.tasks.pop("b"), "task b is running by the events, but has no row"),
        (lambda t: t.attempts.pop(("a", 1)), "attempt 1 of task a is missing in its row"),
        (
            lambda t: t.attempts.update(
                {("z", 1): (9, Attempt(task_id="z", number=1, state=TaskState.FAILED, started_at=START))}
            ),
            "attempt 1 of task z is failed in its row, but unknown by the events",
        ),
        (lambda t: t.variables.pop("v"), "variable v"),
        (
            lambda t: t.variables.update(w=Variable(name="w", value="", set_by="a", set_at=START)),
            "variable w",
        ),
    ],
)
def test_rows_that_disagree_are_named(tamper, problem):
    assert problem in replayed(HISTORY, tamper)


def test_counts_that_disagree_are_named():
    replay = Replay()
    replay.extend([])
    assert "counts" in replay.problem(list(rows("a").tasks.values()), [], [], TaskCounts())


def chain(bodies=None):
    bodies = canonical(HISTORY) if bodies is None else bodies
    return bodies, links(genesis("r", START), 1, "r", bodies)


def test_a_log_is_followed_in_pieces():
    bodies, made = chain()
    check = ChainCheck("r", genesis("r", START))
    assert check.follow([1, 2], bodies[:2], made[:2])
    assert check.follow([3, 4], bodies[2:], made[2:])
    assert check.end(4, made[-1])
    assert (check.events, check.head, check.problem) == (4, made[-1], "")


def test_the_first_fault_of_a_log_is_named():
    bodies, made = chain()
    for seqs, some, problem in (
        ([1, 3], [0, 2], "event 2 is missing"),
        ([1, 2], [1, 0], "event 1 is not what was recorded"),
    ):
        check = ChainCheck("r", genesis("r", START))
        assert not check.follow(seqs, [bodies[n] for n in some], [made[n] for n in some])
        assert problem in check.problem
        assert not check.end(4, made[-1])
        assert problem in check.problem


def test_a_head_that_disagrees_is_named():
    bodies, made = chain()
    for seq, link, problem in (
        (5, made[3], "event 5 is missing"),
        (3, made[3], "names event 3"),
        (4, made[2], "names event 4"),
    ):
        check = ChainCheck("r", genesis("r", START))
        assert check.follow([1, 2, 3, 4], bodies, made)
        assert not check.end(seq, link)
        assert problem in check.problem


def test_a_chained_body_that_is_no_event_is_named():
    bodies, made = chain([b'{"kind":"never"}'])
    check = ChainCheck("r", genesis("r", START))
    assert not check.follow([1], bodies, made)
    assert "can't be read" in check.problem


OWNER = Owner(host="h", boot_id="b", pid=1, process_started="1")


@pytest.mark.parametrize(
    ("owner", "expires", "alive", "held"),
    [
        (OWNER, 10, True, True),
        (OWNER, 10, None, True),
        (OWNER, 10, False, False),
        (OWNER, 5, True, False),
        (None, 10, None, False),
    ],
)
def test_who_holds_a_lease(owner, expires, alive, held):
    assert is_held(owner, at(expires), at(5), alive) is held
    assert not is_held(owner, None, at(5), alive)


def test_a_run_that_nobody_drives_is_interrupted():
    assert visible_state(RunState.RUNNING, False) is RunState.INTERRUPTED
    assert visible_state(RunState.PENDING, False) is RunState.INTERRUPTED
    assert visible_state(RunState.RUNNING, True) is RunState.RUNNING
    assert visible_state(RunState.FAILED, False) is RunState.FAILED


@pytest.mark.parametrize(
    ("prefix", "first"),
    [
        ("0190", "0190"),
        (" 01900000-", "01900000"),
        ("019000001", "01900000-1"),
        ("0190AAAA-BBBB-7", "0190aaaa-bbbb-7"),
        ("0190aaaabbbb7ccc8ddd1", "0190aaaa-bbbb-7ccc-8ddd-1"),
    ],
)
def test_prefixes_of_ids(prefix, first):
    assert id_range(prefix) == (first, first + "g")


@pytest.mark.parametrize("prefix", ["", "-", "xyz", "01%"])
def test_what_is_no_prefix(prefix):
    assert id_range(prefix) == ("", "")
