"""The decisions of plans as pure functions: what is next, what a log says, what a resume does."""

from datetime import UTC, datetime

import pytest

from runwright.core.errors import Failure, UsageError
from runwright.core.events import AnyEvent, RunResumed, StateSaved, TaskEnded, TaskRetrying, TaskStarted
from runwright.core.plan import (
    Abandon,
    Again,
    Begin,
    Call,
    CleanUp,
    End,
    Finish,
    Hook,
    PauseDefinition,
    PlanDefinition,
    PlanProgress,
    StepDefinition,
    Wait,
    has_cleanup,
    next_action,
    timeout_reason,
)
from runwright.core.planlog import PlanLog, PlanResume, Standing, merged, plan_resume, row_id
from runwright.core.project import INTERRUPTED
from runwright.core.states import RunState, TaskRole, TaskState

AT = datetime(2026, 1, 1, tzinfo=UTC)
NO = Failure(code="E_X", message="no")
NEVER_AGAIN = Failure(code="E_SECRET", message="no")
SUCCEEDED, FAILED, CANCELLED = TaskState.SUCCEEDED, TaskState.FAILED, TaskState.CANCELLED


def step(name: str, *hooks: Hook, **fields: object) -> StepDefinition:
    return StepDefinition(name=name, hooks=dict.fromkeys(hooks or tuple(Hook), ()), **fields)  # type: ignore[arg-type]


def plan_of(*elements: StepDefinition | PauseDefinition, **fields: object) -> PlanDefinition:
    return PlanDefinition(name="p", elements=elements, **fields)  # type: ignore[arg-type]


AB = plan_of(step("a"), PauseDefinition(name="pause-1", seconds=2.0), step("b", Hook.EXEC))


# -- what is next ----------------------------------------------------------------------------------------------


def test_one_execution_action_by_action() -> None:
    progress = PlanProgress(AB)
    expected: list[tuple[object, object]] = [
        (Begin(0, 1), progress.begun),
        (Call(0, Hook.PRE_EXEC), lambda: progress.hook_ended(None)),
        (Call(0, Hook.EXEC), lambda: progress.hook_ended(None)),
        (Call(0, Hook.POST_EXEC), lambda: progress.hook_ended(None)),
        (End(0, 1, SUCCEEDED), lambda: progress.ended(End(0, 1, SUCCEEDED))),
        (Begin(1, 1), progress.begun),
        (Wait(1, 2.0), progress.waited),
        (End(1, 1, SUCCEEDED), lambda: progress.ended(End(1, 1, SUCCEEDED))),
        (Begin(2, 1), progress.begun),
        (Call(2, Hook.EXEC), lambda: progress.hook_ended(None)),
        (End(2, 1, SUCCEEDED), lambda: progress.ended(End(2, 1, SUCCEEDED))),
        (CleanUp(0), lambda: progress.cleaned(0, None)),
        (Finish(RunState.SUCCEEDED, ""), lambda: None),
    ]
    for action, then in expected:
        assert next_action(progress) == action
        assert next_action(progress) == action, "asking changes nothing"
        then()  # type: ignore[operator]


def failing(plan: PlanDefinition, failure: Failure = NO) -> PlanProgress:
    progress = PlanProgress(plan)
    progress.begun()
    progress.hook_ended(failure)
    return progress


def test_a_failure_that_can_only_repeat_itself_is_not_retried() -> None:
    plan = plan_of(step("a", retries=3, retry_delay=1.5))
    assert next_action(failing(plan)) == Again(0, 1, 1.5, NO)
    assert next_action(failing(plan, NEVER_AGAIN)) == End(0, 1, FAILED, NEVER_AGAIN, "no")


def test_a_stopped_plan_tries_nothing_again() -> None:
    progress = failing(plan_of(step("a", retries=3)))
    progress.stop("lunch")
    assert next_action(progress) == End(0, 1, FAILED, NO, "no")


def test_what_was_broken_off_is_cancelled_with_the_reason() -> None:
    progress = PlanProgress(AB)
    progress.begun()
    progress.stop("lunch")
    progress.stop("dinner")
    progress.interrupted()
    stopped = Failure(code="E_CANCELLED", message="lunch")
    assert next_action(progress) == End(0, 1, CANCELLED, stopped, "lunch")
    progress.ended(End(0, 1, CANCELLED, stopped, "lunch"))
    assert next_action(progress) == Abandon((1, 2), "lunch")
    progress.abandoned()
    assert next_action(progress) == Finish(RunState.CANCELLED, "lunch")
    progress.stop_reason = ""
    progress.stop("too late")
    assert progress.stop_reason == ""


def test_attempts_are_counted_on_but_retries_anew_in_a_resume() -> None:
    progress = PlanProgress(plan_of(step("a", retries=1)), attempts={0: 4})
    assert next_action(progress) == Begin(0, 5)
    progress.begun()
    progress.hook_ended(NO)
    assert isinstance(next_action(progress), Again)


def test_a_failed_plan_names_the_failed_step_in_what_never_starts() -> None:
    progress = failing(AB)
    progress.ended(End(0, 1, FAILED, NO, "no"))
    assert next_action(progress) == Abandon((1, 2), "a failed")
    progress.abandoned()
    assert next_action(progress) == Finish(RunState.FAILED, "a failed: no")


def test_small_things() -> None:
    assert (has_cleanup(AB, 0), has_cleanup(AB, 1), has_cleanup(AB, 2)) == (True, False, False)
    assert (row_id(step("a"), Hook.EXEC), row_id(step("a"), Hook.CLEANUP)) == ("a", "a.cleanup")
    assert timeout_reason(1.5).endswith("1.5 s")


# -- what a log says -------------------------------------------------------------------------------------------


def began(name: str, attempt: int = 1) -> AnyEvent:
    return TaskStarted(at=AT, task_id=name, attempt=attempt)


def ended(
    name: str, state: TaskState = SUCCEEDED, attempt: int = 1, failure: Failure | None = None
) -> AnyEvent:
    return TaskEnded(at=AT, task_id=name, attempt=attempt, state=state, failure=failure)


def again(name: str) -> AnyEvent:
    return TaskRetrying(at=AT, task_id=name, attempt=1, delay=0.0, failure=NO)


def cleaning(name: str) -> AnyEvent:
    return TaskStarted(at=AT, task_id=f"{name}.cleanup", attempt=1, role=TaskRole.CLEANUP)


def cleaned(name: str, state: TaskState = SUCCEEDED) -> AnyEvent:
    return TaskEnded(at=AT, task_id=f"{name}.cleanup", attempt=1, state=state, role=TaskRole.CLEANUP)


def resumed(*redo: str) -> AnyEvent:
    return RunResumed(
        at=AT,
        from_state=RunState.FAILED,
        resume_count=1,
        definition="d",
        strategy="sequential",
        workers=1,
        total=3,
        reused=0,
        redo=dict.fromkeys(redo, "so"),
        keeps=True,
    )


@pytest.mark.parametrize(
    ("events", "standing"),
    [
        ([], None),
        ([began("a")], Standing.IN_DOUBT),
        ([began("a"), again("a")], Standing.NOTHING),
        ([began("a"), again("a"), began("a", 2)], Standing.IN_DOUBT),
        ([began("a"), ended("a")], Standing.DONE),
        ([began("a"), ended("a", FAILED)], Standing.NOTHING),
        ([began("a"), ended("a", CANCELLED)], Standing.NOTHING),
        ([ended("a", CANCELLED, attempt=0)], None),
        ([began("a"), ended("a", CANCELLED, failure=INTERRUPTED)], Standing.IN_DOUBT),
        ([began("a"), ended("a"), cleaning("a")], Standing.HALF_CLEANED),
        ([began("a"), ended("a"), cleaning("a"), cleaned("a", FAILED)], Standing.HALF_CLEANED),
        ([began("a"), ended("a"), cleaning("a"), cleaned("a")], Standing.NOTHING),
        ([began("a"), cleaning("a"), cleaned("a")], Standing.NOTHING),
        ([began("a"), ended("a"), cleaning("a"), began("a", 2)], Standing.IN_DOUBT),
        (
            [began("a"), ended("a"), cleaning("a"), began("a", 2), ended("a", FAILED, 2)],
            Standing.HALF_CLEANED,
        ),
        ([began("a"), ended("a"), cleaning("a"), began("a", 2), again("a")], Standing.HALF_CLEANED),
        ([began("a"), ended("a"), cleaning("a"), began("a", 2), ended("a", attempt=2)], Standing.DONE),
        ([began("a"), ended("a"), resumed("b")], Standing.DONE),
        ([began("a"), ended("a"), resumed("a", "b")], Standing.NOTHING),
    ],
)
def test_what_a_log_leaves_of_a_step(events: list[AnyEvent], standing: Standing | None) -> None:
    assert PlanLog(events).standing.get("a") is standing


def test_a_log_knows_order_and_attempts() -> None:
    log = PlanLog([began("a"), again("a"), began("b"), ended("b"), began("a", 2)])
    assert list(log.order) == ["b", "a"]
    assert log.attempts == {"a": 2, "b": 1}


def test_a_log_knows_the_state() -> None:
    def saved(
        values: dict[str, str], removed: tuple[str, ...] = (), lost: dict[str, str] | None = None
    ) -> AnyEvent:
        return StateSaved(at=AT, task_id="a", values=values, removed=removed, lost=lost or {})

    log = PlanLog([saved({"x": "1", "y": "2", "z": "3"}), saved({"x": "4"}, ("y",), {"z": "why"})])
    assert (log.values, log.lost) == ({"x": "4"}, {"z": "why"})
    log.follow(saved({"z": "5"}, ("x",)))
    assert (log.values, log.lost) == ({"z": "5"}, {})


# -- what a resume does ----------------------------------------------------------------------------------------

THREE = plan_of(
    step("a"),
    PauseDefinition(name="p1", seconds=1.0),
    step("b"),
    PauseDefinition(name="p2", seconds=1.0),
    step("c"),
)
A, P1, B, P2, C = range(5)
A_DONE = [began("a"), ended("a"), began("p1"), ended("p1")]
B_DONE = [began("b"), ended("b"), began("p2"), ended("p2")]


def decide(*events: AnyEvent, go_on: bool = False, plan: PlanDefinition = THREE) -> PlanResume:
    return plan_resume(plan, PlanLog(events), go_on=go_on)


def test_a_resume_cleans_up_what_stands_is_in_doubt_or_half_cleaned() -> None:
    found = decide(*A_DONE, *B_DONE, began("c"))
    assert (found.undo, found.todo, found.stands) == ((A, B, C), (), ())
    assert found.reasons == {
        A: "it succeeded, and its cleanup has not run",
        B: "it succeeded, and its cleanup has not run",
        C: "its engine died in the middle of it",
    }
    found = decide(*A_DONE, *B_DONE, began("c"), ended("c", FAILED), cleaning("b"), cleaned("b", FAILED))
    assert found.reasons[B] == "its cleanup did not succeed"
    assert not found.is_idle


def test_a_resume_that_goes_on_undoes_only_what_is_unsound() -> None:
    found = decide(*A_DONE, began("b"), go_on=True)
    assert (found.undo, found.todo, found.stands) == ((B,), (B, P2, C), (A,))
    assert found.reasons == {
        B: "its engine died in the middle of it",
        P2: "it follows a step that runs again",
        C: "it had not started",
    }


def test_a_resume_that_goes_on_runs_again_what_was_cleaned_up() -> None:
    failed = [began("c"), ended("c", FAILED)]
    cleanup = [cleaning("b"), cleaned("b"), cleaning("a"), cleaned("a")]
    found = decide(*A_DONE, *B_DONE, *failed, *cleanup, go_on=True)
    assert (found.undo, found.todo, found.stands) == ((), (A, P1, B, P2, C), ())
    assert found.reasons[A] == "it has not succeeded, or was cleaned up"


def test_nothing_left_is_idle() -> None:
    done = [*A_DONE, began("b"), ended("b", FAILED), cleaning("a"), cleaned("a")]
    assert decide(*done).is_idle
    assert not decide(*done, go_on=True).is_idle


@pytest.mark.parametrize("go_on", [False, True])
def test_a_plan_that_died_between_its_last_step_and_its_cleanups_is_cleaned_up(go_on: bool) -> None:
    found = decide(*A_DONE, *B_DONE, began("c"), ended("c"), cleaning("c"), go_on=go_on)
    assert (found.undo, found.todo) == ((A, B, C), ())


def test_what_never_ran_again_in_a_resume_is_not_taken_for_done() -> None:
    first = [
        *A_DONE,
        *B_DONE,
        began("c"),
        ended("c", FAILED),
        cleaning("b"),
        cleaned("b"),
        cleaning("a"),
        cleaned("a"),
    ]
    second = [resumed("a", "p1", "b", "p2", "c"), began("a", 2), ended("a", attempt=2)]
    found = decide(*first, *second, go_on=True)
    assert (found.todo, found.stands) == ((P1, B, P2, C), (A,))


# -- a plan that has changed -----------------------------------------------------------------------------------


def test_steps_that_stand_stay_what_they_were_and_the_others_change() -> None:
    pinned = plan_of(step("a", env={"X": "old"}), step("b", env={"X": "old"}), step("gone"))
    current = plan_of(
        step("new"), step("a", env={"X": "new"}), step("b", env={"X": "new"}), continue_on_error=True
    )
    found = merged(pinned, current, PlanLog([began("a"), ended("a"), began("b"), ended("b", FAILED)]))
    assert [element.name for element in found.elements] == ["new", "a", "b"]
    assert found.elements[1:] == (pinned.elements[0], current.elements[2])
    assert found.continue_on_error


@pytest.mark.parametrize("left", [[began("gone")], [began("gone"), ended("gone")]])
def test_a_step_that_has_something_to_clean_up_must_not_vanish(left: list[AnyEvent]) -> None:
    with pytest.raises(UsageError, match="what this run would have to clean up: gone") as caught:
        merged(plan_of(step("gone")), plan_of(step("a")), PlanLog(left))
    assert "--pinned" in caught.value.with_advice
