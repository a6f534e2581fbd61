"""What a resume reuses and what it runs again, and why."""

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from msgspec import structs

from runwright.core.errors import DefinitionError
from runwright.core.graph import build
from runwright.core.options import ResumePlan, RunOptions
from runwright.core.resume import Resumption, changed_tasks, plan_resume
from runwright.core.run import TaskRow
from runwright.core.states import TaskRole, TaskState
from runwright.core.workflow import TaskDefinition, Workflow

START = datetime(2026, 1, 1, tzinfo=UTC)


def flow(env: dict[str, str] | None = None, **tasks: dict[str, Any]) -> Workflow:
    made = {
        key: TaskDefinition(**{"key": key, "name": key, "cmd": key, **more}) for key, more in tasks.items()
    }
    return Workflow(name="w", tasks=made, env=env or {})


CHAIN = {"a": {}, "b": {"depends_on": ("a",)}, "c": {"depends_on": ("b",)}, "d": {}}


def row(row_id: str, state: str, attempts: int = 1, **more: Any) -> TaskRow:
    ended = START + timedelta(seconds=1) if state == "succeeded" else None
    fields = {"ended_at": ended, "attempts": attempts, **more}
    key = row_id.partition("[")[0]
    return TaskRow(id=row_id, key=key, name=key, state=TaskState(state), **fields)


def rows(**states: str) -> list[TaskRow]:
    return [row(row_id, state) for row_id, state in states.items()]


def resume(before: Workflow, after: Workflow, found: list[TaskRow], **options: Any) -> Resumption:
    return plan_resume("run", before, build(after), found, RunOptions(**options))


def plan(before: Workflow, after: Workflow, found: list[TaskRow], **options: Any) -> ResumePlan:
    return resume(before, after, found, **options).plan


def test_what_succeeded_stands() -> None:
    found = rows(a="succeeded", b="failed", c="cancelled", d="succeeded")
    made = resume(flow(**CHAIN), flow(**CHAIN), found)
    assert made.plan == ResumePlan(
        run_id="run",
        reuse={"a": "succeeded in attempt 1", "d": "succeeded in attempt 1"},
        redo={"b": "failed", "c": "cancelled"},
    )
    assert made.kept == {0: TaskState.SUCCEEDED, 1: TaskState.SUCCEEDED}


@pytest.mark.parametrize(
    ("found", "reason"),
    [
        (row("a", "failed", reason="exit status 3"), "failed: exit status 3"),
        (row("a", "cancelled", reason="Ctrl-C"), "cancelled: Ctrl-C"),
        (row("a", "cancelled"), "cancelled"),
        (row("a", "skipped", 0), "was skipped; its condition is checked again"),
        (row("a", "running", 2), "was interrupted in attempt 2"),
        (row("a", "pending", 1), "was interrupted in attempt 1"),
        (row("a", "pending", 0), "had not started"),
    ],
)
def test_each_state_has_its_reason(found: TaskRow, reason: str) -> None:
    assert plan(flow(a={}), flow(a={}), [found]).redo == {"a": reason}


def test_what_changed_runs_again_with_all_that_follows() -> None:
    after = flow(**{**CHAIN, "a": {"cmd": "other", "condition": "x == 1"}})
    found = rows(a="succeeded", b="succeeded", c="failed", d="succeeded")
    made = plan(flow(**CHAIN), after, found)
    assert made.redo == {
        "a": "its cmd, if changed",
        "b": "depends on a task that runs again",
        "c": "failed",
    }
    assert made.changed == {"a": ("cmd", "if")}
    assert list(made.reuse) == ["d"]


def test_what_failed_and_changed_makes_what_follows_run_again() -> None:
    after = flow(**{**CHAIN, "a": {"cmd": "other"}})
    found = [row("a", "failed", ignored=True), *rows(b="succeeded", c="succeeded", d="succeeded")]
    made = plan(flow(**CHAIN), after, found)
    assert made.redo["a"] == "failed; its cmd changed"
    assert list(made.redo) == ["a", "b", "c"]


def test_what_only_failed_leaves_what_follows_alone() -> None:
    reason = "the file has changed"
    found = [
        row("a", "failed", ignored=True, reason=reason),
        *rows(b="succeeded", c="succeeded", d="succeeded"),
    ]
    made = plan(flow(**CHAIN), flow(**CHAIN), found)
    assert made.redo == {"a": "failed: the file has changed"}


def test_the_environment_of_all_changes_all() -> None:
    found = rows(a="succeeded", b="failed")
    made = plan(flow(a={}, b={}), flow({"A": "1"}, a={}, b={"env": {"B": "1"}}), found)
    assert made.changed == {"a": ("env",), "b": ("env",)}
    assert made.redo == {"a": "its env changed", "b": "failed; its env changed"}


def test_a_value_that_tasks_could_read_changes_all() -> None:
    before = structs.replace(flow(a={}), variables={"v": "1"})
    for after, changed in (({"v": "2"}, True), ({}, True), ({"v": "1", "w": "1"}, False)):
        fields = changed_tasks(before, structs.replace(before, variables=after))
        assert fields == ({"a": ("variables",)} if changed else {})


def test_the_configuration_of_an_executor_changes_its_tasks() -> None:
    before = flow(a={"executor": "special.x"}, b={})
    after = structs.replace(before, executors={"special": {"env": {"A": "1"}}})
    assert changed_tasks(before, after) == {"a": ("executor",)}


def test_what_people_read_changes_nothing() -> None:
    after = flow(a={"name": "other", "description": "d", "tags": ("t",)})
    assert changed_tasks(flow(a={}), after) == {}


def test_a_new_task_and_one_that_is_gone() -> None:
    found = [*rows(a="failed", old="succeeded"), row("h@a", "succeeded", role=TaskRole.HANDLER)]
    made = plan(flow(a={}, old={}), flow(a={}, new={}), found)
    assert (made.added, made.removed) == (("new",), ("old",))
    assert made.redo == {"a": "failed", "new": "is new"}


def test_from_runs_a_task_and_all_that_follows() -> None:
    found = rows(a="succeeded", b="succeeded", c="succeeded", d="failed")
    made = plan(flow(**CHAIN), flow(**CHAIN), found, start_from=("b",))
    assert made.redo == {"b": "named by --from", "c": "depends on a task that runs again", "d": "failed"}


def test_only_runs_nothing_else() -> None:
    found = rows(a="succeeded", b="failed", c="cancelled", d="succeeded")
    made = resume(flow(**CHAIN), flow(**CHAIN), found, only=("b", "d"))
    assert made.plan.redo == {"d": "named by --only", "b": "failed"}
    assert made.plan.reuse == {"a": "succeeded in attempt 1"}
    assert made.kept == {0: TaskState.SUCCEEDED, 3: TaskState.CANCELLED}


def test_only_leaves_out_what_has_no_row() -> None:
    made = resume(flow(a={}), flow(a={}, new={}), rows(a="failed"), only=("a",))
    assert made.kept == {1: TaskState.CANCELLED}
    assert made.plan.reuse == {}


@pytest.mark.parametrize("option", ["only", "start_from"])
def test_an_unknown_name_is_refused(option: str) -> None:
    with pytest.raises(DefinitionError, match='no task "x"'):
        plan(flow(a={}), flow(a={}), rows(a="failed"), **{option: ("x",)})


def cleanup(started: datetime | None) -> TaskRow:
    return row("a.cleanup", "succeeded", role=TaskRole.CLEANUP, started_at=started)


def test_what_a_cleanup_has_undone_runs_again() -> None:
    found = [
        *rows(a="succeeded", b="succeeded", c="failed", d="succeeded"),
        cleanup(START + timedelta(seconds=2)),
    ]
    made = plan(flow(**CHAIN), flow(**CHAIN), found)
    assert made.redo == {
        "a": "its cleanup has undone it",
        "b": "depends on a task that runs again",
        "c": "failed",
    }


@pytest.mark.parametrize("started", [None, START])
def test_a_cleanup_before_the_task_has_undone_nothing(started: datetime | None) -> None:
    found = [*rows(a="succeeded", b="failed", c="cancelled", d="succeeded"), cleanup(started)]
    assert list(plan(flow(**CHAIN), flow(**CHAIN), found).redo) == ["b", "c"]


def test_a_cleanup_of_what_did_not_succeed_tells_nothing() -> None:
    found = [row("a", "failed", ended_at=START), cleanup(START + timedelta(seconds=2))]
    assert plan(flow(a={}), flow(a={}), found).redo == {"a": "failed"}
    assert plan(flow(a={}), flow(a={}), [cleanup(START)]).redo == {"a": "is new"}


def test_where_nothing_is_left_to_do_cleanups_are_not_asked() -> None:
    found = [*rows(a="succeeded"), cleanup(START + timedelta(seconds=2))]
    assert plan(flow(a={}), flow(a={}), found).redo == {}


def test_matrix_nodes_are_told_apart() -> None:
    matrix = {"a": {"matrix": {"m": ("1", "2")}}, "b": {"depends_on": ("a[m=1]",)}}
    found = [row("a[m=1]", "succeeded"), row("a[m=2]", "failed"), row("b", "succeeded")]
    assert plan(flow(**matrix), flow(**matrix), found).redo == {"a[m=2]": "failed"}
    assert list(plan(flow(**matrix), flow(**matrix), found, start_from=("a[m=1]",)).redo) == [
        "a[m=1]",
        "a[m=2]",
        "b",
    ]
